"""What this mount has changed and the platform does not show yet: hidden attachments, names placed on top.

A rename that is still under way, a new file that is only a draft, a name that never leaves this machine: the
catalog knows none of it, and a directory is read as the catalog's answer minus what is hidden plus what is
placed. Pure, and generic over what stands under a name (the filesystem's nodes).
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from aerofs.model import AttachmentId, FieldRef

T = TypeVar("T")


class Overlay(Generic[T]):
    """Local additions to and subtractions from what the platform shows. All synchronous, one thread."""

    def __init__(self) -> None:
        self._hidden: Counter[AttachmentId] = Counter()
        self._placed: dict[FieldRef, dict[str, T]] = {}
        self._reserved: set[tuple[FieldRef, str]] = set()

    def __repr__(self) -> str:
        placed = sum(map(len, self._placed.values()))
        return f"<Overlay {len(self._hidden)} hidden, {placed} placed in {len(self._placed)} fields>"

    def hide(self, attachment: AttachmentId) -> None:
        """Show this attachment no more, until `unhide` was called as often as this."""
        self._hidden[attachment] += 1

    def unhide(self, attachment: AttachmentId) -> bool:
        """Take back one `hide`. Returns whether the attachment is shown again."""
        if self._hidden[attachment] > 1:
            self._hidden[attachment] -= 1
            return False
        del self._hidden[attachment]
        return True

    def is_hidden(self, attachment: AttachmentId) -> bool:
        """Tell whether some reason to hide the attachment is left."""
        return attachment in self._hidden

    @property
    def hides(self) -> bool:
        """Whether anything is hidden at all."""
        return bool(self._hidden)

    def place(self, field: FieldRef, name: str, node: T) -> None:
        """Let `node` stand under the name, whatever the platform or an earlier `place` has there."""
        self._placed.setdefault(field, {})[name] = node

    def displace(self, field: FieldRef, name: str) -> T | None:
        """Take away what was placed under the name, and return it."""
        names = self._placed.get(field)
        if names is None:
            return None
        node = names.pop(name, None)
        if not names:
            del self._placed[field]
        return node

    def placed(self, field: FieldRef, name: str) -> T | None:
        """Return what was placed under the name."""
        names = self._placed.get(field)
        return None if names is None else names.get(name)

    def names(self, field: FieldRef) -> Mapping[str, T]:
        """Return what is placed in the field: a view in the order of placing, not a copy."""
        names = self._placed.get(field)
        return MappingProxyType({} if names is None else names)

    def reserve(self, field: FieldRef, name: str) -> None:
        """Let nothing of the platform be seen under the name, though nothing is placed there."""
        self._reserved.add((field, name))

    def release(self, field: FieldRef, name: str) -> None:
        """Take back a `reserve`."""
        self._reserved.discard((field, name))

    def is_ours(self, field: FieldRef, name: str) -> bool:
        """Tell whether the name is placed or reserved: what the platform has under it is seen beside it."""
        return (field, name) in self._reserved or self.placed(field, name) is not None

    def statistics(self) -> Mapping[str, int]:
        """Return how many attachments are hidden and how many names are placed."""
        return {"hidden": len(self._hidden), "placed": sum(map(len, self._placed.values()))}
