"""The ranged reader against an object store in memory that counts requests and plays faults."""

import errno
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from aerofs.content.blobs import Blobs
from aerofs.content.origin import Download
from aerofs.content.reader import Pace, Reader, ReadHandle
from aerofs.errors import (
    AerofsError,
    DeadlineError,
    LocalIOError,
    NoSpaceError,
    ProtocolError,
    StaleError,
    UnavailableError,
)
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.platform import ExpiredUrlError

K = 1024
M = 1024 * K
PLACE = FieldRef(DefinitionId("invoice"), DocumentId("d1"), ValuePath("files"))
DATA = random.Random(7).randbytes(3 * M + 123)  # bytes that do not repeat, the same every time


@dataclass
class Body:
    """One answer of the store."""

    content: bytes
    start: int
    total: int | None
    etag: str | None
    chunk: int
    cut: int | None
    error: AerofsError | None
    taken: Callable[[int], None]
    gate: Callable[[], trio.Event | None]
    ranged: bool

    async def chunks(self) -> AsyncIterator[bytes]:
        at = 0
        content = self.content if self.cut is None else self.content[: self.cut]
        while at < len(content):
            await trio.lowlevel.checkpoint()
            gate = self.gate()
            if gate is not None:
                await gate.wait()
            piece = content[at : at + self.chunk]
            self.taken(len(piece))
            yield piece
            at += len(piece)
        if self.error is not None:
            raise self.error


