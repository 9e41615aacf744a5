"""Unlinking and renaming through the composed filesystem, saves under way included."""

import os

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs import errors
from aerofs.sandbox import Access, Fault, Variants
from tests.contract.conftest import WRITE_NEW, Office, later, saved_while_away, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


# -- unlink ----------------------------------------------------------------------------------------------------------


async def test_removing_a_file_is_one_request(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.take_requests()
        await drive.remove(A)
        assert office.take_requests() == {"delete": 1}
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_a_removed_file_whose_save_is_queued_leaves_nothing(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"new")
        drive.network.away = False
        await drive.platform.probe()
        office.take_requests()
        await drive.remove(A)
        assert office.take_requests() == {"delete": 1}
        assert office.stored() == []
        assert await drive.names("invoice/1/scan") == []
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_file_removed_while_the_platform_is_away_goes_when_it_is_back(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(rename_wait=0.5) as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"new")
        await drive.remove(A)
        assert await drive.names("invoice/1/scan") == []
        office.copy_disk("state", "crashed")
        await drive.back()
        assert office.stored() == []
        assert await drive.names("invoice/1/scan") == []
        drive.assert_nothing_left()
    office.add(A, b"old")
    async with office.mounted("crashed") as drive:
        await drive.drained()
        assert [data for _, data in office.stored()] == [b"old"]  # another id: not what was removed
        drive.assert_nothing_left()


async def test_a_removed_file_whose_save_is_held_leaves_nothing(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        office.permit(Access(read_only=True))
        with pytest.raises(errors.DeniedError):
            await drive.write(A, b"new")
        await drive.remove(A)
        assert await drive.names("invoice/1/scan") == []
        await drive.drained()
        drive.assert_nothing_left()


@pytest.mark.parametrize("answered", [False, True])
async def test_a_removed_file_whose_save_is_under_way_leaves_nothing(
    office: Office, *, answered: bool
) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0) as drive, trio.open_nursery() as nursery:
        await drive.find(A)
        with office.sandbox.hold("save", answered=answered) as hold:
            await drive.write(A, b"new")
            await hold.arrived()
            nursery.start_soon(drive.remove, A)
            await until(lambda: any(work.row.cancelled for work in drive.filesystem._uploads))
        await drive.drained()
        assert office.stored() == []
        await until(lambda: not drive.filesystem.saves())
        assert await drive.names("invoice/1/scan") == []
        drive.assert_nothing_left()


async def test_a_removal_that_outlasts_its_wait_goes_on_in_the_journal(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0, rename_wait=0.5) as drive:
        await drive.find(A)
        with office.sandbox.hold("save") as hold:
            await drive.write(A, b"new")
            await hold.arrived()
            await drive.remove(A)
            assert await drive.names("invoice/1/scan") == []
            office.copy_disk("state", "crashed")
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()
    async with office.mounted("crashed") as drive:
        assert await drive.names("invoice/1/scan") == []
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_denied_removal_leaves_the_file(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.permit(Access(may_delete=False))
        with pytest.raises(errors.DeniedError):
            await drive.remove(A)
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.read(A) == b"old"
        drive.assert_nothing_left()


async def test_a_denied_removal_of_a_file_with_a_held_save_leaves_both(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.permit(Access(may_delete=False))
        with pytest.raises(errors.DeniedError):
            await drive.write(A, b"new")
        both = [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]
        assert office.stored() == both  # neither could go
        with pytest.raises(errors.DeniedError):
            await drive.remove(A)
        assert office.stored() == both
        assert await drive.read(A) == b"new"
        assert drive.states() == {"a.txt": "held"}


async def test_an_open_file_that_is_removed_can_be_read_and_written_and_is_gone(office: Office) -> None:
    office.add(A, b"0123456789")
    async with office.mounted() as drive:
        handle = await drive.open(A, os.O_RDWR)
        await drive.filesystem.write(handle, 0, b"AA")
        await drive.remove(A)
        await drive.filesystem.write(handle, 8, b"BB")
        assert await drive.filesystem.read(handle, 0, 100) == b"AA234567BB"
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()


# -- rename ----------------------------------------------------------------------------------------------------------


async def test_a_move_to_another_document_is_a_copy_and_a_delete(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        inode = (await drive.find(A)).inode
        await drive.find("invoice/2/scan")
        office.take_requests()
        await drive.rename(A, "invoice/2/scan/a.txt")
        assert office.take_requests() == {"copy": 1, "delete": 1}
        assert office.stored() == [("2/scan/a.txt", b"old")]
        assert (await drive.find("invoice/2/scan/a.txt")).inode == inode
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_copy_that_tells_nothing_is_told_by_its_bytes(office: Office) -> None:
    office.sandbox.variants = Variants.named("silent-copy")
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.read(A)
        office.take_requests()
        await drive.rename(A, "invoice/2/scan/a.txt")
        assert office.take_requests() == {"copy": 1, "list": 1, "download": 1, "delete": 1}
        assert office.stored() == [("2/scan/a.txt", b"old")]
        drive.assert_nothing_left()


async def test_a_rename_within_a_field_uploads_and_deletes(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.read(A)
        office.take_requests()
        await drive.rename(A, B)
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/b.txt", b"old")]
        assert await drive.names("invoice/1/scan") == ["b.txt"]
        assert await drive.read(B) == b"old"
        drive.assert_nothing_left()


@pytest.mark.parametrize("kind", ["copy", "save"])
async def test_a_move_whose_answer_is_lost_leaves_one_file(office: Office, kind: str) -> None:
    office.add(A, b"old")
    target = "invoice/2/scan/a.txt" if kind == "copy" else B
    async with office.mounted() as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault(kind, "drop_answer"))
        await drive.rename(A, target)
        await drive.drained()
        assert [data for _, data in office.stored()] == [b"old"]
        assert await drive.read(target) == b"old"
        drive.assert_nothing_left()


async def test_a_strangers_file_is_not_taken_for_a_copy_whose_answer_was_lost(office: Office) -> None:
    office.add(A, b"our")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.find("invoice/2/scan")
        office.sandbox.add_fault(Fault("copy", "status", status=502))
        with office.sandbox.hold("list") as hold, trio.move_on_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive.rename, A, "invoice/2/scan/a.txt")
                await hold.arrived()
                office.add("invoice/2/scan/a.txt", b"six")
                hold.release()
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"our", b"six"]
        drive.assert_nothing_left()


async def test_a_source_that_may_not_be_deleted_stays_and_the_copy_goes(office: Office) -> None:
    office.add("invoice/1/contract/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/contract/a.txt")
        with pytest.raises(errors.RefusedError):
            await drive.rename("invoice/1/contract/a.txt", "invoice/2/scan/a.txt")
        assert office.stored() == [("1/contract/a.txt", b"old")]
        assert await drive.names("invoice/1/contract") == ["a.txt"]
        assert await drive.names("invoice/2/scan") == []
        assert await drive.read("invoice/1/contract/a.txt") == b"old"
        drive.assert_nothing_left()


async def test_over_an_existing_file_the_target_goes_last(office: Office) -> None:
    first, second = office.add(A, b"one"), office.add(B, b"two")
    async with office.mounted() as drive:
        await drive.find(A)
        office.take_requests()
        await drive.rename(A, B)
        deleted = [seen.path for seen in office.sandbox.traffic.recent if seen.kind == "delete"]
        assert office.stored() == [("1/scan/b.txt", b"one")]
        del first, second, deleted
        assert await drive.names("invoice/1/scan") == ["b.txt"]
        drive.assert_nothing_left()


@pytest.mark.parametrize("refusals", [1, None], ids=["only the target is refused", "and what came as well"])
async def test_a_target_that_may_not_be_deleted_never_costs_the_moved_file(
    office: Office, refusals: int | None
) -> None:
    office.add(A, b"one")
    office.add("invoice/2/copies/a.txt", b"two")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.find("invoice/2/copies/a.txt")
        office.sandbox.add_fault(Fault("delete", "status", status=403, path="copies", count=refusals))
        with pytest.raises(errors.DeniedError):
            await drive.rename(A, "invoice/2/copies/a.txt")
        assert b"one" in [data for _, data in office.stored()]
        assert b"two" in [data for _, data in office.stored()]
        office.sandbox.clear_faults()
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        assert office.stored() == [("2/copies/a.txt", b"one")]
        drive.assert_nothing_left()


async def test_a_queued_save_that_is_renamed_goes_up_under_the_new_name(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"new")
        await drive.rename(A, B)
        assert await drive.read(B) == b"new"
        office.take_requests()
        await drive.back()
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/b.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_queued_save_renamed_over_another_queued_save_is_all_that_goes_up(office: Office) -> None:
    office.add(B, b"old b")
    async with office.mounted() as drive:
        await drive.find(B)
        await saved_while_away(drive, A, b"a")
        await saved_while_away(drive, B, b"b")
        await drive.rename(A, B)
        assert await drive.read(B) == b"a"
        assert office.stored() == [("1/scan/b.txt", b"old b")]
        office.copy_disk("state", "crashed")
        await drive.back()
        assert office.stored() == [("1/scan/b.txt", b"a")]
        drive.assert_nothing_left()


async def test_a_file_whose_save_is_under_way_is_renamed_after_it(office: Office) -> None:
    async with office.mounted(close_wait=0) as drive, trio.open_nursery() as nursery:
        await drive.find("invoice/1/scan")
        with office.sandbox.hold("save") as hold:
            await drive.write(A, b"new")
            await hold.arrived()
            nursery.start_soon(drive.rename, A, B)
            await wait_all_tasks_blocked(0.02)
        await until(lambda: office.stored() == [("1/scan/b.txt", b"new")])
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        assert await drive.names("invoice/1/scan") == ["b.txt"]
        await until(lambda: not drive.filesystem.saves())
        drive.assert_nothing_left()


async def test_a_rename_that_outlasts_the_save_under_way_follows_it(office: Office) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.5) as drive:
        await drive.find("invoice/1/scan")
        with office.sandbox.hold("save") as hold:
            await drive.write(A, b"new")
            await hold.arrived()
            await drive.rename(A, B)
            assert await drive.names("invoice/1/scan") == ["b.txt"]
            assert await drive.read(B) == b"new"
            office.copy_disk("state", "crashed")
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        assert await drive.names("invoice/1/scan") == ["b.txt"]
        assert await drive.read(B) == b"new"
        drive.assert_nothing_left()
    office.sandbox.platform.remove_attachment(
        office.sandbox.platform.attachments("invoice", office.documents["1"], "scan")[0].id
    )
    async with office.mounted("crashed") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_file_renamed_while_it_is_open_is_saved_under_its_new_name(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"new")
        await drive.rename(A, B)
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_saved_file_renamed_while_it_is_open_is_let_go_at_its_close(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"new")
        await drive.filesystem.flush(handle)
        with office.sandbox.hold("save") as hold:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive.rename, A, B)
                await hold.arrived()
                await drive.filesystem.release(handle)
                hold.release()
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        drive.assert_nothing_left()


