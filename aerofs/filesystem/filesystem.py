"""The face of the filesystem: POSIX operations on inode numbers, as `fuse/` receives them.

File names are str here (undecodable bytes as lone surrogates). Every operation raises errors of `aerofs.errors` only.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from aerofs.content.disk import local_error
from aerofs.content.facts import keepable
from aerofs.content.spool import Spool
from aerofs.content.store import Store
from aerofs.content.uploads import Uploads
from aerofs.errors import (
    IsDirectoryError,
    NoAttributeError,
    ReadOnlyError,
    RefusedError,
    UnsupportedError,
)
from aerofs.filesystem.attributes import Attributes, Attributor, Changes, Space, extended
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.directories import Directories
from aerofs.filesystem.files import Files
from aerofs.filesystem.finding import find
from aerofs.filesystem.moves import Moves
from aerofs.filesystem.nodes import Entry, FileNode
from aerofs.filesystem.recovery import Recovery
from aerofs.filesystem.saves import Saves
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.unlinking import Unlinking


class Filesystem:
    """One mounted tree.

    Attributes:
        waiting: What is not on the platform yet, and what a person may decide about it.
    """

    def __init__(
        self,
        *,
        tree: Tree,
        files: Files,
        moves: Moves,
        unlinking: Unlinking,
        commits: Commits,
        uploads: Uploads,
        recovery: Recovery,
        saves: Saves,
        attributor: Attributor,
        store: Store,
        spool: Spool,
        read_only: bool,
    ) -> None:
        self.waiting = saves
        self._tree = tree
        self._files = files
        self._moves = moves
        self._unlinking = unlinking
        self._commits = commits
        self._uploads = uploads
        self._recovery = recovery
        self._attributor = attributor
        self._store = store
        self._spool = spool
        self._read_only = read_only
        self._directories = Directories(tree)

    # -- nodes ---------------------------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: str) -> Attributes:
        """The entry of that name. The caller counts the lookup with `remember`."""
        directory = self._tree.directory(parent)
        if name in (".", ".."):
            return self._attributor.of(parent, directory)
        return self.entry_attributes(await find(self._tree, directory, name))

    def remember(self, inode: int) -> None:
        """The kernel holds one more reference."""
        self._tree.inodes.remember(inode)

    def forget(self, inode: int, count: int) -> None:
        """The kernel dropped that many references."""
        self._tree.inodes.forget(inode, count)

    def attributes(self, inode: int) -> Attributes:
        """stat(2) of a number that the kernel holds."""
        return self._attributor.of(inode, self._tree.node(inode))

    async def change(self, inode: int, changes: Changes, handle: int | None) -> Attributes:
        """truncate, chmod, chown, utimens. Times, mode and owner are remembered here: the platform has no place."""
        node = self._tree.node(inode)
        if self._read_only:
            raise ReadOnlyError("the mount is read-only")
        if changes.size is not None:
            if not isinstance(node, FileNode):
                raise IsDirectoryError("a directory has no size")
            await self._files.resize(node, changes.size, handle)
        if changes.uid is not None or changes.gid is not None:
            before = self._attributor.of(inode, node)
            self._attributor.owners[inode] = (
                before.uid if changes.uid is None else changes.uid,
                before.gid if changes.gid is None else changes.gid,
            )
        mode = None if changes.mode is None else changes.mode & 0o7777
        if isinstance(node, FileNode):
            node.mode = node.mode if mode is None else mode
            node.mtime_ns = node.mtime_ns if changes.mtime_ns is None else keepable(changes.mtime_ns)
            node.ctime_ns = time.time_ns()
            await self._commits.remember(node)
        else:
            self._attributor.remember(inode, mode=mode, mtime_ns=changes.mtime_ns)
        return self._attributor.of(inode, node)

    # -- directories ---------------------------------------------------------------------------------------------

    def open_directory(self, inode: int) -> int:
        """opendir(3). Returns the handle's number."""
        return self._directories.open(self._tree.directory(inode))

    def read_directory(self, number: int, start: int) -> AsyncIterator[tuple[int, Entry]]:
        """The entries from position `start` on, each with the position after it. 0 begins anew (rewinddir)."""
        return self._directories.read(number, start)

    def entry_attributes(self, entry: Entry) -> Attributes:
        """The attributes of a listed entry."""
        return self._attributor.of(entry.inode, entry.node)

    def close_directory(self, number: int) -> None:
        """closedir(3)."""
        self._directories.close(number)

    def refuse(self, name: str) -> None:
        """mkdir, symlink, link, mknod: the drive has no such things.

        Raises:
            RefusedError, ReadOnlyError: Always one of them.
        """
        if self._read_only:
            raise ReadOnlyError(f"{name}: the mount is read-only")
        raise RefusedError(f"{name}: the platform keeps documents and their files, nothing else")

    async def remove_directory(self, parent: int, name: str) -> None:
        """rmdir(2) is refused with what tools expect: ENOENT, ENOTDIR, else EPERM."""
        node = (await find(self._tree, self._tree.directory(parent), name)).node
        if isinstance(node, FileNode):
            self._tree.directory(node.inode)
        self.refuse(name)

    # -- files ---------------------------------------------------------------------------------------------------

    async def open(self, inode: int, flags: int) -> int:
        """Open an existing file, as open(2). Returns the handle's number."""
        return await self._files.open(self._tree.node(inode), flags)

    async def create(self, parent: int, name: str, flags: int, mode: int) -> tuple[Attributes, int]:
        """Make and open a file, as open(2) with O_CREAT."""
        entry, number = await self._files.create(self._tree.directory(parent), name, flags, mode)
        return self.entry_attributes(entry), number

    async def read(self, number: int, offset: int, length: int) -> bytes:
        """Read, as pread(2)."""
        return await self._files.read(number, offset, length)

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Write, as pwrite(2)."""
        return await self._files.write(number, offset, data)

    async def flush(self, number: int) -> None:
        """One descriptor is closed, as close(2)."""
        await self._files.flush(number)

    async def fsync(self, number: int) -> None:
        """Make a draft safe on this disk, as fsync(2)."""
        await self._files.fsync(number)

    async def release(self, number: int) -> None:
        """The last descriptor of a handle is closed."""
        await self._files.release(number)

    def size_is_known(self, number: int) -> bool:
        """Whether the size of an open file is known by now."""
        return self._files.node(number).size is not None

    async def unlink(self, parent: int, name: str) -> None:
        """Remove a file, as unlink(2)."""
        await self._unlinking.unlink(self._tree.directory(parent), name)

    async def rename(self, old: tuple[int, str], new: tuple[int, str], flags: int) -> None:
        """Rename, as renameat2(2)."""
        parents = self._tree.directory(old[0]), self._tree.directory(new[0])
        await self._moves.rename(parents[0], old[1], parents[1], new[1], flags)

    # -- the rest ------------------------------------------------------------------------------------------------

    def attribute(self, inode: int, name: str) -> bytes:
        """getxattr(2): where a file is on the platform, from memory.

        Raises:
            NoAttributeError: There is no such attribute.
        """
        value = self._attributes_of(inode).get(name) if name.startswith("user.aero.") else None
        if value is None:
            raise NoAttributeError(name)
        return value

    def attribute_names(self, inode: int) -> Iterator[str]:
        """listxattr(2)."""
        return iter(self._attributes_of(inode))

    def _attributes_of(self, inode: int) -> Mapping[str, bytes]:
        return extended(self._tree.node(inode))

    def set_attribute(self, name: str) -> None:
        """setxattr(2): tools that copy attributes go on without them.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(f"{name}: the platform keeps no extended attributes")

    def space(self) -> Space:
        """statfs(2): the disk that spools the saves."""
        try:
            disk = os.statvfs(self._store.directory)
        except OSError as error:
            raise local_error(error, "the state directory") from error
        unit, left = disk.f_frsize, self._spool.left()
        free, available = (
            size if left is None else min(size, left) for size in (disk.f_bfree * unit, disk.f_bavail * unit)
        )
        return Space(disk.f_blocks * unit, free, available, len(self._tree.inodes))

    # -- the life of the mount -----------------------------------------------------------------------------------

    async def recover(self) -> int:
        """Take up what the journal holds from before."""
        return await self._recovery.recover()

    async def settle(self) -> None:
        """Give everything that was closed its row in the journal, also what waits for quiet."""
        await self._commits.settle_all()

    async def drain(self) -> None:
        """Wait until everything that can be is on the platform. Held operations are not waited for."""
        await self.settle()
        self._uploads.retry()
        await self._uploads.drained()

    def hurry(self) -> None:
        """The process is to end now: a close() that waits for its upload is told that it goes on later."""
        self._uploads.first_tries.hurry()

    def retry(self) -> None:
        """The platform is back: try at once what waits for its next try."""
        self._uploads.retry()

    def only_failures_left(self) -> bool:
        """Whether all that is left waits for another try after a failure, or for the user."""
        return all(not work.goes_on or (work.row.tries and not work.busy) for work in self._uploads)

    def refresh(self) -> None:
        """Ask the platform anew for everything."""
        self._tree.refresh()

    def saves(self) -> list[dict[str, Any]]:
        """What is not on the platform yet, for `aerofs status`."""
        return self.waiting.all()

    def spool(self) -> dict[str, int | None]:
        """Bytes that the drafts take, and may take (None: as the disk admits)."""
        return {"used": self._spool.used(), "limit": self._spool.limit}

    def statistics(self) -> Mapping[str, Any]:
        """Sizes of what is held."""
        return {"inodes": len(self._tree.inodes), **self._tree.catalog.statistics()}
