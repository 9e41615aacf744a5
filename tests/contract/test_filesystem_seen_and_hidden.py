"""What stands on the platform is seen, and once: neither hidden for a whole mount nor beside what stands for it."""

from contextlib import suppress

import pytest

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import DEFINITION, Drive, Office, until

SCAN = "invoice/1/scan"
A, B = f"{SCAN}/a.txt", f"{SCAN}/b.txt"


async def seen(drive: Drive, directory: str = SCAN) -> dict[str, bytes]:
    """Every name with its bytes, after the user asked for everything anew."""
    drive.filesystem._tree.refresh()
    return {name: await drive.read(f"{directory}/{name}") for name in await drive.names(directory)}


async def discard_all(drive: Drive) -> None:
    for save in drive.filesystem.saves():
        with suppress(errors.NotFoundError):
            await drive.filesystem.waiting.discard(save["id"])


async def brought_up_beside_the_old(office: Office, drive: Drive) -> None:
    """A save stands, and what it replaces cannot be deleted for now."""
    assert await drive.read(A) == b"old"
    office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
    with pytest.raises(errors.UnavailableError):
        await drive.write(A, b"new")
    assert sorted(office.stored()) == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]


def take_away_the_new(office: Office) -> None:
    """A colleague deletes what we have brought up; after that, nothing may be saved any more."""
    files = office.sandbox.platform.attachments(DEFINITION, office.documents["1"], "scan")
    (new,) = (file for file in files if file.data == b"new")
    office.sandbox.platform.remove_attachment(new.id)
    office.sandbox.clear_faults()
    office.sandbox.add_fault(Fault("save", "status", status=403, count=None))


async def test_a_rename_over_a_file_where_nothing_may_be_deleted_leaves_both_names_as_they_were(
    office: Office,
) -> None:
    office.add(A, b"aa")
    office.add(B, b"bb")
    async with office.mounted() as drive:
        assert (await drive.read(A), await drive.read(B)) == (b"aa", b"bb")
        office.sandbox.add_fault(Fault("delete", "status", status=403, count=None))
        with pytest.raises(errors.DeniedError):
            await drive.rename(A, B)
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"aa", b"aa", b"bb"]
        found = await seen(drive)
        assert (found.pop("a.txt"), found.pop("b.txt")) == (b"aa", b"bb")
        assert list(found.values()) == [b"aa"]  # what could not be taken back is a file of its own
        drive.assert_nothing_left()


@pytest.mark.parametrize("crash", [False, True])
async def test_the_version_that_stands_is_seen_when_what_was_brought_up_is_gone_and_the_save_is_discarded(
    office: Office, *, crash: bool
) -> None:
    office.add(A, b"old")
    async with office.mounted("alive") as drive:
        await brought_up_beside_the_old(office, drive)
        if crash:
            office.copy_disk("alive", "dead")
        take_away_the_new(office)
        if not crash:
            await until(lambda: drive.states() == {"a.txt": "held"})
            await discard_all(drive)
            assert await seen(drive) == {"a.txt": b"old"}
            drive.assert_nothing_left()
            return
    async with office.mounted("dead") as drive:
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert await seen(drive) == {"a.txt": b"new"}
        await discard_all(drive)
        assert await seen(drive) == {"a.txt": b"old"}
        drive.assert_nothing_left()
