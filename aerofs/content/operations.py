"""What a save, a rename or a take-back intends and how far it has come: one journal row each.

All of them are one thing, a *put*: bring bytes into a field under a title (from a local file, or by a copy on the
platform), then retire what the new attachment stands for: the base of a save, the source of a move, the target that a
rename goes over. A put that was unlinked meanwhile is `cancelled`: it brings nothing up, takes back what it had
brought up, and retires the rest. Values only; `steps.py` performs them, `journal.py` keeps them.
"""

from dataclasses import dataclass, fields, replace
from enum import StrEnum

from pydantic import TypeAdapter

from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath


class State(StrEnum):
    """Where an operation stands, as `aerofs status` shows it."""

    LOCAL = "local"  # a name that never leaves this machine, or a draft not yet closed
    QUEUED = "queued"  # to be performed, now or after a pause
    HELD = "held"  # refused for good; kept until the user decides


class Role(StrEnum):
    """Why an attachment is to be deleted once the new one stands."""

    BASE = "base"  # the version that was opened
    OVER = "over"  # the file that a rename goes over
    SOURCE = "source"  # the file that was moved away
    FIRST = "first"  # our own first copy, after ours had to stand beside a stranger's under another title
    LOST = "lost"  # what we had brought up, and somebody took away: perhaps for a newer version


@dataclass(frozen=True, slots=True)
class Retire:
    """An attachment to delete, by its id, after the new one stands."""

    place: FieldRef
    attachment: AttachmentId
    title: str
    role: Role


