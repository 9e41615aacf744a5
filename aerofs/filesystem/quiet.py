"""Saves that wait for quiet, because their file is open and may go on being written.

The quiet that a file has to keep doubles with every save that it brought, until the file is closed: a log that is
written to for hours costs a save in five minutes, not in five seconds. What was flushed never waits longer than that.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from math import inf
from weakref import WeakKeyDictionary

import trio

from aerofs.filesystem.nodes import FileNode

EMPTY = 2.0
"""Seconds of quiet after which an empty file is saved though it is still open."""
REWRITTEN = 5.0
"""The same for a handle that was written again after its first save, the first time."""
LONGEST = 300.0
"""No quiet is longer, and nothing that was flushed waits longer, whether there was quiet or not."""


@dataclass(slots=True)
class _Wait:
    """Until when a file waits, in trio time: every write moves `due`, none moves `latest`."""

    due: float
    latest: float = inf


class Quiet:
    """The files that wait.

    Args:
        save: Called for a file that has waited for long enough.
    """

    def __init__(self, nursery: trio.Nursery, save: Callable[[FileNode], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._save = save
        self._waits: dict[FileNode, _Wait] = {}
        self._saves: WeakKeyDictionary[FileNode, int] = WeakKeyDictionary()

    def __iter__(self) -> Iterator[FileNode]:
        return iter(tuple(self._waits))

    def __repr__(self) -> str:
        return f"<Quiet {len(self._waits)} files wait>"

    def empty(self, node: FileNode) -> None:
        """An empty file was flushed: most programs write to it at once."""
        self._wait(node, EMPTY)

    def rewritten(self, node: FileNode) -> None:
        """A handle was flushed that had been saved before."""
        wait = self._wait(node, self._length(node))
        wait.latest = min(wait.latest, trio.current_time() + LONGEST)

    def again(self, node: FileNode) -> None:
        """A save could not be made, and is to be tried again."""
        self._wait(node, REWRITTEN)

    def touched(self, node: FileNode) -> None:
        """A write: the quiet begins anew."""
        if node in self._waits:
            self._wait(node, self._length(node) if node.size else EMPTY)

    def closed(self, node: FileNode) -> None:
        """The last writer is gone: the next one begins with a short quiet."""
        self._saves.pop(node, None)

    def _length(self, node: FileNode) -> float:
        return float(min(LONGEST, REWRITTEN * 2 ** self._saves.get(node, 0)))

    def _wait(self, node: FileNode, seconds: float) -> _Wait:
        due = trio.current_time() + seconds
        wait = self._waits.get(node)
        if wait is None:
            wait = self._waits[node] = _Wait(due)
            self._nursery.start_soon(self._save_when_quiet, node, wait)
        wait.due = due
        return wait

    async def _save_when_quiet(self, node: FileNode, wait: _Wait) -> None:
        while trio.current_time() < (due := min(wait.due, wait.latest)):  # noqa: ASYNC110  every write moves it
            await trio.sleep_until(due)
        del self._waits[node]
        if node.writers:
            self._saves[node] = self._saves.get(node, 0) + 1
        await self._save(node)
