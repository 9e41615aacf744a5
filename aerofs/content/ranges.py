"""A set of byte positions, kept as sorted ranges: what of a file is held.

Pure: no file, no clock, no trio. Ranges are half open, `[start, stop)`. Invariant: the stored ranges are
sorted, not empty, and neither overlap nor touch, so that "is this held" is one bisection.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:  # noqa: PLW1641 - mutable, and so rightly without a hash
    """A mutable set of byte positions."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        """How many separate ranges there are (not how many bytes: that is `total`)."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    def __repr__(self) -> str:
        return f"Ranges({list(self)!r})"

    @property
    def total(self) -> int:
        """How many bytes the set holds."""
        return sum(self._stops) - sum(self._starts)

    def add(self, start: int, stop: int) -> int:
        """Put `[start, stop)` into the set and return how many bytes of it are new."""
        if start < 0:
            raise ValueError(f"a range cannot start at {start}")
        if start >= stop:
            return 0
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        before = sum(self._stops[first:last]) - sum(self._starts[first:last])
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        return stop - start - before

    def clear(self) -> None:
        """Forget everything."""
        self._starts.clear()
        self._stops.clear()

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte of `[start, stop)` is held; an empty range always is."""
        return self.end_from(start) >= stop

    def end_from(self, start: int) -> int:
        """How far the held bytes reach without a gap from `start`; `start` where that byte is missing."""
        place = bisect_right(self._starts, start) - 1
        return max(start, self._stops[place]) if place >= 0 else start

    def next_from(self, start: int) -> int | None:
        """The first held byte at or after `start`; None where there is none."""
        place = bisect_right(self._stops, start)
        return max(start, self._starts[place]) if place < len(self._starts) else None

    def start_until(self, stop: int) -> int:
        """Where the gap around the missing byte `stop` begins: the end of the range before it, or 0."""
        place = bisect_right(self._starts, stop) - 1
        return min(stop, self._stops[place]) if place >= 0 else 0

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The missing ranges within `[start, stop)`, in order."""
        while (start := self.end_from(start)) < stop:
            held = self.next_from(start)
            end = stop if held is None else min(held, stop)
            yield start, end
            start = end
