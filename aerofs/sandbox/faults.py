"""Faults on order: which request goes wrong, how often and how; and holds, which stop requests until told.

Pure decisions and events; the origin that serves the request does what a fault says.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import trio

from aerofs.sandbox.traffic import KINDS

Action = Literal[
    "delay", "stall", "status", "cut", "half", "drop_answer", "html", "pretend", "misname", "shorten",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = (
    "delay", "stall", "status", "cut", "half", "drop_answer", "html", "pretend", "misname", "shorten",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with some requests.

    Attributes:
        kind: The kind of request (see `KINDS` in the package), or "*" for every kind.
        action: `delay`: wait `seconds`, then serve. `stall`: never answer (cut after `seconds`), or with `at`
            stop for `seconds` after so many bytes of a body, then go on. `status`: answer `status`, and
            Retry-After where `retry_after` is given. `cut`: close the connection, nothing done; with `at`
            after so many bytes of a body. `half`: do the work, send half of the body, close. `drop_answer`:
            do the work, close without an answer. `html`: an HTML page with status 200, nothing done. Lies:
            `pretend`: say that it worked, do nothing and show nothing. `misname`: do the work, answer ids of
            nothing. `shorten`: do the work, send half of the body as if that were all.
        count: How many requests it strikes; None: all.
        after: How many matching requests it lets pass first.
        seconds: None: for ever.
        side: Which body `at` counts: the request's or the answer's.
        path: Strikes only requests whose path and query, as sent, contain this.
        done: A `status` or `html` answers work that was done all the same (a gateway that lost patience).
        says: The words of a `status`.
    """

    kind: str
    action: Action
    count: int | None = 1
    after: int = 0
    seconds: float | None = None
    status: int = 503
    retry_after: float | None = None
    at: int | None = None
    side: Literal["request", "answer"] = "answer"
    path: str = ""
    done: bool = False
    says: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: an unknown kind or action, or a delay without an end.
        """
        if self.kind != "*" and self.kind not in KINDS:
            raise ValueError(f"no kind of request {self.kind!r}; there are {', '.join(KINDS)}")
        if self.action not in ACTIONS:
            raise ValueError(f"no action {self.action!r}; there are {', '.join(ACTIONS)}")
        if self.action == "delay" and self.seconds is None:
            raise ValueError("a delay needs seconds")

    def to_json(self) -> dict[str, Any]:
        """As the control path shows it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """A fault as the control path takes it.

        Raises:
            ValueError: a key or value that does not exist.
        """
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown or not {"kind", "action"} <= set(data):
            raise ValueError(
                f"a fault needs kind and action; unknown: {', '.join(sorted(unknown)) or 'none'}"
            )
        return cls(**data)

    @classmethod
    def parse(cls, text: str) -> Self:
        """A fault as the command line takes it: `save:status,status=429,retry_after=2,count=3`.

        Raises:
            ValueError: not of this form.
        """
        head, *settings = text.split(",")
        kind, _, action = head.partition(":")
        if not action:
            raise ValueError(f"a fault is kind:action[,key=value…], not {text!r}")
        data: dict[str, Any] = {"kind": kind, "action": action}
        readers: dict[str, Any] = {
            **dict.fromkeys(("after", "status", "at"), int),
            **dict.fromkeys(("seconds", "retry_after"), float),
            **dict.fromkeys(("side", "path", "says"), str),
            "done": lambda word: word == "true",
            "count": lambda word: None if word == "all" else int(word),
        }
        for setting in settings:
            key, _, value = setting.partition("=")
            if key not in readers:
                raise ValueError(f"a fault has no {key!r}")
            data[key] = readers[key](value)
        return cls.from_json(data)


class Hold:
    """Stops requests of one kind until released; made by `Faults.hold`."""

    def __init__(self, kind: str, path: str, *, answered: bool) -> None:
        self.kind = kind
        self.path = path
        self.answered = answered
        self.waiting = 0
        self._open = trio.Event()
        self._moved = trio.Event()

    async def arrived(self, count: int = 1) -> None:
        """Wait until so many requests are being held."""
        while self.waiting < count:
            await self._moved.wait()

    def release(self) -> None:
        """Let all go, and those that come later."""
        self._open.set()

    async def stand(self) -> None:
        """Be held (called by the origin)."""
        self.waiting += 1
        self._moved.set()
        self._moved = trio.Event()
        await self._open.wait()


class Faults:
    """The orders that stand, oldest first."""

    def __init__(self) -> None:
        self._orders: list[tuple[Fault, list[int]]] = []
        self._holds: list[Hold] = []

    def __iter__(self) -> Iterator[Fault]:
        return (fault for fault, _ in self._orders)

    def add(self, fault: Fault) -> None:
        """Order a fault."""
        self._orders.append((fault, [0]))

    def clear(self) -> None:
        """Forget all orders."""
        self._orders.clear()

    def take(self, kind: str, path: str) -> Fault | None:
        """The fault that strikes this request, if one does; it is counted as struck."""
        for order in list(self._orders):
            fault, seen = order
            if fault.kind not in ("*", kind) or fault.path not in path:
                continue
            seen[0] += 1
            if seen[0] <= fault.after:
                continue
            if fault.count is not None and seen[0] >= fault.after + fault.count:
                self._orders.remove(order)
            return fault
        return None

    @contextmanager
    def hold(self, kind: str, *, path: str = "", answered: bool = False) -> Iterator[Hold]:
        """Hold requests of this kind while the block runs.

        Args:
            kind: The kind of request, or "*".
            path: Only requests whose path and query contain this.
            answered: Hold them after the work is done, before the answer is sent.
        """
        hold = Hold(kind, path, answered=answered)
        self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.release()
            self._holds.remove(hold)

    async def pass_holds(self, kind: str, path: str, *, answered: bool) -> None:
        """Wait as long as this request is held."""
        for hold in list(self._holds):
            if hold.kind in ("*", kind) and hold.path in path and hold.answered == answered:
                await hold.stand()
