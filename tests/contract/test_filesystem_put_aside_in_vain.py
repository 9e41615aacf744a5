"""A new file takes the name of one that was put aside, and the platform refuses it: that one is put aside as before."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Never

import pytest
import trio
from trio.testing import MockClock

from aerofs.errors import DeniedError, NoSpaceError, TooLargeError
from aerofs.filesystem.relocations import Relocations
from aerofs.sandbox import Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, later, queued, refused, settled_down, until
from tests.contract.deaths import (
    BACKUP,
    CUT_OFF,
    FIELD,
    OLD,
    TEMPORARY,
    B,
    Passed,
    Story,
    View,
    held_at_every_death,
)

X, OTHER, NEW = f"{FIELD}/x.txt", f"{FIELD}/x.bak~", f"{FIELD}/.x.txt.swp"


async def renamed_in_vain(drive: Drive, *, new: str = NEW, name: str = X) -> None:
    """The platform refuses the bytes of the new file."""
    await drive.write(new, b"new")
    drive.office.sandbox.add_fault(Fault("save", "status", status=403))
    with pytest.raises(DeniedError):
        await drive.rename(new, name)
    assert await drive.read(new) == b"new"


async def minute_over(drive: Drive, clock: MockClock, *names: str) -> None:
    """Let those come back that are put aside."""
    await later(clock, 61)
    with trio.fail_after(20):
        while await drive.names(FIELD) != sorted(names):  # noqa: ASYNC110 -- nobody announces it
            await trio.sleep(0.05)
    await drive.drained()


async def all_gone(drive: Drive) -> None:
    """Remove all there is: nothing is left of it."""
    for name in await drive.names(FIELD):
        await drive.remove(f"{FIELD}/{name}")
    await drive.drained()
    assert drive.office.stored("1/scan") == []
    drive.assert_nothing_left()


async def test_it_is_back_after_a_minute(office: Office, clock: MockClock) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.rename(X, f"{X}~")
        await later(clock, 40)
        await renamed_in_vain(drive)
        await later(clock, 40)  # a minute from now on: the program may try again
        assert await drive.shown(FIELD) == {".x.txt.swp": b"new", "x.txt~": b"old"}
        assert drive.states() == {".x.txt.swp": "local"}
        assert office.stored() == [("1/scan/x.txt", b"old")]
        office.take_requests()
        await minute_over(drive, clock, ".x.txt.swp", "x.txt")
        assert await drive.read(X) == b"old"
        assert office.take_requests() == {}
        await all_gone(drive)


async def test_another_try_replaces_it(office: Office, clock: MockClock) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.rename(X, f"{X}~")
        await renamed_in_vain(drive)
        await drive.rename(NEW, X)
        assert office.stored() == [("1/scan/x.txt", b"new")]
        await minute_over(drive, clock, "x.txt", "x.txt~")
        assert await drive.shown(FIELD) == {"x.txt": b"new", "x.txt~": b"old"}
        await all_gone(drive)


async def test_a_rename_that_could_not_be_begun_leaves_it(
    office: Office, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_given: object, **_named: object) -> Never:
        raise NoSpaceError("no room")

    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.rename(X, f"{X}~")
        await drive.write(NEW, b"new")
        with monkeypatch.context() as patch:
            patch.setattr(Relocations, "begin", full)
            with pytest.raises(NoSpaceError):
                await drive.rename(NEW, X)
        assert await drive.shown(FIELD) == {".x.txt.swp": b"new", "x.txt~": b"old"}
        await minute_over(drive, clock, ".x.txt.swp", "x.txt")
        await all_gone(drive)


async def put_aside_and_saved_by_a_colleague(drive: Drive) -> None:
    """Ours was put aside before the platform had it, and a colleague's appeared under the name."""
    await refused(drive, X, b"first", told=True)
    await drive.rename(X, f"{X}~")
    drive.office.add(X, b"second")
    drive.filesystem.refresh()


async def both_are_back(drive: Drive, clock: MockClock) -> None:
    await later(clock, 61)
    await until(lambda: len(drive.office.stored("1/scan")) > 1)
    await drive.drained()
    await settled_down(clock)
    assert drive.office.stored() == [("1/scan/x.txt", b"first"), ("1/scan/x.txt", b"second")]
    seen = await drive.shown(FIELD)
    assert sorted(seen.values()) == [b"first", b"new", b"second"]
    assert {".x.txt.swp", "x.txt"} < seen.keys()
    assert not {"x.bak~", "x.txt~"} & seen.keys()
    await all_gone(drive)