@dataclass
class Store:
    """An origin in memory. `cuts` and `errors` are used up, one per download."""

    files: dict[AttachmentId, bytes]
    sizes: dict[AttachmentId, int | None] = field(default_factory=dict)
    etags: dict[AttachmentId, str] = field(default_factory=dict)
    ranged: bool = True
    tells_total: bool = True
    tells_outside: bool = True
    chunk: int = 16 * K
    cuts: list[int | None] = field(default_factory=list)
    cut_error: AerofsError | None = field(default_factory=lambda: UnavailableError("cut"))
    refusals: list[Exception | None] = field(default_factory=list)
    list_errors: list[AerofsError] = field(default_factory=list)
    gate: trio.Event | None = None
    list_gate: trio.Event | None = None
    lists: int = 0
    downloads: list[tuple[int, int | None]] = field(default_factory=list)
    running: int = 0
    taken: int = 0
    generation: int = 0

    def expire(self) -> None:
        self.generation += 1

    @asynccontextmanager
    async def _download(self, url: str, start: int, stop: int | None) -> AsyncIterator[Download]:
        await trio.lowlevel.checkpoint()
        self.downloads.append((start, stop))
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        generation, _, name = url.partition("/")
        if int(generation) != self.generation:
            raise ExpiredUrlError("expired")
        content = self.files[AttachmentId(name)]
        total = len(content) if self.tells_total else None
        if not self.ranged:
            start, stop = 0, None
        elif start >= len(content) and not self.tells_outside:
            total = None
        cut = self.cuts.pop(0) if self.cuts else None
        body = Body(
            content[start:stop],
            start,
            total,
            self.etags.get(AttachmentId(name)),
            self.chunk,
            cut,
            self.cut_error if cut is not None else None,
            self._count,
            lambda: self.gate,
            self.ranged and (start, stop) != (0, None),
        )
        self.running += 1
        try:
            yield body
        finally:
            self.running -= 1

    def _count(self, taken: int) -> None:
        self.taken += taken

    def download(
        self, url: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[Download]:
        return self._download(url, start, stop)

    async def fresh_urls(self, place: FieldRef) -> Mapping[AttachmentId, Attachment]:
        assert place == PLACE
        self.lists += 1
        await trio.lowlevel.checkpoint()
        if self.list_gate is not None:
            await self.list_gate.wait()
        if self.list_errors:
            raise self.list_errors.pop(0)
        return {
            name: Attachment(name, f"{name}.bin", self.promise(name), url=f"{self.generation}/{name}")
            for name in self.files
        }

    def promise(self, name: AttachmentId) -> int | None:
        return self.sizes.get(name, len(self.files[name]))

    def attachment(self, name: str = "a") -> Attachment:
        return Attachment(AttachmentId(name), f"{name}.bin", self.promise(AttachmentId(name)))


@pytest.fixture
def store() -> Store:
    return Store({AttachmentId("a"): DATA, AttachmentId("b"): DATA[::-1]})


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def learned() -> list[tuple[AttachmentId, int]]:
    return []


@pytest.fixture
def reader(
    store: Store, blobs: Blobs, nursery: trio.Nursery, learned: list[tuple[AttachmentId, int]]
) -> Reader:
    return Reader(
        blobs,
        store,
        nursery,
        pace=Pace(window=512 * K, idle=10),
        learned=lambda _place, name, size: learned.append((name, size)),
    )


@pytest.fixture
def handle(reader: Reader, store: Store) -> ReadHandle:
    return reader.open(PLACE, store.attachment())


async def cat(handle: ReadHandle, size: int = 128 * K) -> bytes:
    data = bytearray()
    while piece := await handle.read(len(data), size):
        data += piece
    return bytes(data)


# Sequential reading


async def test_a_whole_file_costs_one_list_and_one_download(handle: ReadHandle, store: Store) -> None:
    assert await cat(handle) == DATA
    assert (store.lists, store.downloads) == (1, [(0, None)])


async def test_opening_costs_nothing_and_a_second_reading_neither(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    assert (store.lists, store.downloads) == (0, [])
    await cat(handle)
    handle.close()
    again = reader.open(PLACE, store.attachment())
    assert await cat(again, 4096 * 13) == DATA
    assert (store.lists, len(store.downloads)) == (1, 1)


async def test_held_bytes_are_answered_without_a_checkpoint(handle: ReadHandle) -> None:
    await cat(handle)
    with trio.testing.assert_no_checkpoints():
        assert await handle.read(5, 7) == DATA[5:12]


async def test_two_handles_share_one_download(handle: ReadHandle, reader: Reader, store: Store) -> None:
    other = reader.open(PLACE, store.attachment())
    results = []

    async def read(one: ReadHandle) -> None:
        results.append(await cat(one))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, handle)
        nursery.start_soon(read, other)
    assert results == [DATA, DATA]
    assert (store.lists, len(store.downloads)) == (1, 1)


async def test_read_ahead_a_little_out_of_order_is_no_seek(handle: ReadHandle, store: Store) -> None:
    order = [1, 0, 2, 4, 3, 6, 5, 7]
    for block in order:
        assert await handle.read(block * 128 * K, 128 * K) == DATA[block * 128 * K :][: 128 * K]
    assert store.downloads == [(0, None)]


async def test_the_stream_stays_within_the_window_of_its_reader(
    handle: ReadHandle, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    await handle.read(0, 4 * K)
    await trio.sleep(1)
    assert store.taken <= 4 * K + 128 * K + store.chunk  # a sniffed file is not downloaded
    for block in range(8):
        await handle.read(block * 128 * K, 128 * K)
    await trio.sleep(1)
    assert store.running == 1
    assert M + 512 * K <= store.taken <= M + 512 * K + store.chunk


async def test_a_stream_that_nobody_follows_ends_and_is_taken_up_where_it_ended(
    handle: ReadHandle, store: Store, reader: Reader, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    await handle.read(0, 128 * K)
    await trio.sleep(9)
    assert (store.running, reader.statistics()["parked"]) == (1, 1)
    await trio.sleep(2)
    assert (store.running, reader.statistics()["downloads"]) == (0, 0)
    resumed = store.taken
    assert await cat(handle) == DATA
    assert store.downloads == [(0, None), (resumed, None)]
    assert (store.lists, store.taken) == (1, len(DATA))


async def test_closing_the_last_handle_ends_the_stream(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    other = reader.open(PLACE, store.attachment())
    await handle.read(0, 128 * K)
    handle.close()
    await trio.testing.wait_all_tasks_blocked()
    assert store.running == 1
    other.close()
    other.close()
    await trio.testing.wait_all_tasks_blocked()
    assert store.running == 0
    assert reader.statistics() == {"open": 0, "handles": 0, "downloads": 0, "parked": 0}


async def test_a_closed_handle_reads_no_more(handle: ReadHandle, store: Store) -> None:
    store.gate = trio.Event()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def waiting() -> None:
            with pytest.raises(LocalIOError, match="closed"):
                await handle.read(0, 10)

        await trio.testing.wait_all_tasks_blocked()
        handle.close()
    with pytest.raises(LocalIOError, match="closed"):
        await handle.read(0, 10)
    with pytest.raises(LocalIOError, match="closed"):
        await handle.fetch_all()


async def test_a_stream_stops_before_a_rest_that_is_held(handle: ReadHandle, store: Store) -> None:
    start = 2 * M + 128 * K
    tail = await handle.read(start, 2 * M)
    assert tail == DATA[start:]
    assert await cat(handle) == DATA
    assert store.downloads == [(start, len(DATA)), (0, start)]
    assert store.taken == len(DATA)


async def test_waiting_streams_make_room_for_others(
    blobs: Blobs, store: Store, nursery: trio.Nursery
) -> None:
    reader = Reader(blobs, store, nursery, pace=Pace(window=128 * K, parked=1))
    one = reader.open(PLACE, store.attachment("a"))
    other = reader.open(PLACE, store.attachment("b"))
    await one.read(0, 10)
    await trio.testing.wait_all_tasks_blocked()
    await other.read(0, 10)
    await trio.testing.wait_all_tasks_blocked()
    assert store.running == 1
    assert await cat(one) == DATA
    assert await cat(other) == DATA[::-1]


# Random reading


async def test_a_seek_fetches_a_small_aligned_range_beside_the_stream(
    handle: ReadHandle, store: Store
) -> None:
    await handle.read(0, 128 * K)
    at = 2 * M + 5000
    assert await handle.read(at, 100) == DATA[at : at + 100]
    assert store.downloads == [(0, None), (2 * M, 2 * M + 128 * K)]
    await trio.testing.wait_all_tasks_blocked()
    assert store.running == 1


async def test_sniffing_the_end_does_not_download_the_file(handle: ReadHandle, store: Store) -> None:
    assert await handle.read(len(DATA) - 10, 4096) == DATA[-10:]
    assert store.downloads == [(3 * M, len(DATA))]
    assert store.taken == 123


async def test_reading_on_after_a_seek_starts_a_stream_there(handle: ReadHandle, store: Store) -> None:
    for block in range(8, 24):
        assert await handle.read(block * 128 * K, 128 * K) == DATA[block * 128 * K :][: 128 * K]
    at = 8 * 128 * K
    assert store.downloads == [
        (at, at + 128 * K),
        (at + 128 * K, at + 256 * K),
        (at + 256 * K, None),
    ]


async def test_readers_of_one_missing_range_share_its_download(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    other = reader.open(PLACE, store.attachment())
    store.gate = trio.Event()

    async def read(one: ReadHandle, at: int) -> None:
        assert await one.read(at, 100) == DATA[at : at + 100]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, handle, 2 * M)
        nursery.start_soon(read, other, 2 * M + 500)
        nursery.start_soon(read, other, 2 * M + 200 * K)
        await trio.testing.wait_all_tasks_blocked()
        store.gate.set()
    assert sorted(store.downloads) == [(2 * M, 2 * M + 128 * K), (2 * M + 128 * K, 2 * M + 256 * K)]


async def test_a_sequential_reader_far_from_a_stream_in_use_reads_beside_it(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    at = 20 * 128 * K
    other = reader.open(PLACE, store.attachment())
    for block in range(20, 23):
        await other.read(block * 128 * K, 128 * K)
    assert await handle.read(0, 128 * K) == DATA[: 128 * K]
    assert store.downloads[2:] == [(at + 256 * K, None), (0, M)]


async def test_reads_at_and_after_the_end_are_empty(handle: ReadHandle, store: Store) -> None:
    assert await handle.read(len(DATA), 10) == b""
    assert await handle.read(len(DATA) * 2, 10) == b""
    assert await handle.read(0, 0) == b""
    assert (store.lists, store.downloads) == (0, [])
    with pytest.raises(ValueError, match="no such range"):
        await handle.read(-1, 10)


async def test_a_cancelled_read_takes_nothing_from_others(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    other = reader.open(PLACE, store.attachment())
    store.gate = trio.Event()
    results = []

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def patient() -> None:
            results.append(await other.read(0, 100))

        with trio.CancelScope() as impatient:
            nursery.start_soon(_cancel_when_blocked, impatient)
            await handle.read(0, 100)
        assert impatient.cancelled_caught
        store.gate.set()
    assert results == [DATA[:100]]
    assert len(store.downloads) == 1


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


# URLs


async def test_one_list_serves_all_files_of_a_field(reader: Reader, store: Store) -> None:
    async def read(name: str) -> None:
        data = store.files[AttachmentId(name)]
        assert await cat(reader.open(PLACE, store.attachment(name))) == data

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "a")
        nursery.start_soon(read, "b")
    assert store.lists == 1


async def test_an_expired_url_costs_one_list_and_goes_on_at_the_very_byte(
    handle: ReadHandle, store: Store
) -> None:
    store.cuts = [M + 5]
    await handle.read(0, 128 * K)
    store.expire()
    assert await cat(handle) == DATA
    assert store.downloads == [(0, None), (M + 5, None), (M + 5, None)]
    assert (store.lists, store.taken) == (2, len(DATA))


async def test_a_link_is_listed_anew_when_it_is_old(
    reader: Reader, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    await reader.open(PLACE, store.attachment("a")).read(0, 10)
    await trio.sleep(301)
    await reader.open(PLACE, store.attachment("b")).read(0, 10)
    assert store.lists == 2


async def test_fresh_urls_that_are_refused_end_in_an_error(handle: ReadHandle, store: Store) -> None:
    store.refusals = [ExpiredUrlError("no")] * 3
    with pytest.raises(UnavailableError, match="even a fresh URL"):
        await handle.read(0, 10)
    assert store.lists == 3
    assert await handle.read(0, 10) == DATA[:10]


async def test_an_attachment_that_is_gone_is_stale_but_held_bytes_are_served(
    handle: ReadHandle, store: Store
) -> None:
    await handle.read(2 * M, 100)
    del store.files[AttachmentId("a")]
    store.expire()
    with pytest.raises(StaleError, match="gone"):
        await handle.read(0, 100)
    assert await handle.read(2 * M, 1000) == DATA[2 * M : 2 * M + 1000]


async def test_a_failing_list_reaches_all_who_wait_and_the_next_read_tries_again(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    store.list_gate = trio.Event()
    store.list_errors = [UnavailableError("away")]
    failed = []

    async def read(one: ReadHandle) -> None:
        try:
            await one.read(0, 10)
        except UnavailableError as error:
            failed.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, handle)
        nursery.start_soon(read, reader.open(PLACE, store.attachment("b")))
        await trio.testing.wait_all_tasks_blocked()
        store.list_gate.set()
    assert failed == ["away", "away"]
    assert await handle.read(0, 10) == DATA[:10]
    assert store.lists == 2


# Faults


async def test_a_cut_body_is_resumed_at_the_very_byte(
    handle: ReadHandle, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    store.cuts = [100_001, 7, 1_000_000, 50_000, 3, 4, 5]
    assert await cat(handle) == DATA
    starts = [start for start, _ in store.downloads]
    assert starts[:4] == [0, 100_001, 100_008, 1_100_008]
    assert (store.lists, store.taken) == (1, len(DATA))


async def test_a_body_that_ends_early_without_an_error_is_resumed_too(
    handle: ReadHandle, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    store.cut_error = None
    store.cuts = [10, 20, 30]
    assert await cat(handle) == DATA


async def test_without_any_progress_it_gives_up_and_the_next_read_tries_again(
    handle: ReadHandle, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    store.cuts = [0, 0, 0, 0]
    with pytest.raises(UnavailableError, match="cut"):
        await handle.read(0, 10)
    assert len(store.downloads) == 4
    assert await handle.read(0, 10) == DATA[:10]


async def test_a_stalled_body_without_progress_is_not_waited_for_twice(
    handle: ReadHandle, store: Store
) -> None:
    store.cut_error = DeadlineError("no byte for 30 s")
    store.cuts = [0]
    with pytest.raises(DeadlineError):
        await handle.read(0, 10)
    assert len(store.downloads) == 1


async def test_a_request_that_never_began_is_not_repeated_here(handle: ReadHandle, store: Store) -> None:
    store.refusals = [UnavailableError("connection refused")]
    with pytest.raises(UnavailableError, match="refused"):
        await handle.read(0, 10)
    assert len(store.downloads) == 1


async def test_bytes_that_arrived_before_a_failure_are_served(handle: ReadHandle, store: Store) -> None:
    store.cut_error = DeadlineError("no byte for 30 s")
    store.cuts = [128 * K, 0]
    assert await handle.read(0, 100) == DATA[:100]
    await trio.testing.wait_all_tasks_blocked()
    assert await handle.read(0, 128 * K) == DATA[: 128 * K]


@pytest.mark.complains
@pytest.mark.parametrize(
    "foreign", [ExceptionGroup("group", [UnavailableError("inner")]), RuntimeError("unforeseen")]
)
async def test_no_group_and_no_foreign_error_reaches_a_reader(
    handle: ReadHandle, store: Store, foreign: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store.refusals = [foreign, foreign]
    if isinstance(foreign, ExceptionGroup):
        with pytest.raises(UnavailableError, match="inner"):
            await handle.read(0, 10)
    else:
        with pytest.raises((RuntimeError, LocalIOError)):
            await handle.read(0, 10)
        assert "unforeseen" in caplog.text
    assert store.running == 0


# Servers without ranges


async def test_a_server_without_ranges_is_read_as_one_stream(handle: ReadHandle, store: Store) -> None:
    store.ranged = False
    at = 2 * M + 17
    assert await handle.read(at, 1000) == DATA[at : at + 1000]
    assert await handle.read(5, 1000) == DATA[5:1005]
    assert await handle.read(3 * M, 1000) == DATA[3 * M :]
    assert len(store.downloads) == 1
    assert await cat(handle) == DATA
    assert len(store.downloads) == 1


async def test_without_ranges_a_resumed_stream_skips_what_is_held(
    handle: ReadHandle, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    store.ranged = False
    store.cuts = [M, 2 * M, 300]
    assert await cat(handle) == DATA
    assert len(store.downloads) == 4


async def test_without_ranges_a_piece_beside_a_stream_waits_for_the_stream(
    handle: ReadHandle, store: Store
) -> None:
    store.ranged = False
    await handle.read(0, 10)
    assert await handle.read(3 * M, 10) == DATA[3 * M :][:10]
    assert len(store.downloads) == 2
    assert store.running == 0


# Sizes


@pytest.mark.parametrize("listed", [True, False])
async def test_an_unknown_size_costs_one_list_or_also_a_byte(
    reader: Reader, blobs: Blobs, store: Store, learned: list[tuple[AttachmentId, int]], *, listed: bool
) -> None:
    a = AttachmentId("a")
    if not listed:
        store.sizes[a] = None
    handle = reader.open(PLACE, Attachment(a, "a.bin"))
    assert blobs.blob(a, None).size is None
    assert await handle.size() == len(DATA)
    assert (store.lists, store.downloads) == (1, [] if listed else [(0, 1)])
    assert learned == [(a, len(DATA))]
    assert blobs.blob(a, None).size == len(DATA)
    assert await cat(handle) == DATA


@pytest.mark.parametrize("ranged", [True, False])
async def test_a_size_that_nobody_tells_shows_at_the_end(
    reader: Reader, store: Store, learned: list[tuple[AttachmentId, int]], *, ranged: bool
) -> None:
    a = AttachmentId("a")
    store.sizes[a], store.tells_total, store.ranged = None, False, ranged
    handle = reader.open(PLACE, Attachment(a, "a.bin"))
    assert await cat(handle) == DATA
    assert learned == [(a, len(DATA))]
    assert len(store.downloads) == 1
    other = reader.open(PLACE, Attachment(AttachmentId("b"), "b.bin", len(DATA)))
    assert await other.size() == len(DATA)


async def test_asking_for_a_size_that_nobody_tells_reads_to_the_end(reader: Reader, store: Store) -> None:
    a = AttachmentId("a")
    store.sizes[a], store.tells_total = None, False
    handle = reader.open(PLACE, Attachment(a, "a.bin"))
    assert await handle.size() == len(DATA)
    assert handle.whole
    assert await handle.read(2 * M, 10) == DATA[2 * M :][:10]


@pytest.mark.parametrize("promised", [1000, len(DATA) * 2])
async def test_the_servers_size_wins_while_nothing_is_held(
    reader: Reader, store: Store, learned: list[tuple[AttachmentId, int]], promised: int
) -> None:
    a = AttachmentId("a")
    store.sizes[a] = promised
    handle = reader.open(PLACE, store.attachment())
    await handle.read(0, 10)
    assert learned == [(a, len(DATA))]
    assert await cat(handle) == DATA


async def test_another_size_than_the_platforms_is_not_believed_of_a_store_that_knows_no_ranges(
    reader: Reader, store: Store
) -> None:
    store.sizes[AttachmentId("a")], store.ranged = 1000, False
    handle = reader.open(PLACE, store.attachment())
    with pytest.raises(UnavailableError, match="another size"):
        await handle.read(0, 10)
    assert store.running == 0


async def test_a_body_that_trickles_between_silences_is_given_up(reader: Reader, store: Store) -> None:
    store.cuts, store.cut_error = [5, 5, 5, 5], DeadlineError("no byte for 30 s")
    handle = reader.open(PLACE, store.attachment())
    with pytest.raises(DeadlineError):
        await handle.read(0, 100)
    assert len(store.downloads) == 2


@pytest.mark.parametrize("tells_outside", [True, False])
async def test_a_read_behind_the_true_end_of_a_shrunken_image_is_empty(
    reader: Reader, store: Store, autojump_clock: trio.testing.MockClock, *, tells_outside: bool
) -> None:
    assert autojump_clock.rate == 0
    store.tells_outside = tells_outside
    store.sizes[AttachmentId("a")] = len(DATA) * 2
    handle = reader.open(PLACE, store.attachment())
    assert await handle.read(len(DATA) * 2 - 10, 10) == b""
    assert await handle.size() == len(DATA)


async def test_a_body_longer_than_anybody_said_is_cut_off(reader: Reader, store: Store) -> None:
    store.sizes[AttachmentId("a")], store.tells_total = 1000, False
    handle = reader.open(PLACE, store.attachment())
    assert await cat(handle) == DATA[:1000]


async def test_an_empty_file_costs_nothing(reader: Reader, store: Store) -> None:
    store.files[AttachmentId("e")] = b""
    handle = reader.open(PLACE, store.attachment("e"))
    assert await handle.read(0, 100) == b""
    assert (await handle.fetch_all()).read_bytes() == b""
    assert (store.lists, store.downloads) == (0, [])


@pytest.mark.parametrize("tells_total", [True, False])
async def test_an_empty_file_of_unknown_size_is_read_to_its_end(
    reader: Reader, store: Store, *, tells_total: bool
) -> None:
    e = AttachmentId("e")
    store.files[e], store.sizes[e], store.tells_total = b"", None, tells_total
    handle = reader.open(PLACE, Attachment(e, "e"))
    assert await handle.read(0, 100) == b""
    assert await handle.size() == 0


# Versions


async def test_bytes_of_two_versions_are_never_mixed(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    a = AttachmentId("a")
    store.etags[a] = "one"
    untouched = reader.open(PLACE, store.attachment())
    assert await handle.read(2 * M, 100) == DATA[2 * M :][:100]
    store.etags[a], store.files[a] = "two", DATA[::-1]
    with pytest.raises(StaleError, match="other bytes"):
        await handle.read(0, 100)
    with pytest.raises(StaleError, match="other bytes"):
        await handle.read(2 * M, 100)
    assert await cat(untouched) == DATA[::-1]
    store.etags[a] = "three"
    handle.close()
    untouched.close()
    again = reader.open(PLACE, store.attachment())
    assert await cat(again) == DATA[::-1]


async def test_a_store_that_keeps_changing_is_a_protocol_error(reader: Reader, store: Store) -> None:
    a = AttachmentId("a")
    for number, expected in ((0, None), (2, None), (3, ProtocolError)):
        store.etags[a] = str(number)
        fresh = reader.open(PLACE, store.attachment())
        if expected is None:
            await fresh.read(number * M, 10)
        else:
            with pytest.raises(expected, match="keeps sending"):
                await fresh.read(number * M, 10)


async def test_another_total_with_bytes_held_is_another_version(
    handle: ReadHandle, reader: Reader, store: Store
) -> None:
    await handle.read(2 * M, 100)
    store.files[AttachmentId("a")] = DATA + b"more"
    with pytest.raises(StaleError):
        await handle.read(0, 100)
    assert await cat(reader.open(PLACE, store.attachment())) == DATA + b"more"


# The whole on disk


async def test_fetching_all_gives_a_path_to_the_whole(handle: ReadHandle, store: Store) -> None:
    await handle.read(2 * M, 10)
    assert not handle.whole
    path = await handle.fetch_all()
    assert path.read_bytes() == DATA
    assert handle.whole
    assert len(store.downloads) == 2
    assert await handle.fetch_all() == path


async def test_fetching_all_goes_on_from_a_running_stream(handle: ReadHandle, store: Store) -> None:
    await handle.read(0, 10)
    assert (await handle.fetch_all()).read_bytes() == DATA
    assert store.downloads == [(0, None)]


async def test_fetching_all_cancelled_lets_the_stream_fall_back_to_its_pace(
    handle: ReadHandle, store: Store
) -> None:
    await handle.read(0, 10)
    await trio.testing.wait_all_tasks_blocked()
    before = store.taken
    store.gate = trio.Event()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_blocked, scope)
            await handle.fetch_all()
    gate, store.gate = store.gate, None
    gate.set()
    await trio.testing.wait_all_tasks_blocked()
    assert store.taken <= before + 2 * store.chunk


# A full disk


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(_descriptor: int, _data: memoryview, _offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", pwrite)


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_still_lets_bytes_through(handle: ReadHandle, store: Store) -> None:
    assert await cat(handle, 512 * K) == DATA
    assert store.lists == 1
    with pytest.raises(NoSpaceError):
        await handle.fetch_all()


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_and_no_ranges_is_an_error_that_says_so(handle: ReadHandle, store: Store) -> None:
    store.ranged = False
    assert await handle.read(0, 10) == DATA[:10]
    with pytest.raises(NoSpaceError):
        await handle.read(2 * M, 10)


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_ends_the_search_for_a_size(reader: Reader, store: Store) -> None:
    a = AttachmentId("a")
    store.sizes[a], store.tells_total = None, False
    with pytest.raises(NoSpaceError):
        await reader.open(PLACE, Attachment(a, "a")).size()


async def test_a_full_disk_is_asked_again_after_a_while(
    handle: ReadHandle, store: Store, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock.rate == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        assert await handle.read(0, 10) == DATA[:10]
    await trio.sleep(6)
    assert await cat(handle) == DATA
    assert store.downloads[-1] == (0, None)


# The end of a mount


async def test_when_the_mount_ends_waiting_reads_end_too(blobs: Blobs, store: Store) -> None:
    store.gate = trio.Event()
    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        handle = Reader(blobs, store, nursery).open(PLACE, store.attachment())

        @outer.start_soon
        async def waiting() -> None:
            with pytest.raises(UnavailableError, match="ending"):
                await handle.read(0, 10)

        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_after_the_end_of_a_mount_a_read_is_an_error(blobs: Blobs, store: Store) -> None:
    async with trio.open_nursery() as nursery:
        handle = Reader(blobs, store, nursery).open(PLACE, store.attachment())
    for _ in range(2):
        with pytest.raises(UnavailableError, match="ended"):
            await handle.read(0, 10)
        with pytest.raises(UnavailableError, match="ended"):
            await handle.read(2 * M, 10)
