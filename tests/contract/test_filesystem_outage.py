"""The platform is away for ten minutes while an editor saves: nothing is lost, nobody waits, and little is tried.

Time is the mock clock's, moved from one deadline to the next, and only when nothing real (a thread of the journal's, an
answer of the sandbox) is under way. While the network is away no socket is touched, so nothing else can be in the way.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs import errors
from aerofs.filesystem.attributes import Attributes
from aerofs.mount.service import PROBE_PAUSE, watch_reachability
from aerofs.sandbox import Access
from tests.contract.conftest import WRITE_NEW, Drive, Office, until

A = "invoice/1/scan/a.txt"
OUTAGE = 600.0
SAVES = 5
SOON = 5.0
"""Without any request: below every deadline, and above what a busy machine takes (the clock runs on with real time)."""
TTL = 30.0
"""What is known grows stale during the outage, and is shown all the same."""


async def passes(drive: Drive, clock: MockClock, seconds: float) -> None:
    """Let that much time pass: every timer rings at its time, and threads are waited for in between."""
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        await wait_all_tasks_blocked()
        threads = trio.to_thread.current_default_thread_limiter(), drive.store.journal._writer
        if drive.network.under_way or any(each.borrowed_tokens for each in threads):
            await trio.sleep(0.001)
            continue
        next_timer = trio.lowlevel.current_statistics().seconds_to_next_deadline
        clock.jump(max(0.0, min(next_timer if next_timer < inf else seconds, end - trio.current_time())))
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def watched(drive: Drive) -> AsyncIterator[None]:
    """What the mount does by itself all the time: it asks whether the platform is back."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_reachability, drive.platform, drive.filesystem)
        yield
        nursery.cancel_scope.cancel()


async def refused(save: Callable[[], Awaitable[object]], *, within: float = SOON) -> None:
    """The close says EIO, soon."""
    began = trio.current_time()
    with pytest.raises(errors.UnavailableError):
        await save()
    assert trio.current_time() - began <= within


# -- how editors save -------------------------------------------------------------------------------------------------


async def in_place(drive: Drive, data: bytes, *, within: float) -> None:
    """nano, or a shell's redirection."""
    await refused(lambda: drive.write(A, data), within=within)


async def by_rename(drive: Drive, data: bytes, *, within: float) -> None:
    """GLib's way: a name that stays here, renamed over the original. A rename is an intent, and answers 0."""
    temporary = "invoice/1/scan/.goutputstream-ABC123"
    await drive.write(temporary, data)
    began = trio.current_time()
    await drive.rename(temporary, A)
    assert trio.current_time() - began <= within


async def with_backup(drive: Drive, data: bytes, *, within: float) -> None:
    """The original put aside, a new file under its name, and the backup removed."""
    await drive.rename(A, f"{A}~")
    handle = await drive.open(A, WRITE_NEW)
    await drive.filesystem.write(handle, 0, data)
    await drive.filesystem.fsync(handle)
    await refused(lambda: drive.close(handle), within=within)
    await drive.remove(f"{A}~")


class Save(Protocol):
    """One save of an editor, every call of which is answered in time."""

    async def __call__(self, drive: Drive, data: bytes, *, within: float) -> None: ...


EDITORS: dict[str, Save] = {"in place": in_place, "by rename": by_rename, "with backup": with_backup}


def same(one: Attributes, other: Attributes) -> bool:
    return (one.inode, one.size, one.mtime_ns, one.mode) == (
        other.inode,
        other.size,
        other.mtime_ns,
        other.mode,
    )


async def shown(drive: Drive, data: bytes, expected: Attributes | None = None) -> Attributes:
    """The file is there, once, with these bytes. Returns its attributes."""
    began = trio.current_time()
    found = await drive.find(A)
    assert await drive.names("invoice/1/scan") == ["a.txt"]
    assert await drive.read(A) == data
    assert found.size == len(data)
    assert expected is None or same(found, expected)
    assert trio.current_time() - began < SOON
    return found


