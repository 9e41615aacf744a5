"""What a remount makes of rows that wait for one another, of bytes that made room, and of bytes that are gone."""

from contextlib import suppress

from aerofs.errors import AerofsError
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


# -- given up ----------------------------------------------------------------------------------------------------------


async def _stands_beside_its_base(office: Office, drive: Drive) -> None:
    """A save that was accepted, and whose base the platform does not let go yet."""
    await drive.read(A)
    office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
    with suppress(AerofsError):
        await drive.write(A, b"new")
    assert office.stored() == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]


async def _discard_last(office: Office, drive: Drive) -> None:
    await until(lambda: all(work.row.tries or work.previous for work in drive.filesystem._uploads))
    last = max(int(save["id"]) for save in drive.filesystem.saves())
    await until(lambda: not any(work.busy for work in drive.filesystem._uploads))
    await drive.filesystem.waiting.discard(last)
    office.sandbox.clear_faults()
    await drive.drained()


async def test_a_discarded_rename_takes_nothing_of_the_save_before_it_away(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0.3, rename_wait=0.3) as drive:
        await _stands_beside_its_base(office, drive)
        await drive.rename(A, B)
    async with office.mounted() as drive:
        await _discard_last(office, drive)
        assert office.stored() == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]
        drive.assert_nothing_left()


async def test_a_discarded_second_save_takes_nothing_of_the_first_away(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0.3, rename_wait=0.3) as drive:
        await _stands_beside_its_base(office, drive)
        with suppress(AerofsError):
            await drive.write(A, b"newer")
    async with office.mounted() as drive:
        await _discard_last(office, drive)
        assert office.stored() == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]
