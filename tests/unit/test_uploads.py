"""The runner of operations: order, pauses, supersession, withdrawal, and steps that make mistakes."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Never

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.content.operations import Operation, Retire, Role, Secured, State
from aerofs.content.puts import Put
from aerofs.content.runner import Runner
from aerofs.content.steps import Performer
from aerofs.content.store import Store
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.errors import AerofsError, DeniedError, NoSpaceError, QuotaError, UnavailableError
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath

AWAY = UnavailableError("away")
DENIED = DeniedError("not you")
FULL = QuotaError("no room")
TOGETHER = 3


def field(path: str) -> FieldRef:
    return FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath(path))


def save(title: str = "a", place: str = "scan") -> Operation:
    return Operation(place=field(place), path=f"d/1/{place}/{title}", file_name=title, title=title, size=0)


def overwrite(title: str, place: str = "scan") -> Operation:
    base = Retire(field(place), AttachmentId(f"base of {title}"), title, Role.BASE)
    return replace(save(title, place), retire=(base,))


async def forever(_put: Put) -> None:
    await trio.sleep_forever()


async def long(_put: Put) -> None:
    await trio.sleep(100)


class Scripted(Performer):
    """Performs by word of the test; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.answers: dict[str, list[Exception]] = {}
        self.during: Callable[[Put], Awaitable[object]] | None = None

    async def perform(self, put: Put) -> None:
        self.asked.append((put.row.title, trio.current_time()))
        if self.during is not None:
            await self.during(put)
        answers = self.answers.get(put.row.title)
        if answers:
            raise answers.pop(0)
        if put.row.cancelled:
            put.row = replace(put.row, retire=())
        elif not put.row.superseded:
            added = Attachment(AttachmentId(f"id of {put.row.title}"), put.row.title, put.row.size)
            put.row = replace(put.row, added=added, retire=())

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.asked]

    @property
    def pauses(self) -> list[float]:
        times = [time for _, time in self.asked]
        return [later - earlier for earlier, later in pairwise(times)]


class Room:
    """A runner with a real journal and scripted steps."""

    def __init__(self, store: Store, nursery: trio.Nursery) -> None:
        self.store = store
        self.steps = Scripted()
        self.uploads = Uploads(
            self.steps, store.journal, store.blobs, store.drafts, nursery, together=TOGETHER
        )

    async def submit(self, row: Operation, *, previous: Work | None = None) -> Work:
        if previous is not None:
            row = replace(row, after=previous.row.id)
        work = Work(await self.store.journal.record(row), previous=previous)
        self.uploads.submit(work)
        return work

    def draft(self, name: str) -> Path:
        path = self.store.drafts / name
        path.write_bytes(b"bytes")
        return path


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Room]:
    with Store(directory) as store:
        async with trio.open_nursery() as nursery:
            yield Room(store, nursery)
            nursery.cancel_scope.cancel()


@pytest.fixture
def clock() -> MockClock:
    """Jumps where everybody sleeps; the threshold leaves time to the journal's thread."""
    return MockClock(autojump_threshold=0.02)


@pytest.fixture
def standing() -> MockClock:
    """Stands still: who waits for a time waits for ever. Nor does it jump while the journal's thread is slow."""
    return MockClock()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what takes no time but the computer's, also where the clock stands."""
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "it never came to that"
        await wait_all_tasks_blocked(0.01)


