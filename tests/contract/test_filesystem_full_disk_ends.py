"""The local disk is full at the very end of something: what is accepted keeps its bytes, its row and a name."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from aerofs.content.draft import Draft
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.errors import AerofsError, DeniedError, NoSpaceError
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import Drive, Office, journal_full, later, refused, until

FIELD = "invoice/1/scan"
A, B, PART = f"{FIELD}/a.txt", f"{FIELD}/b.txt", f"{FIELD}/a.part"
X, Y = A, "invoice/1/copies/a.txt"


async def all_up(drive: Drive) -> None:
    def nothing_waits() -> bool:
        drive.filesystem._uploads.retry(held=True)
        return not list(drive.filesystem._uploads)

    await until(nothing_waits)
    await drive.drained()


async def seen(drive: Drive, path: str) -> bytes:
    """What a file holds; its journal is not touched."""
    handle = await drive.open(path, os.O_RDONLY)
    try:
        return await drive.filesystem.read(handle, 0, 100)
    finally:
        with suppress(NoSpaceError):
            await drive.filesystem.release(handle)


# -- a removal that the platform refuses -----------------------------------------------------------------------------


@pytest.mark.complains
async def test_a_save_outlives_a_refused_removal_that_could_not_be_taken_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Journal.step

    async def full(journal: Journal, operation: Operation, *, durable: bool = False) -> None:
        if durable and not operation.cancelled:
            await journal_full()
        await step(journal, operation, durable=durable)

    office.add(A, b"old")
    async with office.mounted("alive") as drive:
        await drive.names(FIELD)
        await refused(drive, A, b"new", told=True)
        office.permit(Access(read_only=True))
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "step", full)
            with pytest.raises(DeniedError):
                await drive.remove(A)
        assert await drive.read(A) == b"new"
        office.copy_disk("alive", "dead")
    office.permit(Access())
    async with office.mounted("dead") as drive:
        assert await drive.names(FIELD) == ["a.txt"]
        assert await drive.read(A) == b"new"
        await all_up(drive)
        drive.assert_nothing_left()
        assert office.stored() == [("1/scan/a.txt", b"new")]


# -- a draft that met an error ---------------------------------------------------------------------------------------


def no_room(*_given: object) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.complains
@pytest.mark.parametrize("start_over", [False, True])
async def test_a_synced_draft_that_met_an_error_is_there_as_long_as_its_row(
    office: Office, monkeypatch: pytest.MonkeyPatch, *, start_over: bool
) -> None:
    office.add(A, b"old")
    async with office.mounted("alive") as drive:
        handle = await drive.open(A, os.O_RDWR | os.O_TRUNC)
        await drive.filesystem.write(handle, 0, b"synced")
        await drive.filesystem.fsync(handle)
        with monkeypatch.context() as full:
            full.setattr(Draft, "_put", no_room)
            with pytest.raises(NoSpaceError):
                await drive.filesystem.write(handle, 6, b"more")
        with monkeypatch.context() as full:
            full.setattr(Journal, "_in_thread", journal_full)
            if start_over:
                truncating = await drive.open(A, os.O_WRONLY | os.O_TRUNC)
                await drive.filesystem.release(truncating)
            with suppress(NoSpaceError):
                await drive.close(handle)
            await trio.testing.wait_all_tasks_blocked(0.05)
        files = {path.name for path in drive.store.drafts.iterdir()}
        for row in drive.store.journal.load():
            assert files.issuperset(row.files)


# -- a rename that the platform refuses ------------------------------------------------------------------------------


class Disk:
    """A disk that is full for the journal after so many writes of a rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left, self.armed = left, False
        in_thread = Journal._in_thread

        async def limited(journal: Journal, work: Callable[[], Any]) -> Any:
            if self.armed:
                self.left -= 1
                if self.left < 0:
                    await journal_full()
            return await in_thread(journal, work)

        monkeypatch.setattr(Journal, "_in_thread", limited)


