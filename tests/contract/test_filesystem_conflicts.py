"""A colleague was faster: theirs is never touched, ours stands beside it, and both are told of.

In every case the ids of what the colleague put there are looked for on the platform in the end.
"""

import os
import re
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from aerofs import errors
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import DEFINITION, Drive, Office, saved_while_away, settled_down, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
THERE = "invoice/2/scan/a.txt"
BESIDE = re.compile(r"a \(conflict \S+ \d{4}-\d\d-\d\d \d\d\.\d\d( \d+)?\)\.txt")


class Colleague:
    """Somebody else, on the platform."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._theirs: set[str] = set()

    def ids(self, field: str) -> list[str]:
        document, path = field.split("/")
        found = self._office.sandbox.platform.attachments(DEFINITION, self._office.documents[document], path)
        return [each.id for each in found]

    def adds(self, path: str, data: bytes) -> str:
        """A file of theirs: nothing that we do may take it away."""
        added = self._office.add(path, data)
        self._theirs.add(added)
        return added

    def deletes(self, attachment: str) -> None:
        self._office.sandbox.platform.remove_attachment(attachment)
        self._theirs.discard(attachment)

    def replaces(self, attachment: str, path: str, data: bytes = b"theirs") -> str:
        self.deletes(attachment)
        return self.adds(path, data)

    def assert_nothing_lost(self) -> None:
        fields = {place.rpartition("/")[0] for place, _ in self._office.stored()}
        standing = {each for field in fields for each in self.ids(field)}
        assert self._theirs <= standing


@pytest.fixture
def colleague(office: Office) -> Iterator[Colleague]:
    found = Colleague(office)
    yield found
    found.assert_nothing_lost()


def beside(office: Office, field: str = "1/scan", name: str = "a") -> dict[str, bytes]:
    """The copies of ours in a field that stand beside a colleague's."""
    return {
        place.rpartition("/")[2]: data
        for place, data in office.stored(field)
        if place.rpartition("/")[2].startswith(f"{name} (conflict ")
    }


async def opened_and_written(drive: Drive, path: str, data: bytes) -> int:
    handle = await drive.open(path, os.O_RDWR)
    await drive.filesystem.write(handle, 0, data)
    return handle


async def seen_as_it_is(drive: Drive, office: Office, clock: MockClock, field: str = "1/scan") -> None:
    """What the drive shows, after a moment and after it has asked anew, is what stands there under the very titles."""
    await settled_down(clock)
    for _ in range(2):
        stored = {place.rpartition("/")[2]: data for place, data in office.stored(field)}
        assert await drive.names(f"invoice/{field}") == sorted(stored)
        for name, data in stored.items():
            assert await drive.read(f"invoice/{field}/{name}") == data
        drive.filesystem.refresh()


# -- what is saved ---------------------------------------------------------------------------------------------------


