"""Which download brings the bytes that a blob misses, and running it: one stream, and the pieces beside it.

Readers that read on share one *stream*, an open-ended ranged GET that runs at most a window ahead of them; a seek
fetches a *piece*, a small aligned range, without disturbing the stream. Downloads run in the mount's background
nursery, so that a cancelled reader takes nothing from the others.

Invariants: a failed download tells exactly those who wait for it, and the next read tries again. Nothing but
cancellation ever leaves a background task.
"""

import logging
import math
from collections.abc import Collection

import trio

from aerofs.content.blobs import Blob
from aerofs.content.origin import Download, as_ours
from aerofs.content.source import RenewedError, Source, body
from aerofs.content.transfer import Cursor, Job, Pace, Parking, piece_around, stream_end
from aerofs.errors import AerofsError, DeadlineError, ProtocolError, UnavailableError

log = logging.getLogger(__name__)

ENDLESS = 1 << 62
LONGEST_PAUSE = 5.0  # a reader waits


class Supply:
    """The downloads of one attachment.

    Args:
        cursors: Those who read it now.
    """

    def __init__(
        self,
        blob: Blob,
        source: Source,
        cursors: Collection[Cursor],
        *,
        nursery: trio.Nursery,
        pace: Pace,
        parking: Parking,
    ) -> None:
        self.blob = blob
        self._source = source
        self._cursors = cursors
        self._nursery = nursery
        self._pace = pace
        self._parking = parking
        self._stream: Job | None = None
        self._pieces: list[Job] = []
        self._ranged = True

    def __repr__(self) -> str:
        return f"<Supply {self.blob!r} {self.jobs}>"

    @property
    def jobs(self) -> list[Job]:
        """The downloads that run now."""
        return [*self._pieces, *([self._stream] if self._stream else [])]

    def close(self) -> None:
        """End every download; who still waits for one asks again."""
        for job in self.jobs:
            self._finish(job)

    # -- which download ------------------------------------------------------------------------------------------

    def notice(self, offset: int, stop: int) -> None:
        """Let the stream run on ahead of this read, if it is the stream's."""
        stream = self._stream
        if stream is not None and abs(offset - stream.position) <= self._pace.window + self._pace.near:
            stream.notice(stop)

    def to_the_end(self) -> Job:
        """A download that will tell where the attachment ends."""
        first = self.blob.held.end_from(0)
        return self._stream or self.of(first, ENDLESS, begin=first)

    def of(self, missing: int, end: int, *, begin: int | None) -> Job:
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
            abs(cursor.expected - stream.position) > reach for cursor in self._cursors
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

    # -- running a download --------------------------------------------------------------------------------------

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
