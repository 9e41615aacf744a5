"""Build each request of the API: method, path, parameters, body.

Pure; nothing here knows a socket or a token. What is DOCUMENTED is written down here; every READING comes
from the dialect. How answers are read is in `answers.py` (envelope, errors) and `parsing.py` (contents).

Source: the aero REST API v2, `api/v2/document-definitions/{dd}/documents/{doc}/attachments` and its
neighbours. A path id is the name or id of a definition, the internal or external id of a document.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aerofs.errors import IllegalBytesError, InvalidNameError
from aerofs.model import AttachmentId, Definition, DocumentId, FieldRef
from aerofs.platform.address import quoted
from aerofs.platform.dialect import Dialect

Kind = Literal[
    "definitions",
    "definition",
    "documents",
    "document",
    "attachments",
    "save",
    "delete",
    "copy",
    "download",
    "probe",
]
"""What a request is counted as."""

_UNSENDABLE = frozenset('"\r\n\0')
_HEADER_KEYS = ("_id", "externalId", "_createdOn", "_lastModifiedOn")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the API.

    Attributes:
        what: What it is about, in words, for messages and errors.
        path: Below the API's base, every segment quoted.
        body: JSON text, or None.
        idempotent: Doing it twice does what doing it once does, so it may be repeated after a lost answer.
    """

    kind: Kind
    what: str
    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    idempotent: bool = True


def definitions() -> Request:
    """Ask for every definition."""
    return Request(kind="definitions", what="the definitions", method="GET", path="document-definitions")


def definition(name_or_id: str) -> Request:
    """Ask for one definition."""
    path = f"document-definitions/{quoted(name_or_id)}"
    return Request(kind="definition", what=f"definition {name_or_id}", method="GET", path=path)


def documents(
    dialect: Dialect,
    definition: Definition,
    *,
    query: Mapping[str, object] | None = None,
    limit: int | None = None,
    skip: int = 0,
) -> Request:
    """Ask for one page of the documents of a definition, in the order of their ids.

    Source: `query` is a JSON Mongo filter, `options` JSON with `sort`, `skip`, `limit` 1…800 and `fields`.
    """
    options: dict[str, object] = {"sort": {"_id": 1}, "limit": limit or dialect.page_limit}
    if skip:
        options["skip"] = skip
    if dialect.projection and definition.fields is not None:
        options["fields"] = dict.fromkeys(_projected(definition), 1)
    params = [(dialect.options_parameter, _json(options))]
    if query:
        params.insert(0, (dialect.query_parameter, _json(query)))
    return Request(
        kind="documents",
        what=f"the documents of {definition.name}",
        method="GET",
        path=f"document-definitions/{quoted(definition.id)}/documents",
        params=tuple(params),
    )


def document(definition: Definition, document_id: str) -> Request:
    """Ask for one document, whole."""
    return Request(
        kind="document",
        what=f"document {definition.name}/{document_id}",
        method="GET",
        path=f"document-definitions/{quoted(definition.id)}/documents/{quoted(document_id)}",
    )


def attachments(place: FieldRef) -> Request:
    """Ask for what stands in a field, with fresh download URLs.

    Source: DOCUMENTED `GET …/attachments?valuePath={valuePath}`.
    """
    return Request(
        kind="attachments",
        what=f"the attachments of {place}",
        method="GET",
        path=_attachments_path(place),
        params=(("valuePath", place.path),),
    )


def save(dialect: Dialect, place: FieldRef, name: str, *, replace: bool) -> Request:
    """Add a file to a field, or with `replace` put it in the place of ALL that the field holds.

    The body is the multipart form of `multipart.py`.

    Source: DOCUMENTED `POST|PUT …/attachments?valuePath=&actionType=&shouldUpdateDocument=`, a body of
    files only.

    Raises:
        InvalidNameError, IllegalBytesError: The name cannot be carried.
    """
    sendable_name(name)
    return Request(
        kind="save",
        what=f"{place}/{name}",
        method=dialect.save_method,
        path=_attachments_path(place),
        params=(
            ("valuePath", place.path),
            ("actionType", dialect.replace_action if replace else dialect.append_action),
            ("shouldUpdateDocument", "true" if dialect.update_document else "false"),
        ),
        idempotent=False,
    )


def delete(place: FieldRef, attachment: AttachmentId) -> Request:
    """Remove one attachment by its id.

    Source: DOCUMENTED `DELETE …/attachments?valuePath=&attachmentId=`.
    """
    return Request(
        kind="delete",
        what=f"{place}, attachment {attachment}",
        method="DELETE",
        path=_attachments_path(place),
        params=(("valuePath", place.path), ("attachmentId", attachment)),
    )


def copy(
    dialect: Dialect,
    source: FieldRef,
    attachments: Collection[AttachmentId],
    target: FieldRef,
    *,
    names: Mapping[str, str],
) -> Request:
    """Add copies of some attachments to another field, on the platform, without moving their bytes.

    The call asks for names of definitions: `names` tells them by their ids, as far as they are known.

    Source: DOCUMENTED `api/v2/documents/copyAttachments`. With neither names nor ids ALL files would be
    copied, so an empty selection is a mistake of the caller.
    """
    if not attachments:
        raise ValueError("nothing to copy: the platform would copy everything")
    body = [
        {
            "source": {**_copy_place(dialect, source, names), "fileNames": [], "fileIds": list(attachments)},
            "target": {**_copy_place(dialect, target, names), "actionType": dialect.copy_action},
        },
    ]
    return Request(
        kind="copy",
        what=f"copying from {source} to {target}",
        method=dialect.copy_method,
        path="documents/copyAttachments",
        body=json.dumps(body).encode(),
        idempotent=False,
    )


def probe() -> Request:
    """Ask for anything: whatever is answered, the platform is there."""
    return Request(kind="probe", what="the platform", method="HEAD", path="document-definitions")


def after(last: DocumentId, query: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return the query for the page behind a document, together with the caller's own."""
    key: dict[str, object] = {"_id": {"$gt": last}}
    if not query:
        return key
    return {"$and": [dict(query), key]} if "_id" in query else {**query, **key}


def sendable_name(name: str) -> bytes:
    """Return a file name as it is sent.

    Raises:
        InvalidNameError: Empty, or with a character that a multipart header cannot carry.
        IllegalBytesError: Not Unicode.
    """
    if not name or _UNSENDABLE.intersection(name):
        raise InvalidNameError(
            f"{name!r}: the platform takes no empty name and no quote, CR, LF or NUL in one"
        )
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise IllegalBytesError(f"{name!r}: the platform takes names in UTF-8 only") from None


def _attachments_path(place: FieldRef) -> str:
    return f"document-definitions/{quoted(place.definition)}/documents/{quoted(place.document)}/attachments"


def _copy_place(dialect: Dialect, place: FieldRef, names: Mapping[str, str]) -> dict[str, object]:
    return {
        dialect.copy_definition_key: names.get(place.definition, place.definition),
        dialect.copy_document_key: place.document,
        "valuePath": place.path,
    }


def _projected(definition: Definition) -> Sequence[str]:
    """Return the keys of a document that a tree needs. Mongo refuses a key together with one below it."""
    paths: set[str] = set()
    for item in definition.fields or ():
        if item.line is None:
            paths.add(item.name)
        else:
            paths |= {f"{item.line}._id", f"{item.line}.{item.name}"}
    return [*_HEADER_KEYS, *_without_nested(paths)]


def _without_nested(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(paths, key=lambda each: each.split(".")):
        if not (kept and path.startswith(kept[-1] + ".")):
            kept.append(path)
    return kept


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