async def test_several_that_were_put_aside_from_one_name_are_back(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        await put_aside_and_saved_by_a_colleague(drive)
        await drive.rename(X, OTHER)
        await renamed_in_vain(drive)
        seen = {".x.txt.swp": b"new", "x.bak~": b"second", "x.txt~": b"first"}
        assert await drive.shown(FIELD) == seen
        await renamed_in_vain(drive)
        assert await drive.shown(FIELD) == seen
        assert office.stored() == [("1/scan/x.txt", b"second")]
        await both_are_back(drive, clock)


async def test_a_colleagues_file_of_the_name_and_it_are_back(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        await put_aside_and_saved_by_a_colleague(drive)
        await renamed_in_vain(drive)
        assert await drive.shown(FIELD) == {".x.txt.swp": b"new", "x.txt": b"second", "x.txt~": b"first"}
        await both_are_back(drive, clock)


async def test_a_save_of_it_that_waited_goes_on_with_it(office: Office, clock: MockClock) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.read(X)
        await refused(drive, X, b"newer", told=True)
        await drive.rename(X, f"{X}~")
        await renamed_in_vain(drive)
        assert await drive.shown(FIELD) == {".x.txt.swp": b"new", "x.txt~": b"newer"}
        assert office.stored() == [("1/scan/x.txt", b"old")]
        office.copy_disk("state", "dead")
        await minute_over(drive, clock, ".x.txt.swp", "x.txt")
        assert office.stored() == [("1/scan/x.txt", b"newer")]
        await all_gone(drive)
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert await drive.read(f"{X}~") == b"newer"


async def test_a_save_of_it_that_may_have_arrived_goes_on_with_it(office: Office, clock: MockClock) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.read(X)
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("list", "status", count=None))
        await queued(drive, X, b"newer")
        await drive.rename(X, f"{X}~")
        await drive.write(NEW, b"new")
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("list", "status", status=403, count=None))
        with pytest.raises(DeniedError):
            await drive.rename(NEW, X)
        office.sandbox.clear_faults()
        assert await drive.names(FIELD) == [".x.txt.swp", "x.txt~"]
        assert drive.states() == {".x.txt.swp": "local", "x.txt": "held", "x.txt~": "local"}
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not list(drive.filesystem._uploads))
        assert office.stored() == [("1/scan/x.txt", b"newer")]
        assert await drive.shown(FIELD) == {".x.txt.swp": b"new", "x.txt~": b"newer"}
        await minute_over(drive, clock, ".x.txt.swp", "x.txt")
        assert office.stored() == [("1/scan/x.txt", b"newer")]
        await all_gone(drive)


async def test_a_save_of_it_that_had_arrived_is_what_comes_back(office: Office, clock: MockClock) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.read(X)
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("list", "status", count=None))
        await queued(drive, X, b"newer")
        await drive.rename(X, f"{X}~")
        office.sandbox.clear_faults()
        await renamed_in_vain(drive)
        assert await drive.shown(FIELD) == {".x.txt.swp": b"new", "x.txt~": b"newer"}
        await minute_over(drive, clock, ".x.txt.swp", "x.txt")
        assert await drive.read(X) == b"newer"
        assert office.stored() == [("1/scan/x.txt", b"newer")]
        await all_gone(drive)


async def test_one_that_made_room_for_the_new_one_is_what_was_put_back(
    office: Office, clock: MockClock
) -> None:
    few = "invoice/1/few"
    office.add(f"{few}/x.txt", b"old")
    office.add(f"{few}/y.txt", b"why")
    async with office.mounted() as drive:
        await drive.rename(f"{few}/x.txt", f"{few}/x.txt~")
        await renamed_in_vain(drive, new=f"{few}/.x.txt.swp", name=f"{few}/x.txt")
        both = [("1/few/x.txt", b"old"), ("1/few/y.txt", b"why")]
        assert office.stored() == both
        assert await drive.shown(few) == {".x.txt.swp": b"new", "x.txt~": b"old", "y.txt": b"why"}
        await later(clock, 61)
        await until(lambda: drive.states() == {".x.txt.swp": "local"})
        await trio.sleep(0.1)
        assert await drive.shown(few) == {".x.txt.swp": b"new", "x.txt": b"old", "y.txt": b"why"}
        assert office.stored() == both
        await drive.remove(f"{few}/.x.txt.swp")
        drive.assert_nothing_left()


