"""The end of a mount takes a bounded time, whatever the platform and the programs do; kernel-free."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs import errors
from aerofs.fuse import KernelCaches
from aerofs.mount.service import Service
from tests.contract.conftest import Drive, Office, later, until

A = "invoice/1/scan/a.txt"
BOUND = 600.0
PATIENT = 10 * BOUND
"""Deadlines that have no part in the end: it must come from the bound."""


@asynccontextmanager
async def serviced(office: Office, close_wait: float) -> AsyncIterator[tuple[Drive, Service]]:
    deadlines: dict[str, Any] = dict.fromkeys(
        ("connect_deadline", "metadata_deadline", "stall_deadline"), PATIENT
    )
    async with office.mounted(close_wait=close_wait, **deadlines) as drive, trio.open_nursery() as nursery:
        await drive.find("invoice/1/scan")
        settings = drive.platform._exchange._settings
        yield drive, Service(settings, drive.filesystem, drive.platform, KernelCaches(nursery), nursery)
        nursery.cancel_scope.cancel()


async def ends_at_the_bound(clock: MockClock, done: trio.Event) -> None:
    await later(clock, BOUND - 60)
    await wait_all_tasks_blocked(0.05)
    assert not done.is_set()
    await later(clock, 60)
    with trio.fail_after(20):
        await done.wait()


async def test_an_upload_that_does_not_end_keeps_an_ending_mount_for_ten_minutes(
    office: Office, clock: MockClock
) -> None:
    async with serviced(office, close_wait=0) as (drive, service):
        with office.sandbox.hold("save") as save:
            await drive.write(A, b"kept")
            await save.arrived()
            async with trio.open_nursery() as nursery:
                done = trio.Event()

                async def finish() -> None:
                    await service._finish()
                    done.set()

                nursery.start_soon(finish)
                await ends_at_the_bound(clock, done)
            assert drive.states() == {"a.txt": "uploading"}
            office.copy_disk("state", "next")
            drive.network.away = True
    async with office.mounted("next") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"kept")]


async def test_a_close_that_waits_to_the_end_is_told_after_ten_minutes_of_an_ending_mount(
    office: Office, clock: MockClock
) -> None:
    async with serviced(office, close_wait=float("inf")) as (drive, service):
        with office.sandbox.hold("save") as save:
            async with trio.open_nursery() as nursery:
                told = trio.Event()

                async def write() -> None:
                    with pytest.raises(errors.UnavailableError):
                        await drive.write(A, b"kept")
                    told.set()

                nursery.start_soon(write)
                await save.arrived()
                nursery.start_soon(service._hurry_in_time)
                await ends_at_the_bound(clock, told)
        await until(lambda: office.stored() == [("1/scan/a.txt", b"kept")])
