"""The platform itself, without HTTP: definitions, documents and attachments, and the rules between them.

The API calls it for every request, and tests call it directly to arrange data and to look at the outcome. It
knows no permissions and no variants: those belong to a request. Every change of a document's files or values
moves its `_lastModifiedOn` and `_hash`, forwards, however fast changes follow each other.
"""

import json
import mimetypes
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, NamedTuple, Self

from aerofs.sandbox.database import AttachmentRow, Database, DocumentRow
from aerofs.sandbox.definitions import DefinitionSpec, FieldSpec, LineSpec, Place
from aerofs.sandbox.images import dimensions
from aerofs.sandbox.queries import Condition, Options, instant
from aerofs.sandbox.refusals import not_found
from aerofs.sandbox.rendering import Files, attachment_json, document_json


class StoredFile(NamedTuple):
    """An attachment as tests look at it."""

    id: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """A finished upload, not yet an attachment: a file under `incoming`."""

    name: str
    type: str
    path: Path
    size: int
    width: int | None = None
    height: int | None = None


class Ids:
    """24 hex digits: those of documents grow with time, those of attachments are random."""

    def __init__(self, random: Random | None = None) -> None:
        self._last = 0
        self._random = random or SystemRandom()

    def growing(self) -> str:
        """An id above all earlier ones of this process."""
        self._last = max(self._last + 1, int(time.time() * 2**20))
        return f"{self._last:013x}{self._random.randbytes(6).hex()[1:]}"

    def random(self) -> str:
        """Any id."""
        return self._random.randbytes(12).hex()


