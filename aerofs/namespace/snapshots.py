"""A document as the drive shows it: per field, its files under their names. Pure values.

Invariants: the names of one field differ from each other; the order is the platform's; nothing here is
    changed in place, so a snapshot that somebody reads from stays what it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, ValuePath
from aerofs.namespace.names import composed, tell_apart

_INDEX_FROM: Final = 12
"""Entries from which a dictionary is worth its memory; below, a walk over the tuple is as fast."""


class FieldFiles(Mapping[str, Attachment]):
    """The files of one field: an ordered, immutable mapping of file name to attachment."""

    __slots__ = ("_attachments", "_by_id", "_index", "_names")

    def __init__(self, names: tuple[str, ...] = (), attachments: tuple[Attachment, ...] = ()) -> None:
        self._names = names
        self._attachments = attachments
        self._index: dict[str, Attachment] | None = None
        self._by_id: dict[AttachmentId, Attachment] | None = None

    @classmethod
    def of(
        cls,
        attachments: Sequence[Attachment],
        names: Mapping[AttachmentId, str] = MappingProxyType({}),
    ) -> "FieldFiles":
        """Name what the platform answered; ids in `names` keep theirs. An id that comes twice stands once."""
        chosen = tell_apart([(attachment.id, attachment.name) for attachment in attachments], names)
        unique = {attachment.id: attachment for attachment in attachments}
        return cls(tuple(chosen.values()), tuple(unique[identity] for identity in chosen))

    def __getitem__(self, name: str) -> Attachment:
        if len(self._names) < _INDEX_FROM:
            for own, attachment in zip(self._names, self._attachments, strict=True):
                if own == name:
                    return attachment
            raise KeyError(name)
        if self._index is None:
            self._index = dict(zip(self._names, self._attachments, strict=True))
        return self._index[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<FieldFiles of {len(self._names)}: {', '.join(map(repr, self._names[:3]))}>"

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments in platform order."""
        return self._attachments

    @property
    def by_id(self) -> Mapping[AttachmentId, Attachment]:
        """The same attachments by their ids."""
        if self._by_id is None:
            self._by_id = {attachment.id: attachment for attachment in self._attachments}
        return MappingProxyType(self._by_id)

    @property
    def names(self) -> dict[AttachmentId, str]:
        """The file name of each id."""
        return {attachment.id: name for name, attachment in zip(self._names, self._attachments, strict=True)}

    def name_of(self, attachment_id: AttachmentId) -> str | None:
        """Return the file name of an id."""
        for name, attachment in zip(self._names, self._attachments, strict=True):
            if attachment.id == attachment_id:
                return name
        return None

    def find(self, name: str) -> tuple[str, Attachment] | None:
        """Return name and file of exactly this name, else of one that looks the same (equal in NFC)."""
        if name in self:
            return name, self[name]
        wanted = composed(name)
        for own, attachment in zip(self._names, self._attachments, strict=True):
            if not (own.isascii() and name.isascii()) and composed(own) == wanted:
                return own, attachment
        return None

    def added(self, attachment: Attachment, *, name: str | None = None) -> "FieldFiles":
        """Return this with one more file at the end, or with the facts of a known one brought up to date.

        Args:
            attachment: The file.
            name: The name to stand under, whoever has it now gets a tag; None: its own, told apart.
        """
        names = self.names
        if name is not None:
            names = {identity: own for identity, own in names.items() if own != name}
            names[attachment.id] = name
        known = self.by_id.get(attachment.id)
        if known is not None:
            # The same file told twice: what one answer left out, the other may know.
            told = known if known.size is not None else attachment
            listed = [told if own.id == attachment.id else own for own in self._attachments]
        else:
            listed = [*self._attachments, attachment]
        return FieldFiles.of(listed, names)

    def removed(self, attachment_id: AttachmentId) -> "FieldFiles":
        """Return this without one file."""
        if attachment_id not in self.by_id:
            return self
        kept = [attachment for attachment in self._attachments if attachment.id != attachment_id]
        return FieldFiles.of(kept, self.names)

    def replaced(
        self, old_id: AttachmentId, attachment: Attachment, *, name: str | None = None
    ) -> "FieldFiles":
        """Return this with a file in the place and under the name of another, or `added` if unknown."""
        kept = self.removed(attachment.id) if attachment.id != old_id else self
        if old_id not in kept.by_id:
            return self.added(attachment, name=name)
        names = kept.names
        names[attachment.id] = name or names[old_id]
        listed = [attachment if own.id == old_id else own for own in kept.attachments]
        return FieldFiles.of(
            listed, {own: n for own, n in names.items() if own == attachment.id or n != name}
        )


EMPTY: Final = FieldFiles()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the drive shows of one document.

    Attributes:
        modified_ns: When the platform last changed it, in nanoseconds since the epoch; 0 where unknown.
        fields: The files per value path; the path is the name of the field's directory. Empty fields
            included.
    """

    definition: DefinitionId
    document: DocumentId
    modified_ns: int
    created_ns: int
    fields: Mapping[ValuePath, FieldFiles]

    def with_field(self, path: ValuePath, files: FieldFiles) -> "Snapshot":
        """Return the document with other files in one field."""
        return replace(self, fields={**self.fields, path: files})


@dataclass(frozen=True, slots=True)
class OwnChange:
    """What this mount did to a field: an attachment came, went, or took another's place.

    Attributes:
        stamp: When, on the scale of `generations.Generations`.
        name: The file name that the new one keeps.
    """

    stamp: int
    path: ValuePath
    gone: AttachmentId | None = None
    new: Attachment | None = None
    name: str | None = None

    def applied(self, files: FieldFiles) -> FieldFiles:
        """Return the field with this change, once, however often it is applied."""
        if self.new is None:
            return files.removed(self.gone) if self.gone is not None else files
        if self.gone is None:
            return files.added(self.new, name=self.name)
        return files.replaced(self.gone, self.new, name=self.name)
