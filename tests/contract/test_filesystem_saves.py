"""Saves through the composed filesystem: when they are made, how many requests they cost, what they leave behind."""

import errno
import os

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs import errors
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import (
    WRITE_NEW,
    Office,
    later,
    queued,
    refused,
    saved_while_away,
    settled_down,
    until,
)


async def test_a_new_file_is_one_request(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        office.take_requests()
        await drive.write("invoice/1/scan/a.txt", b"new")
        assert office.take_requests() == {"save": 1}
        assert office.stored() == [("1/scan/a.txt", b"new")]
        assert await drive.read("invoice/1/scan/a.txt") == b"new"
        assert office.take_requests() == {}
        drive.assert_nothing_left()


async def test_an_overwritten_file_is_a_save_and_a_delete(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        office.take_requests()
        await drive.write("invoice/1/scan/a.txt", b"new")
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_an_empty_file_waits_for_its_release(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        await drive.filesystem.flush(handle)
        assert office.stored() == []
        await drive.filesystem.release(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"")]
        drive.assert_nothing_left()


async def test_an_empty_file_that_stays_open_is_uploaded_after_two_seconds_of_quiet(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        await drive.filesystem.flush(handle)
        assert office.stored() == []
        await later(clock, 2)
        await until(office.stored)
        assert office.stored() == [("1/scan/a.txt", b"")]
        await drive.close(handle)
        await drive.drained()
        assert office.take_requests()["save"] == 1
        drive.assert_nothing_left()


async def test_a_file_truncated_for_rewriting_is_not_uploaded_empty(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", os.O_WRONLY | os.O_TRUNC)
        await drive.filesystem.flush(handle)  # as `echo > x` does, through dup
        assert office.stored() == [("1/scan/a.txt", b"old")]
        await drive.filesystem.write(handle, 0, b"new")
        await drive.close(handle)
        assert office.stored() == [("1/scan/a.txt", b"new")]
        assert office.take_requests()["save"] == 1
        drive.assert_nothing_left()


async def test_a_handle_that_is_flushed_again_and_again_costs_two_uploads(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        for count in range(10):
            await drive.filesystem.write(handle, count, b"x")
            await drive.filesystem.flush(handle)
        await drive.filesystem.release(handle)
        await drive.drained()
        assert office.take_requests() == {"save": 2, "delete": 1}
        assert office.stored() == [("1/scan/a.txt", b"x" * 10)]
        drive.assert_nothing_left()


async def test_a_write_after_the_last_flush_is_saved_at_the_release(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", os.O_RDWR | os.O_CREAT)
        await drive.filesystem.write(handle, 0, b"one")
        await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 0, b"two")  # mmap
        await drive.filesystem.release(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_writers_of_one_file_share_its_draft(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", b"0123456789")
    async with office.mounted() as drive:
        one = await drive.open("invoice/1/scan/a.txt", os.O_RDWR)
        two = await drive.open("invoice/1/scan/a.txt", os.O_RDWR)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.filesystem.write, one, 0, b"AA")
            nursery.start_soon(drive.filesystem.write, two, 8, b"BB")
        assert await drive.filesystem.read(one, 0, 100) == b"AA234567BB"
        await drive.close(one)
        await drive.close(two)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"AA234567BB")]
        drive.assert_nothing_left()


async def test_a_write_during_an_upload_does_not_change_what_is_sent(office: Office) -> None:
    async with office.mounted() as drive, trio.open_nursery() as nursery:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"one")
        with office.sandbox.hold("save", answered=True) as hold:
            nursery.start_soon(drive.filesystem.flush, handle)
            await hold.arrived()
            await drive.filesystem.write(handle, 0, b"two")
        await until(lambda: office.stored() == [("1/scan/a.txt", b"one")])
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_a_draft_over_the_fields_limit_is_refused_and_the_old_version_stays(office: Office) -> None:
    office.add("invoice/1/small/a.txt", b"old")
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/small/a.txt", os.O_WRONLY)
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 0, b"x" * 20_000)
        for _ in range(2):
            with pytest.raises(errors.TooLargeError):
                await drive.filesystem.flush(handle)
        await drive.filesystem.release(handle)
        await drive.drained()
        assert await drive.read("invoice/1/small/a.txt") == b"old"
        assert office.stored() == [("1/small/a.txt", b"old")]
        drive.assert_nothing_left()


async def test_a_new_file_that_was_refused_leaves_no_name(office: Office) -> None:
    async with office.mounted() as drive:
        with pytest.raises(errors.TooLargeError):
            await drive.write("invoice/1/small/a.txt", b"x" * 20_000)
        await drive.drained()
        assert await drive.names("invoice/1/small") == []
        drive.assert_nothing_left()


async def test_a_refusal_after_a_save_that_still_moves_lets_go_of_the_draft(office: Office) -> None:
    async with office.mounted() as drive, trio.open_nursery() as nursery:
        handle = await drive.open("invoice/1/small/a.txt", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"good")
        with office.sandbox.hold("save") as hold:
            nursery.start_soon(drive.filesystem.flush, handle)
            await hold.arrived()
            with pytest.raises(errors.TooLargeError):
                await drive.filesystem.write(handle, 0, b"x" * 20_000)
            await drive.filesystem.release(handle)
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"good")]
        assert await drive.read("invoice/1/small/a.txt") == b"good"
        drive.assert_nothing_left()


