"""Unlinking: exactly what the name stands for leaves the platform, and nothing of it comes back.

A save or a move of the file that is not settled is withdrawn; what others have open stays readable.
"""

import logging

import trio

from aerofs.content.journal import Journal
from aerofs.content.operations import Retire, State, left_by
from aerofs.content.puts import Remote
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.errors import (
    AerofsError,
    IsDirectoryError,
    NotFoundError,
    ProtocolError,
    ReadOnlyError,
    RefusedError,
    UnavailableError,
)
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.finding import find
from aerofs.filesystem.nodes import Directory, FileNode, Life
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.versions import Versions
from aerofs.model import AttachmentId, FieldRef

log = logging.getLogger(__name__)


class Unlinking:
    """Removes files.

    Args:
        wait: Seconds that a removal waits for a withdrawn operation.
    """

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        journal: Journal,
        remote: Remote,
        versions: Versions,
        asides: Asides,
        *,
        read_only: bool,
        wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal
        self._remote = remote
        self._versions = versions
        self._asides = asides
        self._read_only = read_only
        self._wait = wait

    async def unlink(self, parent: Directory, name: str, *, taker: FileNode | None = None) -> None:
        """Remove a file: from the platform, if it is there.

        Args:
            parent: Where it is.
            name: Its name.
            taker: The file that gets the name, if that is why; the rows of the former one go with its next.

        Raises:
            NotFoundError, IsDirectoryError, ReadOnlyError: As unlink(2).
            AerofsError: The platform refused; the file stays.
        """
        node = (await find(self._tree, parent, name)).node
        if not isinstance(node, FileNode):
            raise IsDirectoryError(f"{name} is a directory")
        if self._read_only:
            raise ReadOnlyError(f"{node.path}: the mount is read-only")
        async with self._commits.notes.lock(node):
            own = node.pending
            if own is not None:
                await self.withdraw(own, retire=node.retire)
                self._handed_over(node, own)
            if node.follows is not None:
                await self.withdraw(node.follows)
            if node.pending is None:
                await self._versions.keep_for_readers(node)
                # (What it has withdrawn, with all that it was to replace, is gone by now.)
                await self._delete(node, withdrawn=own is not None and own.row.added is None)
            self._asides.forget(node)
            life = node.life
            self._tree.unname(node)
            log.debug("%s: unlinked (%s)", node.path, life)
            if taker is not None:
                self._commits.supplanting.take(taker, node)
            else:
                await self._commits.notes.forget(node, durable=life is Life.REAL)
                await self._commits.notes.forget_supplanted(node)
        if node.handles == 0:
            self._commits.outcomes.discard_draft(node)

    async def _delete(self, node: FileNode, *, withdrawn: bool) -> None:
        """Delete what the name stands for on the platform: exactly the attachments that this file is or replaces."""
        retire = node.retire
        if node.follows is not None and node.follows.settled.is_set():
            retire = (*retire, *left_by(node.follows.row))
        doomed = [(old.place, old.attachment) for old in retire]
        if node.attachment is not None and not withdrawn:
            doomed.append((node.stands or node.place, node.attachment.id))
        if doomed:
            # Else the row of its save might be back after a loss of power, and bring it up again.
            await self._journal.firm()
        for place, attachment in doomed:
            await self._delete_one(place, attachment)
            self._tree.catalog.removed(place, attachment)
            self._journal.facts.forget(attachment)
        for attachment in node.hidden:
            self._tree.overlay.unhide(attachment)
        node.hidden, node.retire, node.follows = (), (), None

    async def _delete_one(self, place: FieldRef, attachment: AttachmentId) -> None:
        try:
            await self._remote.delete(place, attachment)
        except NotFoundError:
            # Somebody was faster; a newer file of that name is not ours to delete.
            self._tree.catalog.expire(place)
            if await self._still_stands(place, attachment):
                raise UnavailableError(
                    f"{place}: the platform lists {attachment}, but does not find it"
                ) from None
        except (UnavailableError, ProtocolError):
            self._tree.catalog.expire(place)  # it may be gone
            raise

    async def _still_stands(self, place: FieldRef, attachment: AttachmentId) -> bool:
        try:
            standing = await self._remote.attachments(place)
        except NotFoundError:
            return False  # nor does the document
        return any(entry.id == attachment for entry in standing)

    def _handed_over(self, node: FileNode, own: Work) -> None:
        """What the file had yet to replace is the affair of its withdrawn operation, unless that came too late."""
        if own.settled.is_set():
            node.retire = own.row.retire
        else:
            own.hidden += node.hidden
            node.retire, node.hidden = (), ()

    async def withdraw(self, work: Work, *, retire: tuple[Retire, ...] = ()) -> None:
        """A save or a move of the file is not settled: it brings nothing up any more, and takes back what it did.

        What it was to replace goes, too, and what its file was to replace besides (`retire`).

        Raises:
            AerofsError: The platform does not let us take it back.
        """
        if work.settled.is_set():
            return
        before, work.unwatched = work.row, False
        await self._uploads.withdraw(work, retire=retire)
        row = work.row
        if not (work.previous or work.running or row.maybe_sent or row.added or row.retire):
            return  # it only stands in line, and will find that there is nothing left to do
        with trio.move_on_after(self._wait):
            await self._uploads.resolved(work)
        if work.settled.is_set():
            return
        if work.row.state is not State.HELD:
            work.unwatched = True
            return
        refusal = work.error or RefusedError(f"{work.row.path}: cannot be taken back")
        try:
            await self._uploads.restore(work, before, retire=retire)
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", work.row, error)
        raise refusal
