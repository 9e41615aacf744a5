"""The listing of a definition's documents: read once, page by page, by whoever needs the next page.

There is no background task: a reader who comes to the end of what is there fetches the next page, and others
who come there meanwhile wait for that page. So the first entries are shown while later pages are still to
come, and a listing that nobody reads on costs nothing.

Invariants: an entry once there stays at its position; names differ from each other; a name that the listing
before gave to an id stays with it. A fetch that fails or is cancelled leaves the listing usable: the next
reader begins the pages anew, and documents already there are passed over.
"""

from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio

from aerofs.errors import AerofsError
from aerofs.model import Definition, DefinitionId, Document, DocumentId
from aerofs.namespace.flights import copied
from aerofs.namespace.holdings import Holdings
from aerofs.namespace.names import apart, composed, encode


class DocumentEntry(NamedTuple):
    """A document's directory: its name, whose it is, and when that was last changed (0 where unknown)."""

    name: str
    id: DocumentId
    modified_ns: int


class Listing:
    """The documents of one definition, as far as they were read.

    Args:
        definition: Whose documents.
        pages: Begins a walk over the platform's pages, in the platform's order.
        holdings: Takes in the documents of each page.
        title_of: What a document is called.
        ttl: For how many seconds a page, and with the last one the listing, is fresh.
        clock: The time in seconds.
        previous: The complete listing before this one: for the names, and for the time when the platform is
            away.
    """

    def __init__(
        self,
        definition: DefinitionId,
        *,
        pages: Callable[[], AsyncIterator[tuple[Document, ...]]],
        holdings: Holdings,
        title_of: Callable[[Document], str],
        ttl: float,
        clock: Callable[[], float],
        previous: "Listing | None" = None,
    ) -> None:
        self._definition = definition
        self._open = pages
        self._holdings = holdings
        self._title_of = title_of
        self._ttl = ttl
        self._clock = clock
        self._pages: AsyncIterator[tuple[Document, ...]] | None = None
        self._lock = trio.Lock()
        self._failure: AerofsError | None = None
        self._failures = 0
        # One list per fact: a million documents are three lists, one dictionary and their strings.
        self._names: list[str] = []
        self._ids: list[DocumentId] = []
        self._modified = array("q")
        self._positions: dict[str, int] = {}
        self._apart: dict[DocumentId, str] = {}
        self._lookalikes: dict[str, int] | None = None
        self.previous = previous
        self.complete = False
        self.expired = False
        self.fresh_until = clock() + ttl

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        state = "complete" if self.complete else "fetching" if self.busy else "partial"
        return (
            f"<Listing of {self._definition}: {len(self)} documents, {state}, {self.remaining():.0f} s fresh>"
        )

    @property
    def busy(self) -> bool:
        """Whether a page is being fetched now."""
        return self._lock.locked()

    def remaining(self) -> float:
        """Return for how many seconds what was read stays fresh."""
        return 0.0 if self.expired else max(0.0, self.fresh_until - self._clock())

    def entry(self, position: int) -> DocumentEntry:
        """Return what stands at a position."""
        return DocumentEntry(self._names[position], self._ids[position], self._modified[position])

    def find(self, name: str) -> DocumentEntry | None:
        """Return the entry of exactly this name, else one that looks the same (equal in NFC)."""
        position = self._positions.get(name)
        if position is None and self.complete:
            if self._lookalikes is None:
                self._lookalikes = {
                    composed(own): at for own, at in self._positions.items() if composed(own) != own
                }
            same = composed(name)
            position = self._positions.get(same, self._lookalikes.get(same))
        return None if position is None else self.entry(position)

    async def more(self, position: int) -> bool:
        """Wait until an entry stands at the position, fetching if need be. Returns False at the end.

        Raises:
            AerofsError: The page could not be had; who waited for the same page gets the same error.
        """
        failures = self._failures
        while position >= len(self._names) and not self.complete:
            async with self._lock:
                if self._failure is not None and self._failures != failures:
                    raise copied(self._failure)
                if position >= len(self._names) and not self.complete:
                    await self._fetch()
        return position < len(self._names)

    async def aclose(self) -> None:
        """Let go of the walk over the pages; a reader who goes on begins a new one."""
        pages, self._pages = self._pages, None
        if isinstance(pages, AsyncGenerator):
            await pages.aclose()

    async def _fetch(self) -> None:
        generations = self._holdings.generations
        begun = generations.begin()
        pages, self._pages = self._pages or self._open(), None
        try:
            page = await anext(pages)
        except StopAsyncIteration:
            self.complete = True
            self.previous = None
        except AerofsError as error:
            self._failure = error
            self._failures += 1
            raise
        else:
            # Kept only after success: an error or a cancellation has ended the walk.
            self._pages = pages
            for document in page:
                self._take(document, begun)
        finally:
            generations.end(begun)
        self.fresh_until = self._clock() + self._ttl

    def _take(self, document: Document, begun: int) -> None:
        self._holdings.absorb(self._definition, document, begun=begun, ttl=self._ttl)
        name = self._name(document)
        if name not in self._positions:
            self._positions[name] = len(self._names)
            self._names.append(name)
            self._ids.append(document.id)
            self._modified.append(document.modified_ns)

    def _name(self, document: Document) -> str:
        title = self._title_of(document)
        name = self._known(document.id, title)
        if name is None and self.previous is not None:
            name = self.previous._known(document.id, title)  # noqa: SLF001, its own class
            if name is not None and self._holder(name) not in (None, document.id):
                name = None
        if name is None:
            name = encode(title)
            before = self.previous
            if self._holder(name) is not None or (before is not None and before.find(name) is not None):
                name = apart(document.id, title, self._positions, extension=False)
        if name != encode(title):
            self._apart[document.id] = name
        return name

    def _known(self, document: DocumentId, title: str) -> str | None:
        """Return the name that the document already has here."""
        name = self._apart.get(document, encode(title))
        return name if self._holder(name) == document else None

    def _holder(self, name: str) -> DocumentId | None:
        position = self._positions.get(name)
        return None if position is None else self._ids[position]


