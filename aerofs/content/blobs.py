"""Blobs: the bytes of attachments on the local disk, one sparse file each, however much of it is held.

An attachment never changes under its id, so a held byte is right for ever. Which bytes are held is known in
memory alone and the directory is emptied at mount: what a blob says it holds, it wrote itself. No request is
made here and no name is known; `supply.py` decides what to fetch.

Invariants: everything runs inline on the trio thread (page cache speed; nothing here awaits). A pinned blob
is never evicted, and its file stays until the last pin goes, even after `drop`. The blobs that nobody pins
go, the longest unused first, while all together hold more than `maximum_bytes`.
"""

import hashlib
import logging
import os
import re
from collections import OrderedDict
from contextlib import suppress
from itertools import count
from pathlib import Path

from aerofs.content.disk import FULL
from aerofs.content.ranges import Ranges
from aerofs.errors import LocalIOError, NoSpaceError
from aerofs.model import AttachmentId

log = logging.getLogger(__name__)

SUFFIX = ".blob"

_LEFT_FREE = 0.05
_LEFT_FREE_AT_MOST = 64 << 20
"""What a cache leaves for saves: a twentieth of the disk, or so many bytes."""


class Blob:
    """What is held of one attachment.

    Attributes:
        size: The attachment's length; None while unknown.
        held: The byte ranges on this disk.
        etag: The object store's mark of the version that the held bytes belong to, where it told one.
        confirmed: Whether `size` is the object store's own word, not only the platform's promise.
        proven: The length that the store told beside a range; an answer of another length needs that proof, too.
        version: Moves on when the held bytes turned out to be of another version and were forgotten.
    """

    __slots__ = ("_blobs", "_pins", "confirmed", "etag", "held", "id", "path", "proven", "size", "version")

    def __init__(self, blobs: "Blobs", id: AttachmentId, path: Path, size: int | None) -> None:  # noqa: A002
        self._blobs = blobs
        self._pins = 0
        self.id = id
        self.path = path
        self.size = size
        self.held = Ranges()
        self.etag: str | None = None
        self.confirmed = False
        self.proven: int | None = None
        self.version = 0

    def __repr__(self) -> str:
        return f"<Blob {self.id} {self.held.total}/{self.size} pins={self._pins}>"

    @property
    def whole(self) -> bool:
        """Whether every byte is held."""
        return self.size is not None and self.held.covers(0, self.size)

    @property
    def pinned(self) -> bool:
        """Whether somebody relies on the held bytes to stay."""
        return self._pins > 0

    def pin(self) -> None:
        """Keep the held bytes until `unpin` was called as often."""
        self._pins += 1

    def unpin(self) -> None:
        """Let go of one pin."""
        if not self._pins:
            raise ValueError(f"{self!r} is not pinned")
        self._pins -= 1
        if not self._pins:
            self._blobs.unpinned(self)

    def pread(self, offset: int, length: int) -> bytes:
        """The held bytes `[offset, offset + length)`; the caller knows that they are held.

        Raises:
            LocalIOError: The file failed, or somebody cut it.
        """
        try:
            data = os.pread(self._blobs.descriptor(self), length, offset)
        except OSError as error:
            raise LocalIOError(f"{self.id}: reading its local copy failed: {error.strerror}") from error
        if len(data) != length:
            raise LocalIOError(f"{self.id}: its local copy was cut at {offset + len(data)}")
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Hold `data` from `offset` on. A full disk first costs the blobs that nobody uses.

        Raises:
            NoSpaceError: The disk stayed full; nothing of `data` counts as held.
            LocalIOError: The file failed.
        """
        view, done = memoryview(data), 0
        if self._blobs.is_tight(len(view)) and not self._blobs.make_room(len(view)):
            raise NoSpaceError(f"{self.id}: no space to cache it and leave some for saves")
        while done < len(view):
            try:
                done += os.pwrite(self._blobs.descriptor(self), view[done:], offset + done)
            except OSError as error:
                if error.errno not in FULL:
                    raise LocalIOError(f"{self.id}: caching it failed: {error.strerror}") from error
                if not self._blobs.make_room(len(view)):
                    raise NoSpaceError(f"{self.id}: no space to cache it") from error
        self._blobs.grew(self, self.held.add(offset, offset + len(view)))

    def file(self) -> Path:
        """The path of the whole blob, which must be whole; good as long as it is pinned.

        Raises:
            LocalIOError: The file cannot be made.
        """
        try:
            os.ftruncate(self._blobs.descriptor(self), self.size or 0)
        except OSError as error:
            raise LocalIOError(f"{self.id}: its local copy failed: {error.strerror}") from error
        return self.path

    def forget(self) -> None:
        """Hold nothing any more: what was held is of another version."""
        self._blobs.grew(self, -self.held.total)
        self.held.clear()
        self.version += 1


class Blobs:
    """Every blob of one mount, in a directory of their own.

    Args:
        directory: Made 0700 if need be; blobs of an earlier mount in it are removed.
        maximum_bytes: What may be held altogether (pinned blobs may exceed it).
        maximum_open: How many files are kept open.
    """

    def __init__(self, directory: Path, *, maximum_bytes: int = 5 << 30, maximum_open: int = 256) -> None:
        self._directory = directory
        self._maximum_bytes = maximum_bytes
        self._maximum_open = maximum_open
        self._blobs: OrderedDict[AttachmentId, Blob] = OrderedDict()  # the longest unused first
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._numbers = count(1)
        self._bytes = 0
        self._evicted = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            for left in directory.glob(f"*{SUFFIX}"):
                left.unlink()
        except OSError as error:
            raise LocalIOError(f"{directory}: cannot hold cached files: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"<Blobs {len(self._blobs)} blobs, {self._bytes} bytes>"

    def statistics(self) -> dict[str, int]:
        """Counts: blobs, bytes held, files open, blobs evicted so far."""
        return {
            "blobs": len(self._blobs),
            "bytes": self._bytes,
            "open": len(self._open),
            "evicted": self._evicted,
        }

    def get(self, id: AttachmentId) -> Blob | None:  # noqa: A002
        """The blob of this attachment, if there is one; that counts as a use."""
        blob = self._blobs.get(id)
        if blob is not None:
            self._blobs.move_to_end(id)
        return blob

    def blob(self, id: AttachmentId, size: int | None) -> Blob:  # noqa: A002
        """The blob of this attachment, made if need be.

        `size` is the platform's promise: it corrects only a size not confirmed, with nothing held.
        """
        blob = self.get(id)
        if blob is None:
            blob = self._blobs[id] = Blob(self, id, self._path(id), size)
        elif size is not None and (blob.size is None or not (blob.confirmed or blob.held)):
            blob.size = size
        return blob

    def adopt(self, id: AttachmentId, path: Path, size: int) -> None:  # noqa: A002
        """Make the file at `path` (`size` bytes) the whole blob of `id`; it is gone from `path` afterwards.

        A file that cannot be taken over (another file system, another length) is removed and will be fetched
        when it is next read: the platform has it.
        """
        self.drop(id)
        blob = Blob(self, id, self._path(id), size)
        try:
            fits = path.stat().st_size == size
            if fits:
                path.rename(blob.path)
        except OSError as error:
            log.info("%s: the draft does not become a blob: %s", id, error.strerror)
            fits = False
        if not fits:
            with suppress(OSError):
                path.unlink()
            return
        blob.confirmed = True
        self._blobs[id] = blob
        self.grew(blob, blob.held.add(0, size))

    def share(self, source: AttachmentId, target: AttachmentId) -> None:
        """A copy on the platform has the same bytes: what is whole here of the one is the blob of the other, too."""
        blob = self._blobs.get(source)
        if blob is None or not blob.whole or blob.size is None or target in self._blobs:
            return
        name = self._path(target).with_suffix(".shared")
        with suppress(OSError):
            name.unlink(missing_ok=True)
            name.hardlink_to(blob.path)
            self.adopt(target, name, blob.size)

    def drop(self, id: AttachmentId) -> None:  # noqa: A002
        """Forget the blob of this attachment; who has it pinned reads on."""
        blob = self._blobs.pop(id, None)
        if blob is None:
            return
        self._bytes -= blob.held.total
        if not blob.pinned:
            self._remove(blob)

    def close(self) -> None:
        """Close every file; the blobs stay usable (their files are opened again)."""
        while self._open:
            os.close(self._open.popitem()[1])

    # What blobs ask of their house; of no use to anybody else.

    def descriptor(self, blob: Blob) -> int:
        """The blob's open file; good until the next call.

        Raises:
            OSError: It cannot be opened.
        """
        descriptor = self._open.get(blob.path)
        if descriptor is not None:
            self._open.move_to_end(blob.path)
            return descriptor
        if len(self._open) >= self._maximum_open:
            os.close(self._open.popitem(last=False)[1])
        # A file that vanished must not come back as zeros: it is made only while nothing is held.
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if blob.held else os.O_CREAT)
        descriptor = self._open[blob.path] = os.open(blob.path, flags, 0o600)
        return descriptor

    def grew(self, blob: Blob, by: int) -> None:
        """Count what came or went; beyond the bound, unused blobs go. A dropped blob counts no more."""
        if self._blobs.get(blob.id) is blob:
            self._bytes += by
            self._shrink()

    def unpinned(self, blob: Blob) -> None:
        """The last pin went: an end for dropped blobs and those that hold nothing, a use for all others."""
        if self._blobs.get(blob.id) is not blob:
            self._remove(blob)
        elif not blob.held and not blob.whole:  # an empty file is whole, and somebody may be about to copy it
            self.drop(blob.id)
        else:
            self._blobs.move_to_end(blob.id)
            self._shrink()

    def is_tight(self, bytes_: int) -> bool:
        """Whether so many bytes more would take what is left for saves."""
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return False
        if not disk.f_blocks:
            return False  # one that does not tell how large it is: what does not fit is noticed
        left = min(_LEFT_FREE * disk.f_blocks * disk.f_frsize, _LEFT_FREE_AT_MOST)
        return disk.f_bavail * disk.f_frsize - bytes_ < left

    def make_room(self, bytes_: int) -> bool:
        """Evict unused blobs of at least so many bytes altogether; False where there was none."""
        return self._evict(self._bytes - bytes_)

    def _shrink(self) -> None:
        if self._bytes > self._maximum_bytes:
            self._evict(self._maximum_bytes)

    def _evict(self, target: int) -> bool:
        evicted = False
        for blob in [blob for blob in self._blobs.values() if blob.held and not blob.pinned]:
            if self._bytes <= target:
                break
            log.debug("evicting %r", blob)
            self.drop(blob.id)
            self._evicted += 1
            evicted = True
        return evicted

    def _remove(self, blob: Blob) -> None:
        descriptor = self._open.pop(blob.path, None)
        if descriptor is not None:
            os.close(descriptor)
        with suppress(OSError):
            blob.path.unlink()

    def _path(self, id: AttachmentId) -> Path:  # noqa: A002
        """A fresh path: a dropped blob may still stand at the one used before."""
        plain = (
            id if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id) else hashlib.sha256(id.encode()).hexdigest()[:32]
        )
        return self._directory / f"{plain}.{next(self._numbers)}{SUFFIX}"
