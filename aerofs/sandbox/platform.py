"""The platform as tests hold it: what the API works on, and short ways to arrange data and to look at it."""

import json
import mimetypes
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aerofs.sandbox.database import DocumentRow
from aerofs.sandbox.definitions import DefinitionSpec, FieldSpec, LineSpec
from aerofs.sandbox.images import dimensions
from aerofs.sandbox.queries import instant
from aerofs.sandbox.records import Content, Records


class StoredFile(NamedTuple):
    """An attachment as tests look at it."""

    id: str
    name: str
    data: bytes


class Platform(Records):
    """All data of one sandbox, to be added to and looked at directly, past permissions and limits."""

    def add_definition(
        self,
        name: str,
        *,
        fields: Iterable[FieldSpec | str] = (),
        lines: Mapping[str, Iterable[FieldSpec | str]] | None = None,
        label: str = "",
        definition_id: str | None = None,
    ) -> str:
        """Add a kind of document; a field may be given by its name alone. Returns its id.

        Raises:
            ValueError: the name is taken.
        """
        if any(spec.name == name for spec in self.definitions.values()):
            raise ValueError(f"there is a definition {name!r} already")
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

    def remove_document(self, definition: str, document: str) -> None:
        """Remove a document with all its files."""
        self.database.drop_document(self.find(self.definition(definition), document).id)

    def line_ids(self, definition: str, document: str, block: str) -> list[str]:
        """The ids of the lines of a block, in their order."""
        body = self.find(self.definition(definition), document).values()
        return [line["_id"] for line in body.get(block, ())]

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


def guessed_type(name: str) -> str:
    """The media type that a file name suggests."""
    return mimetypes.guess_type(os.path.basename(name))[0] or "application/octet-stream"  # noqa: PTH119 - text, not a path


def _field(field: FieldSpec | str) -> FieldSpec:
    return FieldSpec(field) if isinstance(field, str) else field
