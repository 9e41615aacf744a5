"""What the mount tells the kernel of its own accord: that something it holds is no longer so."""

import functools
import logging

import pyfuse3
import trio
from pyfuse3 import FileNameT, InodeT

from aerofs.fuse.translation import raw

log = logging.getLogger(__name__)


class KernelCaches:
    """Tells the kernel what is no longer so; meets `filesystem.kernel.Kernel`.

    Everything is queued for threads: an invalidation waits for locks that a request under way may hold.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._ended = False

    def end(self) -> None:
        """The kernel's side is going: tell it nothing any more."""
        self._ended = True

    def forget_entry(self, parent: int, name: str) -> None:
        """The name leads elsewhere now."""
        if self._ended:
            return
        pyfuse3.invalidate_entry_async(InodeT(parent), FileNameT(raw(name)), ignore_enoent=True)

    def forget_pages(self, inode: int) -> None:
        """Size and content changed."""
        self._nursery.start_soon(self._forget_inode, inode, False)

    def forget_attributes(self, inode: int) -> None:
        """Size or times changed."""
        self._nursery.start_soon(self._forget_inode, inode, True)

    async def _forget_inode(self, inode: int, attributes_only: bool) -> None:  # noqa: FBT001
        if not self._ended:
            await invalidate(inode, attributes_only=attributes_only)


async def invalidate(inode: int, *, attributes_only: bool) -> None:
    """Have the kernel forget what it knows of an inode: its attributes, or these and its pages."""
    try:
        await trio.to_thread.run_sync(
            functools.partial(pyfuse3.invalidate_inode, InodeT(inode), attr_only=attributes_only)
        )
    except OSError as error:
        # The kernel does not know the inode (any more), or the mount is ending: nothing is cached then.
        log.debug("inode %d: not invalidated: %s", inode, error)