async def test_truncating_beyond_the_limit_without_a_handle_leaves_the_old_version(office: Office) -> None:
    office.add("invoice/1/small/a.txt", b"old")
    async with office.mounted() as drive:
        node = await drive.node("invoice/1/small/a.txt")
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem._files.resize(node, 20_000, None)
        assert await drive.read("invoice/1/small/a.txt") == b"old"
        drive.assert_nothing_left()


async def test_truncating_without_a_handle_is_a_save(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", b"0123456789")
    async with office.mounted() as drive:
        node = await drive.node("invoice/1/scan/a.txt")
        await drive.filesystem._files.resize(node, 4, None)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"0123")]
        drive.assert_nothing_left()


async def test_fsync_puts_the_draft_into_the_journal_and_uploads_nothing(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"safe")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.filesystem.fsync, handle)
            nursery.start_soon(drive.filesystem.fsync, handle)
        assert office.take_requests() == {}
        (row,) = drive.store.journal.load()
        assert row.state == "local"
        office.copy_disk("state", "after")
        await drive.close(handle)
        await drive.drained()
        drive.assert_nothing_left()
    office.sandbox.platform.remove_attachment(
        office.sandbox.platform.attachments("invoice", office.documents["1"], "scan")[0].id
    )
    async with office.mounted("after") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"safe")]
        drive.assert_nothing_left()


async def test_an_fsynced_draft_that_is_refused_later_leaves_no_row(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/small/a.txt", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"safe")
        await drive.filesystem.fsync(handle)
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 0, b"x" * 20_000)
        with pytest.raises(errors.TooLargeError):
            await drive.close(handle)
        await until(lambda: not drive.store.journal.load())
        drive.assert_nothing_left()


# -- while the platform is away --------------------------------------------------------------------------------------


async def test_a_save_while_the_platform_is_away_is_eio_and_queued(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        drive.network.away = True
        with pytest.raises(errors.UnavailableError) as raised:
            await drive.write("invoice/1/scan/a.txt", b"new")
        assert raised.value.errno == errno.EIO
        assert drive.states() == {"a.txt": "queued"}
        assert await drive.read("invoice/1/scan/a.txt") == b"new"
        await drive.back()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_of_five_saves_while_the_platform_is_away_the_last_one_is_uploaded(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        drive.network.away = True
        started = trio.current_time()
        for count in range(5):
            await queued(drive, "invoice/1/scan/a.txt", b"version %d" % count)
        assert trio.current_time() - started < 60  # no close waited for a platform that is not there
        office.take_requests()
        await drive.back()
        assert office.stored() == [("1/scan/a.txt", b"version 4")]
        assert office.take_requests() == {"save": 1, "delete": 1}
        drive.assert_nothing_left()


async def test_of_saves_behind_a_lost_answer_none_waits_and_one_copy_stays(office: Office) -> None:
    async with office.mounted(metadata_deadline=0.5) as drive:
        await drive.find("invoice/1/scan")
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("*", "cut", count=None))
        for count in range(3):
            await queued(drive, "invoice/1/scan/a.txt", b"version %d" % count)
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"version 2")]
        drive.assert_nothing_left()


async def test_queued_saves_survive_the_end_of_the_process(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        inode = (await drive.find("invoice/1/scan/a.txt")).inode
        drive.network.away = True
        for count in range(3):
            await queued(drive, "invoice/1/scan/a.txt", b"version %d" % count)
    async with office.mounted() as drive:
        assert (await drive.find("invoice/1/scan/a.txt")).inode == inode
        assert await drive.read("invoice/1/scan/a.txt") == b"version 2"
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"version 2")]
        assert await drive.read("invoice/1/scan/a.txt") == b"version 2"
        drive.assert_nothing_left()


