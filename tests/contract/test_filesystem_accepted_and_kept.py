"""What a close() accepted of a file that goes on being written, until the next save of it is in the journal.

No sync, no rename, no failed write and no full disk in between takes it away.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from aerofs import errors
from aerofs.content import draft as drafts
from aerofs.content.journal import Journal
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.attributes import Changes
from aerofs.filesystem.nodes import FileNode
from aerofs.sandbox import Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, until

A, B = "invoice/1/small/a.txt", "invoice/1/small/b.txt"
ACCEPTED = b"one two "
TOO_MUCH = b"x" * 20_000


@asynccontextmanager
async def accepted(office: Office, state: str = "alive") -> AsyncIterator[tuple[Drive, int]]:
    """A drive, and a handle whose second close() among several was answered with 0."""
    async with office.mounted(state) as drive:
        handle = await drive.open(A, WRITE_NEW)
        for offset, data in ((0, b"one "), (4, b"two ")):
            await drive.filesystem.write(handle, offset, data)
            await drive.filesystem.flush(handle)
        yield drive, handle


async def fails(drive: Drive, handle: int) -> None:
    with pytest.raises(errors.TooLargeError):
        await drive.filesystem.write(handle, 8, TOO_MUCH)


async def closed_in_vain(drive: Drive, handle: int) -> None:
    with pytest.raises(errors.TooLargeError):
        await drive.close(handle)


async def resize(drive: Drive, handle: int, size: int) -> None:
    inode = drive.filesystem._files.node(handle).inode
    await drive.filesystem.change(inode, Changes(size=size), handle)


async def is_up(office: Office, drive: Drive, path: str = A, data: bytes = ACCEPTED) -> None:
    name = path.removeprefix("invoice/")
    await until(lambda: office.stored() == [(name, data)])
    assert await drive.read(path) == data
    await drive.drained()
    drive.assert_nothing_left()


async def after_the_crash(office: Office, state: str = "dead") -> list[tuple[str, bytes]]:
    async with office.mounted(state) as drive:
        await drive.drained()
        drive.assert_nothing_left()
    return office.stored()


# -- a sync, or a rename, in between ---------------------------------------------------------------------------------


async def test_a_write_that_fails_after_a_sync_takes_nothing_from_what_was_accepted(office: Office) -> None:
    async with accepted(office) as (drive, handle):
        await drive.filesystem.fsync(handle)
        await fails(drive, handle)
        await closed_in_vain(drive, handle)
        await is_up(office, drive)


async def test_nor_does_that_of_another_program_that_synced(office: Office) -> None:
    async with accepted(office) as (drive, handle):
        other = await drive.open(A, os.O_RDWR)
        await drive.filesystem.fsync(other)
        await drive.filesystem.release(handle)
        await fails(drive, other)
        await closed_in_vain(drive, other)
        await is_up(office, drive)


async def test_a_file_that_is_emptied_after_that_leaves_it_to_a_crash(office: Office) -> None:
    async with accepted(office) as (drive, handle):
        await drive.filesystem.fsync(handle)
        await fails(drive, handle)
        await drive.open(A, os.O_WRONLY | os.O_TRUNC)
        await drive.filesystem.write(handle, 0, b"thr")
        office.copy_disk("alive", "dead")
    assert await after_the_crash(office) == [("1/small/a.txt", ACCEPTED)]


async def test_what_a_later_sync_covered_is_what_counts(office: Office) -> None:
    async with accepted(office) as (drive, handle):
        await drive.filesystem.write(handle, 0, b"ONE")
        await drive.filesystem.fsync(handle)
        await resize(drive, handle, 2)
        office.copy_disk("alive", "dead")
        await fails(drive, handle)
        await closed_in_vain(drive, handle)
        await is_up(office, drive, data=b"ONE two ")
    office.clear()
    assert await after_the_crash(office) == [("1/small/a.txt", b"ONE two ")]


async def test_that_a_file_is_empty_counts_no_sooner_for_a_sync(office: Office) -> None:
    async with accepted(office) as (drive, handle):
        await resize(drive, handle, 0)
        await drive.filesystem.fsync(handle)
        await drive.filesystem.write(handle, 0, b"thr")
        office.copy_disk("alive", "dead")
        await fails(drive, handle)
        await closed_in_vain(drive, handle)
        await is_up(office, drive)
    office.clear()
    assert await after_the_crash(office) == [("1/small/a.txt", ACCEPTED)]


@pytest.mark.parametrize("written", [b"", b"ONE"])
async def test_a_file_that_was_put_aside_and_came_back_has_what_was_accepted(
    office: Office, written: bytes
) -> None:
    async with accepted(office) as (drive, handle):
        if written:
            await drive.filesystem.write(handle, 0, written)
        await drive.rename(A, A + "~")
        await drive.rename(A + "~", B)
        await fails(drive, handle)
        await closed_in_vain(drive, handle)
        await is_up(office, drive, B)


async def test_a_draft_that_is_refused_while_it_is_synced_leaves_what_was_accepted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the sync names a file that goes with the refused draft."""
    async with accepted(office) as (drive, handle):
        await drive.filesystem.write(handle, 0, b"ONE")

        def meanwhile(record: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def patched(*given: Any, **named: Any) -> Any:
                row = await record(*given, **named)
                monkeypatch.undo()
                await fails(drive, handle)
                await drive.open(A, os.O_WRONLY | os.O_TRUNC)
                return row

            return patched

        monkeypatch.setattr(Journal, "record", meanwhile(Journal.record))
        await drive.filesystem.fsync(handle)
        await drive.filesystem.write(handle, 0, b"thr")
        office.copy_disk("alive", "dead")
    assert await after_the_crash(office) == [("1/small/a.txt", ACCEPTED)]


async def full(*_given: object, **_named: object) -> None:
    raise errors.NoSpaceError("the local disk is full")


async def test_a_rename_that_is_refused_takes_nothing_from_what_was_accepted_meanwhile(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save of the rename is given up; the bytes that a close() accepted since have their row."""
    async with office.mounted("alive") as drive:
        await drive.write(A + "~", ACCEPTED)
        async with trio.open_nursery() as nursery:
            with office.sandbox.hold("save") as hold:
                office.sandbox.add_fault(Fault("save", "status", status=403, count=1))

                async def renamed() -> None:
                    with pytest.raises(errors.DeniedError):
                        await drive.rename(A + "~", A)

                nursery.start_soon(renamed)
                await hold.arrived()
                handle = await drive.open(A, os.O_RDWR)
                await drive.filesystem.write(handle, 0, b"ONE ")
                with monkeypatch.context() as patched:
                    patched.setattr(Journal, "record", full)
                    with pytest.raises(errors.NoSpaceError):
                        await drive.filesystem.flush(handle)
                await drive.filesystem.write(handle, 8, b"three")
                await drive.filesystem.flush(handle)
                await drive.filesystem.write(handle, 0, b"xxx ")
        drafts_now = {path.name for path in drive.store.drafts.iterdir()}
        (row,) = drive.store.journal.load()
        draft = drive.filesystem._files.node(handle).draft
        assert draft is not None
        assert drafts_now == {row.content, draft.path.name}
        office.copy_disk("alive", "dead")
    async with office.mounted("dead") as drive:
        assert await drive.read(A + "~") == b"ONE two three"
    assert office.stored() == []


async def test_a_file_that_is_only_synced_is_never_copied(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database syncs after every transaction, and writes in place."""

    def copied(*_given: object) -> None:
        pytest.fail("copied")

    async with office.mounted("alive") as drive:
        handle = await drive.open(A, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"page page page ")
        monkeypatch.setattr(drafts, "clone", copied)
        for transaction in range(5):
            await drive.filesystem.fsync(handle)
            await drive.filesystem.write(handle, 5, b"%d" % transaction)
        await drive.close(handle)
        await is_up(office, drive, data=b"page 4age page ")


async def test_what_is_written_while_it_is_recorded_as_a_save_leaves_that_its_bytes(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the save names the file of the row that it takes the place of; the draft goes on in another one."""
    async with accepted(office) as (drive, handle):
        record = Journal.record

        async def meanwhile(journal: Journal, *given: Any, **named: Any) -> Any:
            row = await record(journal, *given, **named)
            monkeypatch.undo()
            await drive.filesystem.write(handle, 0, b"ONE ")
            return row

        monkeypatch.setattr(Journal, "record", meanwhile)
        await drive.filesystem._commits.settle_all()
        await until(lambda: office.stored() == [("1/small/a.txt", ACCEPTED)])
        await drive.close(handle)
        await is_up(office, drive, data=b"ONE two ")


# -- what was put aside ----------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_a_mistake_with_one_file_put_aside_does_not_take_the_others_along(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last one handed over would stay hidden for the life of the mount."""
    async with office.mounted() as drive:
        await drive.write(A, b"ours")
        await drive.rename(A, A + "~")
        first = await drive.node(A + "~")
        office.clear()
        office.add(A, b"theirs")
        drive.filesystem.refresh()
        assert await drive.read(A) == b"theirs"
        await drive.rename(A, "invoice/1/small/.a.txt.swp")
        keep = Asides._keep

        async def mistaken(asides: Asides, node: FileNode) -> None:
            if node is first:
                raise RuntimeError("a mistake")
            await keep(asides, node)

        monkeypatch.setattr(Asides, "_keep", mistaken)
        await drive.write(A, b"new")
        assert office.stored() == [("1/small/a.txt", b"new")]
        assert await drive.names("invoice/1/small") == [".a.txt.swp", "a.txt", "a.txt~"]


# -- a full disk ------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_a_close_after_a_refused_write_is_not_taken_for_the_one_before(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many writes later as there were before the refused one."""
    async with accepted(office) as (drive, handle):
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "record", full)
            await fails(drive, handle)
            await closed_in_vain(drive, handle)
            node = await drive.node(A)
            await until(lambda: node.draft is not None and node.draft.refusal is None)
            later = await drive.open(A, os.O_WRONLY)
            assert node.noted is not None
            for offset in range(node.noted.changes):
                await drive.filesystem.write(later, offset, b"N")
                if not offset:
                    with pytest.raises(errors.NoSpaceError):
                        await drive.filesystem.flush(later)
            said = bytes(await drive.filesystem.read(later, 0, 100))
        await drive.filesystem.flush(later)
        office.copy_disk("alive", "dead")
    assert said != ACCEPTED
    assert await after_the_crash(office) == [("1/small/a.txt", said)]
