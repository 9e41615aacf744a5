"""What is known of a field without a request: its settings, what it holds, and what it is about to hold."""

from typing import TypedDict

from aerofs.errors import QuotaError, TooLargeError
from aerofs.filesystem.nodes import DocumentNode, FieldNode, FileNode, Life
from aerofs.model import AttachmentId, Field, FieldRef
from aerofs.namespace.catalog import Catalog
from aerofs.namespace.overlay import Overlay
from aerofs.namespace.snapshots import EMPTY, FieldFiles


class Destination(TypedDict):
    """The part of an `Operation` that tells where a file is to stand."""

    place: FieldRef
    path: str
    file_name: str
    title: str
    known: frozenset[AttachmentId]
    maximum: int | None
    resizes: bool


class Fields:
    """The catalog's memory and the overlay, asked together."""

    def __init__(self, catalog: Catalog, overlay: Overlay[FileNode]) -> None:
        self._catalog = catalog
        self._overlay = overlay

    def modified_ns(self, node: DocumentNode) -> int:
        """When the document was changed last, as far as is known without a request."""
        snapshot = self._catalog.peek(node.parent.definition, node.document, stale=True)
        return snapshot.modified_ns if snapshot else 0

    def known(self, place: FieldRef) -> frozenset[AttachmentId]:
        """The ids that the field is known to hold, without a request."""
        files = self.files(place)
        return frozenset(files.by_id)

    def occupied(self, place: FieldRef) -> int:
        """How many files the field holds or is about to hold."""
        placed = [node for node in self._overlay.names(place).values() if node.life is Life.REAL]
        shown = [id_ for id_ in self.files(place).by_id if not self._overlay.is_hidden(id_)]
        return len(shown) + len(placed)

    def files(self, place: FieldRef) -> FieldFiles:
        """What the platform showed in the field when it was last asked."""
        definition = self._catalog.definition_of(place.definition)
        snapshot = self._catalog.peek(definition, place.document, stale=True) if definition else None
        return snapshot.fields.get(place.path, EMPTY) if snapshot else EMPTY

    def settings(self, place: FieldRef) -> Field | None:
        """The settings of a field; None where the platform does not tell them."""
        definition = self._catalog.definition_of(place.definition)
        return definition.field(place.path) if definition else None

    def check_room(self, home: FieldNode) -> None:
        """See whether one more file fits in the field.

        Raises:
            QuotaError: It does not.
        """
        field = self.settings(home.place)
        maximum = field.maximum_attachments if field else None
        if maximum is not None and self.occupied(home.place) >= maximum:
            raise QuotaError(f"{home.path}: the field admits {maximum} files")

    def check_size(self, home: FieldNode, size: int) -> None:
        """See whether a file of so many bytes fits in the field.

        Raises:
            TooLargeError: It does not.
        """
        field = self.settings(home.place)
        maximum = field.maximum_size if field else None
        if maximum is not None and size > maximum:
            raise TooLargeError(f"{home.path}: the field admits {maximum} bytes a file")

    def destination(self, node: FileNode) -> Destination:
        """Where an operation of the file, as it is named now, is to leave it, and what is known of that field."""
        field = self.settings(node.place)
        return {
            "place": node.place,
            "path": node.path,
            "file_name": node.beside or node.name,
            "title": node.title,
            "known": self.known(node.place),
            "maximum": field.maximum_attachments if field else None,
            "resizes": field.resizes_images if field else False,
        }
