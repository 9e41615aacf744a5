"""Reading attachments: handles that answer any range of bytes, from this disk or through one shared feed.

`Reader` knows which attachments are open and gives all handles of one the same `Feed`; what a handle adds is
the place where it reads. Opening costs no request; a held range is answered inline without waiting. The bytes
lie in `blobs.py`, what to download is decided in `supply.py`, and names, inodes and errnos are known to none.

Invariant: a feed lives exactly as long as its attachment is open, and its blob is pinned for that time.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from aerofs.content.blobs import Blob, Blobs
from aerofs.content.feed import Feed
from aerofs.content.origin import Download, Links, Origin
from aerofs.content.transfer import Cursor, Pace, Parking
from aerofs.model import Attachment, AttachmentId, FieldRef

__all__ = ["Download", "Origin", "Pace", "ReadHandle", "Reader"]

log = logging.getLogger(__name__)


class ReadHandle:
    """One open attachment; it keeps the version that it opened."""

    __slots__ = ("_closed", "_cursor", "_feed")

    def __init__(self, feed: Feed, closed: Callable[[Feed, Cursor], None]) -> None:
        self._feed = feed
        self._cursor = feed.cursor()
        self._closed = closed
        feed.blob.pin()

    def __repr__(self) -> str:
        return f"<ReadHandle {self._feed!r}{' closed' if self._cursor.closed else ''}>"

    @property
    def whole(self) -> bool:
        """Whether every byte is on this disk."""
        return self._feed.blob.whole

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly the bytes `[offset, offset + length)`: fewer where the attachment ends, none beyond that.

        Raises:
            StaleError: The attachment is gone from the platform, and these bytes are not held.
            UnavailableError: The download failed for now; the next read tries again.
            ProtocolError: The object store contradicts itself.
            NoSpaceError: The disk is full and the bytes cannot be had without storing them.
            LocalIOError: The local disk failed, or the handle is closed.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"no such range: {offset}+{length}")
        return await self._feed.read(self._cursor, offset, length)

    async def size(self) -> int:
        """The length in bytes, found out if need be: one list, else a download of one byte, else of all.

        Raises:
            AerofsError: As `read`.
        """
        return await self._feed.size(self._cursor)

    async def fetch_all(self) -> Path:
        """The path of the whole attachment on this disk, for reading only; good until this handle is closed.

        Raises:
            AerofsError: As `read`; NoSpaceError where it does not fit.
        """
        return await self._feed.fetch_all(self._cursor)

    def close(self) -> None:
        """End the handle; with the last one of an attachment its downloads end. Twice is as good as once."""
        if not self._cursor.closed:
            self._cursor.closed = True
            self._closed(self._feed, self._cursor)


class Reader:
    """All open attachments of one mount.

    Args:
        nursery: Where lists and downloads run; they outlive the read that caused them.
        pace: How far and how long downloads run ahead.
        link_lifetime: Seconds that a listed URL is taken to be good.
        learned: Called with the true size when an attachment's size was unknown or wrong.
    """

    def __init__(
        self,
        blobs: Blobs,
        origin: Origin,
        nursery: trio.Nursery,
        *,
        pace: Pace | None = None,
        link_lifetime: float = 300.0,
        learned: Callable[[FieldRef, AttachmentId, int], None] | None = None,
    ) -> None:
        self._blobs = blobs
        self._origin = origin
        self._nursery = nursery
        self._pace = pace or Pace()
        self._links = Links(origin, nursery, lifetime=link_lifetime)
        self._parking = Parking(self._pace.parked)
        self._learned = learned
        self._feeds: dict[AttachmentId, Feed] = {}

    def __repr__(self) -> str:
        return f"<Reader {len(self._feeds)} attachments open>"

    def statistics(self) -> dict[str, int]:
        """Counts: attachments open, handles on them, downloads running, streams that wait."""
        feeds = self._feeds.values()
        return {
            "open": len(self._feeds),
            "handles": sum(len(feed.cursors) for feed in feeds),
            "downloads": sum(len(feed.jobs) for feed in feeds),
            "parked": len(self._parking),
        }

    def open(self, place: FieldRef, attachment: Attachment) -> ReadHandle:
        """A handle on an attachment of that field; costs no request and never waits."""
        feed = self._feeds.get(attachment.id)
        if feed is None:
            feed = self._feeds[attachment.id] = Feed(
                self._blobs.blob(attachment.id, attachment.size),
                place,
                origin=self._origin,
                links=self._links,
                nursery=self._nursery,
                pace=self._pace,
                parking=self._parking,
                learned=self._tell,
            )
        return ReadHandle(feed, self._close)

    @asynccontextmanager
    async def fetch(self, place: FieldRef, attachment: Attachment) -> AsyncIterator[Path]:
        """The path of the whole attachment on this disk, for reading only, for as long as the block lasts.

        Raises:
            AerofsError: As `ReadHandle.fetch_all`.
        """
        handle = self.open(place, attachment)
        try:
            yield await handle.fetch_all()
        finally:
            handle.close()

    def _close(self, feed: Feed, cursor: Cursor) -> None:
        feed.cursors.discard(cursor)
        if not feed.cursors:
            feed.close()
            del self._feeds[feed.blob.id]
        feed.blob.unpin()

    def _tell(self, place: FieldRef, blob: Blob) -> None:
        if self._learned is not None and blob.size is not None:
            self._learned(place, blob.id, blob.size)
