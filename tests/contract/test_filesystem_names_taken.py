"""The process dies at every write of its journal while one file takes the name of another.

What a close() or an fsync() accepted of either of them is there afterwards, and nothing stands twice: the one that had
the name keeps what the journal has of it until the journal has what takes its place.
"""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest
import trio

from aerofs.sandbox import Access
from tests.contract.conftest import WRITE_NEW, Drive, Office, until

T = TypeVar("T")
View = Mapping[str, bytes]
Passed = Callable[[int], None]
FIELD = "invoice/1/scan"
A, B, BACKUP = f"{FIELD}/a.txt", f"{FIELD}/b.txt", f"{FIELD}/b.txt~"
TEMPORARY = f"{FIELD}/a.part"
CUT_OFF = pytest.mark.filterwarnings("ignore:Async generator .*entries:ResourceWarning")
"""The death may come while somebody reads a directory."""


@dataclass(frozen=True)
class Story:
    """What is done, and what may be seen after a death in it.

    Attributes:
        act: Does it, and tells how far it has come.
        views: What the field shows, in the order in which it comes to that; a death never leads back behind what `act`
            has come to. The first stands before, the last in the end.
        since: What has to be reached before a death is of interest here.
        rename_wait: Seconds for which the platform may refuse a rename.
    """

    act: Callable[[Drive, Passed], Awaitable[object]]
    views: tuple[View, ...]
    since: int = 2
    rename_wait: float = 0.2


async def refused(drive: Drive, path: str, data: bytes) -> None:
    """What close() accepted is refused by the platform."""
    tokens, token = drive.office.sandbox.tokens, drive.office.sandbox.token
    tokens[token] = Access(read_only=True)
    await drive.write(path, data)
    await until(lambda: drive.states().get(path.rpartition("/")[2]) == "held")
    tokens[token] = Access()


@asynccontextmanager
async def written(drive: Drive, path: str, flags: int, *parts: bytes) -> AsyncIterator[int]:
    """A descriptor through which each part was written; all but the last were closed, as after a dup(2)."""
    handle = await drive.open(path, flags)
    for part in parts:
        if part is not parts[0]:
            await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 0, part)
    yield handle


async def _open_over_a_held_save(drive: Drive, passed: Passed) -> None:
    """The file that takes the name is being saved, and written on."""
    await refused(drive, B, b"held b")
    passed(1)
    with drive.office.sandbox.hold("save") as hold:
        async with written(drive, A, WRITE_NEW, b"one", b"two") as handle:
            passed(2)
            await hold.arrived()
            await drive.rename(A, B)
            hold.release()
            await drive.close(handle)
            passed(3)


async def _synced_over_a_held_save(drive: Drive, passed: Passed) -> None:
    """The same, and it was synced before."""
    await refused(drive, B, b"held b")
    passed(1)
    with drive.office.sandbox.hold("save") as hold:
        async with written(drive, A, WRITE_NEW, b"one", b"two") as handle:
            passed(2)
            await hold.arrived()
            await drive.filesystem.fsync(handle)
            passed(3)
            await drive.rename(A, B)
            hold.release()
            await drive.close(handle)
            passed(4)


async def _closed_twice_over_a_held_save(drive: Drive, passed: Passed) -> None:
    """The same, and another descriptor was closed before, which accepted what was written until then."""
    await refused(drive, B, b"held b")
    passed(1)
    with drive.office.sandbox.hold("save") as hold:
        async with written(drive, A, WRITE_NEW, b"one", b"two", b"and three") as handle:
            passed(3)
            await hold.arrived()
            await drive.rename(A, B)
            passed(4)
            hold.release()
            await drive.close(handle)
            passed(5)


async def _saving_over_a_held_save(drive: Drive, passed: Passed) -> None:
    """The file that takes the name is being saved, and closed."""
    await refused(drive, B, b"held b")
    passed(1)
    with drive.office.sandbox.hold("save") as hold:
        await drive.write(A, b"one")
        passed(2)
        await hold.arrived()
        await drive.rename(A, B)
        passed(3)


async def _held_over_a_held_save(drive: Drive, passed: Passed) -> None:
    await refused(drive, B, b"held b")
    passed(1)
    await refused(drive, A, b"held a")
    passed(2)
    await drive.rename(A, B)
    passed(3)


async def _moved_over_a_rewritten_file(drive: Drive, passed: Passed) -> None:
    """What has the name is open, and what its second close() accepted waits in the journal."""
    await drive.read(A)
    async with written(drive, B, os.O_WRONLY | os.O_TRUNC, b"v1", b"v2") as handle:
        await drive.filesystem.flush(handle)
        passed(2)
        await drive.rename(A, B)
        passed(3)
        await drive.filesystem.release(handle)


async def _published_over_a_rewritten_file(drive: Drive, passed: Passed) -> None:
    await drive.write(TEMPORARY, b"new")
    passed(1)
    async with written(drive, B, os.O_WRONLY | os.O_TRUNC, b"v1", b"v2") as handle:
        await drive.filesystem.flush(handle)
        passed(3)
        await drive.rename(TEMPORARY, B)
        passed(4)
        await drive.filesystem.release(handle)


async def _open_over_a_rewritten_file(drive: Drive, passed: Passed) -> None:
    async with (
        written(drive, B, os.O_WRONLY | os.O_TRUNC, b"v1", b"v2") as other,
        written(drive, A, WRITE_NEW, b"new") as handle,
    ):
        await drive.filesystem.flush(other)
        passed(2)
        await drive.rename(A, B)
        await drive.filesystem.release(other)
        await drive.close(handle)
        passed(3)