class Listings:
    """The newest listing of each definition, complete or under way.

    Args:
        pages: Begins a walk over the platform's pages of a definition.
        holdings: See `Listing`, as for `title_of`, `ttl` and `clock`.
    """

    def __init__(
        self,
        pages: Callable[[Definition], AsyncIterator[tuple[Document, ...]]],
        *,
        holdings: Holdings,
        title_of: Callable[[Document], str],
        ttl: float,
        clock: Callable[[], float],
    ) -> None:
        self._pages = pages
        self._new = partial(Listing, holdings=holdings, title_of=title_of, ttl=ttl, clock=clock)
        self._current: dict[DefinitionId, Listing] = {}
        self._retired: list[Listing] = []

    def __repr__(self) -> str:
        return f"<Listings of {len(self._current)} definitions>"

    def get(self, definition: DefinitionId) -> Listing | None:
        """Return the newest listing, in whatever state it is."""
        return self._current.get(definition)

    async def to_read(self, definition: Definition) -> Listing:
        """Return the listing for a reader who begins now: a fresh one, one under way, or a new one."""
        current = self._current.get(definition.id)
        if current is not None:
            if not current.expired and (current.busy or current.remaining() > 0):
                return current
            self._retired.append(current)
        self._current[definition.id] = listing = self._new(
            definition.id,
            pages=partial(self._pages, definition),
            previous=current if current is None or current.complete else current.previous,
        )
        # A walk left half-way is closed here, where we may wait; one that is waited for comes later.
        retired, self._retired = self._retired, []
        self._retired += [old for old in retired if old.busy]
        for old in retired:
            if not old.busy:
                await old.aclose()
        return listing

    def expire(self, definition: DefinitionId | None) -> None:
        """Begin anew the next time somebody reads the listing of this definition, or any."""
        for own, listing in self._current.items():
            if definition in (None, own):
                listing.expired = True

    def statistics(self) -> dict[str, int]:
        """Return how many listings there are, and how many entries they have."""
        return {"listings": len(self._current), "listed": sum(map(len, self._current.values()))}

    async def aclose(self) -> None:
        """Let go of every walk that nobody finished."""
        for listing in (*self._current.values(), *self._retired):
            await listing.aclose()


class Reading:
    """One reader's walk over a listing: an asynchronous iterator that may be dropped at any point.

    Where the platform is away, the walk goes on in the complete listing before, without what was shown
    already.

    Args:
        choose: Finds the listing to read, at the first step.
        on_stale: Is told when old entries are shown in place of new ones.
    """

    def __init__(self, choose: Callable[[], Awaitable[Listing]], *, on_stale: Callable[[], None]) -> None:
        self._choose = choose
        self._on_stale = on_stale
        self._listing: Listing | None = None
        self._position = 0
        self._seen: frozenset[DocumentId] = frozenset()

    def __aiter__(self) -> "Reading":
        return self

    async def __anext__(self) -> DocumentEntry:
        if self._listing is None:
            self._listing = await self._choose()
        while await self._is_more(self._listing):
            entry = self._listing.entry(self._position)
            self._position += 1
            if entry.id not in self._seen:
                return entry
        raise StopAsyncIteration

    async def _is_more(self, listing: Listing) -> bool:
        try:
            return await listing.more(self._position)
        except AerofsError as error:
            if not error.no_answer or listing.previous is None:
                raise
        self._on_stale()
        self._seen = frozenset(listing.entry(position).id for position in range(self._position))
        self._listing = listing.previous
        self._position = 0
        return await self._listing.more(0)
