"""A file being written: its bytes on the local disk until the platform has them.

A draft is plain storage with a change counter: it knows neither names nor the platform. While a save reads it, it is
*frozen*; the first write after that clones the file, so that a save always sends exactly the bytes that it recorded.
What a close() accepted of a file that goes on being written is *protected*: bytes may be added behind it, but the first
change of it clones the file, too. A log that is flushed after each of a thousand lines is so never copied.
Small reads and writes run inline (page cache); whatever may take long (copying, syncing, hashing) runs in a thread.
"""

import os
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

import trio

from aerofs.content.disk import FULL, clone, local_error
from aerofs.content.spool import Spool
from aerofs.errors import AerofsError, TooLargeError


class Draft:
    """The bytes of one file that is being written.

    Attributes:
        path: Where the bytes are now (another file after a clone).
        size: Bytes.
        changes: Grows with every change of the bytes.
        refusal: The error that a write met. Such a draft is never committed; every flush repeats the error.
        limit: Largest size in bytes, None if unlimited (the field's Maximum File Size).
        spool: The disk under all drafts; None: nobody bounds what they take.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: int | None = None,
        spool: Spool | None = None,
        new: bool = False,
        cut: int | None = None,
    ) -> None:
        """Open an existing file, or make it.

        Args:
            path: The file.
            limit: See the attributes.
            spool: See the attributes.
            new: It is made.
            cut: Bytes from which on nothing of the file counts.

        Raises:
            NoSpaceError, LocalIOError: It cannot be opened or made.
        """
        self._directory = path.parent
        self.limit = limit
        self.spool = spool
        self.changes = 0
        self.refusal: AerofsError | None = None
        self._readers_of_frozen = 0
        self._protected = 0
        self._cloning = trio.Lock()
        self.path = path
        flags = os.O_CREAT | os.O_EXCL if new else 0
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
            self.size = os.fstat(self._fd).st_size
            if cut is not None and cut < self.size:
                os.ftruncate(self._fd, cut)
                self.size = cut
        except OSError as error:
            raise local_error(error, f"draft {path.name}") from error

    @classmethod
    def empty(cls, directory: Path, *, limit: int | None = None, spool: Spool | None = None) -> Self:
        """Start empty, in a new file of `directory`."""
        return cls(_new_path(directory), limit=limit, spool=spool, new=True)

    @classmethod
    async def copy_of(
        cls, source: Path, directory: Path, *, limit: int | None = None, spool: Spool | None = None
    ) -> Self:
        """A draft that starts with the bytes of another file."""
        path = _new_path(directory)
        try:
            with _growing(spool, source):
                await trio.to_thread.run_sync(clone, source, path)
            return cls(path, limit=limit, spool=spool)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise local_error(error, "copying the version to be changed") from error

    def __repr__(self) -> str:
        frozen = ", frozen" if self._readers_of_frozen else ""
        protected = f", {self._protected} protected" if self._protected else ""
        return f"<Draft {self.path.name}: {self.size} bytes, {self.changes} changes{frozen}{protected}>"

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; short at the end."""
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            raise local_error(error, f"draft {self.path.name}") from error

    async def write(self, offset: int, data: bytes) -> int:
        """Write all of `data`.

        Raises:
            NoSpaceError, TooLargeError, LocalIOError: The draft is refused from now on.
        """
        self._admit(offset + len(data))
        await self._thaw(offset)
        self._grow(offset + len(data))
        view = memoryview(data)
        try:
            while view:
                written = self._put(offset, view)
                offset += written
                view = view[written:]
        except OSError as error:
            raise self._refuse(local_error(error, "writing")) from error
        finally:
            # Also after a failure in the middle: what was written is there to be read.
            self.size = max(self.size, offset if len(view) < len(data) else 0)
            self.changes += 1
        return len(data)

    def _put(self, offset: int, view: memoryview) -> int:
        try:
            return os.pwrite(self._fd, view, offset)
        except OSError as error:
            if error.errno not in FULL or self.spool is None or not self.spool.make_room(len(view)):
                raise
        return os.pwrite(self._fd, view, offset)

    async def truncate(self, size: int) -> None:
        """Cut or extend with zeros. Raises as `write`."""
        if size > self.size:
            self._admit(size)
        await self._thaw(size, keep=size)
        self._grow(size)
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise self._refuse(local_error(error, "truncating")) from error
        self.size = size
        self.changes += 1

    def sync_file(self, path: Path) -> None:
        """Bring a file of this draft to the disk, with its label and its name. Blocks: call it in a thread.

        That the sync of a new file keeps its name, too, is so on ext4, XFS and btrfs. Opens the file anew, because the
        draft may move on to a clone meanwhile.
        """
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            # Not a refusal for ever: the bytes are all there, and the next try may find room or a free descriptor.
            raise local_error(error, "syncing") from error

    async def unshare(self) -> None:
        """See to it that no save reads the file that the draft uses: from now on it is the draft's alone.

        Raises:
            NoSpaceError, LocalIOError: It could not be cloned; everything is as before.
        """
        await self._part(lambda: self._readers_of_frozen > 0)

    async def _part(self, needed: Callable[[], bool], *, keep: int | None = None) -> None:
        """Go on in a clone, where that is needed; `keep`: so many bytes of it are enough.

        Whoever comes while a clone is made waits for it, because what is written to the first file is not in it.
        """
        if not (needed() or self._cloning.locked()):
            return
        async with self._cloning:
            if not needed():
                return
            target = _new_path(self._directory)
            try:
                with _growing(self.spool, self.path, keep):
                    await trio.to_thread.run_sync(clone, self.path, target, keep)
                if not needed():
                    # The save ended meanwhile: nobody but the draft needs the first file.
                    target.unlink()
                    return
                fd = os.open(target, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                target.unlink(missing_ok=True)
                raise local_error(error, "cloning the draft") from error
            self.close()
            self._fd, self.path = fd, target
            self._readers_of_frozen = self._protected = 0

    def freeze(self) -> Path:
        """Keep the present bytes as they are, in the returned file, until `release_frozen`."""
        self._readers_of_frozen += 1
        return self.path

    def release_frozen(self, path: Path) -> bool:
        """Give back what `freeze` gave. Returns whether the draft still uses that very file."""
        if path != self.path:
            return False
        self._readers_of_frozen -= 1
        return True

    def protect(self) -> Path:
        """Keep the present bytes as they are, at the beginning of the returned file, until `leave`."""
        self._protected = self.size
        return self.path

    def leave(self, path: Path) -> None:
        """Nobody else needs that file any more, be it the draft's own or one that it has gone on from."""
        if path == self.path:
            self._protected = 0
        else:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Close the file and remove it, unless a save still reads it."""
        self.close()
        if not self._readers_of_frozen:
            self.path.unlink(missing_ok=True)

    def _admit(self, size: int) -> None:
        if self.limit is not None and size > self.limit:
            raise self._refuse(TooLargeError(f"{size} bytes; the field admits {self.limit}"))

    def _grow(self, size: int) -> None:
        """Nothing may be awaited between this and the write: what is admitted is on the disk at once."""
        if self.spool is not None and size > self.size:
            try:
                self.spool.admit(size - self.size)
            except AerofsError as error:
                raise self._refuse(error) from error

    def _refuse(self, error: AerofsError) -> AerofsError:
        self.refusal = error
        return error

    async def _thaw(self, changed: int, *, keep: int | None = None) -> None:
        """Before the bytes from an offset on are changed."""
        try:
            await self._part(lambda: self._readers_of_frozen > 0 or changed < self._protected, keep=keep)
        except AerofsError as error:
            raise self._refuse(error) from error


def _growing(spool: Spool | None, source: Path, keep: int | None = None) -> AbstractContextManager[None]:
    """While a copy of a file is made."""
    if spool is None:
        return nullcontext()
    size = source.stat().st_size
    return spool.reserved(size if keep is None else min(size, keep))


def _new_path(directory: Path) -> Path:
    return directory / f"{uuid.uuid4().hex}.draft"
