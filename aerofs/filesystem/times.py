"""The times of files that nobody here has written: the document's own, from when each was first seen."""

from cachetools import LRUCache

from aerofs.model import AttachmentId

_KEPT = 100_000
_APART_NS = 2_000_000_000
"""LibreOffice compares times by the second; vim forgives a whole one, because of FAT."""


class Times:
    """What each attachment shows, though its document is changed again and again; the last so many of them."""

    def __init__(self) -> None:
        self._seen: LRUCache[AttachmentId, int] = LRUCache(_KEPT)

    def of(self, attachment: AttachmentId, modified_ns: int) -> int:
        """The time of an attachment; `modified_ns`: that of its document, if it is seen for the first time."""
        return self._seen.setdefault(attachment, modified_ns)

    def apart(self, attachment: AttachmentId, other_ns: int) -> int:
        """The time of an attachment, from now on far enough from another one to be told from it."""
        seen = self._seen.get(attachment)
        if seen is None or abs(seen - other_ns) < _APART_NS:
            self._seen[attachment] = seen = other_ns + _APART_NS
        return seen
