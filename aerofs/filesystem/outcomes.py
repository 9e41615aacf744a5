"""What becomes of a file and its draft when an operation of it has news: it stands, it was taken back, it is over.

All synchronous on the trio thread. A draft ends in one of three ways: its file becomes the blob of the attachment that
it was brought up as, it is dropped after an error that its writer was told of, or nobody can reach it any more.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import trio

from aerofs.content.blobs import Blobs
from aerofs.content.draft import Draft
from aerofs.content.facts import Fact
from aerofs.content.journal import Journal
from aerofs.content.operations import left_by
from aerofs.content.work import Work
from aerofs.errors import AerofsError
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import FileNode, Life, Noted
from aerofs.filesystem.supplanting import Supplanting, row_went
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment, FieldRef

log = logging.getLogger(__name__)

BESIDE_WAIT = 5.0
"""Seconds for which the name of a save still leads to it, though a stranger's file has that name on the platform.

Whoever saved looks once more at what it wrote, and remembers its time. Let it be the stranger's, and the next save
would go over a version that nobody here has seen; like this, the program sees that the file is not the one it wrote.
"""


class Outcomes:
    """Lets files learn how their operations go.

    Args:
        journal_anew: Starts to write the row of a draft anew, because what it is to replace has changed.
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
        *,
        journal_anew: Callable[[FileNode], None],
        save: Callable[[FileNode], None],
    ) -> None:
        self._tree = tree
        self._journal = journal
        self._blobs = blobs
        self._kernel = kernel
        self._nursery = nursery
        self._supplanting = supplanting
        self._journal_anew = journal_anew
        self._save = save

    def follow(self, node: FileNode, work: Work, *, frozen: Path | None = None) -> None:
        """Let the file learn how its operation goes."""
        followed = _Followed(node, work, frozen, self, self._tree)
        work.announced, work.retracted = followed.announced, followed.retracted
        work.takes_content = followed.settled

    def over(self, node: FileNode, work: Work, frozen: Path | None) -> bool:
        """An operation of the file is settled. Returns whether the node keeps the local file of its bytes."""
        draft = node.draft
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
            self._journal_anew(node)
        return kept

    def hand_on(self, taker: FileNode, work: Work) -> None:
        """What an operation leaves is the affair of a file that took the name, and has not been saved yet."""
        left = left_by(work.row)
        for old in left:
            self._tree.overlay.hide(old.attachment)
        taker.follows, taker.retire = None, (*left, *taker.retire)
        taker.hidden += tuple(old.attachment for old in left)
        if taker.journalled and taker.life is Life.REAL:
            self._journal_anew(taker)

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
        if draft is None or node.writers or node.life is not Life.REAL:
            return
        if draft.refusal is not None and node.noted is not None and node.noted.row.accepted is not None:
            self._go_back_to(node, node.noted)
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
        elif node.noted is not None:
            # The row of an fsync, whose bytes go with the refused draft.
            self._nursery.start_soon(self._forget_row_alone, node)
        refused.discard()

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
        node.committed = -1
        self._kernel.forget_pages(node.inode)
        self._save(node)

    def _fall_back(self, node: FileNode, work: Work) -> None:
        """A draft met an error while an earlier save waits: that save's bytes are what the file holds."""
        refused, content = node.draft, work.row.content
        if refused is None or content is None:
            return
        kept = refused.path.parent / content
        if kept == refused.path:
            return
        node.draft = Draft(kept, limit=refused.limit, spool=refused.spool)
        node.draft.freeze()
        node.committed = node.draft.changes
        if (node.place, node.name) != (work.row.place, work.row.file_name):
            node.committed = -1  # the name that it got since was to come with the bytes that are lost
            self._save(node)
        if node.journalled:
            # The row of an fsync, whose bytes go with the refused draft.
            self._nursery.start_soon(self._forget_row_alone, node)
        refused.discard()
        self._kernel.forget_pages(node.inode)

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
        self.discard_draft(node)
        self._kernel.forget_pages(node.inode)
        for attachment in node.hidden:
            self._tree.overlay.unhide(attachment)
        node.hidden, node.retire, node.follows = (), (), None
        self._supplanting.give_back(node)
        if node.journalled:
            self._nursery.start_soon(self._forget_row_alone, node)
        if node.attachment is None:
            self._tree.drop(node)
        else:
            self._tree.plain(node)

    def remember(self, node: FileNode) -> None:
        """Keep the local facts of a file that is on the platform."""
        if node.attachment is not None:
            self._journal.facts.remember(node.attachment.id, Fact(node.inode, node.mtime_ns, node.mode))

    async def forget_row(self, node: FileNode, *, durable: bool = False) -> None:
        """The draft's own row (not a submitted one) goes."""
        noted = node.noted
        if noted is None:
            return
        await self._journal.remove(noted.row.id, durable=durable)
        if node.journalled == noted.row.id:  # (Else it was written over meanwhile.)
            row_went(node)

    async def _forget_row_alone(self, node: FileNode) -> None:
        try:
            await self.forget_row(node)
        except AerofsError as error:
            log.error("%s: could not be taken out of the journal: %s", node.path, error)


