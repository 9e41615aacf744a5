"""After a crash, a refusal or an outage: what is shown, what goes on, and what nobody has to wait for."""

import os

import pytest
import trio
from trio.testing import MockClock

from aerofs import errors
from aerofs.filesystem.attributes import Changes
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, later, queued, saved_while_away, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
PICTURE = "invoice/1/picture/a.jpg"


async def append(drive: Drive, path: str, data: bytes) -> None:
    size = (await drive.find(path)).size
    handle = await drive.open(path, os.O_WRONLY | os.O_APPEND)
    await drive.filesystem.write(handle, size, data)
    await drive.close(handle)


# -- after a crash ---------------------------------------------------------------------------------------------------


async def test_a_file_renamed_while_its_save_was_under_way_keeps_its_bytes_over_a_crash(
    office: Office,
) -> None:
    with office.sandbox.hold("save"):
        async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
            await drive.write(A, b"precious bytes")
            await drive.rename(A, B)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        drive.network.away = True
        assert "b.txt" in await drive.names("invoice/1/scan")
        assert await drive.read(B) == b"precious bytes"
        with pytest.raises(errors.UnavailableError):
            await append(drive, B, b" and more")
        await drive.back()
        assert office.stored() == [("1/scan/b.txt", b"precious bytes and more")]
        drive.assert_nothing_left()


async def test_a_file_whose_new_version_stands_already_is_seen_once_after_a_crash(office: Office) -> None:
    office.add(A, b"old")
    with office.sandbox.hold("delete"):
        async with office.mounted(close_wait=0) as drive:
            await drive.write(A, b"new")
            await until(lambda: len(office.stored()) == 2)
            await until(lambda: drive.store.journal.load()[0].added is not None)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        drive.network.away = True
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.read(A) == b"new"
        await drive.back()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_strangers_file_that_might_be_ours_is_seen_as_soon_as_that_is_known(office: Office) -> None:
    with office.sandbox.hold("save") as hold:
        async with office.mounted(close_wait=0) as drive:
            await drive.find("invoice/1/scan")
            await drive.write(A, b"ours..")
            await hold.arrived()
            office.copy_disk("state", "dead")
    await until(lambda: office.stored() != [])
    office.clear()
    office.add(A, b"theirs")
    async with office.mounted("dead") as drive:
        with office.sandbox.hold("download") as hold:  # of what might be ours
            assert await drive.names("invoice/1/scan") == ["a.txt"]
            assert await drive.read(A) == b"ours.."
            await hold.arrived()
            assert await drive.names("invoice/1/scan") == ["a.txt"]
        await drive.drained()
        ours, theirs = sorted(await drive.names("invoice/1/scan"), key=len)
        assert ours == "a.txt"
        assert await drive.read(A) == b"ours.."
        assert await drive.read(f"invoice/1/scan/{theirs}") == b"theirs"


async def test_a_newer_version_behind_a_held_one_goes_up_after_a_crash(office: Office) -> None:
    office.permit(Access(read_only=True))
    async with office.mounted(close_wait=5) as drive:
        with pytest.raises(errors.DeniedError):
            await drive.write(A, b"one")
        await saved_while_away(drive, A, b"two")
    office.permit(Access())
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_a_row_whose_bytes_are_gone_leaves_the_platforms_version_in_sight(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"new")
        for draft in drive.store.drafts.iterdir():
            draft.unlink()
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        await until(lambda: drive.states() == {"a.txt": "held"})
        (held,) = drive.filesystem.saves()
        assert "cannot be read" in str(held["error"])
        assert office.stored() == [("1/scan/a.txt", b"old")]


@pytest.mark.complains
async def test_a_held_save_whose_bytes_are_gone_says_so(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        office.permit(Access(read_only=True))
        with pytest.raises(errors.DeniedError):
            await drive.write(A, b"new")
        (before,) = drive.filesystem.saves()
        for draft in drive.store.drafts.iterdir():
            draft.unlink()
    async with office.mounted() as drive:
        (held,) = drive.filesystem.saves()
        assert held["state"] == "held"
        assert "its bytes cannot be read" in str(held["error"])
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert str(before["error"]) in told.getMessage()


async def test_bytes_that_are_not_those_of_the_save_any_more_are_never_sent(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"new")
        (draft,) = drive.store.drafts.iterdir()
        draft.write_bytes(b"n\0w")
    async with office.mounted() as drive:
        await until(lambda: drive.states() == {"a.txt": "held"})
        (held,) = drive.filesystem.saves()
        assert "not those any more that were recorded" in str(held["error"])
        assert await drive.read(A) == b"old"
        assert office.stored() == [("1/scan/a.txt", b"old")]
        assert draft.read_bytes() == b"n\0w"


async def test_a_photo_that_was_never_sent_is_not_taken_for_a_colleagues_after_a_crash(
    office: Office,
) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/picture")
        await saved_while_away(drive, PICTURE, b"our photo")
    office.add(PICTURE, b"their photo")
    async with office.mounted() as drive:
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"our photo", b"their photo"]
        drive.assert_nothing_left()


