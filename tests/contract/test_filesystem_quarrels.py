"""Calls that meet: closes, renames and removals of one file at the same moment, in every order of arrival."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
import trio

from aerofs.errors import AerofsError
from tests.contract.conftest import WRITE_NEW, Drive, Office

FIELDS = ("1/scan", "2/scan", "1/copies")
NAMES = ("a.txt", "b.txt", "b.txt~", "c.part")


class Directories:
    """The kernel lets one call at a time change a directory."""

    def __init__(self) -> None:
        self._locks = {field: trio.Lock() for field in FIELDS}

    @asynccontextmanager
    async def locked(self, *fields: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for field in sorted(set(fields)):
                await stack.enter_async_context(self._locks[field])
            yield


async def _program(drive: Drive, directories: Directories, seed: int) -> None:
    """A program that saves, renames and removes a few files that others use, too."""
    random = Random(seed)
    for count in range(6):
        field = random.choice(FIELDS)
        path = f"invoice/{field}/{random.choice(NAMES)}"
        try:
            match random.randrange(4):
                case 0 | 1:
                    async with directories.locked(field):
                        handle = await drive.open(path, random.choice((WRITE_NEW, WRITE_NEW | os.O_TRUNC)))
                    try:
                        await drive.filesystem.write(handle, 0, b"%d by %d" % (count, seed))
                        if random.random() < 0.5:
                            await drive.filesystem.fsync(handle)
                    finally:
                        await drive.close(handle)
                case 2:
                    there = random.choice(FIELDS)
                    async with directories.locked(field, there):
                        await drive.rename(path, f"invoice/{there}/{random.choice(NAMES)}")
                case _:
                    async with directories.locked(field):
                        await drive.remove(path)
        except AerofsError:
            continue


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_quarrel_the_drive_and_the_platform_agree(office: Office, seed: int) -> None:
    async with office.mounted(close_wait=Random(seed).choice((0, 5))) as drive:
        directories = Directories()
        async with trio.open_nursery() as nursery:
            for program in range(4):
                nursery.start_soon(_program, drive, directories, 10 * seed + program)
        for field in FIELDS:
            for name in await drive.names(f"invoice/{field}"):
                if name.endswith(("~", ".part")):
                    await drive.remove(f"invoice/{field}/{name}")
        await drive.drained()
        drive.filesystem.refresh()
        shown = [
            (f"{field}/{name}", await drive.read(f"invoice/{field}/{name}"))
            for field in FIELDS
            for name in await drive.names(f"invoice/{field}")
        ]
        assert sorted(shown) == office.stored(*FIELDS)
        drive.assert_nothing_left()