# -- names that never leave this machine -----------------------------------------------------------------------------


async def test_a_local_name_stays_here_and_over_a_restart(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        office.take_requests()
        await drive.write("invoice/1/scan/.a.txt.swp", b"swap")
        await later(clock, 120)
        assert office.take_requests() == {}
        assert drive.states() == {".a.txt.swp": "local"}
    async with office.mounted() as drive:
        assert await drive.read("invoice/1/scan/.a.txt.swp") == b"swap"
        assert office.take_requests() == {}
        await drive.remove("invoice/1/scan/.a.txt.swp")
        assert office.take_requests() == {}
        await until(lambda: not drive.store.journal.load())
        drive.assert_nothing_left()


async def test_a_local_file_renamed_after_a_restart_is_saved(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.write("invoice/1/scan/a.part", b"whole")
    async with office.mounted() as drive:
        await drive.rename("invoice/1/scan/a.part", A)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"whole")]
        drive.assert_nothing_left()


async def test_a_backup_and_a_new_file_are_one_save_and_one_delete(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.read(A)
        office.take_requests()
        await drive.rename(A, A + "~")
        assert office.stored() == [("1/scan/a.txt", b"old")]
        assert await drive.names("invoice/1/scan") == ["a.txt~"]
        await drive.write(A, b"new")
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/a.txt", b"new")]
        assert await drive.read(A + "~") == b"old"
        assert await drive.names("invoice/1/scan") == ["a.txt", "a.txt~"]
        await drive.remove(A + "~")
        assert office.take_requests() == {}
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_file_put_aside_is_back_when_no_new_one_comes(office: Office, clock: MockClock) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.read(A)
        await drive.rename(A, A + "~")
        office.take_requests()
        await later(clock, 61)
        await until(lambda: not drive.filesystem._tree.placed())
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.read(A) == b"old"
        assert office.take_requests() == {}
        drive.assert_nothing_left()


async def test_a_file_put_aside_and_changed_there_is_saved_when_it_is_back(
    office: Office, clock: MockClock
) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.rename(A, A + "~")
        await drive.write(A + "~", b"changed")
        await later(clock, 61)
        await until(lambda: office.stored() == [("1/scan/a.txt", b"changed")])
        await drive.drained()
        assert await drive.read(A) == b"changed"
        await until(lambda: not drive.store.journal.load())
        drive.assert_nothing_left()


async def test_a_backup_of_a_queued_save_gives_way_to_the_new_file(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"one")
        await drive.rename(A, A + "~")
        await saved_while_away(drive, A, b"two")
        assert await drive.read(A + "~") == b"one"
        await drive.back()
        assert office.stored() == [("1/scan/a.txt", b"two")]
        assert await drive.read(A + "~") == b"one"
        await drive.remove(A + "~")
        assert office.stored() == [("1/scan/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_a_temporary_file_renamed_over_the_original_is_a_save_and_a_delete(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.take_requests()
        handle = await drive.open("invoice/1/scan/sedAbCdEf", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.filesystem.write(handle, 0, b"new")
        await drive.close(handle)
        assert office.stored() == [("1/scan/a.txt", b"old")]
        with office.sandbox.hold("save", answered=True) as hold:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive.rename, "invoice/1/scan/sedAbCdEf", A)
                await hold.arrived()
                assert (f"1/scan/{A[-5:]}", b"old") in office.stored()
                hold.release()
        await drive.drained()
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/a.txt", b"new")]
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        drive.assert_nothing_left()


async def test_a_lookalike_of_a_temporary_file_is_saved_after_a_minute(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/sedans", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.close(handle)
        handle = await drive.open("invoice/1/scan/sedation", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.close(handle)
        await drive.drained()
        office.sandbox.reset_counts()
        handle = await drive.open("invoice/1/scan/sedation1", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.close(handle)
        handle = await drive.open("invoice/1/scan/sedatives", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.filesystem.write(handle, 0, b"x")
        await drive.close(handle)
        handle = await drive.open("invoice/1/scan/sedA1b2c3", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.filesystem.write(handle, 0, b"real")
        await drive.close(handle)
        await drive.drained()
        assert ("1/scan/sedA1b2c3", b"real") not in office.stored()
        await later(clock, 61)
        await until(lambda: ("1/scan/sedA1b2c3", b"real") in office.stored())
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_refused_publication_leaves_everything_as_before(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.write("invoice/1/scan/a.part", b"new")
        office.permit(Access(read_only=True))
        with pytest.raises(errors.DeniedError):
            await drive.rename("invoice/1/scan/a.part", A)
        assert office.stored() == [("1/scan/a.txt", b"old")]
        assert await drive.names("invoice/1/scan") == ["a.part", "a.txt"]
        assert await drive.read(A) == b"old"
        assert await drive.read("invoice/1/scan/a.part") == b"new"
        assert drive.states() == {"a.part": "local"}
        office.permit(Access())
        await drive.rename("invoice/1/scan/a.part", A)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


# -- full fields -----------------------------------------------------------------------------------------------------


async def test_the_only_file_of_a_field_for_one_is_replaced(office: Office) -> None:
    office.add("invoice/1/single/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/single/a.txt")
        office.take_requests()
        await drive.write("invoice/1/single/a.txt", b"new")
        assert office.take_requests() == {"list": 1, "save": 1}
        assert office.stored() == [("1/single/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_field_for_one_that_holds_a_strangers_file_is_left_alone(office: Office) -> None:
    first = office.add("invoice/1/single/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/single/a.txt")
        office.sandbox.platform.remove_attachment(first)
        office.add("invoice/1/single/a.txt", b"theirs")
        with pytest.raises(errors.QuotaError):
            await drive.write("invoice/1/single/a.txt", b"our")
        assert office.stored() == [("1/single/a.txt", b"theirs")]
        assert drive.states() == {"a.txt": "held"}
        assert await drive.read("invoice/1/single/a.txt") == b"our"


async def test_in_a_full_field_the_old_version_makes_room(office: Office) -> None:
    office.add("invoice/1/few/a.txt", b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        await drive.write("invoice/1/few/a.txt", b"new")
        assert office.stored() == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        await drive.drained()
        drive.assert_nothing_left()


async def test_what_made_room_is_put_back_when_its_successor_is_refused(office: Office) -> None:
    office.add("invoice/1/few/a.txt", b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await drive.write("invoice/1/few/a.txt", b"new")
        assert office.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
        assert drive.states() == {"a.txt": "held"}
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        assert office.stored() == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_a_field_that_somebody_else_filled_makes_room_too(office: Office) -> None:
    office.add("invoice/1/few/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        office.add("invoice/1/few/b.txt", b"other")
        await drive.write("invoice/1/few/a.txt", b"new")
        assert office.stored() == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_a_full_field_takes_no_new_file(office: Office) -> None:
    office.add("invoice/1/few/a.txt", b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        with pytest.raises(errors.QuotaError):
            await drive.write("invoice/1/few/c.txt", b"new")
        drive.assert_nothing_left()


async def test_a_required_field_is_never_empty(office: Office) -> None:
    office.add("invoice/1/contract/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/contract/a.txt")
        await drive.write("invoice/1/contract/a.txt", b"new")
        assert office.stored() == [("1/contract/a.txt", b"new")]
        with pytest.raises(errors.RefusedError):
            await drive.remove("invoice/1/contract/a.txt")
        assert await drive.names("invoice/1/contract") == ["a.txt"]
        drive.assert_nothing_left()


async def test_a_base_that_may_not_be_deleted_sends_the_new_version_back(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault("delete", "status", status=403))  # the first: of the base
        with pytest.raises(errors.DeniedError):
            await drive.write(A, b"new")
        assert office.stored() == [("1/scan/a.txt", b"old")]
        assert drive.states() == {"a.txt": "held"}
        assert await drive.read(A) == b"new"
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


# -- a name that is taken over is given up when the new one stands -----------------------------------------------------


@pytest.mark.parametrize("busy", [False, True], ids=["queued", "under way"])
async def test_a_refused_rename_over_a_save_on_its_way_gives_both_back(office: Office, *, busy: bool) -> None:
    office.add(B, b"old b")
    temporary = "invoice/1/scan/a.part"
    async with office.mounted(close_wait=0, rename_wait=3.0) as drive:
        await drive.write(temporary, b"a")
        await drive.find(B)
        if not busy:
            drive.network.away = True
            await drive.write(B, b"new b")
            await until(lambda: drive.states()["b.txt"] == "queued")
        with office.sandbox.hold("save") as hold:
            if busy:
                await drive.write(B, b"new b")
                await hold.arrived()
            office.permit(Access(read_only=True))
            drive.network.away = False
            await drive.platform.probe()
            if busy:
                office.sandbox.clear_faults()
            async with trio.open_nursery() as nursery:

                async def rename() -> None:
                    with pytest.raises(errors.DeniedError):
                        await drive.rename(temporary, B)

                nursery.start_soon(rename)
                await wait_all_tasks_blocked(0.02)
                hold.release()
        assert await drive.read(temporary) == b"a"
        assert await drive.read(B) == b"new b"
        assert await drive.names("invoice/1/scan") == ["a.part", "b.txt"]
        office.permit(Access())

        def stands_after_a_retry() -> bool:
            drive.filesystem._uploads.retry(held=True)  # (A try may have been refused just before.)
            return office.stored() == [("1/scan/b.txt", b"new b")]

        await until(stands_after_a_retry)
        await drive.remove(temporary)
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_refused_rename_over_a_rename_on_its_way_gives_both_back(office: Office) -> None:
    office.add(A, b"a")
    office.add("invoice/1/scan/c.txt", b"c")
    async with office.mounted(rename_wait=3.0) as drive:
        for path in (A, "invoice/1/scan/c.txt"):
            await drive.read(path)
        drive.network.away = True
        await drive.rename("invoice/1/scan/c.txt", B)
        office.permit(Access(read_only=True))
        drive.network.away = False
        await drive.platform.probe()
        with pytest.raises(errors.DeniedError):
            await drive.rename(A, B)
        assert await drive.read(A) == b"a"
        assert await drive.read(B) == b"c"
        assert office.stored() == [("1/scan/a.txt", b"a"), ("1/scan/c.txt", b"c")]
        office.permit(Access())
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: office.stored() == [("1/scan/a.txt", b"a"), ("1/scan/b.txt", b"c")])
        await drive.drained()
        assert await drive.names("invoice/1/scan") == ["a.txt", "b.txt"]
        drive.assert_nothing_left()


async def test_a_file_whose_own_rename_is_not_settled_is_whole_until_the_later_one_stands(
    office: Office,
) -> None:
    office.add("invoice/1/scan/c.txt", b"c")
    async with office.mounted(close_wait=0, rename_wait=0.5) as drive:
        await drive.read("invoice/1/scan/c.txt")
        with office.sandbox.hold("save") as hold:
            await drive.rename("invoice/1/scan/c.txt", B)
            await hold.arrived()
            await drive.write(A, b"a")
            # Both are on their way, and a row waits for one other only.
            with pytest.raises(errors.DeadlineError):
                await drive.rename(A, B)
            assert await drive.names("invoice/1/scan") == ["a.txt", "b.txt"]
            assert await drive.read(A) == b"a"
            assert await drive.read(B) == b"c"
            assert b"c" in [data for _, data in office.stored()]
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"a"), ("1/scan/b.txt", b"c")]
        await drive.rename(A, B)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"a")]
        drive.assert_nothing_left()


async def test_over_a_save_that_is_through_in_time_a_file_on_its_way_is_renamed(office: Office) -> None:
    async with office.mounted(close_wait=0) as drive, trio.open_nursery() as nursery:
        await drive.find("invoice/1/scan")
        with office.sandbox.hold("save") as hold:
            await drive.write(B, b"b")
            await hold.arrived()
            await drive.write(A, b"a")
            nursery.start_soon(drive.rename, A, B)
            await wait_all_tasks_blocked(0.02)
        await until(lambda: office.stored() == [("1/scan/b.txt", b"a")])
        await drive.drained()
        assert await drive.names("invoice/1/scan") == ["b.txt"]
        assert await drive.read(B) == b"a"
        await until(lambda: not drive.filesystem.saves())
        drive.assert_nothing_left()


async def test_a_name_whose_save_is_held_in_doubt_is_not_taken_over_by_one_on_its_way(office: Office) -> None:
    office.add(B, b"old")
    async with office.mounted(close_wait=5) as drive:
        await drive.find(B)
        office.permit(Access(may_delete=False))
        with pytest.raises(errors.DeniedError):
            await drive.write(B, b"new")  # both stand: neither may go
        office.permit(Access())
        await saved_while_away(drive, A, b"a")
        with pytest.raises(errors.RefusedError):
            await drive.rename(A, B)
        assert await drive.read(B) == b"new"
        assert await drive.read(A) == b"a"
