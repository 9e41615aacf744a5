"""Nothing takes effect before the journal has it: what it refuses to write has not happened."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.errors import NoSpaceError
from tests.contract.conftest import Office, until

FIELD = "invoice/1/scan"
A = f"{FIELD}/a.txt"


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
            raise NoSpaceError("the journal: the local disk is full")
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