class Platform:
    """All data of one sandbox."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ids = Ids()
        self.secret = database.meta("secret", secrets.token_hex(32)).encode()
        specs = [DefinitionSpec.from_json(json.loads(text)) for text in database.definition_specs()]
        self.definitions = {spec.id: spec for spec in specs}

    @classmethod
    def open(cls, directory: Path | None = None) -> Self:
        """The platform whose data lies in this directory; None: a new one in memory."""
        return cls(Database.open(directory))

    def close(self) -> None:
        """Let go of the data."""
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Many additions at once, much faster than one by one."""
        with self.database.transaction():
            yield

    # Definitions

    def add_definition(
        self,
        name: str,
        *,
        fields: Iterable[FieldSpec | str] = (),
        lines: Mapping[str, Iterable[FieldSpec | str]] | None = None,
        label: str = "",
        definition_id: str | None = None,
    ) -> str:
        """Add a kind of document; a field may be given by its name alone. Returns its id."""
        spec = DefinitionSpec(
            definition_id or self.ids.growing(),
            name,
            label or name,
            tuple(map(_field, fields)),
            tuple(LineSpec(block, tuple(map(_field, below))) for block, below in (lines or {}).items()),
        )
        self.database.put_definition(spec.id, json.dumps(spec.to_json()))
        self.definitions[spec.id] = spec
        return spec.id

    def definition(self, key: str) -> DefinitionSpec:
        """The definition of this name or id.

        Raises:
            Refusal: 404.
        """
        for spec in self.definitions.values():
            if key in (spec.name, spec.id):
                return spec
        raise not_found(f"There is no document definition {key!r}")

    # Documents

    def add_document(
        self,
        definition: str,
        *,
        external_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        lines: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        status: str = "open",
        document_id: str | None = None,
        created: datetime | None = None,
    ) -> str:
        """Add a document; rows of `lines` get an `_id` unless they bring one. Returns its id."""
        body: dict[str, Any] = dict(values or {})
        for block, rows in (lines or {}).items():
            body[block] = [{"_id": self.ids.random(), **row} for row in rows]
        now = instant(created or datetime.now(UTC))
        row = DocumentRow(
            document_id or self.ids.growing(),
            self.definition(definition).id,
            external_id,
            status,
            now,
            now,
            json.dumps(body),
        )
        self.database.put_document(row)
        return row.id

    def find(self, spec: DefinitionSpec, key: str) -> DocumentRow:
        """The document of this id, else the first of this external id.

        Raises:
            Refusal: 404.
        """
        for column in ("id", "external_id"):
            found = self.database.documents(f"definition = ? AND {column} = ?", (spec.id, key), limit=1)
            if found:
                return found[0]
        raise not_found(f"There is no document {key!r} in {spec.name}")

    def select(self, spec: DefinitionSpec, condition: Condition, options: Options) -> list[DocumentRow]:
        """A page of the documents of a definition."""
        return self.database.documents(
            f"definition = ? AND {condition.sql}",
            (spec.id, *condition.parameters),
            order=options.order,
            limit=options.limit,
            skip=options.skip,
        )

    def update(self, row: DocumentRow, body: Mapping[str, Any], **columns: Any) -> DocumentRow:
        """Give a document other plain values; lines without an `_id` get one."""
        whole = {
            key: [{"_id": self.ids.random(), **line} for line in value] if _is_lines(value) else value
            for key, value in body.items()
        }
        changed = replace(row, body=json.dumps(whole), modified=_later(row.modified), **columns)
        with self.database.transaction():
            self.database.put_document(changed)
            self.database.drop_attachments(self._without_line(changed))
        return changed

    def _without_line(self, row: DocumentRow) -> list[AttachmentRow]:
        """The files of lines that are no more."""
        body = row.values()
        blocks = {line.name for line in self.definitions[row.definition].lines}
        standing = {f"{block}.{line['_id']}" for block in blocks for line in body.get(block, ())}
        files = self.database.attachments("document = ?", (row.id,))
        return [
            file
            for file in files
            if file.path.partition(".")[0] in blocks and ".".join(file.path.split(".")[:2]) not in standing
        ]

    def touch(self, document: str, *, at: datetime | None = None) -> None:
        """Move a document's `_lastModifiedOn`, as every change of its files does; `at`: to any moment."""
        for row in self.database.documents("id = ?", (document,)):
            modified = instant(at) if at else _later(row.modified)
            self.database.put_document(replace(row, modified=modified))

    def remove_document(self, definition: str, document: str) -> None:
        """Remove a document with all its files."""
        self.database.drop_document(self.find(self.definition(definition), document).id)

    def line_ids(self, definition: str, document: str, block: str) -> list[str]:
        """The ids of the lines of a block, in their order."""
        body = self.find(self.definition(definition), document).values()
        return [line["_id"] for line in body.get(block, ())]

    def documents_json(
        self,
        spec: DefinitionSpec,
        rows: Sequence[DocumentRow],
        *,
        hidden: frozenset[str] = frozenset(),
        sizes: bool = True,
    ) -> list[dict[str, Any]]:
        """Documents as the API answers them, with the attachments in their fields."""
        files: Files = {}
        for attachment in self.database.attachments_of([row.id for row in rows]):
            there = files.setdefault((attachment.document, attachment.path), [])
            there.append(attachment_json(attachment, sizes=sizes))
        return [document_json(spec, row, files, hidden=hidden) for row in rows]

    # Attachments

    def place(self, definition: str, document: str, path: str) -> tuple[DocumentRow, Place]:
        """The document, and where a value path leads in it."""
        spec = self.definition(definition)
        row = self.find(spec, document)
        return row, spec.place(path, row.values())

    def files(self, document: str, path: str) -> list[AttachmentRow]:
        """What a field holds; the path is canonical."""
        return self.database.attachments("document = ? AND path = ?", (document, path))

    def attachment(self, attachment: str) -> AttachmentRow:
        """One attachment by its id.

        Raises:
            Refusal: 404.
        """
        for row in self.database.attachments("id = ?", (attachment,)):
            return row
        raise not_found(f"There is no attachment {attachment!r}")

    def attach(
        self,
        document: str,
        path: str,
        contents: Iterable[Content | AttachmentRow],
        *,
        instead_of: Iterable[AttachmentRow] = (),
    ) -> list[AttachmentRow]:
        """Put uploads, or copies of other attachments (they share the content), into a field.

        Args:
            document: Its id.
            path: The canonical value path; "" keeps the files without putting them into a field.
            contents: What to add.
            instead_of: What goes in the same instant.
        """
        with self.database.transaction():
            added = [self._attachment_row(document, path, content) for content in contents]
            for row in added:
                self.database.add_attachment(row)
            self.database.drop_attachments(instead_of)
            if path:
                self.touch(document)
        return added

    def detach(self, row: AttachmentRow) -> None:
        """Remove one attachment."""
        with self.database.transaction():
            self.database.drop_attachments([row])
            self.touch(row.document)

    def add_attachment(
        self, definition: str, document: str, path: str, name: str, data: bytes, *, media_type: str = ""
    ) -> str:
        """Put a file into a field, whatever the field's limits. Returns its id."""
        return self.add_attachments(definition, document, path, [(name, data)], media_type=media_type)[0]

    def add_attachments(
        self,
        definition: str,
        document: str,
        path: str,
        files: Iterable[tuple[str, bytes]],
        *,
        media_type: str = "",
    ) -> list[str]:
        """Put files, each a name and its bytes, into a field. Returns their ids."""
        row, place = self.place(definition, document, path)
        contents = []
        for name, data in files:
            incoming = self.database.incoming / secrets.token_hex(8)
            incoming.write_bytes(data)
            known = media_type or guessed_type(name)
            pixels = dimensions(incoming) if known.startswith("image/") else None
            contents.append(Content(name, known, incoming, len(data), *(pixels or ())))
        return [file.id for file in self.attach(row.id, place.path, contents)]

    def remove_attachment(self, attachment: str) -> None:
        """Remove a file, as another user would."""
        self.detach(self.attachment(attachment))

    def attachments(self, definition: str, document: str, path: str) -> list[StoredFile]:
        """What a field holds, with the bytes."""
        row, place = self.place(definition, document, path)
        return [
            StoredFile(file.id, file.name, self.content(file).read_bytes())
            for file in self.files(row.id, place.path)
        ]

    def content(self, row: AttachmentRow) -> Path:
        """The file that holds an attachment's bytes."""
        return self.database.blobs / row.blob

    def _attachment_row(self, document: str, path: str, content: Content | AttachmentRow) -> AttachmentRow:
        now = instant(datetime.now(UTC))
        if isinstance(content, AttachmentRow):
            return replace(content, id=self.ids.random(), document=document, path=path, created=now)
        return AttachmentRow(
            self.ids.random(),
            document,
            path,
            content.name,
            content.type,
            content.size,
            content.width,
            content.height,
            self.database.adopt(content.path),
            now,
        )


def guessed_type(name: str) -> str:
    """The media type that a file name suggests."""
    return mimetypes.guess_type(os.path.basename(name))[0] or "application/octet-stream"  # noqa: PTH119 - text, not a path


def _field(field: FieldSpec | str) -> FieldSpec:
    return FieldSpec(field) if isinstance(field, str) else field


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _later(modified: str) -> str:
    earliest = datetime.fromisoformat(modified) + timedelta(milliseconds=1)
    return instant(max(earliest, datetime.now(UTC)))
