"""The nodes of one mount: their numbers, and which of them have something local about them.

Finding them by their names is `finding.py`'s affair.

Every file with something local about it (a draft, an unsettled operation, a local name) is *placed*: it stands in the
overlay under its name, its attachment is hidden, its inode is pinned. A file that is *plain* is only the catalog's.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from aerofs.content.journal import Journal
from aerofs.content.work import Work
from aerofs.errors import NotDirectoryError, StaleError
from aerofs.filesystem.fields import Fields
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import (
    DefinitionNode,
    Directory,
    DocumentNode,
    FieldNode,
    FileNode,
    Life,
    Node,
    Root,
)
from aerofs.filesystem.times import Times
from aerofs.model import Attachment, AttachmentId, FieldRef
from aerofs.namespace.catalog import Catalog
from aerofs.namespace.inodes import ROOT, InodeTable
from aerofs.namespace.overlay import Overlay
from aerofs.namespace.snapshots import Snapshot

_DEFAULT_MODE = 0o666


class Tree:
    """The nodes of one mount.

    Args:
        works: Tells every operation that is not settled.
    """

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal,
        kernel: Kernel,
        works: Callable[[], Iterable[Work]],
        *,
        umask: int,
    ) -> None:
        self.catalog = catalog
        self.overlay: Overlay[FileNode] = Overlay()
        self.inodes: InodeTable[Node] = InodeTable(Root())
        self._journal = journal
        self._kernel = kernel
        self._mode = _DEFAULT_MODE & ~umask
        self._times = Times()
        self._placed: set[FileNode] = set()
        self.fields = Fields(catalog, self.overlay, works)

    def __repr__(self) -> str:
        return f"<Tree {len(self.inodes)} inodes, {len(self._placed)} placed files>"

    def node(self, inode: int) -> Node:
        """The node of a number that the kernel holds.

        Raises:
            StaleError: There is none.
        """
        node = self.inodes.node(inode)
        if node is None:
            raise StaleError(f"inode {inode} is gone")
        return node

    def directory(self, inode: int) -> Directory:
        """The same, where only a directory will do."""
        node = self.node(inode)
        if isinstance(node, FileNode):
            raise NotDirectoryError(f"{node.path} is a file")
        return node

    def file(self, home: FieldNode, name: str, attachment: Attachment, snapshot: Snapshot) -> FileNode:
        """The node of an attachment: the one it has, or a new one."""
        key = f"a:{attachment.id}"
        fact = self._journal.facts.of(attachment.id)
        if fact is not None:
            self.inodes.claim(fact.inode, key)
        inode = self.inodes.number_for(key)
        node = self.inodes.node(inode)
        if isinstance(node, FileNode) and not _is_still(node, attachment):
            self.parted(attachment.id)
            inode, node = self.inodes.number_for(key), None
        elif isinstance(node, FileNode) and node.life is Life.UNLINKED:
            node.life = Life.REAL  # it was removed here, but the platform kept it
        if isinstance(node, FileNode):
            if node.attachment is not None and node.attachment.size is None and attachment.size is not None:
                node.attachment = replace(node.attachment, size=attachment.size)
            if node not in self._placed:
                # (Also what it was to become and did not, where it was removed here and is seen again.)
                node.name, node.home, node.title, node.stands = name, home, attachment.name, None
            return node
        seen = self._times.of(attachment.id, snapshot.modified_ns)
        node = FileNode(
            inode=inode,
            home=home,
            name=name,
            title=attachment.name,
            attachment=attachment,
            mtime_ns=fact.mtime_ns if fact else seen,
            mode=fact.mode if fact else self._mode,
        )
        self.inodes.bind(inode, node)
        return node

    def new_file(
        self, home: FieldNode, name: str, title: str, *, key: str, mode: int, now_ns: int
    ) -> FileNode:
        """A node for a file that only this machine has, placed under its name."""
        inode = self.inodes.number_for(key)
        node = FileNode(
            inode=inode,
            home=home,
            name=name,
            title=title,
            attachment=None,
            mtime_ns=now_ns,
            ctime_ns=now_ns,
            mode=mode,
        )
        self.inodes.bind(inode, node)
        self.place(node)
        return node

    def number(self, node: Node) -> int:
        """The inode number of a node, bound to it."""
        match node:
            case FileNode():
                return node.inode
            case Root():
                return ROOT
            case DefinitionNode():
                key = f"d:{node.definition.id}"
            case DocumentNode():
                key = f"o:{node.parent.definition.id}/{node.document}"
            case FieldNode():
                key = f"f:{node.place}"
        inode = self.inodes.number_for(key)
        if self.inodes.node(inode) != node:
            self.inodes.bind(inode, node)
        return inode

    # -- placing -------------------------------------------------------------------------------------------------

    def place(self, node: FileNode) -> None:
        """The file has something local about it: it stands in the overlay from now on."""
        if node in self._placed:
            return
        self._placed.add(node)
        self.inodes.pin(node.inode)
        self.overlay.place(node.place, node.name, node)
        if node.attachment is not None:
            self.overlay.hide(node.attachment.id)

    def move(self, node: FileNode, home: FieldNode, name: str) -> None:
        """A file stands under another name; where it is not placed, the catalog is who says so."""
        self._displace(node)
        node.home, node.name = home, name
        if node in self._placed:
            self.overlay.place(home.place, name, node)

    def became(self, node: FileNode, *, asked: str) -> None:
        """A file is another attachment now: the one that our save brought up. What it was stays hidden.

        Args:
            node: The file.
            asked: The name that the save asked for; the file may have been renamed since.
        """
        attachment = node.attachment
        if attachment is None:
            return
        if self.inodes.node(node.inode) is node:
            # (Else nobody knows the file any more: another took its name before this save was settled.)
            self.inodes.also(node.inode, f"a:{attachment.id}")
        if node not in self._placed:
            return
        self.overlay.hide(attachment.id)
        shown = self.fields.files(node.place).name_of(attachment.id)
        if shown is not None and shown != node.name == asked and node.life is Life.REAL:
            # The platform chose another name, or ours had to stand beside a stranger's.
            node.beside, node.title = shown, attachment.name

    def step_aside(self, node: FileNode) -> None:
        """A file whose name is a stranger's on the platform goes by its own from now on."""
        if node.beside is None or node.life is not Life.REAL:
            return
        name, node.beside = node.beside, None
        if node.attachment is not None:
            name = self.fields.files(node.place).name_of(node.attachment.id) or name
        parent, before = self.number(node.home), node.name
        self.move(node, node.home, name)
        self._tell_times_apart(node, before)
        if node.draft is None and node.pending is None:
            self.plain(node)
        self._kernel.forget_entry(parent, before)
        self._kernel.forget_entry(parent, name)

    def _tell_times_apart(self, node: FileNode, name: str) -> None:
        """The file that now has the name must not seem to be of the time at which ours was written.

        Its time is but the document's, which our own save has moved; and by its time an editor sees that it is another.
        """
        theirs = self.fields.files(node.place).get(name)
        if theirs is None or self._journal.facts.of(theirs.id) is not None:
            return
        number = self.inodes.number_for(f"a:{theirs.id}")
        known, seen = self.inodes.node(number), self._times.apart(theirs.id, node.mtime_ns)
        if isinstance(known, FileNode) and known.mtime_ns != seen:
            known.mtime_ns = seen
            self._kernel.forget_attributes(number)
        self.inodes.release(number)

    def parted(self, attachment: AttachmentId) -> None:
        """What a file was for a while is not this file any more: it is gone, or a file of its own."""
        number = self.inodes.number_for(f"p:{attachment}")
        self.inodes.also(number, f"a:{attachment}")
        self.inodes.release(number)

    def plain(self, node: FileNode) -> None:
        """Nothing local is left about the file: only the catalog shows it."""
        if node not in self._placed or (node.beside is not None and node.life is Life.REAL):
            return
        self._placed.discard(node)
        self._displace(node)
        if node.attachment is not None and node.life is Life.REAL:
            self._keep_name(node, node.attachment)
        if node.attachment is not None:
            self.overlay.unhide(node.attachment.id)
        self.inodes.unpin(node.inode)

    def _keep_name(self, node: FileNode, attachment: Attachment) -> None:
        """The catalog, which has read the field anew after a crash, may have given the name to a twin."""
        shown = self.fields.files(node.place).name_of(attachment.id)
        if shown not in (None, node.name) and attachment.name == node.title:
            self.catalog.added(node.place, attachment, name=node.name)

    def sized(self, node: FileNode, size: int) -> None:
        """The size of a file was found out."""
        if node.attachment is not None and node.attachment.size != size:
            node.attachment = replace(node.attachment, size=size)
            self._kernel.forget_attributes(node.inode)

    def learned(self, _place: FieldRef, attachment: AttachmentId, size: int) -> None:
        """A download told the true size of an attachment."""
        node = self._known(attachment)
        if node is not None:
            self.sized(node, size)

    def returned(self, former: AttachmentId, back: Attachment) -> None:
        """What a file was had made room, and was put back under another id: that is what the file is now."""
        node = self._known(former)
        if node is not None and node.attachment is not None and node.attachment.id == former:
            node.attachment = back
            self.inodes.also(node.inode, f"a:{back.id}")

    def _known(self, attachment: AttachmentId) -> FileNode | None:
        number = self.inodes.number_for(f"a:{attachment}")
        node = self.inodes.node(number)
        if node is None:
            self.inodes.release(number)
        return node if isinstance(node, FileNode) else None

    def drop(self, node: FileNode) -> None:
        """The file has no name any more."""
        node.life = Life.UNLINKED
        self.plain(node)
        self._kernel.forget_entry(self.number(node.home), node.name)

    def look_again(self, node: FileNode) -> None:
        """The version that the kernel knows under the name is gone: it shall ask for the name anew."""
        parent = self.number(node.home)
        self._kernel.forget_entry(parent, node.name)
        self.inodes.release(parent)

    def refresh(self) -> None:
        """Ask the platform anew for everything, and let the kernel ask anew for every file.

        Directories are left to their time: whoever works in one would lose the way to it.
        """
        self.catalog.expire()
        for inode in list(self.inodes):
            node = self.inodes.node(inode)
            if isinstance(node, FileNode) and node.life is not Life.UNLINKED:
                self.look_again(node)

    def is_placed(self, node: FileNode) -> bool:
        """Whether the file has something local about it."""
        return node in self._placed

    def unname(self, node: FileNode) -> None:
        """The file has no name any more; while its operation goes on, what it is and replaces stays hidden."""
        node.life = Life.UNLINKED
        if node.pending is None:
            self.plain(node)
        else:
            self._displace(node)

    def _displace(self, node: FileNode) -> None:
        if self.overlay.placed(node.place, node.name) is node:
            self.overlay.displace(node.place, node.name)

    def placed(self) -> list[FileNode]:
        """All placed files."""
        return list(self._placed)


def _is_still(node: FileNode, attachment: Attachment) -> bool:
    """Whether what the platform shows is what the file stands for, not only what it was once.

    A file that became another attachment, or went on without one, has no part in what it was, should that be seen
    again; neither has one that was removed here and is still written.
    """
    if node.attachment is None or node.attachment.id != attachment.id:
        return False
    return node.life is not Life.UNLINKED or node.draft is None
