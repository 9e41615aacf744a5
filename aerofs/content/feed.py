"""Feeding a blob: the downloads that bring what its readers miss, shared by all handles of one attachment.

A read that misses bytes joins the download that brings them next, or starts one: readers that read on share
one *stream*, an open-ended ranged GET that runs at most a window ahead of them; a seek fetches a *piece*, a
small aligned range, without disturbing the stream. Downloads run in the mount's background nursery, so that a
cancelled reader takes nothing from the others.

Invariants: a handle that gave out bytes of one version answers ESTALE once the source turned out to have
another. A failed download tells exactly those who wait for it, and the next read tries again. Nothing but
cancellation ever leaves a background task.
"""

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from aerofs.content.blobs import Blob
from aerofs.content.origin import Download, Links, Origin, as_ours
from aerofs.content.source import RenewedError, Source, body
from aerofs.content.transfer import Cursor, Job, Pace, Parking, piece_around, stream_end
from aerofs.errors import (
    AerofsError,
    DeadlineError,
    LocalIOError,
    NoSpaceError,
    ProtocolError,
    StaleError,
    UnavailableError,
)
from aerofs.model import FieldRef

log = logging.getLogger(__name__)

ENDLESS = 1 << 62
FULL_FOR = 5.0  # seconds that a full disk is not asked again
LONGEST_PAUSE = 5.0  # a reader waits


