"""A rename that the platform refuses: every file keeps what it is, and goes on as before."""

import os
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, later, until

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


@pytest.mark.parametrize("into", ["scan", "copies"])
async def test_a_lookalike_whose_rename_is_refused_is_saved_after_a_minute(
    office: Office, clock: MockClock, into: str
) -> None:
    passing = "invoice/1/scan/sedA1b2c3"
    async with office.mounted() as drive:
        handle = await drive.open(passing, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        await drive.filesystem.write(handle, 0, b"real")
        await drive.close(handle)
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await drive.rename(passing, f"invoice/1/{into}/a.txt")
        await drive.drained()
        assert office.stored() == []
        await later(clock, 61)
        await until(lambda: office.stored() == [("1/scan/sedA1b2c3", b"real")])
        await drive.drained()
        assert await drive.read(passing) == b"real"
        drive.assert_nothing_left()


async def test_a_rename_into_an_empty_required_field_whose_source_may_not_go_leaves_both(
    office: Office,
) -> None:
    office.add(X, b"one")
    there = "invoice/1/contract/a.txt"
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        await drive.names("invoice/1/contract")
        office.sandbox.add_fault(Fault("delete", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await drive.rename(X, there)
        await drive.drained()
        assert not drive.states()
        both = [("1/contract/a.txt", b"one"), ("1/scan/a.txt", b"one")]
        assert sorted(office.stored()) == both
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert await drive.names("invoice/1/contract") == ["a.txt"]
        assert await drive.read(X) == b"one"
        assert await drive.read(there) == b"one"
        await drive.write(X, b"two")
        assert await drive.read(there) == b"one"
        drive.assert_nothing_left()
    async with office.mounted() as drive:
        await drive.drained()
        assert await drive.read(there) == b"one"
        assert sorted(office.stored()) == [("1/contract/a.txt", b"one"), ("1/scan/a.txt", b"two")]
