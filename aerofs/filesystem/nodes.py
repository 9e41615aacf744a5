"""What an inode number stands for: the root, a definition, a document, a field, a file.

Nodes hold state, not behaviour. A directory node is an address; a file node is ONE attachment, or the draft that will
become one, and keeps its inode number through our own saves and renames.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from aerofs.content.draft import Draft
from aerofs.content.operations import Operation, Retire
from aerofs.content.work import Work
from aerofs.model import Attachment, AttachmentId, Definition, DocumentId, FieldRef
from aerofs.namespace.names import encode


@dataclass(frozen=True, slots=True)
class Root:
    """The mount point."""


@dataclass(frozen=True, slots=True)
class DefinitionNode:
    """The directory of a definition's documents."""

    definition: Definition
    name: str


@dataclass(frozen=True, slots=True)
class DocumentNode:
    """The directory of a document's attachment fields."""

    parent: DefinitionNode
    document: DocumentId
    name: str


@dataclass(frozen=True, slots=True)
class FieldNode:
    """The directory of a field's files."""

    parent: DocumentNode
    place: FieldRef

    @property
    def path(self) -> str:
        """Where it is in the mount."""
        return f"{self.parent.parent.name}/{self.parent.name}/{encode(self.place.path)}"


class Life(Enum):
    """Where a file's name lives."""

    REAL = auto()  # on the platform, or on its way there
    LOCAL = auto()  # a name that never leaves this machine
    UNLINKED = auto()  # no name any more; handles may be open


@dataclass(frozen=True, slots=True)
class Noted:
    """The journal row of a draft that no save took yet: of an fsync, of a local name, or of a close() among several.

    Attributes:
        row: As it stands in the journal.
        path: The file that it names. The draft may have gone on in another one.
        changes: `draft.changes` at that time.
    """

    row: Operation
    path: Path
    changes: int


@dataclass(slots=True, eq=False, weakref_slot=True)
class FileNode:
    """A file.

    Attributes:
        home: The directory that shows it.
        name: Its name there.
        title: What the platform calls it, or will (`a.pdf` where the name is `a (3f9c01).pdf`).
        attachment: What it is on the platform; None for what was not brought up yet.
        draft: Its bytes while they are newer than the attachment, or are written.
        retire: What the next commit retires besides `attachment`: a target that a rename went over.
        stands: The field in which `attachment` stands on the platform (another than `place` while it is moved).
        aside: Where the platform still shows the file: a rename to a local name (`x` to `x~`) leaves it there.
        work: The newest operation of this file that may not be settled yet.
        follows: The operation of another file whose place this one takes: the next commit comes after it.
        supplants: Files whose names it took, and whose rows go with its next one (`supplanting.py`).
        gives_back: Gives back what the file took over with its name, should it come to nothing before its first save.
        hidden: Attachments hidden on this file's behalf until its next operation is settled.
        committed: `draft.changes` as of the last commit; -1 where these bytes are to be saved once more.
        recording: A save of the draft is being written to the journal.
        noted: The journal row of a draft that is not committed.
        writers: Open handles that may write, and changes without one that are under way.
        handles: Open handles, and whoever else needs what it holds: its draft stays.
        beside: The name that it has yet to go by, because a stranger's file has its own on the platform.
        exclusive: Made under a name that looks temporary, with O_EXCL where that matters.
    """

    inode: int
    home: FieldNode
    name: str
    title: str
    attachment: Attachment | None
    mtime_ns: int
    mode: int
    ctime_ns: int = 0
    life: Life = Life.REAL
    draft: Draft | None = None
    retire: tuple[Retire, ...] = ()
    stands: FieldRef | None = None
    hidden: tuple[AttachmentId, ...] = ()
    aside: "tuple[FieldNode, str] | None" = None
    work: Work | None = None
    follows: Work | None = None
    supplants: "tuple[FileNode, ...]" = ()
    gives_back: Callable[[], None] | None = None
    committed: int = 0
    recording: bool = False
    noted: Noted | None = None
    writers: int = 0
    handles: int = 0
    beside: str | None = None
    exclusive: bool = False

    @property
    def place(self) -> FieldRef:
        """The field that shows it."""
        return self.home.place

    @property
    def path(self) -> str:
        """Where it is in the mount."""
        return f"{self.home.path}/{self.name}"

    @property
    def changed(self) -> bool:
        """There are bytes that no commit took yet."""
        return self.draft is not None and self.draft.changes != self.committed

    @property
    def journalled(self) -> int:
        """The number of the journal row of a draft that is not committed; 0: none."""
        return self.noted.row.id if self.noted is not None else 0

    @property
    def pending(self) -> Work | None:
        """The operation of this file that is not settled."""
        return self.work if self.work is not None and not self.work.settled.is_set() else None

    @property
    def size(self) -> int | None:
        """Bytes; None where nobody knows yet."""
        if self.draft is not None:
            return self.draft.size
        return self.attachment.size if self.attachment is not None else 0


Directory = Root | DefinitionNode | DocumentNode | FieldNode
Node = Directory | FileNode


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory and the number of what it leads to."""

    name: str
    inode: int
    node: Node
