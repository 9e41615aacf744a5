"""What a platform, or a colleague on it, does between two tries: what was believed before is looked at again."""

import os
from contextlib import suppress

import pytest
import trio

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import Office, queued, saved_while_away, until

A = "invoice/1/scan/a.txt"
THERE = "invoice/2/scan/a.txt"


# -- ours is gone before the old one is ------------------------------------------------------------------------------


async def test_the_old_version_is_not_deleted_for_a_new_one_that_a_colleague_deleted_meanwhile(
    office: Office,
) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        await queued(drive, A, b"our")
        assert [data for _, data in office.stored()] == [b"old", b"our"]
        office.tidy_up("1/scan", b"our")
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our")]
        assert await drive.read(A) == b"our"
        drive.assert_nothing_left()


async def test_the_source_of_a_move_is_not_deleted_for_a_copy_that_a_colleague_deleted_meanwhile(
    office: Office,
) -> None:
    office.add(A, b"our")
    async with office.mounted(rename_wait=0.5) as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        await drive.rename(A, THERE)
        await until(lambda: drive.states() == {"a.txt": "queued"})
        office.tidy_up("2/scan", b"our")
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("2/scan/a.txt", b"our")]
        assert await drive.read(THERE) == b"our"
        drive.assert_nothing_left()


@pytest.mark.parametrize("retry_after", [None, 1.0])
async def test_a_deletion_is_not_repeated_for_a_new_version_that_is_gone_by_now(
    office: Office, retry_after: float | None
) -> None:
    """Within one call, too, which may pause for as long as the platform asks for."""
    office.add(A, b"our")
    async with office.mounted(rename_wait=0.1) as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=2, retry_after=retry_after))
        await drive.rename(A, THERE)
        await until(lambda: office.sandbox.requests["delete"])
        office.tidy_up("2/scan", b"our")
        await drive.drained()
        assert office.stored() == [("2/scan/a.txt", b"our")]
        drive.assert_nothing_left()


