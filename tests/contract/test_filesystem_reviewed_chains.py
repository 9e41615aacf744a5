"""A file that is saved again and again, while what it waits for is refused, failed, or taken back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio

from aerofs import errors
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
FORBIDDEN = Fault("delete", "status", status=403, count=None)


@asynccontextmanager
async def saved_beside_the_old(
    office: Office, *saves: bytes, close_wait: float = 60.0
) -> AsyncIterator[Drive]:
    """The first save stands beside what it was to replace: neither may be deleted. Further ones wait behind it."""
    office.add(A, b"base")
    async with office.mounted(close_wait=close_wait) as drive:
        assert await drive.read(A) == b"base"
        office.sandbox.add_fault(FORBIDDEN)
        for data in saves:
            with pytest.raises(errors.DeniedError):
                await drive.write(A, data)
        assert office.stored() == [("1/scan/a.txt", b"base"), ("1/scan/a.txt", saves[0])]
        yield drive


@pytest.mark.parametrize("close_wait", [60.0, inf])
async def test_a_save_behind_one_that_stays_held_is_told_at_once(office: Office, close_wait: float) -> None:
    async with saved_beside_the_old(office, b"one", b"two", close_wait=close_wait) as drive:
        for data in (b"three", b"four"):
            with trio.fail_after(5), pytest.raises(errors.DeniedError):
                await drive.write(A, data)
        assert await drive.read(A) == b"four"
        assert office.stored() == [("1/scan/a.txt", b"base"), ("1/scan/a.txt", b"one")]


async def test_a_save_behind_one_that_was_held_is_carried_out_once_it_may_be(office: Office) -> None:
    async with saved_beside_the_old(office, b"one", b"two") as drive:
        office.sandbox.clear_faults()
        await drive.write(A, b"three")
        assert office.stored() == [("1/scan/a.txt", b"three")]
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_rename_behind_a_save_that_stays_held_is_refused_at_once(office: Office) -> None:
    async with saved_beside_the_old(office, b"one") as drive:
        with trio.fail_after(4), pytest.raises(errors.DeniedError):
            await drive.rename(A, B)
        assert await drive.read(A) == b"one"


@pytest.mark.parametrize("saves", [(b"one",), (b"one", b"two"), (b"one", b"two", b"three")])
async def test_a_rename_behind_a_save_that_was_held_is_carried_out_once_it_may_be(
    office: Office, saves: tuple[bytes, ...]
) -> None:
    async with saved_beside_the_old(office, *saves) as drive:
        office.sandbox.clear_faults()
        await drive.rename(A, B)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", saves[-1])]
        drive.assert_nothing_left()
