"""A save, a rename or an fsync comes after an earlier save of its file, and the process dies as that one is settled.

The row of the later one waits for the earlier one by its number. At no moment may the journal hold a row that waits for
one that is gone: what the earlier one had brought up would stay beside what the later one brings.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aerofs.content.operations import Operation
from tests.contract.conftest import Drive, Office, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


async def _again(drive: Drive) -> None:
    await drive.write(A, b"two")


async def _renamed(drive: Drive) -> None:
    await drive.rename(A, B)


async def _synced(drive: Drive) -> None:
    handle = await drive.open(A, os.O_RDWR)
    await drive.filesystem.write(handle, 0, b"two")
    await drive.filesystem.fsync(handle)


@pytest.mark.parametrize(
    ("later", "after"),
    [
        (_again, [("1/scan/a.txt", b"two")]),
        (_renamed, [("1/scan/b.txt", b"one")]),
        (_synced, [("1/scan/a.txt", b"two")]),
    ],
    ids=["a save", "a rename", "an fsync"],
)
async def test_nothing_stands_twice_when_the_process_dies_as_an_earlier_save_is_settled(
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[Drive], Awaitable[None]],
    after: list[tuple[str, bytes]],
) -> None:
    office.add(A, b"old")
    died = trio.Event()
    with office.sandbox.hold("delete") as held:
        async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
            journal = drive.store.journal
            record = journal.record

            async def die_after_recording(operation: Operation, **more: Any) -> Operation:
                row = await record(operation, **more)
                # The earlier one comes to its end before anybody else hears of this row.
                held.release()
                await earlier.performed.wait()
                # Whatever it does about its row now, it has done once all wait, the journal's thread included.
                await wait_all_tasks_blocked(0.05)
                await until(lambda: not journal._writer.borrowed_tokens)
                office.copy_disk("state", "after the crash")
                drive.network.away = True
                died.set()
                return row

            await drive.write(A, b"one")
            await held.arrived()
            (earlier,) = drive.filesystem._uploads
            monkeypatch.setattr(journal, "record", die_after_recording)
            async with trio.open_nursery() as programs:
                programs.start_soon(later, drive)
                await died.wait()
                programs.cancel_scope.cancel()
    async with office.mounted("after the crash") as drive:
        await drive.drained()
        assert office.stored() == after
        drive.assert_nothing_left()


async def test_a_new_file_waits_for_the_room_that_a_rename_makes_which_waits_itself(office: Office) -> None:
    """Here the field has room from the rename on. On the platform the rename comes after a save that is on its way."""
    few = "invoice/1/few"
    for name in ("a", "b"):
        office.add(f"{few}/{name}.txt", b"old")
    async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
        with office.sandbox.hold("save") as held:
            await drive.write(f"{few}/a.txt", b"one")
            await held.arrived()
            await drive.write(f"{few}/a.txt", b"two")
            await drive.rename(f"{few}/a.txt", f"{few}/b.txt")
            await drive.write(f"{few}/a.txt", b"three")
        await until(lambda: not drive.states())
        await drive.drained()  # our books, too
        assert office.stored() == [("1/few/a.txt", b"three"), ("1/few/b.txt", b"two")]
        drive.assert_nothing_left()
