"""The process dies at every write of its journal: what the next mount makes of what is left.

A story is what one field goes through; what may be seen after a death in it is told by how far it had come.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest
import trio

from aerofs.sandbox import Access
from tests.contract.conftest import Drive, Office, until

T = TypeVar("T")
View = Mapping[str, bytes]
Passed = Callable[[int], None]
FIELD = "invoice/1/scan"
A, B, BACKUP = f"{FIELD}/a.txt", f"{FIELD}/b.txt", f"{FIELD}/b.txt~"
TEMPORARY = f"{FIELD}/a.part"
CUT_OFF = pytest.mark.filterwarnings("ignore:Async generator .*entries:ResourceWarning")
"""The death may come while somebody reads a directory."""
OLD: View = {"b.txt": b"old b"}
"""What the field shows before most of the stories."""


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


@asynccontextmanager
async def written(drive: Drive, path: str, flags: int, *parts: bytes) -> AsyncIterator[int]:
    """A descriptor through which each part was written; all but the last were closed, as after a dup(2)."""
    handle = await drive.open(path, flags)
    for part in parts:
        if part is not parts[0]:
            await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 0, part)
    yield handle


async def _seen(drive: Drive) -> View:
    """What the field shows, once everything that was held may go up."""
    drive.office.permit(Access())

    def nothing_waits() -> bool:
        drive.filesystem._uploads.retry(held=True)
        return set(drive.states().values()) <= {"local"}

    await until(nothing_waits)
    return await drive.shown(FIELD)


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
        office.start_over((f"1/scan/{file}", data) for file, data in story.views[0].items())
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
