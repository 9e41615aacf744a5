"""When and how a draft becomes a save.

Concurrency: one commit of a file at a time (`notes.lock`); everything else is synchronous on the trio thread. The order
is always: freeze, sync and hash and record (one hop into the writer thread), submit, wait.
"""

import logging
from dataclasses import replace

import trio

from aerofs.content.blobs import Blobs
from aerofs.content.journal import Journal
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work, coming_after
from aerofs.errors import AerofsError, UnavailableError
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import FileNode, Life
from aerofs.filesystem.notes import Notes
from aerofs.filesystem.outcomes import Outcomes
from aerofs.filesystem.quiet import Quiet
from aerofs.filesystem.rows import LARGE, Rows, former_of, number_of, synced
from aerofs.filesystem.supplanting import Supplanting
from aerofs.filesystem.tree import Tree

log = logging.getLogger(__name__)


class Commits:
    """Turns drafts into operations.

    Attributes:
        rows: What the journal is told of a file.
        notes: The rows of drafts that no save took yet; and the lock of a file.
        outcomes: Lets files learn how its operations go.
        quiet: Those that wait because their file is still open.
        supplanting: What goes with a file's next row.
    """

    def __init__(
        self,
        tree: Tree,
        uploads: Uploads,
        journal: Journal,
        blobs: Blobs,
        kernel: Kernel,
        nursery: trio.Nursery,
        *,
        close_wait: float,
    ) -> None:
        self._uploads = uploads
        self._journal = journal
        self._nursery = nursery
        self._close_wait = close_wait
        self.rows = Rows(tree.fields)
        self.supplanting = Supplanting(tree, uploads, save=self._commit_soon)
        self.notes = Notes(self.rows, uploads, journal, self.supplanting, nursery)
        self.outcomes = Outcomes(
            tree, journal, blobs, kernel, nursery, self.supplanting, self.notes, save=self._commit_soon
        )
        self.quiet = Quiet(nursery, self._commit_deferred)

    async def close(self, node: FileNode, *, written_again: bool) -> bool:
        """A descriptor of a written file is closed (flush). Returns whether a commit was made.

        Raises:
            AerofsError: What a write met before, or what the platform answered.
        """
        if node.draft is None or node.life is Life.UNLINKED:
            return False
        if node.draft.refusal is not None:
            raise node.draft.refusal
        if not node.changed:
            return False
        if node.life is Life.LOCAL:
            await self.notes.note(node, durable=False)
            return False
        if node.draft.size == 0:
            self.quiet.empty(node)
            return False
        if written_again:
            await self.notes.note(node, accepted=True)
            self.quiet.rewritten(node)
            return False
        await self.commit(node)
        return True

    async def released(self, node: FileNode) -> None:
        """A handle is gone. After the last writer: commit what no flush did, let go of a draft that is up."""
        if node.writers or node.draft is None:
            return
        self.quiet.closed(node)
        if node.life is Life.UNLINKED:
            if node.handles == 0:
                self.outcomes.discard_draft(node)
            return
        if node.life is Life.LOCAL:
            self.outcomes.let_go(node)  # (After an error it holds what an earlier close() accepted.)
            if node.changed:
                await self.notes.note(node, durable=False)
            return
        if node.changed and node.draft.refusal is None:
            await self._commit_alone(node)
        else:
            self.outcomes.let_go(node)

    async def _commit_deferred(self, node: FileNode) -> None:
        if node.changed and node.life is Life.REAL and node.draft is not None and node.draft.refusal is None:
            await self._commit_alone(node)

    def _commit_soon(self, node: FileNode) -> None:
        self._nursery.start_soon(self._commit_alone, node)

    async def _commit_alone(self, node: FileNode) -> None:
        """Commit where nobody waits for an answer. The bytes are in no journal yet: it is tried until they are."""
        draft = node.draft
        try:
            await self.commit(node, wait=False)
        except AerofsError as error:
            if draft is not None and error is draft.refusal:
                return  # whoever met it was told: this is no save
            log.error("%s: could not be recorded, will be tried again: %s", node.path, error)
            self.quiet.again(node)

    async def commit(self, node: FileNode, *, wait: bool = True) -> None:
        """Make a save of the present bytes; unless told otherwise, wait for its first try (for `close_wait`).

        When the platform has it, its row may still stand in the journal for a moment: see `booked`.

        Raises:
            AerofsError: The journal could not be written, or the first try failed. The row then stays.
        """
        async with self.notes.lock(node):
            work = await self.record(node)
        if work is None or not wait:
            return
        try:
            await self._uploads.first_tries.wait(work, self._close_wait, booked=False)
        except AerofsError as error:
            if error.temporary:
                raise UnavailableError(
                    f"{node.path}: kept here, will be brought up later: {error}"
                ) from error
            raise

    async def booked(self, node: FileNode) -> None:
        """Wait until the journal knows of a save that the platform has; it concerns nobody who closes a file."""
        work = node.pending
        if work is not None and work.only_books_left:
            await work.tried.wait()

    async def record(self, node: FileNode) -> Work | None:
        """Make a save of the present bytes, if there is anything to be saved. The caller holds the lock.

        Raises:
            AerofsError: The journal could not be written.
        """
        async with self._uploads.followed(lambda: node.pending or node.follows) as previous:
            node.recording = True
            try:
                return await self._record(node, previous)
            finally:
                node.recording = False
                if node.draft is not None and node.draft.refusal is not None:
                    self.outcomes.let_go(node)  # it met an error meanwhile

    async def _record(self, node: FileNode, previous: Work | None) -> Work | None:
        draft = node.draft
        if draft is None or not node.changed or node.life is not Life.REAL:
            return None
        # No two rows name the same file: the end of one of them would take it from the other.
        await draft.unshare()
        if draft.refusal is not None:
            raise draft.refusal
        changes, path, noted = draft.changes, draft.freeze(), node.noted
        row = replace(
            self.rows.save(node, draft, inherits=node.pending is not None),
            content=path.name,
            id=number_of(noted, path),
        )
        row, previous = coming_after(self._journal.numbered(row), previous)
        former = (*former_of(noted, row), *self.supplanting.rows(node))
        try:
            if draft.size > LARGE:
                row = await trio.to_thread.run_sync(synced, row, draft, path)
                row = await self._journal.record(row, instead_of=former)
            else:
                row = await self._journal.record(
                    row, first=lambda: synced(row, draft, path), instead_of=former
                )
        except BaseException:
            draft.release_frozen(path)
            raise
        node.committed, node.noted, node.retire, node.follows = changes, None, (), None
        if noted is not None and (noted.path != path or draft.path == path):
            # (Else a write took the draft on from it meanwhile, and the save reads it.)
            draft.leave(noted.path)
        self.supplanting.gone(node)
        work = Work(row, previous=previous)
        self.outcomes.follow(node, work, frozen=path)
        self._uploads.submit(work)
        if previous is not None:
            # Not before this one is in the journal: until then the earlier one holds all that close() accepted.
            self._uploads.supersede(previous)
        return work

    async def remember(self, node: FileNode) -> None:
        """Times or the mode were set: what stands keeps them here, what is not settled takes them with it."""
        self.outcomes.remember(node)
        work = node.pending if node.life is Life.REAL else None
        try:
            if work is not None:
                work.row = replace(work.row, mtime_ns=node.mtime_ns, mode=node.mode)
                await self._journal.step(work.row)
        except AerofsError as error:
            log.info("%s: its time would not survive a crash: %s", node.path, error)
        await self.notes.renew_alone(node)

    async def settle_all(self) -> None:
        """Commit at once what waits for quiet (before an unmount). One that cannot be recorded stops no other."""
        for node in self.quiet:
            await self._commit_deferred(node)