async def test_a_photo_whose_answer_was_lost_arrives_once_over_a_crash(office: Office) -> None:
    with office.sandbox.hold("save", answered=True) as hold:
        async with office.mounted(close_wait=0) as drive:
            await drive.write(PICTURE, b"our photo")
            await hold.arrived()
            await until(lambda: office.stored() != [])
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/picture/a.jpg", b"our photo")]
        drive.assert_nothing_left()


async def test_a_moved_photo_is_not_taken_for_a_colleagues_of_that_name(office: Office) -> None:
    office.add(PICTURE, b"our photo")
    async with office.mounted() as drive:
        await drive.find(PICTURE)
        await drive.find("invoice/2/picture")
        office.sandbox.add_fault(Fault("copy", "status", count=1, status=503))
        await drive.rename(PICTURE, "invoice/2/picture/a.jpg")
        office.add("invoice/2/picture/a.jpg", b"their photo")
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"our photo", b"their photo"]
        assert office.stored("1/picture") == []


# -- refusals that come late -----------------------------------------------------------------------------------------


async def test_a_drain_does_not_wait_for_what_follows_a_held_save(office: Office) -> None:
    with office.sandbox.hold("save") as hold:
        async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
            await drive.write(A, b"new")
            await hold.arrived()
            await drive.rename(A, B)
            office.permit(Access(read_only=True))
            hold.release()
            await until(lambda: "held" in drive.states().values())
            await drive.drained()
            assert drive.filesystem.only_failures_left()
            assert await drive.read(B) == b"new"


async def test_a_file_that_could_not_be_removed_in_the_end_is_seen_again(office: Office) -> None:
    office.add("invoice/1/contract/a.txt", b"old")
    path = "invoice/1/contract/a.txt"
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.find(path)
        await saved_while_away(drive, path, b"new")
        await drive.remove(path)
        assert await drive.names("invoice/1/contract") == []
        await drive.back()
        assert await drive.names("invoice/1/contract") == ["a.txt"]
        assert await drive.read(path) == b"old"
        drive.assert_nothing_left()


async def test_a_draft_that_was_too_large_can_be_started_over_while_an_earlier_save_is_held(
    office: Office,
) -> None:
    path = "invoice/1/small/a.txt"
    async with office.mounted() as drive:
        await drive.find("invoice/1/small")
        await saved_while_away(drive, path, b"one")
        with pytest.raises(errors.TooLargeError):
            await drive.write(path, b"x" * 20_000)
        assert await drive.read(path) == b"one"
        await queued(drive, path, b"three")
        await drive.back()
        assert office.stored() == [("1/small/a.txt", b"three")]
        drive.assert_nothing_left()


# -- the rest --------------------------------------------------------------------------------------------------------


async def test_a_colleagues_file_is_seen_beside_ours_of_that_name_which_is_still_waiting(
    office: Office,
) -> None:
    async with office.mounted(document_ttl=0.0) as drive:
        await drive.find("invoice/1/scan")
        await saved_while_away(drive, A, b"ours")
        office.add(A, b"theirs")
        drive.network.away = False
        await drive.platform.probe()
        drive.filesystem.refresh()
        ours, theirs = sorted(await drive.names("invoice/1/scan"), key=len)
        assert ours == "a.txt"
        assert await drive.read(f"invoice/1/scan/{ours}") == b"ours"
        assert await drive.read(f"invoice/1/scan/{theirs}") == b"theirs"


async def test_an_emptied_file_is_recorded_before_the_drive_ends(office: Office, clock: MockClock) -> None:
    del clock
    office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await drive.open(A, os.O_WRONLY | os.O_TRUNC)
        await drive.filesystem.flush(handle)
        drive.network.away = True
        assert drive.store.journal.load() == []
        await drive.filesystem.settle()
        assert len(drive.store.journal.load()) == 1
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"")]


async def test_a_new_file_does_not_wait_long_for_the_bytes_of_the_one_put_aside(
    office: Office, clock: MockClock
) -> None:
    office.add(A, b"old")
    async with office.mounted(rename_wait=5.0) as drive:
        await drive.find(A)
        await drive.rename(A, A + "~")
        with office.sandbox.hold("download") as hold:
            async with trio.open_nursery() as nursery:

                async def create() -> None:
                    with pytest.raises(errors.DeadlineError):
                        await drive.write(A, b"new")

                nursery.start_soon(create)
                await hold.arrived()
                await later(clock, 6.0)
        await drive.write(A, b"new")
        assert await drive.read(A + "~") == b"old"
        assert office.stored() == [("1/scan/a.txt", b"new")]


