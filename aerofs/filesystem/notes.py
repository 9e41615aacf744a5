"""The rows of drafts that no save took yet: of an fsync, of a local name, or of a close() among several.

Where something else comes to stand for the bytes, such a row goes in the very transaction that writes that.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import trio

from aerofs.content.draft import Draft
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, State
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work, coming_after
from aerofs.errors import AerofsError
from aerofs.filesystem.nodes import FileNode, Life, Noted
from aerofs.filesystem.rows import LARGE, Rows, former_of, label, number_of
from aerofs.filesystem.supplanting import Supplanting, row_went

log = logging.getLogger(__name__)


class Notes:
    """Keeps in the journal what a crash is to bring back of drafts."""

    def __init__(
        self, rows: Rows, uploads: Uploads, journal: Journal, supplanting: Supplanting, nursery: trio.Nursery
    ) -> None:
        self._rows = rows
        self._uploads = uploads
        self._journal = journal
        self._supplanting = supplanting
        self._nursery = nursery
        self._locks: WeakKeyDictionary[FileNode, trio.Lock] = WeakKeyDictionary()

    def lock(self, node: FileNode) -> trio.Lock:
        """Whoever holds it sees no row of this file being written, also of a save: its name and its life may change."""
        return self._locks.setdefault(node, trio.Lock())

    async def note(self, node: FileNode, *, durable: bool = True, accepted: bool = False) -> None:
        """Give a draft a row without uploading it: for a name that stays here, or what a crash is to bring back.

        Args:
            node: The file.
            durable: It is on the disk on return, proof against a loss of power.
            accepted: Exactly these bytes, whatever is written later (a close() among several, and all that is noted
                from then on until the next save: what was accepted is never given up for bytes that may not last);
                else, as after an fsync(2) on any disk, what is written later may be there, too.
        """
        async with self.lock(node):
            await self._note(node, durable=durable, accepted=accepted)

    async def note_renamed(self, node: FileNode, *, synced: bool = False) -> None:
        """A file that got another name has a row; what a close() accepted of it stays what it is.

        The caller holds the lock; `synced`: it will be durable with the next row that is.
        """
        if _accepted(node.noted):
            await self.renew(node, durable=True)
        else:
            await self._note(node, synced=synced)

    async def _note(
        self, node: FileNode, *, durable: bool = False, accepted: bool = False, synced: bool = False
    ) -> None:
        draft, former = node.draft, node.noted
        if draft is None or node.life is Life.UNLINKED or not (node.changed or node.life is Life.LOCAL):
            return
        if accepted and former is not None and former.changes == draft.changes and former.row.accepted:
            return  # another descriptor was closed, and nothing was written between
        if _accepted(former):
            if not draft.size and node.life is Life.REAL:
                # That it is empty counts no sooner than that is uploaded.
                await self.renew(node, durable=durable)
                return
            accepted = True
        async with self._noting(node, draft) as row:
            await draft.unshare()  # as in `Commits.record`
            path = draft.protect() if accepted else draft.path
            named = _of_bytes(row, draft, path, accepted=accepted)
            noted = Noted(
                self._journal.numbered(replace(named, id=number_of(former, path))), path, draft.changes
            )
            # (A file that has only a name of this machine is what that name stands for, at once.)
            supplants = accepted or node.life is Life.LOCAL
            supplanted = self._supplanting.rows(node) if supplants else ()
            gone = (*former_of(former, noted.row), *supplanted)
            durable = durable or bool(gone)  # for their files go, too
            try:
                await self._write(noted, draft, instead_of=gone, durable=durable, synced=synced)
            except BaseException:
                if former is None or former.path != path:
                    draft.leave(path)
                raise
            if supplants:
                self._supplanting.gone(node)
            if former is not None and _accepted(former) and node.draft is not draft:
                # It met an error meanwhile: the file holds, or will again, what was accepted before.
                await self._journal.record(former.row, instead_of=former_of(noted, former.row))
                return
            node.noted = noted
            if former is not None and former.path != path:
                draft.leave(former.path)
            elif not accepted and path == draft.path:
                draft.leave(path)
        if node.draft is not draft:
            await self.forget(node)  # it met an error meanwhile, and is gone

    @asynccontextmanager
    async def _noting(self, node: FileNode, draft: Draft) -> AsyncIterator[Operation]:
        """What the row of a draft without a save is to say, but for its bytes; it has to be written in this context."""
        local = node.life is Life.LOCAL
        async with self._uploads.followed(
            lambda: None if local else node.pending or node.follows
        ) as previous:
            row = self._rows.save(node, draft, inherits=local or node.pending is not None)
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
            return label(noted, draft if durable or synced else None)

        if draft.size > LARGE:
            await trio.to_thread.run_sync(first)
            await self._journal.record(noted.row, instead_of=instead_of, durable=durable)
        else:
            await self._journal.record(noted.row, first=first, instead_of=instead_of, durable=durable)

    # -- it says something else --------------------------------------------------------------------------------

    async def renew(self, node: FileNode, *, durable: bool = False) -> None:
        """The row of a draft tells anew where it is to stand, what it is to replace, and its time.

        If its bytes were accepted by a close(), it stands for what had the name. The caller holds the lock.
        """
        draft = node.draft
        async with self.renewed(node) as noted:
            if draft is None or noted is None:
                return
            supplants = durable and noted.row.accepted is not None
            gone = self._supplanting.rows(node) if supplants else ()
            await self._write(noted, draft, instead_of=gone, durable=durable)
        if supplants:
            self._supplanting.gone(node)

    @asynccontextmanager
    async def renewed(self, node: FileNode) -> AsyncIterator[Noted | None]:
        """The row of a draft as it is to be now, with the bytes that it names; it has to be written in this context.

        None: it has none. The caller holds the lock.
        """
        draft, former = node.draft, node.noted
        if draft is None or former is None:
            yield None
            return
        async with self._noting(node, draft) as row:
            noted = _anew(former, row)
            yield noted
        if node.noted is former:
            node.noted = noted
        else:
            await self._journal.remove(former.row.id)  # it was forgotten meanwhile

    async def renew_alone(self, node: FileNode) -> None:
        """The same for a caller who neither holds the lock nor would know what to do about a full disk."""
        try:
            async with self.lock(node):
                await self.renew(node)
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", node.path, error)

    def renew_soon(self, node: FileNode) -> None:
        """The same in the background."""
        self._nursery.start_soon(self.renew_alone, node)

    async def note_instead(self, node: FileNode, work: Work) -> None:
        """A save that came to nothing is given up; in that moment its bytes have a row of their own, as before it.

        Raises:
            AerofsError: The journal could not be written; nothing has happened.
        """
        async with self.lock(node):
            await self._uploads.rested(work)
            draft, former = node.draft, node.noted
            stands = work.row.added is not None and node.life is Life.REAL
            if draft is None or not work.row.saves or node.pending is not work or stands:
                await self._uploads.drop(work)  # no bytes are left to be saved, or a later row has them
                return
            self._uploads.spend(work)
            try:
                row = self._as_before(node, draft, work)
                if former is not None:
                    noted = _anew(former, row)  # of later bytes, and maybe of no others: see `accepted`
                else:
                    noted = Noted(self._journal.numbered(row), draft.path, draft.changes)
                await trio.to_thread.run_sync(label, noted, draft)
                await self._journal.remove(
                    work.row.id, successors=(noted.row,), settled=work.row, durable=True
                )
            except BaseException:
                self._uploads.keep(work)
                raise
            self._uploads.forgotten(work)
            node.noted, node.committed = noted, -1

    def _as_before(self, node: FileNode, draft: Draft, work: Work) -> Operation:
        """The row of a draft without that save of it."""
        earlier = work.previous if node.life is not Life.LOCAL else None
        row = self._rows.save(node, draft, inherits=node.life is Life.LOCAL or earlier is not None)
        row, _ = coming_after(replace(row, state=State.LOCAL, content=draft.path.name), earlier)
        return row

    # -- it goes --------------------------------------------------------------------------------------------------

    async def forget(self, node: FileNode, *, durable: bool = False) -> None:
        """The draft's own row (not a submitted one) goes."""
        noted = node.noted
        if noted is None:
            return
        await self._journal.remove(noted.row.id, durable=durable)
        if node.journalled == noted.row.id:  # (Else it was written over meanwhile.)
            row_went(node)

    def forget_soon(self, node: FileNode) -> None:
        """The same in the background."""
        self._nursery.start_soon(self._forget_alone, node)

    async def _forget_alone(self, node: FileNode) -> None:
        try:
            await self.forget(node)
        except AerofsError as error:
            log.error("%s: could not be taken out of the journal: %s", node.path, error)

    async def forget_supplanted(self, node: FileNode, *, durable: bool = True) -> None:
        """Those whose names the file took are not wanted any more, though no row stands for them. Lock as above."""
        rows = self._supplanting.rows(node)
        if rows:
            await self._journal.remove(*rows, durable=durable)
        self._supplanting.gone(node)


def _accepted(noted: Noted | None) -> bool:
    """A close() accepted the bytes that the row names, and no others."""
    return noted is not None and noted.row.accepted is not None


def _of_bytes(row: Operation, draft: Draft, path: Path, *, accepted: bool) -> Operation:
    """The row that names a draft's bytes as they are now: exactly these (`accepted`), or what is written later, too."""
    refusal = draft.refusal
    return replace(
        row,
        content=path.name,
        size=draft.size,
        accepted=draft.size if accepted else None,
        error=str(refusal or ""),
        errno=refusal.errno if refusal is not None else 0,
    )


def _anew(former: Noted, row: Operation) -> Noted:
    """The same bytes, under the same number, with what else is to be said of them."""
    was = former.row
    row = replace(row, id=was.id, content=was.content, size=was.size, accepted=was.accepted)
    return replace(former, row=replace(row, error=was.error, errno=was.errno))
