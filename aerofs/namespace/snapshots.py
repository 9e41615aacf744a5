"""A document as the drive shows it: per field, its files under their names. Pure values.

Invariants: the names of one field differ from each other; the order is the platform's; nothing here is
    changed in place, so a snapshot that somebody reads from stays what it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, ValuePath
from aerofs.namespace.names import composed, encode, tell_apart

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
            name: The name to stand under; who has it now gets a tag. None: its own, told apart.
        """
        known = self.by_id.get(attachment.id)
        wanted = name if name is not None or known is not None else encode(attachment.name)
        if known is None and wanted is not None and wanted not in self:
            return FieldFiles((*self._names, wanted), (*self._attachments, attachment))
        names = self.names
        if name is not None:
            names = {identity: own for identity, own in names.items() if own != name}
            names[attachment.id] = name
        if known is None:
            return FieldFiles.of([*self._attachments, attachment], names)
        # The same file told twice: what one answer left out, the other may know.
        told = known if known.size is not None else attachment
        return FieldFiles.of([told if own is known else own for own in self._attachments], names)

    def removed(self, attachment_id: AttachmentId) -> "FieldFiles":
        """Return this without one file."""
        kept = [
            (name, attachment)
            for name, attachment in zip(self._names, self._attachments, strict=True)
            if attachment.id != attachment_id
        ]
        if len(kept) == len(self._names):
            return self
        return FieldFiles(tuple(name for name, _ in kept), tuple(attachment for _, attachment in kept))

    def replaced(
        self, old_id: AttachmentId, attachment: Attachment, *, name: str | None = None
    ) -> "FieldFiles":
        """Return this with a file in the place and under the name of another, or `added` if unknown."""
        kept = self.removed(attachment.id) if attachment.id != old_id else self
        old_name = kept.name_of(old_id)
        if old_name is None:
            return self.added(attachment, name=name)
        name = name or old_name
        names = {identity: own for identity, own in kept.names.items() if own != name}
        names[attachment.id] = name
        return FieldFiles.of([attachment if own.id == old_id else own for own in kept.attachments], names)

    def renamed(self, attachment_id: AttachmentId, name: str) -> "FieldFiles":
        """Return this with one file under another name, if that is free."""
        if name in self or attachment_id not in self.by_id:
            return self
        return FieldFiles.of(self._attachments, {**self.names, attachment_id: name})


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
        name: The file name that the new one keeps, or that goes back to `heir`.
        heir: Who had lost its name to the one that is gone, which was taken back.
    """

    stamp: int
    path: ValuePath
    gone: AttachmentId | None = None
    new: Attachment | None = None
    name: str | None = None
    heir: AttachmentId | None = None

    def applied(self, files: FieldFiles) -> FieldFiles:
        """Return the field with this change, once, however often it is applied."""
        if self.new is None:
            if self.gone is not None:
                files = files.removed(self.gone)
            if self.heir is not None and self.name is not None:
                files = files.renamed(self.heir, self.name)
            return files
        if self.gone is None:
            return files.added(self.new, name=self.name)
        return files.replaced(self.gone, self.new, name=self.name)
