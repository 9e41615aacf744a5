"""Nothing takes effect before the journal has it: what it refuses to write has not happened."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.errors import AerofsError, NoSpaceError
from aerofs.sandbox import Fault
from tests.contract.conftest import (
    Drive,
    Office,
    journal_full,
    later,
    refused,
    saved_while_away,
    until,
)

FIELD = "invoice/1/scan"
A, B, PART = f"{FIELD}/a.txt", f"{FIELD}/b.txt", f"{FIELD}/a.part"


async def _new(drive: Drive) -> None:
    await refused(drive, B, b"new", told=True)


async def _overwritten(drive: Drive) -> None:
    await refused(drive, A, b"new", told=True)


async def _renamed(drive: Drive) -> None:
    """A save, and the rename that waits for it."""
    drive.network.away = True
    with suppress(AerofsError):
        await drive.write(A, b"new")
    (work,) = drive.filesystem._uploads
    work.row = replace(work.row, maybe_sent=True)  # so that the rename comes after it
    await drive.rename(A, B)


async def _perhaps_arrived(drive: Drive) -> None:
    drive.office.sandbox.add_fault(Fault("save", "cut"))
    with suppress(AerofsError):
        await drive.write(A, b"new")
    drive.network.away = True


async def _local(drive: Drive) -> None:
    await drive.write(PART, b"new")


@pytest.mark.parametrize("prepare", [_new, _overwritten, _renamed, _perhaps_arrived, _local])
async def test_a_discard_that_is_not_written_has_not_happened(
    office: Office, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Drive], Awaitable[None]]
) -> None:
    office.add(A, b"old")
    async with office.mounted(rename_wait=0.1) as drive:
        await drive.read(A)
        await prepare(drive)
        before = (drive.filesystem.saves(), await drive.names(FIELD))
        rows = drive.store.journal.load()
        with monkeypatch.context() as full:
            full.setattr(Journal, "_in_thread", journal_full)
            for save in before[0]:
                with pytest.raises(NoSpaceError):
                    await drive.filesystem.waiting.discard(save["id"])
        after = (drive.filesystem.saves(), await drive.names(FIELD))
        assert _told(after[0]) == _told(before[0])
        assert after[1] == before[1]
        assert drive.store.journal.load() == rows
        for name in before[1]:
            stands = name == "a.txt" and len(before[1]) > 1
            assert await drive.read(f"{FIELD}/{name}") == (b"old" if stands else b"new")
        drive.network.away = False
        await drive.platform.probe()
        for save in before[0]:
            with suppress(AerofsError):
                await drive.filesystem.waiting.discard(save["id"])
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"old")]
        assert await drive.names(FIELD) == ["a.txt"]
        assert await drive.read(A) == b"old"
        drive.assert_nothing_left()


def _told(saves: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(save["id"], save["path"], save["state"], save["withdrawn"]) for save in saves]


@pytest.mark.parametrize("base", [b"old", None], ids=["overwritten", "new"])
@pytest.mark.parametrize("answered", [False, True], ids=["unsent", "answered"])
async def test_a_removal_that_is_not_written_takes_nothing_back_from_a_save_under_way(
    office: Office, monkeypatch: pytest.MonkeyPatch, base: bytes | None, *, answered: bool
) -> None:
    if base is not None:
        office.add(A, base)
    step, reached, full = Journal.step, trio.Event(), trio.Event()

    async def slow(journal: Journal, operation: Operation, *, durable: bool = False) -> None:
        if operation.cancelled and durable:
            reached.set()
            await full.wait()
            await journal_full()
        await step(journal, operation, durable=durable)

    monkeypatch.setattr(Journal, "step", slow)

    async def remove() -> None:
        with pytest.raises(NoSpaceError):
            await drive.remove(A)

    async with office.mounted(close_wait=0) as drive:
        await drive.names(FIELD)
        async with trio.open_nursery() as nursery:
            with office.sandbox.hold("save", answered=answered) as hold:
                await drive.write(A, b"new")
                await hold.arrived()
                nursery.start_soon(remove)
                await reached.wait()
            await until(lambda: drive.network.under_way == 0)
            await wait_all_tasks_blocked(0.1)
            full.set()
        await until(lambda: not drive.states())
        assert office.stored() == [("1/scan/a.txt", b"new")]
        assert await drive.read(A) == b"new"
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_removal_is_written_again_over_a_step_that_was_written_meanwhile(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the save would be back after a death behind it, though `rm` had returned 0."""
    step, reached, go_on = Journal.step, trio.Event(), trio.Event()

    async def slow(journal: Journal, operation: Operation, *, durable: bool = False) -> None:
        await step(journal, operation, durable=durable)
        if operation.cancelled and not reached.is_set():
            reached.set()
            await go_on.wait()

    monkeypatch.setattr(Journal, "step", slow)
    async with office.mounted("alive", close_wait=0) as drive, trio.open_nursery() as nursery:
        await drive.write(A, b"old")
        await drive.drained()
        with office.sandbox.hold("delete") as delete:
            with office.sandbox.hold("save") as hold:
                await drive.write(A, b"new")
                await hold.arrived()
                nursery.start_soon(drive.remove, A)
                await reached.wait()
            await delete.arrived()  # the new one stands, and the journal was told so
            go_on.set()
            await until(lambda: all(work.row.cancelled for work in drive.filesystem._uploads))
            office.copy_disk("alive", "dead")
            drive.network.cut(0, answered=False, crashed=lambda: None)
        nursery.cancel_scope.cancel()
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_a_file_put_aside_is_back_once_that_can_be_written(
    office: Office, monkeypatch: pytest.MonkeyPatch, clock: MockClock
) -> None:
    """The mount goes on, and the file has one name at any moment."""
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.read(A)
        await refused(drive, A, b"two", told=True)
        await drive.rename(A, f"{A}~")
        rows = drive.store.journal.load()
        with monkeypatch.context() as full:
            full.setattr(Journal, "_in_thread", journal_full)
            with pytest.raises(NoSpaceError):
                await drive.rename(f"{A}~", A)
            await later(clock, 61)
            await wait_all_tasks_blocked(0.1)
            assert await drive.names(FIELD) == ["a.txt~"]
            assert await drive.read(f"{A}~") == b"two"
            assert drive.store.journal.load() == rows
        await later(clock, 61)
        await wait_all_tasks_blocked(0.1)
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not list(drive.filesystem._uploads))
        await drive.drained()
        assert await drive.names(FIELD) == ["a.txt"]
        assert await drive.read(A) == b"two"


@pytest.mark.parametrize(
    ("act", "written"),
    [
        pytest.param(lambda drive: drive.rename(A, B), "record", id="a rename"),
        pytest.param(lambda drive: drive.remove(A), "step", id="a removal"),
    ],
)
async def test_what_could_not_be_journalled_has_not_happened(
    office: Office, monkeypatch: pytest.MonkeyPatch, act: Callable[[Drive], Awaitable[None]], written: str
) -> None:
    office.add(A, b"old a")
    office.add(B, b"old b")
    async with office.mounted() as drive:
        await drive.read(A)
        await drive.read(B)
        await saved_while_away(drive, A, b"new a")
        with monkeypatch.context() as full:
            full.setattr(drive.store.journal, written, journal_full)
            with pytest.raises(NoSpaceError):
                await act(drive)
        assert await drive.names(FIELD) == ["a.txt", "b.txt"]
        assert drive.states() == {"a.txt": "queued"}
        await drive.back()
        assert office.stored("1/scan") == [("1/scan/a.txt", b"new a"), ("1/scan/b.txt", b"old b")]
        assert await drive.read(A) == b"new a"
        assert await drive.read(B) == b"old b"
        drive.assert_nothing_left()