class Feed:
    """All downloads of one attachment, and its readers."""

    def __init__(
        self,
        blob: Blob,
        place: FieldRef,
        *,
        origin: Origin,
        links: Links,
        nursery: trio.Nursery,
        pace: Pace,
        parking: Parking,
        learned: Callable[[FieldRef, Blob], None],
    ) -> None:
        self.blob = blob
        self.cursors: set[Cursor] = set()
        self._source = Source(blob, place, origin=origin, links=links, learned=learned, renewed=self.close)
        self._nursery = nursery
        self._pace = pace
        self._parking = parking
        self._stream: Job | None = None
        self._pieces: list[Job] = []
        self._ranged = True
        self._full_until = -math.inf

    def cursor(self) -> Cursor:
        """One more reader."""
        cursor = Cursor(self._pace)
        self.cursors.add(cursor)
        return cursor

    def __repr__(self) -> str:
        return f"<Feed {self.blob!r} {len(self.cursors)} readers, {self.jobs}>"

    @property
    def jobs(self) -> list[Job]:
        """The downloads that run now."""
        return [*self._pieces, *([self._stream] if self._stream else [])]

    def close(self) -> None:
        """End every download; who still waits for one asks again."""
        for job in self.jobs:
            self._finish(job)

    # What readers ask.

    async def read(self, cursor: Cursor, offset: int, length: int) -> bytes:
        """The bytes `[offset, offset + length)`, fewer only where the attachment ends."""
        stop = offset + length
        begin = cursor.follow(offset, stop)
        self._notice(offset, stop)
        while True:
            self._check(cursor)
            end = self._clip(stop)
            if offset >= end or self.blob.held.covers(offset, end):
                cursor.version = self.blob.version
                return self.blob.pread(offset, end - offset) if offset < end else b""
            if self.blob.size is None and begin is None:
                await self.size(cursor)
            elif trio.current_time() >= self._full_until:
                with suppress(NoSpaceError, LocalIOError):
                    await self._obtain(offset, end, begin=begin)
            else:
                version = self.blob.version
                with suppress(RenewedError):
                    data = await self._direct(offset, end)
                    if version == self.blob.version:
                        cursor.version = version
                        return data

    async def size(self, cursor: Cursor) -> int:
        """The length: as known, else as listed, as a small download tells, or as its end shows."""
        if self.blob.size is None:
            await self._source.ask_size()
        while self.blob.size is None:
            self._check(cursor)
            first = self.blob.held.end_from(0)
            job = self._stream or self._supply(first, ENDLESS, first)
            await job.wait(ENDLESS)
            if job.error is not None and self.blob.size is None:
                raise job.error
        return self.blob.size

    async def fetch_all(self, cursor: Cursor) -> Path:
        """The path of the whole attachment on this disk; good while the blob is pinned."""
        if self.blob.size is None:
            await self.size(cursor)  # what is sent on, or kept in its place, is measured against a proof
        while not self.blob.whole:
            self._check(cursor)
            await self._obtain(0, self._clip(ENDLESS), begin=0)
        self._check(cursor)
        cursor.version = self.blob.version
        return self.blob.file()

    def _check(self, cursor: Cursor) -> None:
        if cursor.closed:
            raise LocalIOError(f"{self.blob.id}: the handle is closed")
        if cursor.version not in (None, self.blob.version):
            raise StaleError(f"{self.blob.id}: the object store has other bytes by now")

    def _clip(self, stop: int) -> int:
        return stop if self.blob.size is None else min(stop, self.blob.size)

    def _notice(self, offset: int, stop: int) -> None:
        """Let the stream run on ahead of this read, if it is the stream's."""
        stream = self._stream
        if stream is not None and abs(offset - stream.position) <= self._pace.window + self._pace.near:
            stream.notice(stop)

    async def _obtain(self, offset: int, end: int, *, begin: int | None) -> None:
        """Wait for one download that brings what `[offset, end)` misses first."""
        held = self.blob.held
        missing = held.end_from(offset)
        job = self._supply(missing, end, None if begin is None else held.end_from(begin))
        await job.wait(end)
        if job.error is None or held.covers(missing, self._clip(end)):
            return
        if isinstance(job.error, NoSpaceError | LocalIOError):
            log.info("%s: read without caching for a while: %s", self.blob.id, job.error)
            self._full_until = trio.current_time() + FULL_FOR
        raise job.error

    async def _direct(self, offset: int, end: int) -> bytes:
        """The bytes, without storing them (the disk is full)."""
        async with self._source.open(offset, end) as download:
            if offset >= (end := self._clip(end)):
                return b""
            if download.start != offset:
                raise NoSpaceError(f"{self.blob.id}: no space to cache it, and its server knows no ranges")
            data = bytearray()
            async with body(download) as chunks:
                async for chunk in chunks:
                    data += chunk
                    if len(data) >= end - offset:
                        return bytes(data[: end - offset])
        raise UnavailableError(f"{self.blob.id}: the download ended after {len(data)} bytes")

    # Which download.

    def _supply(self, missing: int, end: int, begin: int | None) -> Job:
        """The download that brings the byte `missing`; `begin`: where a stream for it would begin."""
        stream = self._stream
        near = self._pace.window if begin is not None else self._pace.near
        if stream is not None and stream.brings(missing, within=near if self._ranged else math.inf):
            return stream
        for piece in self._pieces:
            if piece.brings(missing):
                return piece
        held, size = self.blob.held, self.blob.size
        if self._ranged and (begin is None or not self._deserted(stream)):
            end = min(end, missing + max(self._pace.window, self._pace.near))
            unit = self._pace.piece if begin is None else self._pace.near
            start, stop = piece_around(missing, end, unit=unit, held=held, size=size, others=self._pieces)
            return self._start(Job(start, stop, paced=False))
        if stream is not None:
            self._finish(stream)
        begin = missing if begin is None else begin
        bound = stream_end(begin, near=self._pace.near, held=held, size=size) if self._ranged else None
        return self._start(Job(begin, bound, paced=True))

    def _deserted(self, stream: Job | None) -> bool:
        """Whether nobody reads near the stream any more."""
        if stream is None:
            return True
        reach = self._pace.window + self._pace.near
        return not stream.waited_for and all(
            abs(cursor.expected - stream.position) > reach for cursor in self.cursors
        )

    def _start(self, job: Job) -> Job:
        try:
            self._nursery.start_soon(self._run, job, name=f"download {self.blob.id}")
        except RuntimeError as closed:
            raise UnavailableError("the mount has ended") from closed
        if job.paced:
            self._stream = job
        else:
            self._pieces.append(job)
        return job

    def _finish(self, job: Job, error: AerofsError | None = None) -> None:
        if job is self._stream:
            self._stream = None
        elif job in self._pieces:
            self._pieces.remove(job)
        job.finish(error)

    # Running a download.

    async def _run(self, job: Job) -> None:
        error: AerofsError | None = UnavailableError("the mount is ending")
        try:
            with job.scope:
                await self._fill(job)
            error = None
        except RenewedError:
            error = None  # who waits asks anew
        except Exception as unforeseen:  # noqa: BLE001 - it belongs to those who wait, not to the nursery
            error = as_ours(unforeseen)
        finally:
            self._finish(job, error)

    async def _fill(self, job: Job) -> None:
        """Bring the bytes of a job, resuming where a body breaks off."""
        tries, best = 0, job.position
        while not job.over and not self._done(job):
            began = False
            try:
                async with self._source.open(job.position, job.stop) as download:
                    began = True
                    await self._take(job, download)
            except UnavailableError as error:
                # (A body that trickles, silent for a whole deadline in between, would keep its readers for hours.)
                silent = isinstance(error, DeadlineError)
                stuck = job.position < best + self._pace.piece if silent and tries else job.position <= best
                tries, best = (tries + 1, best) if stuck else (1, job.position)
                # A request that never began was retried by the platform's client already.
                if not began or tries >= self._pace.tries or (stuck and silent):
                    raise
                log.debug("%r: resuming after %s", job, error)
                await trio.sleep(min(error.retry_after or 0.1 * 2**tries, LONGEST_PAUSE))
                if stuck and not self.blob.confirmed:
                    await self._source.probe()  # a size promised too large asks for what is not there

    def _done(self, job: Job) -> bool:
        return job.position >= self._end(job)

    def _end(self, job: Job) -> float:
        return min(job.stop or math.inf, math.inf if self.blob.size is None else self.blob.size)

    async def _take(self, job: Job, download: Download) -> None:
        """Store one body, as far as the job goes and its readers come along."""
        if job.over:
            return
        at = download.start
        if at != job.position and not self._restart(job, at):
            return
        if self._done(job):
            return
        async with body(download) as chunks:
            async for chunk in chunks:
                if job.over:
                    return
                data = memoryview(chunk)[: int(min(self._end(job) - at, len(chunk)))]
                self._store(at, data)
                at += len(data)
                job.advance(at)
                if self._done(job):
                    return
                if job.paced and not await self._keep_pace(job):
                    self._finish(job)
                    return
        if self._end(job) != math.inf:
            raise UnavailableError(f"{self.blob.id}: the download ended early, after byte {at}")
        self._source.know(at)

    def _restart(self, job: Job, at: int) -> bool:
        """A server without ranges began at 0: whether the job goes on, as the stream."""
        if at != 0:
            raise ProtocolError(f"{self.blob.id}: asked for byte {job.position}, the server begins at {at}")
        self._ranged = False
        if self._stream is not None and self._stream is not job:
            self._finish(job)  # the stream brings everything
            return False
        if job in self._pieces:
            self._pieces.remove(job)
            self._stream, job.paced, job.stop = job, True, None
        job.advance(0)
        return True

    def _store(self, at: int, data: memoryview) -> None:
        for start, stop in list(self.blob.held.gaps(at, at + len(data))):
            self.blob.write(start, data[start - at : stop - at])

    async def _keep_pace(self, job: Job) -> bool:
        """Wait while the stream is a window ahead of its readers; False if it is of no more use."""
        while job.far_enough(self._pace):
            if not await self._parking.wait(job, idle=self._pace.idle):
                return False
        return True