@pytest.mark.complains
@pytest.mark.parametrize("left", range(9))
@pytest.mark.parametrize("source", ["on the platform", "a local name"])
@pytest.mark.parametrize("target", ["held", "on the platform"])
async def test_both_files_of_a_rename_in_vain_keep_what_they_are(
    office: Office, monkeypatch: pytest.MonkeyPatch, left: int, source: str, target: str
) -> None:
    moved = X if source == "on the platform" else PART
    if moved is X:
        office.add(X, b"x")
    if target != "held":
        office.add(Y, b"y")
    disk = Disk(monkeypatch, left)
    async with office.mounted("alive") as drive:
        await drive.names(FIELD)
        await drive.names("invoice/1/copies")
        if moved is PART:
            await drive.write(PART, b"x")
        if target == "held":
            await refused(drive, Y, b"y", told=True)
        for kind in ("copy", "save"):
            office.sandbox.add_fault(Fault(kind, "status", status=403, count=None))
        disk.armed, error = True, None
        try:
            await drive.rename(moved, Y)
        except AerofsError as met:
            error = met
        assert error is None or isinstance(error, DeniedError | NoSpaceError)
        await trio.testing.wait_all_tasks_blocked(0.05)
        if error is None:
            assert await seen(drive, Y) == b"x"
            assert moved.rpartition("/")[2] not in await drive.names(FIELD)
        else:
            assert await seen(drive, moved) == b"x"
            assert await seen(drive, Y) == b"y"
        office.copy_disk("alive", "dead")
        drive.network.cut(0, answered=False, crashed=lambda: None)
    office.sandbox.faults.clear()
    disk.armed = False
    async with office.mounted("dead") as drive:
        shown = {
            await drive.read(f"{field}/{name}")
            for field in (FIELD, "invoice/1/copies")
            for name in await drive.names(field)
        }
        assert error is None or shown >= {b"x", b"y"}
        await all_up(drive)
        there = {data for _, data in office.stored()}
        if moved is PART and PART.rpartition("/")[2] in await drive.names(FIELD):
            there.add(await drive.read(PART))
        assert there >= ({b"x"} if error is None else {b"x", b"y"})


@pytest.mark.complains
@pytest.mark.parametrize("left", range(9))
async def test_what_was_saved_under_the_new_name_meanwhile_is_not_lost_either(
    office: Office, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    office.add(X, b"x")
    office.add(Y, b"y")
    disk = Disk(monkeypatch, left)
    async with office.mounted("alive", close_wait=0) as drive:
        await drive.read(X)
        await drive.read(Y)
        office.sandbox.add_fault(Fault("copy", "status", status=403, count=None))
        errors: list[AerofsError] = []

        async def move() -> None:
            try:
                await drive.rename(X, Y)
            except AerofsError as met:
                errors.append(met)

        with office.sandbox.hold("copy") as held:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(move)
                await held.arrived()
                await drive.write(Y, b"edit")
                disk.armed = True
                held.release()
        disk.armed = False
        await all_up(drive)
        drive.assert_nothing_left()
        stored = office.stored()
        assert b"edit" in {data for _, data in stored}
        if errors:
            assert ("1/copies/a.txt", b"y") in stored


# -- a name that two left --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aside", "taker"),
    [("held", PART), ("replaced", PART), ("replaced", B)],
    ids=lambda given: str(given)[-5:],
)
async def test_who_goes_over_a_colleagues_file_also_replaces_what_was_put_aside_from_its_name(
    office: Office, clock: MockClock, aside: str, taker: str
) -> None:
    """Else it would be back beside the new one after a minute."""
    async with office.mounted() as drive:
        await drive.names(FIELD)
        if aside == "held":
            await refused(drive, A, b"ours", told=True)
        else:
            await drive.write(A, b"ours")
            await drive.drained()
        await drive.rename(A, f"{A}~")
        if aside == "replaced":
            office.clear()
        office.add(A, b"theirs")
        drive.filesystem.refresh()
        assert await drive.read(A) == b"theirs"
        if taker == B:
            await refused(drive, B, b"new", told=True)
        else:
            await drive.write(taker, b"new")
        await drive.rename(taker, A)
        for _ in range(3):
            await later(clock, 61)
        await until(lambda: not {"queued", "held", "uploading"} & set(drive.states().values()))
        assert await drive.names(FIELD) == ["a.txt", "a.txt~"]
        assert await drive.read(A) == b"new"
        assert await drive.read(f"{A}~") == b"ours"
        assert office.stored() == [("1/scan/a.txt", b"new")]
        await drive.remove(f"{A}~")
        await drive.drained()
        drive.assert_nothing_left()


async def test_what_was_not_removed_in_the_end_is_seen_again_when_there_is_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.add(A, b"old")
    async with office.mounted(rename_wait=0.2, close_wait=0) as drive:
        await drive.read(A)
        for kind in ("save", "delete"):
            office.sandbox.add_fault(Fault(kind, "status", status=503, count=None))
        await drive.write(A, b"ours")
        await until(lambda: drive.filesystem.saves()[0]["tries"])
        await drive.remove(A)
        office.sandbox.clear_faults()
        office.sandbox.add_fault(Fault("delete", "status", status=403, count=None))
        with monkeypatch.context() as patch:
            patch.setattr(drive.store.journal, "remove", journal_full)
            drive.filesystem.retry()
            await until(lambda: "full" in drive.filesystem.saves()[0]["error"])
        await drive.drained()
        assert await drive.shown(FIELD) == {"a.txt": b"old"}
        assert office.stored() == [("1/scan/a.txt", b"old")]
        drive.assert_nothing_left()
