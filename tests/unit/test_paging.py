"""Walking documents: few requests, no loops, whatever the server does with our wishes."""

import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from aerofs.errors import ProtocolError, RefusedError
from aerofs.model import Definition, DefinitionId, Document, DocumentId
from aerofs.platform import Dialect, paging
from aerofs.platform.answers import SlowQueryError
from aerofs.platform.wire import Request

INVOICE = Definition(DefinitionId("d"), "invoice")


@dataclass
class Server:
    """Documents, and how obedient the server is."""

    ids: list[str]
    cap: int = 800
    obeys_query: bool = True
    obeys_skip: bool = True
    obeys_sort: bool = True
    refuses_ranges: bool = False
    slow_above: int = 800
    unusable: frozenset[str] = frozenset()
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    async def fetch(self, request: Request) -> paging.Batch:
        wish = {key: json.loads(value) for key, value in request.params}
        self.asked.append(wish)
        options, query = wish["options"], wish.get("query", {})
        last = query.get("_id", {}).get("$gt")
        if last is not None and self.refuses_ranges:
            raise RefusedError("no ranges of _id")
        ids = sorted(self.ids) if self.obeys_sort else self.ids
        if last is not None and self.obeys_query:
            ids = [each for each in ids if each > last]
        if self.obeys_skip:
            ids = ids[options.get("skip", 0) :]
        ids = ids[: min(options["limit"], self.cap)]
        if len(ids) > self.slow_above:
            raise SlowQueryError("too long")
        usable = [each for each in ids if each not in self.unusable]
        return paging.Batch(tuple(Document(DocumentId(each)) for each in usable), len(ids))


def numbered(count: int) -> list[str]:
    return [f"{number:06}" for number in range(count)]


async def walked(
    server: Server,
    *,
    dialect: Dialect | None = None,
    habits: paging.Habits | None = None,
    query: Mapping[str, object] | None = None,
) -> list[str]:
    found: list[str] = []
    walk = paging.pages(
        server.fetch,
        INVOICE,
        dialect=dialect or Dialect(),
        habits=habits or paging.Habits(),
        query=query,
    )
    async with aclosing(walk) as pages:
        async for page in pages:
            assert page
            found += [each.id for each in page]
    return found


@pytest.mark.parametrize(
    ("count", "requests"),
    [(0, 1), (1, 1), (9, 1), (137, 1), (499, 1), (501, 2), (999, 2), (1000, 3), (1234, 3)],
)
async def test_a_definition_takes_as_few_requests_as_its_pages(count: int, requests: int) -> None:
    server = Server(numbered(count))
    assert await walked(server) == numbered(count)
    assert len(server.asked) == requests


async def test_a_short_page_that_looks_like_a_cap_is_checked_once() -> None:
    server = Server(numbered(100))
    habits = paging.Habits()
    assert await walked(server, habits=habits) == numbered(100)
    assert len(server.asked) == 2
    habits.longest_page = 500
    assert await walked(server, habits=habits) == numbered(100)
    assert len(server.asked) == 3


@pytest.mark.parametrize("cap", [10, 25, 64, 100, 250])
async def test_a_server_that_caps_pages_is_walked_to_the_end(cap: int) -> None:
    server = Server(numbered(612), cap=cap)
    assert await walked(server) == numbered(612)
    assert len(server.asked) == 612 // cap + 1


@pytest.mark.parametrize("cap", [100, 800])
@pytest.mark.parametrize("count", [0, 77, 100, 500, 1234])
@pytest.mark.parametrize("defect", ["obeys_query", "obeys_sort"])
async def test_a_server_without_query_or_order_is_walked_by_position(
    defect: str, count: int, cap: int
) -> None:
    server = Server(numbered(count)[::-1], cap=cap)
    setattr(server, defect, False)
    habits = paging.Habits()
    assert sorted(await walked(server, habits=habits)) == numbered(count)
    if count > 1 and defect == "obeys_sort":
        assert not habits.keyed


async def test_what_was_learned_saves_the_next_walk_a_request() -> None:
    server = Server(numbered(1200), obeys_query=False)
    habits = paging.Habits()
    await walked(server, habits=habits)
    first = len(server.asked)
    await walked(server, habits=habits)
    assert len(server.asked) - first == first - 1


async def test_a_server_that_refuses_ranges_of_ids_is_walked_by_position() -> None:
    server = Server(numbered(1200), refuses_ranges=True)
    assert await walked(server) == numbered(1200)


async def test_the_dialect_may_ask_for_positions_from_the_beginning() -> None:
    server = Server(numbered(1200), refuses_ranges=True)
    assert await walked(server, dialect=Dialect(paging="skip")) == numbered(1200)
    assert [wish["options"].get("skip", 0) for wish in server.asked] == [0, 500, 1000]


async def test_a_server_that_gives_the_same_page_for_ever_is_an_error() -> None:
    server = Server(numbered(1200), obeys_query=False, obeys_skip=False)
    with pytest.raises(ProtocolError, match="same page"):
        await walked(server)
    assert len(server.asked) == 3


async def test_a_page_that_takes_too_long_is_asked_for_smaller() -> None:
    server = Server(numbered(600), slow_above=200)
    habits = paging.Habits()
    assert await walked(server, habits=habits) == numbered(600)
    assert len(server.asked) == 1 + 600 // 125 + 1
    assert habits.limit == 125


async def test_a_server_that_is_too_slow_for_any_page_is_an_error() -> None:
    with pytest.raises(SlowQueryError):
        await walked(Server(numbered(600), slow_above=0))


async def test_a_refused_first_page_is_the_callers_to_know() -> None:
    server = Server(numbered(3), refuses_ranges=True)
    with pytest.raises(RefusedError):
        await walked(server, query={"_id": {"$gt": "0"}})


async def test_documents_that_arrive_meanwhile_do_not_appear_twice() -> None:
    server = Server(numbered(1000))
    found: list[str] = []
    walk = paging.pages(
        server.fetch,
        INVOICE,
        dialect=Dialect(paging="skip"),
        habits=paging.Habits(),
        query=None,
    )
    async with aclosing(walk) as pages:
        async for page in pages:
            found += [each.id for each in page]
            server.ids = ["-early", *server.ids] if len(server.asked) == 1 else server.ids
    assert found == numbered(1000)


async def test_a_document_that_cannot_be_used_does_not_end_the_walk() -> None:
    server = Server(numbered(1234), unusable=frozenset({"000003", "000499", "000600"}))
    assert await walked(server) == [each for each in numbered(1234) if each not in server.unusable]
