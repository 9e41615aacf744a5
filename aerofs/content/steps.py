"""The steps of one put, in their order: bring up, retire, settle. Each is safe to repeat after a crash.

Nothing here queues, waits for a turn or retries: `uploads.py` does. A step that fails raises; what it had reached is in
the journal before the next request is sent, so that performing the row again goes on from there.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import trio

from aerofs.content.draft import clone, digest, local_error
from aerofs.content.journal import Fact, Journal
from aerofs.content.operations import Operation, Retire, Role, Secured
from aerofs.content.puts import FileContent, Ledger, Put, Remote
from aerofs.errors import (
    AerofsError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RefusedError,
    UnavailableError,
)
from aerofs.model import Attachment, AttachmentId, FieldRef

log = logging.getLogger(__name__)


class Performer:
    """Performs operations; holds no state of its own between or about them."""

    def __init__(
        self,
        remote: Remote,
        ledger: Ledger,
        journal: Journal,
        drafts: Path,
        fetch: Callable[[FieldRef, Attachment], Awaitable[Path]],
    ) -> None:
        """Wire the room.

        Args:
            remote: The platform.
            ledger: The metadata cache.
            journal: Where steps are recorded.
            drafts: The directory of `Operation.content`.
            fetch: Brings a whole attachment to the local disk and returns its file.
        """
        self._remote = remote
        self._ledger = ledger
        self._journal = journal
        self._drafts = drafts
        self._fetch = fetch

    async def perform(self, put: Put) -> None:
        """Carry an operation to its end; `put.row` then says what stands (`added`), if anything.

        Raises:
            AerofsError: After a temporary one the same put may be performed again; the others are final.
        """
        if put.row.added is None and put.row.maybe_sent:
            await self._find_ours(put)
        if put.row.added is None and not (put.row.cancelled or put.row.superseded):
            await self._bring_up(put)
        if put.row.added is not None and not put.row.cancelled:
            await self._retire_all(put)
        # It may have been unlinked while requests were under way.
        if put.row.cancelled:
            await self._withdraw(put)

    # -- bringing up ---------------------------------------------------------------------------------------------

    async def _bring_up(self, put: Put) -> None:
        row = put.row
        victim = next((old for old in reversed(row.retire) if old.place == row.place), None)
        full = row.maximum is not None and len(row.known) >= row.maximum
        if row.secured is None and full and victim is not None:
            if row.maximum == 1:
                await self._replace_the_only(put, victim)
                return
            await self._secure(put, victim)
        if put.row.secured is not None:
            await self._add_after_removal(put, put.row.secured)
        else:
            await self._add(put)

    async def _add(self, put: Put, *, replacing: bool = False) -> None:
        try:
            if put.row.copies and put.row.copy_of is not None and not replacing:
                added = await self._copy(put.row, put.row.copy_of)
            else:
                await self._with_content(put)
                row = put.row
                added = await self._remote.save(
                    row.place, row.title, put.body(self._drafts), replace=replacing, known=row.known
                )
        except UnavailableError as error:
            if not error.unsent:
                await self._step(put, maybe_sent=True)
            raise
        except ProtocolError as error:
            # An answer that cannot be read (a proxy's page, say) does not tell whether the work was done.
            await self._step(put, maybe_sent=True)
            raise UnavailableError(str(error)) from error
        if added is not None:
            await self._stands(put, added)
            return
        await self._find_ours(put)
        if put.row.added is None:
            raise UnavailableError(
                f"{put.row.path}: the platform said yes, but the field does not show the file"
            )

    async def _copy(self, row: Operation, copy_of: tuple[FieldRef, AttachmentId]) -> Attachment | None:
        source, attachment = copy_of
        copies = await self._remote.copy(source, (attachment,), row.place, known=row.known)
        return next(iter(copies or ()), None)

    async def _replace_the_only(self, put: Put, victim: Retire) -> None:
        """Maximum 1: `replace` replaces the whole field, so only where it holds exactly the version we know."""
        standing = [entry.id for entry in await self._list(put.row.place)]
        if standing and standing != [victim.attachment]:
            raise QuotaError(f"{put.row.path}: the field holds one file, and not the version that was opened")
        await self._add(put, replacing=bool(standing))

    async def _secure(self, put: Put, victim: Retire) -> None:
        """A full field: keep the old bytes here before they are deleted to make room."""
        standing = await self._list(put.row.place)
        base = next((entry for entry in standing if entry.id == victim.attachment), None)
        if base is None:
            return
        name = f"{victim.attachment}.secured"
        await self._keep(await self._fetch(put.row.place, base), name)
        if put.row.copy_of is not None:
            await self._with_content(put)
        put.row = await self._journal.record(
            replace(put.row, secured=Secured(name, victim.attachment, base.name))
        )

    async def _add_after_removal(self, put: Put, secured: Secured) -> None:
        await self._delete(put.row.place, secured.attachment)
        try:
            await self._add(put)
        except AerofsError as error:
            if not error.temporary:
                await self._put_back(put, secured)
            raise

    async def _put_back(self, put: Put, secured: Secured) -> None:
        """The successor was refused: what had made room for it stands again, under a new id."""
        path = self._drafts / secured.content
        back = await self._remote.save(put.row.place, secured.title, FileContent(path, path.stat().st_size))
        retire = put.row.retire
        if back is not None:
            self._ledger.added(put.row.place, back)
            retire = tuple(
                replace(old, attachment=back.id) if old.attachment == secured.attachment else old
                for old in retire
            )
        put.row = await self._journal.record(replace(put.row, secured=None, retire=retire))
        path.unlink(missing_ok=True)

    async def _stands(self, put: Put, added: Attachment) -> None:
        """The new attachment is on the platform: say so in the journal and to the catalog."""
        row = put.row = replace(put.row, added=replace(added, url=None), maybe_sent=False)
        self._journal.remember(added.id, Fact(row.inode, row.mtime_ns, row.mode))
        shown = next(
            (old for old in row.retire if old.place == row.place and old.role is not Role.SOURCE), None
        )
        # The name that the platform answers wins over the one that was asked for.
        name = row.file_name if added.name == row.title else None
        if shown is not None:
            self._ledger.replaced(row.place, shown.attachment, added, name=name)
        else:
            self._ledger.added(row.place, added, name=name)
        put.announce(added)
        if row.retire:
            await self._journal.step(row)

    # -- retiring ------------------------------------------------------------------------------------------------

    async def _retire_all(self, put: Put) -> None:
        order = {Role.BASE: 0, Role.SOURCE: 1, Role.OVER: 2}
        for old in sorted(put.row.retire, key=lambda old: order[old.role]):
            if put.row.secured is None or old.attachment != put.row.secured.attachment:
                await self._retire(put, old)
        if put.row.secured is not None:
            (self._drafts / put.row.secured.content).unlink(missing_ok=True)

    async def _retire(self, put: Put, old: Retire) -> None:
        try:
            gone = not await self._delete(old.place, old.attachment)
        except AerofsError as error:
            if not error.temporary:
                await self._take_back(put)
            raise
        if gone and old.role is not Role.SOURCE:
            await self._stand_beside(put, old)
        rest = tuple(other for other in put.row.retire if other != old)
        put.row = replace(put.row, retire=rest)
        if rest:
            await self._journal.step(put.row)

    async def _take_back(self, put: Put) -> None:
        """What was added must not stand beside what could not be retired."""
        if put.row.added is None:
            return
        try:
            await self._delete(put.row.place, put.row.added.id)
        except AerofsError as error:
            log.error("%s: both versions stand on the platform; neither could go: %s", put.row.path, error)
            return
        put.row = await self._journal.record(replace(put.row, added=None))
        for old in put.row.retire:
            # The catalog was told that the new one stands in its place.
            self._ledger.added(old.place, Attachment(old.attachment, old.title))
            self._ledger.expire(old.place)
        put.retract()

    async def _stand_beside(self, put: Put, old: Retire) -> None:
        """Somebody else replaced or deleted the version that we opened. A stranger's newer one is not touched."""
        first = put.row.added
        if first is None or put.row.conflict is not None:
            return
        standing = await self._list(put.row.place)
        seen = put.row.known | {old.attachment, first.id}
        if not any(entry.name == put.row.title and entry.id not in seen for entry in standing):
            return
        title = conflict_title(put.row.title, datetime.now().astimezone())
        log.info("%s: a newer version stands on the platform; ours is kept as %s", put.row.path, title)
        await self._with_content(put)
        known = frozenset(entry.id for entry in standing)
        added = await self._remote.save(put.row.place, title, put.body(self._drafts), known=known)
        if added is None:
            raise UnavailableError(f"{put.row.path}: the platform said yes, but did not name the new file")
        await self._step(put, added=replace(added, url=None), conflict=title)
        self._journal.remember(added.id, Fact(put.row.inode, put.row.mtime_ns, put.row.mode))
        self._ledger.added(put.row.place, added)
        await self._delete(put.row.place, first.id)
        put.announce(added)

    async def _withdraw(self, put: Put) -> None:
        """The file was unlinked meanwhile: nothing of it may stay."""
        if put.row.added is not None:
            await self._delete(put.row.place, put.row.added.id)
        for old in put.row.retire:
            await self._delete(old.place, old.attachment)
        put.row = replace(put.row, added=None, retire=())

    # -- finding out ---------------------------------------------------------------------------------------------

    async def _find_ours(self, put: Put) -> None:
        """After a lost answer: an id that we did not know, with our title and equal bytes, is ours."""
        row = put.row
        strangers = [
            entry
            for entry in await self._list(row.place)
            if entry.name == row.title and entry.id not in row.known
        ]
        if row.resizes or not row.content:
            if len(strangers) > 1:
                raise RefusedError(
                    f"{row.path}: {len(strangers)} new files of this name, and ours cannot be told"
                )
            matches = strangers
        else:
            matches = [entry for entry in strangers if await self._same_bytes(row, entry)]
        if matches:
            await self._stands(put, matches[0])
        else:
            put.row = replace(put.row, maybe_sent=False)

    async def _same_bytes(self, row: Operation, candidate: Attachment) -> bool:
        if candidate.size is not None and candidate.size != row.size:
            return False
        if candidate.url is None:
            return False
        expected = row.sha256 or await trio.to_thread.run_sync(digest, self._drafts / str(row.content))
        found = sha256()
        async with self._remote.download(candidate.url) as download:
            async for chunk in download.chunks():
                found.update(chunk)
        return found.hexdigest() == expected

    async def _list(self, place: FieldRef) -> tuple[Attachment, ...]:
        begun = self._ledger.begin()
        try:
            standing = await self._remote.attachments(place)
            self._ledger.learn(place, standing, begun=begun)
        finally:
            self._ledger.end(begun)
        return standing

    async def _delete(self, place: FieldRef, attachment: AttachmentId) -> bool:
        """Delete; False where it was already gone."""
        try:
            await self._remote.delete(place, attachment)
        except NotFoundError:
            found = False
        else:
            found = True
        self._ledger.removed(place, attachment)
        self._journal.forget(attachment)
        return found

    async def _with_content(self, put: Put) -> None:
        """See to it that the bytes are in a local file: fetched from what the put copies, if not yet here."""
        row = put.row
        if row.content is not None:
            return
        if row.copy_of is None:
            raise RefusedError(f"{row.path}: the row has no bytes")
        place, attachment = row.copy_of
        name = f"{attachment}.moving"
        blob = await self._fetch(place, Attachment(attachment, row.source_title))
        await self._keep(blob, name)
        await self._step(put, content=name, size=(self._drafts / name).stat().st_size)

    async def _keep(self, blob: Path, name: str) -> None:
        """A blob's bytes under a name of the drafts' directory, safe from eviction and on the disk."""
        try:
            await trio.to_thread.run_sync(_link, blob, self._drafts / name)
        except OSError as error:
            raise local_error(error, f"keeping {name}") from error

    async def _step(self, put: Put, **changes: Any) -> None:
        put.row = replace(put.row, **changes)
        await self._journal.step(put.row)


def conflict_title(title: str, when: datetime) -> str:
    """`report.odt` -> `report (conflict HOST 2026-11-23 14.05).odt`."""
    path = PurePosixPath(title)
    tag = f" (conflict {socket.gethostname()} {when:%Y-%m-%d %H.%M})"
    stem = title.removesuffix(path.suffix) if path.suffix else title
    return f"{stem}{tag}{path.suffix}"


def _link(source: Path, target: Path) -> None:
    """A second name for a file, else a copy; synced. Blocks."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        clone(source, target)
    with target.open("rb") as file:
        os.fdatasync(file.fileno())
