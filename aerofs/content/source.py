"""One attachment at its origin: good URLs, and what its answers tell about size and version.

It opens downloads and probes; which to open, and what becomes of the bytes, is decided in `supply.py`.

Invariant: bytes of two versions are never mixed. An answer of another version than the one whose bytes are
held empties the blob before a byte of it is used, and that once only: a store that keeps changing is refused.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aerofs.content.blobs import Blob
from aerofs.content.origin import Download, Link, Links, Origin, as_ours, proven_total
from aerofs.errors import ProtocolError, StaleError, UnavailableError
from aerofs.model import FieldRef
from aerofs.platform import ExpiredUrlError

log = logging.getLogger(__name__)

URL_TRIES = 3


class RenewedError(StaleError):
    """The held bytes were of another version and are forgotten; ask anew."""


class Source:
    """Where the bytes of one blob come from.

    Args:
        learned: Called when the blob's size became known or was corrected.
        renewed: Called when the held bytes were forgotten: downloads of the former version must end.
    """

    def __init__(
        self,
        blob: Blob,
        place: FieldRef,
        *,
        origin: Origin,
        links: Links,
        learned: Callable[[FieldRef, Blob], None],
        renewed: Callable[[], None],
    ) -> None:
        self._blob = blob
        self._place = place
        self._origin = origin
        self._links = links
        self._learned = learned
        self._renewed = renewed
        self._changed = False
        self._doubted = False

    async def ask_size(self) -> None:
        """Learn the size by one list (none if the last one told), else by a download of one byte."""
        self._promise((await self._links.link(self._place, self._blob.id)).size)
        if self._blob.size is None:
            await self.probe()

    async def probe(self) -> None:
        """Learn the size from a download of one byte (a signed URL refuses HEAD), if the store tells it."""
        with suppress(RenewedError):
            async with self.open(0, 1):
                pass

    @asynccontextmanager
    async def open(self, start: int, stop: int | None) -> AsyncIterator[Download]:
        """A download whose URL was good and whose version is the held one; an expired URL is asked for anew.

        A total other than the platform's size, or where it tells none than the proven one, is believed if the store
        tells it for a range, too.

        Raises:
            RenewedError: It was of another version; the blob is empty now.
            AerofsError: As `Links.link` and `Origin.download`.
        """
        try:
            async with AsyncExitStack() as stack:
                yield await self._opened(stack, start, stop)
        except Exception as error:
            ours = as_ours(error)  # an origin made of nurseries raises groups
            if ours is error:
                raise
            raise ours from error

    async def _opened(self, stack: AsyncExitStack, start: int, stop: int | None) -> Download:
        spent, error = None, "refuses even a fresh URL of"
        for _ in range(URL_TRIES):
            link = await self._links.link(self._place, self._blob.id, spent=spent)
            self._promise(link.size)
            async with AsyncExitStack() as attempt:
                try:
                    opening = self._origin.download(link.url, start=start, stop=stop)
                    download = await attempt.enter_async_context(opening)
                except ExpiredUrlError:
                    spent = link.url
                    continue
                if self._believed(download, link):
                    self._examine(download)
                    await stack.enter_async_context(attempt.pop_all())
                    return download
            error = "sends something of another size than"
            self._prove(await proven_total(self._origin, link.url))
        raise UnavailableError(f"{self._place}: the object store {error} {self._blob.id}")

    def _believed(self, download: Download, link: Link) -> bool:
        if download.ranged and link.size is None:
            self._prove(download.total)
        told = self._blob.proven if link.size is None else link.size
        if download.total is None or told is not None:
            return download.total in (None, told, self._blob.proven)
        # A store without ranges can prove nothing; it is asked for a proof once and then believed.
        doubted, self._doubted = self._doubted, True
        return doubted or download.ranged or self._blob.size is not None

    def _prove(self, total: int | None) -> None:
        """What was proven stays so where the next answer proves nothing."""
        if total is not None:
            self._blob.proven = total

    def know(self, size: int) -> None:
        """The store itself showed the size."""
        changed, self._blob.size = self._blob.size != size, size
        self._blob.confirmed = True
        if changed:
            self._learned(self._place, self._blob)

    def _promise(self, size: int | None) -> None:
        if size is not None and self._blob.size is None:
            self._blob.size = size
            self._learned(self._place, self._blob)

    def _examine(self, download: Download) -> None:
        """Learn size and version from an answer before its bytes are used."""
        blob, total = self._blob, download.total
        other = blob.etag is not None and download.etag not in (None, blob.etag)
        if total is not None and blob.held:
            other = other or blob.held.next_from(total) is not None or blob.size not in (None, total)
        if other and self._changed:
            raise ProtocolError(f"{self._place}: the object store keeps sending other bytes of {blob.id}")
        if other:
            log.info("%s: the object store has other bytes of %s than it had", self._place, blob.id)
            self._changed = True
            blob.forget()
            blob.etag = None
            self._renewed()
        blob.etag = download.etag or blob.etag
        if total is not None:
            self.know(total)
        if other:
            raise RenewedError(f"{self._place}: the object store has other bytes of {blob.id}")


@asynccontextmanager
async def body(download: Download) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body of a download, ended properly when the loop over it ends early."""
    chunks = download.chunks()
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