async def test_a_failed_save_of_a_second_version_does_not_give_up_the_first(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        await saved_while_away(drive, "invoice/1/scan/a.txt", b"first")

        async def full(*_given: object, **_more: object) -> None:
            raise errors.NoSpaceError("the journal: the local disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(drive.store.journal, "record", full)
            handle = await drive.open("invoice/1/scan/a.txt", os.O_WRONLY | os.O_TRUNC)
            await drive.filesystem.write(handle, 0, b"second")
            with pytest.raises(errors.NoSpaceError):
                await drive.filesystem.flush(handle)
            (row,) = [work.row for work in drive.filesystem._uploads]
            assert not row.superseded
        await drive.filesystem.release(handle)
        await drive.back()
        await until(lambda: office.stored() == [("1/scan/a.txt", b"second")])
        await drive.drained()
        drive.assert_nothing_left()


@pytest.mark.complains
async def test_a_release_whose_journal_is_full_is_tried_again(
    office: Office, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"kept")

        async def full(*_given: object, **_more: object) -> None:
            raise errors.NoSpaceError("the journal: the local disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(drive.store.journal, "record", full)
            await drive.filesystem.release(handle)
        assert drive.states() == {"a.txt": "local"}
        await later(clock, 10)
        await until(lambda: office.stored() == [("1/scan/a.txt", b"kept")])
        await drive.drained()
        drive.assert_nothing_left()


async def test_close_waits_only_as_long_as_it_is_told(office: Office) -> None:
    async with office.mounted(close_wait=0) as drive:
        await drive.find("invoice/1/scan")
        with office.sandbox.hold("save") as hold:
            await drive.write("invoice/1/scan/a.txt", b"new")
            await hold.arrived()
            assert drive.states() == {"a.txt": "uploading"}
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_denied_save_is_held_and_the_bytes_stay_here(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        office.permit(Access(read_only=True))
        with pytest.raises(errors.DeniedError):
            await drive.write("invoice/1/scan/a.txt", b"new")
        assert drive.states() == {"a.txt": "held"}
        await drive.drained()
    office.take_requests()
    async with office.mounted() as drive:
        await drive.drained()
        await wait_all_tasks_blocked(0.02)
        assert drive.states() == {"a.txt": "held"}
        assert office.take_requests() == {}  # held, also by the next mount
        assert await drive.read("invoice/1/scan/a.txt") == b"new"
        office.permit(Access())
        drive.filesystem._uploads.retry(held=True)
        await until(office.stored)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_held_save_goes_up_with_the_next_one(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        office.permit(Access(read_only=True))
        with pytest.raises(errors.DeniedError):
            await drive.write("invoice/1/scan/a.txt", b"one")
        office.permit(Access())
        await drive.write("invoice/1/scan/a.txt", b"two")
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_a_version_of_somebody_else_stays_and_ours_stands_beside_it(
    office: Office, clock: MockClock
) -> None:
    first = office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", os.O_RDWR)
        await drive.filesystem.write(handle, 0, b"our")
        office.sandbox.platform.remove_attachment(first)
        office.add("invoice/1/scan/a.txt", b"theirs")
        await drive.close(handle)
        await drive.drained()
        stored = office.stored()
        assert len(stored) == 2
        assert stored[1] == ("1/scan/a.txt", b"theirs")
        assert stored[0][0].startswith("1/scan/a (conflict ")
        assert stored[0][1] == b"our"
        await settled_down(clock)
        drive.filesystem.refresh()
        assert await drive.names("invoice/1/scan") == [name.rpartition("/")[2] for name, _ in stored]
        assert await drive.read("invoice/1/scan/a.txt") == b"theirs"
        drive.assert_nothing_left()


async def test_a_version_of_somebody_else_that_the_catalog_knew_is_no_less_theirs(
    office: Office, clock: MockClock
) -> None:
    first = office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", os.O_RDWR)
        await drive.filesystem.write(handle, 0, b"our")
        office.sandbox.platform.remove_attachment(first)
        office.add("invoice/1/scan/a.txt", b"theirs")
        drive.filesystem.refresh()
        await drive.names("invoice/1/scan")
        await drive.close(handle)
        await drive.drained()
        assert [data for _, data in office.stored()] == [b"our", b"theirs"]
        assert "conflict" in office.stored()[0][0]
        await settled_down(clock)
        drive.assert_nothing_left()


async def test_a_file_deleted_by_somebody_else_is_saved_as_a_new_one(office: Office) -> None:
    first = office.add("invoice/1/scan/a.txt", b"old")
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        office.sandbox.platform.remove_attachment(first)
        await drive.write("invoice/1/scan/a.txt", b"our")
        assert office.stored() == [("1/scan/a.txt", b"our")]
        drive.assert_nothing_left()


async def test_a_resized_picture_shows_what_the_platform_made_of_it(office: Office) -> None:
    wide = _bitmap()
    async with office.mounted() as drive:
        await drive.write("invoice/1/picture/a.png", wide)
        await drive.drained()
        ((_, stored),) = office.stored("1/picture")
        assert stored != wide
        assert await drive.read("invoice/1/picture/a.png") == stored
        assert (await drive.find("invoice/1/picture/a.png")).size == len(stored)
        drive.assert_nothing_left()


def _bitmap() -> bytes:
    from PIL import Image  # noqa: PLC0415

    from aerofs.sandbox.sample_pictures import png  # noqa: PLC0415 -- its libraries take a second to load

    return png(Image.new("RGB", (64, 64), "red"))


async def test_a_removal_that_is_refused_again_is_told_again(office: Office) -> None:
    path = "invoice/1/scan/a.txt"
    office.add(path, b"old")
    async with office.mounted() as drive:
        assert await drive.read(path) == b"old"
        await refused(drive, path, b"new", told=True)
        office.sandbox.add_fault(Fault("delete", "status", status=403, count=None))
        for _ in range(2):
            with pytest.raises(errors.DeniedError):
                await drive.remove(path)
            assert await drive.read(path) == b"new"
        office.sandbox.clear_faults()
        await drive.remove(path)
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()
