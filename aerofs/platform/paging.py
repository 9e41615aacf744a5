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

from aerofs.errors import ProtocolError, RefusedError
from aerofs.model import Definition, Document, DocumentId
from aerofs.platform import wire
from aerofs.platform.answers import SlowQueryError
from aerofs.platform.dialect import Dialect
from aerofs.platform.wire import Request

log = logging.getLogger(__name__)

Page = tuple[Document, ...]
Fetch = Callable[[Request], Awaitable[Page]]

_SMALLEST_CAP = 10
_SMALLEST_LIMIT = 20


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
    keyed = dialect.paging == "key" and habits.keyed
    limit = min(dialect.page_limit, habits.limit)
    first: frozenset[DocumentId] = frozenset()
    previous: frozenset[DocumentId] = frozenset()
    last: DocumentId | None = None
    position = 0
    while True:
        wish = wire.after(last, query) if keyed and last is not None else query
        request = wire.documents(dialect, definition, query=wish, limit=limit, skip=0 if keyed else position)
        try:
            page = await fetch(request)
        except SlowQueryError:
            if limit <= _SMALLEST_LIMIT:
                raise
            limit = habits.limit = max(limit // 4, _SMALLEST_LIMIT)
            log.info("%s: a page took the server too long, asking for %d documents", definition.name, limit)
            continue
        except RefusedError:
            if not keyed or last is None:
                raise
            page = ()
            ids = [last]  # as good as the same page again
        else:
            ids = [document.id for document in page]
        if keyed and not _behind(last, ids):
            log.info("%s: the server does not page by key, going on by position", definition.name)
            keyed = habits.keyed = False
            if last is not None:
                continue
        fresh = tuple(document for document in page if document.id not in previous)
        if page and (not fresh or first.issuperset(ids)):
            raise ProtocolError(f"the documents of {definition.name}: the same page again at {position}")
        if fresh:
            yield fresh
        if habits.is_last(len(page), limit=limit):
            return
        previous, last, position = frozenset(ids), ids[-1], position + len(ids)
        first = first or previous


def _behind(last: DocumentId | None, ids: list[DocumentId]) -> bool:
    """Tell whether ids rise, all of them behind the last one of the page before."""
    line = ids if last is None else [last, *ids]
    return all(lower < higher for lower, higher in pairwise(line))
