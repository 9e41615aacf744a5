"""Directories being read: a snapshot of the entries of each, taken as they arrive; a cookie is a position in it."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import trio

from aerofs.errors import NotFoundError
from aerofs.filesystem.finding import entries, find
from aerofs.filesystem.nodes import Directory, Entry, FileNode, Life
from aerofs.filesystem.tree import Tree


@dataclass(slots=True)
class _Open:
    node: Directory
    entries: list[Entry] = field(default_factory=list)
    source: AsyncIterator[Entry] | None = None
    lock: trio.Lock = field(default_factory=trio.Lock)


class Directories:
    """The open directories of a mount."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._open: dict[int, _Open] = {}
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Directories {len(self._open)} open>"

    def open(self, node: Directory) -> int:
        """opendir(3). Returns the handle's number."""
        number = next(self._numbers)
        self._open[number] = _Open(node)
        return number

    async def read(self, number: int, start: int) -> AsyncIterator[tuple[int, Entry]]:
        """The entries from position `start` on, each with the position after it. 0 begins anew (rewinddir)."""
        directory = self._open[number]
        if start == 0:
            directory.entries, directory.source = [], entries(self._tree, directory.node)
        position = start
        while position < len(directory.entries) or await self._read_on(directory, position):
            entry = await self._as_now(directory.node, directory.entries[position])
            position += 1
            if entry is not None:
                yield position, entry

    async def _as_now(self, parent: Directory, entry: Entry) -> Entry | None:
        """An entry of the snapshot, if it still stands for something; None where it does not."""
        if not isinstance(entry.node, FileNode):
            self._tree.number(entry.node)  # given again, should nobody have kept it
            return entry
        if entry.node.life is Life.UNLINKED:
            return None
        if entry.inode in self._tree.inodes:
            return entry
        try:
            # Nobody kept the node when the save of it was through; the file is there, under this name.
            return await find(self._tree, parent, entry.name)
        except NotFoundError:
            return None

    async def _read_on(self, directory: _Open, position: int) -> bool:
        """Have an entry at the position. False where the directory ends."""
        async with directory.lock:
            while position >= len(directory.entries):
                if directory.source is None:
                    return False
                try:
                    directory.entries.append(await anext(directory.source))
                except StopAsyncIteration:
                    directory.source = None
        return True

    def close(self, number: int) -> None:
        """closedir(3)."""
        del self._open[number]
