"""What a person decides about a save that waits: tried again, forgotten, taken out."""

import os
import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs import errors
from aerofs.content.decisions import Unmounted
from aerofs.errors import DeniedError, NotFoundError, RefusedError
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, queued, saved_while_away, settled_down, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


async def held(office: Office, drive: Drive, path: str = A, data: bytes = b"new") -> int:
    """A save that the platform refuses. Returns its id."""
    await drive.find(path.rpartition("/")[0])
    office.permit(Access(read_only=True))
    with pytest.raises(DeniedError):
        await drive.write(path, data)
    office.permit(Access())
    (save,) = drive.filesystem.saves()
    assert (save["state"], save["size"], save["tries"]) == ("held", len(data), 1)
    assert abs(save["since"] - save["mtime_ns"] / 1e9) < 10
    return int(save["id"])


async def beside_its_base(office: Office, drive: Drive) -> None:
    """A version that is not through: it stands beside the one that it replaces, which may not be deleted."""
    await drive.find(A)
    office.permit(Access(may_delete=False))
    with pytest.raises(errors.AerofsError):
        await drive.write(A, b"new")


async def discard(drive: Drive, number: int) -> None:
    with trio.fail_after(20):
        assert number in [row["id"] for row in await drive.filesystem.waiting.discard(number)]


async def test_a_discarded_new_file_is_gone(office: Office) -> None:
    async with office.mounted() as drive:
        await discard(drive, await held(office, drive))
        assert await drive.names("invoice/1/scan") == []
        with pytest.raises(NotFoundError):
            await drive.find(A)
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_a_discarded_overwrite_shows_what_the_platform_has_and_readers_keep_theirs(
    office: Office,
) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        before = await drive.find(A)
        number = await held(office, drive)
        drafted = await drive.find(A)
        reader = await drive.open(A, os.O_RDONLY)
        await discard(drive, number)
        assert await drive.read(A) == b"old"
        shown = await drive.find(A)
        assert shown.inode != drafted.inode  # the kernel's pages of the draft are not those of this file
        assert (shown.size, shown.mtime_ns) == (3, before.mtime_ns)
        assert await drive.filesystem.read(reader, 0, 100) == b"new"
        await drive.close(reader)
        await drive.write(A, b"newer")
        assert office.stored() == [("1/scan/a.txt", b"newer")]
        drive.assert_nothing_left()


async def test_a_discarded_save_stays_forgotten_over_a_remount(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await discard(drive, await held(office, drive))
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        drive.assert_nothing_left()


async def test_a_retried_save_goes_up_once_it_may_and_says_so_if_it_may_not(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        number = await held(office, drive)
        office.permit(Access(read_only=True))
        (outcome,) = await drive.filesystem.waiting.retry(number)
        assert (outcome["state"], outcome["tries"]) == ("held", 2)
        assert outcome["error"]
        office.permit(Access())
        (outcome,) = await drive.filesystem.waiting.retry(None)
        assert (outcome["state"], outcome["error"]) == ("done", None)
        assert office.stored() == [("1/scan/a.txt", b"new")]
        with pytest.raises(NotFoundError, match=f"no save {number}"):
            await drive.filesystem.waiting.retry(number)
        drive.assert_nothing_left()


async def test_a_save_under_way_is_not_discarded_but_waited_for(office: Office) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        await drive.find("invoice/1/scan")
        with office.sandbox.hold("save") as save:
            await drive.write(A, b"new")
            await save.arrived()
            (shown,) = drive.filesystem.saves()
            assert (shown["state"], shown["sent"]) == ("uploading", 3)
            with pytest.raises(RefusedError, match="on its way"):
                await drive.filesystem.waiting.discard(shown["id"])
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_save_that_arrives_while_it_is_to_be_discarded_is_on_the_platform(office: Office) -> None:
    async with office.mounted(close_wait=0) as drive:
        await drive.find("invoice/1/scan")
        with office.sandbox.hold("save") as save:
            await drive.write(A, b"new")
            await save.arrived()
            (shown,) = drive.filesystem.saves()
            async with trio.open_nursery() as nursery:

                async def decide() -> None:
                    with pytest.raises(NotFoundError, match="has just arrived"):
                        await drive.filesystem.waiting.discard(shown["id"])

                nursery.start_soon(decide)
                await wait_all_tasks_blocked(0.02)
                save.release()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_file_that_is_open_for_writing_is_not_taken_from_its_writer(office: Office) -> None:
    async with office.mounted() as drive:
        number = await held(office, drive)
        handle = await drive.open(A, os.O_WRONLY)
        with pytest.raises(RefusedError, match="open for writing"):
            await drive.filesystem.waiting.discard(number)
        await drive.filesystem.write(handle, 3, b"er")
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"newer")]
        drive.assert_nothing_left()


