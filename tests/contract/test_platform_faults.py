"""The client against a platform that fails in every way: what recovers, what is reported, what is never done twice."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import trio

from aerofs import errors
from aerofs.model import AttachmentId, Definition, DocumentId, FieldRef, ValuePath
from aerofs.platform import Platform
from aerofs.sandbox import Fault, Sandbox, SandboxConfig, serving
from aerofs.settings import Settings
from tests.contract.content import Bytes

BOUND = 0.8


@dataclass(frozen=True)
class Bench:
    """A sandbox with one document that holds two files, and a client of it."""

    sandbox: Sandbox
    client: Platform
    definition: Definition
    place: FieldRef
    target: FieldRef
    kept: AttachmentId

    async def url(self) -> str:
        (url,) = [each.url for each in await self.client.attachments(self.place) if each.id == self.kept]
        assert url is not None
        return url

    def names(self, place: FieldRef) -> list[str]:
        return [
            each.name for each in self.sandbox.platform.attachments("invoice", place.document, place.path)
        ]


@asynccontextmanager
async def bench(content: bytes = b"0123456789", **given: object) -> AsyncIterator[Bench]:
    async with serving(SandboxConfig()) as sandbox:
        platform = sandbox.platform
        own = platform.add_definition("invoice", fields=["scan", "copies"])
        document = platform.add_document("invoice", external_id="1")
        kept = platform.add_attachment("invoice", document, "scan", "kept", content)
        async with connected(sandbox.url, **given) as client:
            definition = await client.definition(own)
            scan, copies = (
                FieldRef(definition.id, DocumentId(document), ValuePath(path)) for path in ("scan", "copies")
            )
            sandbox.reset_counts()
            client.requests.clear()
            yield Bench(sandbox, client, definition, scan, copies, AttachmentId(kept))


@asynccontextmanager
async def connected(url: str, **given: object) -> AsyncIterator[Platform]:
    config = SandboxConfig()
    values = {
        "url": url,
        "environment": config.environment,
        "token": config.token,
        "mountpoint": Path("/nowhere/mnt"),
        **given,
    }
    async with Platform(Settings.model_validate(values)) as client:
        yield client


async def listed(here: Bench) -> None:
    async with aclosing(here.client.document_pages(here.definition)) as pages:
        assert [len(page) async for page in pages] == [1]


async def deleted(here: Bench) -> None:
    await here.client.delete(here.place, here.kept)
    assert here.names(here.place) == []


async def saved(here: Bench) -> None:
    await here.client.save(here.place, "new", Bytes(b"x" * 100_000))
    assert here.names(here.place) == ["kept", "new"]


async def copied(here: Bench) -> None:
    await here.client.copy(here.place, [here.kept], here.target)
    assert here.names(here.target) == ["kept"]


async def received(client: Platform, url: str, into: bytearray) -> None:
    """Go on with a download behind what came before."""
    async with client.download(url, start=len(into)) as download:
        async for chunk in download.chunks():
            into += chunk


Operation = Callable[[Bench], Awaitable[object]]
REPEATABLE: dict[str, Operation] = {
    "definitions": lambda here: here.client.definitions(),
    "definition": lambda here: here.client.definition("invoice"),
    "documents": listed,
    "document": lambda here: here.client.document(here.definition, "1"),
    "list": lambda here: here.client.attachments(here.place),
    "delete": deleted,
}
ONCE: dict[str, Operation] = {"save": saved, "copy": copied}
EVERY = REPEATABLE | ONCE


@pytest.mark.parametrize("action", ["cut", "half", "drop_answer", "status"])
@pytest.mark.parametrize("kind", REPEATABLE)
async def test_a_question_recovers_from_a_passing_failure(
    kind: str,
    action: Literal["cut", "half", "drop_answer", "status"],
) -> None:
    async with bench() as here:
        here.sandbox.add_fault(Fault(kind, action, status=502, retry_after=0.0))
        await REPEATABLE[kind](here)
        assert here.sandbox.requests[kind] == 2
        assert here.client.reachable


@pytest.mark.parametrize("kind", EVERY)
async def test_a_rate_that_was_refused_is_asked_again_after_the_pause(kind: str) -> None:
    async with bench() as here:
        here.sandbox.add_fault(Fault(kind, "status", status=429, retry_after=0.1))
        await EVERY[kind](here)
        assert here.sandbox.requests[kind] == 2


@pytest.mark.parametrize("kind", EVERY)
async def test_a_slow_answer_is_waited_for(kind: str) -> None:
    async with bench() as here:
        here.sandbox.add_fault(Fault(kind, "delay", seconds=0.1))
        await EVERY[kind](here)
        assert here.sandbox.requests[kind] == 1


@pytest.mark.parametrize("action", ["cut", "half", "drop_answer", "status"])
@pytest.mark.parametrize("kind", ONCE)
async def test_what_may_have_been_done_is_not_done_again(
    kind: str,
    action: Literal["cut", "half", "drop_answer", "status"],
) -> None:
    async with bench() as here:
        here.sandbox.add_fault(Fault(kind, action, status=503, retry_after=0.0))
        with pytest.raises(errors.UnavailableError) as caught:
            await ONCE[kind](here)
        assert not caught.value.unsent
        assert here.sandbox.requests[kind] == 1
        done = action in {"half", "drop_answer"}
        added = here.names(here.place)[1:] if kind == "save" else here.names(here.target)
        assert len(added) == done


@pytest.mark.parametrize("kind", EVERY)
async def test_silence_ends_at_the_bound_and_opens_the_breaker(kind: str) -> None:
    async with bench(metadata_deadline=BOUND, stall_deadline=BOUND) as here:
        here.sandbox.add_fault(Fault(kind, "stall"))
        began = trio.current_time()
        with pytest.raises(errors.DeadlineError) as caught:
            await EVERY[kind](here)
        assert BOUND <= trio.current_time() - began < BOUND + 2
        assert not caught.value.unsent
        assert not here.client.reachable
        with pytest.raises(errors.UnavailableError) as at_once:
            await here.client.definitions()
        assert at_once.value.unsent
        assert await here.client.probe()
        await here.client.definitions()


@pytest.mark.parametrize("kind", EVERY)
async def test_a_page_instead_of_json_is_an_error(kind: str) -> None:
    async with bench() as here:
        here.sandbox.add_fault(Fault(kind, "html"))
        with pytest.raises(errors.ProtocolError, match="back shortly"):
            await EVERY[kind](here)


@pytest.mark.parametrize("kind", EVERY)
async def test_a_failure_that_lasts_is_reported_with_the_platforms_wish(kind: str) -> None:
    async with bench(metadata_deadline=5) as here:
        here.sandbox.add_fault(Fault(kind, "status", status=503, retry_after=77.0, count=None))
        with pytest.raises(errors.UnavailableError) as caught:
            await EVERY[kind](here)
        assert caught.value.retry_after == 77
        assert here.sandbox.requests[kind] == 1


@pytest.mark.parametrize("action", ["cut", "drop_answer", "status"])
async def test_a_download_is_begun_again(action: Literal["cut", "drop_answer", "status"]) -> None:
    async with bench() as here:
        url = await here.url()
        here.sandbox.add_fault(Fault("download", action, retry_after=0.0))
        async with here.client.download(url, start=2, stop=5) as download:
            assert (download.start, download.total) == (2, 10)
            assert b"".join([chunk async for chunk in download.chunks()]) == b"234"


@pytest.mark.parametrize("at", [0, 1_500_000])
async def test_a_download_that_is_cut_says_so_and_can_go_on_from_there(at: int) -> None:
    content = bytes(range(256)) * 12_000
    async with bench(content) as here:
        url = await here.url()
        here.sandbox.add_fault(Fault("download", "half" if not at else "cut", at=at or None))
        got = bytearray()
        with pytest.raises(errors.UnavailableError):
            await received(here.client, url, got)
        assert len(got) == (at or len(content) // 2)
        await received(here.client, url, got)
        assert got == content


async def test_a_download_that_stalls_ends_at_the_bound() -> None:
    async with bench(bytes(3_000_000), stall_deadline=BOUND) as here:
        url = await here.url()
        here.sandbox.add_fault(Fault("download", "stall", at=1_000_000))
        got = bytearray()
        with pytest.raises(errors.DeadlineError):
            await received(here.client, url, got)
        assert len(got) == 1_000_000
        assert here.client.reachable


async def test_a_download_that_moves_slowly_is_not_cut_off() -> None:
    async with bench(bytes(2_000_000), stall_deadline=BOUND) as here:
        url = await here.url()
        for at in (500_000, 1_000_000):
            here.sandbox.add_fault(Fault("download", "stall", at=at, seconds=BOUND / 2))
        async with here.client.download(url) as download:
            assert sum([len(chunk) async for chunk in download.chunks()]) == 2_000_000


@pytest.mark.parametrize("action", ["stall", "cut"])
async def test_an_upload_that_breaks_in_the_middle_is_an_error(action: Literal["stall", "cut"]) -> None:
    async with bench(stall_deadline=BOUND) as here:
        here.sandbox.add_fault(Fault("save", action, at=1_000_000, side="request"))
        with pytest.raises(errors.UnavailableError) as caught:
            await here.client.save(here.place, "new", Bytes(bytes(40_000_000)))
        assert isinstance(caught.value, errors.DeadlineError) is (action == "stall")
        assert not caught.value.unsent
        assert here.names(here.place) == ["kept"]


async def test_large_files_stream_both_ways() -> None:
    content = b"%9d" % 7 * 5_000_000
    async with bench() as here:
        added = await here.client.save(here.place, "large.bin", Bytes(content))
        assert added is not None
        assert added.url is not None
        async with here.client.download(added.url) as download:
            chunks = [chunk async for chunk in download.chunks()]
        assert b"".join(chunks) == content
        assert len(content) / len(chunks) > 32 * 1024
        assert here.client.statistics()["bytes_sent"] == len(content)


async def test_a_download_that_is_given_up_leaves_nothing_behind() -> None:
    async with bench(bytes(20_000_000)) as here:
        url = await here.url()
        for _ in range(20):
            async with here.client.download(url) as download:
                await anext(download.chunks())
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(_held_open, here.client, url)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        lanes = here.client.statistics()["lanes"]
        assert isinstance(lanes, dict)
        assert lanes["downloads"]["in_use"] == 0


async def _held_open(client: Platform, url: str) -> None:
    async with client.download(url) as download:
        async for _ in download.chunks():
            await trio.sleep(1)


async def test_slow_transfers_never_delay_a_list() -> None:
    async with bench(bytes(3_000_000), download_lane=2, upload_lane=1) as here:
        url = await here.url()
        with here.sandbox.hold("download"), here.sandbox.hold("save"):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(_held_open, here.client, url)
                    nursery.start_soon(saved, here)
                await trio.testing.wait_all_tasks_blocked(0.05)
                with trio.fail_after(2):
                    await here.client.attachments(here.place)
                nursery.cancel_scope.cancel()


async def test_a_platform_that_is_gone_is_told_at_once_and_found_again() -> None:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    async with connected(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(errors.UnavailableError, match="refused") as caught:
            await client.definitions()
        assert caught.value.unsent
        assert not client.reachable
        began = trio.current_time()
        for _ in range(100):
            with pytest.raises(errors.UnavailableError):
                await client.definitions()
        assert trio.current_time() - began < 1
        assert not await client.probe()
        async with serving(SandboxConfig(port=port)):
            assert await client.probe()
            assert await client.definitions() == ()


async def test_what_is_no_platform_is_told_in_words() -> None:
    async with serving(SandboxConfig()) as sandbox, connected(sandbox.store_url) as client:
        with pytest.raises(errors.AerofsError) as caught:
            await client.definitions()
        assert "InvalidArgument" in str(caught.value)
