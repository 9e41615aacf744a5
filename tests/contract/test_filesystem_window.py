"""The moment in which a name leads to what was saved under it, though a stranger's version has it on the platform.

Whatever is done by that name then is done to ours. Theirs is neither changed nor removed, and is seen in the end.
"""

import os

import pytest
from trio.testing import MockClock

from aerofs.filesystem.outcomes import BESIDE_WAIT
from tests.contract.conftest import Drive, Office, later, settled_down

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
THEIRS = ("1/scan/a.txt", b"theirs")


async def in_the_window(office: Office, drive: Drive) -> str:
    """A save that met a stranger's version, right after it was settled. Returns the name of ours on the platform."""
    before = office.add(A, b"old")
    handle = await drive.open(A, os.O_RDWR)
    await drive.filesystem.write(handle, 0, b"our")
    office.sandbox.platform.remove_attachment(before)
    office.add(A, b"theirs")
    await drive.close(handle)
    await drive.drained()
    ((ours, _), theirs) = office.stored()
    assert theirs == THEIRS
    assert await drive.read(A) == b"our"
    return ours


async def seen_in_the_end(office: Office, drive: Drive, clock: MockClock) -> None:
    """The drive shows what stands there, by the very titles, and holds on to nothing."""
    await drive.drained()
    await settled_down(clock)
    drive.filesystem.refresh()
    stored = office.stored()
    assert await drive.names("invoice/1/scan") == [place.rpartition("/")[2] for place, _ in stored]
    for place, data in stored:
        assert await drive.read(f"invoice/{place}") == data
    drive.assert_nothing_left()


async def test_the_name_leads_to_ours_for_as_long_as_it_says(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        ours = await in_the_window(office, drive)
        await later(clock, BESIDE_WAIT / 2)
        assert await drive.read(A) == b"our"
        assert office.stored() == [(ours, b"our"), THEIRS]
        await seen_in_the_end(office, drive, clock)
        assert await drive.read(A) == b"theirs"


async def test_a_death_in_it_leaves_both_versions_and_each_has_its_own_name(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted() as drive:
        ours = await in_the_window(office, drive)
        office.copy_disk("state", "after the crash")
    async with office.mounted("after the crash") as drive:
        await drive.drained()
        assert office.stored() == [(ours, b"our"), THEIRS]
        assert await drive.read(A) == b"theirs"
        assert await drive.read(f"invoice/{ours}") == b"our"
        await seen_in_the_end(office, drive, clock)


@pytest.mark.parametrize("killed", [False, True], ids=["", "and the process dies"])
async def test_a_rename_in_it_takes_ours_and_leaves_theirs(
    office: Office, clock: MockClock, *, killed: bool
) -> None:
    async with office.mounted() as drive:
        await in_the_window(office, drive)
        await drive.rename(A, B)
        assert await drive.read(B) == b"our"
        if killed:
            office.copy_disk("state", "after the crash")
            drive.network.away = True
        else:
            await drive.drained()
            assert office.stored() == [THEIRS, ("1/scan/b.txt", b"our")]
            await seen_in_the_end(office, drive, clock)
    if killed:
        async with office.mounted("after the crash") as drive:
            await drive.drained()
            assert office.stored() == [THEIRS, ("1/scan/b.txt", b"our")]
            await seen_in_the_end(office, drive, clock)


async def test_an_unlink_in_it_removes_ours_and_leaves_theirs(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        await in_the_window(office, drive)
        await drive.remove(A)
        await drive.drained()
        assert office.stored() == [THEIRS]
        await seen_in_the_end(office, drive, clock)


async def test_a_second_save_in_it_replaces_ours_and_leaves_theirs(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        await in_the_window(office, drive)
        await drive.write(A, b"our second")
        await drive.drained()
        assert await drive.read(A) == b"our second"
        stored = office.stored()
        assert THEIRS in stored
        assert [data for place, data in stored if place != "1/scan/a.txt"] == [b"our second"]
        assert len(stored) == 2
        # At its end what was saved last has a time of its own.
        await settled_down(clock)
        assert await drive.read(A) == b"our second"
        await seen_in_the_end(office, drive, clock)
