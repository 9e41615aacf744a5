"""Files that are put aside from one name: what a new one replaces, and what comes back."""

import pytest
from trio.testing import MockClock

from aerofs.errors import DeniedError
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, later, until

FIELD = "invoice/1/scan"
X, OTHER = f"{FIELD}/x.txt", f"{FIELD}/x.bak~"


async def test_of_two_put_aside_from_one_name_the_later_is_what_a_new_file_replaces(office: Office) -> None:
    first = office.add(X, b"first")
    async with office.mounted() as drive:
        await drive.rename(X, f"{X}~")
        office.sandbox.platform.remove_attachment(first)
        office.add(X, b"second")
        drive.filesystem.refresh()
        await drive.rename(X, OTHER)
        await drive.remove(f"{X}~")
        await drive.write(X, b"new")
        await drive.drained()
        assert office.stored("1/scan") == [("1/scan/x.txt", b"new")]
        assert await drive.names(FIELD) == ["x.bak~", "x.txt"]
        assert await drive.read(OTHER) == b"second"


async def two_put_aside(office: Office, drive: Drive) -> None:
    """Ours was put aside while its save was refused; a colleague's appeared under the name, and was put aside, too."""
    office.permit(Access(read_only=True))
    with pytest.raises(DeniedError):
        await drive.write(X, b"first")
    await drive.rename(X, f"{X}~")
    office.permit(Access())
    office.add(X, b"second")
    drive.filesystem.refresh()
    await drive.rename(X, OTHER)


async def test_a_new_file_replaces_all_that_was_put_aside_from_its_name(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted(close_wait=5) as drive:
        await two_put_aside(office, drive)
        await drive.write(X, b"new")
        for _ in range(3):
            await later(clock, 61)
        await until(lambda: not {"queued", "held", "uploading"} & set(drive.states().values()))
        assert office.stored("1/scan") == [("1/scan/x.txt", b"new")]
        assert await drive.names(FIELD) == ["x.bak~", "x.txt", "x.txt~"]
        assert await drive.read(X) == b"new"
        assert await drive.read(f"{X}~") == b"first"
        assert await drive.read(OTHER) == b"second"
        for name in ("x.bak~", "x.txt", "x.txt~"):
            await drive.remove(f"{FIELD}/{name}")
        await drive.drained()
        drive.assert_nothing_left()


async def test_of_two_put_aside_whose_saves_wait_a_new_file_replaces_the_later(
    office: Office, clock: MockClock
) -> None:
    """A row comes after one other at most: the earlier one is back after a while, and nothing is lost."""
    async with office.mounted(close_wait=5) as drive:
        await two_put_aside(office, drive)
        await drive.rename(OTHER, X)
        office.permit(Access(read_only=True))
        with pytest.raises(DeniedError):
            await drive.write(X, b"2nd")
        await drive.rename(X, OTHER)
        office.permit(Access())
        await drive.write(X, b"new")
        for _ in range(3):
            await later(clock, 61)
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: len(office.stored("1/scan")) > 1)
        assert office.stored("1/scan") == [("1/scan/x.txt", b"first"), ("1/scan/x.txt", b"new")]
        assert await drive.read(OTHER) == b"2nd"


@pytest.mark.parametrize("closed", [False, True])
async def test_what_its_save_brings_up_is_not_seen_beside_the_new_one(
    office: Office, *, closed: bool
) -> None:
    office.add(X, b"old")
    async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
        await drive.read(X)
        with office.sandbox.hold("save") as saving, office.sandbox.hold("delete") as deleting:
            await drive.write(X, b"newer")
            await saving.arrived()
            await drive.rename(X, f"{X}~")
            new = await drive.open(X, WRITE_NEW)
            await drive.filesystem.write(new, 0, b"new")
            if closed:
                await drive.close(new)
            office.sandbox.add_fault(Fault("save", "status", status=403, count=None))
            saving.release()
            await deleting.arrived()
            drive.filesystem.refresh()
            assert await drive.names(FIELD) == ["x.txt", "x.txt~"]
            deleting.release()
        await until(lambda: office.stored() == [("1/scan/x.txt", b"newer")])
        await until(lambda: drive.states().get("x.txt") == ("held" if closed else "local"))
        drive.filesystem.refresh()
        assert await drive.names(FIELD) == ["x.txt", "x.txt~"]
        office.sandbox.clear_faults()
        if closed:
            drive.filesystem._uploads.retry(held=True)
        else:
            await drive.close(new)
        await until(lambda: office.stored() == [("1/scan/x.txt", b"new")])
        await drive.drained()
        assert await drive.shown(FIELD) == {"x.txt": b"new", "x.txt~": b"newer"}
        for path in (X, f"{X}~"):
            await drive.remove(path)
        drive.assert_nothing_left()
