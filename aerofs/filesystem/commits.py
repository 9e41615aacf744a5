"""When and how a draft becomes a save.

Concurrency: one commit of a file at a time (`_locks`); everything else is synchronous on the trio thread. The order is
always: freeze, sync and hash and record (one hop into the writer thread), submit, wait.
"""

import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import trio

from aerofs.content import labels
from aerofs.content.blobs import Blobs
from aerofs.content.draft import Draft, digest, local_error
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, Retire, Role, State
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work, coming_after
from aerofs.errors import AerofsError, UnavailableError
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import FileNode, Life, Noted
from aerofs.filesystem.outcomes import Outcomes
from aerofs.filesystem.quiet import Quiet
from aerofs.filesystem.supplanting import Supplanting
from aerofs.filesystem.tree import Tree

log = logging.getLogger(__name__)

_LARGE = 4 << 20
"""Bytes from which a draft is synced and digested in a thread of its own: the journal's writer serves everybody."""


class Commits:
    """Turns drafts into operations.

    Attributes:
        outcomes: Lets files learn how these go.
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
        self._tree = tree
        self._uploads = uploads
        self._journal = journal
        self._nursery = nursery
        self._close_wait = close_wait

        def save(node: FileNode) -> None:
            nursery.start_soon(self._commit_alone, node)

        self.supplanting = Supplanting(tree, uploads, save=save)
        self.outcomes = Outcomes(
            tree,
            journal,
            blobs,
            kernel,
            nursery,
            self.supplanting,
            journal_anew=lambda node: nursery.start_soon(self._journal_anew, node),
            save=save,
        )
        self._locks: WeakKeyDictionary[FileNode, trio.Lock] = WeakKeyDictionary()
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
            await self.journal(node, durable=False)
            return False
        if node.draft.size == 0:
            self.quiet.empty(node)
            return False
        if written_again:
            await self.journal(node, accepted=True)
            self.quiet.rewritten(node)
            return False
        await self.commit(node, wait=self._close_wait)
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
            if node.changed:
                await self.journal(node, durable=False)
            return
        if node.changed and node.draft.refusal is None:
            await self._commit_alone(node)
        else:
            self.outcomes.let_go(node)

    async def _commit_deferred(self, node: FileNode) -> None:
        if node.changed and node.life is Life.REAL and node.draft is not None and node.draft.refusal is None:
            await self._commit_alone(node)

    async def _commit_alone(self, node: FileNode) -> None:
        """Commit where nobody waits for an answer. The bytes are in no journal yet: it is tried until they are."""
        draft = node.draft
        try:
            await self.commit(node, wait=None)
        except AerofsError as error:
            if draft is not None and error is draft.refusal:
                return  # whoever met it was told: this is no save
            log.error("%s: could not be recorded, will be tried again: %s", node.path, error)
            self.quiet.again(node)

    def lock(self, node: FileNode) -> trio.Lock:
        """Whoever holds it sees no save of this file being recorded: its name and its life may change."""
        return self._locks.setdefault(node, trio.Lock())

    async def commit(self, node: FileNode, *, wait: float | None) -> None:
        """Make a save of the present bytes; wait for its first try if `wait` is given (seconds).

        When the platform has it, its row may still stand in the journal for a moment: see `booked`.

        Raises:
            AerofsError: The journal could not be written, or the first try failed. The row then stays.
        """
        async with self.lock(node):
            work = await self.record(node)
        if wait is None or work is None:
            return
        try:
            await self._uploads.first_tries.wait(work, wait, booked=False)
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
            self.row(node, draft, inherits=node.pending is not None),
            content=path.name,
            id=_number(noted, path),
        )
        row, previous = coming_after(self._journal.numbered(row), previous)
        former = (*_former(noted, row), *self.supplanting.rows(node))
        try:
            if draft.size > _LARGE:
                row = await trio.to_thread.run_sync(_synced, row, draft, path)
                row = await self._journal.record(row, instead_of=former)
            else:
                row = await self._journal.record(
                    row, first=lambda: _synced(row, draft, path), instead_of=former
                )
        except BaseException:
            draft.release_frozen(path)
            raise
        node.committed, node.noted, node.retire, node.follows = changes, None, (), None
        if noted is not None:
            draft.leave(noted.path)
        self.supplanting.gone(node)
        work = Work(row, previous=previous)
        self.outcomes.follow(node, work, frozen=path)
        self._uploads.submit(work)
        if previous is not None:
            # Not before this one is in the journal: until then the earlier one holds all that close() accepted.
            self._uploads.supersede(previous)
        return work

    def row(self, node: FileNode, draft: Draft, *, inherits: bool = False) -> Operation:
        """The save of a draft as it is now; `inherits`: what it replaces follows from an earlier one of the file."""
        retire = node.retire
        if node.attachment is not None and not inherits:
            stands = node.stands or node.place
            role = Role.BASE if stands == node.place else Role.SOURCE
            retire = (Retire(stands, node.attachment.id, node.attachment.name, role), *retire)
        return self.operation(node, size=draft.size, retire=retire)

    def operation(self, node: FileNode, *, size: int, retire: tuple[Retire, ...]) -> Operation:
        """An operation of a file as it is now: where it is to stand, and the local facts that go with it."""
        return Operation(
            **self._tree.fields.destination(node),
            size=size,
            retire=retire,
            inode=node.inode,
            mtime_ns=node.mtime_ns,
            mode=node.mode,
            since=time.time(),
        )

    async def journal(self, node: FileNode, *, durable: bool = True, accepted: bool = False) -> None:
        """Give a draft a row without uploading it: for a name that stays here, or what a crash is to bring back.

        Args:
            node: The file.
            durable: It is on the disk on return, proof against a loss of power.
            accepted: Exactly these bytes, whatever is written later (a close() among several); else, as after an
                fsync(2) on any disk, what is written later may be there, too.
        """
        async with self.lock(node):
            await self.note(node, durable=durable, accepted=accepted)

    async def note(
        self, node: FileNode, *, durable: bool = False, accepted: bool = False, synced: bool = False
    ) -> None:
        """The same for a caller who holds the lock; `synced`: it will be durable with the next row that is."""
        draft, former = node.draft, node.noted
        if draft is None or node.life is Life.UNLINKED or not (node.changed or node.life is Life.LOCAL):
            return
        if accepted and former is not None and former.changes == draft.changes and former.row.accepted:
            return  # another descriptor was closed, and nothing was written between
        async with self._noting(node, draft) as row:
            await draft.unshare()  # as in `record`
            path = draft.protect() if accepted else draft.path
            named = replace(
                row,
                id=_number(former, path),
                content=path.name,
                size=draft.size,
                accepted=draft.size if accepted else None,
            )
            noted = Noted(self._journal.numbered(named), path, draft.changes)
            # (A file that has only a name of this machine is what that name stands for, at once.)
            supplants = accepted or node.life is Life.LOCAL
            supplanted = self.supplanting.rows(node) if supplants else ()
            gone = (*_former(former, noted.row), *supplanted)
            durable = durable or bool(gone)  # for their files go, too
            try:
                await self._write(noted, draft, instead_of=gone, durable=durable, synced=synced)
            except BaseException:
                if former is None or former.path != path:
                    draft.leave(path)
                raise
            node.noted = noted
            if supplants:
                self.supplanting.gone(node)
            if former is not None and former.path != path:
                draft.leave(former.path)
            elif not accepted and path == draft.path:
                draft.leave(path)
        if node.draft is not draft:
            await self.outcomes.forget_row(node)  # it met an error meanwhile, and is gone

    @asynccontextmanager
    async def _noting(self, node: FileNode, draft: Draft) -> AsyncIterator[Operation]:
        """What the row of a draft without a save is to say, but for its bytes; it has to be written in this context."""
        local = node.life is Life.LOCAL
        async with self._uploads.followed(
            lambda: None if local else node.pending or node.follows
        ) as previous:
            row = self.row(node, draft, inherits=local or node.pending is not None)
            row, _ = coming_after(replace(row, state=State.LOCAL), previous)
            yield row

    async def _write(
        self,
        noted: Noted,
        draft: Draft,
        *,
        instead_of: Iterable[int] = (),
        durable: bool = False,
        synced: bool = False,
    ) -> None:
        def first() -> Operation:
            return _label(noted, draft if durable or synced else None)

        if draft.size > _LARGE:
            await trio.to_thread.run_sync(first)
            await self._journal.record(noted.row, instead_of=instead_of, durable=durable)
        else:
            await self._journal.record(noted.row, first=first, instead_of=instead_of, durable=durable)

    async def _journal_anew(self, node: FileNode) -> None:
        try:
            async with self.lock(node):
                await self.note_anew(node)
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", node.path, error)

    async def note_anew(self, node: FileNode, *, durable: bool = False) -> None:
        """The row of a draft tells anew where it is to stand, what it is to replace, and its time.

        If its bytes were accepted by a close(), it stands for what had the name. The caller holds the lock.
        """
        draft = node.draft
        async with self.noted_anew(node) as noted:
            if draft is None or noted is None:
                return
            supplants = durable and noted.row.accepted is not None
            gone = self.supplanting.rows(node) if supplants else ()
            await self._write(noted, draft, instead_of=gone, durable=durable)
        if supplants:
            self.supplanting.gone(node)

    @asynccontextmanager
    async def noted_anew(self, node: FileNode) -> AsyncIterator[Noted | None]:
        """The row of a draft as it is to be now, with the bytes that it names; it has to be written in this context.

        None: it has none. The caller holds the lock.
        """
        draft, former = node.draft, node.noted
        if draft is None or former is None:
            yield None
            return
        was = former.row
        async with self._noting(node, draft) as row:
            anew = replace(row, id=was.id, content=was.content, size=was.size, accepted=was.accepted)
            noted = replace(former, row=anew)
            yield noted
        if node.noted is former:
            node.noted = noted
        else:
            await self._journal.remove(was.id)  # it was forgotten meanwhile

    async def note_instead(self, node: FileNode, work: Work) -> None:
        """A save that came to nothing is given up; in that moment its bytes have a row of their own, as before it.

        Raises:
            AerofsError: The journal could not be written; nothing has happened.
        """
        async with self.lock(node):
            await self._uploads.rested(work)
            draft, former = node.draft, node.noted
            if draft is None or work.row.content is None or node.pending is not work:
                await self._uploads.drop(work)  # there are no bytes, or a later row has them
                return
            self._uploads.spend(work)
            try:
                row = replace(self._as_before(node, draft, work), id=_number(former, draft.path))
                noted = Noted(self._journal.numbered(row), draft.path, draft.changes)
                await trio.to_thread.run_sync(_label, noted, draft)
                gone = (work.row.id, *_former(former, noted.row))
                await self._journal.remove(*gone, successors=(noted.row,), settled=work.row, durable=True)
            except BaseException:
                self._uploads.keep(work)
                raise
            self._uploads.forgotten(work)
            node.noted, node.committed = noted, -1

    def _as_before(self, node: FileNode, draft: Draft, work: Work) -> Operation:
        """The row of a draft without that save of it."""
        earlier = work.previous if node.life is not Life.LOCAL else None
        row = self.row(node, draft, inherits=node.life is Life.LOCAL or earlier is not None)
        row, _ = coming_after(replace(row, state=State.LOCAL, content=draft.path.name), earlier)
        return row

    async def forget_supplanted(self, node: FileNode, *, durable: bool = True) -> None:
        """Those whose names the file took are not wanted any more, though no row stands for them. Lock as above."""
        rows = self.supplanting.rows(node)
        if rows:
            await self._journal.remove(*rows, durable=durable)
        self.supplanting.gone(node)

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
        await self._journal_anew(node)

    async def settle_all(self) -> None:
        """Commit at once what waits for quiet (before an unmount). One that cannot be recorded stops no other."""
        for node in self.quiet:
            await self._commit_deferred(node)


def _synced(row: Operation, draft: Draft, path: Path) -> Operation:
    """The digest of the bytes, and with it everything to the disk. Runs in a thread."""
    try:
        row = replace(row, sha256=digest(path), size=path.stat().st_size)
    except OSError as error:
        raise local_error(error, row.path) from error
    labels.write(path, row)
    draft.sync_file(path)
    return row


def _label(noted: Noted, synced_by: Draft | None) -> Operation:
    """The label of a row, and with it everything to the disk, if somebody is to see to that. Runs in a thread."""
    labels.write(noted.path, noted.row)
    if synced_by is not None:
        synced_by.sync_file(noted.path)
    return noted.row


def _number(noted: Noted | None, path: Path) -> int:
    """The number of the row of a file, if it has one: a row that names another file is another row."""
    return noted.row.id if noted is not None and noted.path == path else 0


def _former(noted: Noted | None, row: Operation) -> tuple[int, ...]:
    """The number of the row that another one takes the place of, if there is one."""
    return (noted.row.id,) if noted is not None and noted.row.id != row.id else ()