async def test_both_versions_stand_are_seen_and_are_told_of(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, A, b"our")
        theirs = colleague.replaces(base, A)
        await drive.close(handle)
        await drive.drained()
        ((name, data),) = beside(office).items()
        assert BESIDE.fullmatch(name)
        assert data == b"our"
        assert office.stored("1/scan") == [(f"1/scan/{name}", b"our"), ("1/scan/a.txt", b"theirs")]
        assert theirs in colleague.ids("1/scan")
        (told,) = drive.filesystem.waiting.conflicts()
        assert (told["path"], told["ours"]) == (A, name)
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_the_same_minute_has_room_for_three(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    standing = office.add(A, b"old")
    async with office.mounted() as drive:
        for number in range(3):
            handle = await opened_and_written(drive, A, b"our %d" % number)
            standing = colleague.replaces(standing, A, b"old %d" % number)
            await drive.close(handle)
            await drive.drained()
            await seen_as_it_is(drive, office, clock)
        assert sorted(beside(office).values()) == [b"our 0", b"our 1", b"our 2"]
        assert len(drive.filesystem.waiting.conflicts()) == 3
        drive.assert_nothing_left()


async def test_equal_bytes_are_no_reason_to_touch_theirs(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, A, b"new")
        colleague.replaces(base, A, b"new")
        await drive.close(handle)
        await drive.drained()
        assert list(beside(office).values()) == [b"new"]
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_a_version_that_was_deleted_is_saved_as_a_new_file(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, A, b"our")
        colleague.deletes(base)
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"our")]
        assert drive.filesystem.waiting.conflicts() == []
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_a_version_that_was_renamed_stands_under_its_new_name_and_ours_under_the_old(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, A, b"our")
        colleague.replaces(base, B, b"old")
        await drive.close(handle)
        await drive.drained()
        drive.filesystem.refresh()
        assert office.stored() == [("1/scan/a.txt", b"our"), ("1/scan/b.txt", b"old")]
        assert drive.filesystem.waiting.conflicts() == []
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_the_longest_name_has_room_for_a_conflict(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    long = "ü" * 125 + "x.txt"
    path = f"invoice/1/scan/{long}"
    base = office.add(path, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, path, b"our")
        colleague.replaces(base, path)
        await drive.close(handle)
        await drive.drained()
        ours, theirs = sorted(office.stored("1/scan"), key=lambda stored: stored[1])
        assert theirs == (f"1/scan/{long}", b"theirs")
        assert re.fullmatch(r"1/scan/ü+x? \(conflict .*\)\.txt", ours[0])
        assert len(ours[0].rpartition("/")[2].encode()) <= 255
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


@pytest.mark.parametrize("after", range(1, 5))
async def test_a_lost_answer_anywhere_leaves_one_copy_each(
    office: Office, colleague: Colleague, clock: MockClock, after: int
) -> None:
    kind = ["save", "delete", "list", "save", "delete"][after]
    base = office.add(A, b"old")
    async with office.mounted(metadata_deadline=0.5) as drive:
        handle = await opened_and_written(drive, A, b"our")
        colleague.replaces(base, A)
        before = ["save", "delete", "list", "save"][:after].count(kind)
        office.sandbox.add_fault(Fault(kind, "drop_answer", after=before))
        try:
            await drive.close(handle)
        except errors.UnavailableError:
            assert set(drive.states().values()) == {"queued"}
        await drive.drained()
        assert sorted(data for _, data in office.stored()) == [b"our", b"theirs"]
        # Of a deletion that was asked for twice nobody knows whose it was: then both stand under the one name.
        if after != 1:
            assert list(beside(office).values()) == [b"our"]
            await seen_as_it_is(drive, office, clock)
        await settled_down(clock)
        drive.assert_nothing_left()


async def test_a_later_save_of_a_file_that_gives_way_gives_way_too(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted(close_wait=0) as drive:
        handle = await opened_and_written(drive, A, b"one")
        colleague.replaces(base, A)
        with office.sandbox.hold("save") as hold:
            await drive.filesystem.flush(handle)
            await hold.arrived()
            await drive.filesystem.write(handle, 0, b"two")
            await drive.close(handle)
        await drive.drained()
        assert list(beside(office).values()) == [b"two"]
        assert len(office.stored()) == 2
        await seen_as_it_is(drive, office, clock)
        # And the handle's next one, by the name that it has now.
        (name,) = beside(office)
        await drive.write(f"invoice/1/scan/{name}", b"three")
        await drive.drained()
        assert beside(office) == {name: b"three"}
        assert len(drive.filesystem.waiting.conflicts()) == 1
        drive.assert_nothing_left()


# -- what was kept here for a while ----------------------------------------------------------------------------------


async def test_a_save_that_waited_for_the_platform_gives_way(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await saved_while_away(drive, A, b"our")
        colleague.replaces(base, A)
        assert await drive.read(A) == b"our"
        await drive.back()
        assert list(beside(office).values()) == [b"our"]
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


@pytest.mark.parametrize("field", ["scan", "picture", "contract"])
async def test_a_save_recovered_a_week_after_a_crash_gives_way(
    office: Office, colleague: Colleague, clock: MockClock, field: str
) -> None:
    path = f"invoice/1/{field}/a.txt"
    base = office.add(path, b"old")
    async with office.mounted() as drive:
        await drive.find(path)
        await saved_while_away(drive, path, b"our")
    colleague.replaces(base, path)
    clock.jump(7 * 86_400)
    async with office.mounted() as drive:
        await drive.drained()
        assert list(beside(office, f"1/{field}").values()) == [b"our"]
        assert len(office.stored()) == 2
        assert len(drive.filesystem.waiting.conflicts()) == 1
        await seen_as_it_is(drive, office, clock, f"1/{field}")
        drive.assert_nothing_left()


async def test_a_draft_that_was_only_synced_gives_way_after_a_crash(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, A, b"our")
        await drive.filesystem.fsync(handle)
    colleague.replaces(base, A)
    async with office.mounted() as drive:
        await drive.drained()
        assert list(beside(office).values()) == [b"our"]
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


# -- renames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [B.replace("b.txt", "a.txt"), THERE], ids=["in the field", "across"])
@pytest.mark.parametrize("waited", [False, True], ids=["at once", "after an outage"])
async def test_a_rename_over_a_file_that_a_colleague_replaced_stands_beside_it(
    office: Office, colleague: Colleague, clock: MockClock, target: str, *, waited: bool
) -> None:
    source = B if target == A else "invoice/1/scan/a.txt"
    office.add(source, b"our")
    over = office.add(target, b"old")
    field = "/".join(target.split("/")[1:3])
    async with office.mounted() as drive:
        await drive.find(source)
        await drive.read(source)
        await drive.find(target)
        if waited:
            drive.network.away = True
            await drive.rename(source, target)
            colleague.replaces(over, target)
            await drive.back()
        else:
            colleague.replaces(over, target)
            await drive.rename(source, target)
            await drive.drained()
        assert list(beside(office, field).values()) == [b"our"]
        assert len(office.stored()) == 2
        await seen_as_it_is(drive, office, clock, field)
        assert len(drive.filesystem.waiting.conflicts()) == 1
        drive.assert_nothing_left()


async def test_a_file_that_a_colleague_replaced_is_not_moved(office: Office, colleague: Colleague) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.find("invoice/2/scan")
        colleague.replaces(base, A)
        with pytest.raises(errors.NotFoundError):
            await drive.rename(A, THERE)
        assert office.stored() == [("1/scan/a.txt", b"theirs")]
        assert await drive.read(A) == b"theirs"
        assert await drive.names("invoice/2/scan") == []
        drive.assert_nothing_left()


async def test_a_source_that_a_colleague_replaces_while_it_is_copied_leaves_both(
    office: Office, colleague: Colleague
) -> None:
    base = office.add(A, b"our")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.find("invoice/2/scan")
        with office.sandbox.hold("copy", answered=True) as hold:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive.rename, A, THERE)
                await hold.arrived()
                await until(lambda: colleague.ids("2/scan"))
                colleague.replaces(base, A)
                hold.release()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"theirs"), ("2/scan/a.txt", b"our")]
        drive.filesystem.refresh()
        assert await drive.read(A) == b"theirs"
        assert await drive.read(THERE) == b"our"
        drive.assert_nothing_left()


