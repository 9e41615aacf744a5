"""Open files: the numbers that the kernel knows them by, and what keeps a file alive while it is open."""

import itertools
from dataclasses import dataclass

from aerofs.content.reader import Reader, ReadHandle
from aerofs.filesystem.nodes import FileNode
from aerofs.filesystem.tree import Tree
from aerofs.model import AttachmentId


@dataclass(slots=True, eq=False)
class Handle:
    """An open file.

    Attributes:
        commits: How many saves its flushes made.
        reader: The reading side of one attachment, opened at the first read.
        reads: Which attachment that is.
    """

    node: FileNode
    writable: bool
    commits: int = 0
    reader: ReadHandle | None = None
    reads: AttachmentId | None = None


class Handles:
    """The open files of a mount, by their numbers."""

    def __init__(self, tree: Tree, reader: Reader) -> None:
        self._tree = tree
        self._reader = reader
        self._open: dict[int, Handle] = {}
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Handles {len(self._open)} open>"

    def __getitem__(self, number: int) -> Handle:
        return self._open[number]

    def open(self, node: FileNode, *, writable: bool) -> int:
        """One more handle of a file. Returns its number."""
        number = next(self._numbers)
        self._open[number] = Handle(node, writable)
        node.handles += 1
        node.writers += writable
        self._tree.inodes.pin(node.inode)
        return number

    def close(self, number: int) -> Handle:
        """Forget a handle. Returns what it was."""
        handle = self._open.pop(number)
        if handle.reader is not None:
            handle.reader.close()
        handle.node.handles -= 1
        handle.node.writers -= handle.writable
        self._tree.inodes.unpin(handle.node.inode)
        return handle

    def reading(self, handle: Handle) -> ReadHandle | None:
        """What reads the attachment that the file is now; None where it is none."""
        node = handle.node
        if node.attachment is None:
            return None
        if handle.reader is None or handle.reads != node.attachment.id:
            if handle.reader is not None:
                handle.reader.close()
            handle.reader = self._reader.open(node.stands or node.place, node.attachment)
            handle.reads = node.attachment.id
        return handle.reader
