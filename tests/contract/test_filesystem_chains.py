"""A file that is saved again and again, while what it waits for is refused, failed, or taken back."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aerofs import errors
from aerofs.content.operations import Operation, State
from aerofs.filesystem.attributes import Changes
from aerofs.sandbox import Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, queued, saved_while_away, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
SMALL = "invoice/1/small/a.txt"
FORBIDDEN = Fault("delete", "status", status=403, count=None)


@asynccontextmanager
async def saved_beside_the_old(
    office: Office, *saves: bytes, close_wait: float = 60.0
) -> AsyncIterator[Drive]:
    """The first save stands beside what it was to replace: neither may be deleted. Further ones wait behind it."""
    office.add(A, b"base")
    async with office.mounted(close_wait=close_wait) as drive:
        assert await drive.read(A) == b"base"
        office.sandbox.add_fault(FORBIDDEN)
        for data in saves:
            with pytest.raises(errors.DeniedError):
                await drive.write(A, data)
        assert office.stored() == [("1/scan/a.txt", b"base"), ("1/scan/a.txt", saves[0])]
        yield drive


@pytest.mark.parametrize("close_wait", [60.0, inf])
async def test_a_save_behind_one_that_stays_held_is_told_at_once(office: Office, close_wait: float) -> None:
    async with saved_beside_the_old(office, b"one", b"two", close_wait=close_wait) as drive:
        for data in (b"three", b"four"):
            with trio.fail_after(5), pytest.raises(errors.DeniedError):
                await drive.write(A, data)
        assert await drive.read(A) == b"four"
        assert office.stored() == [("1/scan/a.txt", b"base"), ("1/scan/a.txt", b"one")]


async def test_a_save_behind_one_that_was_held_is_carried_out_once_it_may_be(office: Office) -> None:
    async with saved_beside_the_old(office, b"one", b"two") as drive:
        office.sandbox.clear_faults()
        await drive.write(A, b"three")
        assert office.stored() == [("1/scan/a.txt", b"three")]
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_rename_behind_a_save_that_stays_held_is_refused_at_once(office: Office) -> None:
    async with saved_beside_the_old(office, b"one") as drive:
        with trio.fail_after(4), pytest.raises(errors.DeniedError):
            await drive.rename(A, B)
        assert await drive.read(A) == b"one"


@pytest.mark.parametrize("saves", [(b"one",), (b"one", b"two"), (b"one", b"two", b"three")])
async def test_a_rename_behind_a_save_that_was_held_is_carried_out_once_it_may_be(
    office: Office, saves: tuple[bytes, ...]
) -> None:
    async with saved_beside_the_old(office, *saves) as drive:
        office.sandbox.clear_faults()
        await drive.rename(A, B)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", saves[-1])]
        drive.assert_nothing_left()


async def test_a_save_that_is_refused_while_what_waits_is_tried_is_not_sent_again(office: Office) -> None:
    office.sandbox.add_fault(Fault("save", "status", status=403, count=None))
    async with office.mounted(close_wait=0.0) as drive:
        await drive.names("invoice/1/scan")
        with office.sandbox.hold("save") as hold:
            await drive.write(A, b"new")
            await hold.arrived()
            drive.filesystem.retry()
            hold.release()
        await until(lambda: drive.states() == {"a.txt": "held"})
        await wait_all_tasks_blocked(0.05)
        (save,) = drive.filesystem.saves()
        assert (save["state"], save["tries"]) == ("held", 1)
        assert office.take_requests() == {"save": 1}


async def test_a_save_that_fails_for_now_while_what_waits_is_tried_is_tried_again_at_once(
    office: Office,
) -> None:
    office.sandbox.add_fault(Fault("save", "status", status=503, count=1))
    async with office.mounted(close_wait=0.0) as drive:
        await drive.names("invoice/1/scan")
        with office.sandbox.hold("save") as hold:
            await drive.write(A, b"new")
            await hold.arrived()
            (work,) = drive.filesystem._uploads
            drive.filesystem.retry()
            hold.release()
        await until(lambda: work.row.tries == 1)
        assert work.next_try is None  # no pause
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new")]


@pytest.mark.parametrize("status", [403, 503])
async def test_a_save_is_not_told_what_an_earlier_one_met_that_counts_no_more(
    office: Office, status: int
) -> None:
    office.sandbox.add_fault(Fault("save", "status", status=status, count=1))
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")

        async def first() -> None:
            with pytest.raises(errors.DeniedError if status == 403 else errors.UnavailableError):
                await drive.write(A, b"one")

        async with trio.open_nursery() as nursery:
            with office.sandbox.hold("save") as hold:
                nursery.start_soon(first)
                await hold.arrived()
                nursery.start_soon(drive.write, A, b"two")
                await until(lambda: len(drive.filesystem.saves()) == 2)
                hold.release()
        assert office.stored() == [("1/scan/a.txt", b"two")]


@pytest.mark.parametrize("state", ["queued", "held"])
async def test_a_save_whose_removal_is_refused_is_what_it_was(office: Office, state: str) -> None:
    office.add(A, b"base")
    refused = Fault("save", "status", status=503 if state == "queued" else 403, count=1)
    async with office.mounted() as drive:
        assert await drive.read(A) == b"base"
        office.sandbox.add_fault(refused)
        with pytest.raises(errors.AerofsError):
            await drive.write(A, b"new")
        (before,) = drive.filesystem.saves()
        office.sandbox.add_fault(Fault("delete", "status", status=403, count=1))
        with pytest.raises(errors.DeniedError):
            await drive.remove(A)
        if state == "queued":
            await drive.drained()
            assert office.stored() == [("1/scan/a.txt", b"new")]
        else:
            (after,) = drive.filesystem.saves()
            assert after == before
            assert await drive.read(A) == b"new"
            drive.filesystem._uploads.retry(held=True)
            await until(lambda: not drive.filesystem.saves())
            assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


@asynccontextmanager
async def queued_and_then_refused(office: Office, how: str) -> AsyncIterator[Drive]:
    """A save waits for the platform, and a later change of the file met an error that its writer was told of."""
    async with office.mounted() as drive:
        await drive.names("invoice/1/small")
        await saved_while_away(drive, SMALL, b"x" * 6000)
        if how == "write":
            handle = await drive.open(SMALL, os.O_WRONLY)
            with pytest.raises(errors.TooLargeError):
                await drive.filesystem.write(handle, 6000, b"y" * 6000)
            with pytest.raises(errors.TooLargeError):
                await drive.close(handle)
        else:
            with pytest.raises(errors.TooLargeError):
                await drive.filesystem.change((await drive.find(SMALL)).inode, Changes(size=1 << 20), None)
        yield drive


@pytest.mark.parametrize("how", ["write", "truncate"])
async def test_an_error_that_changed_nothing_is_over_with_its_writer(office: Office, how: str) -> None:
    async with queued_and_then_refused(office, how) as drive:
        handle = await drive.open(SMALL, os.O_WRONLY)
        await drive.filesystem.write(handle, 0, b"GOOD")
        with pytest.raises(errors.UnavailableError):
            await drive.close(handle)
        assert (await drive.read(SMALL)) == b"GOOD" + b"x" * 5996
        await drive.back()
        assert office.stored() == [("1/small/a.txt", b"GOOD" + b"x" * 5996)]
        drive.assert_nothing_left()


@pytest.mark.parametrize("how", ["write", "truncate"])
async def test_a_save_that_waits_is_brought_up_though_a_later_change_met_an_error(
    office: Office, how: str
) -> None:
    async with queued_and_then_refused(office, how) as drive:
        await drive.back()
        assert office.stored() == [("1/small/a.txt", b"x" * 6000)]
        drive.assert_nothing_left()


async def test_a_draft_that_met_an_error_is_not_uploaded_under_another_name(office: Office) -> None:
    office.add(SMALL, b"original")
    part = SMALL + ".part"
    async with office.mounted() as drive:
        assert await drive.read(SMALL) == b"original"
        handle = await drive.open(part, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"x" * 6000)
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 6000, b"y" * 6000)
        with pytest.raises(errors.TooLargeError):
            await drive.close(handle)
        for name in (SMALL, SMALL + "2"):
            with pytest.raises(errors.TooLargeError):
                await drive.rename(part, name)
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"original")]
        assert await drive.names("invoice/1/small") == ["a.txt", "a.txt.part"]
        assert await drive.read(SMALL) == b"original"
        await drive.write(part, b"whole")
        await drive.rename(part, SMALL)
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"whole")]
        drive.assert_nothing_left()


class SlowJournal:
    """The journal answers late that a row of a save was written."""

    def __init__(self, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written, self.answered = trio.Event(), trio.Event()
        record = drive.store.journal.record

        async def slow(operation: Operation, **given: Any) -> Operation:
            row = await record(operation, **given)
            if row.state is State.QUEUED:
                self.written.set()
                await self.answered.wait()
            return row

        monkeypatch.setattr(drive.store.journal, "record", slow)


@pytest.mark.parametrize("before", ["accepted", "synced"])
@pytest.mark.parametrize("then", ["nothing", "emptied"])
async def test_an_error_while_a_save_is_recorded_takes_nothing_from_it(
    office: Office, monkeypatch: pytest.MonkeyPatch, before: str, then: str
) -> None:
    async with office.mounted("alive", close_wait=0.0) as drive:
        await drive.names("invoice/1/small")
        handle = await drive.open(SMALL, WRITE_NEW)
        if before == "accepted":
            await drive.filesystem.write(handle, 0, b"one")
            await drive.filesystem.flush(handle)
            await drive.drained()
        await drive.filesystem.write(handle, 0, b"two")
        if before == "accepted":
            await drive.filesystem.flush(handle)
        else:
            await drive.filesystem.fsync(handle)
        inode = drive.filesystem._files.node(handle).inode
        slow = SlowJournal(drive, monkeypatch)
        async with trio.open_nursery() as nursery:
            with office.sandbox.hold("save") as hold:
                nursery.start_soon(drive.filesystem.release, handle)
                await slow.written.wait()
                with pytest.raises(errors.TooLargeError):
                    await drive.filesystem.change(inode, Changes(size=1 << 20), None)
                if then == "emptied":
                    handle = await drive.open(SMALL, os.O_WRONLY | os.O_TRUNC)
                slow.answered.set()
                await hold.arrived()
                await wait_all_tasks_blocked(0.05)
                rows = drive.store.journal.load()
                assert [(row.state, row.size) for row in rows if row.content] == [("queued", 3)]
                office.copy_disk("alive", "dead")
                hold.release()
        if then == "emptied":
            await drive.filesystem.write(handle, 0, b"three")
            await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"two" if then == "nothing" else b"three")]
        drive.assert_nothing_left()
    office.clear()
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"two")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("stands", [False, True])
async def test_what_could_not_be_written_to_a_file_on_its_way_elsewhere_is_not_what_it_holds(
    office: Office, *, stands: bool
) -> None:
    here, there = "invoice/1/small/a.txt", "invoice/2/small/a.txt"
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.names("invoice/2/small")
        if stands:
            await drive.write(here, b"first")
        for kind in ("copy",) if stands else ("save", "copy"):
            office.sandbox.add_fault(Fault(kind, "status", status=503, count=None))
        if not stands:
            await queued(drive, here, b"first")
        await drive.rename(here, there)
        handle = await drive.open(there, os.O_WRONLY)
        await drive.filesystem.write(handle, 0, b"other")
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 5, b"n" * 20_000)
        with pytest.raises(errors.TooLargeError):
            await drive.close(handle)
        assert await drive.read(there) == b"first"
        office.sandbox.clear_faults()
        drive.filesystem.retry()
        await drive.drained()
        assert await drive.read(there) == b"first"
        assert office.stored() == [("2/small/a.txt", b"first")]
        drive.assert_nothing_left()
