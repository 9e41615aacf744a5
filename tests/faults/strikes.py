"""What goes wrong with a request: the rows of the fault matrix."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aerofs.sandbox import Fault

CHANGES = frozenset({"save", "delete", "copy"})
"""Kinds of requests that change something: there, work that was done and not owned up to is a case of its own."""
BODIES = frozenset({"save", "copy"})
"""Kinds of requests with a body."""
EVERYTHING = "*"


@dataclass(frozen=True, eq=False)
class Strike:
    """One way in which a request fails.

    Attributes:
        words: For people.
        fault: What the sandbox is told; None: no connection is made at all.
        kinds: Where it means something; None: everywhere.
        errno: What SEMANTICS says of a call that is refused so.
        lie: The platform says what is not true, so that two versions may be left standing.
    """

    words: str
    fault: Mapping[str, object] | None
    kinds: frozenset[str] | None = None
    errno: str = ""
    lie: bool = False

    def strikes(self, kind: str) -> bool:
        """Whether it is worth a cell."""
        return self.kinds is None or kind in self.kinds or (kind == EVERYTHING and self.kinds == CHANGES)

    def ordered(self, kind: str, count: int | None) -> Fault | None:
        """The order for the sandbox."""
        if self.fault is None:
            return None
        return Fault.from_json({"kind": kind, "count": count, **self.fault})


def _status(status: int, **more: object) -> Mapping[str, object]:
    return MappingProxyType({"action": "status", "status": status, **more})


def _does(action: str, **more: object) -> Mapping[str, object]:
    return MappingProxyType({"action": action, **more})


_FULL = "Body error: The maximum of 1 allowed attachments is exceeded"
_LOCKED = "Body error: status; This document is locked"
STRIKES: tuple[Strike, ...] = (
    Strike("no connection", None),
    Strike("cut off before anything is done", _does("cut")),
    Strike("cut off in the middle of our body", _does("cut", at=100, side="request"), BODIES),
    Strike("done, no answer", _does("drop_answer"), CHANGES),
    Strike("cut off in the middle of the answer", _does("half")),
    Strike("silence", _does("stall")),
    Strike("silence in the middle of our body", _does("stall", at=100, side="request"), BODIES),
    Strike("silence in the middle of the answer", _does("stall", at=5)),
    Strike("5 s late", _does("delay", seconds=5.0)),
    Strike("500", _status(500)),
    Strike("503, Retry-After: 2", _status(503, retry_after=2.0)),
    Strike("done, but 504", _status(504, done=True), CHANGES),
    Strike("429, Retry-After: 2", _status(429, retry_after=2.0)),
    Strike("429, Retry-After: 100", _status(429, retry_after=100.0)),
    Strike("401", _status(401), errno="EACCES"),
    Strike("403", _status(403), errno="EACCES"),
    Strike("404", _status(404), errno="ENOENT", lie=True),
    Strike("413", _status(413), errno="EFBIG"),
    Strike("400, field full", _status(400, says=_FULL), errno="EDQUOT"),
    Strike("400, another rule", _status(400, says=_LOCKED), errno="EPERM"),
    Strike("200 with a page of HTML", _does("html")),
    Strike("done, but 200 with a page of HTML", _does("html", done=True), CHANGES),
    Strike("success, nothing done or shown", _does("pretend"), lie=True),
    Strike("done, wrong id in the answer", _does("misname"), BODIES),
    Strike("half an answer as the whole", _does("shorten")),
)