# -- what is done while the platform thinks about it ---------------------------------------------------------------


@asynccontextmanager
async def on_its_way(drive: Drive, new: str = NEW) -> AsyncIterator[None]:
    """While the platform thinks about what it will refuse."""
    drive.office.sandbox.add_fault(Fault("save", "status", status=403))
    with drive.office.sandbox.hold("save") as held:

        async def rename() -> None:
            with pytest.raises(DeniedError):
                await drive.rename(new, X)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rename)
            await held.arrived()
            yield
            held.release()


async def _remove(drive: Drive) -> None:
    await drive.remove(f"{X}~")


async def _rename(drive: Drive) -> None:
    await drive.rename(f"{X}~", OTHER)


async def _write(drive: Drive) -> None:
    await drive.write(f"{X}~", b"written")


@pytest.mark.parametrize(
    ("touch", "left"),
    [(_remove, {}), (_rename, {"x.bak~": b"old"}), (_write, {"x.txt~": b"written"})],
    ids=["removed", "renamed", "written"],
)
async def test_what_became_of_it_meanwhile_it_is_and_the_name_has_what_it_was(
    office: Office, clock: MockClock, touch: Callable[[Drive], Awaitable[None]], left: dict[str, bytes]
) -> None:
    office.add(X, b"old")
    async with office.mounted() as drive:
        await drive.rename(X, f"{X}~")
        await drive.write(NEW, b"new")
        async with on_its_way(drive):
            await touch(drive)
        expected = {**left, ".x.txt.swp": b"new", "x.txt": b"old"}
        assert await drive.shown(FIELD) == expected
        await minute_over(drive, clock, *expected)
        assert await drive.shown(FIELD) == expected
        assert office.stored() == [("1/scan/x.txt", b"old")]
        await all_gone(drive)


async def test_what_is_saved_meanwhile_under_the_name_does_not_replace_it(
    office: Office, clock: MockClock
) -> None:
    office.add(X, b"old")
    office.add(f"{FIELD}/y.txt", b"why")
    async with office.mounted(close_wait=0) as drive:
        await drive.rename(X, f"{X}~")
        async with on_its_way(drive, f"{FIELD}/y.txt"):
            await drive.write(X, b"newer")
        await drive.drained()
        assert await drive.shown(FIELD) == {"x.txt~": b"old", "y.txt": b"newer"}
        assert office.stored() == [("1/scan/x.txt", b"old"), ("1/scan/y.txt", b"newer")]
        await minute_over(drive, clock, "x.txt", "y.txt")
        assert await drive.read(X) == b"old"
        await all_gone(drive)


# -- the new one is written, and meets an error before there is anything to be saved -------------------------------

SMALL = "invoice/1/small"
SMALL_X = f"{SMALL}/x.txt"


async def written_in_vain(drive: Drive) -> None:
    with pytest.raises(TooLargeError):
        await drive.write(SMALL_X, b"n" * 20000)


async def it_stands_alone(drive: Drive, data: bytes) -> None:
    """Here and on the platform, and with it goes all there is."""
    assert await drive.shown(SMALL) == {"x.txt": data}
    assert drive.office.stored() == [("1/small/x.txt", data)]
    await drive.remove(SMALL_X)
    drive.assert_nothing_left()


async def test_it_is_as_before_where_the_new_one_could_not_be_written(
    office: Office, clock: MockClock
) -> None:
    office.add(SMALL_X, b"old")
    async with office.mounted() as drive:
        await drive.rename(SMALL_X, f"{SMALL_X}~")
        for _ in range(2):
            await written_in_vain(drive)
            assert await drive.shown(SMALL) == {"x.txt~": b"old"}
            await until(lambda: drive.states() == {})
        await later(clock, 61)
        await until(lambda: drive.filesystem._tree.placed() == [])
        await it_stands_alone(drive, b"old")


async def test_its_held_save_is_its_own_where_the_new_one_could_not_be_written(
    office: Office, clock: MockClock
) -> None:
    office.add(SMALL_X, b"old")
    async with office.mounted() as drive:
        await drive.read(SMALL_X)
        await refused(drive, SMALL_X, b"newer", told=True)
        await drive.rename(SMALL_X, f"{SMALL_X}~")
        await written_in_vain(drive)
        assert await drive.shown(SMALL) == {"x.txt~": b"newer"}
        await later(clock, 61)
        await until(lambda: drive.states() == {"x.txt": "held"})
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        await it_stands_alone(drive, b"newer")


