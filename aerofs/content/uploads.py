"""The operations of a mount, and what is asked of one after it was submitted: to bring up something else, or nothing.

Concurrency: everything here happens on the trio thread; `runner.py` drives each operation in a task of its own. What is
asked for counts once the journal has it; until then no turn of the operation begins.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from aerofs.content.blobs import Blobs
from aerofs.content.first_tries import FirstTries
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, Retire, State, revoked
from aerofs.content.runner import Runner
from aerofs.content.settling import Settling
from aerofs.content.steps import Performer
from aerofs.content.work import Work
from aerofs.content.works import Works
from aerofs.errors import AerofsError


class Uploads(Works):
    """The works of a mount, as those see them whose files they concern.

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
        super().__init__()
        self._journal = journal
        self._settling = Settling(journal, blobs, drafts)
        self._runner = Runner(self, performer, journal, self._settling, together=together)
        self._nursery = nursery
        self.first_tries = FirstTries()

    def __repr__(self) -> str:
        return f"<Uploads {len(self)} works in {len(self._runner.turns)} fields>"

    def submit(self, work: Work) -> None:
        """Settle a recorded operation in the background."""
        if not work.row.id:
            raise ValueError("record the row first")
        self.add(work)
        self._nursery.start_soon(self._runner.drive, work, name=f"put {work.row.path}")

    def retry(self, *, held: bool = False) -> None:
        """Try at once what waits for its next try (the platform is back), held ones only if asked."""
        for work in self:
            if held or work.row.state is State.QUEUED:
                work.wake.set()

    # -- another operation of the file ---------------------------------------------------------------------------

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

    async def spare(self, work: Work, retire: tuple[Retire, ...]) -> None:
        """Whoever inherits a refused operation is to delete no more than this."""
        before = work.row
        work.row = replace(work.row, retire=retire)
        try:
            await self._journal.step(work.row, durable=True)
        except AerofsError:
            work.row = replace(work.row, retire=before.retire)
            raise

    # -- it is not wanted any more -------------------------------------------------------------------------------

    async def withdraw(self, work: Work, *, retire: tuple[Retire, ...] = ()) -> None:
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

    async def restore(self, work: Work, before: Operation, *, retire: tuple[Retire, ...]) -> None:
        """Take back a `withdraw` that the platform refused: the operation is what it was, and goes on if it did.

        What it has inherited meanwhile it keeps.
        """
        besides = {old for old in retire if old not in before.retire}
        work.row = replace(
            work.row,
            cancelled=False,
            retire=tuple(old for old in work.row.retire if old not in besides),
            state=before.state,
            tries=before.tries,
            error=before.error,
            errno=before.errno,
        )
        if before.state is State.QUEUED:
            work.wake.set()
        await self._journal.step(work.row, durable=True)

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
            self.changed()
            raise
        self.given_up((work,), _nothing)

    # -- another file takes the name, or a person gives it up ----------------------------------------------------

    def spend(self, work: Work) -> None:
        """Another file took the name, and nothing was sent: no try begins before it is to `keep`, or `forgotten`."""
        work.spent = True
        self.changed()

    def keep(self, work: Work) -> None:
        """Take back a `spend`: it goes on."""
        work.spent = False
        self.changed()

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
        self.changed()

    def forgotten(self, work: Work) -> None:
        """The row of a work that rests went from the journal: that was its end."""
        work.dropped = True
        self.remove(work)
        self._settling.dispose(work)
        work.settled.set()
        work.was_tried()
        work.wake.set()
        self.changed()

    # -- writing what is asked -----------------------------------------------------------------------------------

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
            self.changed()
            yield
        finally:
            work.unwritten -= 1
            if previous is not None:
                previous.followed -= 1
            self.changed()


def _nothing(_row: Operation) -> None:
    """What is left to do of an operation that is forgotten."""


def _withdrawn(row: Operation, retire: tuple[Retire, ...]) -> Operation:
    besides = (old for old in retire if old not in row.retire)
    return replace(row, cancelled=True, state=State.QUEUED, retire=(*row.retire, *besides))
