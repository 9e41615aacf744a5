"""Taking over a name that another file has: what that one is on the platform goes when the new one stands."""

from aerofs.content.operations import Retire, Role
from aerofs.content.uploads import Uploads, Work
from aerofs.filesystem.asides import Asides, Claim
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import FieldNode, FileNode, Life
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.unlinking import Unlinking
from aerofs.filesystem.versions import Versions


class Takeovers:
    """Takes names over."""

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        versions: Versions,
        asides: Asides,
        unlinking: Unlinking,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._versions = versions
        self._asides = asides
        self._unlinking = unlinking

    async def take_over(self, home: FieldNode, name: str, target: FileNode | None, *, chain: bool) -> Claim:
        """The target has no name any more; what it is on the platform is retired by whoever takes its place.

        Args:
            home: Where the name is.
            name: The name.
            target: Who has it.
            chain: An unsettled save of the target may be followed; else it is withdrawn.
        """
        if target is None:
            retire, work = await self._asides.claim(home, name)
            return (retire, work) if work is None or chain else ((*retire, *await self._give_up(work)), None)
        async with self._commits.lock(target):
            return await self._replace(target, chain=chain)

    async def _replace(self, target: FileNode, *, chain: bool) -> Claim:
        await self._versions.keep_for_readers(target)
        retire: tuple[Retire, ...] = target.retire
        work = target.pending or target.follows
        if (
            work is not None
            and not chain
            and work.previous is None
            and not work.busy
            and not work.row.maybe_sent
            and not work.row.added
        ):
            # Nothing of it was ever sent: what it was to replace is ours to replace now.
            retire = (*retire, *work.row.retire)
            self._uploads.supersede(work)
            work = None
        elif work is not None and not chain:
            retire, work = (*retire, *await self._give_up(work)), None
        elif work is None and target.attachment is not None:
            place = target.stands or target.place
            retire = (*retire, Retire(place, target.attachment.id, target.attachment.name, Role.OVER))
            self._tree.overlay.hide(target.attachment.id)
        self._asides.forget(target)
        target.life = Life.UNLINKED
        if target.pending is None:
            self._tree.plain(target)
        else:
            self._tree.unname(target)
        await self._commits.outcomes.forget_row(target)
        return retire, work

    async def _give_up(self, work: Work) -> tuple[Retire, ...]:
        """Withdraw an operation; if it was through before it could be taken back, what it brought up is to go."""
        await self._unlinking.withdraw(work)
        if not work.settled.is_set() or work.row.added is None:
            return ()
        added = work.row.added
        self._tree.overlay.hide(added.id)
        return (Retire(work.row.place, added.id, added.name, Role.OVER),)
