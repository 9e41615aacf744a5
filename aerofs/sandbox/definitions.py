"""Document definitions: the kinds of documents, their fields and line blocks. Plain values, no storage."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aerofs.sandbox.refusals import invalid, not_found

_JSON_NAMES = {
    "name": "name",
    "label": "label",
    "type": "type",
    "required": "required",
    "maximum_attachments": "maximumAllowedAttachments",
    "maximum_megabytes": "maximumFileSize",
    "maximum_image_width": "maximumImageWidth",
}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of a definition or of a line block; None leaves a setting blank (unlimited).

    Attributes:
        type: `attachment` for a field of files; any other word for plain values.
        maximum_megabytes: For one file.
        maximum_image_width: Wider images are resized on arrival.
    """

    name: str
    label: str = ""
    type: str = "attachment"
    required: bool = False
    maximum_attachments: int | None = None
    maximum_megabytes: float | None = None
    maximum_image_width: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As the definition call answers it."""
        return {told: getattr(self, own) for own, told in _JSON_NAMES.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{own: data[told] for own, told in _JSON_NAMES.items()})


@dataclass(frozen=True, slots=True)
class LineSpec:
    """A line block: a table in a document, each row with its own id."""

    name: str
    fields: tuple[FieldSpec, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A value path that leads to an attachment field of one document.

    Attributes:
        path: The canonical value path, a line by its id.
        name: The field as permissions name it, `field` or `line.field`.
    """

    path: str
    name: str
    field: FieldSpec


@dataclass(frozen=True, slots=True)
class DefinitionSpec:
    """A kind of document."""

    id: str
    name: str
    label: str = ""
    fields: tuple[FieldSpec, ...] = ()
    lines: tuple[LineSpec, ...] = ()

    def to_json(self, *, hidden: frozenset[str] = frozenset()) -> dict[str, Any]:
        """As the definition call answers it, without the hidden fields."""
        return {
            "_id": self.id,
            "name": self.name,
            "label": self.label or self.name,
            "fields": [field.to_json() for field in self.fields if not hides(hidden, field.name)],
            "lines": [
                {
                    "name": line.name,
                    "label": line.label or line.name,
                    "fields": [
                        field.to_json()
                        for field in line.fields
                        if not hides(hidden, f"{line.name}.{field.name}")
                    ],
                }
                for line in self.lines
                if not hides(hidden, line.name)
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            data["_id"],
            data["name"],
            data["label"],
            tuple(FieldSpec.from_json(field) for field in data["fields"]),
            tuple(
                LineSpec(line["name"], tuple(map(FieldSpec.from_json, line["fields"])), line["label"])
                for line in data["lines"]
            ),
        )

    def attachment_fields(self) -> Iterator[FieldSpec]:
        """The header fields that hold files."""
        return (field for field in self.fields if field.type == "attachment")

    def line(self, name: str) -> LineSpec | None:
        """The line block of this name."""
        return next((line for line in self.lines if line.name == name), None)

    def place(self, value_path: str, body: Mapping[str, Any], *, by_index: bool = False) -> Place:
        """Where a value path leads in a document with this body.

        Args:
            value_path: `picture`, `attachments.invoiceFiles`, or `orderLines.<lineId>.photo`.
            body: The plain values of the document, with its lines.
            by_index: Lines are told by their index instead of their id.

        Raises:
            Refusal: 400 for what is no attachment field, 404 for a line that is not there.
        """
        for field in self.attachment_fields():
            if field.name == value_path:
                return Place(value_path, value_path, field)
        block, _, rest = value_path.partition(".")
        row, _, name = rest.partition(".")
        line = self.line(block)
        if line is not None:
            for field in line.fields:
                if field.type == "attachment" and field.name == name:
                    line_id = _line_id(body.get(block, ()), row, by_index=by_index)
                    return Place(f"{block}.{line_id}.{name}", f"{block}.{name}", field)
        raise invalid(f"Query error: valuePath; {value_path!r} is not an attachment field of {self.name}")


def _line_id(rows: Iterable[Mapping[str, Any]], key: str, *, by_index: bool) -> str:
    ids = [str(row["_id"]) for row in rows]
    if by_index:
        if key.isdecimal() and int(key) < len(ids):
            return ids[int(key)]
    elif key in ids:
        return key
    raise not_found(f"Query error: valuePath; there is no line {key!r}")


def hides(hidden: frozenset[str], name: str) -> bool:
    """Whether a field (`field`, `line.field`) is hidden, by itself or with what it stands in."""
    return bool({"*", name, name.partition(".")[0]} & hidden)
