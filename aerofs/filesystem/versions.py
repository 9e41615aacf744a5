"""What the platform has of a file, brought to this disk: to be changed, kept aside, or for those who still read it."""

import logging
from pathlib import Path
from weakref import WeakKeyDictionary

import trio

from aerofs.content.draft import Draft
from aerofs.content.reader import Reader
from aerofs.content.spool import Spool
from aerofs.errors import AerofsError
from aerofs.filesystem.nodes import FieldNode, FileNode
from aerofs.filesystem.tree import Tree

log = logging.getLogger(__name__)


class Versions:
    """Copies of the version that stands.

    Args:
        spool: The disk under all drafts.
        wait: Seconds that a removal waits for the bytes that its readers may still ask for.
    """

    def __init__(self, tree: Tree, reader: Reader, drafts: Path, *, spool: Spool, wait: float) -> None:
        self._tree = tree
        self._reader = reader
        self._drafts = drafts
        self._spool = spool
        self._wait = wait
        self._locks: WeakKeyDictionary[FileNode, trio.Lock] = WeakKeyDictionary()

    def lock(self, node: FileNode) -> trio.Lock:
        """One at a time: making a file's draft."""
        return self._locks.setdefault(node, trio.Lock())

    def empty(self, home: FieldNode) -> Draft:
        """An empty draft for a file of that field."""
        return Draft.empty(self._drafts, limit=self._limit(home), spool=self._spool)

    def _limit(self, home: FieldNode) -> int | None:
        field = self._tree.fields.settings(home.place)
        return field.maximum_size if field is not None else None

    async def copy(self, node: FileNode) -> Draft:
        """The bytes that the platform has of a file, as a new draft."""
        if node.attachment is None:
            return self.empty(node.home)
        limit = self._limit(node.home)
        async with self._reader.fetch(node.stands or node.place, node.attachment) as whole:
            return await Draft.copy_of(whole, self._drafts, limit=limit, spool=self._spool)

    async def keep_for_readers(self, node: FileNode) -> None:
        """A file that is open goes from the platform: what its readers may still ask for must be here."""
        if not node.handles or node.draft is not None or node.attachment is None:
            return
        with trio.move_on_after(self._wait):
            await self._bring(node, "goes while it is open, and its readers may miss it")

    async def fetch(self, node: FileNode) -> None:
        """Have the bytes here by the time somebody tries again to take the name."""
        await self._bring(node, "could not be fetched yet")

    async def _bring(self, node: FileNode, otherwise: str) -> None:
        """Have what stands on this disk; where it cannot be had, the log tells what follows from that."""
        if node.attachment is None:
            return
        try:
            async with self._reader.fetch(node.stands or node.place, node.attachment):
                pass
        except AerofsError as error:
            log.info("%s: %s: %s", node.path, otherwise, error)