async def test_after_a_discarded_rename_the_source_and_what_it_went_over_are_seen_again(
    office: Office,
) -> None:
    office.add(A, b"source")
    office.add(B, b"target")
    async with office.mounted() as drive:
        reader = await drive.open(A, os.O_RDONLY)
        drive.network.away = True
        await drive.rename(A, B)
        assert await drive.names("invoice/1/scan") == ["b.txt"]
        (save,) = drive.filesystem.saves()
        with pytest.raises(RefusedError, match="has no bytes here"):
            drive.filesystem.waiting.content(save["id"])
        await discard(drive, save["id"])
        drive.network.away = False
        await drive.platform.probe()
        assert await drive.names("invoice/1/scan") == ["a.txt", "b.txt"]
        assert (await drive.read(A), await drive.read(B)) == (b"source", b"target")
        assert await drive.filesystem.read(reader, 0, 100) == b"source"
        await drive.close(reader)
        drive.assert_nothing_left()
        assert office.stored() == [("1/scan/a.txt", b"source"), ("1/scan/b.txt", b"target")]


async def test_of_a_save_that_was_renamed_the_base_is_seen_again_under_its_name(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"new")
        await drive.rename(A, B)
        (save,) = drive.filesystem.saves()
        await discard(drive, save["id"])
        drive.network.away = False
        await drive.platform.probe()
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.read(A) == b"old"
        drive.assert_nothing_left()


async def test_what_may_have_arrived_is_taken_back_and_the_base_is_left_alone(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("list", "status", count=None))
        await queued(drive, A, b"new")
        assert len(office.stored()) == 2
        (save,) = drive.filesystem.saves()
        await discard(drive, save["id"])
        assert [each["withdrawn"] for each in drive.filesystem.saves()] == [True]
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"old")]
        assert await drive.read(A) == b"old"
        drive.assert_nothing_left()


