"""Runs journalled operations until they are settled: in turns per field, with growing pauses after temporary failures.

Concurrency: everything here happens on the trio thread; one background task drives each operation. Operations that
touch the same field take turns (`turns.py`) in the order in which they came, and share it where they only add a file;
one that waits for its next try has left the line. An operation that follows another of the same file (`after`) starts
when that one is settled.
"""

import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path

import trio

from aerofs.content.blobs import Blobs
from aerofs.content.first_tries import FirstTries
from aerofs.content.journal import Journal
from aerofs.content.makers import makers_of_room
from aerofs.content.operations import Operation, Retire, State, inherit, revoked
from aerofs.content.settling import Settling
from aerofs.content.steps import Performer
from aerofs.content.turns import Turns
from aerofs.content.work import Work
from aerofs.errors import AerofsError, NoSpaceError, QuotaError, UnavailableError

log = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0
_TROUBLE = 3
"""Temporary failures without a success in between, after which not one file but the platform seems to be the cause."""


class Uploads:
    """The one runner of a mount.

    Attributes:
        first_tries: Where a caller waits for what comes of his operation.
    """

    def __init__(
        self,
        performer: Performer,
        journal: Journal,
        blobs: Blobs,
        drafts: Path,
        nursery: trio.Nursery,
        *,
        together: int = 1,
    ) -> None:
        """Wire the room; `together`: how many files may be added to one field at the same time."""
        self._performer = performer
        self._journal = journal
        self._settling = Settling(journal, blobs, drafts)
        self._nursery = nursery
        self._works: dict[int, Work] = {}
        self._turns = Turns(together=together)
        self._failures = 0
        self._change = trio.Event()
        self.first_tries = FirstTries()

    def __iter__(self) -> Iterator[Work]:
        return iter(list(self._works.values()))

    def __repr__(self) -> str:
        return f"<Uploads {len(self._works)} works in {len(self._turns)} fields>"

    def submit(self, work: Work) -> None:
        """Settle a recorded operation in the background."""
        if not work.row.id:
            raise ValueError("record the row first")
        self._works[work.row.id] = work
        self._nursery.start_soon(self._drive, work, name=f"put {work.row.path}")

    async def cancel(self, work: Work, *, retire: tuple[Retire, ...] = ()) -> None:
        """The file is to be gone: whatever the operation brought up, or may still bring up, is taken back.

        What it was to replace goes, and what its file was to replace besides (`retire`).
        Requests may be under way, and what a withdrawal makes of them is for good: it counts once it is written.
        """
        async with self._unbegun(work):
            await self._write_withdrawn(work, retire)
            work.row = _withdrawn(work.row, retire)
        work.wake.set()
        self._release_held(work)

    async def _write_withdrawn(self, work: Work, retire: tuple[Retire, ...]) -> None:
        """Write it until nothing else of the work was written meanwhile, perhaps over it."""
        written = None
        while work.row is not written:
            row = work.row
            try:
                # A step, not a record: the row of a work that is being settled right now must not rise again.
                await self._journal.step(_withdrawn(row, retire), durable=True)
            except AerofsError:
                if written is None:
                    raise
                return  # the journal may say so since the first time, and has to be right
            written = row

    def _release_held(self, work: Work) -> None:
        """What a withdrawn operation waits for is not wanted any more, either: one that is held would hold it up."""
        earlier = work.previous
        while earlier is not None:
            if earlier.row.state is State.HELD:
                self.supersede(earlier)
            earlier = earlier.previous

    async def resolved(self, work: Work) -> None:
        """Wait until an operation is settled, or refused for good."""
        while not work.settled.is_set() and work.row.state is not State.HELD:
            await self._change.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that changes only when an operation does."""
        while not condition():
            await self._change.wait()

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
            self._changed()

    async def rested(self, work: Work) -> None:
        """Wait until no request of an operation is under way or about to be."""
        while work.busy:
            await self._change.wait()

    async def restore(self, work: Work, before: Operation) -> None:
        """Take back a `cancel` that the platform refused: the operation is what it was, and goes on if it did."""
        work.row = replace(
            work.row,
            cancelled=False,
            retire=tuple(old for old in work.row.retire if old in before.retire),
            state=before.state,
            tries=before.tries,
            error=before.error,
            errno=before.errno,
        )
        if before.state is State.QUEUED:
            work.wake.set()
        await self._journal.step(work.row, durable=True)

    def after(self, work: Work) -> Iterator[Work]:
        """Every operation that waits for this one, directly or not."""
        for later in self:
            if later.previous is work:
                yield later
                yield from self.after(later)

    def supersede(self, work: Work) -> None:
        """A later operation of the same file is in the journal: this one brings nothing up any more.

        It has nothing left to do but to find out whether an earlier try was carried out.
        """
        work.row = replace(work.row, superseded=True)
        self.urge(work)

    def urge(self, work: Work) -> None:
        """Try an operation at once, held or not, and all that it waits for: who comes after it is to hear of it."""
        first: Work | None = work
        while first is not None:
            if first.row.state is State.HELD:
                first.row = replace(first.row, state=State.QUEUED)
            first.wake.set()
            first = first.previous

    async def reinstate(self, work: Work) -> None:
        """Take back a `supersede`: the later operation came to nothing."""
        if work.row.superseded:
            work.row = replace(work.row, superseded=False)
            try:
                await self._journal.step(work.row)
            except AerofsError:
                work.row = replace(work.row, superseded=True)
                raise

    def spend(self, work: Work) -> None:
        """Another file took the name, and nothing was sent: no try begins before it is to `keep`, or `forgotten`."""
        work.spent = True
        self._changed()

    def keep(self, work: Work) -> None:
        """Take back a `spend`: it goes on."""
        work.spent = False
        self._changed()

    async def write_given_up(
        self, chain: Sequence[Work], left: Callable[[Operation], Operation | None], *, rows: Iterable[int]
    ) -> None:
        """Write that operations of one file that rest are given up: all of them, or none. See `given_up`.

        Args:
            chain: They, oldest first.
            left: What there is left to do of one, if anything.
            rows: The numbers of other rows that go at this moment.
        """
        async with AsyncExitStack() as stack:
            for work in chain:
                await stack.enter_async_context(self._unbegun(work))
            written: list[Operation] = []
            while written != [work.row for work in chain]:
                first, written = not written, [work.row for work in chain]
                try:
                    await self._settling.given_up(written, left, rows)
                except AerofsError:
                    if first:
                        raise
                    return  # as where one is withdrawn

    def given_up(self, chain: Sequence[Work], left: Callable[[Operation], Operation | None]) -> None:
        """It is written; the newest first, so that no earlier one seems to go on."""
        for work in reversed(chain):
            row = left(work.row)
            if row is None:
                self.forgotten(work)
            else:
                # A withdrawal takes back what it brought up itself, nothing that an earlier one leaves standing.
                work.row, work.previous, work.unwatched = row, None, True
                work.wake.set()
        self._changed()

    def forgotten(self, work: Work) -> None:
        """The row of a work that rests went from the journal: that was its end."""
        work.dropped = True
        self._works.pop(work.row.id, None)
        self._settling.dispose(work)
        work.settled.set()
        work.was_tried()
        work.wake.set()
        self._changed()

    async def spare(self, work: Work, retire: tuple[Retire, ...]) -> None:
        """Whoever inherits a refused operation is to delete no more than this."""
        before = work.row
        work.row = replace(work.row, retire=retire)
        try:
            await self._journal.step(work.row, durable=True)
        except AerofsError:
            work.row = replace(work.row, retire=before.retire)
            raise

    async def drop(self, work: Work) -> None:
        """Forget an operation that rests, as if it had never been asked for; what it brought up stays.

        One that could not put back what it had deleted to make room is kept: it holds the only copy.

        Raises:
            AerofsError: The journal could not be written; nothing has happened.
        """
        await self.until(lambda: not (work.running or work.followed) or work.settled.is_set())
        if work.row.secured is not None or work.settled.is_set():
            return
        work.leaving = True
        try:
            await self.write_given_up((work,), _nothing, rows=())
        except BaseException:
            work.leaving = False
            self._changed()
            raise
        self.given_up((work,), _nothing)

    async def amend(
        self,
        work: Work,
        row: Operation,
        *,
        instead_of: Iterable[int] = (),
        also: Sequence[Operation] = (),
    ) -> None:
        """Give a work that is not busy another row (a retargeted save); one that was held is tried again.

        Args:
            work: It.
            row: What it is to do.
            instead_of: The numbers of rows that go when this is written.
            also: Rows that are written in the same moment.
        """
        row = replace(row, id=work.row.id)
        if row.state is State.HELD:
            row = replace(row, state=State.QUEUED, error="", errno=0)
        async with self._intended(work, row):
            await self._settling.anew(work, instead_of=instead_of, also=also)

    @asynccontextmanager
    async def _intended(self, work: Work, row: Operation) -> AsyncIterator[None]:
        """Give a work another row while the block writes it; where that fails, it is to do what it was to do."""
        before = work.row
        async with self._unbegun(work):
            # The row first: who goes on with it meanwhile is to go on with this one.
            work.row = row
            try:
                yield
            except AerofsError:
                work.row = revoked(work.row, before, row)
                self._settling.label(work.row)
                raise
        work.wake.set()

    @asynccontextmanager
    async def _unbegun(self, work: Work) -> AsyncIterator[None]:
        """No turn of a work begins, and what it comes after is not settled, before the block is through."""
        previous, work.unwritten = work.previous, work.unwritten + 1
        if previous is not None:
            previous.followed += 1
        try:
            self._changed()
            yield
        finally:
            work.unwritten -= 1
            if previous is not None:
                previous.followed -= 1
            self._changed()

    def retry(self, *, held: bool = False) -> None:
        """Try at once what waits for its next try (the platform is back), held ones only if asked."""
        for work in self:
            if held or work.row.state is State.QUEUED:
                work.wake.set()

    async def drained(self) -> None:
        """Wait until nothing is left that will be performed by itself."""
        while any(work.goes_on for work in self):
            await self._change.wait()

    # -- one work ------------------------------------------------------------------------------------------------

    async def _drive(self, work: Work) -> None:
        try:
            await self._after_previous(work)
            if work.row.state is State.HELD:
                await self._rest(work, None)  # from an earlier mount: until the user decides
            while not work.dropped and not await self._try(work):
                await self._rest(work, None if work.row.state is State.HELD else _pause(work.row.tries))
        except Exception:  # a mistake of ours must not end the mount; the row stays for the next one
            log.exception("%s: unexpected", work.row)
        finally:
            # A cancelled drive is the end of the process: the row stays for the next mount.
            self._works.pop(work.row.id, None)
            work.settled.set()
            work.was_tried()
            self._changed()

    async def _leave(self, work: Work) -> None:
        """From now on nothing comes after it any more."""
        while work.followed:
            await self._change.wait()
        work.leaving = True

    async def _after_previous(self, work: Work) -> None:
        previous = work.previous
        if previous is None:
            return
        while not previous.settled.is_set() and not work.dropped:
            await self._change.wait()
        if work.previous is previous and previous.settled.is_set():
            # It was dropped. (The journal knows.)
            work.row, work.previous = inherit(work.row, previous.row), None

    async def _try(self, work: Work) -> bool:
        """One try. True when the work is settled."""
        while await self._may_begin(work):
            settled = await self._try_once(work)
            if settled is not None:
                return settled
            await self._wait_for_room(work)
        return False

    async def _try_once(self, work: Work) -> bool | None:
        """The same; None where it is to be tried again at once.

        The field is full, and others are on their way that take something away from it; or what was refused is not
        wanted any more, because the file was removed meanwhile.
        """
        async with self._turn(work):
            if work.dropped:
                return False  # while it stood in line
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
                mistake = AerofsError(f"{work.row.path}: {type(error).__name__}: {error}")
                return await self._met(work, mistake, begun)
        return True

    async def _met(self, work: Work, error: AerofsError, begun: Operation) -> bool | None:
        """What an error makes of a try, as above; `begun`: the row with which that began."""
        if work.row.cancelled and not begun.cancelled and not error.temporary:
            return None
        if work.row.cancelled and work.unwatched and not error.temporary:
            await self._give_up(work, error)
            return True
        makers = makers_of_room(work, list(self)) if isinstance(error, QuotaError) else []
        if any(maker.error is None for maker in makers):
            return None
        met = UnavailableError(f"{error}, for now") if makers else error
        await self._failed(work, met, superseded=work.row.superseded and not begun.superseded)
        return False

    async def _wait_for_room(self, work: Work) -> None:
        # (One that met an error gives no reason to try before its own next try.)
        work.makers = [maker for maker in makers_of_room(work, list(self)) if maker.error is None]
        try:
            while not (work.dropped or work.row.cancelled) and all(
                maker.error is None and not maker.settled.is_set() for maker in work.makers
            ):
                await self._change.wait()
        finally:
            work.makers = []

    async def _give_up(self, work: Work, error: AerofsError) -> None:
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
        concerned = [work] if superseded else [work, *self.after(work)]
        await self._noted(work)
        for each in concerned:
            each.error = error
            each.was_tried(error)
        self._changed()

    def _succeeded(self) -> None:
        """After a time in which the platform had nothing but errors, nobody waits for his next try any longer."""
        if self._failures >= _TROUBLE:
            for work in self:
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
            await self._settling.take_out(work, self)
        except BaseException:
            work.leaving = False
            raise
        self._works.pop(work.row.id, None)
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
            async with self._turns.of(work.fields, adds=work.row.title if work.row.only_adds else None):
                await self._may_begin(work)
                work.running, work.wake = True, trio.Event()
                yield
        finally:
            work.running = work.busy = False
            self._changed()

    async def _may_begin(self, work: Work) -> bool:
        """Wait until what it is to do is written, and nobody is about to stand for it. False where it was dropped."""
        while (work.unwritten or work.spent) and not work.dropped:
            await self._change.wait()
        return not work.dropped

    def _changed(self) -> None:
        self._change.set()
        self._change = trio.Event()


def _nothing(_row: Operation) -> None:
    """What is left to do of an operation that is forgotten."""


def _withdrawn(row: Operation, retire: tuple[Retire, ...]) -> Operation:
    besides = (old for old in retire if old not in row.retire)
    return replace(row, cancelled=True, state=State.QUEUED, retire=(*row.retire, *besides))


def _pause(tries: int) -> float:
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries - 1, 20))
    return min(_LONGEST_PAUSE, pause * random.uniform(0.75, 1.25))  # noqa: S311  jitter, not a secret
