"""What is known of a field without a request: its settings, what it holds, and what it is about to hold."""

from collections.abc import Callable, Iterable
from typing import TypedDict

from aerofs.content.recognition import could_be_ours
from aerofs.content.work import Work
from aerofs.errors import QuotaError, TooLargeError
from aerofs.filesystem.nodes import DocumentNode, FieldNode, FileNode, Life
from aerofs.model import Attachment, AttachmentId, Field, FieldRef
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
    """The catalog's memory, the overlay, and what is on its way, asked together.

    Args:
        works: Tells every operation that is not settled.
    """

    def __init__(
        self, catalog: Catalog, overlay: Overlay[FileNode], works: Callable[[], Iterable[Work]]
    ) -> None:
        self._catalog = catalog
        self._overlay = overlay
        self._works = works

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
        hidden = self.hidden(place)
        shown = [entry for entry in self.files(place).attachments if not hidden(entry)]
        return len(shown) + len(placed)

    def hidden(self, place: FieldRef) -> Callable[[Attachment], bool]:
        """Tells of an attachment in the field whether it is not to be seen: something local stands for it.

        That includes what an operation may have brought up without having learnt it: its answer is under way, or was
        lost, perhaps with the process. A stranger's new file of that title and size is seen after it was looked at.
        """
        unlearnt = [work for work in self._works() if work.row.place == place and _may_stand(work)]

        def hidden(entry: Attachment) -> bool:
            return self._overlay.is_hidden(entry.id) or any(
                could_be_ours(work.row, entry) and entry.id not in work.strangers for work in unlearnt
            )

        return hidden

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


def _may_stand(work: Work) -> bool:
    """Whether it may have brought something up that nobody knows to be ours."""
    # (Behind one that is held it may wait for long, and was hardly ever sent: only a loss of power leaves doubt.)
    row = work.row
    return row.added is None and work.goes_on and (work.running or row.maybe_sent)
