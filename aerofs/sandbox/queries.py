"""The parameters `query` and `options` of a document list: a Mongo filter as SQL, paging, projection.

Pure. A filter may use equality, the comparisons, `$in`, `$and` and `$or`; anything else is refused as the
platform refuses it. Instants are compared as the text that the database holds (ISO 8601, UTC, milliseconds).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aerofs.sandbox.refusals import invalid

LONGEST_PAGE = 800
"""DOCUMENTED: `limit` is 1 to 800."""
USUAL_PAGE = 100

_COLUMNS = {
    "_id": "id",
    "externalId": "external_id",
    "status": "status",
    "_createdOn": "created",
    "_lastModifiedOn": "modified",
}
_INSTANTS = {"_createdOn", "_lastModifiedOn"}
_COMPARISONS = {"$eq": "IS", "$ne": "IS NOT", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

Tree = dict[str, "Tree"]


def instant(moment: datetime) -> str:
    """An instant as the platform writes it: `2026-03-01T08:15:00.250Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Condition:
    """A piece of SQL with its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


def condition(query: object, *, ranges_of_id: bool = True) -> Condition:
    """What a filter means in SQL.

    Args:
        query: The parsed JSON.
        ranges_of_id: Whether `_id` may be compared by order.

    Raises:
        Refusal: 400 for an operator or a value that the platform does not know.
    """
    if not isinstance(query, dict):
        raise invalid("Query error: query; must be an object")
    pieces = [_clause(key, value, ranges_of_id=ranges_of_id) for key, value in query.items()]
    return _joined(" AND ", pieces) if pieces else Condition("1")


def _joined(word: str, pieces: list[Condition]) -> Condition:
    sql = word.join(piece.sql for piece in pieces)
    return Condition(f"({sql})", tuple(value for piece in pieces for value in piece.parameters))


def _clause(key: str, value: object, *, ranges_of_id: bool) -> Condition:
    if key in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            raise invalid(f"Query error: query; {key} must be a non-empty array")
        word = " AND " if key == "$and" else " OR "
        return _joined(word, [condition(part, ranges_of_id=ranges_of_id) for part in value])
    if key.startswith("$") or '"' in key:
        raise invalid(f"Query error: query; unknown operator {key!r}")
    if isinstance(value, dict) and any(word.startswith("$") and word != "$date" for word in value):
        tests = [_comparison(key, word, operand) for word, operand in value.items()]
        if key == "_id" and not ranges_of_id and not set(value) <= {"$eq", "$in", "$ne"}:
            raise invalid("Query error: query; _id cannot be compared by order")
        return _joined(" AND ", tests)
    return _comparison(key, "$eq", value)


def _comparison(key: str, word: str, operand: object) -> Condition:
    if key in _COLUMNS:
        column = Condition(_COLUMNS[key])
    else:
        column = Condition(
            "json_extract(body, ?)", ("$." + ".".join(f'"{part}"' for part in key.split(".")),)
        )
    if word == "$in":
        if not isinstance(operand, list):
            raise invalid("Query error: query; $in must be an array")
        marks = ", ".join("?" * len(operand))
        values = tuple(_operand(key, value) for value in operand)
        return Condition(f"{column.sql} IN ({marks})", column.parameters + values)
    if word not in _COMPARISONS:
        raise invalid(f"Query error: query; unknown operator {word!r}")
    return Condition(f"{column.sql} {_COMPARISONS[word]} ?", (*column.parameters, _operand(key, operand)))


def _operand(key: str, value: object) -> str | int | float | None:
    if isinstance(value, dict) and set(value) == {"$date"}:
        value = value["$date"]
    if key in _INSTANTS and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise invalid(f"Query error: query; {value!r} is not an ISO 8601 instant") from None
        return instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    if value is None or isinstance(value, str | int | float):
        return value
    raise invalid(f"Query error: query; {key} cannot be compared with {json.dumps(value)}")


@dataclass(frozen=True, slots=True)
class Options:
    """How a document list is ordered, cut and projected. `fields` is None where everything is wanted."""

    order: str = "rowid"
    skip: int = 0
    limit: int = USUAL_PAGE
    fields: Tree | None = None


def options(parsed: object) -> Options:
    """The meaning of the parameter `options`.

    Raises:
        Refusal: 400 for an unknown key, or a value out of its bounds.
    """
    if not isinstance(parsed, dict):
        raise invalid("Query error: options; must be an object")
    unknown = set(parsed) - {"sort", "skip", "limit", "fields"}
    if unknown:
        raise invalid(f"Query error: options; unknown {', '.join(sorted(unknown))}")
    return Options(
        _order(parsed.get("sort", {})),
        _bounded(parsed, "skip", 0, lambda value: value >= 0, "0 or more"),
        _bounded(parsed, "limit", USUAL_PAGE, lambda value: 1 <= value <= LONGEST_PAGE, "1 to 800"),
        _tree(parsed["fields"]) if "fields" in parsed else None,
    )


def _bounded(
    parsed: Mapping[str, Any], key: str, usual: int, within: Callable[[int], bool], said: str
) -> int:
    value = parsed.get(key, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not within(value):
        raise invalid(f"Query error: options.{key}; must be {said}")
    return value


def _order(sort: object) -> str:
    if not isinstance(sort, dict):
        raise invalid("Query error: options.sort; must be an object")
    columns = []
    for key, direction in sort.items():
        if key not in _COLUMNS or direction not in (1, -1):
            raise invalid(f"Query error: options.sort; cannot sort by {key!r}: {direction!r}")
        columns.append(f"{_COLUMNS[key]} {'ASC' if direction == 1 else 'DESC'}")
    return ", ".join([*columns, "rowid"])


def _tree(fields: object) -> Tree:
    if not isinstance(fields, dict) or any(value not in (1, True) for value in fields.values()):
        raise invalid("Query error: options.fields; must be an object of names with the value 1")
    tree: Tree = {"_id": {}}
    for path in fields:
        here = tree
        for part in path.split("."):
            here = here.setdefault(part, {})
    return tree


def projected(value: Any, tree: Tree) -> Any:
    """The part of a document that a projection names; `_id` is always in it, of lines too."""
    if not tree:
        return value
    if isinstance(value, list):
        return [projected(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    part = {key: projected(value[key], below) for key, below in tree.items() if key in value}
    if "_id" in value:
        part["_id"] = value["_id"]
    return part
