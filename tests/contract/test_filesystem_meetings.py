"""Two calls that meet in one file, at the very moment that an answer to the first is awaited."""

import os
from collections.abc import Callable, Iterable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.content.draft import Draft
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.errors import DeniedError
from aerofs.filesystem.attributes import Changes
from aerofs.filesystem.nodes import FileNode
from aerofs.filesystem.versions import Versions
from aerofs.sandbox import Access
from tests.contract.conftest import Drive, Office, later, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


async def test_a_close_while_a_rename_is_recorded_makes_a_save_that_comes_after_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.add(A, b"old")
    office.add(B, b"taken over")
    recording, go_on = trio.Event(), trio.Event()
    record = Journal.record

    async def slow(
        journal: Journal,
        operation: Operation,
        *,
        first: Callable[[], Operation] | None = None,
        instead_of: Iterable[int] = (),
        durable: bool = True,
    ) -> Operation:
        if operation.content is None:
            recording.set()
            await go_on.wait()
        return await record(journal, operation, first=first, instead_of=instead_of, durable=durable)

    monkeypatch.setattr(Journal, "record", slow)
    async with office.mounted() as drive:
        handle = await drive.open(A, os.O_RDWR)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.rename, A, B)
            await recording.wait()
            await drive.filesystem.write(handle, 0, b"new")
            nursery.start_soon(drive.close, handle)
            await wait_all_tasks_blocked(0.05)
            go_on.set()
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        assert await drive.read(B) == b"new"
        drive.assert_nothing_left()


async def test_a_file_put_aside_may_be_removed_while_its_old_name_is_taken(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.add(A, b"old")
    copying, go_on = trio.Event(), trio.Event()
    copy = Versions.copy

    async def slow(versions: Versions, node: FileNode) -> Draft:
        copying.set()
        await go_on.wait()
        return await copy(versions, node)

    async with office.mounted() as drive:
        await drive.rename(A, "invoice/2/scan/a.txt~")
        monkeypatch.setattr(Versions, "copy", slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.write, A, b"new")
            await copying.wait()
            nursery.start_soon(drive.remove, "invoice/2/scan/a.txt~")
            await wait_all_tasks_blocked(0.05)
            go_on.set()
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_what_was_to_be_saved_under_a_new_name_is_saved_under_the_old_one_after_a_refusal(
    office: Office,
) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.filesystem.change((await drive.find(A)).inode, Changes(size=0), None)
        office.permit(Access(read_only=True))
        with pytest.raises(DeniedError):
            await drive.rename(A, B)
        await until(lambda: drive.states() == {"a.txt": "held"})
        assert await drive.read(A) == b""
        office.permit(Access())
        await drive.write(A, b"new")
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def held_aside(office: Office, drive: Drive) -> int:
    """Ours is put aside while its save is refused; somebody else's appears, and is changed through a handle."""
    office.permit(Access(read_only=True))
    with pytest.raises(DeniedError):
        await drive.write(A, b"ours")
    await drive.rename(A, f"{A}~")
    office.permit(Access())
    office.add(A, b"theirs")
    drive.filesystem.refresh()
    handle = await drive.open(A, os.O_RDWR)
    await drive.filesystem.write(handle, 0, b"half")
    return handle


async def test_a_file_put_aside_that_is_renamed_back_replaces_what_appeared_meanwhile(office: Office) -> None:
    async with office.mounted(close_wait=5) as drive:
        handle = await held_aside(office, drive)
        await drive.rename(f"{A}~", A)
        await drive.close(handle)
        await drive.drained()
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.read(A) == b"ours"
        assert office.stored() == [("1/scan/a.txt", b"ours")]
        drive.assert_nothing_left()


async def test_a_file_does_not_come_back_over_one_that_is_written(office: Office, clock: MockClock) -> None:
    async with office.mounted(close_wait=5) as drive:
        handle = await held_aside(office, drive)
        await later(clock, 61)
        await wait_all_tasks_blocked(0.02)
        assert await drive.names("invoice/1/scan") == ["a.txt", "a.txt~"]
        assert await drive.read(A) == b"halfrs"
        await drive.close(handle)
        await later(clock, 61)
        await until(lambda: "a.txt~" not in {node.name for node in drive.filesystem._tree.placed()})
        await drive.remove(A)
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_version_that_is_seen_again_has_its_own_title_not_the_one_it_was_to_get(
    office: Office,
) -> None:
    office.add(A, b"a")
    office.add(B, b"b")
    async with office.mounted() as drive:
        node = await drive.node(B)
        node.title = "c.txt"  # what a rename that came to nothing leaves
        await drive.rename(A, B)
        assert office.stored() == [("1/scan/b.txt", b"a")]
        drive.assert_nothing_left()
