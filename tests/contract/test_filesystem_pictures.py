"""Where the platform makes pictures smaller: whether what stands there is ours is told by what is to be seen on it."""

from random import Random

import pytest

from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, queued, until

PICTURE = "invoice/1/photo/a.png"


def photo(seed: int, width: int = 128) -> bytes:
    """A picture that resembles no other."""
    from PIL import Image  # noqa: PLC0415

    from aerofs.sandbox.sample_pictures import png  # noqa: PLC0415 -- its libraries take a second to load

    blots = Image.frombytes("RGB", (8, 8), Random(seed).randbytes(8 * 8 * 3))
    return png(blots.resize((width, width), Image.Resampling.BICUBIC))


async def _unheard(office: Office, drive: Drive, ours: bytes, theirs: bytes | None) -> None:
    """A save that did not arrive, or whose answer was lost; then somebody adds a file of its name."""
    await drive.names("invoice/1/photo")
    office.sandbox.add_fault(Fault("save", "drop_answer" if theirs is None else "cut", count=2))
    await queued(drive, PICTURE, ours)
    if theirs is not None:
        office.add(PICTURE, theirs)


async def _given_up(drive: Drive, decided: str) -> None:
    (save,) = drive.filesystem.saves()
    if decided == "removed":
        await drive.remove(PICTURE)
    else:
        await drive.filesystem.waiting.discard(int(save["id"]))


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
        await _given_up(drive, decided)
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/photo/a.png", b"nor this")]
        assert await drive.read(PICTURE) == b"nor this"
        drive.assert_nothing_left()


@pytest.mark.parametrize("decided", ["removed", "discarded"])
async def test_what_is_our_picture_goes_with_ours(office: Office, decided: str) -> None:
    async with office.mounted() as drive:
        await _unheard(office, drive, photo(1), None)
        await _given_up(drive, decided)
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
