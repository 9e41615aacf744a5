"""Files whose names others took, as long as the journal does not know of it.

What the journal has of a file goes only when it has what stands for it: the rows of one whose name was taken go in the
very transaction that writes a row of the one that took it. Until then, which may be until that one is closed, they
stay, with their bytes; what of them is to be sent waits. So a death in between leaves both files as they were.
"""

from collections.abc import Callable

from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.filesystem.nodes import FileNode, Life
from aerofs.filesystem.tree import Tree


class Supplanting:
    """Knows what goes with a file's next row.

    Args:
        save: Starts to make a save of a file that nobody has open for writing.
    """

    def __init__(self, tree: Tree, uploads: Uploads, *, save: Callable[[FileNode], None]) -> None:
        self._tree = tree
        self._uploads = uploads
        self._save = save

    def take(self, node: FileNode, former: FileNode) -> None:
        """A file has the name of another one now."""
        if former.noted is not None or former.supplants or _spent(former) is not None:
            node.supplants = (*node.supplants, former)
            former.handles += 1  # what it holds stays

    def rows(self, node: FileNode) -> tuple[int, ...]:
        """The numbers of what is to go when a row of the file is written."""
        numbers: list[int] = []
        for former in node.supplants:
            work = _spent(former)
            numbers += [former.journalled] * (former.noted is not None) + ([work.row.id] if work else [])
            numbers += self.rows(former)
        return tuple(numbers)

    def gone(self, node: FileNode) -> None:
        """These rows went: what is left of their files is what others have open."""
        formers, node.supplants = node.supplants, ()
        for former in formers:
            work = _spent(former)
            if work is not None:
                self._uploads.forgotten(work)
            row_went(former)
            self.gone(former)
            self._release(former)

    def spare(self, node: FileNode, former: FileNode) -> None:
        """The name was taken in vain: what was to be sent of the former one is sent."""
        if former not in node.supplants:
            return
        node.supplants = tuple(other for other in node.supplants if other is not former)
        work = _spent(former)
        if work is not None:
            self._uploads.keep(work)
        self._release(former)

    def give_back(self, node: FileNode) -> None:
        """A file came to nothing before its first row: those whose names it took are what they were."""
        for former in node.supplants:
            former.life = Life.REAL
            self.spare(node, former)
            former.follows = None if former.follows is former.pending else former.follows
            if self._tree.overlay.placed(former.place, former.name) in (None, node):
                self._tree.place(former)
                self._tree.move(former, former.home, former.name)
            if former.changed:
                self._save(former)

    def _release(self, former: FileNode) -> None:
        former.handles -= 1
        if former.life is Life.UNLINKED and not former.handles and former.draft is not None:
            former.draft.discard()
            former.draft = None


def row_went(node: FileNode) -> None:
    """A draft's own row is in the journal no more: nobody but the draft needs the file that it named."""
    noted, node.noted = node.noted, None
    if noted is None:
        return
    if node.draft is not None:
        node.draft.leave(noted.path)
    else:
        noted.path.unlink(missing_ok=True)


def _spent(former: FileNode) -> Work | None:
    """The operation that goes with the name; not one that is followed, and settled by itself."""
    work = former.follows
    return work if work is not None and work.spent and not work.settled.is_set() else None
