"""The single actions that the steps of a put are made of: on the platform, with the catalog and the journal told.

Each is one request or one file; their order, and what follows from their failure, is the affair of `steps.py`,
`retiring.py` and `making_room.py`.

`put.row` may be marked from outside (cancelled, superseded) at every await: it is always changed at once and written
afterwards, never the other way round.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import trio

from aerofs.content import labels
from aerofs.content.disk import clone, local_error
from aerofs.content.facts import Fact
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, Role
from aerofs.content.puts import FileContent, Ledger, Put, Remote
from aerofs.content.recognition import Fetch
from aerofs.errors import NotFoundError, ProtocolError, RefusedError, UnavailableError
from aerofs.model import Attachment, AttachmentId, FieldRef


class Actions:
    """What can be done for a put; holds no state of its own."""

    def __init__(self, remote: Remote, ledger: Ledger, journal: Journal, drafts: Path, fetch: Fetch) -> None:
        self._remote = remote
        self._ledger = ledger
        self._journal = journal
        self._drafts = drafts
        self._fetch = fetch

    # -- the platform --------------------------------------------------------------------------------------------

    async def standing(self, place: FieldRef) -> tuple[Attachment, ...]:
        """What stands in a field now."""
        begun = self._ledger.begin()
        try:
            with _unclear_is_temporary():
                standing = await self._remote.attachments(place)
            self._ledger.learn(place, standing, begun=begun)
        finally:
            self._ledger.end(begun)
        return standing

    async def save(
        self,
        place: FieldRef,
        title: str,
        content: FileContent,
        *,
        replacing: bool = False,
        known: frozenset[AttachmentId],
    ) -> Attachment | None:
        """Add a file; None where the answer does not tell which one that is."""
        with _unclear_is_temporary():
            return await self._remote.save(place, title, content, replace=replacing, known=known)

    async def copy(self, put: Put) -> Attachment | None:
        """Copy what the put moves, on the platform; None where the answer does not tell."""
        if put.row.copy_of is None:
            raise ValueError("nothing to copy")
        source, attachment = put.row.copy_of
        with _unclear_is_temporary():
            copies = await self._remote.copy(source, (attachment,), put.row.place, known=put.row.bygone)
        return next(iter(copies or ()), None)

    async def holds(self, place: FieldRef, attachment: AttachmentId) -> bool:
        """Whether an attachment stands in a field now."""
        try:
            standing = await self.standing(place)
        except NotFoundError:
            return False  # the document itself is gone
        return any(entry.id == attachment for entry in standing)

    async def delete(
        self,
        place: FieldRef,
        attachment: AttachmentId,
        *,
        instead: tuple[FieldRef, AttachmentId] | None = None,
    ) -> tuple[Attachment, ...] | None:
        """Delete. None where that was us; else what stands there now that somebody was faster.

        Args:
            place: Where it stands.
            attachment: It.
            instead: What stands for it by now; the request is not repeated where that is gone.

        Raises:
            UnavailableError: The platform does not find it, and lists it all the same.
        """

        async def again() -> None:
            if instead is not None and not await self.holds(*instead):
                raise UnavailableError(f"{place}: what stood for {attachment} is gone", retry_after=inf)

        standing = None
        try:
            with _unclear_is_temporary():
                await self._remote.delete(place, attachment, again=again)
        except NotFoundError:
            standing = await self._left_without(place, attachment)
        self.gone(place, attachment)
        return standing

    async def _left_without(self, place: FieldRef, attachment: AttachmentId) -> tuple[Attachment, ...]:
        try:
            standing = await self.standing(place)
        except NotFoundError:
            return ()  # the document itself is gone
        if any(entry.id == attachment for entry in standing):
            raise UnavailableError(
                f"{place}: the platform lists attachment {attachment}, but does not find it"
            )
        return standing

    # -- who is to know ------------------------------------------------------------------------------------------

    def gone(self, place: FieldRef, attachment: AttachmentId) -> None:
        """An attachment is no more, by our doing."""
        self._ledger.removed(place, attachment)
        self._journal.facts.forget(attachment)

    def named(self, place: FieldRef, attachment: Attachment, name: str) -> None:
        """An attachment has this file name from now on, whoever had it before."""
        self._ledger.added(place, attachment, name=name)

    def returned(self, place: FieldRef, attachment: Attachment) -> None:
        """An attachment stands after all, of which the catalog was told that it was replaced."""
        self._ledger.added(place, attachment)
        self._ledger.expire(place)

    def spared(self, row: Operation) -> None:
        """The same of all that an operation was to retire."""
        for old in row.spared:
            self.returned(old.place, Attachment(old.attachment, old.title))

    async def stands(self, put: Put, added: Attachment) -> None:
        """The new attachment is on the platform: say so in the journal and to the catalog."""
        row = put.row = replace(put.row, added=replace(added, url=None), maybe_sent=False)
        self._journal.facts.remember(added.id, Fact(row.inode, row.mtime_ns, row.mode))
        tell(self._ledger, row, added)
        put.announce(added)
        if row.retire:
            # Bytes of a save tell it from others again, also after a loss of power. Those of a move go with its source.
            await self._journal.step(row, durable=row.copy_of is not None)

    async def step(self, put: Put, **changes: Any) -> None:
        """Note how far the put has come."""
        put.row = replace(put.row, **changes)
        await self._journal.step(put.row)

    async def settle_on(self, put: Put, **changes: Any) -> None:
        """The same, proof against a loss of power."""
        put.row = replace(put.row, **changes)
        await self._journal.record(put.row)

    # -- the disk ------------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """Where a file of the drafts' directory is."""
        return self._drafts / name

    def body(self, put: Put) -> FileContent:
        """The bytes to send."""
        return put.body(self._drafts)

    async def with_content(self, put: Put, *, standing: Attachment | None = None) -> None:
        """See to it that the bytes are in a local file: fetched from `standing`, else from what the put moves."""
        row = put.row
        if row.content is not None:
            return
        if standing is not None:
            place, source = row.place, standing
        elif row.copy_of is not None:
            place, source = row.copy_of[0], Attachment(row.copy_of[1], row.source_title)
        else:
            raise RefusedError(f"{row.path}: the row has no bytes")
        name = await self.keep(place, source, "moving", lambda name: replace(row, content=name))
        await self.step(put, content=name, size=self.file(name).stat().st_size)

    async def keep(
        self, place: FieldRef, attachment: Attachment, suffix: str, label: Callable[[str], Operation]
    ) -> str:
        """An attachment's bytes in the drafts' directory: safe from eviction, on the disk.

        Args:
            place: Where the attachment stands.
            attachment: It.
            suffix: Of the file's name.
            label: What the file of that name is to say for itself.

        Returns:
            The file's name.
        """
        name = f"{uuid.uuid4().hex}.{suffix}"
        async with self._fetch(place, attachment) as blob:
            try:
                await trio.to_thread.run_sync(_link, blob, self._drafts / name, label(name))
            except OSError as error:
                raise local_error(error, f"keeping {attachment.name}") from error
        return name


def tell(ledger: Ledger, row: Operation, added: Attachment) -> None:
    """Let the catalog know what a put has brought up: in whose place it stands, and under which name."""
    shown = next(
        (old for old in row.retire if old.place == row.place and old.role in (Role.BASE, Role.OVER)), None
    )
    # The name that the platform answers wins over the one that was asked for; so does a stranger's newer version.
    asked = added.name == row.title and row.title != row.conflict
    name = row.file_name if asked else None
    if shown is not None:
        ledger.replaced(row.place, shown.attachment, added, name=name)
    else:
        ledger.added(row.place, added, name=name)


@contextmanager
def _unclear_is_temporary() -> Iterator[None]:
    """An answer that cannot be read (a proxy's page, say) does not tell whether the work was done."""
    try:
        yield
    except ProtocolError as error:
        raise UnavailableError(str(error)) from error


def _link(source: Path, target: Path, row: Operation) -> None:
    """A second name for a file, else a copy; labelled and synced. Blocks."""
    try:
        os.link(source, target)
    except OSError:
        clone(source, target)
    labels.write(target, row)
    with target.open("rb") as file:
        os.fsync(file.fileno())
