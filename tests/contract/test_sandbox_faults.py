"""Every fault of the sandbox over real sockets, and what holds do."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx
import pytest
import trio

from aerofs.sandbox import Fault, Sandbox, SandboxConfig, serving

HEADERS = {
    "Authorization": "Bearer sandbox-token",
    "environment-id": "sandbox",
    "Accept": "application/json",
}
A = "document-definitions/job/documents/A"
DATA = bytes(range(256)) * 4096


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving() as sandbox:
        sandbox.platform.add_definition("job", fields=["photos"])
        document = sandbox.platform.add_document("job", external_id="A")
        sandbox.platform.add_attachment("job", document, "photos", "a.bin", DATA)
        yield sandbox


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/api/v2", headers=HEADERS) as client:
        yield client


async def photos(api: httpx.AsyncClient) -> httpx.Response:
    return await api.get(f"{A}/attachments", params={"valuePath": "photos"})


async def save(api: httpx.AsyncClient, data: bytes = b"1") -> httpx.Response:
    return await api.post(f"{A}/attachments", params={"valuePath": "photos"}, files={"file": ("b.bin", data)})


def stored(sandbox: Sandbox) -> list[str]:
    return [file.name for file in sandbox.platform.attachments("job", "A", "photos")]


async def fetched(url: str) -> tuple[int, bytes, bool]:
    """Status, what arrived, and whether it arrived whole."""
    data = bytearray()
    async with httpx.AsyncClient() as plain, plain.stream("GET", url) as response:
        try:
            async for chunk in response.aiter_bytes():
                data += chunk
        except httpx.RemoteProtocolError:
            return response.status_code, bytes(data), False
    return response.status_code, bytes(data), True


async def test_a_status_with_retry_after_strikes_as_often_as_ordered(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    sandbox.add_fault(Fault("list", "status", status=429, retry_after=1.5, count=2))
    answers = [await photos(api) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1.5"
    assert answers[0].json()["status"] == "error"
    assert sandbox.requests["list"] == 3


async def test_a_struck_save_changes_nothing_and_is_read_to_its_end(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    sandbox.add_fault(Fault("save", "status", status=503))
    assert (await save(api, DATA * 4)).status_code == 503
    assert stored(sandbox) == ["a.bin"]
    assert sandbox.bytes_in["api"] > len(DATA) * 4


async def test_html_instead_of_json(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("*", "html"))
    answer = await photos(api)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


async def test_a_delay_delays_and_then_serves(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("list", "delay", seconds=0.1))
    before = time.monotonic()
    assert (await photos(api)).status_code == 200
    assert time.monotonic() - before >= 0.1


async def test_a_stall_never_answers(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("list", "stall"))
    with pytest.raises(httpx.ReadTimeout):
        await api.get(f"{A}/attachments", params={"valuePath": "photos"}, timeout=0.1)
    sandbox.add_fault(Fault("list", "stall", seconds=0.05))
    with pytest.raises(httpx.RemoteProtocolError):
        await photos(api)
    assert (await photos(api)).status_code == 200


async def upload(sandbox: Sandbox, data: bytes, *, length: int | None = None) -> trio.SocketStream:
    """An upload whose head and data have been written as far as the server took them (httpx would warn)."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
    head = "".join(f"{key}: {value}\r\n" for key, value in HEADERS.items())
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + data
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(
            f"POST /api/v2/{A}/attachments?valuePath=photos HTTP/1.1\r\nHost: x\r\n{head}"
            f"Content-Type: multipart/form-data; boundary=B\r\n"
            f"Content-Length: {length or len(body)}\r\n\r\n".encode()
            + body
        )
    return stream


async def nothing_comes(stream: trio.SocketStream) -> bool:
    async with stream:
        try:
            return await stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True


async def no_upload_left(sandbox: Sandbox) -> None:
    with trio.fail_after(5):
        while list(sandbox.platform.database.incoming.iterdir()) or sandbox.traffic.under_way["save"]:
            await trio.lowlevel.checkpoint()


