"""What becomes of a file and its draft when an operation of it has news: it stands, it was taken back, it is over.

All synchronous on the trio thread. A draft ends in one of three ways: its file becomes the blob of the attachment that
it was brought up as, it is dropped after an error that its writer was told of, or nobody can reach it any more.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from aerofs.content.blobs import Blobs
from aerofs.content.draft import Draft
from aerofs.content.facts import Fact
from aerofs.content.journal import Journal
from aerofs.content.operations import left_by
from aerofs.content.work import Work
from aerofs.filesystem.following import Followed
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import FileNode, Life, Noted
from aerofs.filesystem.notes import Notes
from aerofs.filesystem.supplanting import Supplanting
from aerofs.filesystem.tree import Tree

log = logging.getLogger(__name__)

BESIDE_WAIT = 5.0
"""Seconds for which the name of a save still leads to it, though a stranger's file has that name on the platform.

Whoever saved looks once more at what it wrote, and remembers its time. Let it be the stranger's, and the next save
would go over a version that nobody here has seen; like this, the program sees that the file is not the one it wrote.
"""


class Outcomes:
    """Lets files learn how their operations go.

    Args:
        save: Starts to make a save of a file that nobody has open for writing.
    """

    def __init__(
        self,
        tree: Tree,
        journal: Journal,
        blobs: Blobs,
        kernel: Kernel,
        nursery: trio.Nursery,
        supplanting: Supplanting,
        notes: Notes,
        *,
        save: Callable[[FileNode], None],
    ) -> None:
        self._tree = tree
        self._journal = journal
        self._blobs = blobs
        self._kernel = kernel
        self._nursery = nursery
        self._supplanting = supplanting
        self._notes = notes
        self._save = save

    def follow(self, node: FileNode, work: Work, *, frozen: Path | None = None) -> None:
        """Let the file learn how its operation goes."""
        followed = Followed(node, work, frozen, self, self._tree)
        node.gives_back = None  # its operation has what it took over
        work.announced, work.retracted = followed.announced, followed.retracted
        work.returned, work.takes_content = followed.returned, followed.settled

    def over(self, node: FileNode, work: Work) -> bool:
        """An operation of the file is settled. Returns whether the node keeps the local file of its bytes."""
        draft, frozen = node.draft, work.frozen
        kept = frozen is not None and draft is not None and draft.release_frozen(frozen)
        if node.life is Life.UNLINKED:
            if not node.handles:
                self.discard_draft(node)
            self._tree.plain(node)
        elif node.work is None and draft is None:
            if node.life is Life.REAL:  # (Else a rename was undone, and the file is put aside as it was.)
                self._tree.plain(node)
        elif work.row.added is not None or not kept:
            self.let_go(node)
        # (Else withdrawn or dropped: who has it open, or under another name, goes on with the draft.)
        if node.journalled and node.life is Life.REAL:
            # The row of an fsync since then names what this operation was to replace.
            self._notes.renew_soon(node)
        return kept

    def hand_on(self, taker: FileNode, work: Work) -> None:
        """What an operation leaves is the affair of a file that took the name, and has not been saved yet."""
        left = left_by(work.row)
        for old in left:
            self._tree.overlay.hide(old.attachment)
        taker.follows, taker.retire = None, (*left, *taker.retire)
        taker.hidden += tuple(old.attachment for old in left)
        if taker.journalled and taker.life is Life.REAL:
            self._notes.renew_soon(taker)

    def stand_beside(self, node: FileNode, former: FileNode | None) -> None:
        """A file has the name that a former one had: if only for a while, then this one too."""
        beside = former.beside if former is not None else None
        if former is not None:
            former.beside = None
        node.beside = beside
        if beside is not None:
            self._nursery.start_soon(self._step_aside_later, node)

    async def _step_aside_later(self, node: FileNode) -> None:
        while node.beside is not None and node.life is Life.REAL:
            saved = node.attachment
            await trio.sleep(BESIDE_WAIT)
            if node.pending is not None:
                await node.pending.settled.wait()
            if node.attachment is saved:
                self._tree.step_aside(node)

    def let_go(self, node: FileNode) -> None:
        """The last writer is gone and the platform has it all: the draft's file becomes the blob."""
        draft = node.draft
        if draft is None or node.writers or node.recording or node.life is Life.UNLINKED:
            return
        if draft.refusal is not None and node.noted is not None and node.noted.row.accepted is not None:
            self._go_back_to(node, node.noted)
            return
        if node.life is Life.LOCAL:
            return
        if node.work is not None:
            if draft.refusal is not None and not node.work.settled.is_set():
                self._fall_back(node, node.work)
            return
        if node.changed:
            if draft.refusal is not None:
                self._abandon_refused(node)
            return
        node.draft = None
        draft.close()
        attachment, field = node.attachment, self._tree.fields.settings(node.place)
        resized = field is not None and field.resizes_images
        if attachment is not None and not resized and attachment.size in (None, draft.size):
            self._blobs.adopt(attachment.id, draft.path, draft.size)
        else:
            draft.path.unlink(missing_ok=True)
            self._kernel.forget_pages(node.inode)
        self._tree.plain(node)

    def start_over(self, node: FileNode) -> None:
        """A draft that met an error is emptied: a new one takes its place, and can be saved."""
        refused = node.draft
        if refused is None:
            return
        node.draft = Draft.empty(refused.path.parent, limit=refused.limit, spool=refused.spool)
        node.draft.changes = refused.changes + 1
        if node.noted is not None and node.noted.row.accepted is not None:
            # What close() accepted stays in the journal until the new draft is as far.
            if node.noted.path == refused.path:
                refused.close()
                return
            refused.discard()
        else:
            self._discard_refused(node, refused)

    def _go_back_to(self, node: FileNode, noted: Noted) -> None:
        """A draft met an error after a close() had accepted what it was before: that is what the file holds."""
        refused = node.draft
        if refused is None:
            return
        if refused.path == noted.path:
            refused.close()
        else:
            refused.discard()
        node.draft = Draft(noted.path, limit=refused.limit, spool=refused.spool, cut=noted.row.accepted)
        node.draft.protect()
        # Counted on: what is written from now on is not taken for what was noted, or saved, after as many changes.
        node.draft.changes = refused.changes + 1
        node.committed = -1
        self._kernel.forget_pages(node.inode)
        self._save(node)

    def _fall_back(self, node: FileNode, work: Work) -> None:
        """A draft met an error while an earlier save waits, or a move: the bytes of that are what the file holds."""
        refused, content = node.draft, work.content
        if refused is None:
            return
        if content is None:
            if node.attachment is not None:
                node.draft = None
                self._discard_refused(node, refused)
                self._kernel.forget_pages(node.inode)
            return
        kept = refused.path.parent / content
        if kept == refused.path:
            refused.refusal = None  # before anything was changed: the bytes are still those of the save
            self._kernel.forget_pages(node.inode)
            return
        node.draft = Draft(kept, limit=refused.limit, spool=refused.spool)
        node.draft.freeze()
        node.draft.changes = refused.changes + 1  # as above
        node.committed = node.draft.changes
        if (node.place, node.name) != (work.row.place, work.row.file_name):
            node.committed = -1  # the name that it got since was to come with the bytes that are lost
            self._save(node)
        self._discard_refused(node, refused)
        self._kernel.forget_pages(node.inode)

    def _discard_refused(self, node: FileNode, refused: Draft) -> None:
        """A draft that met an error goes, and the row of an fsync of it: the row before the file that it names."""
        if node.noted is None or node.recording:
            refused.discard()
            return
        if node.noted.path == refused.path:
            refused.close()
        else:
            refused.discard()
        self._notes.forget_soon(node)

    def discard_draft(self, node: FileNode) -> None:
        """Nobody can reach these bytes any more."""
        if node.draft is not None:
            node.draft.discard()
            node.draft = None

    def _abandon_refused(self, node: FileNode) -> None:
        """A write failed and the user was told: what was there before is what stays."""
        log.info(
            "%s: the draft met an error and is dropped: %s", node.path, node.draft and node.draft.refusal
        )
        refused, node.draft = node.draft, None
        if refused is not None:
            self._discard_refused(node, refused)
        self._kernel.forget_pages(node.inode)
        for attachment in node.hidden:
            self._tree.overlay.unhide(attachment)
        node.hidden, node.retire, node.follows = (), (), None
        self._supplanting.give_back(node)
        if node.gives_back is not None:
            node.gives_back()
            node.gives_back = None
        if node.attachment is None:
            self._tree.drop(node)
        else:
            self._tree.plain(node)

    def remember(self, node: FileNode) -> None:
        """Keep the local facts of a file that is on the platform."""
        if node.attachment is not None:
            self._journal.facts.remember(node.attachment.id, Fact(node.inode, node.mtime_ns, node.mode))