async def test_what_a_colleague_deletes_over_a_crash_is_not_believed_to_stand(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        await queued(drive, A, b"our")
    office.tidy_up("1/scan", b"our")
    office.sandbox.clear_faults()
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our")]
        drive.assert_nothing_left()


async def test_a_whole_document_that_went_takes_no_save_with_it(office: Office) -> None:
    office.add(A, b"our")
    async with office.mounted(rename_wait=0.5) as drive:
        await drive.find(A)
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        await drive.rename(A, THERE)
        await until(lambda: drive.states() == {"a.txt": "queued"})
        office.sandbox.platform.remove_document("invoice", office.documents["2"])
        office.sandbox.clear_faults()
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert office.stored("1/scan") == [("1/scan/a.txt", b"our")]


async def test_what_was_taken_back_before_a_crash_is_brought_up_again(office: Office) -> None:
    """The old version may go by then; the journal does not know yet that the new one had to."""
    office.add(A, b"old")
    async with office.mounted("alive") as drive:
        assert await drive.read(A) == b"old"
        office.sandbox.add_fault(Fault("delete", "status", status=403))
        drive.network.cut(2, answered=True, crashed=lambda: office.copy_disk("alive", "dead"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.write, A, b"our")
            await drive.network.reached.wait()
            nursery.cancel_scope.cancel()
        assert office.stored() == [("1/scan/a.txt", b"old")]
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our")]
        drive.assert_nothing_left()


async def test_what_was_taken_back_though_the_answer_was_lost_is_brought_up_again(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        office.sandbox.add_fault(Fault("delete", "status", status=403))
        office.sandbox.add_fault(Fault("delete", "drop_answer", after=1))
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=8))
        await queued(drive, A, b"our")
        assert office.stored() == [("1/scan/a.txt", b"old")]
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our")]
        drive.assert_nothing_left()


# -- a yes that names nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", ["a.txt", "other.txt"])
@pytest.mark.parametrize("data", [b"theirs, longer", b"sam"])
async def test_a_colleagues_file_is_not_ours_because_the_platform_said_yes(
    office: Office, theirs: str, data: bytes
) -> None:
    """Though it is the only new one: ours is held, what it was to replace stands, and nothing of theirs is touched."""
    office.add(A, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        office.sandbox.add_fault(Fault("save", "pretend"))
        office.add(f"invoice/1/scan/{theirs}", data)
        with pytest.raises(errors.ProtocolError):
            await drive.write(A, b"our")
        assert drive.states() == {"a.txt": "held"}
        assert await drive.read(A) == b"our"
        assert sorted(each for _, each in office.stored()) == sorted([b"old", data])
        await drive.remove(A)
        await drive.drained()
        assert office.stored() == [(f"1/scan/{theirs}", data)]


async def test_a_copy_is_not_what_else_arrived_because_the_platform_said_yes(office: Office) -> None:
    office.add(A, b"our")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.names("invoice/2/scan")
        office.sandbox.add_fault(Fault("copy", "pretend"))
        office.add("invoice/2/scan/other.txt", b"sam")
        with pytest.raises(errors.ProtocolError):
            await drive.rename(A, THERE)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our"), ("2/scan/other.txt", b"sam")]


@pytest.mark.parametrize("theirs", [b"not", b"longer"])
async def test_a_copy_is_not_a_colleagues_file_of_its_name_because_the_platform_said_yes(
    office: Office, theirs: bytes
) -> None:
    """Nor where that has its size: the source would be deleted, and its bytes be nowhere."""
    office.add(A, b"our")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.names("invoice/2/scan")
        office.sandbox.add_fault(Fault("copy", "pretend"))
        office.add(THERE, theirs)
        with pytest.raises(errors.ProtocolError):
            await drive.rename(A, THERE)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our"), ("2/scan/a.txt", theirs)]


# -- what was never sent ---------------------------------------------------------------------------------------------


async def test_what_was_never_sent_is_not_found_in_a_colleagues_file_of_equal_bytes(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        await saved_while_away(drive, A, b"the same scan")
    office.add(A, b"the same scan")
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"the same scan")] * 2
        drive.assert_nothing_left()


@pytest.mark.parametrize("first", ["away", "refused"])
async def test_what_was_sent_at_the_second_try_arrives_once_over_a_crash(office: Office, first: str) -> None:
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        if first == "away":
            await saved_while_away(drive, A, b"our")
        else:
            office.sandbox.add_fault(Fault("save", "status", status=403))
            with pytest.raises(errors.DeniedError):
                await drive.write(A, b"our")
        with office.sandbox.hold("save", answered=True) as hold:
            drive.network.away = False
            drive.filesystem._uploads.retry(held=True)
            await hold.arrived()
            await until(office.stored)
            office.copy_disk("state", "dead")
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our")]
        drive.assert_nothing_left()


# -- ours is gone, and a colleague's stands in its place ---------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
async def test_a_colleague_who_replaces_a_save_of_ours_before_it_is_through_is_not_taken_for_a_bystander(
    office: Office, *, again: bool
) -> None:
    async with office.mounted(document_ttl=0.1) as drive:
        office.add(A, b"base")
        assert await drive.read(A) == b"base"
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        await queued(drive, A, b"ours")
        office.tidy_up("1/scan", b"ours")
        office.add(A, b"theirs")
        drive.filesystem.refresh()
        await drive.names("invoice/1/scan")
        data = b"ours"
        if again:
            data = b"OURS"
            handle = await drive.open(A, os.O_WRONLY)
            await drive.filesystem.write(handle, 0, data)
        office.sandbox.clear_faults()
        if again:
            with suppress(errors.AerofsError):
                await drive.close(handle)
        drive.filesystem.retry()
        await drive.drained()
        (conflict,) = drive.filesystem.waiting.conflicts()
        beside = conflict["ours"]
        assert office.stored() == sorted([("1/scan/a.txt", b"theirs"), (f"1/scan/{beside}", data)])


# -- a save that arrived unheard, and a rename of it that is refused --------------------------------------------------


@pytest.mark.parametrize("opened", [False, True])
async def test_a_refused_rename_of_what_arrived_unheard_leaves_no_row_without_bytes(
    office: Office, *, opened: bool
) -> None:
    async with office.mounted() as drive:
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        await queued(drive, A, b"our")
        handles = [await drive.open(A, os.O_RDONLY)] if opened else []
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await drive.rename(A, "invoice/2/scan/b.txt")
        await drive.drained()
        for handle in handles:
            await drive.close(handle)
        assert office.stored() == [("1/scan/a.txt", b"our")]
        assert await drive.read(A) == b"our"
        drive.assert_nothing_left()
