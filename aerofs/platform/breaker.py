"""The breaker: after one deadline, or a few refusals, calls fail at once until a probe is answered.

It counts only failures to REACH the API's origin; any answer, a 500 too, proves that it is there. It knows
no HTTP and starts no task: whoever calls finds out whether a probe is due, and performs it.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

log = logging.getLogger(__name__)


class Breaker:
    """Open: the platform is away. Closed: as far as we know it is there.

    One probe runs at a time. The pauses between probes grow while the platform stays away.

    Attributes:
        openings: How often it was opened, so far.
    """

    def __init__(
        self,
        *,
        refusals: int = 3,
        pause: float = 2.0,
        longest_pause: float = 30.0,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._tolerated = refusals
        self._first_pause = pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._refused = 0
        self._answered_at = -math.inf
        self._opened_at: float | None = None
        self._pause = pause
        self._probe_at = math.inf
        self._is_probing = False
        self.openings = 0

    def __repr__(self) -> str:
        return f"<Breaker {self.state}, {self._refused} refused>"

    @property
    def state(self) -> str:
        """`closed`, `open` or `probing`."""
        if self._opened_at is None:
            return "closed"
        return "probing" if self._is_probing else "open"

    @property
    def reachable(self) -> bool:
        """Whether calls may be tried."""
        return self._opened_at is None

    @property
    def probe_due(self) -> bool:
        """Whether the next caller should probe: open for long enough, and nobody is at it."""
        return not self.reachable and not self._is_probing and self._clock() >= self._probe_at

    def answered(self) -> None:
        """Note that the platform answered, whatever it said."""
        self._refused = 0
        self._answered_at = self._clock()
        if self._opened_at is not None:
            log.info("the platform is reachable again after %.1f s", self._clock() - self._opened_at)
        self._opened_at = None
        self._pause = self._first_pause

    def refused(self) -> None:
        """Note that no connection could be made."""
        self._refused += 1
        if self._refused >= self._tolerated:
            self._open()

    def overdue(self, *, since: float) -> None:
        """Note that a request got nothing within its bound.

        Args:
            since: When it was sent. If another request was answered after that, the platform is there and
            merely
                this one hangs.
        """
        if self._answered_at <= since:
            self._open()

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Hold the right to probe; if the platform is still away at the end, the next pause is longer."""
        self._is_probing = True
        try:
            yield
        finally:
            self._is_probing = False
            if self._opened_at is not None:
                self._pause = min(self._pause * 2, self._longest_pause)
                self._probe_at = self._clock() + self._pause

    @property
    def is_probing(self) -> bool:
        """Whether a probe is under way."""
        return self._is_probing

    def statistics(self) -> dict[str, object]:
        """Return its state, and how often and since when it was open."""
        since = None if self._opened_at is None else round(self._clock() - self._opened_at, 3)
        return {"state": self.state, "openings": self.openings, "open_for": since}

    def _open(self) -> None:
        if self._opened_at is None:
            log.info("the platform is not reachable: calls fail at once until it answers a probe")
            self.openings += 1
            self._opened_at = self._clock()
            self._probe_at = self._opened_at + self._pause
