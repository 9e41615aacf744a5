"""Carries out one operation: tries, with growing pauses after temporary failures, until it is settled.

Concurrency: one task drives each operation. Operations that touch the same field take turns (`turns.py`) in the order
in which they came, and share it where they only add a file; one that waits for its next try has left the line. An
operation that follows another of the same file (`after`) starts when that one is settled.
"""

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

import trio

from aerofs.content.journal import Journal
from aerofs.content.makers import holders_of_room, makers_of_room
from aerofs.content.operations import Operation, State
from aerofs.content.settling import Settling
from aerofs.content.steps import Performer
from aerofs.content.turns import Turns
from aerofs.content.work import Work
from aerofs.content.works import Works
from aerofs.errors import AerofsError, DoubtError, NoSpaceError, QuotaError, UnavailableError

log = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0
_TROUBLE = 3
"""Temporary failures without a success in between, after which not one file but the platform seems to be the cause."""


class Runner:
    """Performs the works of a mount.

    Attributes:
        turns: Whose turn it is in which field.
    """

    def __init__(
        self, works: Works, performer: Performer, journal: Journal, settling: Settling, *, together: int
    ) -> None:
        """Wire the room; `together`: how many files may be added to one field at the same time."""
        self._works = works
        self._performer = performer
        self._journal = journal
        self._settling = settling
        self._failures = 0
        self.turns = Turns(together=together)

    async def drive(self, work: Work) -> None:
        """Settle it, however long that takes. Whatever happens, who waits hears of it."""
        try:
            await self._after_previous(work)
            if work.row.state is State.HELD:
                await self._rest(work, None)  # from an earlier mount: until the user decides
            while not work.dropped and not await self._try(work):
                await self._rest(work, None if work.row.state is State.HELD else _pause(work.row.tries))
        except Exception as error:  # a mistake of ours must not end the mount; the row stays for the next one
            log.exception("%s: unexpected", work.row)
            work.row, work.error = replace(work.row, state=State.HELD), _mistake(work, error)
            work.was_tried(work.error)
            self._works.changed()
            # (It is not settled: who comes after it would be the second one to carry it out.)
            await self._works.until(lambda: work.dropped)
        finally:
            # A cancelled drive is the end of the process: the row stays for the next mount.
            self._works.remove(work)
            work.settled.set()
            work.was_tried()
            self._works.changed()

    async def _leave(self, work: Work) -> None:
        """From now on nothing comes after it any more."""
        await self._works.until(lambda: not work.followed)
        work.leaving = True

    async def _after_previous(self, work: Work) -> None:
        previous = work.previous
        if previous is None:
            return
        await self._works.until(lambda: previous.settled.is_set() or work.dropped)
        if work.previous is previous and previous.settled.is_set():
            # That one was dropped, else it would have told. (The journal knows.)
            work.inherits(previous)

    async def _try(self, work: Work) -> bool:
        """One try. True when the work is settled."""
        try:
            while await self._may_begin(work):
                settled = await self._try_once(work)
                if settled is not None:
                    return settled
                await self._wait_for_room(work)
        except AerofsError as error:  # what was to be made of an error could not be written
            await self._failed(work, error, superseded=False)
        except Exception as error:  # a mistake of ours in that
            log.exception("%s: unexpected", work.row)
            await self._failed(work, _mistake(work, error), superseded=False)
        return False

    async def _try_once(self, work: Work) -> bool | None:
        """The same; None where it is to be tried again at once.

        The field is full, and others are on their way that take something away from it, or have made room there for
        themselves; or what was refused is not wanted any more, because the file was removed meanwhile.
        """
        async with self._turn(work):
            if work.dropped:
                return False  # while it stood in line
            if self._room_is_kept(work):
                return None
            begun = work.row
            try:
                await self._performer.perform(work)
                work.performed.set()
                self._succeeded()
                await self._settle(work)
            except AerofsError as error:
                return await self._met(work, error, begun)
            except Exception as error:  # a mistake of ours must not lose a save, nor end the mount
                log.exception("%s: unexpected", work.row)
                return await self._met(work, _mistake(work, error), begun)
        return True

    async def _met(self, work: Work, error: AerofsError, begun: Operation) -> bool | None:
        """What an error makes of a try, as above; `begun`: the row with which that began."""
        if work.row.cancelled and not begun.cancelled and not error.temporary:
            return None
        if work.row.cancelled and work.unwatched and not error.temporary:
            await self._abandon(work, error)
            return True
        makers = makers_of_room(work, list(self._works)) if isinstance(error, QuotaError) else []
        if any(maker.error is None for maker in makers):
            return None
        if not (makers or error.temporary) and await self._went_elsewhere(work, error):
            return None
        met = UnavailableError(f"{error}, for now") if makers else error
        await self._failed(work, met, superseded=work.row.superseded and not begun.superseded)
        return False

    async def _went_elsewhere(self, work: Work, error: AerofsError) -> bool:
        """Whether what is refused where it was is not wanted there any more: its file was moved on, or removed.

        Then nothing of it is brought up there, and whoever waits for it has its bytes.
        """

        def later() -> list[Work]:
            return [each for each in self._works if each.previous is work and each.row.bare]

        await self._works.until(lambda: not any(each.unwritten for each in later()))
        row = work.row
        if row.added is not None or row.superseded or work.damage is not None or not later():
            return False
        wanted = [each for each in later() if not each.row.cancelled]
        if wanted and isinstance(error, DoubtError):
            return False  # a person has to look first
        # What is taken back is a save as it was, if that was to replace nothing but the version that was opened.
        simple = row.saves and len(row.retire) <= 1
        if not simple and any(each.revocable for each in wanted):
            return False
        log.info("%s: %s; was moved on meanwhile", row, error)
        work.row = replace(row, superseded=True)
        work.was_tried(error)
        return True

    def _room_is_kept(self, work: Work) -> bool:
        """For others than this one, which made it."""
        return bool(holders_of_room(work, list(self._works)))

    async def _wait_for_room(self, work: Work) -> None:
        if self._room_is_kept(work):
            await self._works.until(lambda: work.dropped or not self._room_is_kept(work))
            return
        # (One that met an error gives no reason to try before its own next try.)
        work.makers = [maker for maker in makers_of_room(work, list(self._works)) if maker.error is None]
        try:
            await self._works.until(
                lambda: (
                    work.dropped
                    or work.row.cancelled
                    or work.row.superseded
                    or any(maker.error is not None or maker.settled.is_set() for maker in work.makers)
                )
            )
        finally:
            work.makers = []

    async def _abandon(self, work: Work, error: AerofsError) -> None:
        """A file that was removed here may not go: it is there, and is to be seen again."""
        log.info("%s: was not removed: %s", work.row, error)
        self._performer.abandon(work)
        await self._settle(work)

    async def _failed(self, work: Work, error: AerofsError, *, superseded: bool) -> None:
        """Book a failure; `superseded`: meanwhile, so that there is another try at once, of what it still has to do."""
        # A full local disk gets room again, without the user's word on this very file.
        temporary = error.temporary or isinstance(error, NoSpaceError)
        state = State.QUEUED if temporary else State.HELD
        work.row = replace(
            work.row, state=state, tries=work.row.tries + 1, error=str(error), errno=error.errno
        )
        work.error = error
        if not (temporary or superseded):
            work.wake = trio.Event()  # who woke it meanwhile wanted this very try
        self._failures += temporary
        log.info("%s: %s; %s", work.row.path, error, "will be tried again" if temporary else "held")
        # (Nor does it concern one that comes while this is noted.)
        concerned = [work] if superseded else [work, *self._works.after(work)]
        await self._noted(work)
        for each in concerned:
            each.error = error
            each.was_tried(error)
        self._works.changed()

    def _succeeded(self) -> None:
        """After a time in which the platform had nothing but errors, nobody waits for his next try any longer."""
        if self._failures >= _TROUBLE:
            for work in self._works:
                if work.next_try is not None:
                    work.wake.set()
        self._failures = 0

    async def _noted(self, work: Work) -> None:
        try:
            await self._journal.step(work.row)
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", work.row, error)

    async def _settle(self, work: Work) -> None:
        await self._leave(work)
        try:
            await self._settling.take_out(work, self._works)
        except BaseException:
            work.leaving = False
            raise
        self._works.remove(work)
        self._settling.dispose(work)

    async def _rest(self, work: Work, seconds: float | None) -> None:
        """Wait until woken, or for `seconds`."""
        # A superseded or cancelled work has no reason to wait: somebody waits for it.
        if not work.dropped:
            work.next_try = None if seconds is None else trio.current_time() + seconds
            with trio.move_on_after(inf if seconds is None else seconds):
                await work.wake.wait()
        work.wake, work.next_try = trio.Event(), None
        if work.row.state is State.HELD and not work.dropped:
            work.row = replace(work.row, state=State.QUEUED)
            await self._noted(work)

    # -- turns ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, work: Work) -> AsyncIterator[None]:
        work.busy, work.error, work.next_try = True, None, None
        # The row of a busy work keeps its place and loses retired fields only after its turn has come.
        try:
            async with self.turns.of(work.fields, adds=work.row.title if work.row.only_adds else None):
                await self._may_begin(work)
                work.running, work.wake = True, trio.Event()
                yield
        finally:
            work.running = work.busy = False
            self._works.changed()

    async def _may_begin(self, work: Work) -> bool:
        """Wait until what it is to do is written, and nobody is about to stand for it. False where it was dropped."""
        await self._works.until(lambda: work.dropped or not (work.unwritten or work.spent))
        return not work.dropped


def _mistake(work: Work, error: Exception) -> AerofsError:
    return AerofsError(f"{work.row.path}: {type(error).__name__}: {error}")


def _pause(tries: int) -> float:
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries - 1, 20))
    return min(_LONGEST_PAUSE, pause * random.uniform(0.75, 1.25))  # noqa: S311  jitter, not a secret
