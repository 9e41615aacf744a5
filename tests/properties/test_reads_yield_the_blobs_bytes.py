"""Whatever readers do and whatever goes wrong: a read yields the right bytes or one of our errors, in time."""

import errno
import os
import random
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from aerofs.content.blobs import Blobs
from aerofs.content.reader import Pace, Reader, ReadHandle
from aerofs.errors import AerofsError, DeadlineError, StaleError, UnavailableError
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.platform import ExpiredUrlError

PLACE = FieldRef(DefinitionId("invoice"), DocumentId("d1"), ValuePath("files"))
IDS = [AttachmentId("a"), AttachmentId("b")]
LENGTHS = (5000, 333)
PACE = Pace(window=512, piece=64, near=256, idle=5, parked=1)


def contents(version: int, *, longer: int) -> dict[AttachmentId, bytes]:
    source = random.Random(version)
    return {name: source.randbytes(length + longer) for name, length in zip(IDS, LENGTHS, strict=True)}


@dataclass
class Fault:
    """What befalls one download: where in its body, and how it shows."""

    kind: str
    at: int


@dataclass
class Body:
    content: bytes
    start: int
    total: int | None
    etag: str
    chunk: int
    fault: Fault | None
    ranged: bool

    async def chunks(self) -> AsyncIterator[bytes]:
        sound = self.content if self.fault is None else self.content[: self.fault.at]
        for at in range(0, len(sound), self.chunk):
            await trio.sleep(0.01)
            yield sound[at : at + self.chunk]
        if self.fault is None:
            return
        if self.fault.kind == "stall":
            await trio.sleep(30)
            raise DeadlineError("no byte for 30 s")
        if self.fault.kind == "group":
            raise ExceptionGroup("nursery", [UnavailableError("cut")])
        if self.fault.kind == "cut" or self.total is None:
            raise UnavailableError("cut")