@dataclass(frozen=True, slots=True)
class Secured:
    """Bytes of a file that had to be deleted before its successor could be added: to be put back on a refusal.

    Attributes:
        returning: An earlier try to put it back may have been carried out without our learning it.
        place: Where it stood, also when the operation goes elsewhere now; None (in older rows): where that is to stand.
    """

    content: str
    attachment: AttachmentId
    title: str
    returning: bool = False
    place: FieldRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One journal row.

    Attributes:
        id: The row's number; 0 before it was recorded.
        path: For people: where the file is in the mount.
        file_name: The name in its directory; `title` is what the platform is told.
        content: The local file with the bytes (its name in the drafts' directory); None: fetch `copy_of`.
        sha256: Of `content`, hexadecimal.
        accepted: So many bytes of `content` are what a close() accepted of a file that was still written; None: all.
        copy_of: The attachment that is moved: copied on the platform where the title stays, else brought up anew.
        source_title: The title of `copy_of`.
        known: Ids that stood in the field before the first try; an id outside is ours or a stranger's.
        maximum: The field's Maximum Allowed Attachments.
        resizes: The platform may change our bytes, so equality cannot be asked for.
        after: The row that must be settled first (an earlier save of the same file).
        maybe_sent: An earlier try may have been carried out without our learning it.
        added: What this operation brought up.
        conflict: The title under which ours is to stand beside a stranger's newer version.
        retired: Something that the new attachment stands for is gone for good: it may not be taken back.
        cancelled: The file was unlinked: bring nothing up, take back what was, retire the rest.
        superseded: A later save of the same file waits behind: nothing more is brought up.
        since: When it was first recorded, in seconds of time.time(); 0 where that is not known.
        inode, mtime_ns, mode: Local facts that travel to the new attachment.
    """

    id: int = 0
    state: State = State.QUEUED
    place: FieldRef
    path: str
    file_name: str
    title: str
    size: int
    content: str | None = None
    sha256: str | None = None
    accepted: int | None = None
    copy_of: tuple[FieldRef, AttachmentId] | None = None
    source_title: str = ""
    retire: tuple[Retire, ...] = ()
    known: frozenset[AttachmentId] = frozenset()
    maximum: int | None = None
    resizes: bool = False
    inode: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    after: int | None = None
    maybe_sent: bool = False
    added: Attachment | None = None
    secured: Secured | None = None
    conflict: str | None = None
    retired: bool = False
    cancelled: bool = False
    superseded: bool = False
    since: float = 0.0
    tries: int = 0
    error: str = ""
    errno: int = 0

    def __str__(self) -> str:
        return f"{self.path} (row {self.id}, {self.state})"

    @property
    def copies(self) -> bool:
        """The platform can do it without the bytes passing through here."""
        if self.copy_of is None or self.content is not None:
            return False
        return self.copy_of[0] != self.place and self.source_title == self.title

    @property
    def saves(self) -> bool:
        """It brings up bytes that were written here."""
        return self.content is not None and self.copy_of is None

    @property
    def bare(self) -> bool:
        """It has no bytes of its own: it moves whatever the operation before it brings up."""
        return self.content is None and self.copy_of is None

    @property
    def unsure(self) -> bool:
        """Whether a request may have been carried out of which the row does not tell, now that its process has ended.

        Its first try is not announced in the journal, to spare each save a sync; every other one is, before it is sent.
        """
        return self.maybe_sent or not (self.tries or self.resizes)

    @property
    def only_adds(self) -> bool:
        """It brings a file into a field that is not known to be limited, and touches nothing that stands there."""
        return not (self.retire or self.copy_of or self.secured or self.conflict) and self.maximum is None

    @property
    def bygone(self) -> frozenset[AttachmentId]:
        """Ids that are certainly not what this operation brings up."""
        source = {self.copy_of[1]} if self.copy_of is not None else set()
        secured = {self.secured.attachment} if self.secured is not None else set()
        return self.known | source | secured | {old.attachment for old in self.retire}

    @property
    def spared(self) -> tuple[Retire, ...]:
        """What stands should it come to nothing: neither what others took away nor what it took away to make room."""
        made_room = self.secured.attachment if self.secured is not None else None
        return tuple(old for old in self.retire if old.role is not Role.LOST and old.attachment != made_room)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the local files that this row needs."""
        return tuple(name for name in (self.content, self.secured and self.secured.content) if name)


def left_by(row: Operation) -> tuple[Retire, ...]:
    """What stands because of an operation that is settled: to be retired by whoever takes its place."""
    if row.added is None:
        return row.retire
    return (Retire(row.place, row.added.id, row.added.name, Role.BASE), *row.retire)


def inherit(row: Operation, prior: Operation) -> Operation:
    """The row that waited for `prior`, now that it is settled: what `prior` left standing is what this one retires."""
    known, left = row.known | prior.known, left_by(prior)
    if prior.title == prior.conflict and (row.place, row.file_name) == (prior.place, prior.file_name):
        row = replace(row, title=prior.title, conflict=prior.conflict)  # the name is a stranger's by now
    if prior.added is None:
        # What it had made room by deleting is still to be put back, should this one be refused.
        secured = row.secured or prior.secured
        row = replace(row, after=None, known=known, retire=left + row.retire, secured=secured)
        return _with_bytes_of(row, prior) if row.bare else row
    # (Known is what was seen: nothing else tells bystanders of it from what took its place.)
    added = prior.added
    if not row.bare:
        return replace(row, after=None, known=known, retire=left + row.retire)
    # A move: what the prior operation brought up is what is moved.
    left = (replace(left[0], role=Role.SOURCE), *prior.retire)
    source = (prior.place, added.id)
    return replace(
        row, after=None, known=known, retire=left + row.retire, copy_of=source, source_title=added.name
    )


def _with_bytes_of(row: Operation, prior: Operation) -> Operation:
    """What was not brought up where it was is to be brought up where it is by now."""
    return replace(
        row,
        content=prior.content,
        sha256=prior.sha256,
        accepted=prior.accepted,
        size=prior.size,
        copy_of=prior.copy_of,
        source_title=prior.source_title,
    )


def revoked(now: Operation, before: Operation, intended: Operation) -> Operation:
    """The row as it is now, but for what it was to become: that is as it was before. Ids learned meanwhile stay."""
    names = [each.name for each in fields(Operation)]
    former = {
        name: getattr(before, name) for name in names if getattr(before, name) != getattr(intended, name)
    }
    former["known"] = before.known | (now.known - intended.known)
    return replace(now, **former)


NOWHERE = FieldRef(DefinitionId(""), DocumentId(""), ValuePath(""))
"""The place of bytes that are still here though nobody knows any more where they belong: for the user to export."""

OPERATION = TypeAdapter(Operation)
