"""Finding out, after an answer that was lost or told too little, which attachment is the one that we brought up.

Pure judgement over a list of what stands in a field, and the comparison of bytes that it needs. Nothing is changed
here, on the platform or in the journal: `steps.py` acts on the verdict.
"""

import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import trio

from aerofs.content.disk import digest, local_error
from aerofs.content.operations import Operation
from aerofs.content.origin import proven_total
from aerofs.content.pictures import same_picture
from aerofs.content.puts import Remote
from aerofs.errors import DoubtError, RefusedError, StaleError, UnavailableError
from aerofs.model import Attachment, AttachmentId, FieldRef
from aerofs.platform import ExpiredUrlError

Fetch: TypeAlias = Callable[[FieldRef, Attachment], AbstractAsyncContextManager[Path]]
"""Brings a whole attachment to the local disk; its file stays while the context lasts."""


class Recognition:
    """Tells our attachments from strangers'."""

    def __init__(self, remote: Remote, drafts: Path, fetch: Fetch) -> None:
        self._remote = remote
        self._drafts = drafts
        self._fetch = fetch

    async def ours(
        self, row: Operation, standing: Sequence[Attachment], *, certain: bool
    ) -> Attachment | None:
        """What a put brought up, among what stands in its field now; None where nothing of it does.

        Args:
            row: The put.
            standing: A fresh list, with URLs.
            certain: The platform said that it did the work, only not what came of it.

        Raises:
            DoubtError: One may be ours, and neither bytes nor pictures can tell.
            AerofsError: Their bytes cannot be had now.
        """
        unknown = [entry for entry in standing if entry.id not in row.bygone]
        named = [entry for entry in unknown if same_title(entry.name, row.title)]
        if certain and not named and len(unknown) == 1:
            named = unknown  # the platform may have chosen another name: the bytes will tell
        # What is copied on the platform keeps its bytes, whatever the field does with those that are brought up.
        changed = row.resizes and row.content is not None
        if changed:
            return await self._reduced(row, named)
        sized = [entry for entry in named if _fits(row, entry)]
        return await self._equal(await self._expected(row), sized, row.path) if sized else None

    async def equal_to(
        self, file: Path, title: str, standing: Sequence[Attachment], *, known: frozenset[AttachmentId]
    ) -> Attachment | None:
        """The unknown attachment of that title with the bytes of a local file."""
        size = (await trio.Path(file).stat()).st_size
        candidates = [
            entry
            for entry in standing
            if entry.id not in known and same_title(entry.name, title) and entry.size in (None, size)
        ]
        return await self._equal(await _digest(file), candidates, title) if candidates else None

    async def _expected(self, row: Operation) -> str:
        if row.content is not None:
            return row.sha256 or await _digest(self._drafts / row.content)
        if row.copy_of is None:
            raise RefusedError(f"{row.path}: the row has no bytes")
        place, attachment = row.copy_of
        async with self._fetch(place, Attachment(attachment, row.source_title)) as blob:
            return await _digest(blob)

    async def _equal(self, expected: str, candidates: Sequence[Attachment], path: str) -> Attachment | None:
        for entry in candidates:
            if entry.url is None:
                raise DoubtError(f"{path}: a new file of this name gives no address, so ours cannot be told")
            found, size = await self._bytes(entry.url)
            if found == expected:
                return entry
            # Only the file's own bytes prove that it is not ours; a proxy's page, say, is to be asked past later.
            if size != entry.size and size != await proven_total(self._remote, entry.url):
                raise UnavailableError(f"{path}: what came for a new file of this name may not be its bytes")
        return None

    async def _reduced(self, row: Operation, candidates: Sequence[Attachment]) -> Attachment | None:
        """Ours where the platform may have made a smaller picture of it: by its bytes, or by what it shows."""
        ours, alike, unclear = self._drafts / str(row.content), [], False
        for entry in candidates:
            try:
                async with self._fetch(row.place, entry) as theirs:
                    if await _digest(theirs) == await self._expected(row):
                        return entry
                    same = await trio.to_thread.run_sync(same_picture, ours, theirs)
            except StaleError:
                continue  # gone meanwhile
            alike += [entry] if same else []
            unclear = unclear or same is None
        if len(alike) == 1:
            return alike[0]
        if alike or unclear:
            raise DoubtError(
                f"{row.path}: whether a new file of this name is ours, made smaller, cannot be told: look there first"
            )
        return None

    async def _bytes(self, url: str) -> tuple[str, int]:
        """The digest and the length of what comes."""
        found, size = sha256(), 0
        try:
            async with self._remote.download(url) as download:
                async for chunk in download.chunks():
                    found.update(chunk)
                    size += len(chunk)
        except ExpiredUrlError as error:
            # The address is too old, or somebody else's file went meanwhile: the next list tells.
            raise UnavailableError(str(error)) from error
        return found.hexdigest(), size


def same_title(one: str, other: str) -> bool:
    """Whether two titles are the same to people; platforms may compose accents in another way."""
    return one == other or unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def could_be_ours(row: Operation, entry: Attachment) -> bool:
    """Whether an attachment in the field of a put may be what that brought up, as far as name and size tell."""
    if entry.id in row.bygone or not same_title(entry.name, row.title):
        return False
    return _fits(row, entry) or (row.resizes and row.content is not None)


def _fits(row: Operation, entry: Attachment) -> bool:
    # (Of what is moved, the size may not have been told.)
    return entry.size in (None, row.size) or (row.content is None and not row.size)


def mistakable(row: Operation, place: FieldRef, added: Attachment) -> bool:
    """Whether a put that looks for what it brought up could take for it what another one added to that place."""
    return row.place == place and same_title(row.title, added.name)


async def _digest(path: Path) -> str:
    try:
        return await trio.to_thread.run_sync(digest, path)
    except OSError as error:
        raise local_error(error, path.name) from error