async def test_a_save_by_a_temporary_file_stands_beside_a_colleagues(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        await drive.write("invoice/1/scan/.goutputstream-1", b"our")
        colleague.replaces(base, A)
        await drive.rename("invoice/1/scan/.goutputstream-1", A)
        await drive.drained()
        assert list(beside(office).values()) == [b"our"]
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_a_save_with_a_backup_stands_beside_a_colleagues(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"old"
        await drive.rename(A, f"{A}~")
        colleague.replaces(base, A)
        await drive.write(A, b"our")
        assert await drive.read(f"{A}~") == b"old"
        await drive.remove(f"{A}~")
        await drive.drained()
        assert list(beside(office).values()) == [b"our"]
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_a_backup_that_a_colleague_took_away_holds_no_save_up_and_ours_stands_beside_theirs(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.rename(A, f"{A}~")
        colleague.replaces(base, A)
        await drive.write(A, b"our")
        await drive.drained()
        assert list(beside(office).values()) == [b"our"]
        assert ("1/scan/a.txt", b"theirs") in office.stored()
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()


async def test_a_removal_never_takes_a_colleagues_newer_version(office: Office, colleague: Colleague) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.find(A)
        colleague.replaces(base, A)
        await drive.remove(A)
        assert office.stored() == [("1/scan/a.txt", b"theirs")]
        assert await drive.read(A) == b"theirs"
        drive.assert_nothing_left()


# -- fields with limits ----------------------------------------------------------------------------------------------


async def test_a_field_that_a_colleague_filled_holds_ours_back(office: Office, colleague: Colleague) -> None:
    path = "invoice/1/few/a.txt"
    base = office.add(path, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, path, b"our")
        colleague.replaces(base, path)
        colleague.adds("invoice/1/few/b.txt", b"more")
        with pytest.raises(errors.QuotaError):
            await drive.close(handle)
        assert drive.states() == {"a.txt": "held"}
        assert await drive.read(path) == b"our"
        assert office.stored() == [("1/few/a.txt", b"theirs"), ("1/few/b.txt", b"more")]


async def test_the_last_place_of_a_field_is_enough_to_stand_beside(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    path = "invoice/1/few/a.txt"
    base = office.add(path, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, path, b"our")
        colleague.replaces(base, path)
        await drive.close(handle)
        await drive.drained()
        assert list(beside(office, "1/few").values()) == [b"our"]
        assert len(office.stored()) == 2
        await seen_as_it_is(drive, office, clock, "1/few")
        drive.assert_nothing_left()


async def test_a_field_for_one_that_a_colleague_filled_holds_ours_back(
    office: Office, colleague: Colleague
) -> None:
    path = "invoice/1/single/a.txt"
    base = office.add(path, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, path, b"our")
        theirs = colleague.replaces(base, path)
        with pytest.raises(errors.QuotaError):
            await drive.close(handle)
        assert drive.states() == {"a.txt": "held"}
        assert colleague.ids("1/single") == [theirs]
        assert await drive.read(path) == b"our"


async def test_a_copy_that_may_not_be_deleted_stays_as_a_third(
    office: Office, colleague: Colleague, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await opened_and_written(drive, A, b"our")
        colleague.replaces(base, A)
        # The first asks for what is gone, and hears so.
        office.sandbox.add_fault(Fault("delete", "status", status=403, after=1, count=None))
        with pytest.raises(errors.DeniedError):
            await drive.close(handle)
        assert sorted(data for _, data in office.stored()) == [b"our", b"our", b"theirs"]
        assert set(drive.states().values()) == {"held"}
        office.sandbox.clear_faults()
        office.permit(Access())
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        assert list(beside(office).values()) == [b"our"]
        assert len(office.stored()) == 2
        await seen_as_it_is(drive, office, clock)
        drive.assert_nothing_left()
