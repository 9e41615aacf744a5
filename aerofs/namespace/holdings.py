"""The documents held in memory: answers come in, own changes are laid on top, what is old is not fresh.

Synchronous and without requests: `catalog.py` asks the platform. Invariants:

- an own change is never undone by an answer to a request that began before it (see `generations.py`);
- an answer never replaces what a request that began later has told;
- a file keeps its name as long as its document is held.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType
from typing import Final

from cachetools import LRUCache

from aerofs.model import Attachment, AttachmentId, DefinitionId, Document, DocumentId, FieldRef, ValuePath
from aerofs.namespace.generations import DocumentKey, Generations
from aerofs.namespace.snapshots import EMPTY, FieldFiles, OwnChange, Snapshot

_MAXIMUM_ROBBED: Final = 4_096
_NONE_LEARNT: Mapping[ValuePath, int] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class _Held:
    """A snapshot, until when it is fresh, and which request told it (a later one perhaps a field)."""

    snapshot: Snapshot
    fresh_until: float
    begun: int
    learnt: Mapping[ValuePath, int]


class Holdings:
    """The bounded memory of document snapshots.

    Args:
        maximum: How many documents are held; the one that nobody asked for longest goes first.
        clock: The time in seconds.
    """

    def __init__(self, *, maximum: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: LRUCache[DocumentKey, _Held] = LRUCache(maximum)
        self._robbed: LRUCache[AttachmentId, tuple[AttachmentId, str]] = LRUCache(_MAXIMUM_ROBBED)
        self.generations = Generations(clock)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Holdings of {len(self._held)} documents, {self.generations!r}>"

    # Answers

    def absorb(self, definition: DefinitionId, document: Document, *, begun: int, ttl: float) -> Snapshot:
        """Take in a whole document that a request of that number brought, and return what is to be shown."""
        key = (definition, document.id)
        held = self._held.get(key)
        if held is not None and (begun < held.begun or not self.generations.is_running(begun)):
            return held.snapshot
        fields: dict[ValuePath, FieldFiles] = {}
        known = held.snapshot.fields if held is not None else {}
        learnt = {path: at for path, at in held.learnt.items() if at > begun} if held is not None else {}
        for path, attachments in document.fields.items():
            fields[path] = known[path] if path in learnt else self._named(attachments, known.get(path))
        fields.update({path: known[path] for path in learnt})
        for change in self.generations.since(key, begun):
            if change.new is not None or change.path in fields:
                fields[change.path] = change.applied(fields.get(change.path, EMPTY))
        snapshot = Snapshot(definition, document.id, document.modified_ns, document.created_ns, fields)
        current = self.generations.is_running(begun) and self.generations.expired(key) < begun
        self._held[key] = _Held(
            snapshot, self._clock() + ttl if current else -inf, begun, learnt or _NONE_LEARNT
        )
        return snapshot

    def learn(self, place: FieldRef, attachments: Sequence[Attachment], *, begun: int) -> FieldFiles:
        """Take in the list of one field that a request of that number brought; return what is to be shown."""
        key = (place.definition, place.document)
        held = self._held.get(key)
        known = held.snapshot.fields.get(place.path) if held is not None else None
        if held is not None and begun < max(held.begun, held.learnt.get(place.path, 0)):
            return EMPTY if known is None else known
        files = self._named(attachments, known)
        for change in self.generations.since(key, begun):
            if change.path == place.path:
                files = change.applied(files)
        if held is not None:
            held.snapshot = held.snapshot.with_field(place.path, files)
            held.learnt = {**held.learnt, place.path: begun}
        return files

    def _named(self, attachments: Sequence[Attachment], known: FieldFiles | None) -> FieldFiles:
        """Name the files of an answer: those known keep their names, those deleted here are left out."""
        listed = [_bare(one) for one in attachments if not self.generations.is_deleted(one.id)]
        if not listed:
            return EMPTY
        return FieldFiles.of(listed, known.names if known else {})

    # Own changes

    def change(
        self,
        place: FieldRef,
        *,
        gone: AttachmentId | None = None,
        new: Attachment | None = None,
        name: str | None = None,
    ) -> str | None:
        """Note that this mount added, removed or replaced a file. Returns the new file's name where known."""
        key = (place.definition, place.document)
        held = self._held.get(key)
        files = held.snapshot.fields.get(place.path, EMPTY) if held is not None else EMPTY
        heir = None
        if new is not None and gone is not None and self.generations.is_deleted(new.id):
            # Deleted before the answer that told of it was used: all that is left to note is what it replaced.
            new = None
        if new is not None:
            new = _bare(new)
            if name is not None and name in files and files[name].id not in (gone, new.id):
                self._robbed[new.id] = (files[name].id, name)
            name = name or (files.name_of(gone) if gone is not None else None) or files.name_of(new.id)
        elif gone is not None:
            heir, name = self._robbed.pop(gone, (None, None))
        change = OwnChange(self.generations.stamp(), place.path, gone, new, name, heir)
        if held is not None:
            files = change.applied(files)
            if new is not None:
                name = files.name_of(new.id)
                change = replace(change, name=name)
            held.snapshot = held.snapshot.with_field(place.path, files)
        self.generations.changed(key, change)
        return name

    # Freshness

    def get(self, definition: DefinitionId, document: DocumentId, *, stale: bool = False) -> Snapshot | None:
        """Return what is held of a document, if it is fresh, or however old it is."""
        held = self._held.get((definition, document))
        if held is None or not (stale or self._clock() < held.fresh_until):
            return None
        return held.snapshot

    def remaining(self, definition: DefinitionId, document: DocumentId) -> float:
        """Return for how many seconds the document stays fresh."""
        held = self._held.get((definition, document))
        return 0.0 if held is None else max(0.0, held.fresh_until - self._clock())

    def expire(self, definition: DefinitionId, document: DocumentId) -> None:
        """Ask the platform the next time, whatever is held or under way."""
        self.generations.expire((definition, document))
        held = self._held.get((definition, document))
        if held is not None:
            held.fresh_until = -inf

    def expire_all(self) -> None:
        """Ask the platform the next time for every document."""
        self.generations.expire_all()
        for held in self._held.values():
            held.fresh_until = -inf

    def drop(self, definition: DefinitionId, document: DocumentId) -> None:
        """Hold a document no more: it is gone."""
        self._held.pop((definition, document), None)


def _bare(attachment: Attachment) -> Attachment:
    """Return the attachment without its URL, which is long and soon over."""
    if attachment.url is None:
        return attachment
    return Attachment(attachment.id, attachment.name, attachment.size, attachment.type)