@dataclass
class Store:
    ranged: bool
    tells_total: bool
    tells_size: bool
    chunk: int
    url_lifetime: float
    faults: list[Fault | None]
    versions: list[dict[AttachmentId, bytes]] = field(default_factory=lambda: [contents(0, longer=0)])
    running: int = 0

    @asynccontextmanager
    async def download(self, url: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[Body]:
        await trio.sleep(0.02)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault.kind == "refused":
            raise UnavailableError("connection refused")
        name, _, born = url.partition("@")
        if trio.current_time() > float(born) + self.url_lifetime or (fault and fault.kind == "expired"):
            raise ExpiredUrlError("expired")
        content = self.versions[-1][AttachmentId(name)]
        if not self.ranged:
            start, stop = 0, None
        total = len(content) if self.tells_total else None
        ranged = self.ranged and (start, stop) != (0, None)
        self.running += 1
        try:
            yield Body(content[start:stop], start, total, str(len(self.versions)), self.chunk, fault, ranged)
        finally:
            self.running -= 1

    async def fresh_urls(self, place: FieldRef) -> Mapping[AttachmentId, Attachment]:
        assert place == PLACE
        await trio.sleep(0.05)
        fault = self.faults.pop(0) if self.faults and self.faults[0] and self.faults[0].at % 7 == 0 else None
        if fault is not None:
            raise UnavailableError("away")
        return {
            name: Attachment(name, name, self.promise(name), url=f"{name}@{trio.current_time()}")
            for name in IDS
        }

    def promise(self, name: AttachmentId) -> int | None:
        return len(self.versions[0][name]) if self.tells_size else None

    def attachment(self, name: AttachmentId) -> Attachment:
        return Attachment(name, name, self.promise(name))


@dataclass
class Disk:
    """Whether writing to it fails now."""

    full: bool = False

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return REAL_PWRITE(descriptor, data, offset)


REAL_PWRITE = os.pwrite

Step = tuple[str, int, int]


@dataclass
class Program:
    """One user of one attachment, running its steps; remembers which versions its handle may have seen."""

    store: Store
    reader: Reader
    blobs: Blobs
    disk: Disk
    name: AttachmentId
    steps: list[Step]

    def __post_init__(self) -> None:
        self.handle = self.opened()

    def opened(self) -> ReadHandle:
        self.possible = list(range(10))
        return self.reader.open(PLACE, self.store.attachment(self.name))

    async def run(self) -> None:
        for kind, number, other in self.steps:
            try:
                with trio.move_on_after(other / 100 if kind == "hasty" else 1000):
                    await self.step(kind, number, other)
            except AerofsError:
                pass
        self.handle.close()

    async def step(self, kind: str, number: int, other: int) -> None:
        if kind in ("read", "hasty"):
            self.check(number, other, await self.handle.read(number, other))
        elif kind == "on":
            at = 0
            for _ in range(number % 30):
                data = await self.handle.read(at, 64)
                self.check(at, 64, data)
                at += len(data)
        elif kind == "reopen":
            self.handle.close()
            self.handle = self.opened()
        elif kind == "sleep":
            await trio.sleep(number / 100)
        elif kind == "all":
            path = await self.handle.fetch_all()
            self.check(0, 10_000, path.read_bytes())
        elif kind == "size":
            size = await self.handle.size()
            assert size in {len(version[self.name]) for version in self.store.versions}
        elif kind == "drop":
            self.blobs.drop(self.name)
        elif kind == "disk":
            self.disk.full = not self.disk.full
        elif kind == "change" and len(self.store.versions) < 3:
            # A store that tells no total cannot contradict the size that the platform promised; one that knows no
            # ranges cannot prove that it is right.
            number = len(self.store.versions)
            provable = self.store.tells_total and (self.store.ranged or not self.store.tells_size)
            self.store.versions.append(contents(number, longer=number % 2 if provable else 0))

    def check(self, offset: int, length: int, data: bytes) -> None:
        versions = self.store.versions
        if data:
            self.possible = [
                number
                for number in self.possible
                if number < len(versions) and versions[number][self.name][offset : offset + len(data)] == data
            ]
            assert self.possible, f"bytes of no version, or of two: {offset}+{length}"
        assert len(data) == length or offset + len(data) >= LENGTHS[IDS.index(self.name)]


async def cat(reader: Reader, store: Store, name: AttachmentId) -> bytes:
    """The whole of an attachment by a fresh handle; a version that changed under it is opened once more."""
    for attempt in range(3):
        handle = reader.open(PLACE, store.attachment(name))
        data = b""
        try:
            while piece := await handle.read(len(data), 100):
                data += piece
        except StaleError:
            assert attempt < 2
        else:
            return data
        finally:
            handle.close()
    raise AssertionError


async def scenario(store: Store, programs: list[tuple[int, list[Step]]]) -> None:
    disk = Disk()
    with tempfile.TemporaryDirectory() as directory, mock.patch("os.pwrite", disk.pwrite):
        blobs = Blobs(Path(directory), maximum_bytes=3000, maximum_open=1)
        async with trio.open_nursery() as background:
            reader = Reader(blobs, store, background, pace=PACE)
            with trio.fail_after(100_000):
                async with trio.open_nursery() as nursery:
                    for number, steps in programs:
                        program = Program(store, reader, blobs, disk, IDS[number], steps)
                        nursery.start_soon(program.run)
                store.faults.clear()
                disk.full = False
                await trio.sleep(100)
                for name in IDS:
                    held = blobs.get(name)
                    data = await cat(reader, store, name)
                    if held is not None and held.whole:
                        assert data in [version[name] for version in store.versions]
                    else:
                        assert data == store.versions[-1][name]
                await trio.sleep(100)
            assert store.running == 0
            assert set(reader.statistics().values()) == {0}
            background.cancel_scope.cancel()
        blobs.close()


steps = st.one_of(
    st.tuples(st.sampled_from(["read", "hasty"]), st.integers(0, 5200), st.integers(0, 700)),
    st.tuples(st.just("read"), st.integers(0, 80).map(lambda block: block * 64), st.just(64)),
    st.tuples(st.sampled_from(["on", "sleep", "reopen"]), st.integers(0, 800), st.just(0)),
    st.tuples(st.sampled_from(["all", "size", "drop", "disk", "change"]), st.just(0), st.just(0)),
)
faults = st.one_of(
    st.none(),
    st.builds(
        Fault, st.sampled_from(["cut", "short", "stall", "group", "refused", "expired"]), st.integers(0, 900)
    ),
)
stores = st.builds(
    Store,
    ranged=st.booleans(),
    tells_total=st.booleans(),
    tells_size=st.booleans(),
    chunk=st.integers(1, 300).map(lambda size: max(size, 16)),
    url_lifetime=st.sampled_from([0.3, 3.0, 1e9]),
    faults=st.lists(faults, max_size=15),
)


@settings(max_examples=150, deadline=None)
@given(stores, st.lists(st.tuples(st.integers(0, 1), st.lists(steps, max_size=12)), min_size=1, max_size=4))
def test_reads_yield_the_bytes_or_an_error_and_never_hang(
    store: Store, programs: list[tuple[int, list[Step]]]
) -> None:
    trio.run(scenario, store, programs, clock=MockClock(autojump_threshold=0))
