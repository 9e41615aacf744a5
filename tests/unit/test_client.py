"""The client over a transport of our own: what it sends where, how it repeats, what it keeps to itself."""

import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest
import trio
from trio.testing import MockClock

from aerofs import errors
from aerofs.model import AttachmentId, Definition, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.platform import ExpiredUrlError, Platform
from aerofs.settings import Settings

Answerer = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]
PLACE = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan"))
INVOICE = Definition(DefinitionId("d"), "invoice")
LISTED = {
    "status": "ok",
    "attachments": [{"_id": "f", "_fileName": "a", "downloadURL": "https://s.example/f?Sig=xyz"}],
}


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.opened = 0

    def open(self) -> BinaryIO:
        self.opened += 1
        return io.BytesIO(self.data)


class Wire(httpx.AsyncBaseTransport):
    """Answers by what it was told: one answer after another, the last one for ever."""

    def __init__(self, *answers: httpx.Response | Exception | Answerer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        told = answer(request)
        return told if isinstance(told, httpx.Response) else await told


def told(status: int = 200, body: object = None, **headers: str) -> httpx.Response:
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, json={"status": "ok"} if body is None else body, headers=names)


async def never(_: httpx.Request) -> httpx.Response:
    await trio.sleep_forever()
    raise AssertionError


def platform(wire: httpx.AsyncBaseTransport, **given: object) -> Platform:
    values = {
        "url": "https://aero.example",
        "environment": "env-7",
        "mountpoint": Path("/nowhere/mnt"),
        **given,
    }
    if not any(key.startswith("token") for key in given):
        values["token"] = "very-secret"
    return Platform(Settings.model_validate(values), transport=wire)


async def test_every_api_call_carries_token_environment_and_accept() -> None:
    wire = Wire(told(body=LISTED))
    async with platform(wire, url="https://aero.example/shop/") as client:
        await client.attachments(PLACE)
    (request,) = wire.requests
    assert str(request.url) == (
        "https://aero.example/shop/api/v2/document-definitions/d/documents/1/attachments?valuePath=scan"
    )
    assert request.headers["authorization"] == "Bearer very-secret"
    assert request.headers["environment-id"] == "env-7"
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://aero.example/files/1?Sig=x", True),
        ("https://store.example/files/1?Sig=x", False),
        ("https://aero.example:8443/files/1?Sig=x", False),
    ],
)
async def test_a_download_shows_the_token_to_the_api_alone(url: str, *, trusted: bool) -> None:
    wire = Wire(httpx.Response(200, content=b"abc"))
    async with platform(wire) as client, client.download(url) as download:
        assert [each async for each in download.chunks()] == [b"abc"]
    (request,) = wire.requests
    assert ("authorization" in request.headers) is trusted
    assert ("environment-id" in request.headers) is trusted
    assert request.headers["accept-encoding"] == "identity"
    assert "range" not in request.headers


async def test_a_redirect_to_another_host_leaves_the_token_behind() -> None:
    wire = Wire(
        told(302, location="/files/2"),
        told(307, location="https://store.example/f?Sig=x"),
        httpx.Response(206, content=b"bc", headers={"content-range": "bytes 1-2/3"}),
    )
    async with platform(wire) as client, client.download("https://aero.example/files/1", start=1) as download:
        assert (download.start, download.total) == (1, 3)
        assert b"".join([each async for each in download.chunks()]) == b"bc"
    assert [("authorization" in request.headers) for request in wire.requests] == [True, True, False]
    assert {request.headers["range"] for request in wire.requests} == {"bytes=1-"}


@pytest.mark.parametrize(
    "location", ["http://store.example/f", "file:///etc/passwd", "https://aero.example/files/1"]
)
async def test_a_redirect_to_nowhere_good_is_an_error(location: str) -> None:
    wire = Wire(told(302, location=location))
    async with platform(wire) as client:
        with pytest.raises(errors.ProtocolError):
            async with client.download("https://aero.example/files/1"):
                pass
    assert len(wire.requests) <= 6


