"""What the platform is asked to do for a file that got another name: nothing yet, another save, or a move."""

from dataclasses import replace

from aerofs.content.journal import Journal
from aerofs.content.operations import Retire, Role
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work, coming_after
from aerofs.errors import NotFoundError
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import FileNode
from aerofs.filesystem.tree import Tree


class Relocations:
    """Lets the platform follow a file to where it is here."""

    def __init__(self, tree: Tree, commits: Commits, uploads: Uploads, journal: Journal) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal

    async def begin(self, node: FileNode, *, was_local: bool) -> Work | None:
        """Give the platform what a rename means for it. None where nothing is to be waited for.

        The caller holds the file's lock.

        Args:
            node: The file, under its new name.
            was_local: Its former name was one that never leaves this machine.

        Raises:
            NotFoundError: There is nothing that could be moved.
            AerofsError: The journal could not be written.
        """
        if node.draft is not None and was_local and node.pending is None:
            node.committed = -1  # nothing of it was ever sent
        if not node.changed:
            await self._commits.outcomes.forget_row(node)  # of the local name: the bytes are those of a save
        async with self._uploads.followed(lambda: node.pending or node.follows) as previous:
            return await self._begin_after(node, previous)

    async def _begin_after(self, node: FileNode, previous: Work | None) -> Work | None:
        draft, pending = node.draft, node.pending
        if (
            pending is not None
            and not pending.busy
            and not pending.row.maybe_sent
            and pending.row.added is None
        ):
            await self._retarget(node, pending)
            return None
        if draft is not None and node.changed:
            if node.writers:
                return None  # its close will do it
            return await self._commits.record(node)
        return await self.move(node, previous)

    async def _retarget(self, node: FileNode, work: Work) -> None:
        row = work.row
        retire = (*row.retire, *(old for old in node.retire if old not in row.retire))
        await self._uploads.amend(work, replace(row, **self._tree.fields.destination(node), retire=retire))
        # (No turn of it has begun before that is in the journal.)
        work.hidden += node.hidden
        node.retire, node.hidden = (), ()

    async def move(self, node: FileNode, previous: Work | None) -> Work:
        """What stands on the platform, or will when its operation is settled, is to stand where the file is here.

        Args:
            node: The file.
            previous: The operation that this comes after.

        Raises:
            NotFoundError: There is nothing to move.
            AerofsError: The journal could not be written.
        """
        attachment, pending, source = node.attachment, node.pending, node.stands or node.place
        if attachment is None and pending is None:
            raise NotFoundError(f"{node.path}: nothing to move")
        row = self._commits.operation(node, size=node.size or 0, retire=node.retire)
        if attachment is not None and pending is None:
            gone = Retire(source, attachment.id, attachment.name, Role.SOURCE)
            row = replace(
                row,
                copy_of=(source, attachment.id),
                source_title=attachment.name,
                retire=(gone, *node.retire),
            )
        row, previous = coming_after(row, previous)
        work = Work(await self._journal.record(row), previous=previous)
        node.retire, node.follows = (), None
        self._commits.outcomes.follow(node, work)
        self._uploads.submit(work)
        if previous is not None and pending is None:
            self._uploads.supersede(previous)  # of the file whose place this one takes
        return work