async def test_what_was_performed_is_settled_and_leaves_the_journal(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        work = await room.submit(save())
        await work.settled.wait()
        assert work.row.added is not None
        assert room.store.journal.load() == []
        assert list(room.uploads) == []


async def test_a_row_that_was_not_recorded_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        with pytest.raises(ValueError, match="record"):
            room.uploads.submit(Work(save()))


async def test_operations_of_one_field_take_turns_in_their_order(tmp_path: Path) -> None:
    running = 0

    async def alone(_put: Put) -> None:
        nonlocal running
        assert not running
        running += 1
        await trio.testing.wait_all_tasks_blocked()
        running -= 1

    async with opened(tmp_path) as room:
        room.steps.during = alone
        works = [await room.submit(overwrite(title)) for title in "abcde"]
        await works[-1].settled.wait()
        assert room.steps.titles == list("abcde")


async def test_other_fields_do_not_wait(tmp_path: Path) -> None:
    release = trio.Event()

    async def stuck(put: Put) -> None:
        if put.row.title == "stuck":
            await release.wait()

    async with opened(tmp_path) as room:
        room.steps.during = stuck
        held = await room.submit(save("stuck", "one"))
        other = await room.submit(save("other", "two"))
        await other.settled.wait()
        assert not held.settled.is_set()
        release.set()
        await held.settled.wait()


async def test_a_move_waits_for_both_of_its_fields_and_nobody_is_locked_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        there = replace(save("there", "two"), copy_of=(field("one"), AttachmentId("x")))
        back = replace(save("back", "one"), copy_of=(field("two"), AttachmentId("y")))
        works = [await room.submit(row) for row in (save("a", "one"), there, back, save("b", "two"))]
        for work in works:
            await work.settled.wait()
        assert sorted(room.steps.titles) == ["a", "b", "back", "there"]
        assert len(room.uploads._runner.turns) == 0


class Watched:
    """Lets puts wait until they are let go, and knows who is under way."""

    def __init__(self, room: Room) -> None:
        self.under_way: list[str] = []
        self._leave: dict[str, trio.Event] = {}
        room.steps.during = self._enter

    async def _enter(self, put: Put) -> None:
        name = put.row.path
        self.under_way.append(name)
        self._leave[name] = trio.Event()
        await self._leave[name].wait()
        self.under_way.remove(name)

    async def see(self, *titles: str) -> None:
        """Wait until these have a turn, and nobody else gets one when nothing moves any more."""
        await until(lambda: self._titles() == sorted(titles))
        await wait_all_tasks_blocked(0.02)
        assert self._titles() == sorted(titles)

    def let(self, *titles: str) -> None:
        """Let these go."""
        for path in list(self.under_way):
            if path.rpartition("/")[2] in titles:
                self._leave[path].set()

    def _titles(self) -> list[str]:
        return sorted(path.rpartition("/")[2] for path in self.under_way)


async def test_additions_share_their_field_as_many_as_may(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        watched = Watched(room)
        works = [await room.submit(save(title)) for title in "abcde"]
        await watched.see("a", "b", "c")
        watched.let("b")
        await watched.see("a", "c", "d")
        watched.let("a", "c")
        await watched.see("d", "e")
        watched.let("d", "e")
        for work in works:
            await work.settled.wait()
        assert room.store.journal.load() == []
        assert len(room.uploads._runner.turns) == 0


async def test_additions_of_one_title_do_not_meet_and_hold_nobody_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        watched = Watched(room)
        composed, decomposed = "\u00e9", "e\u0301"
        for path, title in (("1", composed), ("2", decomposed), ("3", composed), ("4", "other")):
            await room.submit(replace(save(title), path=path))
        await watched.see("1", "4")
        watched.let("1")
        await watched.see("2", "4")
        watched.let("4", "2")
        await watched.see("3")


@pytest.mark.parametrize(
    "row",
    [
        overwrite("x"),
        replace(save("x"), maximum=9),
        replace(save("x"), copy_of=(field("scan"), AttachmentId("y"))),
        replace(save("x"), copy_of=(field("other"), AttachmentId("y"))),
        replace(save("x"), secured=Secured("file", AttachmentId("y"), "x")),
    ],
    ids=["overwrite", "limited", "rename", "move", "put back"],
)
async def test_whatever_does_more_has_its_fields_for_itself(tmp_path: Path, row: Operation) -> None:
    async with opened(tmp_path) as room:
        watched = Watched(room)
        for each in (save("a"), save("b"), row, save("c"), save("d")):
            await room.submit(each)
        await watched.see("a", "b")
        watched.let("a")
        await watched.see("b")
        watched.let("b")
        await watched.see("x")
        watched.let("x")
        await watched.see("c", "d")


async def test_who_waits_for_two_fields_is_not_passed_in_either(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        watched = Watched(room)
        move = replace(save("x", "two"), copy_of=(field("one"), AttachmentId("y")))
        for row in (save("a", "one"), save("b", "two"), move, save("c", "one"), save("d", "two")):
            await room.submit(row)
        await watched.see("a", "b")
        watched.let("a")
        await watched.see("b")
        watched.let("b")
        await watched.see("x")
        watched.let("x")
        await watched.see("c", "d")


async def test_what_is_withdrawn_or_superseded_while_it_shares_its_field_disturbs_nobody(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as room:
        watched = Watched(room)
        a, b, c, d = [await room.submit(save(title)) for title in "abcd"]
        await watched.see("a", "b", "c")
        await room.uploads.withdraw(a)
        await room.uploads.withdraw(d)
        later = await room.submit(replace(save("b"), path="b again"), previous=b)
        room.uploads.supersede(b)
        await watched.see("a", "b", "c")
        watched.let("a", "b")
        await watched.see("b again", "c", "d")
        watched.let("c", "d", "b again")
        for work in (a, b, c, d, later):
            await work.settled.wait()
        added = [work.row.added is not None for work in (a, b, c, d, later)]
        assert added == [False, False, True, False, True]
        assert room.store.journal.load() == []


async def test_one_that_failed_comes_back_at_the_end_of_the_line(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY]
        watched = Watched(room)
        for title in "abc":
            await room.submit(save(title))
        alone = await room.submit(overwrite("x"))
        await watched.see("a", "b", "c")
        watched.let("a", "b")
        await watched.see("c")
        room.uploads.retry()
        await watched.see("c")
        watched.let("c")
        await watched.see("x")
        watched.let("x")
        await watched.see("a")
        assert alone.settled.is_set()


async def test_no_more_than_may_go_at_once_are_tried_when_the_platform_is_back(tmp_path: Path) -> None:
    most = running = 0
    met = trio.Event()

    async def count(_put: Put) -> None:
        """As many as may go at once meet each other; further ones have the time to join them."""
        nonlocal most, running
        running += 1
        most = max(most, running)
        if running == TOGETHER and not met.is_set():
            await wait_all_tasks_blocked(0.05)
            met.set()
        await met.wait()
        running -= 1

    async with opened(tmp_path) as room:
        titles = [f"{number}" for number in range(50)]
        room.steps.answers = {title: [AWAY] for title in titles}
        works = [await room.submit(save(title)) for title in titles]
        for work in works:
            await work.tried.wait()
        room.steps.during = count
        room.uploads.retry()
        for work in works:
            await work.settled.wait()
        assert most == TOGETHER


async def test_one_that_looks_for_its_own_does_not_take_what_another_of_its_title_brought_up(
    tmp_path: Path, standing: MockClock
) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["e\u0301"] = [AWAY]
        looking = await room.submit(save("e\u0301"))
        await looking.tried.wait()
        other = await room.submit(save("\u00e9"))
        await other.settled.wait()
        elsewhere = await room.submit(save("\u00e9", "copies"))
        await elsewhere.settled.wait()
        (row,) = room.store.journal.load()
        assert row.id == looking.row.id
        assert row.known == looking.row.known == {AttachmentId("id of \u00e9")}
        await until(lambda: looking.next_try)
        standing.jump(2)
        await looking.settled.wait()


async def test_pauses_grow_while_the_platform_is_away(tmp_path: Path, clock: MockClock) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY] * 20
        work = await room.submit(save())
        await work.settled.wait()
        pauses = room.steps.pauses
        assert len(pauses) == 20
        for count, pause in enumerate(pauses):
            expected = min(300.0, 2.0**count)
            assert 0.75 * expected <= round(pause, 6) <= min(300.0, 1.25 * expected)


async def test_one_that_waits_for_its_next_try_lets_others_of_its_field_pass(
    tmp_path: Path, clock: MockClock
) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY] * 3
        first = await room.submit(save("a"))
        await first.tried.wait()
        second = await room.submit(save("b"))
        await second.settled.wait()
        assert not first.settled.is_set()
        await first.settled.wait()


async def test_retry_does_not_wait_for_the_pause(tmp_path: Path, standing: MockClock) -> None:
    del standing
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY]
        work = await room.submit(save())
        await work.tried.wait()
        await wait_all_tasks_blocked(0.02)
        assert work.next_try is not None
        tried = trio.current_time()
        room.uploads.retry()
        await work.settled.wait()
        assert trio.current_time() == tried  # the clock stands: no pause can have been waited for


async def test_the_first_that_arrives_after_a_time_of_errors_brings_the_others(
    tmp_path: Path, standing: MockClock
) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers.update(a=[AWAY] * 6, b=[AWAY] * 6)
        waiting = [await room.submit(save("a")), await room.submit(save("b", "copies"))]

        def resting(tries: int) -> bool:
            return all(work.next_try and work.row.tries == tries for work in waiting)

        await until(lambda: resting(1))
        for tries in range(2, 7):
            standing.jump(max(work.next_try or 0 for work in waiting) - trio.current_time())
            await until(partial(resting, tries))
        assert min(work.next_try or 0 for work in waiting) > trio.current_time() + 10
        before = trio.current_time()
        await (await room.submit(save("c"))).settled.wait()
        await until(lambda: all(work.settled.is_set() for work in waiting))
        assert trio.current_time() == before  # the clock stands: no pause can have been waited for


@pytest.mark.parametrize("failures", [2, 3])
async def test_that_takes_three_failures_in_a_row(
    tmp_path: Path,
    standing: MockClock,  # noqa: ARG001 -- no pause is over
    failures: int,
) -> None:
    async with opened(tmp_path) as room:
        titles = ["a", "b", "c"][:failures]
        room.steps.answers.update({title: [AWAY] for title in titles})
        waiting = [await room.submit(save(title)) for title in titles]
        await until(lambda: all(work.next_try for work in waiting))
        await (await room.submit(save("z", "copies"))).settled.wait()
        if failures == 3:
            await until(lambda: all(work.settled.is_set() for work in waiting))
        else:
            await wait_all_tasks_blocked(0.05)
            assert not any(work.settled.is_set() for work in waiting)


async def test_one_that_fails_while_others_arrive_keeps_its_pauses(tmp_path: Path, clock: MockClock) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY] * 4
        work = await room.submit(save("a"))
        number = 0
        while not work.settled.is_set():
            await (await room.submit(save(f"b{number}", "copies"))).settled.wait()
            await trio.sleep(0.5)
            number += 1
        tried = [time for title, time in room.steps.asked if title == "a"]
        pauses = [later - earlier for earlier, later in pairwise(tried)]
        assert all(earlier < later for earlier, later in pairwise(pauses)), pauses


