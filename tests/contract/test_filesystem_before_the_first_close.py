"""A file that took a name before its first close, and leaves it before that, too."""

import os

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.filesystem.asides import ASIDE_WAIT
from tests.contract.conftest import WRITE_NEW, Drive, Office, later, queued, saved_while_away, until

FIELD = "invoice/1/scan"
X = f"{FIELD}/x.txt"
N = f"{FIELD}/n.txt"
BACKUP = f"{X}~"


async def _over_and_aside(drive: Drive) -> int:
    """A new file goes over `x` and is put aside, all before its first close. Returns its handle."""
    handle = await drive.open(N, WRITE_NEW)
    await drive.filesystem.write(handle, 0, b"new")
    await drive.rename(N, X)
    await drive.rename(X, BACKUP)
    return handle


async def test_it_is_back_after_a_while_and_replaces_what_it_went_over(
    office: Office, clock: MockClock
) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.close(await _over_and_aside(drive))
        assert await drive.names(FIELD) == ["x.txt~"]
        assert office.stored() == [("1/scan/x.txt", b"old")]
        await later(clock, ASIDE_WAIT + 1)
        await until(lambda: office.stored() == [("1/scan/x.txt", b"new")])
        await drive.drained()
        assert await drive.names(FIELD) == ["x.txt"]
        assert await drive.read(X) == b"new"
        drive.assert_nothing_left()


async def test_a_new_file_of_the_name_replaces_what_it_went_over(office: Office, clock: MockClock) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        handle = await _over_and_aside(drive)
        await drive.write(X, b"newest")
        assert office.stored() == [("1/scan/x.txt", b"newest")]
        await drive.close(handle)
        await later(clock, ASIDE_WAIT + 1)
        assert await drive.names(FIELD) == ["x.txt", "x.txt~"]
        assert await drive.read(BACKUP) == b"new"
        await drive.remove(BACKUP)
        await drive.drained()
        assert office.stored() == [("1/scan/x.txt", b"newest")]
        drive.assert_nothing_left()


async def test_another_file_that_is_renamed_to_the_name_replaces_what_it_went_over(office: Office) -> None:
    office.add(X, b"old")
    office.add(f"{FIELD}/y.txt", b"other")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        handle = await _over_and_aside(drive)
        await drive.rename(f"{FIELD}/y.txt", X)
        await drive.drained()
        assert office.stored() == [("1/scan/x.txt", b"other")]
        await drive.close(handle)
        await drive.remove(BACKUP)
        drive.assert_nothing_left()


async def test_under_a_real_name_again_it_replaces_what_it_went_over(office: Office) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        handle = await _over_and_aside(drive)
        await drive.rename(BACKUP, N)
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/n.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_removal_takes_what_it_went_over_along(office: Office) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        handle = await _over_and_aside(drive)
        await drive.remove(BACKUP)
        await drive.close(handle)
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_after_a_crash_both_are_there(office: Office) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.close(await _over_and_aside(drive))
    async with office.mounted() as drive:
        assert await drive.names(FIELD) == ["x.txt", "x.txt~"]
        assert await drive.read(X) == b"old"
        assert await drive.read(BACKUP) == b"new"


async def test_a_written_file_that_went_over_another_hands_that_on_too(office: Office) -> None:
    office.add(X, b"old")
    office.add(N, b"written")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        handle = await drive.open(N, os.O_WRONLY)
        await drive.filesystem.write(handle, 0, b"changed")
        await drive.rename(N, X)
        await drive.rename(X, BACKUP)
        await drive.write(X, b"newest")
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/x.txt", b"newest")]
        assert await drive.read(BACKUP) == b"changed"
        await drive.remove(BACKUP)
        drive.assert_nothing_left()


@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
async def test_a_new_file_of_the_name_comes_after_the_save_that_it_went_over(
    office: Office, *, sent: bool
) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        await saved_while_away(drive, X, b"queued")
        handle = await _over_and_aside(drive)
        if sent:
            await drive.back()
            assert office.stored() == [("1/scan/x.txt", b"queued")]
            assert await drive.names(FIELD) == ["x.txt~"]
            await drive.write(X, b"newest")
        else:
            await queued(drive, X, b"newest")
            await drive.back()
        assert office.stored() == [("1/scan/x.txt", b"newest")]
        await drive.close(handle)
        await drive.remove(BACKUP)
        assert office.stored() == [("1/scan/x.txt", b"newest")]
        drive.assert_nothing_left()


async def test_what_it_went_over_is_not_seen_though_its_save_arrives_meanwhile(office: Office) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        await saved_while_away(drive, X, b"queued")
        handle = await drive.open(N, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"new")
        await drive.rename(N, X)
        await drive.back()
        assert office.stored() == [("1/scan/x.txt", b"queued")]
        assert await drive.names(FIELD) == ["x.txt"]
        await drive.close(handle)
        assert office.stored() == [("1/scan/x.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_queued_save_takes_the_name_of_one_that_was_put_aside_and_has_just_arrived(
    office: Office,
) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        drive.network.away = True
        for path in (X, N):
            await queued(drive, path, b"queued as " + path[-5:].encode())
        await drive.rename(X, BACKUP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.rename, N, X)
            await wait_all_tasks_blocked(0.05)
            await drive.back()
        await drive.drained()
        assert office.stored() == [("1/scan/x.txt", b"queued as n.txt")]
        await drive.remove(BACKUP)
        drive.assert_nothing_left()
