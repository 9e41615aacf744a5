"""A file that goes on being written after a close() of it: what that close() accepted is what a crash brings back.

Shells share one descriptor among many commands (`{ a; b; } > f`, `exec 3>>log`), and the end of each command is a
close() that is answered with 0.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from trio.testing import MockClock

from aerofs import errors
from aerofs.content import disk
from aerofs.content import draft as drafts
from aerofs.filesystem.attributes import Changes
from tests.contract.conftest import WRITE_NEW, Drive, Office, later
from tests.contract.power import KINDS, Power

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
SMALL = "invoice/1/small/a.txt"


@asynccontextmanager
async def written_again(
    office: Office, first: bytes, second: bytes, path: str = A
) -> AsyncIterator[tuple[Drive, int]]:
    """A drive, and a handle whose file was closed by two of several programs that share it."""
    async with office.mounted() as drive:
        handle = await drive.open(path, WRITE_NEW)
        await drive.filesystem.write(handle, 0, first)
        await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, len(first), second)
        await drive.filesystem.flush(handle)
        assert office.stored() == [(path.removeprefix("invoice/"), first)]
        yield drive, handle


async def resize(drive: Drive, handle: int, size: int) -> None:
    inode = drive.filesystem._files.node(handle).inode
    await drive.filesystem.change(inode, Changes(size=size), handle)


async def after_the_crash(office: Office, state: str = "state") -> list[tuple[str, bytes]]:
    """What is on the platform once the next mount has taken up what was left."""
    async with office.mounted(state) as drive:
        await drive.drained()
        drive.assert_nothing_left()
    return office.stored()


@pytest.mark.parametrize("change", ["cut", "emptied", "written over", "appended"])
async def test_what_a_close_accepted_is_what_a_crash_brings_back(office: Office, change: str) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        match change:
            case "cut":
                await resize(drive, handle, 2)
            case "emptied":
                await resize(drive, handle, 0)
            case "written over":
                await drive.filesystem.write(handle, 1, b"XXX")
            case "appended":
                await drive.filesystem.write(handle, 7, b" and half a li")
        assert office.stored() == [("1/scan/a.txt", b"one ")]
    assert await after_the_crash(office) == [("1/scan/a.txt", b"one two")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["cut", "written over", "appended"])
async def test_so_it_is_after_a_loss_of_power(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, kind: str
) -> None:
    power = Power(tmp_path / "state", monkeypatch)
    async with written_again(office, b"one ", b"two") as (drive, handle):
        if change == "cut":
            await resize(drive, handle, 2)
        else:
            await drive.filesystem.write(handle, 7 if change == "appended" else 0, b"three")
        power.lose(tmp_path / "later", kind)
    assert await after_the_crash(office, "later") == [("1/scan/a.txt", b"one two")]


async def test_each_close_counts(office: Office) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        await drive.filesystem.write(handle, 0, b"1..")
        await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 4, b"2..")
        await drive.filesystem.flush(handle)
        await resize(drive, handle, 1)
        assert len(drive.store.journal.load()) == 1
    assert await after_the_crash(office) == [("1/scan/a.txt", b"1.. 2..")]


async def test_what_is_written_later_arrives_where_there_is_no_crash(office: Office) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        await drive.filesystem.write(handle, 0, b"ONE")
        assert len(list(drive.store.drafts.iterdir())) == 2
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"ONE two")]
        assert await drive.read(A) == b"ONE two"
        drive.assert_nothing_left()


async def test_the_quiet_that_makes_the_save_ends_the_care_for_what_was_before(
    office: Office, clock: MockClock
) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        await drive.filesystem.write(handle, 0, b"ONE")
        await later(clock, 6.0)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"ONE two")]
        assert len(list(drive.store.drafts.iterdir())) == 1
        await drive.close(handle)
        drive.assert_nothing_left()


async def test_a_log_that_is_flushed_after_every_line_is_never_copied(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Path] = []
    real = disk.clone

    def clone(source: Path, target: Path, keep: int | None = None) -> None:
        copies.append(source)
        real(source, target, keep)

    async with written_again(office, b"line\n", b"line\n") as (drive, handle):
        monkeypatch.setattr(drafts, "clone", clone)
        for number in range(2, 50):
            await drive.filesystem.write(handle, 5 * number, b"line\n")
            await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 250, b"li")
    assert copies == []
    assert await after_the_crash(office) == [("1/scan/a.txt", b"line\n" * 50)]


async def test_a_close_after_which_nothing_was_written_costs_nothing(office: Office) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        syncs = drive.store.journal.syncs
        await drive.filesystem.flush(handle)
        await drive.filesystem.flush(handle)
        assert drive.store.journal.syncs == syncs
        await drive.close(handle)


async def test_a_time_that_is_set_later_does_not_take_bytes_along(office: Office) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        await drive.filesystem.write(handle, 7, b" three")
        inode = drive.filesystem._files.node(handle).inode
        await drive.filesystem.change(inode, Changes(mtime_ns=5_000_000_000), None)
    async with office.mounted() as drive:
        await drive.drained()
        assert (await drive.find(A)).mtime_ns == 5_000_000_000
    assert office.stored() == [("1/scan/a.txt", b"one two")]


async def test_the_end_of_an_earlier_save_does_not_take_bytes_along(office: Office) -> None:
    """Its row tells anew then what it is to replace."""
    async with office.mounted(close_wait=0) as drive:
        with office.sandbox.hold("save") as hold:
            handle = await drive.open(A, WRITE_NEW)
            await drive.filesystem.write(handle, 0, b"one ")
            await drive.filesystem.flush(handle)
            await hold.arrived()
            await drive.filesystem.write(handle, 4, b"two")
            await drive.filesystem.flush(handle)
            await drive.filesystem.write(handle, 0, b"1")
        work = drive.filesystem._files.node(handle).work
        assert work is not None
        await work.settled.wait()
        await drive.filesystem.write(handle, 7, b" three")
    assert await after_the_crash(office) == [("1/scan/a.txt", b"one two")]


async def test_after_an_fsync_what_is_written_later_may_be_there_as_on_any_disk(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"one two")
        await drive.filesystem.flush(handle)  # on the platform: no close() counts on the draft
        await drive.drained()
        await drive.filesystem.write(handle, 7, b" three")
        await drive.filesystem.fsync(handle)
        await drive.filesystem.write(handle, 0, b"1..")
        assert len(list(drive.store.drafts.iterdir())) == 1
    assert await after_the_crash(office) == [("1/scan/a.txt", b"1.. two three")]


async def test_a_write_that_fails_later_takes_nothing_from_what_a_close_accepted(office: Office) -> None:
    async with written_again(office, b"one ", b"two", SMALL) as (drive, handle):
        await drive.filesystem.write(handle, 0, b"ONE")
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 0, b"x" * 20_000)
        with pytest.raises(errors.TooLargeError):
            await drive.close(handle)
        assert await drive.read(SMALL) == b"one two"
        await drive.drained()
        assert office.stored() == [("1/small/a.txt", b"one two")]
        drive.assert_nothing_left()


async def test_a_failed_draft_that_is_started_over_leaves_what_a_close_accepted_until_it_is_closed(
    office: Office,
) -> None:
    async with written_again(office, b"one ", b"two", SMALL) as (drive, handle):
        with pytest.raises(errors.TooLargeError):
            await drive.filesystem.write(handle, 0, b"x" * 20_000)
        await drive.open(SMALL, os.O_WRONLY | os.O_TRUNC)
        await drive.filesystem.write(handle, 0, b"thr")
    assert await after_the_crash(office) == [("1/small/a.txt", b"one two")]


async def test_a_file_that_is_removed_takes_what_was_accepted_with_it(office: Office) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        await drive.filesystem.write(handle, 0, b"ONE")
        await drive.remove(A)
        assert drive.store.journal.load() == []
        assert await drive.filesystem.read(handle, 0, 100) == b"ONE two"
        await drive.close(handle)
        drive.assert_nothing_left()
    assert await after_the_crash(office) == []


@pytest.mark.parametrize("name", ["b.txt", "a.txt~"])
async def test_a_file_that_is_renamed_takes_what_was_accepted_along(office: Office, name: str) -> None:
    async with written_again(office, b"one ", b"two") as (drive, handle):
        await drive.rename(A, f"invoice/1/scan/{name}")
        if name == "b.txt":
            await resize(drive, handle, 2)
    async with office.mounted() as drive:
        await drive.drained()
        assert await drive.read(f"invoice/1/scan/{name}") == b"one two"
