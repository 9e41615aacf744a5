"""The kernel's edge: pyfuse3 requests in, filesystem calls, replies out. No meaning lives here.

One guard stands around every handler: our errors become their errno, anything unforeseen is logged with its traceback
and becomes EIO, because an escaping exception would end the mount. Cancellation passes.
"""

import errno
import logging
import os
import platform
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from aerofs.errors import AerofsError, NoAttributeError, NotFoundError
from aerofs.filesystem import Filesystem
from aerofs.filesystem.attributes import Changes
from aerofs.fuse.caches import invalidate
from aerofs.fuse.translation import BLOCK, IO_SIZE, as_entry, raw, text

log = logging.getLogger(__name__)

_NAME_MAX = 255
_COHERENT_DIRECT_IO = (6, 6)
"""From this kernel on, readers of an inode see what a direct_io handle writes."""

_ORDINARY = (NotFoundError, NoAttributeError)
"""Asked for all day long: the kernel looks for `security.capability` at every buffered write."""
_UNWANTED = f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}"


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that nobody waits for any more (the caller was killed, the mount is ending) is no mistake."""
    return _UNWANTED not in record.getMessage()


logging.getLogger("pyfuse3").addFilter(_is_news)

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(
    handler: Callable[Concatenate["Handlers", P], Awaitable[R]],
) -> Callable[Concatenate["Handlers", P], Coroutine[Any, Any, R]]:
    """Let nothing but FUSEError and cancellation out of a handler."""
    name = getattr(handler, "__name__", "handler")

    async def guarded(self: "Handlers", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except AerofsError as error:
            level = logging.DEBUG if isinstance(error, _ORDINARY) else logging.INFO
            log.log(level, "%s: %s (%s)", name, error, errno.errorcode.get(error.errno))
            raise pyfuse3.FUSEError(error.errno) from error
        except Exception as error:
            log.exception("%s: unexpected", name)
            raise pyfuse3.FUSEError(errno.EIO) from error

    return guarded


class Handlers(pyfuse3.Operations):
    """Translates between pyfuse3 and the filesystem."""

    enable_writeback_cache = False
    enable_acl = False
    supports_dot_lookup = True

    def __init__(self, filesystem: Filesystem, *, negative_timeout: float) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._negative_timeout = negative_timeout
        self._direct_writes = _kernel_version() >= _COHERENT_DIRECT_IO

    # -- nodes ---------------------------------------------------------------------------------------------------

    @_guarded
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:  # noqa: ARG002, D102
        try:
            attributes = await self._filesystem.lookup(parent_inode, text(name))
        except NotFoundError:
            if len(name) > _NAME_MAX:
                raise pyfuse3.FUSEError(errno.ENAMETOOLONG) from None
            return self._nothing()
        self._filesystem.remember(attributes.inode)
        return as_entry(attributes)

    def _nothing(self) -> EntryAttributes:
        """A negative answer that the kernel may keep for a moment."""
        entry = EntryAttributes()
        entry.st_ino = InodeT(0)
        entry.entry_timeout = self._negative_timeout
        return entry

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:  # noqa: D102
        for inode, count in inode_list:
            self._filesystem.forget(inode, count)

    @_guarded
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:  # noqa: ARG002, D102
        return as_entry(self._filesystem.attributes(inode))

    @_guarded
    async def setattr(  # noqa: D102
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,  # noqa: ARG002
    ) -> EntryAttributes:
        changes = Changes(
            size=attr.st_size if fields.update_size else None,
            mode=attr.st_mode if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        try:
            return as_entry(await self._filesystem.change(inode, changes, fh))
        except AerofsError:
            # What the platform did not take yet is kept, and is so here: the kernel holds what failed for not done.
            await invalidate(inode, attributes_only=True)
            raise

    # -- directories ---------------------------------------------------------------------------------------------

    @_guarded
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:  # noqa: ARG002, D102
        return FileHandleT(self._filesystem.open_directory(inode))

    @_guarded
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:  # noqa: D102
        async for position, entry in self._filesystem.read_directory(fh, start_id):
            attributes = self._filesystem.entry_attributes(entry)
            if not pyfuse3.readdir_reply(token, FileNameT(raw(entry.name)), as_entry(attributes), position):
                break
            self._filesystem.remember(attributes.inode)

    @_guarded
    async def releasedir(self, fh: FileHandleT) -> None:  # noqa: D102
        self._filesystem.close_directory(fh)

    @_guarded
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:  # noqa: FBT001
        """Names are the platform's: nothing to sync."""

    @_guarded
    async def mkdir(  # noqa: D102
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext  # noqa: ARG002
    ) -> EntryAttributes:  # fmt: skip
        self._filesystem.refuse(text(name))
        raise AssertionError

    @_guarded
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:  # noqa: ARG002, D102
        await self._filesystem.remove_directory(parent_inode, text(name))

    @_guarded
    async def mknod(  # noqa: D102
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext  # noqa: ARG002
    ) -> EntryAttributes:  # fmt: skip
        self._filesystem.refuse(text(name))
        raise AssertionError

    @_guarded
    async def symlink(  # noqa: D102
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext  # noqa: ARG002
    ) -> EntryAttributes:  # fmt: skip
        self._filesystem.refuse(text(name))
        raise AssertionError

    @_guarded
    async def link(  # noqa: D102
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext  # noqa: ARG002
    ) -> EntryAttributes:  # fmt: skip
        self._filesystem.refuse(text(new_name))
        raise AssertionError

    # -- files ---------------------------------------------------------------------------------------------------

    @_guarded
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:  # noqa: ARG002, D102
        return self._opened(await self._filesystem.open(inode, flags), flags)

    @_guarded
    async def create(  # noqa: D102
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext  # noqa: ARG002
    ) -> tuple[FileInfo, EntryAttributes]:  # fmt: skip
        attributes, number = await self._filesystem.create(parent_inode, text(name), flags, mode)
        self._filesystem.remember(attributes.inode)
        return self._opened(number, flags), as_entry(attributes)

    def _opened(self, number: int, flags: int) -> FileInfo:
        # direct_io: bigger requests for pure writers, where readers stay coherent; and where the size is not known,
        # because the kernel would stop a buffered read at the size it was told.
        direct = flags & os.O_ACCMODE == os.O_WRONLY and self._direct_writes
        direct = direct or not self._filesystem.size_is_known(number)
        return FileInfo(fh=FileHandleT(number), direct_io=direct, keep_cache=True)

    @_guarded
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:  # noqa: D102
        return await self._filesystem.read(fh, off, size)

    @_guarded
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:  # noqa: D102
        return await self._filesystem.write(fh, off, buf)

    @_guarded
    async def flush(self, fh: FileHandleT) -> None:  # noqa: D102
        await self._filesystem.flush(fh)

    @_guarded
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:  # noqa: ARG002, D102, FBT001
        await self._filesystem.fsync(fh)

    @_guarded
    async def release(self, fh: FileHandleT) -> None:  # noqa: D102
        await self._filesystem.release(fh)

    @_guarded
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:  # noqa: ARG002, D102
        await self._filesystem.unlink(parent_inode, text(name))

    @_guarded
    async def rename(  # noqa: D102
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,  # noqa: ARG002
    ) -> None:
        old, new = (parent_inode_old, text(name_old)), (parent_inode_new, text(name_new))
        if len(name_new) > _NAME_MAX:
            raise pyfuse3.FUSEError(errno.ENAMETOOLONG)
        await self._filesystem.rename(old, new, flags)

    # -- the rest ------------------------------------------------------------------------------------------------

    @_guarded
    async def statfs(self, ctx: RequestContext) -> StatvfsData:  # noqa: ARG002, D102
        space = self._filesystem.space()
        data = StatvfsData()
        data.f_bsize = IO_SIZE
        data.f_frsize = BLOCK
        data.f_blocks, data.f_bfree = space.total // BLOCK, space.free // BLOCK
        data.f_bavail = space.available // BLOCK
        data.f_files = data.f_ffree = data.f_favail = 1 << 32
        data.f_namemax = _NAME_MAX
        return data

    @_guarded
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:  # noqa: ARG002, D102
        return self._filesystem.attribute(inode, text(name))

    @_guarded
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:  # noqa: ARG002, D102
        return [XAttrNameT(raw(name)) for name in self._filesystem.attribute_names(inode)]

    @_guarded
    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:  # noqa: ARG002, D102
        self._filesystem.set_attribute(text(name))

    @_guarded
    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:  # noqa: ARG002, D102
        self._filesystem.set_attribute(text(name))


def _kernel_version() -> tuple[int, int]:
    parts = platform.release().split("-")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return 0, 0