class _Followed:
    """One operation of a file: it calls `announced` and `retracted`, and `settled` at its end."""

    def __init__(
        self, node: FileNode, work: Work, frozen: Path | None, outcomes: Outcomes, tree: Tree
    ) -> None:
        self._node = node
        self._work = work
        self._frozen = frozen
        self._outcomes = outcomes
        self._tree = tree
        self._earlier, node.work = node.pending, work
        work.hidden, node.hidden = [*node.hidden], ()
        self._before: tuple[Attachment | None, FieldRef | None] | None = None

    def announced(self, added: Attachment) -> None:
        """The new version stands: it is what the file is from now on."""
        node, row = self._node, self._work.row
        if self._before is None:
            self._before = (node.attachment, node.stands)
        if node.attachment is not None and self._tree.is_placed(node):
            self._work.hidden.append(node.attachment.id)
        size = added.size if added.size is not None else row.size
        node.attachment, node.stands = replace(added, size=size), row.place
        had_own = node.beside is None
        self._tree.became(node, asked=row.file_name)
        if had_own:
            self._outcomes.stand_beside(node, node)
        self._outcomes.remember(node)  # times that were set since the row was written

    def retracted(self) -> None:
        """It was taken back: the file is what it was before."""
        node = self._node
        # (After a crash it stood from the start, and what it was before is not known.)
        (earlier, stood), self._before = self._before or (None, None), None
        if node.attachment is not None:
            self._tree.parted(node.attachment.id)
        if self._tree.is_placed(node) and node.attachment is not None:
            self._tree.overlay.unhide(node.attachment.id)
            if earlier is not None:
                self._work.hidden.remove(earlier.id)
        node.attachment, node.stands = earlier, stood

    def settled(self, work: Work) -> bool:
        """The operation is over. Returns whether the file keeps the local file of its bytes."""
        node, earlier = self._node, self._earlier
        if node.work is work:
            # (One that it was to follow may still be there, if this one was dropped.)
            node.work = earlier if earlier is not None and not earlier.settled.is_set() else None
        self._keep_hidden_for_heirs()
        kept = self._outcomes.over(node, work, self._frozen)
        for attachment in work.shown_again():
            self._tree.overlay.unhide(attachment)
        return kept

    def _keep_hidden_for_heirs(self) -> None:
        """A file was renamed over, and is over: what it was is not seen before whoever took its name is settled."""
        node, work = self._node, self._work
        if node.life is not Life.UNLINKED or node.attachment is None or not self._tree.is_placed(node):
            return
        for heir in work.heirs:
            if any(old.attachment == node.attachment.id for old in heir.row.retire):
                self._tree.overlay.hide(node.attachment.id)
                heir.hidden.append(node.attachment.id)
        for taker in self._tree.placed():
            if taker.follows is work and taker is not node:
                self._outcomes.hand_on(taker, work)
