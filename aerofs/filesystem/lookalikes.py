"""Files that only look temporary: made with O_EXCL under such a name, and not renamed. They are real ones."""

import trio

from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import FileNode, Life

LOOKALIKE_WAIT = 60.0
"""Seconds after which a file that was made under a temporary-looking name, and not renamed, is a real one."""


class Lookalikes:
    """Waits for those that are closed."""

    def __init__(self, commits: Commits, nursery: trio.Nursery) -> None:
        self._commits = commits
        self._nursery = nursery

    def closed(self, node: FileNode) -> None:
        """Nobody writes to the file any more, or it has its name again after a rename in vain."""
        if _waits(node):
            self._nursery.start_soon(self._publish_later, node)

    async def _publish_later(self, node: FileNode) -> None:
        await trio.sleep(LOOKALIKE_WAIT)
        if _waits(node) and node.draft is not None:
            node.exclusive, node.life, node.committed = False, Life.REAL, -1
            await self._commits.released(node)


def _waits(node: FileNode) -> bool:
    return node.exclusive and node.life is Life.LOCAL and node.writers == 0