async def test_a_file_put_aside_has_bytes_of_its_own_while_its_save_is_queued(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        await saved_while_away(drive, A, b"saved")
        await drive.rename(A, f"{A}~")
        contents = [row.content for row in drive.store.journal.load()]
        assert len(set(contents)) == len(contents) == 2
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        drive.network.away = True
        await append(drive, f"{A}~", b" and changed")
        await drive.back()
        assert office.stored() == [("1/scan/a.txt", b"saved")]
        assert await drive.read(f"{A}~") == b"saved and changed"
        await drive.remove(f"{A}~")
        assert await drive.read(A) == b"saved"
        drive.assert_nothing_left()


async def test_a_file_put_aside_and_renamed_on_has_bytes_of_its_own_while_its_save_is_under_way(
    office: Office,
) -> None:
    with office.sandbox.hold("save") as hold:
        async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
            await drive.write(A, b"saved")
            await hold.arrived()
            await drive.rename(A, f"{A}~")
            await drive.rename(f"{A}~", B)
            contents = [row.content for row in drive.store.journal.load() if row.content is not None]
            assert len(set(contents)) == len(contents)
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"saved")]
        drive.assert_nothing_left()


async def test_a_file_beside_a_strangers_has_its_own_name_after_a_crash(office: Office) -> None:
    office.add(A, b"old")
    platform = office.sandbox.platform
    async with office.mounted(close_wait=0) as drive:
        handle = await drive.open(A, os.O_RDWR)
        await drive.filesystem.write(handle, 0, b"our")
        (base,) = platform.attachments("invoice", office.documents["1"], "scan")
        platform.remove_attachment(base.id)
        office.add(A, b"theirs")
        # It dies at the fifth request: a save, a delete in vain, a list, the save beside, the delete of the first.
        drive.network.cut(4, answered=False, crashed=lambda: office.copy_disk("state", "dead"))
        await drive.filesystem.flush(handle)
        await drive.network.reached.wait()
    async with office.mounted("dead") as drive:
        drive.network.away = True
        (saved,) = drive.filesystem.saves()
        names = [node.name for node in drive.filesystem._tree.placed()]
        assert len(names) == 1
        assert names[0].startswith("a (conflict ")
        drive.network.away = False
        assert await drive.read(f"invoice/1/scan/{names[0]}") == b"our"
        assert await drive.read(A) == b"theirs"
        assert saved["state"] in ("queued", "uploading")
        await drive.back()
        assert [data for _, data in office.stored()] == [b"our", b"theirs"]
        drive.assert_nothing_left()


async def test_a_recovered_file_admits_no_more_than_its_field_and_keeps_its_time(office: Office) -> None:
    path = "invoice/1/small/a.part"
    async with office.mounted() as drive:
        await drive.write(path, b"part")
        inode = (await drive.find(path)).inode
        await drive.filesystem.change(inode, Changes(mtime_ns=1_000_000_000), None)
    async with office.mounted() as drive:
        assert (await drive.find(path)).mtime_ns == 1_000_000_000
        handle = await drive.open(path, os.O_RDWR)
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 0, b"x" * 20_000)
        with pytest.raises(errors.TooLargeError):
            await drive.close(handle)
        await drive.remove(path)
        drive.assert_nothing_left()


async def test_a_draft_that_is_started_over_leaves_no_row_without_bytes(office: Office) -> None:
    path = "invoice/1/small/a.txt"
    async with office.mounted() as drive:
        handle = await drive.open(path, os.O_WRONLY | os.O_CREAT)
        await drive.filesystem.write(handle, 0, b"one")
        await drive.filesystem.fsync(handle)
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 0, b"x" * 20_000)
        again = await drive.open(path, os.O_WRONLY | os.O_TRUNC)
        await until(lambda: not drive.store.journal.load())
        await drive.filesystem.write(again, 0, b"two")
        await drive.close(again)
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_a_synced_draft_is_brought_up_once_though_the_mount_after_the_crash_dies_too(
    office: Office,
) -> None:
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/scan/a.txt", WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"synced")
        await drive.filesystem.fsync(handle)
        office.copy_disk("state", "first crash")
    with office.sandbox.hold("save", answered=True) as held:
        async with office.mounted("first crash"):
            await held.arrived()
            office.copy_disk("first crash", "second crash")
    assert office.stored() == [("1/scan/a.txt", b"synced")]
    async with office.mounted("second crash") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"synced")]
        drive.assert_nothing_left()
