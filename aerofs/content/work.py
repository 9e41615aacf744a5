"""An operation as this process carries it out: its row, what it waits for, and who waits for it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from aerofs.content.operations import Operation, State, inherit
from aerofs.content.puts import Put
from aerofs.model import AttachmentId, FieldRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aerofs.errors import AerofsError


class Work(Put):
    """An operation that this process is to settle.

    Attributes:
        previous: The work that must be settled first.
        dropped: It was given up while it rested, and its row is gone: no try of it begins any more.
        busy: It stands in line for its turn, or has it: its row may not be changed from outside.
        running: It has its turn: requests are under way.
        error: What the last try met.
        performed: Set when the platform has carried it out, though our own books are still open; at last with `tried`.
        tried: Set when the first try has ended, one way or the other, or failed for the one before.
        told: What that met. (`error` goes with the next try, which may begin before anybody has looked.)
        settled: Set at the very end: done, taken back, or dropped.
        wake: Set to have the next try at once; a new one goes with each try.
        next_try: trio time of the next try; None while none is planned.
        unwatched: It was withdrawn, and nobody waits any more to hear that the platform refuses.
        revocable: Who asked for it waits to hear of its first try, and takes it back where that is refused.
        frozen: The file of a draft that stays as it is for as long as this one reads it.
        takes_content: Asked at the end; True where the caller keeps the local file.
        heirs: Those that waited for it, once it is settled.
        followed: How many rows that come after it are being written.
        unwritten: What it is to do is being written: no turn of it begins before.
        spent: A file took the name and is to stand for it, as soon as the journal knows that one: no turn of it begins.
        leaving: Its own row is being taken out of the journal.
        hidden: Attachments that are hidden on its behalf until it is settled.
        makers: Those of whom one is to make room in the field before it is tried again.
    """

    def __init__(self, row: Operation, *, previous: "Work | None" = None) -> None:
        super().__init__(row)
        self.previous = previous
        self.dropped = False
        self.busy = False
        self.running = False
        self.error: AerofsError | None = None
        self.performed = trio.Event()
        self.tried = trio.Event()
        self.told: AerofsError | None = None
        self.settled = trio.Event()
        self.wake = trio.Event()
        self.next_try: float | None = None
        self.unwatched = False
        self.revocable = False
        self.frozen: Path | None = None
        self.takes_content: Callable[[Work], bool] | None = None
        self.heirs: list[Work] = []
        self.followed = 0
        self.unwritten = 0
        self.spent = False
        self.leaving = False
        self.hidden: list[AttachmentId] = []
        self.makers: list[Work] = []

    def __repr__(self) -> str:
        return f"<Work {self.row}{', running' if self.running else ''}>"

    @property
    def content(self) -> str | None:
        """The local file of what it brings up, or moves; None: what it moves stands on the platform."""
        if self.row.bare and self.previous is not None:
            return self.previous.content
        return self.row.content

    @property
    def goes_on(self) -> bool:
        """It will be performed by itself: neither it nor one that it waits for is held, or about to be given up."""
        if self.row.state is not State.QUEUED or self.spent:
            return False
        return self.previous is None or self.previous.settled.is_set() or self.previous.goes_on

    @property
    def only_books_left(self) -> bool:
        """The platform has carried it out, and the journal is about to learn it."""
        return self.performed.is_set() and not self.tried.is_set()

    @property
    def over(self) -> bool:
        """Its row goes from the journal, and is not to be written there any more."""
        return self.leaving or self.dropped

    def was_tried(self, error: "AerofsError | None" = None) -> None:
        """Nobody is to wait for the first try any more."""
        if not self.tried.is_set():
            self.told = error
        self.performed.set()
        self.tried.set()

    def inherits(self, prior: "Work") -> None:
        """The one that it waited for is settled; what that read, and did not bring up, is this one's to read."""
        self.row, self.previous = inherit(self.row, prior.row), None
        if self.row.content is not None and self.row.content == prior.row.content:
            self.frozen, prior.frozen = prior.frozen, None

    def shown_again(self) -> list[AttachmentId]:
        """It is settled: what was hidden on its behalf is to be seen again, but for what an heir retires now."""
        hidden, self.hidden = self.hidden, []
        for heir in self.heirs:
            if not heir.settled.is_set():
                inherited = {old.attachment for old in heir.row.retire}
                heir.hidden += [attachment for attachment in hidden if attachment in inherited]
                hidden = [attachment for attachment in hidden if attachment not in inherited]
        return hidden

    @property
    def fields(self) -> frozenset[FieldRef]:
        """Every field that the operation touches."""
        places = {self.row.place, *(old.place for old in self.row.retire)}
        if self.row.copy_of is not None:
            places.add(self.row.copy_of[0])
        return frozenset(places)


def coming_after(row: Operation, previous: Work | None) -> tuple[Operation, Work | None]:
    """A new row that comes after an operation, and the one that it waits for: none where that is settled by now."""
    if previous is None:
        return row, None
    if previous.settled.is_set():
        return inherit(row, previous.row), None
    return replace(row, after=previous.row.id), previous
