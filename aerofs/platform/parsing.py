"""Read the contents of answers: definitions, documents and attachments, tolerantly.

Every alternative key of the dialect is accepted; an entry without an id is dropped, a value of the wrong
shape counts as not told. Only an envelope that is not understood is an error (`answers.py`). Pure.
"""

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    WrapValidator,
    create_model,
)
from pydantic import (
    Field as Key,
)
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from aerofs.model import (
    Attachment,
    AttachmentId,
    Definition,
    DefinitionId,
    Document,
    DocumentId,
    Field,
    ValuePath,
)
from aerofs.platform.dialect import Dialect

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEEPEST = 8


def _lenient(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Take a value of the wrong shape as not told."""
    try:
        return handler(value)
    except ValidationError:
        return None


def _objects(value: Any) -> Any:
    """Keep what is an object of a list; anything else than a list counts as not told."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else None


Text = Annotated[str | None, WrapValidator(_lenient)]
Number = Annotated[int | None, Key(ge=0), WrapValidator(_lenient)]
Flag = Annotated[bool | None, WrapValidator(_lenient)]
Entries = Annotated[list[dict[str, Any]] | None, BeforeValidator(_objects)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class AttachmentEntry(_Entry):
    """An attachment as an answer tells it; the keys come from the dialect."""

    id: Text = None
    name: Text = None
    type: Text = None
    size: Number = None
    url: Text = None


class DocumentEntry(_Entry):
    """The keys of a document that say which one it is. Source: DOCUMENTED."""

    id: Text = Key(default=None, validation_alias=AliasChoices("_id", "id"))
    external_id: Text = Key(default=None, validation_alias="externalId")
    created: Any = Key(default=None, validation_alias="_createdOn")
    modified: Any = Key(default=None, validation_alias="_lastModifiedOn")


class FieldEntry(_Entry):
    """A field of a definition. READING: the names of the settings, as the platform's editor labels them."""

    name: Text = None
    label: Text = None
    type: Text = Key(default=None, validation_alias=AliasChoices("type", "fieldType", "dataType"))
    required: Flag = None
    maximum_attachments: Number = Key(default=None, validation_alias="maximumAllowedAttachments")
    maximum_size: Annotated[float | None, WrapValidator(_lenient)] = Key(
        default=None,
        validation_alias="maximumFileSize",
    )
    maximum_width: Number = Key(default=None, validation_alias="maximumImageWidth")
    fields: Entries = None


class DefinitionEntry(_Entry):
    """A definition; `fields` and `lines` are None where the platform does not tell them."""

    id: Text = Key(default=None, validation_alias=AliasChoices("_id", "id"))
    name: Text = None
    label: Text = None
    fields: Entries = None
    lines: Entries = None


@functools.cache
def _attachment_model(dialect: Dialect) -> type[AttachmentEntry]:
    def alias(keys: tuple[str, ...]) -> Any:
        return Key(default=None, validation_alias=AliasChoices(*keys))

    return create_model(
        "DialectAttachmentEntry",
        __base__=AttachmentEntry,
        id=(Text, alias(dialect.id_keys)),
        name=(Text, alias(dialect.name_keys)),
        type=(Text, alias(dialect.type_keys)),
        size=(Number, alias(dialect.size_keys)),
        url=(Text, alias(dialect.url_keys)),
    )


def attachments(dialect: Dialect, entries: Iterable[Any]) -> tuple[Attachment, ...]:
    """Return the attachments of a field in platform order; what has no id is left out."""
    model = _attachment_model(dialect)
    found = []
    for raw in entries:
        entry = model.model_validate(raw) if isinstance(raw, dict) else None
        if entry is None or not entry.id:
            log.info("an attachment without an id is left out")
            continue
        found.append(
            Attachment(
                id=AttachmentId(entry.id),
                name=entry.name or entry.id,
                size=entry.size,
                type=entry.type,
                url=entry.url,
            ),
        )
    return tuple(found)


def definition(dialect: Dialect, raw: Mapping[str, Any]) -> Definition | None:
    """Return a definition with its attachment fields, or None for one without id and name."""
    entry = DefinitionEntry.model_validate(raw)
    name = entry.name or entry.id
    if not name:
        log.info("a definition without id and name is left out")
        return None
    fields: tuple[Field, ...] | None = None
    if entry.fields is not None or entry.lines is not None:
        header = _fields(dialect, entry.fields or (), prefix="", line=None)
        blocks = [FieldEntry.model_validate(each) for each in entry.lines or ()]
        rows = (
            _fields(dialect, block.fields or (), prefix="", line=block.name) for block in blocks if block.name
        )
        fields = (*header, *(each for row in rows for each in row))
    return Definition(id=DefinitionId(entry.id or name), name=name, label=entry.label or "", fields=fields)


def _fields(
    dialect: Dialect, raws: Iterable[dict[str, Any]], *, prefix: str, line: str | None
) -> Iterator[Field]:
    for raw in raws:
        entry = FieldEntry.model_validate(raw)
        if not entry.name:
            continue
        code = (entry.type or "").casefold()
        if code in dialect.attachment_types:
            yield _field(dialect, entry, name=prefix + entry.name, line=line)
        elif entry.fields and code in dialect.line_types and line is None:
            yield from _fields(dialect, entry.fields, prefix="", line=prefix + entry.name)
        elif entry.fields:
            yield from _fields(dialect, entry.fields, prefix=f"{prefix}{entry.name}.", line=line)


def _field(dialect: Dialect, entry: FieldEntry, *, name: str, line: str | None) -> Field:
    return Field(
        name=name,
        label=entry.label or "",
        line=line,
        required=bool(entry.required),
        maximum_attachments=entry.maximum_attachments or None,
        maximum_size=int(entry.maximum_size * dialect.megabyte) if entry.maximum_size else None,
        resizes_images=bool(entry.maximum_width),
    )


def configured_fields(paths: Iterable[str]) -> tuple[Field, ...]:
    """Return the fields that a profile names by their value paths, line fields as `lines.*.photo`."""
    found = []
    for path in paths:
        line, star, name = path.partition(".*.")
        found.append(Field(name=name, line=line) if star else Field(name=path))
    return tuple(found)


def document(dialect: Dialect, definition: Definition, raw: Mapping[str, Any]) -> Document | None:
    """Return a document with every attachment field of its definition, empty ones too; None without an id."""
    entry = DocumentEntry.model_validate(raw)
    if not entry.id:
        log.info("a document of %s without an id is left out", definition.name)
        return None
    if definition.fields is None:
        fields = dict(_discovered(dialect, raw, prefix="", depth=0))
    else:
        fields = {}
        for item in definition.fields:
            fields.update(_values(dialect, raw, item))
    return Document(
        id=DocumentId(entry.id),
        external_id=entry.external_id or None,
        created_ns=nanoseconds(entry.created),
        modified_ns=nanoseconds(entry.modified),
        fields=MappingProxyType(fields),
    )


def _values(
    dialect: Dialect,
    raw: Mapping[str, Any],
    item: Field,
) -> Iterator[tuple[ValuePath, tuple[Attachment, ...]]]:
    if item.line is None:
        yield ValuePath(item.name), _listed(dialect, _at(raw, item.name))
        return
    rows = _at(raw, item.line)
    for key, row in _rows(dialect, rows if isinstance(rows, list) else []):
        yield ValuePath(f"{item.line}.{key}.{item.name}"), _listed(dialect, _at(row, item.name))


def _rows(dialect: Dialect, rows: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the lines of a block with the part of the value path that names each."""
    for index, row in enumerate(rows):
        if isinstance(row, dict):
            own = row.get("_id", row.get("id"))
            by_id = dialect.lines_by == "id" and isinstance(own, str) and own
            yield (str(own) if by_id else str(index)), row


def _at(raw: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path; the path may also be one literal key."""
    if path in raw:
        return raw[path]
    value: Any = raw
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _listed(dialect: Dialect, value: Any) -> tuple[Attachment, ...]:
    return attachments(dialect, value) if isinstance(value, list) and value else ()


def _discovered(
    dialect: Dialect,
    raw: Mapping[str, Any],
    *,
    prefix: str,
    depth: int,
) -> Iterator[tuple[ValuePath, tuple[Attachment, ...]]]:
    """Find the attachment fields that no definition tells by what they hold: arrays of ids and file names."""
    for key, value in raw.items():
        if key.startswith("_") or depth > _DEEPEST:
            continue
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _discovered(dialect, value, prefix=f"{path}.", depth=depth + 1)
        elif isinstance(value, list) and any(_is_attachment(dialect, each) for each in value):
            yield ValuePath(path), attachments(dialect, value)
        elif isinstance(value, list):
            for row_key, row in _rows(dialect, value):
                yield from _discovered(dialect, row, prefix=f"{path}.{row_key}.", depth=depth + 1)


def _is_attachment(dialect: Dialect, raw: Any) -> bool:
    """Tell an attachment from a line: a plain `name` proves nothing, lines have names too."""
    if not isinstance(raw, dict):
        return False
    return any(key in raw for key in dialect.id_keys) and any(
        key in raw for key in dialect.name_keys if key != "name"
    )


def nanoseconds(moment: Any) -> int:
    """Return an ISO 8601 moment (UTC unless it says otherwise) in ns since the epoch; 0 where it is none."""
    if not isinstance(moment, str):
        return 0
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return 0
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