async def test_a_cut_connection_has_done_nothing(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("save", "cut"))
    assert await nothing_comes(await upload(sandbox, b"1\r\n--B--\r\n"))
    assert stored(sandbox) == ["a.bin"]
    assert (await save(api)).status_code == 200
    assert sandbox.requests["save"] == 2


async def test_a_dropped_answer_has_done_the_work(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("save", "drop_answer"))
    with pytest.raises(httpx.RemoteProtocolError):
        await save(api)
    assert stored(sandbox) == ["a.bin", "b.bin"]


async def test_half_a_body_then_a_cut(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    url = (await photos(api)).json()["attachments"][0]["downloadURL"]
    sandbox.add_fault(Fault("download", "half"))
    assert await fetched(url) == (200, DATA[: len(DATA) // 2], False)
    assert await fetched(url) == (200, DATA, True)
    sandbox.add_fault(Fault("list", "half"))
    with pytest.raises(httpx.RemoteProtocolError):
        await photos(api)


async def test_a_cut_after_so_many_bytes_of_the_answer(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    url = (await photos(api)).json()["attachments"][0]["downloadURL"]
    sandbox.add_fault(Fault("download", "cut", at=700_001))
    assert await fetched(url) == (200, DATA[:700_001], False)
    sandbox.add_fault(Fault("download", "cut", at=0))
    assert await fetched(url) == (200, b"", False)


async def test_a_cut_in_the_middle_of_an_upload(sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("save", "cut", at=500_000, side="request"))
    assert await nothing_comes(await upload(sandbox, DATA * 8))
    await no_upload_left(sandbox)
    assert stored(sandbox) == ["a.bin"]


async def test_a_stall_in_the_middle_of_a_body_goes_on_in_the_end(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    url = (await photos(api)).json()["attachments"][0]["downloadURL"]
    for kind in ("download", "save"):
        side: Any = "answer" if kind == "download" else "request"
        sandbox.add_fault(Fault(kind, "stall", at=300_000, seconds=0.1, side=side))
    before = time.monotonic()
    assert await fetched(url) == (200, DATA, True)
    assert time.monotonic() - before >= 0.1
    assert (await save(api, DATA)).status_code == 200
    assert time.monotonic() - before >= 0.2
    assert sandbox.platform.attachments("job", "A", "photos")[1].data == DATA


async def test_faults_strike_the_store_and_the_api_alike_but_never_the_control_path(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    url = (await photos(api)).json()["attachments"][0]["downloadURL"]
    sandbox.add_fault(Fault("*", "status", status=502, count=None))
    assert (await photos(api)).status_code == 502
    assert (await fetched(url))[0] == 502
    assert (await api.get(f"{sandbox.url}/_sandbox/stats")).status_code == 200
    sandbox.clear_faults()
    assert (await photos(api)).status_code == 200


async def test_a_hold_stops_requests_before_or_after_the_work(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    async with trio.open_nursery() as nursery:
        with sandbox.hold("save") as hold:
            nursery.start_soon(save, api)
            nursery.start_soon(save, api)
            await hold.arrived(2)
            assert stored(sandbox) == ["a.bin"]
            assert sandbox.traffic.peak["save"] == 2
    assert len(stored(sandbox)) == 3
    async with trio.open_nursery() as nursery:
        with sandbox.hold("save", answered=True) as hold:
            nursery.start_soon(save, api)
            await hold.arrived()
            assert len(stored(sandbox)) == 4


async def test_stopping_breaks_what_is_stalled_held_or_half_sent() -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, httpx.AsyncClient(headers=HEADERS) as client:
            async with serving() as sandbox:
                sandbox.platform.add_definition("job", fields=["photos"])
                document = sandbox.platform.add_document("job", external_id="A")
                sandbox.platform.add_attachment("job", document, "photos", "a", DATA * 30)
                client.base_url = httpx.URL(f"{sandbox.url}/api/v2")
                url = (await photos(client)).json()["attachments"][0]["downloadURL"]
                sandbox.add_fault(Fault("list", "stall"))

                async def expect_break() -> None:
                    with pytest.raises(httpx.HTTPError):
                        await photos(client)

                nursery.start_soon(expect_break)
                while sandbox.traffic.under_way["list"] == 0:
                    await trio.lowlevel.checkpoint()
                plain = await trio.open_tcp_stream("127.0.0.1", int(sandbox.store_url.rpartition(":")[2]))
                await plain.send_all(
                    f"GET {url[len(sandbox.store_url) :]} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                )
                assert await plain.receive_some(10)
            await plain.aclose()


async def test_a_cancelled_sandbox_stops_at_once_and_frees_its_ports() -> None:
    with trio.CancelScope() as scope:
        async with serving() as sandbox:
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    ports = [int(url.rpartition(":")[2]) for url in (sandbox.url, sandbox.store_url)]
    async with serving(SandboxConfig(port=ports[0], store_port=ports[1])) as again:
        assert (again.url, again.store_url) == (sandbox.url, sandbox.store_url)


async def test_a_download_that_nobody_reads_any_more_ends(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    document = sandbox.platform.add_document("job", external_id="B")
    sandbox.platform.add_attachment("job", document, "photos", "large", DATA * 30)
    listed = await api.get(f"{A[:-1]}B/attachments", params={"valuePath": "photos"})
    url = listed.json()["attachments"][0]["downloadURL"]
    stream = await trio.open_tcp_stream("127.0.0.1", int(sandbox.store_url.rpartition(":")[2]))
    await stream.send_all(f"GET {url[len(sandbox.store_url) :]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert await stream.receive_some(10)
    await stream.aclose()
    with trio.fail_after(5):
        while sandbox.traffic.under_way["download"]:
            await trio.lowlevel.checkpoint()
    assert sandbox.bytes_out["store"] < len(DATA) * 30


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serving():
            raise KeyError("mine")


async def test_a_client_that_goes_away_in_mid_upload_leaves_nothing(sandbox: Sandbox) -> None:
    stream = await upload(sandbox, DATA[:5000], length=1_000_000)
    with trio.fail_after(5):
        while not list(sandbox.platform.database.incoming.iterdir()):
            await trio.lowlevel.checkpoint()
    await stream.aclose()
    await no_upload_left(sandbox)
    assert stored(sandbox) == ["a.bin"]


@pytest.mark.parametrize("action", ["status", "html"])
async def test_work_may_be_done_though_the_answer_denies_it(
    api: httpx.AsyncClient, sandbox: Sandbox, action: Literal["status", "html"]
) -> None:
    sandbox.add_fault(Fault("save", action, status=504, done=True, says="Too slow"))
    answer = await save(api)
    assert stored(sandbox) == ["a.bin", "b.bin"]
    assert (answer.status_code, "Too slow" in answer.text) == (
        (504, True) if action == "status" else (200, False)
    )


async def test_success_may_be_pretended(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    for kind in ("save", "list", "delete"):
        sandbox.add_fault(Fault(kind, "pretend"))
    assert (await save(api)).json() == {"status": "ok", "attachments": []}
    assert (await photos(api)).json() == {"status": "ok", "attachments": []}
    (kept,) = sandbox.platform.attachments("job", "A", "photos")
    asked = {"valuePath": "photos", "attachmentId": kept.id}
    assert (await api.delete(f"{A}/attachments", params=asked)).json() == {"status": "ok"}
    assert stored(sandbox) == ["a.bin"]


async def test_the_ids_of_an_answer_may_be_wrong(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.add_fault(Fault("save", "misname"))
    (told,) = (await save(api)).json()["attachments"]
    standing = sandbox.platform.attachments("job", "A", "photos")
    assert [file.name for file in standing] == ["a.bin", "b.bin"]
    assert told["_fileName"] == "b.bin"
    assert told["_id"] not in {file.id for file in standing}


async def test_half_of_a_body_may_come_as_the_whole(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    url = (await photos(api)).json()["attachments"][0]["downloadURL"]
    sandbox.add_fault(Fault("download", "shorten"))
    sandbox.add_fault(Fault("list", "shorten"))
    assert await fetched(url) == (200, DATA[: len(DATA) // 2], True)
    answer = await photos(api)
    assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["content-length"]))
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert (await fetched(url))[1] == DATA
