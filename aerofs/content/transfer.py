"""The parts of ranged reading that decide without fetching: who reads where, and how far a download has come.

`supply.py` runs downloads; here stand what it knows of each reader (`Cursor`) and of each download (`Job`), and
the bounds that all of them keep (`Pace`). Nothing here makes a request or touches a file.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from aerofs.content.ranges import Ranges
from aerofs.errors import AerofsError

STEADY = 2
"""So many consecutive sequential reads after a seek start a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The bounds of all downloads of one mount.

    Attributes:
        window: Bytes that a stream runs ahead of its furthest reader.
        piece: What the kernel asks for at a time; a seek fetches a range aligned to it.
        near: Kernel read-ahead arrives a little out of order: nearer than this is no seek.
        idle: Seconds that a stream waits, its window full, for a reader to advance.
        parked: How many streams may wait so at a time: each of them keeps a connection from others.
        tries: How often a body that breaks off without progress is resumed before the readers are told.
    """

    window: int = 8 << 20
    piece: int = 128 << 10
    near: int = 1 << 20
    idle: float = 10.0
    parked: int = 4
    tries: int = 4


class Cursor:
    """Where one handle reads, and whether it reads on or seeks.

    Attributes:
        expected: The end of the furthest read: where the next one begins if it reads on.
        version: The blob's version that bytes were handed out of; None before any were.
        closed: Whether the handle is closed.
    """

    __slots__ = ("_fresh", "_pace", "_steady", "closed", "expected", "version")

    def __init__(self, pace: Pace) -> None:
        self.expected = 0
        self.version: int | None = None
        self.closed = False
        self._pace = pace
        self._fresh = True
        self._steady = STEADY

    def follow(self, offset: int, stop: int) -> int | None:
        """Take note of a read; where a stream for it would begin if it reads on, None if it seeks.

        A handle begins at 0, so a first read there reads on; so does any return to 0.
        """
        begin = min(offset, self.expected)
        if offset == 0:
            self._steady = max(self._steady, STEADY)
            self.expected = stop
        elif abs(offset - self.expected) <= (self._pace.piece if self._fresh else self._pace.near):
            self._steady += 1
            self.expected = max(self.expected, stop)
        else:
            self._steady = 0
            self.expected = stop
        self._fresh = False
        return begin if self._steady >= STEADY else None


class Job:
    """One download for one blob: a stream, which keeps pace with its readers, or a piece, which just runs.

    Attributes:
        start: Its first byte.
        position: The next byte that it brings.
        stop: Where it ends; None: with the attachment.
        paced: Whether it is a stream.
        over: It brings nothing more; `error` tells why, None where it was done or of no more use.
        ousted: A stream whose connection others need: it ends instead of waiting for its readers.
    """

    __slots__ = (
        "_needs",
        "_wanted",
        "error",
        "ousted",
        "over",
        "paced",
        "position",
        "reached",
        "scope",
        "start",
        "stop",
    )

    def __init__(self, start: int, stop: int | None, *, paced: bool) -> None:
        self.start = self.position = self.reached = start
        self.stop = stop
        self.paced = paced
        self.over = False
        self.ousted = False
        self.error: AerofsError | None = None
        self.scope = trio.CancelScope()
        self._needs: dict[trio.Event, int] = {}
        self._wanted = trio.Event()

    def __repr__(self) -> str:
        state = "over" if self.over else f"{len(self._needs)} waiting"
        return (
            f"<Job {self.start}..{self.position}..{self.stop} {'stream' if self.paced else 'piece'} {state}>"
        )

    @property
    def waited_for(self) -> bool:
        """Whether a read waits for it."""
        return bool(self._needs)

    def brings(self, missing: int, *, within: float = math.inf) -> bool:
        """Whether it will bring this byte before more than `within` others."""
        return (
            not self.over
            and self.position <= missing < self.position + within
            and (self.stop is None or missing < self.stop)
        )

    def notice(self, stop: int) -> None:
        """A reader of this stream has come as far as `stop`."""
        if stop > self.reached:
            self.reached = stop
            self._wanted.set()

    def oust(self) -> None:
        """Have the stream end rather than wait for its readers."""
        self.ousted = True
        self._wanted.set()

    def far_enough(self, pace: Pace) -> bool:
        """Whether it is so far ahead that it should wait; the lead grows with what its readers read."""
        goal = max(self.reached, *self._needs.values()) if self._needs else self.reached
        return self.position >= goal + min(pace.window, max(pace.piece, goal - self.start))

    async def wanted(self) -> None:
        """Wait until a reader advances."""
        self._wanted = trio.Event()
        await self._wanted.wait()

    async def wait(self, stop: int) -> None:
        """Wait until it has brought everything up to `stop` (or up to its own end), or is over."""
        need = stop if self.stop is None else min(stop, self.stop)
        if self.over or self.position >= need:
            return
        event = trio.Event()
        self._needs[event] = need
        self._wanted.set()
        try:
            await event.wait()
        finally:
            del self._needs[event]

    def advance(self, position: int) -> None:
        """It has come to `position` (backwards where a server began anew); who waited for that wakes."""
        self.position = position
        for event, need in self._needs.items():
            if need <= position:
                event.set()

    def finish(self, error: AerofsError | None = None) -> None:
        """End it: everyone who waits wakes, and finds `error` where the bytes are not there."""
        if self.over:
            return
        self.over = True
        self.error = error
        self.scope.cancel()
        for event in self._needs:
            event.set()


class Parking:
    """The streams of a mount that wait for readers: few, because each keeps a connection from others."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    async def wait(self, job: Job, *, idle: float) -> bool:
        """Wait until a reader of the stream advances; False if none did, or if others need the connection."""
        self._jobs.append(job)
        if len(self._jobs) > self._maximum:
            self._jobs[0].oust()
        try:
            with trio.move_on_after(idle) as timer:
                await job.wanted()
        finally:
            self._jobs.remove(job)
        return not (job.ousted or timer.cancelled_caught)


def stream_end(begin: int, *, near: int, held: Ranges, size: int | None) -> int | None:
    """Where a stream from `begin` can stop: before a long or the last held range; None: at the end."""
    edge = begin
    while (island := held.next_from(edge)) is not None:
        edge = held.end_from(island)
        if edge - island >= near or edge == size:
            return island
    return None


def piece_around(
    missing: int, end: int, *, unit: int, held: Ranges, size: int | None, others: Iterable[Job]
) -> tuple[int, int]:
    """The missing range around `missing` up to `end`, aligned to `unit`, without what other pieces bring."""
    starts = [missing - missing % unit, held.start_until(missing)]
    stops = [-(-end // unit) * unit, size, held.next_from(missing)]
    for other in others:
        if other.start > missing:
            stops.append(other.start)
        elif other.stop is not None and other.stop <= missing:
            starts.append(other.stop)
    return max(starts), min(stop for stop in stops if stop is not None)