async def test_what_its_save_brings_up_meanwhile_is_its_own_again(office: Office, clock: MockClock) -> None:
    office.add(SMALL_X, b"old")
    async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
        await drive.read(SMALL_X)
        with office.sandbox.hold("save") as saving, office.sandbox.hold("delete") as deleting:
            await drive.write(SMALL_X, b"newer")
            await saving.arrived()
            await drive.rename(SMALL_X, f"{SMALL_X}~")
            new = await drive.open(SMALL_X, WRITE_NEW)
            saving.release()
            await deleting.arrived()
            with pytest.raises(TooLargeError):
                await drive.filesystem.write(new, 0, b"n" * 20000)
            with pytest.raises(TooLargeError):
                await drive.close(new)
            drive.filesystem.refresh()
            assert await drive.names(SMALL) == ["x.txt~"]
            deleting.release()
        await until(lambda: office.stored() == [("1/small/x.txt", b"newer")])
        await drive.drained()
        assert await drive.shown(SMALL) == {"x.txt~": b"newer"}
        await later(clock, 61)
        await until(lambda: drive.filesystem._tree.placed() == [])
        await it_stands_alone(drive, b"newer")


async def test_what_a_third_one_has_taken_over_by_now_does_not_go_back(
    office: Office, clock: MockClock
) -> None:
    office.add(SMALL_X, b"old")
    async with office.mounted() as drive:
        await drive.rename(SMALL_X, f"{SMALL_X}~")
        second = await drive.open(SMALL_X, WRITE_NEW)
        await drive.rename(SMALL_X, f"{SMALL}/x.bak~")
        third = await drive.open(SMALL_X, WRITE_NEW)
        await drive.filesystem.write(third, 0, b"third")
        await drive.rename(f"{SMALL}/x.bak~", f"{SMALL}/y.txt")
        with pytest.raises(TooLargeError):
            await drive.filesystem.write(second, 0, b"n" * 20000)
        with pytest.raises(TooLargeError):
            await drive.close(second)
        assert await drive.shown(SMALL) == {"x.txt": b"third", "x.txt~": b"old"}
        await drive.close(third)
        await later(clock, 61)
        await settled_down(clock)
        await drive.drained()
        assert await drive.shown(SMALL) == {"x.txt": b"third", "x.txt~": b"old"}
        assert office.stored() == [("1/small/x.txt", b"third")]


# -- the process dies ----------------------------------------------------------------------------------------------


async def _renamed_in_vain(drive: Drive, passed: Passed) -> None:
    await drive.rename(B, BACKUP)
    await drive.write(TEMPORARY, b"new")
    passed(1)
    drive.office.sandbox.add_fault(Fault("save", "status", status=403))
    with pytest.raises(DeniedError):
        await drive.rename(TEMPORARY, B)
    passed(5)
    await drive.rename(BACKUP, B)


async def _renamed_in_vain_before_its_save(drive: Drive, passed: Passed) -> None:
    await refused(drive, B, b"held b")
    await drive.rename(B, BACKUP)
    await drive.write(TEMPORARY, b"new")
    passed(1)
    drive.office.sandbox.add_fault(Fault("save", "status", status=403))
    with pytest.raises(DeniedError):
        await drive.rename(TEMPORARY, B)
    passed(3)
    await drive.rename(BACKUP, B)
    passed(4)


_BACK: View = {**OLD, "a.part": b"new"}
_BOTH: View = {**OLD, "a.part": b"new", "b.txt~": b"old b"}
_SAVED: View = {"b.txt": b"held b", "a.part": b"new"}
_HELD: View = {"b.txt~": b"held b"}


@CUT_OFF
@pytest.mark.parametrize(
    "story",
    [
        Story(
            _renamed_in_vain,
            (OLD, _BACK, _BOTH, {"b.txt": b"new", "b.txt~": b"old b"}, _BOTH, _BACK),
            since=1,
            rename_wait=5,
        ),
        Story(
            _renamed_in_vain_before_its_save,
            (OLD, {**_SAVED, **_HELD}, {"b.txt": b"new", **_HELD}, {**_BACK, **_HELD}, _SAVED),
            since=1,
            rename_wait=5,
        ),
    ],
    ids=["plain", "held"],
)
async def test_a_death_leaves_it_beside_its_own_name_at_worst(office: Office, story: Story) -> None:
    await held_at_every_death(office, story)