async def outage(drive: Drive, clock: MockClock, save: Save) -> tuple[bytes, Attributes]:
    """Ten minutes, five saves. Returns what the file is in the end."""
    data, attributes = b"old", await shown(drive, b"old")
    for number in range(SAVES):
        data = b"version %d" % number
        async with trio.open_nursery() as nursery:
            # The first finds out that nobody is there, and that takes as long as connecting may.
            nursery.start_soon(partial(save, drive, data, within=SOON if number else 15.0))
            await passes(drive, clock, 11.0)
        attributes = await shown(drive, data)
        for _ in range(4):
            await passes(drive, clock, OUTAGE / SAVES / 4)
            await shown(drive, data, attributes)
        assert set(drive.states()) == {"a.txt"}
    return data, attributes


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
@pytest.mark.parametrize("editor", EDITORS)
async def test_ten_minutes_away_and_five_saves_are_one_upload_of_the_last(
    office: Office, clock: MockClock, editor: str, *, silent: bool
) -> None:
    office.add(A, b"old")
    async with office.mounted(document_ttl=TTL) as drive, watched(drive):
        await shown(drive, b"old")
        drive.network.away, drive.network.silent = True, silent
        office.take_requests()
        began = trio.current_time()
        data, attributes = await outage(drive, clock, EDITORS[editor])
        assert trio.current_time() - began >= OUTAGE
        assert len(drive.network.attempts) <= OUTAGE / PROBE_PAUSE + 4 * SAVES
        assert office.take_requests() == {}
        drive.network.away = False
        returned = trio.current_time()
        while drive.filesystem.saves() and trio.current_time() < returned + 60:
            await passes(drive, clock, 0.5)
        # Not at the end of a pause of minutes; but a probe that gets no answer is given up after its own five seconds.
        assert trio.current_time() - returned <= (2 if silent else 1) * PROBE_PAUSE + SOON
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/a.txt", data)]
        await shown(drive, data, attributes)
        drive.assert_nothing_left()


@pytest.mark.parametrize("editor", EDITORS)
async def test_after_a_crash_in_the_outage_the_next_mount_uploads_the_last_of_five(
    office: Office, clock: MockClock, editor: str
) -> None:
    office.add(A, b"old")
    async with office.mounted(document_ttl=TTL) as drive, watched(drive):
        await shown(drive, b"old")
        drive.network.away = True
        data, attributes = await outage(drive, clock, EDITORS[editor])
    office.take_requests()
    async with office.mounted(document_ttl=TTL) as drive:
        await shown(drive, data, attributes)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", data)]
        sent = office.take_requests()
        assert (sent["save"], sent["delete"]) == (1, 1)
        assert set(sent) <= {"save", "delete", "list"}  # nobody knows whether the last try was carried out
        await shown(drive, data, attributes)
        drive.assert_nothing_left()


async def test_what_waits_goes_up_also_when_another_request_found_out_that_the_platform_is_back(
    office: Office, clock: MockClock
) -> None:
    office.add(A, b"old")
    async with office.mounted(document_ttl=TTL) as drive, watched(drive):
        await shown(drive, b"old")
        drive.network.away = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(in_place, drive, b"new", within=15.0))
            await passes(drive, clock, 11.0)
        await passes(drive, clock, OUTAGE)
        drive.network.away = False
        assert await drive.platform.probe()
        await passes(drive, clock, PROBE_PAUSE + SOON)
        assert drive.filesystem.saves() == []
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_an_editor_that_puts_its_backup_back_when_the_close_fails_finds_the_original(
    office: Office, clock: MockClock
) -> None:
    """vim does so: it keeps the changes in its memory, and says that the file could not be written."""
    office.add(A, b"old")
    async with office.mounted(document_ttl=TTL) as drive, watched(drive):
        await shown(drive, b"old")
        drive.network.away = True
        for number in range(SAVES):
            await drive.rename(A, f"{A}~")
            await in_place(drive, b"version %d" % number, within=SOON)
            await drive.rename(f"{A}~", A)
            await passes(drive, clock, 120)
            await shown(drive, b"old")
        office.take_requests()
        drive.network.away = False
        await passes(drive, clock, PROBE_PAUSE + SOON)
        await drive.drained()
        await drive.write(A, b"at last")
        assert office.stored() == [("1/scan/a.txt", b"at last")]
        assert office.take_requests().get("save", 0) <= 2  # the original once more, at most
        await shown(drive, b"at last")
        drive.assert_nothing_left()


# -- saves that overtake each other ----------------------------------------------------------------------------------


