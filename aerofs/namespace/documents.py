"""One document: by the name of its directory, or by its id as a snapshot of all its files.

Decides whether that costs a request: what a fresh listing or a fresh snapshot tells costs nothing, nor does what was
not there a moment ago. Which questions find a name that nothing here knows is told by `lookup.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from cachetools import LRUCache, TTLCache

from aerofs.errors import AerofsError, NotFoundError
from aerofs.model import Definition, DefinitionId, Document, DocumentId
from aerofs.namespace import lookup
from aerofs.namespace.flights import Flights
from aerofs.namespace.holdings import Holdings
from aerofs.namespace.listing import DocumentEntry, Listings
from aerofs.namespace.names import probed
from aerofs.namespace.snapshots import Snapshot
from aerofs.namespace.source import Source

_MAXIMUM_FOUND: Final = 50_000
_MAXIMUM_MISSING: Final = 10_000


class Documents:
    """Finds documents and their snapshots.

    Args:
        source: Whom to ask.
        holdings: The snapshots, which answers are added to.
        listings: What listings know of names.
        only_ids: Directories are named by ids alone.
        ttl: For how many seconds a document that was asked for is fresh.
        negative_ttl: For how many seconds a name or a document is known not to exist.
        clock: The time in seconds.
        on_stale: Is told when an old answer is served in place of a new one.
    """

    def __init__(
        self,
        source: Source,
        *,
        holdings: Holdings,
        listings: Listings,
        only_ids: bool,
        ttl: float,
        negative_ttl: float,
        clock: Callable[[], float],
        on_stale: Callable[[], None],
    ) -> None:
        self._source = source
        self._holdings = holdings
        self._listings = listings
        self._only_ids = only_ids
        self._ttl = ttl
        self._on_stale = on_stale
        self._found: LRUCache[tuple[DefinitionId, str], DocumentId] = LRUCache(_MAXIMUM_FOUND)
        self._missing: TTLCache[tuple[DefinitionId, str], None] = TTLCache(
            _MAXIMUM_MISSING, negative_ttl, timer=clock
        )
        self._gone: TTLCache[tuple[DefinitionId, DocumentId], None] = TTLCache(
            _MAXIMUM_MISSING, negative_ttl, timer=clock
        )
        self._asked: Flights[tuple[Document, Snapshot]] = Flights()
        self._sought: Flights[DocumentEntry] = Flights()

    def __repr__(self) -> str:
        return f"<Documents: {len(self._found)} names found, {len(self._missing)} not>"

    def forget_missing(self) -> None:
        """Ask again for what was not there."""
        self._missing.clear()
        self._gone.clear()

    async def find(self, definition: Definition, name: str) -> DocumentEntry:
        """Return the document of this directory name: from a fresh listing or snapshot, else by one request.

        Raises:
            NotFoundError: There is none, or only programs that look everywhere would ask for such a name.
        """
        listing = self._listings.get(definition.id)
        if listing is not None and listing.complete and listing.remaining() > 0:
            entry = listing.find(name)
            if entry is None or (definition.id, entry.id) in self._gone:
                raise NotFoundError(f"there is no document {name!r} in {definition.name}")
            return entry
        entry = self._remembered(definition.id, name)
        if entry is not None and self._holdings.get(definition.id, entry.id) is not None:
            return entry
        if (definition.id, name) in self._missing or (entry is None and probed(name)):
            raise NotFoundError(f"there is no document {name!r} in {definition.name}")
        try:
            work = partial(self._look_up, definition, name, entry)
            return await self._sought.share((definition.id, name), work)
        except AerofsError as error:
            if entry is None or not error.no_answer:
                raise
            self._on_stale()
            return entry

    def _remembered(self, definition: DefinitionId, name: str) -> DocumentEntry | None:
        """Return what stood under the name when we last knew."""
        listing = self._listings.get(definition)
        for read in (listing, listing.previous if listing is not None else None):
            if read is not None and (entry := read.find(name)) is not None:
                return entry
        identity = self._found.get((definition, name))
        return None if identity is None else self._entry(definition, name, identity)

    def _entry(self, definition: DefinitionId, name: str, identity: DocumentId) -> DocumentEntry:
        held = self._holdings.get(definition, identity, stale=True)
        return DocumentEntry(name, identity, 0 if held is None else held.modified_ns)

    async def _look_up(self, definition: Definition, name: str, known: DocumentEntry | None) -> DocumentEntry:
        if known is not None:
            try:
                await self.snapshot(definition, known.id)
            except NotFoundError:
                self._found.pop((definition.id, name), None)
            else:
                return self._entry(definition.id, known.name, known.id)
        try:
            identity, names = await lookup.find(
                name,
                by_id=partial(self._ask_named, definition),
                by_external_id=partial(self._ask_external, definition),
                only_ids=self._only_ids,
                known={},
            )
        except NotFoundError:
            self._missing[definition.id, name] = None
            raise NotFoundError(f"there is no document {name!r} in {definition.name}") from None
        for other, own in names.items():
            self._found[definition.id, own] = other
        return self._entry(definition.id, names[identity], identity)

    async def _ask_named(self, definition: Definition, identity: DocumentId) -> Document:
        document, _ = await self._ask_document(definition, identity)
        return document

    async def _ask_external(self, definition: Definition, external_id: str) -> tuple[Document, ...]:
        begun = self._holdings.generations.begin()
        try:
            answer = await self._source.documents_by_external_id(definition, external_id)
            for document in answer:
                self._absorb(definition, document, begun)
            return answer
        finally:
            self._holdings.generations.end(begun)

    async def snapshot(self, definition: Definition, document_id: DocumentId) -> Snapshot:
        """Return the document with all its files: what is held and fresh, else by one request.

        Raises:
            NotFoundError: The document is gone, or hidden from this user.
        """
        held = self._holdings.get(definition.id, document_id)
        if held is not None:
            return held
        if (definition.id, document_id) in self._gone:
            raise NotFoundError(f"document {document_id} in {definition.name} is gone")
        try:
            document, snapshot = await self._ask_document(definition, document_id)
        except NotFoundError:
            self._holdings.drop(definition.id, document_id)
            self._gone[definition.id, document_id] = None
            raise
        except AerofsError as error:
            stale = self._holdings.get(definition.id, document_id, stale=True)
            if stale is None or not error.no_answer:
                raise
            self._on_stale()
            return stale
        if document.id != document_id:
            raise NotFoundError(f"document {document_id} in {definition.name} is gone")
        return snapshot

    async def _ask_document(self, definition: Definition, identity: DocumentId) -> tuple[Document, Snapshot]:
        # Who asks after an `expire` must not join a request that began before it.
        key = (definition.id, identity, self._holdings.generations.expired((definition.id, identity)))

        async def ask() -> tuple[Document, Snapshot]:
            begun = self._holdings.generations.begin()
            try:
                document = await self._source.document(definition, identity)
                return document, self._absorb(definition, document, begun)
            finally:
                self._holdings.generations.end(begun)

        return await self._asked.share(key, ask)

    def _absorb(self, definition: Definition, document: Document, begun: int) -> Snapshot:
        self._gone.pop((definition.id, document.id), None)
        return self._holdings.absorb(definition.id, document, begun=begun, ttl=self._ttl)
