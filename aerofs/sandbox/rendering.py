"""Documents as JSON: rows become the shape that the API documents. Pure."""

import hashlib
from typing import Any

from aerofs.sandbox.database import AttachmentRow, DocumentRow
from aerofs.sandbox.definitions import DefinitionSpec, hides

USER_ID = "5f2b8c7d1e9a4b3c6d0e1f20"
"""Who has made and changed everything here."""

Files = dict[tuple[str, str], list[dict[str, Any]]]
"""By document and canonical value path, the attachments as JSON."""


def attachment_json(row: AttachmentRow, *, sizes: bool) -> dict[str, Any]:
    """An attachment as it stands in its field in a document."""
    told: dict[str, Any] = {"_id": row.id, "_fileName": row.name, "store": store_of(row)}
    if sizes:
        told["_size"] = row.size
    if row.width is not None:
        told |= {"_width": row.width, "_height": row.height}
    return told


def store_of(row: AttachmentRow) -> str:
    """The platform's word for the kind of store that a file is in."""
    return "image" if row.type.startswith("image/") else "file"


def document_json(
    spec: DefinitionSpec,
    row: DocumentRow,
    files: Files,
    *,
    hidden: frozenset[str],
) -> dict[str, Any]:
    """A document with its values, its lines, and in every attachment field what `files` has for it."""
    told: dict[str, Any] = {"_id": row.id}
    if row.external_id is not None:
        told["externalId"] = row.external_id
    told |= {
        "status": row.status,
        "_documentDefinitionId": row.definition,
        "_createdOn": row.created,
        "_lastModifiedOn": row.modified,
        "_createdByUserId": USER_ID,
        "_lastModifiedByUserId": USER_ID,
        "_hash": hashlib.sha256(f"{row.id} {row.modified}".encode()).hexdigest()[:32],
    }
    told |= {key: value for key, value in row.values().items() if not hides(hidden, key)}
    for field in spec.attachment_fields():
        if not hides(hidden, field.name):
            _nest(told, field.name, files.get((row.id, field.name), []))
    for line in spec.lines:
        if hides(hidden, line.name):
            continue
        for row_json in told.setdefault(line.name, []):
            for field in line.fields:
                if field.type == "attachment" and not hides(hidden, f"{line.name}.{field.name}"):
                    path = f"{line.name}.{row_json['_id']}.{field.name}"
                    _nest(row_json, field.name, files.get((row.id, path), []))
    return told


def _nest(target: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for part in above:
        target = target.setdefault(part, {})
    target[last] = value