async def test_saves_during_one_slow_upload_are_one_more(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0) as drive:
        await drive.find(A)
        office.take_requests()
        with office.sandbox.hold("save") as hold:
            for number in range(6):
                await drive.write(A, b"version %d" % number)
                if not number:
                    await hold.arrived()
                assert await drive.read(A) == b"version %d" % number
        await drive.drained()
        assert office.take_requests() == {"save": 2, "delete": 2}
        assert office.stored() == [("1/scan/a.txt", b"version 5")]
        drive.assert_nothing_left()


async def test_saves_by_rename_during_one_slow_upload_are_one_more(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0, rename_wait=0.1) as drive:
        await drive.find(A)
        office.take_requests()
        with office.sandbox.hold("save") as hold:
            for number in range(6):
                await drive.write(f"{A}~", b"version %d" % number)
                await drive.rename(f"{A}~", A)
                if not number:
                    await hold.arrived()
                assert await drive.read(A) == b"version %d" % number
                assert await drive.names("invoice/1/scan") == ["a.txt"]
        await drive.drained()
        assert office.take_requests() == {"save": 2, "delete": 2}
        assert office.stored() == [("1/scan/a.txt", b"version 5")]
        drive.assert_nothing_left()


async def test_saves_after_one_that_was_refused_are_one(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=5) as drive:
        await drive.find(A)
        office.permit(Access(read_only=True))
        for number in range(4):
            with pytest.raises(errors.DeniedError):
                await drive.write(A, b"version %d" % number)
            assert drive.states() == {"a.txt": "held"}
        office.permit(Access())
        office.take_requests()
        await drive.write(A, b"version 4")
        await drive.drained()
        assert office.take_requests() == {"save": 1, "delete": 1}
        assert office.stored() == [("1/scan/a.txt", b"version 4")]
        drive.assert_nothing_left()


async def test_a_file_that_is_flushed_now_and_then_for_hours_costs_a_save_in_five_minutes(
    office: Office, clock: MockClock
) -> None:
    """A shell with `exec 3>>log`, and a line now and then: every one is flushed, and none waits for long."""
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        office.take_requests()
        flushed: list[float] = []
        longest = 0.0
        for written in range(60):
            await drive.filesystem.write(handle, written, b"x")
            await drive.filesystem.flush(handle)
            flushed.append(trio.current_time())
            for _ in range(6):
                await passes(drive, clock, 10.0)
                await until(lambda: "uploading" not in drive.states().values())
                up = sum(len(data) for _, data in office.stored())
                # (Each line by itself: the next one may come while a save of those before it is on its way.)
                longest = max([longest, *(trio.current_time() - then for then in flushed[up:])])
        assert longest <= 300 + 20
        # An hour is twelve times five minutes; the first quiets are shorter.
        assert office.take_requests()["save"] <= 12 + 8
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"x" * 60)]
        drive.assert_nothing_left()


async def test_a_file_that_is_never_quiet_is_saved_every_five_minutes_all_the_same(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        await drive.filesystem.write(handle, 0, b"x")
        await drive.filesystem.flush(handle)
        office.take_requests()
        for line in range(1, 3 * 60):
            await drive.filesystem.write(handle, line, b"x")
            await drive.filesystem.flush(handle)
            await passes(drive, clock, 4.0)
        await until(lambda: "uploading" not in drive.states().values())
        assert office.take_requests()["save"] == 2  # twelve minutes
        await drive.close(handle)
        await drive.drained()
        drive.assert_nothing_left()


async def test_the_quiet_of_a_file_that_was_closed_is_short_again(office: Office, clock: MockClock) -> None:
    async with office.mounted() as drive:
        for _ in range(3):
            handle = await drive.open(A, WRITE_NEW)
            await drive.filesystem.write(handle, 0, b"one")
            await drive.filesystem.flush(handle)
            await drive.filesystem.write(handle, 0, b"two")
            await drive.filesystem.flush(handle)
            office.take_requests()
            await passes(drive, clock, 6.0)
            await until(lambda: office.stored() == [("1/scan/a.txt", b"two")])
            await until(lambda: not drive.filesystem.saves())
            assert office.take_requests()["save"] == 1
            await drive.close(handle)
        await drive.drained()
        drive.assert_nothing_left()
