"""Walk the documents of a definition page by page, and learn on the way what the server does with our wishes.

By key: sort by `_id`, ask for what lies behind the last one: steady cost, no gaps under inserts. A server
that ignores the query (the same ids again) or the order is walked by position instead; one that ignores
that too is an error, never a loop. A server may cap pages below the limit that was asked for, so a short
page is the last one only if it is shorter than some page that this server has given, or does not look like
a cap.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from aerofs.errors import ProtocolError, RefusedError
from aerofs.model import Definition, Document, DocumentId
from aerofs.platform import wire
from aerofs.platform.answers import SlowQueryError
from aerofs.platform.dialect import Dialect
from aerofs.platform.wire import Request

log = logging.getLogger(__name__)

Page = tuple[Document, ...]

_SMALLEST_CAP = 10
_SMALLEST_LIMIT = 20


class Batch(NamedTuple):
    """What one request brought: the documents, and how many the server gave, unusable ones included."""

    documents: Page
    given: int


Fetch = Callable[[Request], Awaitable[Batch]]


@dataclass(slots=True)
class Habits:
    """What a server was seen to do.

    Attributes:
        longest_page: Documents in the longest page that it has given.
        keyed: Paging by key is honoured, as far as we know.
        limit: Documents that it can give in one page without taking too long, as far as we know.
    """

    longest_page: int = 0
    keyed: bool = True
    limit: int = 800

    def is_last(self, count: int, *, limit: int) -> bool:
        """Tell whether a page of `count` documents is certainly, or by its looks, the last."""
        longest, self.longest_page = self.longest_page, max(self.longest_page, count)
        if count == 0 or count < min(longest, limit):
            return True
        return count < limit and not _looks_like_a_cap(count)


def _looks_like_a_cap(count: int) -> bool:
    """Tell a number that somebody chose (100, 250, 64) from one that came about; a wrong yes is one call."""
    return count >= _SMALLEST_CAP and (count % 10 == 0 or count % 25 == 0 or count & (count - 1) == 0)


async def pages(
    fetch: Fetch,
    definition: Definition,
    *,
    dialect: Dialect,
    habits: Habits,
    query: Mapping[str, object] | None,
) -> AsyncGenerator[Page, None]:
    """Yield the documents of a definition page by page, no document twice in adjacent pages.

    Raises:
        ProtocolError: The server gives the same page whatever it is asked for.
    """
    walk = _Walk(
        definition,
        dialect,
        habits,
        query,
        keyed=dialect.paging == "key" and habits.keyed,
        limit=min(dialect.page_limit, habits.limit),
    )
    while True:
        try:
            batch = await fetch(walk.request())
        except SlowQueryError:
            if not walk.shorten_pages():
                raise
            continue
        except RefusedError:
            if walk.last is None or not walk.give_up_keys():
                raise
            continue
        if not walk.is_behind(batch.documents) and walk.give_up_keys():
            continue
        fresh = walk.take(batch)
        if fresh:
            yield fresh
        if habits.is_last(batch.given, limit=walk.limit):
            return


@dataclass(slots=True)
class _Walk:
    """Where one walk stands.

    Attributes:
        last: The document behind which the next page begins; None before the first page.
        position: How many documents the server has given.
        first: Ids of the first page.
        previous: Ids of the page before.
    """

    definition: Definition
    dialect: Dialect
    habits: Habits
    query: Mapping[str, object] | None
    keyed: bool
    limit: int
    last: DocumentId | None = None
    position: int = 0
    first: frozenset[DocumentId] = frozenset()
    previous: frozenset[DocumentId] = frozenset()

    def request(self) -> Request:
        """Return the request for the next page."""
        behind = self.last if self.keyed else None
        return wire.documents(
            self.dialect,
            self.definition,
            query=self.query if behind is None else wire.after(behind, self.query),
            limit=self.limit,
            skip=0 if self.keyed else self.position,
        )

    def shorten_pages(self) -> bool:
        """Ask for less at a time from now on; False if it is little already."""
        if self.limit <= _SMALLEST_LIMIT:
            return False
        self.limit = self.habits.limit = max(self.limit // 4, _SMALLEST_LIMIT)
        log.info("%s: a page took the server too long, the next has %d", self.definition.name, self.limit)
        return True

    def is_behind(self, page: Page) -> bool:
        """Tell whether the ids rise, all of them behind the page before, as paging by key promises."""
        line = [document.id for document in page]
        if self.last is not None:
            line.insert(0, self.last)
        return not self.keyed or all(lower < higher for lower, higher in pairwise(line))

    def give_up_keys(self) -> bool:
        """Go on by position; True if the page must be asked for again that way."""
        if not self.keyed:
            return False
        log.info("%s: the server does not page by key, going on by position", self.definition.name)
        self.keyed = self.habits.keyed = False
        return self.last is not None

    def take(self, batch: Batch) -> Page:
        """Move behind a page and return what of it was not in the page before.

        Raises:
            ProtocolError: All of it was seen before.
        """
        ids = frozenset(document.id for document in batch.documents)
        fresh = tuple(document for document in batch.documents if document.id not in self.previous)
        if ids and (not fresh or self.first >= ids):
            raise ProtocolError(f"the documents of {self.definition.name}: the same page again and again")
        self.first = self.first or ids
        self.previous = ids
        self.position += batch.given
        if batch.documents:
            self.last = batch.documents[-1].id
        return fresh
