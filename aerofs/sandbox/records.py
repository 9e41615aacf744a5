"""Definitions, documents and attachments as the API works on them, without HTTP, and the rules between them.

It knows no permissions and no variants: those belong to a request. Every change of a document's files or values
moves its `_lastModifiedOn` and `_hash`, forwards, however fast changes follow each other.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from aerofs.sandbox.database import AttachmentRow, Database, DocumentRow
from aerofs.sandbox.definitions import DefinitionSpec, Place
from aerofs.sandbox.ids import Ids
from aerofs.sandbox.queries import Condition, Options, instant
from aerofs.sandbox.refusals import not_found
from aerofs.sandbox.rendering import Files, attachment_json, document_json


@dataclass(frozen=True, slots=True)
class Content:
    """A finished upload, not yet an attachment: a file under `incoming`."""

    name: str
    type: str
    path: Path
    size: int
    width: int | None = None
    height: int | None = None


class Records:
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

    def definition(self, key: str) -> DefinitionSpec:
        """The definition of this name or id.

        Raises:
            Refusal: 404.
        """
        for spec in self.definitions.values():
            if key in (spec.name, spec.id):
                return spec
        raise not_found(f"There is no document definition {key!r}")

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


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _later(modified: str) -> str:
    earliest = datetime.fromisoformat(modified) + timedelta(milliseconds=1)
    return instant(max(earliest, datetime.now(UTC)))
