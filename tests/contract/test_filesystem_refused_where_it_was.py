"""A save that is refused where its file was, when that had gone elsewhere, or had been removed, meanwhile."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio

from aerofs.errors import DeniedError
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, queued, until

HERE, THERE = "invoice/1/single/a.txt", "invoice/1/scan/a.txt"


async def perhaps_sent(drive: Drive, path: str, data: bytes) -> None:
    """A save of which nobody knows whether it was carried out; nothing else is, until the faults are cleared."""
    drive.office.sandbox.add_fault(Fault("save", "status", status=503, count=None))
    await queued(drive, path, data)


async def well_again(drive: Drive) -> None:
    drive.office.sandbox.clear_faults()
    drive.filesystem.retry()
    await drive.drained()


async def test_it_is_brought_up_where_it_is_now(office: Office) -> None:
    async with office.mounted(rename_wait=0.2) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        await drive.rename(HERE, THERE)
        office.add("invoice/1/single/b.txt", b"theirs")
        await well_again(drive)
        assert office.stored() == [("1/scan/a.txt", b"ours"), ("1/single/b.txt", b"theirs")]
        assert await drive.read(THERE) == b"ours"
        drive.assert_nothing_left()


async def test_the_rename_itself_may_wait_for_that(office: Office) -> None:
    async with office.mounted(rename_wait=5) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        office.add("invoice/1/single/b.txt", b"theirs")
        office.sandbox.clear_faults()
        await drive.rename(HERE, THERE)
        assert office.stored() == [("1/scan/a.txt", b"ours"), ("1/single/b.txt", b"theirs")]
        await drive.drained()
        drive.assert_nothing_left()


async def test_what_was_written_to_it_after_that_is_brought_up_where_it_is_now(office: Office) -> None:
    async with office.mounted(rename_wait=0.2) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        await drive.rename(HERE, THERE)
        await queued(drive, THERE, b"newer")
        office.add("invoice/1/single/b.txt", b"theirs")
        await well_again(drive)
        assert office.stored() == [("1/scan/a.txt", b"newer"), ("1/single/b.txt", b"theirs")]
        drive.assert_nothing_left()


async def test_its_removal_does_not_wait_for_it(office: Office) -> None:
    async with office.mounted(rename_wait=0.2) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        await drive.rename(HERE, THERE)
        await drive.remove(THERE)
        office.add("invoice/1/single/b.txt", b"theirs")
        await well_again(drive)
        assert office.stored() == [("1/single/b.txt", b"theirs")]
        drive.assert_nothing_left()


async def test_what_is_written_while_it_is_brought_up_there_is_not_in_it(office: Office) -> None:
    async with office.mounted(rename_wait=0.2) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        await drive.rename(HERE, THERE)
        handle = await drive.open(THERE, os.O_WRONLY)
        office.add("invoice/1/single/b.txt", b"theirs")
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("save", "status", status=503, path="=scan", count=None))
        drive.filesystem.retry()
        await until(lambda: len(drive.filesystem.saves()) == 1)  # refused where it was
        await drive.filesystem.write(handle, 0, b"mine")
        await well_again(drive)
        assert office.stored("1/scan") == [("1/scan/a.txt", b"ours")]
        await drive.close(handle)
        assert office.stored("1/scan") == [("1/scan/a.txt", b"mine")]
        drive.assert_nothing_left()


async def test_where_it_may_not_be_removed_it_is_as_it_was(office: Office) -> None:
    here, there = "invoice/1/copies/a.txt", THERE
    office.add(here, b"old")
    async with office.mounted(rename_wait=5) as drive:
        assert await drive.read(here) == b"old"
        await perhaps_sent(drive, here, b"ours")
        await drive.rename(here, there)
        office.sandbox.clear_faults()
        for kind in ("save", "delete"):
            office.sandbox.add_fault(Fault(kind, "status", status=403, count=None))
        async with trio.open_nursery() as nursery:

            async def removal() -> None:
                with pytest.raises(DeniedError):
                    await drive.remove(there)

            nursery.start_soon(removal)
            await until(lambda: drive.filesystem.saves()[-1]["withdrawn"])
            drive.filesystem.retry()
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert office.stored() == [("1/copies/a.txt", b"old")]
    office.sandbox.clear_faults()
    async with office.mounted() as drive:
        assert await drive.read(there) == b"ours"
        drive.filesystem.retry()
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"ours")]
        drive.assert_nothing_left()


async def test_a_person_looks_first_where_it_may_stand_already(office: Office) -> None:
    here = "invoice/1/picture/a.png"
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.names("invoice/1/picture")
        await perhaps_sent(drive, here, b"no picture")
        await drive.rename(here, THERE)
        office.add(here, b"nor this")
        office.sandbox.clear_faults()
        drive.filesystem.retry()
        await until(lambda: "held" in drive.states().values())
        assert office.stored() == [("1/picture/a.png", b"nor this")]
        assert await drive.read(THERE) == b"no picture"


@pytest.mark.parametrize("answered", [False, True])
async def test_a_death_on_the_way_loses_and_doubles_nothing(office: Office, *, answered: bool) -> None:
    for after in range(9):
        office.start_over(())
        async with office.mounted("alive", rename_wait=0.2) as drive:
            await perhaps_sent(drive, HERE, b"ours")
            await drive.rename(HERE, THERE)
            office.add("invoice/1/single/b.txt", b"theirs")
            office.sandbox.clear_faults()
            drive.network.cut(after, answered=answered, crashed=lambda: office.copy_disk("alive", "dead"))
            drive.filesystem.retry()
            await until(lambda: drive.network.reached.is_set() or not drive.filesystem.saves())
            died = drive.network.reached.is_set()
        if died:
            async with office.mounted("dead") as drive:
                await drive.drained()
                assert await drive.read(THERE) == b"ours"
                drive.assert_nothing_left()
        assert office.stored() == [("1/scan/a.txt", b"ours"), ("1/single/b.txt", b"theirs")]
        if not died:
            assert after >= 2
            return
    raise AssertionError


async def test_a_second_rename_that_is_refused_as_the_first_leaves_what_the_first_made(
    office: Office,
) -> None:
    first, second = "invoice/1/scan/a.txt", "invoice/1/scan/b.txt"
    office.add("invoice/1/copies/a.txt", b"one")
    async with office.mounted(rename_wait=5) as drive:
        assert await drive.read("invoice/1/copies/a.txt") == b"one"
        office.sandbox.add_fault(Fault("copy", "status", status=503, count=None))
        await drive.rename("invoice/1/copies/a.txt", first)
        office.sandbox.clear_faults()
        for kind in ("copy", "save"):
            office.sandbox.add_fault(Fault(kind, "status", status=403, count=None))
        with pytest.raises(DeniedError):
            await drive.rename(first, second)
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.names("invoice/1/copies") == []
        assert await drive.read(first) == b"one"
        office.sandbox.clear_faults()
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"one")]
        drive.assert_nothing_left()


async def test_a_rename_that_is_refused_as_the_save_before_leaves_that_held(office: Office) -> None:
    async with office.mounted(rename_wait=5) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("save", "status", status=403, count=None))
        with pytest.raises(DeniedError):
            await drive.rename(HERE, THERE)
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert await drive.names("invoice/1/scan") == []
        assert await drive.read(HERE) == b"ours"
        await well_again(drive)
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        await drive.drained()
        assert office.stored() == [("1/single/a.txt", b"ours")]
        drive.assert_nothing_left()


async def _renamed_over(drive: Drive) -> None:
    """A new file was renamed over another one."""
    await drive.write("invoice/1/scan/.a.txt.swp", b"ours")
    await drive.rename("invoice/1/scan/.a.txt.swp", THERE)


async def _where_one_was_put_aside(drive: Drive) -> None:
    """A new file has the name of one that was put aside."""
    await drive.rename(THERE, f"{THERE}~")
    await queued(drive, THERE, b"ours")


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize(
    ("begin", "besides"),
    [(_renamed_over, {}), (_where_one_was_put_aside, {"a.txt~": b"old"})],
    ids=["over", "aside"],
)
async def test_what_it_was_to_replace_where_it_was_it_replaces_there_after_a_rename_in_vain(
    office: Office, begin: Callable[[Drive], Awaitable[None]], besides: dict[str, bytes], *, newer: bool
) -> None:
    office.add(THERE, b"old")
    async with office.mounted(rename_wait=1) as drive:
        await drive.names("invoice/1/copies")
        assert await drive.read(THERE) == b"old"
        office.sandbox.add_fault(Fault("save", "status", status=503, count=None))
        await begin(drive)
        if newer:
            await queued(drive, THERE, b"newer")
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("save", "status", status=403, count=None))
        with pytest.raises(DeniedError):
            await drive.rename(THERE, "invoice/1/copies/b.txt")
        expected = {**besides, "a.txt": b"newer" if newer else b"ours"}
        await until(lambda: drive.states().get("a.txt") == "held")
        assert await drive.shown("invoice/1/scan") == expected
        assert await drive.names("invoice/1/copies") == []
        office.copy_disk("state", "dead")
    office.sandbox.clear_faults()
    async with office.mounted("dead") as drive:
        assert await drive.shown("invoice/1/scan") == expected
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: "held" not in drive.states().values())
        await drive.drained()
        assert await drive.shown("invoice/1/scan") == expected
        assert office.stored() == [("1/scan/a.txt", expected["a.txt"])]
        for name in expected:
            await drive.remove(f"invoice/1/scan/{name}")
        await drive.drained()
        drive.assert_nothing_left()


async def test_what_it_was_to_replace_is_seen_where_the_rename_left_both(office: Office) -> None:
    office.add(THERE, b"old")
    async with office.mounted(rename_wait=1) as drive:
        await drive.names("invoice/1/copies")
        assert await drive.read(THERE) == b"old"
        office.sandbox.add_fault(Fault("save", "status", status=503, count=None))
        await _renamed_over(drive)
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("save", "status", status=403, path="=scan", count=None))
        office.sandbox.add_fault(Fault("delete", "status", status=403, count=None))
        with pytest.raises(DeniedError):
            await drive.rename(THERE, "invoice/1/copies/b.txt")
        await drive.drained()
        assert office.stored() == [("1/copies/b.txt", b"ours"), ("1/scan/a.txt", b"old")]
        assert await drive.shown("invoice/1/scan") == {"a.txt": b"old"}
        assert await drive.shown("invoice/1/copies") == {"b.txt": b"ours"}
        drive.assert_nothing_left()


async def test_that_it_was_handed_on_is_not_taken_for_its_end_after_a_crash(office: Office) -> None:
    async with office.mounted(rename_wait=0.2) as drive:
        await perhaps_sent(drive, HERE, b"ours")
        await drive.rename(HERE, THERE)
        # As where the journal could not be written at first: it says of the one, and not of the other.
        row = drive.store.journal.load()[0]
        await drive.store.journal.record(replace(row, superseded=True))
    office.sandbox.clear_faults()
    async with office.mounted() as drive:
        await drive.drained()
        assert await drive.read(THERE) == b"ours"
        assert office.stored() == [("1/scan/a.txt", b"ours")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("removed", [False, True])
async def test_a_move_that_cannot_be_recognised_any_more_holds_up_nothing_behind_it(
    office: Office, *, removed: bool
) -> None:
    """Its answer was lost, and a colleague took its source away: whether it stands cannot be told from bytes."""
    source = office.add("invoice/1/copies/a.txt", b"ours")
    there = "invoice/2/scan/a.txt"
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.find("invoice/1/copies/a.txt")
        await drive.names("invoice/2/scan")
        office.sandbox.add_fault(Fault("copy", "drop_answer", count=None))
        await drive.rename("invoice/1/copies/a.txt", THERE)
        await until(lambda: len(office.stored()) == 2)
        office.sandbox.platform.remove_attachment(source)
        drive.network.away = True
        await drive.rename(THERE, there)
        if removed:
            await drive.remove(there)
        office.sandbox.clear_faults()
        await drive.back()
        drive.filesystem.refresh()
        if not removed:
            (save,) = drive.filesystem.saves()
            assert (save["path"], save["state"]) == (there, "held")
            await drive.remove(there)
        assert await drive.read(THERE) == b"ours"
        assert office.stored() == [("1/scan/a.txt", b"ours")]
        await drive.drained()
        drive.assert_nothing_left()
