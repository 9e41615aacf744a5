"""A draft that met an error, of a name that never leaves this machine: what a remount knows of it."""

import os

import pytest

from aerofs.errors import AerofsError, TooLargeError
from aerofs.filesystem.attributes import Changes
from tests.contract.conftest import WRITE_NEW, Drive, Office

REAL = "invoice/1/small/a.txt"
PART = f"{REAL}.part"
BEGINNING = b"x" * 8_000


async def too_long(drive: Drive, path: str, flags: int = WRITE_NEW) -> None:
    """A file of which only the beginning could be written, and its writer was told."""
    handle = await drive.open(path, flags)
    await drive.filesystem.write(handle, 0, BEGINNING)
    with pytest.raises(TooLargeError):
        await drive.filesystem.write(handle, len(BEGINNING), BEGINNING)
    with pytest.raises(TooLargeError):
        await drive.close(handle)


async def test_it_does_not_become_a_save_after_a_remount_either(office: Office) -> None:
    for _ in range(2):
        async with office.mounted() as drive:
            if not drive.filesystem.saves():
                await too_long(drive, PART)
            (save,) = drive.filesystem.saves()
            assert (save["state"], save["size"]) == ("local", len(BEGINNING))
            assert "16000 bytes" in save["error"]
            with pytest.raises(TooLargeError, match="16000 bytes"):
                await drive.rename(PART, REAL)
            assert await drive.read(PART) == BEGINNING
    async with office.mounted() as drive:
        await drive.remove(PART)
        assert office.stored() == []
        drive.assert_nothing_left()


async def test_that_its_time_was_set_does_not_make_it_a_save_after_a_remount(office: Office) -> None:
    async with office.mounted() as drive:
        await too_long(drive, PART)
        await drive.filesystem.change((await drive.find(PART)).inode, Changes(mtime_ns=5_000_000_000), None)
    async with office.mounted() as drive:
        (save,) = drive.filesystem.saves()
        assert save["mtime_ns"] == 5_000_000_000
        assert "16000 bytes" in save["error"]
        with pytest.raises(TooLargeError, match="16000 bytes"):
            await drive.rename(PART, REAL)
        assert office.stored() == []


async def test_one_that_was_written_anew_is_a_save_like_any_other(office: Office) -> None:
    async with office.mounted() as drive:
        await too_long(drive, PART)
        await drive.write(PART, b"short")
    async with office.mounted() as drive:
        (save,) = drive.filesystem.saves()
        assert save["error"] is None
        await drive.rename(PART, REAL)
        assert office.stored() == [("1/small/a.txt", b"short")]
        drive.assert_nothing_left()


async def test_one_that_only_looked_temporary_is_held_after_a_remount(office: Office) -> None:
    path = "invoice/1/small/sedAbC123"
    async with office.mounted() as drive:
        await too_long(drive, path, WRITE_NEW | os.O_EXCL)
    async with office.mounted() as drive:
        await drive.drained()
        (save,) = drive.filesystem.saves()
        assert save["state"] == "held"
        assert "16000 bytes" in save["error"]
        assert office.stored() == []
        assert await drive.read(path) == BEGINNING
        await drive.filesystem.waiting.discard(save["id"])
        with pytest.raises(AerofsError):
            await drive.find(path)
        drive.assert_nothing_left()


async def test_what_a_close_accepted_before_it_got_its_name_is_what_stays(office: Office) -> None:
    backup = f"{REAL}~"
    async with office.mounted() as drive:
        handle = await drive.open(REAL, WRITE_NEW)
        for part in (b"one", b"two"):
            await drive.filesystem.write(handle, 0, part)
            await drive.filesystem.flush(handle)  # the second one is not uploaded yet
        await drive.rename(REAL, backup)
        await drive.filesystem.write(handle, 0, BEGINNING)
        with pytest.raises(TooLargeError):
            await drive.filesystem.write(handle, len(BEGINNING), BEGINNING)
        with pytest.raises(TooLargeError):
            await drive.close(handle)
        assert await drive.read(backup) == b"two"
    async with office.mounted() as drive:
        names = await drive.names("invoice/1/small")
        assert await drive.read(f"invoice/1/small/{names[-1]}") == b"two"
