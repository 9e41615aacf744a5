"""The process dies at every write of its journal while one file takes the name of another.

What a close() or an fsync() accepted of either of them is there afterwards, and nothing stands twice: the one that had
the name keeps what the journal has of it until the journal has what takes its place.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.contract.conftest import WRITE_NEW, Drive, Office, refused
from tests.contract.deaths import (
    BACKUP,
    CUT_OFF,
    OLD,
    TEMPORARY,
    A,
    B,
    Passed,
    Story,
    held_at_every_death,
    written,
)


@asynccontextmanager
async def _beside_a_held_save(drive: Drive, passed: Passed, *parts: bytes) -> AsyncIterator[int]:
    """A file is being saved, and written on, while the save whose name it is to take is held; then it is closed."""
    await refused(drive, B, b"held b")
    passed(1)
    with drive.office.sandbox.hold("save") as hold:
        async with written(drive, A, WRITE_NEW, *parts) as handle:
            passed(len(parts))
            await hold.arrived()
            yield handle
            hold.release()
            await drive.close(handle)


async def _open_over_a_held_save(drive: Drive, passed: Passed) -> None:
    async with _beside_a_held_save(drive, passed, b"one", b"two"):
        await drive.rename(A, B)
    passed(3)


async def _synced_over_a_held_save(drive: Drive, passed: Passed) -> None:
    async with _beside_a_held_save(drive, passed, b"one", b"two") as handle:
        await drive.filesystem.fsync(handle)
        passed(3)
        await drive.rename(A, B)
    passed(4)


async def _closed_twice_over_a_held_save(drive: Drive, passed: Passed) -> None:
    """Another descriptor was closed before, which accepted what was written until then."""
    async with _beside_a_held_save(drive, passed, b"one", b"two", b"and three"):
        await drive.rename(A, B)
        passed(4)
    passed(5)


async def _saving_over_a_held_save(drive: Drive, passed: Passed) -> None:
    """The file that takes the name is being saved, and closed."""
    await refused(drive, B, b"held b")
    passed(1)
    with drive.office.sandbox.hold("save") as hold:
        await drive.write(A, b"one")
        passed(2)
        await hold.arrived()
        await drive.rename(A, B)
        passed(3)


async def _held_over_a_held_save(drive: Drive, passed: Passed) -> None:
    await refused(drive, B, b"held b")
    passed(1)
    await refused(drive, A, b"held a")
    passed(2)
    await drive.rename(A, B)
    passed(3)


async def _rewritten_and_renamed(drive: Drive, passed: Passed, old: str, new: str, reached: int = 2) -> None:
    """What has the name is open, and what its second close() accepted waits in the journal."""
    async with written(drive, B, os.O_WRONLY | os.O_TRUNC, b"v1", b"v2") as handle:
        await drive.filesystem.flush(handle)
        passed(reached)
        await drive.rename(old, new)
        passed(reached + 1)
        await drive.filesystem.release(handle)


async def _moved_over_a_rewritten_file(drive: Drive, passed: Passed) -> None:
    await drive.read(A)
    await _rewritten_and_renamed(drive, passed, A, B)


async def _published_over_a_rewritten_file(drive: Drive, passed: Passed) -> None:
    await drive.write(TEMPORARY, b"new")
    passed(1)
    await _rewritten_and_renamed(drive, passed, TEMPORARY, B, 3)


async def _open_over_a_rewritten_file(drive: Drive, passed: Passed) -> None:
    async with (
        written(drive, B, os.O_WRONLY | os.O_TRUNC, b"v1", b"v2") as other,
        written(drive, A, WRITE_NEW, b"new") as handle,
    ):
        await drive.filesystem.flush(other)
        passed(2)
        await drive.rename(A, B)
        await drive.filesystem.release(other)
        await drive.close(handle)
        passed(3)


async def _rewritten_and_put_aside(drive: Drive, passed: Passed) -> None:
    await _rewritten_and_renamed(drive, passed, B, BACKUP)


_OVER_HELD = (OLD, {"b.txt": b"held b"}, {"a.txt": b"one", "b.txt": b"held b"})
STORIES = {
    "open, over a held save": Story(_open_over_a_held_save, (*_OVER_HELD, {"b.txt": b"two"})),
    "open and synced, over a held save": Story(
        _synced_over_a_held_save,
        (*_OVER_HELD, {"a.txt": b"two", "b.txt": b"held b"}, {"b.txt": b"two"}),
        since=3,
    ),
    "open and closed twice, over a held save": Story(
        _closed_twice_over_a_held_save,
        (
            *_OVER_HELD,
            {"a.txt": b"two", "b.txt": b"held b"},
            {"b.txt": b"two"},
            {"b.txt": b"and three"},
        ),
        since=3,
    ),
    "being saved, over a held save": Story(_saving_over_a_held_save, (*_OVER_HELD, {"b.txt": b"one"})),
    "held, over a held save": Story(
        _held_over_a_held_save,
        (*_OVER_HELD[:2], {"a.txt": b"held a", "b.txt": b"held b"}, {"b.txt": b"held a"}),
    ),
    "on the platform, over what a second close() accepted": Story(
        _moved_over_a_rewritten_file,
        (
            {"a.txt": b"a", **OLD},
            {"a.txt": b"a", "b.txt": b"v1"},
            {"a.txt": b"a", "b.txt": b"v2"},
            {"b.txt": b"a"},
        ),
    ),
    "a local name, over what a second close() accepted": Story(
        _published_over_a_rewritten_file,
        (
            OLD,
            {"a.part": b"new", **OLD},
            {"a.part": b"new", "b.txt": b"v1"},
            {"a.part": b"new", "b.txt": b"v2"},
            {"b.txt": b"new"},
        ),
        since=3,
    ),
    "open and new, over what a second close() accepted": Story(
        _open_over_a_rewritten_file, (OLD, {"b.txt": b"v1"}, {"b.txt": b"v2"}, {"b.txt": b"new"})
    ),
    "what a second close() accepted, put aside": Story(
        _rewritten_and_put_aside,
        (OLD, {"b.txt": b"v1"}, {"b.txt": b"v2"}, {"b.txt": b"v1", "b.txt~": b"v2"}, {"b.txt~": b"v2"}),
    ),
}


@CUT_OFF
@pytest.mark.parametrize("name", STORIES)
async def test_a_death_at_any_write_of_the_journal_keeps_what_was_accepted(office: Office, name: str) -> None:
    await held_at_every_death(office, STORIES[name])
