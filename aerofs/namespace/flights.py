"""Single flight: whoever asks for the same thing at the same time shares one answer.

The first to ask performs the work in its own task; there is no background task. Where the first is cancelled,
one of those who wait takes over. An error is shared, too, but as a copy for each: a traceback belongs to one
task.
"""

import copy
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from aerofs.errors import AerofsError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    landed: trio.Event = field(default_factory=trio.Event)
    answer: tuple[T] | None = None
    error: AerofsError | None = None


class Flights(Generic[T]):
    """The work under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __repr__(self) -> str:
        return f"<Flights: {len(self._flights)}>"

    async def share(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, or what it returns to somebody who began it before for the same key."""
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.answer is not None:
                return flight.answer[0]
            if flight.error is not None:
                raise copied(flight.error)
        flight = self._flights[key] = _Flight()
        try:
            answer = await work()
        except AerofsError as error:
            flight.error = error
            raise
        else:
            flight.answer = (answer,)
            return answer
        finally:
            del self._flights[key]
            flight.landed.set()


def copied(error: AerofsError) -> AerofsError:
    """Return the same error for another task to raise."""
    return copy.copy(error).with_traceback(None)
