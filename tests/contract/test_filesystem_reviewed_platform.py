"""What a platform, or a colleague on it, does between two tries: what was believed before is looked at again."""

from random import Random

import pytest
import trio

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, until

A = "invoice/1/scan/a.txt"
THERE = "invoice/2/scan/a.txt"
PICTURE = "invoice/1/photo/a.png"
FULL = "invoice/1/few/a.txt"


async def queued(drive: Drive, path: str, data: bytes) -> None:
    """A save that close() tells EIO of."""
    with pytest.raises(errors.UnavailableError):
        await drive.write(path, data)


def tidied_up(office: Office, place: str, data: bytes) -> None:
    """A colleague deletes what has these bytes."""
    document, value_path = place.split("/")
    platform = office.sandbox.platform
    for each in platform.attachments("invoice", office.documents[document], value_path):
        if each.data == data:
            platform.remove_attachment(each.id)


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
        tidied_up(office, "1/scan", b"our")
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
        tidied_up(office, "2/scan", b"our")
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
        tidied_up(office, "2/scan", b"our")
        await drive.drained()
        assert office.stored() == [("2/scan/a.txt", b"our")]
        drive.assert_nothing_left()


async def test_what_a_colleague_deletes_over_a_crash_is_not_believed_to_stand(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        await queued(drive, A, b"our")
    tidied_up(office, "1/scan", b"our")
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


# -- what made room, and came back without our hearing of it ---------------------------------------------------------


async def _put_back_unheard(office: Office, drive: Drive) -> None:
    """A save that was refused in a full field; the answer to putting the old version back is lost."""
    office.sandbox.add_fault(Fault("save", "status", status=403))
    office.sandbox.add_fault(Fault("save", "drop_answer"))
    await queued(drive, FULL, b"new")
    assert office.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
    office.sandbox.clear_faults()


async def test_a_removal_takes_the_old_version_along_that_was_put_back_unheard(office: Office) -> None:
    office.add(FULL, b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        assert await drive.read(FULL) == b"old"
        await _put_back_unheard(office, drive)
        await drive.remove(FULL)
        await drive.drained()
        assert office.stored() == [("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_an_old_version_that_was_put_back_unheard_goes_when_there_is_room_for_both(
    office: Office,
) -> None:
    office.add(FULL, b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        assert await drive.read(FULL) == b"old"
        await _put_back_unheard(office, drive)
        tidied_up(office, "1/few", b"other")
        await drive.drained()
        assert office.stored() == [("1/few/a.txt", b"new")]
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


# -- where the platform makes pictures smaller -----------------------------------------------------------------------


async def _unheard(office: Office, drive: Drive, ours: bytes, theirs: bytes | None) -> None:
    """A save that did not arrive, or whose answer was lost; then somebody adds a file of its name."""
    await drive.names("invoice/1/photo")
    office.sandbox.add_fault(Fault("save", "drop_answer" if theirs is None else "cut", count=2))
    await queued(drive, PICTURE, ours)
    if theirs is not None:
        office.add(PICTURE, theirs)


async def test_a_picture_whose_answer_was_lost_is_recognised_by_what_is_to_be_seen_on_it(
    office: Office,
) -> None:
    ours = photo(1)
    async with office.mounted() as drive:
        await _unheard(office, drive, ours, None)
        office.sandbox.clear_faults()
        await drive.drained()
        ((_, stored),) = office.stored()
        assert stored != ours
        assert await drive.read(PICTURE) == stored
        drive.assert_nothing_left()


async def test_a_colleagues_picture_of_that_name_is_not_taken_for_ours(office: Office) -> None:
    async with office.mounted() as drive:
        await _unheard(office, drive, photo(1), photo(2, 64))
        office.sandbox.clear_faults()
        await drive.drained()
        assert len(office.stored()) == 2
        assert ("1/photo/a.png", photo(2, 64)) in office.stored()
        drive.assert_nothing_left()


async def test_what_may_be_our_picture_is_for_a_person_to_look_at(office: Office) -> None:
    async with office.mounted() as drive:
        await _unheard(office, drive, b"no picture that is known here", b"nor this")
        office.sandbox.clear_faults()
        drive.filesystem.retry()
        await until(lambda: drive.states() == {"a.png": "held"})
        (held,) = drive.filesystem.saves()
        assert "look there first" in str(held["error"])
        assert office.stored() == [("1/photo/a.png", b"nor this")]
        await drive.filesystem.waiting.retry(int(held["id"]))
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"no picture that is known here", b"nor this"]
        drive.assert_nothing_left()


@pytest.mark.parametrize("decided", ["removed", "discarded"])
async def test_what_may_be_our_picture_does_not_go_with_ours(office: Office, decided: str) -> None:
    async with office.mounted() as drive:
        await _unheard(office, drive, b"no picture that is known here", b"nor this")
        (save,) = drive.filesystem.saves()
        if decided == "removed":
            await drive.remove(PICTURE)
        else:
            await drive.filesystem.waiting.discard(int(save["id"]))
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/photo/a.png", b"nor this")]
        assert await drive.read(PICTURE) == b"nor this"
        drive.assert_nothing_left()


@pytest.mark.parametrize("decided", ["removed", "discarded"])
async def test_what_is_our_picture_goes_with_ours(office: Office, decided: str) -> None:
    async with office.mounted() as drive:
        await _unheard(office, drive, photo(1), None)
        (save,) = drive.filesystem.saves()
        if decided == "removed":
            await drive.remove(PICTURE)
        else:
            await drive.filesystem.waiting.discard(int(save["id"]))
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_a_later_picture_does_not_wait_for_an_earlier_one_that_cannot_be_told(office: Office) -> None:
    async with office.mounted() as drive:
        await _unheard(office, drive, b"no picture that is known here", b"nor this")
        await queued(drive, PICTURE, b"a later one")
        office.sandbox.clear_faults()
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"a later one", b"nor this"]
        drive.assert_nothing_left()


def photo(seed: int, width: int = 128) -> bytes:
    """A picture that resembles no other."""
    from PIL import Image  # noqa: PLC0415

    from aerofs.sandbox.sample_pictures import png  # noqa: PLC0415 -- its libraries take a second to load

    blots = Image.frombytes("RGB", (8, 8), Random(seed).randbytes(8 * 8 * 3))
    return png(blots.resize((width, width), Image.Resampling.BICUBIC))


# -- what was never sent ---------------------------------------------------------------------------------------------


async def test_what_was_never_sent_is_not_found_in_a_colleagues_file_of_equal_bytes(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        drive.network.away = True
        await queued(drive, A, b"the same scan")
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
            drive.network.away = True
            await queued(drive, A, b"our")
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
