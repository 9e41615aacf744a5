"""Where bytes come from: what the reader asks of the platform, and fresh download URLs for it.

`Origin` is injected; the glue over catalog and platform client stands behind it, and in tests a fake. `Links`
keeps what the last list of a field said, because one list brings the URLs of all files of the field: opening
many of them costs one list while those URLs are good. URLs are secrets for as long as they live and are never
logged.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import trio
from cachetools import TTLCache

from aerofs.errors import AerofsError, LocalIOError, ProtocolError, StaleError, UnavailableError
from aerofs.model import Attachment, AttachmentId, FieldRef
from aerofs.platform import ExpiredUrlError

log = logging.getLogger(__name__)


class Download(Protocol):
    """One running answer of the object store."""

    @property
    def start(self) -> int:
        """Where the body begins: as asked, or 0 where the server does not know ranges."""

    @property
    def total(self) -> int | None:
        """The length of the whole attachment, not of this body; None where the server does not say."""

    @property
    def ranged(self) -> bool:
        """Whether it answers a range, which a page in the place of the bytes, or a part sent as the whole, does not."""

    @property
    def etag(self) -> str | None:
        """The store's mark of this version of the bytes."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body. It ends, or raises one of our errors; which of the two a cut is depends on the server."""


class Downloads(Protocol):
    """Whatever brings the bytes behind a URL."""

    def download(
        self, url: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[Download]:
        """The bytes `[start, stop)` behind a URL, `stop` None meaning the end.

        Raises:
            ExpiredUrlError: The URL is good no longer; a fresh list brings another.
        """


class Origin(Downloads, Protocol):
    """What a reader needs of the platform; every method raises our own errors."""

    async def fresh_urls(self, place: FieldRef) -> Mapping[AttachmentId, Attachment]:
        """Every file of the field with its URL, from one list request."""


async def proven_total(origin: Downloads, url: str) -> int | None:
    """The length of an attachment, as the store tells it beside a range of one byte; None where nothing proves it.

    The one judge of whether what came in the place of an attachment can be its bytes: a page that a proxy put there,
    or a file that was cut short, has a length of its own, but answers no range.
    """
    try:
        async with origin.download(url, start=0, stop=1) as download:
            return download.total if download.ranged else None
    except ExpiredUrlError:
        return None


def as_ours(error: Exception) -> AerofsError:
    """One error of our family for whatever a request ended in; a group is reduced to its first of ours."""
    if isinstance(error, AerofsError):
        return error
    if isinstance(error, ExceptionGroup):
        ours = [as_ours(inner) for inner in error.exceptions]
        return next((inner for inner in ours if not isinstance(inner, LocalIOError)), ours[0])
    log.error("an unforeseen error while fetching", exc_info=error)
    return LocalIOError(f"fetching failed: {error!r}")


@dataclass(frozen=True, slots=True)
class Link:
    """Where an attachment is to be had for a while, and the size that the platform promises for it."""

    url: str = field(repr=False)
    size: int | None = None


class Listing:
    """One list request under way, and what came of it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.files: Mapping[AttachmentId, Attachment] = {}
        self.error: AerofsError | None = UnavailableError("the mount is ending")


class Links:
    """What the last list of each field said, good for `lifetime` seconds."""

    def __init__(
        self, origin: Origin, nursery: trio.Nursery, *, lifetime: float = 300.0, maximum_fields: int = 256
    ) -> None:
        self._origin = origin
        self._nursery = nursery
        self._running: dict[FieldRef, Listing] = {}
        self._listed: TTLCache[FieldRef, Mapping[AttachmentId, Attachment]] = TTLCache(
            maximum_fields, lifetime, timer=trio.current_time
        )

    async def link(self, place: FieldRef, id: AttachmentId, *, spent: str | None = None) -> Link:  # noqa: A002
        """Where the attachment is to be had, other than at `spent`: by the last list or else by one new list.

        Raises:
            StaleError: A fresh list does not know the attachment.
            ProtocolError: It knows it, but gives no URL.
            UnavailableError: The list failed for now; any other error of the list likewise.
        """
        found = self._listed.get(place, {}).get(id)
        if found is None or found.url is None or found.url == spent:
            found = (await self._list(place)).get(id)
        if found is None:
            raise StaleError(f"{place}: attachment {id} is gone from the platform")
        if found.url is None:
            raise ProtocolError(f"{place}: the platform gives no download URL for attachment {id}")
        return Link(found.url, found.size)

    async def _list(self, place: FieldRef) -> Mapping[AttachmentId, Attachment]:
        """List the field, or join the list under way; who is cancelled does not take it from the others."""
        listing = self._running.get(place)
        if listing is None:
            listing = Listing()
            try:
                self._nursery.start_soon(self._run, place, listing, name=f"list {place}")
            except RuntimeError as closed:
                raise UnavailableError("the mount has ended") from closed
            self._running[place] = listing
        await listing.done.wait()
        if listing.error is not None:
            raise listing.error
        return listing.files

    async def _run(self, place: FieldRef, listing: Listing) -> None:
        try:
            listing.files = self._listed[place] = await self._origin.fresh_urls(place)
            listing.error = None
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait, not to the nursery
            listing.error = as_ours(error)
        finally:
            del self._running[place]
            listing.done.set()
