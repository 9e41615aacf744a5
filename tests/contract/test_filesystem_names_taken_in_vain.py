"""A file that is not closed took the name of another, whose save waits: what becomes of both if it is not saved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from aerofs.content.draft import Draft
from aerofs.content.journal import Journal
from aerofs.errors import AerofsError, NoSpaceError, RefusedError
from aerofs.sandbox import Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, journal_full, queued, refused, until
from tests.contract.deaths import FIELD, A, B, written


@pytest.fixture(params=[b"old", None], ids=["overwritten", "new"])
def base(request: pytest.FixtureRequest, office: Office) -> bytes | None:
    """What the platform has under the name that is taken."""
    if request.param is not None:
        office.add(B, request.param)
    return request.param  # type: ignore[no-any-return]


@asynccontextmanager
async def taken(drive: Drive) -> AsyncIterator[int]:
    """The file that has the name now is being saved, and written on."""
    await drive.names(FIELD)
    await refused(drive, B, b"held b")
    with drive.office.sandbox.hold("save") as hold:
        async with written(drive, A, WRITE_NEW, b"one", b"two") as handle:
            await hold.arrived()
            await drive.rename(A, B)
            yield handle


async def all_up(drive: Drive) -> None:
    def nothing_waits() -> bool:
        drive.filesystem._uploads.retry(held=True)
        return not list(drive.filesystem._uploads)

    await until(nothing_waits)
    drive.assert_nothing_left()


def no_room(*_given: object) -> int:
    raise OSError(28, "No space left on device")


async def cannot_be_written(drive: Drive, handle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(Draft, "_put", no_room)
        with pytest.raises(NoSpaceError):
            await drive.filesystem.write(handle, 3, b"three")
    with pytest.raises(NoSpaceError):
        await drive.close(handle)


@pytest.mark.usefixtures("base")
async def test_what_was_accepted_before_an_error_has_the_name(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        async with taken(drive) as handle:
            await cannot_be_written(drive, handle, monkeypatch)
            assert await drive.read(B) == b"one"
        await all_up(drive)
        assert office.stored() == [("1/scan/b.txt", b"one")]
        assert await drive.names(FIELD) == ["b.txt"]


@pytest.mark.usefixtures("base")
async def test_a_save_that_is_through_before_an_error_keeps_its_name_and_so_does_the_other(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        async with taken(drive) as handle:
            pass
        await until(lambda: ("1/scan/a.txt", b"one") in office.stored())
        await until(lambda: not any(work.busy for work in drive.filesystem._uploads))
        await cannot_be_written(drive, handle, monkeypatch)
        await all_up(drive)
        assert office.stored() == [("1/scan/a.txt", b"one"), ("1/scan/b.txt", b"held b")]
        assert await drive.read(B) == b"held b"
        assert await drive.read(A) == b"one"


@pytest.mark.usefixtures("base")
async def test_a_removal_takes_both(office: Office) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        async with taken(drive) as handle:
            pass
        await until(lambda: not any(work.busy for work in drive.filesystem._uploads))
        await drive.remove(B)
        await drive.close(handle)
        office.copy_disk("state", "dead")
        await all_up(drive)
        assert office.stored() == []
    async with office.mounted("dead") as drive:
        await all_up(drive)
        assert office.stored() == []


@pytest.mark.usefixtures("base")
async def test_a_removal_takes_both_also_while_a_save_is_under_way(office: Office) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive, trio.open_nursery() as nursery:
        async with taken(drive) as handle:
            nursery.start_soon(drive.remove, B)
            await until(lambda: any(work.row.cancelled for work in drive.filesystem._uploads))
        await drive.close(handle)
        await all_up(drive)
        assert office.stored() == []


async def test_a_rename_that_is_not_written_leaves_both(
    office: Office, monkeypatch: pytest.MonkeyPatch, base: bytes | None
) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        await drive.names(FIELD)
        await refused(drive, B, b"held b")
        await refused(drive, A, b"held a")
        rows = drive.store.journal.load()
        with monkeypatch.context() as full:
            full.setattr(Journal, "_in_thread", journal_full)
            with pytest.raises(NoSpaceError):
                await drive.rename(A, B)
        assert drive.store.journal.load() == rows
        assert drive.states() == {"a.txt": "held", "b.txt": "held"}
        assert await drive.read(B) == b"held b"
        assert office.stored() == ([] if base is None else [("1/scan/b.txt", base)])
        await all_up(drive)
        assert office.stored() == [("1/scan/a.txt", b"held a"), ("1/scan/b.txt", b"held b")]


@pytest.mark.usefixtures("base")
async def test_a_save_whose_name_is_taken_is_not_waited_for_nor_discarded(office: Office) -> None:
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        async with taken(drive) as handle:
            pass
        drive.filesystem._uploads.retry(held=True)
        await drive.drained()
        (save,) = drive.filesystem.saves()[:1]
        with pytest.raises(RefusedError, match="not closed"):
            await drive.filesystem.waiting.discard(save["id"])
        await drive.close(handle)
        await all_up(drive)
        assert office.stored() == [("1/scan/b.txt", b"two")]


@pytest.mark.parametrize("saved", [False, True], ids=["plain", "held"])
async def test_a_removal_that_outlasts_its_wait_takes_what_was_to_be_replaced(
    office: Office, *, saved: bool
) -> None:
    """Else it stayed out of sight until the next mount, and was back then, though `rm` had returned 0."""
    office.add(B, b"old")
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        await drive.names(FIELD)
        if saved:
            await refused(drive, B, b"held b")
        with office.sandbox.hold("save") as hold:
            async with written(drive, A, WRITE_NEW, b"one", b"two") as handle:
                await hold.arrived()
                await drive.rename(A, B)
                await drive.remove(B)
                assert office.stored() == [("1/scan/b.txt", b"old")]
                office.copy_disk("state", "dead")
        await drive.close(handle)
        await all_up(drive)
        assert office.stored() == []
        assert await drive.names(FIELD) == []
    office.add(B, b"later")
    async with office.mounted("dead") as drive:
        await all_up(drive)
        assert office.stored() == [("1/scan/b.txt", b"later")]


async def test_what_waited_under_a_name_is_back_where_the_rename_over_it_is_refused_in_time(
    office: Office,
) -> None:
    renamed = office.add(A, b"ex")
    office.add(B, b"why")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        assert await drive.read(B) == b"why"
        office.sandbox.add_fault(Fault("save", "status", count=None))
        await queued(drive, B, b"why, newer")
        office.sandbox.platform.remove_attachment(renamed)
        office.sandbox.clear_faults()
        with pytest.raises(AerofsError):
            await drive.rename(A, B)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"why, newer")]
        assert await drive.shown(FIELD) == {"b.txt": b"why, newer"}
        drive.assert_nothing_left()
