"""The process dies at every write of its journal while a file that was written and synced gets another name.

What the journal has of it has the new name from the moment when rename() returned, with what that name stood for to
be replaced; and a file that has a row at all has one at any moment.
"""

import os

import pytest

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, refused
from tests.contract.deaths import (
    BACKUP,
    CUT_OFF,
    FIELD,
    OLD,
    TEMPORARY,
    A,
    B,
    Passed,
    Story,
    held_at_every_death,
    written,
)

OTHER = f"{FIELD}/b.part"


async def _synced_and_renamed(drive: Drive, passed: Passed, path: str, flags: int, data: bytes) -> None:
    async with written(drive, path, flags, data) as handle:
        await drive.filesystem.fsync(handle)
        passed(1)
        await drive.rename(path, B)
        passed(2)
        await drive.close(handle)


async def _standing_and_written_on(drive: Drive, passed: Passed) -> None:
    await _synced_and_renamed(drive, passed, A, os.O_RDWR, b"two")


async def _held_and_written_on(drive: Drive, passed: Passed) -> None:
    """Its save waits, what was synced since has a row of its own: both get the name in one moment."""
    await drive.read(B)
    await refused(drive, A, b"one")
    await _synced_and_renamed(drive, passed, A, os.O_RDWR, b"two")


async def _over_a_held_save_and_synced(drive: Drive, passed: Passed) -> None:
    """The name was taken before the first sync."""
    await refused(drive, B, b"held b")
    passed(1)
    async with written(drive, A, WRITE_NEW, b"new") as handle:
        await drive.rename(A, B)
        await drive.filesystem.fsync(handle)
        passed(2)
        await drive.close(handle)


async def _synced_and_over_a_held_save(drive: Drive, passed: Passed) -> None:
    await refused(drive, B, b"held b")
    await _synced_and_renamed(drive, passed, A, WRITE_NEW, b"new")


async def _published_while_open(drive: Drive, passed: Passed) -> None:
    await _synced_and_renamed(drive, passed, TEMPORARY, WRITE_NEW, b"new")


async def _kept_under_another_local_name(drive: Drive, passed: Passed) -> None:
    await drive.write(TEMPORARY, b"new")
    passed(1)
    await drive.rename(TEMPORARY, OTHER)
    passed(2)


async def _over_an_older_local_name(drive: Drive, passed: Passed) -> None:
    await drive.write(OTHER, b"older")
    await drive.write(TEMPORARY, b"new")
    passed(1)
    await drive.rename(TEMPORARY, OTHER)
    passed(2)


async def _aside_over_an_older_backup(drive: Drive, passed: Passed) -> None:
    """What is put aside is a save that waits."""
    await drive.write(BACKUP, b"older")
    await refused(drive, B, b"held b")
    passed(1)
    await drive.rename(B, BACKUP)
    passed(2)


async def _published_in_vain(drive: Drive, passed: Passed) -> None:
    """The platform refuses what a local name was renamed to: it has its own again."""
    await drive.write(TEMPORARY, b"new")
    passed(1)
    drive.office.sandbox.add_fault(Fault("save", "status", status=403))
    with pytest.raises(errors.DeniedError):
        await drive.rename(TEMPORARY, B)
    passed(3)


STORIES = {
    "held, written on and synced": Story(
        _held_and_written_on, (OLD, {"a.txt": b"two", **OLD}, {"b.txt": b"two"}), since=1
    ),
    "on the platform, written on and synced": Story(
        _standing_and_written_on,
        ({"a.txt": b"one", **OLD}, {"a.txt": b"two", **OLD}, {"b.txt": b"two"}),
        since=1,
    ),
    "new, over a held save, and synced": Story(
        _over_a_held_save_and_synced, (OLD, {"b.txt": b"held b"}, {"b.txt": b"new"}), since=1
    ),
    "new and synced, over a held save": Story(
        _synced_and_over_a_held_save,
        (OLD, {"a.txt": b"new", "b.txt": b"held b"}, {"b.txt": b"new"}),
        since=1,
    ),
    "a local name, open and synced": Story(
        _published_while_open, (OLD, {"a.part": b"new", **OLD}, {"b.txt": b"new"}), since=1
    ),
    "a local name, renamed in vain": Story(
        _published_in_vain,
        (
            OLD,
            {"a.part": b"new", **OLD},
            {"b.txt": b"new"},  # the next mount may do it, which nobody refuses
            {"a.part": b"new", **OLD},
        ),
        since=1,
        rename_wait=20,
    ),
    "a local name, to another one": Story(
        _kept_under_another_local_name, (OLD, {"a.part": b"new", **OLD}, {"b.part": b"new", **OLD}), since=1
    ),
    "a local name, over another one": Story(
        _over_an_older_local_name,
        (OLD, {"a.part": b"new", "b.part": b"older", **OLD}, {"b.part": b"new", **OLD}),
        since=1,
    ),
    "a held save, aside over an older backup": Story(
        _aside_over_an_older_backup,
        (
            OLD,
            {"b.txt": b"held b", "b.txt~": b"older"},
            {"b.txt": b"held b", "b.txt~": b"held b"},  # what is aside is back after a crash
            {"b.txt~": b"held b"},
        ),
        since=1,
    ),
}


@CUT_OFF
@pytest.mark.parametrize("name", STORIES)
async def test_a_death_at_any_write_of_the_journal_keeps_the_name(office: Office, name: str) -> None:
    await held_at_every_death(office, STORIES[name])
