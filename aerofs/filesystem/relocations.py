"""What the platform is asked to do for a file that got another name: nothing yet, another save, or a move."""

import logging
from dataclasses import replace

from aerofs.content.journal import Journal
from aerofs.content.operations import Retire, Role
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work, coming_after
from aerofs.errors import AerofsError, NotFoundError
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import FileNode
from aerofs.filesystem.tree import Tree

log = logging.getLogger(__name__)


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
                # Its close will do it; what an earlier one accepted has the new name.
                if node.noted is not None and node.noted.row.accepted is not None:
                    await self._commits.note_anew(node, durable=True)
                return None
            return await self._commits.record(node)
        return await self.move(node, previous)

    async def _retarget(self, node: FileNode, work: Work) -> None:
        row = work.row
        retire = (*row.retire, *(old for old in node.retire if old not in row.retire))
        new = replace(row, **self._tree.fields.destination(node), retire=retire)
        await self._uploads.amend(work, new, instead_of=self._commits.supplanting.rows(node))
        # (No turn of it has begun before that is in the journal.)
        self._commits.supplanting.gone(node)
        work.hidden += node.hidden
        node.retire, node.hidden = (), ()
        try:
            await self._commits.note_anew(node, durable=True)
        except AerofsError as error:
            log.error("%s: a crash would give it its former name: %s", node.path, error)

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
        supplanting = self._commits.supplanting
        row = await self._journal.record(row, instead_of=supplanting.rows(node))
        supplanting.gone(node)
        work = Work(row, previous=previous)
        node.retire, node.follows = (), None
        self._commits.outcomes.follow(node, work)
        self._uploads.submit(work)
        if previous is not None and pending is None:
            self._uploads.supersede(previous)  # of the file whose place this one takes
        return work
