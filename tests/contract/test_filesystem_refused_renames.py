"""A rename that the platform refuses while its file is being saved: both files keep what they are."""

import os
from contextlib import suppress

import pytest
import trio

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, until

X, Y = "invoice/1/scan/a.txt", "invoice/1/copies/a.txt"


async def refused_while_written(office: Office, drive: Drive, *, saves: int) -> None:
    """`mv X Y`; while the platform thinks about it, somebody opens the file as Y and saves it."""
    office.sandbox.add_fault(Fault("copy", "status", status=403, count=None))
    with office.sandbox.hold("copy") as held:

        async def move() -> None:
            with pytest.raises(errors.DeniedError):
                await drive.rename(X, Y)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            await held.arrived()
            for number in range(saves):
                handle = await drive.open(Y, os.O_WRONLY | os.O_TRUNC)
                await drive.filesystem.write(handle, 0, b"edit %d" % number)
                with suppress(errors.AerofsError):
                    await drive.close(handle)
            held.release()


@pytest.mark.parametrize("saves", [1, 3])
async def test_what_was_saved_meanwhile_is_saved_where_the_file_is(office: Office, saves: int) -> None:
    office.add(X, b"x")
    office.add(Y, b"y")
    async with office.mounted(close_wait=0) as drive:
        await drive.read(X)
        await drive.read(Y)
        await refused_while_written(office, drive, saves=saves)
        await until(lambda: not drive.states())
        await drive.drained()
        expected = [("1/copies/a.txt", b"y"), ("1/scan/a.txt", b"edit %d" % (saves - 1))]
        assert sorted(office.stored("1/scan", "1/copies")) == expected
        assert await drive.read(X) == expected[1][1]
        assert await drive.read(Y) == b"y"
        drive.assert_nothing_left()