async def _rewritten_and_put_aside(drive: Drive, passed: Passed) -> None:
    async with written(drive, B, os.O_WRONLY | os.O_TRUNC, b"v1", b"v2") as handle:
        await drive.filesystem.flush(handle)
        passed(2)
        await drive.rename(B, BACKUP)
        passed(3)
        await drive.filesystem.release(handle)


OLD: View = {"b.txt": b"old b"}
_OVER_HELD = (OLD, {"b.txt": b"held b"}, {"a.txt": b"one", "b.txt": b"held b"})
STORIES = {
    "open, over a held save": Story(_open_over_a_held_save, (*_OVER_HELD, {"b.txt": b"two"})),
    "open and synced, over a held save": Story(
        _synced_over_a_held_save,
        (*_OVER_HELD, {"a.txt": b"two", "b.txt": b"held b"}, {"b.txt": b"two"}),
        since=3,
    ),
    "open and closed twice, over a held save": Story(
        _closed_twice_over_a_held_save,
        (
            *_OVER_HELD,
            {"a.txt": b"two", "b.txt": b"held b"},
            {"b.txt": b"two"},
            {"b.txt": b"and three"},
        ),
        since=3,
    ),
    "being saved, over a held save": Story(_saving_over_a_held_save, (*_OVER_HELD, {"b.txt": b"one"})),
    "held, over a held save": Story(
        _held_over_a_held_save,
        (*_OVER_HELD[:2], {"a.txt": b"held a", "b.txt": b"held b"}, {"b.txt": b"held a"}),
    ),
    "on the platform, over what a second close() accepted": Story(
        _moved_over_a_rewritten_file,
        (
            {"a.txt": b"a", **OLD},
            {"a.txt": b"a", "b.txt": b"v1"},
            {"a.txt": b"a", "b.txt": b"v2"},
            {"b.txt": b"a"},
        ),
    ),
    "a local name, over what a second close() accepted": Story(
        _published_over_a_rewritten_file,
        (
            OLD,
            {"a.part": b"new", **OLD},
            {"a.part": b"new", "b.txt": b"v1"},
            {"a.part": b"new", "b.txt": b"v2"},
            {"b.txt": b"new"},
        ),
        since=3,
    ),
    "open and new, over what a second close() accepted": Story(
        _open_over_a_rewritten_file, (OLD, {"b.txt": b"v1"}, {"b.txt": b"v2"}, {"b.txt": b"new"})
    ),
    "what a second close() accepted, put aside": Story(
        _rewritten_and_put_aside,
        (OLD, {"b.txt": b"v1"}, {"b.txt": b"v2"}, {"b.txt": b"v1", "b.txt~": b"v2"}, {"b.txt~": b"v2"}),
    ),
}


async def _seen(drive: Drive) -> View:
    """What the field shows, once everything that was held may go up."""
    drive.office.sandbox.tokens[drive.office.sandbox.token] = Access()

    def nothing_waits() -> bool:
        drive.filesystem._uploads.retry(held=True)
        return set(drive.states().values()) <= {"local"}

    await until(nothing_waits)
    return {name: await drive.read(f"{FIELD}/{name}") for name in await drive.names(FIELD)}


async def _died(office: Office, story: Story, at: int) -> int | None:
    """Do it until so many transactions were made. Returns how far it had come; None where it was done before."""
    come, done, struck = [0], trio.Event(), trio.Event()
    async with (
        office.mounted("alive", close_wait=0, rename_wait=story.rename_wait) as drive,
        trio.open_nursery() as nursery,
    ):
        await drive.names(FIELD)
        perform, transactions = drive.store.journal._in_thread, itertools.count()

        async def in_thread(work: Callable[[], T]) -> T:
            number = next(transactions) if come[-1] >= story.since else -1
            if number < at:
                return await perform(work)
            if number == at:
                await perform(lambda: None)  # whatever was before is through
                office.copy_disk("alive", "dead")
                drive.network.cut(0, answered=False, crashed=lambda: None)
                struck.set()
            await trio.sleep_forever()
            raise AssertionError

        drive.store.journal._in_thread = in_thread  # type: ignore[method-assign]

        async def act() -> None:
            await story.act(drive, come.append)
            assert await _seen(drive) == story.views[-1]
            done.set()

        nursery.start_soon(act)
        await until(lambda: done.is_set() or struck.is_set())
        nursery.cancel_scope.cancel()
    return None if done.is_set() else come[-1]


async def held_at_every_death(office: Office, story: Story) -> None:
    """Let the process die at each write of the journal in turn, and see what the next mount makes of what is left."""
    for at in range(60):
        office.forget_disk("alive")
        office.forget_disk("dead")
        office.clear()
        for file, data in story.views[0].items():
            office.add(f"{FIELD}/{file}", data)
        come = await _died(office, story, at)
        if come is None:
            return
        async with office.mounted("dead") as drive:
            seen = await _seen(drive)
            assert seen in story.views[come:], f"died at transaction {at + 1}, behind {story.views[come]}"
            assert office.stored() == [
                (f"1/scan/{file}", data)
                for file, data in sorted(seen.items())
                if "~" not in file and ".part" not in file
            ]
    pytest.fail("it never came to an end")


@CUT_OFF
@pytest.mark.parametrize("name", STORIES)
async def test_a_death_at_any_write_of_the_journal_keeps_what_was_accepted(office: Office, name: str) -> None:
    await held_at_every_death(office, STORIES[name])
