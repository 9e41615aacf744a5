"""What has passed: requests per kind and bytes of bodies per origin, for tests that promise frugality."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "definitions", "definition", "documents", "document", "new_document", "update_document",
    "delete_document", "list", "save", "delete", "copy", "download", "redirect", "other",
]  # fmt: skip
KINDS: tuple[Kind, ...] = (
    "definitions", "definition", "documents", "document", "new_document", "update_document",
    "delete_document", "list", "save", "delete", "copy", "download", "redirect", "other",
)  # fmt: skip
"""The kinds of requests. `download` is a GET of bytes, on whichever origin; `redirect` leads to one."""


class Seen(NamedTuple):
    """One request, for messages of failing tests; the query of a signed URL is left out."""

    kind: str
    method: str
    path: str


@dataclass
class Traffic:
    """The counters. One HTTP request is one count, also one that a fault struck."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes_in: Counter[str] = field(default_factory=Counter)
    bytes_out: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    recent: deque[Seen] = field(default_factory=lambda: deque(maxlen=1000))

    def begin(self, seen: Seen) -> None:
        """A request has come."""
        self.requests[seen.kind] += 1
        self.recent.append(seen)
        self.under_way[seen.kind] += 1
        self.peak[seen.kind] = max(self.peak[seen.kind], self.under_way[seen.kind])

    def end(self, kind: str) -> None:
        """A request is over, one way or another."""
        self.under_way[kind] -= 1

    def reset(self) -> None:
        """Start counting anew; what is under way stays under way."""
        for counter in (self.requests, self.bytes_in, self.bytes_out, self.peak):
            counter.clear()
        self.recent.clear()

    def to_json(self) -> dict[str, Any]:
        """As the control path shows it."""
        return {
            "requests": dict(self.requests),
            "bytesIn": dict(self.bytes_in),
            "bytesOut": dict(self.bytes_out),
            "underWay": {kind: count for kind, count in self.under_way.items() if count},
            "peak": dict(self.peak),
        }
