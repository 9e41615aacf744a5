"""A Mongo filter as SQL, paging options, projection."""

from datetime import UTC, datetime
from typing import Any

import pytest

from aerofs.sandbox.platform import Platform
from aerofs.sandbox.queries import condition, options, projected
from aerofs.sandbox.refusals import Refusal


def found(platform: Platform, query: object) -> list[str | None]:
    spec = platform.definition("d")
    return [row.external_id for row in platform.select(spec, condition(query), options({}))]


@pytest.fixture
def platform() -> Any:
    platform = Platform.open()
    platform.add_definition("d")
    for number in range(4):
        platform.add_document(
            "d",
            external_id=f"e{number}",
            values={"n": number, "customer": {"city": "Utrecht" if number else "Delft"}},
            status="open" if number % 2 else "closed",
            document_id=f"{number:024x}",
            created=datetime(2026, 3, 1 + number, tzinfo=UTC),
        )
    platform.add_document("d", document_id=f"{9:024x}", created=datetime(2026, 4, 1, tzinfo=UTC))
    yield platform
    platform.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["e0", "e1", "e2", "e3", None]),
        ({"externalId": "e2"}, ["e2"]),
        ({"externalId": None}, [None]),
        ({"externalId": {"$ne": "e1"}}, ["e0", "e2", "e3", None]),
        ({"_id": {"$gt": f"{1:024x}"}}, ["e2", "e3", None]),
        ({"_id": {"$gte": f"{1:024x}", "$lt": f"{3:024x}"}}, ["e1", "e2"]),
        ({"_id": {"$in": [f"{0:024x}", f"{3:024x}"]}}, ["e0", "e3"]),
        ({"_id": {"$in": []}}, []),
        ({"_lastModifiedOn": {"$gte": "2026-03-03T00:00:00Z"}}, ["e2", "e3", None]),
        ({"_lastModifiedOn": {"$lte": "2026-03-01T01:00:00+01:00"}}, ["e0"]),
        ({"_lastModifiedOn": {"$gt": {"$date": "2026-03-04T00:00:00.000Z"}}}, [None]),
        ({"status": "open", "n": {"$gt": 1}}, ["e3"]),
        ({"$or": [{"externalId": "e0"}, {"$and": [{"status": "open"}, {"n": 3}]}]}, ["e0", "e3"]),
        ({"customer.city": "Delft"}, ["e0"]),
    ],
)
def test_a_filter_selects_what_mongo_would(
    platform: Platform, query: object, expected: list[str | None]
) -> None:
    assert found(platform, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        [],
        {"$where": "1"},
        {"_id": {"$regex": "a"}},
        {"$and": []},
        {"_id": {"$in": "a"}},
        {"_lastModifiedOn": {"$gt": "yesterday"}},
        {"n": {"$gt": [1]}},
        {'a"b': 1},
    ],
)
def test_a_filter_beyond_the_known_operators_is_refused(query: object) -> None:
    with pytest.raises(Refusal, match="400 validation_error"):
        condition(query)


def test_ranges_of_ids_can_be_refused_while_equality_stays() -> None:
    condition({"_id": "x"}, ranges_of_id=False)
    condition({"_id": {"$in": ["x"]}}, ranges_of_id=False)
    with pytest.raises(Refusal, match="cannot be compared by order"):
        condition({"$and": [{"_id": {"$gt": "x"}}]}, ranges_of_id=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 801},
        {"limit": "5"},
        {"limit": True},
        {"skip": -1},
        {"sort": {"n": 1}},
        {"sort": {"_id": 2}},
        {"sort": ["_id"]},
        {"fields": ["a"]},
        {"fields": {"a": 0}},
        {"page": 1},
        [],
    ],
)
def test_options_out_of_bounds_are_refused(wrong: object) -> None:
    with pytest.raises(Refusal, match="400 validation_error"):
        options(wrong)


def test_sort_skip_and_limit_make_pages(platform: Platform) -> None:
    spec = platform.definition("d")
    chosen = options({"sort": {"_id": -1}, "skip": 1, "limit": 2})
    assert [row.external_id for row in platform.select(spec, condition({}), chosen)] == ["e3", "e2"]


def test_a_projection_keeps_the_named_parts_and_every_id() -> None:
    document = {
        "_id": "d",
        "n": 1,
        "attachments": {"invoiceFiles": [{"_id": "a", "_size": 1}], "other": 2},
        "orderLines": [{"_id": "l", "n": 1, "photo": []}],
    }
    tree = options({"fields": {"attachments.invoiceFiles": 1, "orderLines.photo": 1, "absent": 1}}).fields
    assert tree is not None
    assert projected(document, tree) == {
        "_id": "d",
        "attachments": {"invoiceFiles": [{"_id": "a", "_size": 1}]},
        "orderLines": [{"_id": "l", "photo": []}],
    }
    whole = options({"fields": {"orderLines": 1}}).fields
    assert whole is not None
    assert projected(document, whole) == {"_id": "d", "orderLines": document["orderLines"]}
