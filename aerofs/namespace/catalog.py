"""What the platform holds, as far as we know: definitions, listings of documents, snapshots of documents.

The front of the room. What a question costs is decided in `definitions.py`, `documents.py` and `listing.py`, the
snapshots are in `holdings.py`, the order of requests and own changes is in `generations.py`; all of it belongs to
one trio thread.

Promises: what is fresh costs nothing; who asks for the same at the same time shares one request; when the platform
is away, what is held is served however old it is; an own change is never undone by an answer that is older than it.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import trio

from aerofs.model import Attachment, AttachmentId, Definition, DefinitionId, DocumentId, FieldRef
from aerofs.namespace import lookup
from aerofs.namespace.definitions import Definitions
from aerofs.namespace.documents import Documents
from aerofs.namespace.flights import Flights
from aerofs.namespace.generations import DocumentKey
from aerofs.namespace.holdings import Holdings
from aerofs.namespace.listing import DocumentEntry, Listings, Reading
from aerofs.namespace.names import encode
from aerofs.namespace.snapshots import FieldFiles, Snapshot
from aerofs.namespace.source import Source

__all__ = ["Catalog", "DocumentEntry", "FieldFiles", "Snapshot", "Source"]


class Catalog:
    """The metadata of one mount.

    Args:
        source: Whom to ask.
        definition_ttl: For how many seconds the definitions are fresh.
        listing_ttl: The same for the documents of a definition, and what their pages told.
        document_ttl: The same for one document that was asked for.
        negative_ttl: For how many seconds a name is known not to exist.
        documents_by: What a document's directory is named by; those without an external id are named by their
            id.
        maximum_documents: How many document snapshots are held.
        clock: The time in seconds.
    """

    def __init__(
        self,
        source: Source,
        *,
        definition_ttl: float = 300.0,
        listing_ttl: float = 60.0,
        document_ttl: float = 30.0,
        negative_ttl: float = 2.0,
        documents_by: Literal["external-id", "id"] = "external-id",
        maximum_documents: int = 50_000,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._source = source
        self._holdings = Holdings(maximum=maximum_documents, clock=clock)
        self._definitions = Definitions(source, ttl=definition_ttl, clock=clock, on_stale=self._served_stale)
        self._listings = Listings(
            source.document_pages,
            holdings=self._holdings,
            title_of=partial(lookup.title_of, by_id=documents_by == "id"),
            ttl=listing_ttl,
            clock=clock,
        )
        self._documents = Documents(
            source,
            holdings=self._holdings,
            listings=self._listings,
            only_ids=documents_by == "id",
            ttl=document_ttl,
            negative_ttl=negative_ttl,
            clock=clock,
            on_stale=self._served_stale,
        )
        self._list_flights: Flights[tuple[Attachment, ...]] = Flights()
        self._stale_answers = 0

    def __repr__(self) -> str:
        return f"<Catalog: {self._definitions!r}, {self._listings!r}, {self._holdings!r}>"

    def statistics(self) -> dict[str, int]:
        """Return the sizes of what is held, and how often old answers were served for want of new ones."""
        return {
            "definitions": len(self._definitions),
            **self._listings.statistics(),
            "documents": len(self._holdings),
            "stale_answers": self._stale_answers,
            **self._holdings.generations.statistics(),
        }

    # Definitions

    async def definitions(self) -> Mapping[str, Definition]:
        """Return the definitions by the names of their directories."""
        return await self._definitions.all()

    async def definition(self, name: str) -> Definition:
        """Return the definition of this directory name.

        Raises:
            NotFoundError: There is none, or only programs that look everywhere would ask for such a name.
        """
        return await self._definitions.named(name)

    def definition_of(self, definition: DefinitionId) -> Definition | None:
        """Return the definition of this id, if the definitions were read."""
        return self._definitions.of(definition)

    # Listings

    def documents(self, definition: Definition) -> AsyncIterator[DocumentEntry]:
        """Walk over the documents of a definition, in platform order, as their pages arrive.

        The walk may be left at any point, and joins one that is under way.
        """
        return Reading(partial(self._listings.to_read, definition), on_stale=self._served_stale)

    def _served_stale(self) -> None:
        self._stale_answers += 1

    # One document

    async def find_document(self, definition: Definition, name: str) -> DocumentEntry:
        """Return the document of this directory name: from a fresh listing or snapshot, else by one request.

        Raises:
            NotFoundError: There is none, or only programs that look everywhere would ask for such a name.
        """
        return await self._documents.find(definition, name)

    async def snapshot(self, definition: Definition, document_id: DocumentId) -> Snapshot:
        """Return the document with all its files: what is held and fresh, else by one request.

        Raises:
            NotFoundError: The document is gone, or hidden from this user.
        """
        return await self._documents.snapshot(definition, document_id)

    def peek(
        self, definition: Definition, document_id: DocumentId, *, stale: bool = False
    ) -> Snapshot | None:
        """Return what `snapshot` would return without a request, if it is fresh, or however old it is."""
        return self._holdings.get(definition.id, document_id, stale=stale)

    # Answers and changes that others bring

    async def attachments(self, place: FieldRef, *, anew: bool = False) -> tuple[Attachment, ...]:
        """Ask for the files of one field with fresh URLs, and learn the answer.

        Args:
            place: The field.
            anew: Do not share a request that is already under way.
        """

        async def ask() -> tuple[Attachment, ...]:
            begun = self.begin()
            try:
                answer = await self._source.attachments(place)
                self._holdings.learn(place, answer, begun=begun)
                return answer
            finally:
                self.end(begun)

        if anew:
            return await ask()
        expired = self._holdings.generations.expired((place.definition, place.document))
        return await self._list_flights.share((place, expired), ask)

    def begin(self) -> int:
        """Mark the start of a request made elsewhere. `learn` ends it, or `end` where it brought nothing."""
        return self._holdings.generations.begin()

    def end(self, begun: int) -> None:
        """Mark the end of a request that brought nothing to learn. Ending it twice does no harm."""
        self._holdings.generations.end(begun)

    def learn(self, place: FieldRef, attachments: Sequence[Attachment], *, begun: int) -> FieldFiles:
        """Take in the answer of a list call, and return what is to be shown of the field.

        An answer of a request that was ended before is not used; the document is asked for again instead.
        """
        if not self._holdings.generations.is_running(begun):
            self.expire(place)
            return FieldFiles.of(attachments)
        files = self._holdings.learn(place, attachments, begun=begun)
        self.end(begun)
        return files

    def added(self, place: FieldRef, attachment: Attachment, *, name: str | None = None) -> str:
        """Note that this mount added a file.

        Args:
            place: The field.
            attachment: The new file, as the platform answered.
            name: The file name to keep for it; whoever has that now is told apart. None: its own, told apart.

        Returns:
            The file name that it has now.
        """
        return self._holdings.change(place, new=attachment, name=name) or encode(attachment.name)

    def removed(self, place: FieldRef, attachment_id: AttachmentId) -> None:
        """Note that this mount deleted a file. No answer brings its id back, only `added`."""
        self._holdings.change(place, gone=attachment_id)

    def replaced(
        self, place: FieldRef, old_id: AttachmentId, attachment: Attachment, *, name: str | None = None
    ) -> str:
        """Note that a new file took the place of one that is gone, and its name unless another is given."""
        return self._holdings.change(place, gone=old_id, new=attachment, name=name) or encode(attachment.name)

    # Freshness

    def remaining(self, definition: Definition | None = None, document_id: DocumentId | None = None) -> float:
        """Return for how many seconds entries stay fresh: a document's, a definition's, the root's."""
        if definition is None:
            return self._definitions.remaining()
        if document_id is not None:
            return self._holdings.remaining(definition.id, document_id)
        listing = self._listings.get(definition.id)
        return 0.0 if listing is None else listing.remaining()

    def expire(self, what: FieldRef | DocumentKey | DefinitionId | None = None) -> None:
        """Ask the platform the next time: for a field's document, a document, a listing, or anything."""
        if isinstance(what, FieldRef):
            what = (what.definition, what.document)
        if isinstance(what, tuple):
            self._holdings.expire(*what)
            return
        self._listings.expire(what)
        self._documents.forget_missing()
        if what is None:
            self._definitions.expire()
            self._holdings.expire_all()

    async def aclose(self) -> None:
        """Let go of walks over listings that nobody finished."""
        await self._listings.aclose()
