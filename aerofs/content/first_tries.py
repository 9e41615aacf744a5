"""Waiting for what comes of an operation when it is tried for the first time: what close(2) and rename(2) answer."""

import trio

from aerofs.content.work import Work
from aerofs.errors import UnavailableError


class FirstTries:
    """Lets callers wait, until the process is to end."""

    def __init__(self) -> None:
        self._ending = False
        self._waiting: set[trio.CancelScope] = set()

    async def wait(self, work: Work, seconds: float, *, booked: bool = True) -> None:
        """Wait for the end of the first try, at most `seconds`.

        Args:
            work: A submitted operation.
            seconds: inf: however long it takes.
            booked: Also until the journal knows; else what the platform said is enough.

        Raises:
            AerofsError: What the try met. Nothing is raised when the time is over: the work goes on.
            UnavailableError: Nobody may wait any more, because the process ends; the row is in the journal.
        """
        over = work.tried if booked else work.performed
        with trio.move_on_after(0 if self._ending else seconds) as waiting:
            self._waiting.add(waiting)
            try:
                await over.wait()
            finally:
                self._waiting.discard(waiting)
        if work.told is not None:
            raise work.told
        if self._ending and not over.is_set():
            raise UnavailableError(f"{work.row.path}: the drive ends, the next mount goes on with it")

    def hurry(self) -> None:
        """The process is to end now: nobody waits for a first try any more."""
        self._ending = True
        for waiting in self._waiting:
            waiting.cancel()
