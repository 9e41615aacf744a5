"""What stands on the platform is seen, and once: neither hidden for a whole mount nor beside what stands for it."""

import pytest
import trio
from trio.testing import MockClock

from aerofs import errors
from aerofs.content.operations import State
from aerofs.sandbox import Fault
from tests.contract.conftest import DEFINITION, Drive, Office, later, queued, until

SCAN = "invoice/1/scan"
A, B = f"{SCAN}/a.txt", f"{SCAN}/b.txt"


async def seen(drive: Drive, directory: str = SCAN) -> dict[str, bytes]:
    """Every name with its bytes, after the user asked for everything anew."""
    drive.filesystem._tree.refresh()
    return {name: await drive.read(f"{directory}/{name}") for name in await drive.names(directory)}


async def discard_held(drive: Drive) -> None:
    for save in drive.filesystem.saves():
        if save["state"] == State.HELD:
            await drive.filesystem.waiting.discard(save["id"])


async def brought_up_beside_the_old(office: Office, drive: Drive) -> None:
    """A save stands, and what it replaces cannot be deleted for now."""
    assert await drive.read(A) == b"old"
    office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
    await queued(drive, A, b"new")
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
            await discard_held(drive)
            assert await seen(drive) == {"a.txt": b"old"}
            drive.assert_nothing_left()
            return
    async with office.mounted("dead") as drive:
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert await seen(drive) == {"a.txt": b"new"}
        await discard_held(drive)
        assert await seen(drive) == {"a.txt": b"old"}
        drive.assert_nothing_left()


FEW = "invoice/1/few"
X, Y = f"{FEW}/a.txt", f"{FEW}/b.txt"


async def full_field(office: Office, drive: Drive) -> None:
    """Two files, and no room for a third one."""
    office.add(X, b"a")
    office.add(Y, b"b")
    assert (await drive.read(X), await drive.read(Y)) == (b"a", b"b")


async def test_what_made_room_for_a_file_that_took_its_name_is_not_seen_beside_that_when_it_is_put_back(
    office: Office,
) -> None:
    async with office.mounted() as drive:
        await full_field(office, drive)
        await drive.rename(X, f"{X}~")
        office.sandbox.add_fault(Fault("save", "status", status=403, count=1))
        with pytest.raises(errors.DeniedError):
            await drive.write(X, b"new")
        await until(lambda: drive.states().get("a.txt") == "held")
        assert office.stored("1/few") == [("1/few/a.txt", b"a"), ("1/few/b.txt", b"b")]
        assert await seen(drive, FEW) == {"a.txt": b"new", "a.txt~": b"a", "b.txt": b"b"}
        await discard_held(drive)
        assert await seen(drive, FEW) == {"a.txt": b"a", "a.txt~": b"a", "b.txt": b"b"}


async def test_what_made_room_for_a_rename_is_not_seen_beside_that_when_it_is_put_back(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted() as drive:
        await full_field(office, drive)
        office.sandbox.add_fault(Fault("save", "status", status=403, count=1))
        with office.sandbox.hold("save") as held:

            async def patience() -> None:
                await held.arrived()
                await later(clock, 6)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(patience)
                await drive.rename(X, Y)
        await until(lambda: drive.states() == {"b.txt": "held"})
        assert await seen(drive, FEW) == {"b.txt": b"a"}
        await discard_held(drive)
        assert await seen(drive, FEW) == {"a.txt": b"a", "b.txt": b"b"}
        drive.assert_nothing_left()


async def test_what_had_made_room_before_a_crash_is_not_seen_beside_the_save_when_it_is_put_back(
    office: Office,
) -> None:
    async with office.mounted("alive") as drive:
        await full_field(office, drive)
        office.sandbox.add_fault(Fault("save", "status", status=403, count=1))
        office.sandbox.add_fault(Fault("save", "status", status=503, count=1))
        await queued(drive, X, b"new")
        office.copy_disk("alive", "dead")
    office.sandbox.clear_faults()
    office.sandbox.add_fault(Fault("save", "status", status=403, count=1))
    async with office.mounted("dead") as drive:
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert office.stored("1/few") == [("1/few/a.txt", b"a"), ("1/few/b.txt", b"b")]
        assert await seen(drive, FEW) == {"a.txt": b"new", "b.txt": b"b"}
        await discard_held(drive)
        assert await seen(drive, FEW) == {"a.txt": b"a", "b.txt": b"b"}
        drive.assert_nothing_left()


async def test_a_rename_that_waits_for_a_held_save_hides_no_file_of_a_colleague_after_a_crash(
    office: Office,
) -> None:
    async with office.mounted("alive", rename_wait=0.2) as drive:
        await drive.names(SCAN)
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("list", "status", status=403, count=None))
        await queued(drive, A, b"mine")
        with office.sandbox.hold("list"):
            await drive.rename(A, B)
        await until(lambda: "held" in drive.states().values())
        office.copy_disk("alive", "dead")
    office.add(B, b"thei")
    async with office.mounted("dead") as drive:
        await until(lambda: "held" in drive.states().values())
        office.sandbox.clear_faults()
        assert b"thei" in (await seen(drive)).values()


async def test_a_colleagues_file_is_seen_once_its_bytes_showed_that_it_is_not_ours(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.names(SCAN)
        office.sandbox.add_fault(Fault("save", "status", status=503, count=None))
        await queued(drive, A, b"mine")
        office.add(A, b"thei")
        office.take_requests()
        await until(lambda: office.sandbox.requests.get("save"))  # another try, after it was looked at
        assert sorted((await seen(drive)).values()) == [b"mine", b"thei"]
        office.sandbox.clear_faults()
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"mine", b"thei"]
        assert sorted((await seen(drive)).values()) == [b"mine", b"thei"]