async def test_one_that_was_refused_is_held_until_it_is_asked_for(tmp_path: Path, clock: MockClock) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [DENIED]
        work = await room.submit(save())
        await work.tried.wait()
        await trio.sleep(10_000)
        room.uploads.retry()
        await trio.sleep(10_000)
        assert work.row.state is State.HELD
        (row,) = room.store.journal.load()
        assert (row.state, row.error, row.tries) == (State.HELD, "not you", 1)
        await room.uploads.drained()  # it is not waited for
        room.uploads.retry(held=True)
        await work.settled.wait()
        assert room.steps.titles == ["a", "a"]


async def test_one_that_an_earlier_mount_held_is_not_tried_by_this_one(
    tmp_path: Path, clock: MockClock
) -> None:
    del clock
    async with opened(tmp_path) as room:
        work = await room.submit(replace(save(), state=State.HELD))
        await trio.sleep(1000)
        assert room.steps.asked == []
        room.uploads.retry(held=True)
        await work.settled.wait()


async def test_a_full_local_disk_is_tried_again_by_itself(tmp_path: Path, clock: MockClock) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [NoSpaceError("full")] * 3
        work = await room.submit(save())
        await work.settled.wait()
        assert work.row.added is not None


@pytest.mark.complains
async def test_a_mistake_in_a_step_holds_the_row_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [ZeroDivisionError("oops")]
        work = await room.submit(save())
        with pytest.raises(AerofsError, match="oops"):
            await room.uploads.first_tries.wait(work, inf)
        assert work.row.state is State.HELD
        other = await room.submit(save("b"))
        await other.settled.wait()
        assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]
        room.uploads.retry(held=True)
        await work.settled.wait()


