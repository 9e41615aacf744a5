"""Feeding the readers of one attachment: from what is held of it, and from downloads that all of them share.

A read that misses bytes waits for the download that brings them next; which one that is, is decided in `supply.py`.

Invariant: a handle that gave out bytes of one version answers ESTALE once the source turned out to have another.
"""

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from aerofs.content.blobs import Blob
from aerofs.content.origin import Links, Origin
from aerofs.content.source import RenewedError, Source, body
from aerofs.content.supply import ENDLESS, Supply
from aerofs.content.transfer import Cursor, Job, Pace, Parking
from aerofs.errors import LocalIOError, NoSpaceError, StaleError, UnavailableError
from aerofs.model import FieldRef

log = logging.getLogger(__name__)

FULL_FOR = 5.0  # seconds that a full disk is not asked again


class Feed:
    """The readers of one attachment, and what brings them its bytes."""

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
        self._supply = Supply(blob, self._source, self.cursors, nursery=nursery, pace=pace, parking=parking)
        self._pace = pace
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
        return self._supply.jobs

    def close(self) -> None:
        """End every download; who still waits for one asks again."""
        self._supply.close()

    async def read(self, cursor: Cursor, offset: int, length: int) -> bytes:
        """The bytes `[offset, offset + length)`, fewer only where the attachment ends."""
        stop = offset + length
        begin = cursor.follow(offset, stop)
        self._supply.notice(offset, stop)
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
            job = self._supply.to_the_end()
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

    async def _obtain(self, offset: int, end: int, *, begin: int | None) -> None:
        """Wait for one download that brings what `[offset, end)` misses first."""
        held = self.blob.held
        missing = held.end_from(offset)
        job = self._supply.of(missing, end, begin=None if begin is None else held.end_from(begin))
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