async def test_a_change_is_never_redirected() -> None:
    wire = Wire(told(307, location="https://aero.example/elsewhere"))
    async with platform(wire) as client:
        with pytest.raises(errors.ProtocolError):
            await client.save(PLACE, "a", Bytes(b"x"))
    assert len(wire.requests) == 1


async def test_a_refused_token_is_renewed_once_and_the_call_repeated(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["authorization"] == "Bearer new":
            return told(body={"status": "ok", "attachments": [{"_id": "n"}]})
        path.write_text("new")
        return told(401, {"status": "error"})

    wire = Wire(answer)
    content = Bytes(b"x")
    async with platform(wire, token_file=path) as client:
        added = await client.save(PLACE, "a", content)
        assert added is not None
        assert added.id == "n"
        assert client.statistics()["token_renewals"] == 1
    assert len(wire.requests) == content.opened == 2


async def test_a_token_that_stays_refused_is_denied_at_once() -> None:
    wire = Wire(told(401, {"status": "error", "description": "who are you"}))
    async with platform(wire) as client:
        with pytest.raises(errors.DeniedError, match="who are you"):
            await client.attachments(PLACE)
    assert len(wire.requests) == 1


async def test_a_renewed_token_that_is_refused_too_is_denied(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("0")

    def answer(_: httpx.Request) -> httpx.Response:
        path.write_text(str(int(path.read_text()) + 1))
        return told(401, {"status": "error"})

    wire = Wire(answer)
    async with platform(wire, token_file=path) as client:
        with pytest.raises(errors.DeniedError):
            await client.attachments(PLACE)
    assert len(wire.requests) == 2


async def test_a_temporary_failure_of_a_question_is_asked_again(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(told(503, {}), httpx.ReadError("reset"), told(500, {}), told(body=LISTED))
    async with platform(wire) as client:
        (found,) = await client.attachments(PLACE)
        assert found.url == "https://s.example/f?Sig=xyz"
        assert client.requests == {"attachments": 4}
        assert client.statistics()["retries"] == 3


async def test_a_permanent_failure_is_not_asked_again(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(told(403, {"status": "error", "description": "no"}))
    async with platform(wire) as client:
        with pytest.raises(errors.DeniedError):
            await client.document(INVOICE, "1")
    assert len(wire.requests) == 1


async def test_the_platforms_own_pause_is_kept(autojump_clock: MockClock) -> None:
    wire = Wire(told(429, {}, retry_after="7"), told(body=LISTED))
    async with platform(wire) as client:
        began = trio.current_time()
        await client.attachments(PLACE)
        assert 7 <= trio.current_time() - began < 8
    assert autojump_clock.rate == 0


async def test_a_pause_beyond_the_deadline_is_not_begun(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(told(503, {}, retry_after="3600"))
    async with platform(wire) as client:
        began = trio.current_time()
        with pytest.raises(errors.UnavailableError) as caught:
            await client.attachments(PLACE)
        assert trio.current_time() == began
        assert caught.value.retry_after == 3600
    assert len(wire.requests) == 1


@pytest.mark.parametrize("answer", [told(500, {}), told(503, {}, retry_after="1"), httpx.ReadError("reset")])
async def test_a_save_or_copy_that_may_have_worked_is_not_repeated(
    autojump_clock: MockClock,  # noqa: ARG001 -- it sets the clock
    answer: httpx.Response | Exception,
) -> None:
    wire = Wire(answer)
    async with platform(wire) as client:
        with pytest.raises(errors.UnavailableError) as caught:
            await client.save(PLACE, "a", Bytes(b"x"))
        assert not caught.value.unsent
        with pytest.raises(errors.UnavailableError):
            await client.copy(PLACE, [AttachmentId("f")], PLACE)
    assert len(wire.requests) == 2


@pytest.mark.parametrize("answer", [told(429, {}, retry_after="1"), httpx.ConnectError("refused")])
async def test_a_save_that_certainly_did_nothing_is_repeated(
    autojump_clock: MockClock,  # noqa: ARG001 -- it sets the clock
    answer: httpx.Response | Exception,
) -> None:
    wire = Wire(answer, told(body={"status": "ok", "attachments": [{"_id": "n"}]}))
    content = Bytes(b"x")
    async with platform(wire) as client:
        assert await client.save(PLACE, "a", content) is not None
    assert len(wire.requests) == content.opened == 2


async def test_a_delete_whose_first_answer_was_lost_has_worked(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(httpx.ReadError("reset"), told(404, {"status": "error"}))
    async with platform(wire) as client:
        await client.delete(PLACE, AttachmentId("f"))


@pytest.mark.parametrize("first", [told(404, {}), httpx.ConnectError("refused"), told(429, {})])
async def test_a_delete_of_what_was_gone_before_says_so(
    autojump_clock: MockClock,  # noqa: ARG001 -- it sets the clock
    first: httpx.Response | Exception,
) -> None:
    wire = Wire(first, told(404, {"status": "error"}))
    async with platform(wire) as client:
        with pytest.raises(errors.NotFoundError):
            await client.delete(PLACE, AttachmentId("f"))


async def test_metadata_that_hangs_ends_at_its_deadline_and_then_calls_fail_at_once(
    autojump_clock: MockClock,  # noqa: ARG001 -- it sets the clock
) -> None:
    wire = Wire(never)
    async with platform(wire, metadata_deadline=30) as client:
        began = trio.current_time()
        with pytest.raises(errors.DeadlineError) as caught:
            await client.attachments(PLACE)
        assert trio.current_time() - began == 30
        assert not caught.value.unsent
        assert not client.reachable
        with pytest.raises(errors.UnavailableError) as caught_next:
            await client.save(PLACE, "a", Bytes(b"x"))
        assert caught_next.value.unsent
        assert trio.current_time() - began == 30
    assert len(wire.requests) == 1


async def test_refused_connections_open_the_breaker_and_a_probe_closes_it(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(httpx.ConnectError("refused"))
    async with platform(wire) as client:
        with pytest.raises(errors.UnavailableError) as caught:
            await client.attachments(PLACE)
        assert caught.value.unsent
        assert not client.reachable
        assert len(wire.requests) == 3
        with pytest.raises(errors.UnavailableError, match="not reachable"):
            await client.attachments(PLACE)
        assert len(wire.requests) == 3
        assert not await client.probe()
        wire.answers = [told(405, {}), told(body=LISTED)]
        await trio.sleep(10)
        await client.attachments(PLACE)
        assert client.reachable
        assert client.requests == {"attachments": 4, "probe": 2}
    assert "authorization" not in wire.requests[3].headers


async def test_a_probe_that_hangs_ends_and_others_do_not_wait_for_it(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(never)
    async with platform(wire, metadata_deadline=30) as client:
        with pytest.raises(errors.DeadlineError):
            await client.attachments(PLACE)
        await trio.sleep(10)
        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            nursery.start_soon(client.probe)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(errors.UnavailableError, match="not reachable"):
                await client.attachments(PLACE)
            assert trio.current_time() == began
        assert trio.current_time() - began == 5
        assert not client.reachable


async def test_failures_of_the_object_store_do_not_count_for_the_platform(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(httpx.ConnectError("refused"))
    async with platform(wire) as client:
        with pytest.raises(errors.UnavailableError):
            async with client.download("https://store.example/f?Sig=xyz"):
                pass
        assert client.reachable
    assert len(wire.requests) == 5


async def test_slow_transfers_do_not_starve_metadata(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    def answer(request: httpx.Request) -> httpx.Response | Awaitable[httpx.Response]:
        return (
            told(body=LISTED) if request.method == "GET" and "/api/" in request.url.path else never(request)
        )

    wire = Wire(answer)
    async with platform(wire, upload_lane=2, download_lane=2) as client:

        async def save() -> None:
            await client.save(PLACE, "a", Bytes(b"x"))

        async def download() -> None:
            async with client.download("https://store.example/f"):
                pass

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(save)
                nursery.start_soon(download)
            await trio.testing.wait_all_tasks_blocked()
            assert client.statistics()["lanes"] == {
                "metadata": {"in_use": 0, "waiting": 0, "places": 16},
                "downloads": {"in_use": 2, "waiting": 1, "places": 2},
                "uploads": {"in_use": 2, "waiting": 1, "places": 2},
            }
            await client.attachments(PLACE)
            nursery.cancel_scope.cancel()
        assert client.statistics()["requests"] == {"save": 2, "download": 2, "attachments": 1}


async def test_a_call_that_got_no_place_in_its_bound_did_nothing(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(never)
    async with platform(wire, metadata_lane=1, metadata_deadline=5) as client:
        with pytest.raises(errors.DeadlineError):  # noqa: PT012 -- one call holds the place, the other waits
            async with trio.open_nursery() as nursery:

                async def first() -> None:
                    with pytest.raises(errors.DeadlineError) as caught:
                        await client.attachments(PLACE)
                    assert not caught.value.unsent

                nursery.start_soon(first)
                await trio.testing.wait_all_tasks_blocked()
                try:
                    await client.copy(PLACE, [AttachmentId("f")], PLACE)
                except errors.DeadlineError as error:
                    failure = error
            assert failure.unsent
            raise failure
    assert len(wire.requests) == 1


async def test_nothing_secret_is_logged_or_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    wire = Wire(
        told(body={"status": "ok", "files": LISTED["attachments"]}),
        told(400, {"status": "error", "description": "bad https://s.example/f?Sig=xyz"}),
        httpx.Response(403, content=b"<Error>"),
    )
    async with platform(wire) as client:
        with pytest.raises(errors.ProtocolError) as unknown:
            await client.attachments(PLACE)
        with pytest.raises(errors.RefusedError) as refused:
            await client.attachments(PLACE)
        with pytest.raises(ExpiredUrlError) as expired:
            async with client.download("https://s.example/f?Sig=xyz"):
                pass
        said += [str(unknown.value), str(refused.value), str(expired.value), repr(client), caplog.text]
        said.append(json.dumps(client.statistics()))
    for text in said:
        assert "xyz" not in text
        assert "very-secret" not in text


async def test_the_loggers_of_the_http_library_stay_quiet_however_verbose_we_are() -> None:
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    platform(Wire(told()))
    for name in ("httpx", "httpcore", "httpcore.http11"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"url": "http://aero.example", "insecure_http": False}, "plain http"),
        ({"environment": "e\nvil: 1"}, "environment"),
        ({"dialect": {"nonsense": 1}}, "dialect.nonsense"),
    ],
)
def test_settings_that_cannot_work_are_a_mistake_of_the_user(given: dict[str, object], why: str) -> None:
    values = {"url": "https://aero.example", "environment": "e", "mountpoint": Path("/nowhere"), "token": "t"}
    settings = Settings.model_validate(values).model_copy(update=given)
    with pytest.raises(errors.ConfigError, match=why):
        Platform(settings, transport=Wire(told()))


def test_a_file_of_certificates_that_is_none_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("none")
    values = {"url": "https://aero.example", "environment": "e", "mountpoint": tmp_path / "mnt", "token": "t"}
    for file in (path, tmp_path / "missing"):
        with pytest.raises(errors.ConfigError, match="ca_file"):
            Platform(Settings.model_validate({**values, "ca_file": file}))


async def test_definitions_fall_back_to_the_profile_where_the_list_is_denied() -> None:
    wire = Wire(told(403, {"status": "error"}))
    async with platform(wire, definitions={"invoice": ["scan", "rows.*.photo"]}) as client:
        (found,) = await client.definitions()
        assert found == await client.definition("invoice")
        assert [(each.line, each.name) for each in found.fields or ()] == [(None, "scan"), ("rows", "photo")]
        with pytest.raises(errors.DeniedError):
            await client.definition("order")
    async with platform(wire) as client:
        with pytest.raises(errors.DeniedError):
            await client.definitions()


async def test_fields_that_only_the_profile_knows_are_filled_in() -> None:
    wire = Wire(told(body={"documentDefinitions": [{"_id": "d1", "name": "invoice"}, {"name": "order"}, {}]}))
    async with platform(wire, definitions={"invoice": ["scan"]}) as client:
        invoice, order = await client.definitions()
        assert [each.name for each in invoice.fields or ()] == ["scan"]
        assert order.fields is None


async def test_a_query_for_an_external_id_that_is_ignored_is_not_believed() -> None:
    others = {"documents": [{"_id": "1", "externalId": "a"}, {"_id": "2", "externalId": "b"}]}
    wire = Wire(told(body=others), told(body={"document": {"_id": "9", "externalId": "x"}}))
    async with platform(wire) as client:
        (found,) = await client.documents_by_external_id(INVOICE, "x")
        assert found.id == "9"
    wire = Wire(told(body=others), told(body={"document": {"_id": "x", "externalId": "other"}}))
    async with platform(wire) as client:
        assert await client.documents_by_external_id(INVOICE, "x") == ()


@pytest.mark.parametrize(
    ("added", "chosen"),
    [
        ([{"_id": "n", "_fileName": "renamed"}], "n"),
        ([{"_id": "k", "_fileName": "a", "_size": 1}, {"_id": "n", "_fileName": "a", "_size": 1}], "n"),
        ([{"_id": "m", "_fileName": "b"}, {"_id": "n", "_fileName": "a"}], "n"),
        ([{"_id": "m", "_fileName": "a", "_size": 9}, {"_id": "n", "_fileName": "a", "_size": 1}], "n"),
        ([{"_id": "m", "_fileName": "a"}, {"_id": "n", "_fileName": "a"}], None),
        ([], None),
    ],
)
async def test_the_attachment_of_a_save_is_found_in_its_answer(
    added: list[object], chosen: str | None
) -> None:
    wire = Wire(told(body={"status": "ok", "attachments": added}))
    async with platform(wire) as client:
        found = await client.save(PLACE, "a", Bytes(b"x"), known=frozenset({AttachmentId("k")}))
        assert (found and found.id) == chosen


async def test_a_copy_names_the_definition_and_tells_what_it_added() -> None:
    definitions = {"documentDefinitions": [{"_id": "d", "name": "invoice"}]}
    wire = Wire(
        told(body=definitions),
        told(body={"status": "ok", "attachments": [{"_id": "f"}, {"_id": "n"}]}),
        told(body={"status": "ok"}),
    )
    async with platform(wire) as client:
        await client.definitions()
        found = await client.copy(PLACE, [AttachmentId("f")], PLACE)
        assert [each.id for each in found or ()] == ["n"]
        assert await client.copy(PLACE, [AttachmentId("f")], PLACE) is None
        assert await client.copy(PLACE, [], PLACE) == ()
    assert json.loads(wire.requests[1].content)[0]["source"]["ddName"] == "invoice"
    assert wire.requests[1].headers["content-type"] == "application/json"
    assert len(wire.requests) == 3


class Stream(httpx.AsyncByteStream):
    """A body that comes in pieces and may break."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def body(status: int, *pieces: bytes | Exception, **headers: str) -> Answerer:
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda _: httpx.Response(status, stream=Stream(*pieces), headers=names)


async def test_a_download_tells_what_it_really_brings() -> None:
    wire = Wire(body(200, b"abcde", content_length="5", etag='"v1"'))
    async with platform(wire) as client, client.download("https://s.example/f", start=2, stop=4) as download:
        assert wire.requests[0].headers["range"] == "bytes=2-3"
        assert (download.start, download.expected, download.total, download.etag) == (0, 5, 5, '"v1"')
        assert [each async for each in download.chunks()] == [b"abcde"]
        assert client.statistics()["bytes_received"] == 5


async def test_a_range_behind_the_end_is_empty_and_tells_the_size() -> None:
    wire = Wire(body(416, b"<Error>", content_range="bytes */5"))
    async with platform(wire) as client, client.download("https://s.example/f", start=9) as download:
        assert (download.start, download.total) == (9, 5)
        assert [each async for each in download.chunks()] == []


async def test_what_has_no_first_byte_is_empty() -> None:
    wire = Wire(body(416, b"<Error>"), body(416, b"<Error>"))
    async with platform(wire) as client:
        async with client.download("https://s.example/f", start=0, stop=1) as download:
            assert (download.total, download.ranged) == (0, True)
        async with client.download("https://s.example/f", start=1) as download:
            assert download.total is None


async def test_a_size_that_is_not_told_is_not_known() -> None:
    wire = Wire(body(206, b"bc", content_range="bytes 1-2/*"), body(200, b"abc"))
    async with platform(wire) as client:
        async with client.download("https://s.example/f", start=1) as download:
            assert (download.expected, download.total) == (2, None)
        async with client.download("https://s.example/f") as download:
            assert (download.expected, download.total) == (None, None)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (body(200, b"ab", content_length="5"), errors.UnavailableError),
        (body(206, b"ab", content_range="bytes 0-4/5"), errors.UnavailableError),
        (body(200, b"ab", httpx.ReadError("reset")), errors.UnavailableError),
        (body(200, b"ab", httpx.ReadTimeout("stalled")), errors.DeadlineError),
        (body(200, b"ab", httpx.RemoteProtocolError("cut")), errors.UnavailableError),
    ],
    ids=["short", "short-range", "reset", "stalled", "cut"],
)
async def test_a_body_that_breaks_off_is_an_error(answer: Answerer, kind: type[Exception]) -> None:
    got: list[bytes] = []
    async with platform(Wire(answer)) as client, client.download("https://s.example/f") as download:
        chunks = download.chunks()
        got.append(await anext(chunks))
        with pytest.raises(kind):
            await anext(chunks)
    assert got == [b"ab"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_url_that_no_longer_serves_is_told_apart(status: int) -> None:
    async with platform(Wire(body(status, b"<Error>"))) as client:
        with pytest.raises(ExpiredUrlError):
            async with client.download("https://s.example/f"):
                pass


@pytest.mark.parametrize(
    "answer",
    [body(206, b"x"), body(400, b"x"), body(204), body(206, content_range="bytes */5")],
    ids=["no-range", "refused", "empty", "no-such-range"],
)
async def test_an_answer_that_is_no_content_is_an_error(answer: Answerer) -> None:
    async with platform(Wire(answer)) as client:
        with pytest.raises(errors.ProtocolError):
            async with client.download("https://s.example/f"):
                pass


async def test_a_download_is_begun_again_after_a_temporary_failure(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    wire = Wire(body(503, b"", retry_after="1"), httpx.ReadError("reset"), body(200, b"abc"))
    async with platform(wire) as client, client.download("https://s.example/f") as download:
        assert [each async for each in download.chunks()] == [b"abc"]
        assert client.statistics()["lanes"] == {
            "metadata": {"in_use": 0, "waiting": 0, "places": 16},
            "downloads": {"in_use": 1, "waiting": 0, "places": 8},
            "uploads": {"in_use": 0, "waiting": 0, "places": 4},
        }


async def test_a_store_that_does_not_answer_ends_at_the_bound(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    async with platform(Wire(never), connect_deadline=10, stall_deadline=30) as client:
        began = trio.current_time()
        with pytest.raises(errors.DeadlineError):
            async with client.download("https://s.example/f"):
                pass
        assert trio.current_time() - began == 40
        assert client.reachable


@pytest.mark.parametrize("proxy", ["socks5://u:hidden@127.0.0.1:1", "nonsense://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_a_mistake_of_the_user(
    proxy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    values = {"url": "https://aero.example", "environment": "e", "mountpoint": "/nowhere", "token": "t"}
    with pytest.raises(errors.ConfigError, match="proxy") as caught:
        Platform(Settings.model_validate(values))
    assert "hidden" not in str(caught.value)