@pytest.mark.complains
async def test_a_mistake_in_what_is_made_of_a_refusal_settles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(*_given: object) -> Never:
        raise ZeroDivisionError("oops")

    async with opened(tmp_path) as room:
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "_went_elsewhere", mistaken)
            room.steps.answers["a"] = [DENIED]
            first = await room.submit(save("a"))
            second = await room.submit(save("b"), previous=first)
            with pytest.raises(AerofsError, match="oops"):
                await room.uploads.first_tries.wait(first, inf)
        assert first.row.state is State.HELD
        assert [row.id for row in room.store.journal.load()] == [first.row.id, second.row.id]
        await wait_all_tasks_blocked(0.02)
        assert room.steps.titles == ["a"]
        room.uploads.retry(held=True)
        await second.settled.wait()
        assert room.store.journal.load() == []


@pytest.mark.complains
async def test_a_mistake_between_two_tries_holds_what_it_met_until_the_next_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(*_given: object) -> Never:
        raise ZeroDivisionError("oops")

    async with opened(tmp_path) as room:
        monkeypatch.setattr(Runner, "_rest", mistaken)
        room.steps.answers["a"] = [AWAY]
        first = await room.submit(save("a"))
        second = await room.submit(save("b"), previous=first)
        await room.uploads.resolved(first)
        await wait_all_tasks_blocked(0.02)
        assert not first.settled.is_set()
        assert first.row.state is State.HELD
        assert room.steps.titles == ["a"]
        await room.uploads.drop(first)
        await second.settled.wait()
        assert room.store.journal.load() == []


