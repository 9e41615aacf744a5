"""Taking over a name that another file has: what that one is on the platform goes when the new one stands."""

import trio

from aerofs.content.operations import Retire, Role, State
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.errors import DeadlineError, RefusedError
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.handovers import Claim
from aerofs.filesystem.nodes import FieldNode, FileNode
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.versions import Versions
from aerofs.model import Attachment, FieldRef


class Takeovers:
    """Takes names over.

    Args:
        wait: Seconds that a take-over waits for an operation that it cannot follow.
    """

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        versions: Versions,
        asides: Asides,
        *,
        wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._versions = versions
        self._asides = asides
        self._wait = wait

    async def take_over(
        self, home: FieldNode, name: str, target: FileNode | None, *, taker: FileNode, chain: bool
    ) -> Claim:
        """The target has no name any more; what it is on the platform is retired by whoever takes its place.

        Nothing of it is given up here: on this disk that is done with the row of the new one, on the platform when that
        stands.

        Args:
            home: Where the name is.
            name: The name.
            target: Who has it.
            taker: Who gets it.
            chain: An unsettled operation of the target may be followed; else it has to be settled first.

        Raises:
            DeadlineError: It is not settled in time; nothing has happened.
            RefusedError: It is held, and nobody knows what of it stands on the platform.
        """
        if target is None:
            for aside in () if chain else self._asides.pending(home, name):
                await self._await_settled(aside)
            return await self._asides.claim(home, name)
        async with self._commits.notes.lock(target):
            claimed = await self._replace(target, chain=chain)
        # What was put aside from the name before a stranger's file came would be back as a second one.
        return await self._asides.claim_besides(home, name, taker, claimed, chain=chain)

    async def _replace(self, target: FileNode, *, chain: bool) -> Claim:
        await self._versions.keep_for_readers(target)
        # (Kept at the target: to be gone on with, should all this be in vain.)
        work = target.follows = target.pending or target.follows
        retire: tuple[Retire, ...] = ()
        if work is not None and not chain:
            if _is_unsent(work):
                # Nothing of it was ever sent: what it was to replace is ours to replace now.
                retire = work.row.retire
                for old in retire:
                    self._tree.overlay.hide(old.attachment)
                self._uploads.spend(work)
            else:
                retire = await self._settled(work)
            work = None
        elif work is None and target.attachment is not None:
            retire = (_over(target.stands or target.place, target.attachment),)
            self._tree.overlay.hide(target.attachment.id)
        retire = (*target.retire, *retire)
        self._asides.forget(target)
        self._tree.unname(target)
        return Claim(retire, work)

    async def _settled(self, work: Work) -> tuple[Retire, ...]:
        """Wait for an operation as below. Returns what it leaves: hidden, and to be retired."""
        await self._await_settled(work)
        if work.row.added is None:
            return work.row.retire
        self._tree.overlay.hide(work.row.added.id)
        return (_over(work.row.place, work.row.added),)

    async def _await_settled(self, work: Work) -> None:
        """Wait for an operation that a row which waits for another already cannot follow."""
        with trio.move_on_after(self._wait):
            await self._uploads.resolved(work)
        if work.row.state is State.HELD and not work.settled.is_set():
            raise RefusedError(f"{work.row.path}: its save is held, and has to be decided about first")
        if not work.settled.is_set():
            raise DeadlineError(f"{work.row.path}: is still on its way, and its name cannot be taken before")


def _is_unsent(work: Work) -> bool:
    row = work.row
    return work.previous is None and not (work.busy or row.maybe_sent or row.added or row.secured)


def _over(place: FieldRef, attachment: Attachment) -> Retire:
    return Retire(place, attachment.id, attachment.name, Role.OVER)
