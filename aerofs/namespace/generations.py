"""Who came first: requests that are under way, and what this mount changed meanwhile. Pure.

An answer tells how things stood at some moment after its request began. So what this mount changed after that
moment is applied to the answer once more. What this mount deleted does not come back either with an answer to a
later request: a platform may be behind itself. Only one that still names it after `HORIZON` is believed, so that
nothing is hidden for good.

Invariants: numbers only grow; every change whose stamp is above the oldest request still under way is kept.
"""

from collections.abc import Callable, Iterator
from typing import Final

from cachetools import TTLCache

from aerofs.model import AttachmentId, DefinitionId, DocumentId
from aerofs.namespace.snapshots import OwnChange

DocumentKey = tuple[DefinitionId, DocumentId]

HORIZON: Final = 900.0
"""Seconds after which a request that nobody ended is given up, and a deletion no longer held against answers."""
_TOMBSTONES: Final = 65_536


class Generations:
    """The order of requests and own changes within one mount."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._number = 0
        self._oldest = 0
        self._all_expired = 0
        self._running: dict[int, float] = {}
        self._changes: dict[DocumentKey, list[OwnChange]] = {}
        self._expired: dict[DocumentKey, int] = {}
        self._deleted: TTLCache[AttachmentId, None] = TTLCache(_TOMBSTONES, HORIZON, timer=clock)

    def __repr__(self) -> str:
        changes = sum(map(len, self._changes.values()))
        return f"<Generations at {self._number}: {len(self._running)} requests, {changes} changes>"

    def begin(self) -> int:
        """Mark the start of a request. Every number is to be ended once."""
        self._number += 1
        self._running[self._number] = self._clock()
        return self._number

    def end(self, begun: int) -> bool:
        """Mark the end of a request, after its answer was used. Returns whether it was still under way."""
        known = self._running.pop(begun, None) is not None
        self._trim()
        return known

    def is_running(self, begun: int) -> bool:
        """Tell whether changes since then are still known."""
        return begun in self._running

    def stamp(self) -> int:
        """Return the number of a change that happens now."""
        self._number += 1
        return self._number

    def changed(self, key: DocumentKey, change: OwnChange) -> None:
        """Keep a change for the answers of the requests under way, and what it deleted for good."""
        if change.gone is not None:
            self._deleted[change.gone] = None
        elif change.new is not None:
            # Said to stand after all: its deletion was announced and then did not happen.
            self._deleted.pop(change.new.id, None)
        if self._running:
            self._changes.setdefault(key, []).append(change)

    def expire(self, key: DocumentKey) -> None:
        """Let no answer of a request already under way count as fresh for this document."""
        if self._running:
            self._expired[key] = self.stamp()

    def expire_all(self) -> None:
        """Do the same for every document."""
        self._all_expired = self.stamp()

    def expired(self, key: DocumentKey) -> int:
        """Return when the document was expired, as far as a request under way may be older than that."""
        return max(self._all_expired, self._expired.get(key, 0))

    def since(self, key: DocumentKey, begun: int) -> Iterator[OwnChange]:
        """Yield what an answer to a request of that number may not know yet."""
        return (change for change in self._changes.get(key, ()) if change.stamp > begun)

    def is_deleted(self, attachment_id: AttachmentId) -> bool:
        """Tell whether this mount deleted the attachment."""
        return attachment_id in self._deleted

    def statistics(self) -> dict[str, int]:
        """Return how many requests are under way and how many changes are kept for them."""
        return {"requests": len(self._running), "changes": sum(map(len, self._changes.values()))}

    def _trim(self) -> None:
        horizon = self._clock() - HORIZON
        for begun, at in list(self._running.items()):
            if at >= horizon:
                break
            del self._running[begun]
        oldest = next(iter(self._running), self._number + 1)
        if oldest == self._oldest or not (self._changes or self._expired):
            return
        self._oldest = oldest
        for key, changes in list(self._changes.items()):
            changes[:] = [change for change in changes if change.stamp > oldest]
            if not changes:
                del self._changes[key]
        for key, stamp in list(self._expired.items()):
            if stamp < oldest:
                del self._expired[key]