# -- waiting ---------------------------------------------------------------------------------------------------------


async def test_waiting_no_time_returns_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.during = forever
        work = await room.submit(save())
        await room.uploads.first_tries.wait(work, 0)
        assert not work.tried.is_set()


async def test_waiting_ends_with_its_time_and_the_work_goes_on(tmp_path: Path, clock: MockClock) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.during = long
        work = await room.submit(save())
        started = trio.current_time()
        await room.uploads.first_tries.wait(work, 60)
        assert 60 <= trio.current_time() - started < 61
        await work.settled.wait()
        assert work.row.added is not None


async def test_who_closes_a_file_does_not_wait_for_our_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as room:
        remove, go_on = room.store.journal.remove, trio.Event()

        async def slow(row: int, **more: Any) -> None:
            await go_on.wait()
            await remove(row, **more)

        monkeypatch.setattr(room.store.journal, "remove", slow)
        work = await room.submit(save())
        with trio.fail_after(20):
            await room.uploads.first_tries.wait(work, inf, booked=False)
        assert work.row.added is not None
        assert not work.tried.is_set()
        go_on.set()
        await room.uploads.first_tries.wait(work, inf)
        assert room.store.journal.load() == []


async def test_waiting_raises_what_the_first_try_met(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY]
        work = await room.submit(save())
        with pytest.raises(UnavailableError):
            await room.uploads.first_tries.wait(work, inf)


async def test_who_waits_behind_a_failure_hears_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY] * 2
        first = await room.submit(save("a"))
        second = await room.submit(save("b"), previous=first)
        third = await room.submit(save("c"), previous=second)
        for work in (first, second, third):
            with pytest.raises(UnavailableError), trio.fail_after(5):
                await room.uploads.first_tries.wait(work, inf)


# -- one after the other ---------------------------------------------------------------------------------------------


async def test_a_superseded_save_brings_nothing_up_and_leaves_its_base_to_the_next(
    tmp_path: Path, clock: MockClock
) -> None:
    del clock
    base = Retire(field("scan"), AttachmentId("base"), "a", Role.BASE)
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY] * 9  # the clock may jump while the journal is written
        first = await room.submit(replace(save("a"), retire=(base,)))
        await first.tried.wait()
        seen: list[tuple[Retire, ...]] = []

        async def look(put: Put) -> None:
            seen.append(put.row.retire)

        room.steps.during = look
        second = await room.submit(save("b"), previous=first)
        room.uploads.supersede(first)
        await second.settled.wait()
        assert first.row.added is None
        assert seen[-1] == (base,)


