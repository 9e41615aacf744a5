"""The calls on definitions and documents."""

import json
from typing import Any

import trio
from starlette.responses import Response

from aerofs.sandbox.calls import Call
from aerofs.sandbox.database import DocumentRow
from aerofs.sandbox.definitions import DefinitionSpec
from aerofs.sandbox.queries import Condition, Options, condition, options, projected
from aerofs.sandbox.refusals import Refusal, forbidden, invalid


async def list_definitions(call: Call) -> Response:
    """GET document-definitions."""
    call.parameters()
    if call.variants.no_definitions_list:
        raise forbidden("You may not list document definitions")
    specs = [spec for spec in call.platform.definitions.values() if call.sees(spec)]
    return call.listed("documentDefinitions", [_definition_json(call, spec) for spec in specs])


async def read_definition(call: Call) -> Response:
    """GET document-definitions/{definition}."""
    call.parameters()
    return call.success(documentDefinition=_definition_json(call, call.definition(call.parts[0])))


def _definition_json(call: Call, spec: DefinitionSpec) -> dict[str, Any]:
    told = spec.to_json(hidden=call.hidden)
    if call.variants.no_field_list:
        del told["fields"], told["lines"]
    return told


async def list_documents(call: Call) -> Response:
    """GET …/documents: filtered by `query`; sorted, paged and projected by `options`."""
    given = call.parameters(optional=("query", "options"))
    spec = call.definition(call.parts[0])
    variants = call.variants
    chosen = options(_parsed("options", given.get("options", "{}")))
    wanted = condition(_parsed("query", given.get("query", "{}")), ranges_of_id=not variants.skip_only)
    if variants.ignore_query:
        wanted = Condition("1")
    limit = min(chosen.limit, variants.page_cap or chosen.limit)
    rows = call.platform.select(
        spec, _visible(call, wanted), Options(chosen.order, chosen.skip, limit, chosen.fields)
    )
    await _take_time(call, len(rows))
    documents = call.platform.documents_json(spec, rows, hidden=call.hidden, sizes=not variants.no_sizes)
    if chosen.fields is not None:
        documents = [projected(document, chosen.fields) for document in documents]
    return call.listed("documents", documents)


def _visible(call: Call, wanted: Condition) -> Condition:
    if "*" in call.hidden:
        return Condition("0")
    hidden = sorted(call.access.hidden_documents)
    marks = ", ".join("?" * len(hidden))
    return Condition(f"({wanted.sql}) AND id NOT IN ({marks})", (*wanted.parameters, *hidden))


async def _take_time(call: Call, documents: int) -> None:
    seconds = documents * call.variants.query_seconds_per_document
    if seconds > 0:
        await trio.sleep(min(seconds, call.variants.query_limit))
    if seconds > call.variants.query_limit:
        raise Refusal(
            500, "internal_error", f"The query ran longer than {call.variants.query_limit * 1000:g} ms"
        )


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise invalid(f"Query error: {name}; {error}") from error


async def read_document(call: Call) -> Response:
    """GET …/documents/{document}."""
    call.parameters()
    spec = call.definition(call.parts[0])
    return _document(call, spec, call.document(spec, call.parts[1]))


async def new_document(call: Call) -> Response:
    """POST …/documents/new: a JSON object of plain values, `externalId`, `status` and lines."""
    call.parameters()
    spec = call.definition(call.parts[0])
    if call.access.read_only:
        raise forbidden(f"You may not add documents to {spec.name}")
    body = _checked_body(spec, await call.exchange.json())
    columns = {"external_id": body.pop("externalId", None), "status": body.pop("status", "open")}
    created = call.platform.add_document(spec.name, **columns)
    row = call.platform.update(call.platform.find(spec, created), body)
    return _document(call, spec, row)


async def change_document(call: Call) -> Response:
    """PUT (all plain values anew) or PATCH (those given) …/documents/{document}."""
    call.parameters()
    spec = call.definition(call.parts[0])
    body = _checked_body(spec, await call.exchange.json())
    row = call.document(spec, call.parts[1])
    call.may_change(row)
    external_id = body.pop("externalId", row.external_id)
    status = body.pop("status", row.status)
    if call.exchange.method == "PATCH":
        body = row.values() | body
    return _document(call, spec, call.platform.update(row, body, external_id=external_id, status=status))


async def delete_document(call: Call) -> Response:
    """DELETE …/documents/{document}."""
    call.parameters()
    spec = call.definition(call.parts[0])
    row = call.document(spec, call.parts[1])
    call.may_delete(row)
    call.platform.remove_document(spec.name, row.id)
    return call.success()


def _document(call: Call, spec: DefinitionSpec, row: DocumentRow) -> Response:
    told = call.platform.documents_json(spec, [row], hidden=call.hidden, sizes=not call.variants.no_sizes)
    return call.success(document=told[0])


def _checked_body(spec: DefinitionSpec, body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise invalid("Body error: must be an object")
    for key in ("externalId", "status"):
        if key in body and not isinstance(body[key], str):
            raise invalid(f"Body error: {key}; must be a text")
    _refuse_files(body, {field.name for field in spec.attachment_fields()})
    for line in spec.lines:
        rows = body.get(line.name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise invalid(f"Body error: {line.name}; must be an array of objects")
        for row in rows:
            files = {field.name for field in line.fields if field.type == "attachment"}
            _refuse_files({key: value for key, value in row.items() if key != "_id"}, files)
    return body


def _refuse_files(values: dict[str, Any], fields: set[str]) -> None:
    heads = {field.partition(".")[0] for field in fields}
    for key in values:
        if key in heads:
            raise invalid(f"Body error: {key}; attachments are changed by the attachment calls only")
        if key.startswith("_"):
            raise invalid(f"Body error: {key}; is the platform's own")
