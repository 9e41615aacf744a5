"""Undoing a rename that the platform refused: everything is as before, as far as nothing is gone for good."""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace

from aerofs.content.operations import Retire, Role
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.errors import AerofsError, NotFoundError
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.handovers import Claim
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.lookalikes import Lookalikes
from aerofs.filesystem.nodes import FieldNode, FileNode, Life
from aerofs.filesystem.relocations import Relocations
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment, FieldRef

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Before:
    """A file as it was before a rename; `parent` is the number of `home`."""

    parent: int
    home: FieldNode
    name: str
    title: str
    life: Life
    exclusive: bool
    retire: tuple[Retire, ...]
    stands: FieldRef | None
    follows: Work | None
    aside: tuple[FieldNode, str] | None


class Undoing:
    """Gives a file that was renamed in vain, and the one whose name it took, back what they had."""

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        relocations: Relocations,
        asides: Asides,
        lookalikes: Lookalikes,
        kernel: Kernel,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._relocations = relocations
        self._asides = asides
        self._lookalikes = lookalikes
        self._kernel = kernel

    def before(self, node: FileNode) -> Before:
        """What is to be known of a file in order to undo what comes."""
        return Before(
            self._tree.number(node.home),
            node.home,
            node.name,
            node.title,
            node.life,
            node.exclusive,
            node.retire,
            node.stands,
            node.follows,
            node.aside,
        )

    async def undo(
        self,
        node: FileNode,
        before: Before,
        work: Work | None,
        target: FileNode | None,
        claim: Claim,
        error: AerofsError,
    ) -> bool:
        """The platform refused a rename, or it could not be begun.

        Args:
            node: The file that was renamed.
            before: What it was.
            work: The operation of the rename, if it came to one.
            target: The file whose name was taken over.
            claim: What it took over with the name.
            error: Why it is undone.

        Returns:
            Whether the caller is to be told. Where the journal cannot be written, a crash would make of what is undone
            what it was not: so the file stays renamed, and its operation is held.
        """
        if work is not None and (work.row.retired or work.row.secured):
            return True  # what was brought up, or waits here, is all that is left: ours stays, held
        parent, name = self._tree.number(node.home), node.name
        beside = work.row.spared if work is not None and work.row.added is not None else ()
        standing = claim.standing(work)
        if work is None:
            self._put_back(node, before)
        elif not await self._written(node, before, work, target, claim):
            return False
        # (Before anything is waited for: what the platform has of those shall not be seen under the name.)
        self._asides.give_back(claim, standing)
        self._show_again(beside, target)
        if target is not None:
            self._commits.supplanting.spare(node, target)
            await self._as_far_as_it_goes(target, self._give_back(target))
        for handed in claim.handed:
            await self._as_far_as_it_goes(handed.node, self._asides.forget_copy(handed))
        if before.aside is not None:
            self._asides.put(node, *before.aside)
        self._lookalikes.closed(node)
        await self._as_far_as_it_goes(node, self._go_on(node, work))
        self._kernel.forget_entry(parent, name)
        if isinstance(error, NotFoundError):
            self._tree.catalog.expire(before.home.place)  # somebody else took it away
        self._kernel.forget_entry(before.parent, before.name)
        return True

    def _show_again(self, beside: Sequence[Retire], target: FileNode | None) -> None:
        """The catalog was told that what was brought up stands in place of these; and that could not be taken back."""
        over = target.attachment.id if target is not None and target.attachment is not None else None
        for old in beside:
            name = target.name if target is not None and old.attachment == over else None
            self._tree.catalog.added(old.place, Attachment(old.attachment, old.title), name=name)
            self._tree.catalog.expire(old.place)

    def _put_back(self, node: FileNode, before: Before) -> None:
        for attachment in node.hidden:
            self._tree.overlay.unhide(attachment)
        self._tree.move(node, before.home, before.name)
        node.title, node.life, node.exclusive = before.title, before.life, before.exclusive
        node.retire, node.hidden, node.beside = before.retire, (), None
        node.stands, node.follows = before.stands, before.follows

    async def _written(
        self,
        node: FileNode,
        before: Before,
        work: Work,
        target: FileNode | None,
        claim: Claim,
    ) -> bool:
        """Let the journal know that all is as before: what had the name first, for our row tells of it until it goes.

        Returns False where that failed: nothing has happened.
        """
        renamed, hidden, beside, added = self.before(node), node.hidden, node.beside, work.row.added
        self._tree.place(node)
        if added is not None:
            work.retract()  # it could not even be taken back: it is a file of its own now
        inherited = _inherited(node, before, work, claim) if added is None and work.row.saves else ()
        before = replace(before, retire=(*before.retire, *inherited))
        self._put_back(node, before)
        self._hide(node, inherited)
        committed = target.committed if target is not None else 0
        try:
            if target is not None:
                await self._keep(target)
            await self._reinstate(claim)
            await self._take_along(node, before, work, claim)
            if node.life is Life.LOCAL and node.noted is None and not work.row.saves:
                await self._commits.notes.note(node, durable=False)
            await self._commits.notes.note_instead(node, work)
        except AerofsError as error:
            log.error("%s: its rename cannot be undone, it stays %s: %s", node.path, renamed.name, error)
        else:
            return True
        self._put_back(node, renamed)
        node.hidden, node.beside = hidden, beside
        for attachment in hidden:
            self._tree.overlay.hide(attachment)
        if added is not None:
            work.announce(added)
        if target is not None:
            await self._as_far_as_it_goes(target, self._commits.notes.forget(target))
            target.committed = committed
            # A row that could not go is not to be found without its bytes.
            target.handles += target.noted is not None
        return False

    def _hide(self, node: FileNode, inherited: Sequence[Retire]) -> None:
        node.hidden = tuple(old.attachment for old in inherited)
        for attachment in node.hidden:
            self._tree.overlay.hide(attachment)

    async def _reinstate(self, claim: Claim) -> None:
        """What is put aside again has its operation again."""
        for handed in claim.handed:
            if handed.is_untouched and handed.work is not None and not handed.work.settled.is_set():
                await self._uploads.reinstate(handed.work)

    async def _keep(self, target: FileNode) -> None:
        """What had the name will have it again: its bytes have a row, if nothing else stands for them."""
        given_up, draft = target.follows, target.draft
        if given_up is not None and not given_up.settled.is_set():
            await self._uploads.reinstate(given_up)
        elif given_up is not None and given_up.row.added is not None:
            return
        elif draft is not None and draft.refusal is None and target.noted is None and not target.pending:
            target.life, target.committed = Life.REAL, -1
            try:
                async with self._commits.notes.lock(target):
                    await self._commits.notes.note_renamed(target, synced=True)
            finally:
                target.life = Life.UNLINKED

    async def _as_far_as_it_goes(self, node: FileNode, doing: Awaitable[None]) -> None:
        """What is left is tried again by itself, or is found as it was after a crash."""
        try:
            await doing
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", node.path, error)

    async def _take_along(self, node: FileNode, before: Before, work: Work, claim: Claim) -> None:
        """What was saved since, under the name that the file has lost again, is a save of the file where it is."""
        later = list(self._uploads.after(work))
        if not later:
            return
        taken = claim.taken(work)
        spared = tuple(
            old
            for old in work.row.retire
            if old.attachment not in taken and (old.role is not Role.OVER or old in before.retire)
        )
        based = (replace(old, role=Role.BASE) if old.place == node.place else old for old in spared)
        node.retire = ()
        # First what was to go with the name: a save that inherits this row must not take it away after a crash.
        await self._uploads.spare(work, tuple(based))
        for save in later:
            await self._uploads.amend(save, replace(save.row, **self._tree.fields.destination(node)))

    async def _go_on(self, node: FileNode, work: Work | None) -> None:
        """The file has its old name: what is to become of its bytes is what was to become of them before."""
        if node.life is Life.LOCAL:
            if node.noted is None:
                await self._commits.notes.note(node, durable=False)
        elif node.draft is None:
            if node.pending is None:  # (Else an earlier rename of it is on its way.)
                node.stands = None
                self._tree.plain(node)
        elif work is None:
            await self._commits.released(node)
        elif work.row.saves:
            await self._save_anew(node)

    async def _give_back(self, target: FileNode) -> None:
        """A name that was taken over in vain: what had it has it again, with the operation that was on its way."""
        target.life, given_up = Life.REAL, target.follows
        if given_up is not None and not given_up.settled.is_set():
            await self._uploads.reinstate(given_up)
            target.follows = None if given_up is target.pending else given_up
        elif given_up is not None and given_up.row.added is not None:
            target.follows = None
        stands = given_up is None or (given_up.settled.is_set() and given_up.row.added is not None)
        if stands and target.draft is None:
            return  # the catalog shows it
        self._tree.place(target)
        self._tree.move(target, target.home, target.name)
        if target.pending is not None:
            return
        if target.draft is None:
            await self._relocations.move(target, None)
        elif stands and given_up is not None:
            await self._commits.released(target)
        else:
            await self._save_anew(target)

    async def _save_anew(self, node: FileNode) -> None:
        """The save of what close() accepted was given up for the sake of a rename that came to nothing."""
        if node.noted is None:
            node.committed = -1
        await self._commits.released(node)
        if node.noted is None:
            await self._commits.notes.note(node, durable=False)


def _inherited(node: FileNode, before: Before, work: Work, claim: Claim) -> tuple[Retire, ...]:
    """What an earlier operation of the file was to retire, which left that to the rename: not its own version."""
    own = {node.attachment.id} if node.attachment is not None else set()
    others = own | claim.taken(work) | {old.attachment for old in before.retire}
    return tuple(old for old in work.row.spared if old.attachment not in others)
