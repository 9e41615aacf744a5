"""The call copyAttachments: files from fields to fields, without their bytes moving."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from aerofs.sandbox.attachments import check_room, largest, replaces_field
from aerofs.sandbox.calls import Call
from aerofs.sandbox.database import AttachmentRow, DocumentRow
from aerofs.sandbox.definitions import Place
from aerofs.sandbox.refusals import invalid, not_found
from aerofs.sandbox.variants import Variants

_SOURCE = {"ddName", "_id", "externalId", "valuePath", "fileNames", "fileIds"}
_TARGET = {"ddName", "_id", "externalId", "valuePath", "actionType"}


async def copy_attachments(call: Call) -> Response:
    """POST or PUT documents/copyAttachments: all of the list, or nothing where one entry is refused."""
    call.parameters()
    body = await call.exchange.json()
    if not isinstance(body, list) or not body:
        raise invalid("Body error: must be a non-empty array of source and target")
    added: list[AttachmentRow] = []
    with call.platform.transaction():
        for entry in body:
            added += _copied(call, entry)
    if call.variants.copy_answers_nothing:
        return call.success()
    return call.attachments(added)


def _copied(call: Call, entry: object) -> list[AttachmentRow]:
    if not isinstance(entry, dict) or set(entry) != {"source", "target"}:
        raise invalid("Body error: each entry must have source and target")
    source = _checked("source", entry["source"], _SOURCE)
    target = _checked("target", entry["target"], _TARGET)
    from_row, from_place = _end(call, "source", source)
    to_row, to_place = _end(call, "target", target)
    call.may_change(to_row, to_place)
    files = _chosen(call.platform.files(from_row.id, from_place.path), source)
    limit = largest(to_place.field)
    for file in files:
        if limit is not None and file.size > limit:
            raise invalid(f"Body error: {file.name}; The file is larger than {limit} bytes")
    # The variant that renames the word of a save leaves the word of a copy alone.
    replaces = replaces_field(Variants(), target.get("actionType"))
    present = call.platform.files(to_row.id, to_place.path)
    going = present if replaces else []
    check_room(to_place.field, present, adding=len(files), going=len(going))
    return call.platform.attach(to_row.id, to_place.path, files, instead_of=going)


def _checked(side: str, value: object, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"Body error: {side}; must be an object")
    unknown = set(value) - known
    if unknown:
        raise invalid(f"Body error: {side}; unknown {', '.join(sorted(unknown))}")
    for key, held in value.items():
        if key in ("fileNames", "fileIds"):
            if not isinstance(held, list) or not all(isinstance(item, str) for item in held):
                raise invalid(f"Body error: {side}.{key}; must be an array of texts")
        elif not isinstance(held, str):
            raise invalid(f"Body error: {side}.{key}; must be a text")
    for key in ("ddName", "valuePath"):
        if not value.get(key):
            raise invalid(f"Body error: {side}.{key}; This field is required")
    if ("_id" in value) == ("externalId" in value):
        raise invalid(f"Body error: {side}; either _id or externalId is required")
    return value


def _end(call: Call, side: str, end: Mapping[str, Any]) -> tuple[DocumentRow, Place]:
    spec = call.definition(end["ddName"])
    row = call.document(spec, end.get("_id") or end["externalId"])
    wrong = row.id != end["_id"] if "_id" in end else row.external_id != end["externalId"]
    if wrong:
        raise not_found(f"Body error: {side}; there is no such document in {spec.name}")
    return row, call.place(spec, row, end["valuePath"])


def _chosen(files: list[AttachmentRow], source: Mapping[str, Any]) -> list[AttachmentRow]:
    ids, names = source.get("fileIds", []), source.get("fileNames", [])
    if not ids and not names:
        return files
    for known, wanted in (({file.id for file in files}, ids), ({file.name for file in files}, names)):
        missing = [key for key in wanted if key not in known]
        if missing:
            raise not_found(f"Body error: source; there is no attachment {missing[0]!r}")
    return [file for file in files if file.id in ids or file.name in names]
