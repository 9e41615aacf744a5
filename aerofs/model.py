"""What the platform keeps, in its own words: definitions, documents, fields, attachments.

Plain frozen values without behaviour beyond what follows from them. They know no HTTP, no file name and no inode.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NewType

DefinitionId = NewType("DefinitionId", str)
DocumentId = NewType("DocumentId", str)
AttachmentId = NewType("AttachmentId", str)
ValuePath = NewType("ValuePath", str)
"""Where a field stands in its document: `picture`, `attachments.invoiceFiles`, `orderLines.<lineId>.photo`."""


@dataclass(frozen=True, slots=True)
class Field:
    """An attachment field of a definition.

    Attributes:
        name: The dotted path below the document, or below the line for a line field.
        line: The line block that the field belongs to; None for a header field.
        maximum_attachments: None means unlimited.
        maximum_size: Bytes for one file; None means unlimited.
        resizes_images: Bytes read back may differ from bytes written.
    """

    name: str
    label: str = ""
    line: str | None = None
    required: bool = False
    maximum_attachments: int | None = None
    maximum_size: int | None = None
    resizes_images: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """A kind of document. `fields` is None where the platform does not tell them (they are then discovered)."""

    id: DefinitionId
    name: str
    label: str = ""
    fields: tuple[Field, ...] | None = ()

    def field(self, path: ValuePath) -> Field | None:
        """The settings of the field at a value path, which for a line field names the line in its middle."""
        for each in self.fields or ():
            if each.line is None:
                if each.name == path:
                    return each
            elif path.startswith(f"{each.line}."):
                _line_id, _, name = path.removeprefix(f"{each.line}.").partition(".")
                if name == each.name:
                    return each
        return None


@dataclass(frozen=True, slots=True)
class Attachment:
    """One immutable file of a field. `size` is in bytes, None where the platform does not tell it.

    Attributes:
        name: The platform's title for it: any text, not unique, not yet a file name.
        url: Where its bytes are, for a limited time; never logged. None where the answer did not carry one.
    """

    id: AttachmentId
    name: str
    size: int | None = None
    type: str | None = None
    url: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A document with all its attachment fields.

    Attributes:
        modified_ns: `_lastModifiedOn` in nanoseconds since the epoch; 0 where unknown.
        fields: Per value path the field's definition and its attachments in platform order; empty fields included.
    """

    id: DocumentId
    external_id: str | None = None
    created_ns: int = 0
    modified_ns: int = 0
    fields: Mapping[ValuePath, tuple[Attachment, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class FieldRef:
    """One attachment field of one document: where files stand."""

    definition: DefinitionId
    document: DocumentId
    path: ValuePath

    def __str__(self) -> str:
        return f"{self.definition}/{self.document}/{self.path}"