async def test_of_a_version_that_stands_beside_its_base_both_are_left(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await beside_its_base(office, drive)
        (save,) = drive.filesystem.saves()
        await discard(drive, save["id"])
        assert sorted(data for _, data in office.stored()) == [b"new", b"old"]
        assert len(await drive.names("invoice/1/scan")) == 2
        drive.assert_nothing_left()


async def test_of_a_later_save_behind_such_a_version_nothing_is_left(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await beside_its_base(office, drive)
        with pytest.raises(errors.AerofsError):
            await drive.write(A, b"NEW")
        reader = await drive.open(A, os.O_RDONLY)
        _, later = drive.filesystem.saves()
        await discard(drive, later["id"])
        assert sorted(data for _, data in office.stored()) == [b"new", b"old"]
        names = await drive.names("invoice/1/scan")
        assert sorted([await drive.read(f"invoice/1/scan/{name}") for name in names]) == [b"new", b"old"]
        assert await drive.filesystem.read(reader, 0, 100) == b"NEW"
        await drive.close(reader)
        drive.assert_nothing_left()


async def test_a_rename_behind_such_a_version_is_forgotten_and_both_are_left(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(rename_wait=0.2) as drive:
        await beside_its_base(office, drive)
        drive.network.away = True
        await drive.rename(A, B)
        await until(lambda: {save["state"] for save in drive.filesystem.saves()} == {"queued"})
        (*_, later) = drive.filesystem.saves()
        await discard(drive, later["id"])
        drive.network.away = False
        await drive.platform.probe()
        names = await drive.names("invoice/1/scan")
        assert len(names) == 2
        assert "b.txt" not in names
        assert sorted([await drive.read(f"invoice/1/scan/{name}") for name in names]) == [b"new", b"old"]
        drive.assert_nothing_left()


async def test_a_save_that_a_rename_went_over_counts_no_more_with_and_without_a_mount(office: Office) -> None:
    office.add(A, b"other")
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.names("invoice/1/scan")
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("list", "status", count=None))
        await queued(drive, B, b"new")
        await drive.rename(A, B)
        save, rename = (each["id"] for each in drive.filesystem.saves())
        with pytest.raises(RefusedError, match=f"save {rename} is a later one"):
            await drive.filesystem.waiting.discard(save)

    def unmounted() -> None:
        refused = pytest.raises(RefusedError, match=f"save {rename} is a later one")
        with Unmounted(office.disk / "state") as state, refused:
            state.discard(save)

    await trio.to_thread.run_sync(unmounted)
    office.sandbox.clear_faults()
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_what_keeps_the_only_copy_of_another_file_is_not_discarded(office: Office) -> None:
    office.add("invoice/1/few/a.txt", b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        office.sandbox.add_fault(Fault("save", "status", status=403, count=None))
        with pytest.raises(errors.AerofsError):
            await drive.write("invoice/1/few/a.txt", b"new")
        (save,) = drive.filesystem.saves()
        with pytest.raises(RefusedError, match=r"only copy of a\.txt"):
            await drive.filesystem.waiting.discard(save["id"])
        office.sandbox.clear_faults()
        (outcome,) = await drive.filesystem.waiting.retry(save["id"])
        assert outcome["state"] == "done"
        assert office.stored() == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_an_earlier_save_counts_no_more_and_the_later_one_takes_it_along(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("list", "status", count=None))
        for data in (b"first", b"second"):
            await queued(drive, A, data)
        first, second = drive.filesystem.saves()
        with pytest.raises(RefusedError, match=f"save {second['id']} is a later one"):
            await drive.filesystem.waiting.discard(first["id"])
        forgotten = await drive.filesystem.waiting.discard(second["id"])
        assert [(row["id"], row["withdrawn"]) for row in forgotten] == [
            (first["id"], True),
            (second["id"], False),
        ]
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"old")]
        drive.assert_nothing_left()


async def test_a_save_and_the_rename_that_waits_for_it_are_one_decision(office: Office) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
        await drive.find("invoice/1/scan")
        office.sandbox.add_fault(Fault("save", "status", status=503, count=None))
        with office.sandbox.hold("save") as save:
            await drive.write(A, b"new")
            await save.arrived()
            await drive.rename(A, B)
        await until(lambda: drive.filesystem.saves()[0]["tries"])
        one, two = drive.filesystem.saves()
        assert two["after"] == one["id"]
        await discard(drive, two["id"])
        assert await drive.names("invoice/1/scan") == []
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_a_name_of_this_machine_is_not_tried_but_can_be_discarded(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/.~lock.a#", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"mine")
        await drive.filesystem.fsync(handle)
        (save,) = drive.filesystem.saves()
        assert (save["state"], save["size"]) == ("local", 4)
        waiting = drive.filesystem.waiting
        with pytest.raises(RefusedError, match="nothing to try"):
            await waiting.retry(save["id"])
        with pytest.raises(RefusedError, match="close it first"):
            await waiting.discard(save["id"])
        with open(waiting.content(save["id"])["file"], "rb") as file:  # noqa: ASYNC230, PTH123
            assert file.read() == b"mine"
        await drive.close(handle)
        await discard(drive, save["id"])
        assert await drive.names("invoice/1/scan") == []
        drive.assert_nothing_left()


async def test_what_is_put_aside_is_not_taken_from_the_name_that_it_has_now(
    office: Office, clock: MockClock
) -> None:
    del clock
    office.add(A, b"old")
    async with office.mounted() as drive:
        number = await held(office, drive)
        await drive.rename(A, A + "~")
        for each in drive.filesystem.saves():
            with pytest.raises(RefusedError, match=r"a name of this machine|rm removes both"):
                await drive.filesystem.waiting.discard(each["id"])
        await drive.rename(A + "~", A)
        await discard(drive, number)
        assert await drive.read(A) == b"old"
        drive.assert_nothing_left()


async def test_conflicts_are_remembered_with_both_names_also_by_the_next_mount(
    office: Office, clock: MockClock
) -> None:
    old = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.sandbox.platform.remove_attachment(old)
        office.add(A, b"theirs")
        await drive.write(A, b"ours")
        (conflict,) = drive.filesystem.waiting.conflicts()
        assert (conflict["path"], conflict["theirs"]) == (A, "a.txt")
        await settled_down(clock)
        assert await drive.read(f"invoice/1/scan/{conflict['ours']}") == b"ours"
        assert await drive.read(A) == b"theirs"
        assert 0 <= time.time() - conflict["at"] < 60
        drive.assert_nothing_left()
    async with office.mounted() as drive:
        assert drive.filesystem.waiting.conflicts() == [conflict]
    (office.disk / "state" / "conflicts.json").write_bytes(b"[{")  # damaged: no reason not to mount
    async with office.mounted() as drive:
        assert drive.filesystem.waiting.conflicts() == []