async def test_a_chain_of_superseded_saves_ends_in_one_upload(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["0"] = [AWAY]
        previous = await room.submit(save("0"))
        await previous.tried.wait()
        works = [previous]
        for count in range(1, 5):
            work = await room.submit(save(f"{count}"), previous=works[-1])
            room.uploads.supersede(works[-1])
            works.append(work)
        await works[-1].settled.wait()
        assert [work.row.added is not None for work in works] == [False] * 4 + [True]
        assert room.store.journal.load() == []


async def test_one_recorded_while_the_one_before_is_settled_inherits_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        first = await room.submit(save("a"))
        row = await room.store.journal.record(replace(save("b"), after=first.row.id))
        await first.settled.wait()
        seen: list[tuple[str, ...]] = []

        async def look(put: Put) -> None:
            seen.append(tuple(old.attachment for old in put.row.retire))

        room.steps.during = look
        second = Work(row, previous=first)
        room.uploads.submit(second)
        await second.settled.wait()
        assert seen == [("id of a",)]


# -- withdrawing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AWAY, DENIED])
async def test_a_cancelled_operation_that_rests_is_withdrawn_at_once(
    tmp_path: Path, error: AerofsError
) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [error]
        work = await room.submit(save())
        await work.tried.wait()
        await room.uploads.withdraw(work)
        with trio.fail_after(2):
            await work.settled.wait()
        assert work.row.added is None
        assert room.store.journal.load() == []


async def test_a_cancellation_during_a_request_is_in_the_journal(tmp_path: Path) -> None:
    go_on = trio.Event()
    async with opened(tmp_path) as room:
        room.steps.during = lambda _put: go_on.wait()
        work = await room.submit(save())
        await wait_all_tasks_blocked(0.02)
        await room.uploads.withdraw(work)
        (row,) = room.store.journal.load()
        assert row.cancelled
        go_on.set()
        await work.settled.wait()
        assert room.store.journal.load() == []


async def test_a_cancellation_at_the_very_end_does_not_bring_the_row_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        work = await room.submit(save())
        await work.settled.wait()
        await room.uploads.withdraw(work)
        assert room.store.journal.load() == []


async def test_a_dropped_operation_is_forgotten_with_its_bytes(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        path = room.draft("x.draft")
        room.steps.answers["a"] = [DENIED]
        work = await room.submit(replace(save(), content=path.name))
        await work.tried.wait()
        await room.uploads.drop(work)
        assert room.store.journal.load() == []
        assert not path.exists()


async def test_an_amended_operation_is_performed_as_it_is_now(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [DENIED]
        work = await room.submit(save("a"))
        await work.tried.wait()
        await wait_all_tasks_blocked(0.02)
        await room.uploads.amend(work, replace(work.row, title="b"))
        await work.settled.wait()
        assert room.steps.titles == ["a", "b"]


# -- what becomes of the bytes ---------------------------------------------------------------------------------------


async def test_what_was_brought_up_becomes_the_blob(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        path = room.draft("x.draft")
        work = await room.submit(replace(save(), content=path.name, size=5))
        await work.settled.wait()
        blob = room.store.blobs.get(AttachmentId("id of a"))
        assert blob is not None
        assert blob.pread(0, 5) == b"bytes"
        assert not path.exists()


async def test_what_the_platform_resizes_does_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        path = room.draft("x.draft")
        work = await room.submit(replace(save(), content=path.name, size=5, resizes=True))
        await work.settled.wait()
        assert room.store.blobs.get(AttachmentId("id of a")) is None
        assert not path.exists()


async def test_what_its_file_still_needs_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        path = room.draft("x.draft")
        work = Work(await room.store.journal.record(replace(save(), content=path.name, size=5)))
        work.takes_content = lambda _work: True
        room.uploads.submit(work)
        await work.settled.wait()
        assert path.exists()


@pytest.mark.complains
async def test_a_mistake_of_its_file_does_not_hold_what_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        path = room.draft("x.draft")
        work = Work(await room.store.journal.record(replace(save(), content=path.name, size=5)))
        work.takes_content = lambda _work: 1 // 0 > 0
        room.uploads.submit(work)
        await work.settled.wait()
        assert work.row.state is State.QUEUED
        assert room.store.journal.load() == []
        assert path.exists()


async def test_a_journal_that_fails_at_the_end_is_asked_again(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del clock
    async with opened(tmp_path) as room:
        remove, refusals = room.store.journal.remove, [NoSpaceError("full")]

        async def full(
            row: int, *, successors: Iterable[Operation] = (), settled: Operation | None = None
        ) -> None:
            if refusals:
                raise refusals.pop()
            await remove(row, successors=successors, settled=settled)

        monkeypatch.setattr(room.store.journal, "remove", full)
        first = await room.submit(save("a"))
        second = await room.submit(save("b"), previous=first)
        await first.settled.wait()
        await second.settled.wait()
        assert room.store.journal.load() == []


async def test_the_end_of_the_process_leaves_every_row(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        room.steps.during = forever
        rows = [(await room.submit(save(title))).row for title in "abc"]
    async with opened(tmp_path) as room:
        assert room.store.journal.load() == rows


async def test_drained_waits_for_what_will_be_performed(tmp_path: Path, clock: MockClock) -> None:
    del clock
    async with opened(tmp_path) as room:
        room.steps.answers["a"] = [AWAY] * 4
        works = [await room.submit(save(title)) for title in "abc"]
        await room.uploads.drained()
        assert all(work.settled.is_set() for work in works)


# -- a field without room ----------------------------------------------------------------------------------------------


async def test_two_that_could_make_room_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        both = trio.Event()

        async def in_line(_put: Put) -> None:
            await both.wait()

        room.steps.during = in_line
        room.steps.answers = {"a": [FULL] * 9, "b": [FULL] * 9}
        works = [await room.submit(overwrite(title)) for title in "ab"]
        both.set()
        with trio.fail_after(5):
            await room.uploads.drained()
        assert [work.row.state for work in works] == [State.HELD, State.HELD]
        assert room.steps.titles == ["a", "b", "a"]


async def test_one_that_waits_for_room_waits_for_one_that_waits_for_room_elsewhere(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        all_in_line, last = trio.Event(), trio.Event()

        async def in_turn(put: Put) -> None:
            await (last if put.row.title == "last" else all_in_line).wait()

        room.steps.during = in_turn
        room.steps.answers = {"new": [FULL], "moved": [FULL]}
        new = await room.submit(save("new"))
        leaving = Retire(field("scan"), AttachmentId("x"), "moved", Role.SOURCE)
        moved = await room.submit(replace(save("moved", "two"), retire=(leaving,)))
        made = await room.submit(overwrite("last", "two"))
        all_in_line.set()
        with trio.fail_after(5):
            await until(lambda: "moved" in room.steps.titles)
            await wait_all_tasks_blocked(0.02)
            last.set()
            for work in (made, moved, new):
                await work.settled.wait()
        assert new.row.added is not None
        assert moved.row.added is not None


async def test_one_dropped_while_it_waits_for_room_is_not_brought_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        all_in_line = trio.Event()

        async def in_turn(put: Put) -> None:
            if put.row.title == "new":
                await all_in_line.wait()
            else:
                await trio.sleep_forever()

        room.steps.during = in_turn
        room.steps.answers = {"new": [FULL]}
        new = await room.submit(save("new"))
        await room.submit(overwrite("a"))
        all_in_line.set()
        with trio.fail_after(5):
            await until(lambda: room.steps.titles == ["new", "a"] and not new.busy)
            await room.uploads.drop(new)
        assert room.steps.titles == ["new", "a"]
        assert new.row.added is None


async def test_room_is_not_asked_for_again_before_somebody_could_have_made_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as room:
        all_in_line, made = trio.Event(), trio.Event()

        async def in_turn(put: Put) -> None:
            await (made if put.row.title == "first" else all_in_line).wait()

        room.steps.during = in_turn
        room.steps.answers = {"away": [AWAY] * 9, "new": [FULL]}
        first = await room.submit(save("first", "two"))
        await room.submit(overwrite("a"), previous=first)  # has met no error: it was not tried yet
        away = await room.submit(overwrite("away"))
        new = await room.submit(save("new"))
        all_in_line.set()
        with trio.fail_after(5):
            await until(lambda: away.error is not None and "new" in room.steps.titles)
            await trio.sleep(0.1)
            assert room.steps.titles.count("new") == 1
            made.set()
            await new.settled.wait()
        assert room.steps.titles.count("new") == 2
