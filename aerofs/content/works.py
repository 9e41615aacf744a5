"""The operations of a mount that are not settled, and waiting for what becomes of them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import trio

from aerofs.content.operations import State
from aerofs.content.work import Work


class Works:
    """Every operation from when it is submitted until it is settled; all on the trio thread."""

    def __init__(self) -> None:
        self._works: dict[int, Work] = {}
        self._change = trio.Event()

    def __iter__(self) -> Iterator[Work]:
        return iter(list(self._works.values()))

    def __len__(self) -> int:
        return len(self._works)

    def add(self, work: Work) -> None:
        """From now on it is one of them."""
        self._works[work.row.id] = work

    def remove(self, work: Work) -> None:
        """It is one of them no more; who waits hears of it with the next change that is told."""
        self._works.pop(work.row.id, None)

    def changed(self) -> None:
        """Something about one of them is not what it was: let everybody look who waits."""
        self._change.set()
        self._change = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that changes only when an operation does."""
        while not condition():
            await self._change.wait()

    async def resolved(self, work: Work) -> None:
        """Wait until an operation is settled, or refused for good."""
        await self.until(lambda: work.settled.is_set() or work.row.state is State.HELD)

    async def rested(self, work: Work) -> None:
        """Wait until no request of an operation is under way or about to be."""
        await self.until(lambda: not work.busy)

    async def drained(self) -> None:
        """Wait until nothing is left that will be performed by itself."""
        await self.until(lambda: not any(work.goes_on for work in self))

    @asynccontextmanager
    async def followed(self, latest: Callable[[], Work | None]) -> AsyncIterator[Work | None]:
        """The operation that a new row comes after; it is not settled while the block writes and submits that row.

        Else a crash in between would leave a row that waits for one that is gone, and what that one had brought up
        would stay for ever beside what this one brings.

        Args:
            latest: Tells the operation; asked again after one that was just being settled.
        """
        while (work := latest()) is not None and work.leaving and not work.settled.is_set():
            await self._change.wait()
        if work is None:
            yield None
            return
        work.followed += 1
        try:
            yield work
        finally:
            work.followed -= 1
            self.changed()

    def after(self, work: Work) -> Iterator[Work]:
        """Every operation that waits for this one, directly or not."""
        for later in self:
            if later.previous is work:
                yield later
                yield from self.after(later)
