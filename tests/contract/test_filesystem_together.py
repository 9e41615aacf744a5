"""Many new files at once in one field: they share it, each arrives once, what goes wrong with one touches no other."""

import trio

from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, until

FIELD = "invoice/1/scan"
NAMES = [f"{number:02}.txt" for number in range(12)]


async def save_all(drive: Drive, data: bytes = b"the same in all") -> None:
    async with trio.open_nursery() as nursery:
        for name in NAMES:
            nursery.start_soon(drive.write, f"{FIELD}/{name}", data)


def stored(office: Office) -> list[str]:
    return [path.rpartition("/")[2] for path, _ in office.stored("1/scan")]


async def test_as_many_as_the_lane_has_places_are_brought_up_at_the_same_time(office: Office) -> None:
    async with office.mounted(close_wait=0, upload_lane=3) as drive:
        with office.sandbox.faults.hold("save") as hold:
            await save_all(drive)
            await hold.arrived(3)
            states = list(drive.states().values())
            assert (states.count("uploading"), states.count("queued")) == (3, 9)
        await drive.drained()
        assert stored(office) == NAMES
        assert office.take_requests() == {"save": 12}
        drive.assert_nothing_left()


async def test_each_arrives_once_where_answers_are_lost(office: Office) -> None:
    async with office.mounted(close_wait=0) as drive:
        office.sandbox.faults.add(Fault("save", "drop_answer", count=5))
        await save_all(drive)
        await drive.drained()
        assert stored(office) == NAMES
        assert office.take_requests()["save"] == 12
        drive.assert_nothing_left()


async def test_what_was_on_its_way_when_the_process_died_arrives_once(office: Office) -> None:
    async with office.mounted(close_wait=0) as drive:
        with office.sandbox.faults.hold("save", answered=True) as hold:
            await save_all(drive)
            await hold.arrived(4)
            office.copy_disk("state", "after")
    async with office.mounted("after") as drive:
        await drive.drained()
        assert stored(office) == NAMES
        drive.assert_nothing_left()


async def test_one_that_overwrites_waits_for_those_before_it_and_they_for_nobody(office: Office) -> None:
    office.add(f"{FIELD}/old.txt", b"old")
    async with office.mounted(close_wait=0) as drive:
        with office.sandbox.faults.hold("delete") as hold:
            await drive.write(f"{FIELD}/00.txt", b"before")
            await drive.write(f"{FIELD}/old.txt", b"new")
            await drive.write(f"{FIELD}/01.txt", b"after")
            await hold.arrived()
            assert stored(office) == ["00.txt", "old.txt", "old.txt"]
            assert drive.states() == {"old.txt": "uploading", "01.txt": "queued"}
        await drive.drained()
        assert stored(office) == ["00.txt", "01.txt", "old.txt"]
        drive.assert_nothing_left()


async def test_a_removed_save_that_looks_for_its_own_does_not_take_its_successor_away(office: Office) -> None:
    """The name is free again for a file with the very same bytes: two saves that nothing else tells apart."""
    path = f"{FIELD}/x.txt"
    async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
        office.sandbox.faults.add(Fault("save", "cut"))
        office.sandbox.faults.add(Fault("list", "status", count=None))
        await drive.write(path, b"bytes")
        await until(lambda: [save["tries"] for save in drive.filesystem.saves()] == [1])
        await drive.remove(path)
        await drive.write(path, b"bytes")
        await until(lambda: stored(office) == ["x.txt"])
        await until(lambda: len(drive.filesystem.saves()) == 1)
        office.sandbox.faults.clear()
        await drive.drained()
        assert stored(office) == ["x.txt"]
        drive.assert_nothing_left()
