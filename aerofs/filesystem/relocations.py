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
            await self._commits.notes.forget(node)  # of the local name: the bytes are those of a save
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
            self._uploads.urge(pending)
            await self._save_what_is_newer(node)
            return None
        if draft is not None and node.changed:
            if node.writers:
                await self._rename_noted(node)  # its close will do the rest
                return None
            return await self._commits.record(node)
        return await self.move(node, previous)

    async def _save_what_is_newer(self, node: FileNode) -> None:
        """What was written under a local name, since the save that has just been retargeted, is a save after it."""
        if not node.changed or node.writers:
            return  # (its close will do it)
        try:
            await self._commits.record(node)
        except AerofsError as error:
            log.error("%s: could not be recorded, will be tried again: %s", node.path, error)
            self._commits.quiet.again(node)

    async def _rename_noted(self, node: FileNode) -> None:
        """What an earlier close() or a sync covered of an open file has the new name."""
        if node.noted is None:
            return
        accepted = node.noted.row.accepted is not None
        if accepted or not node.supplants:
            await self._commits.notes.renew(node, durable=accepted)
        # (Else a crash gives it its former name: for its sake alone, no save is given up whose name it took.)

    async def _retarget(self, node: FileNode, work: Work) -> None:
        row, supplanting = work.row, self._commits.supplanting
        retire = (*row.retire, *(old for old in node.retire if old not in row.retire))
        new = replace(row, **self._tree.fields.destination(node), retire=retire)
        node.retire = ()
        async with self._commits.notes.renewed(node) as noted:
            # In one moment: a row under the former name would inherit what is to go with the new one.
            also = () if noted is None else (noted.row,)
            await self._uploads.amend(work, new, instead_of=supplanting.rows(node), also=also)
        # (No turn of it has begun before that is in the journal.)
        supplanting.gone(node)
        work.hidden += node.hidden
        node.hidden = ()

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
        row = self._commits.rows.operation(node, size=node.size or 0, retire=node.retire)
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
        elif previous is not None:
            self._uploads.urge(previous)
        return work
