"""What a remount makes of rows that wait for one another, of bytes that made room, and of bytes that are gone."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from aerofs.content.disk import digest
from aerofs.errors import AerofsError, DeniedError, TooLargeError
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


# -- given up ----------------------------------------------------------------------------------------------------------


async def _stands_beside_its_base(office: Office, drive: Drive) -> None:
    """A save that was accepted, and whose base the platform does not let go yet."""
    await drive.read(A)
    office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
    with suppress(AerofsError):
        await drive.write(A, b"new")
    assert office.stored() == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]


async def _discard_last(office: Office, drive: Drive) -> None:
    await until(lambda: all(work.row.tries or work.previous for work in drive.filesystem._uploads))
    last = max(int(save["id"]) for save in drive.filesystem.saves())
    await until(lambda: not any(work.busy for work in drive.filesystem._uploads))
    await drive.filesystem.waiting.discard(last)
    office.sandbox.clear_faults()
    await drive.drained()


async def test_a_discarded_rename_takes_nothing_of_the_save_before_it_away(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0.3, rename_wait=0.3) as drive:
        await _stands_beside_its_base(office, drive)
        await drive.rename(A, B)
    async with office.mounted() as drive:
        await _discard_last(office, drive)
        assert office.stored() == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]
        drive.assert_nothing_left()


async def test_a_discarded_second_save_takes_nothing_of_the_first_away(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted(close_wait=0.3, rename_wait=0.3) as drive:
        await _stands_beside_its_base(office, drive)
        with suppress(AerofsError):
            await drive.write(A, b"newer")
    async with office.mounted() as drive:
        await _discard_last(office, drive)
        assert office.stored() == [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"old")]


# -- a rename over a file whose save waits -----------------------------------------------------------------------------


@pytest.mark.parametrize("more", [b"", b" and more"])
async def test_a_rename_over_a_queued_save_has_its_own_bytes_after_a_crash(
    office: Office, more: bytes
) -> None:
    source, target = A, "invoice/1/copies/a.txt"
    office.add(source, b"AAAA")
    office.add(target, b"old!")
    with office.sandbox.hold("save"):
        async with office.mounted(close_wait=0.1, rename_wait=0.1) as drive:
            await drive.read(source)
            await drive.read(target)
            with suppress(AerofsError):
                await drive.write(target, b"BBBB")
            await drive.rename(source, target)
            assert await drive.read(target) == b"AAAA"
    async with office.mounted() as drive:
        assert await drive.read(target) == b"AAAA"
        if more:
            handle = await drive.open(target, os.O_RDWR)
            await drive.filesystem.write(handle, 4, more)
            await drive.close(handle)
        await drive.drained()
        assert office.stored("1/scan", "1/copies") == [("1/copies/a.txt", b"AAAA" + more)]
        assert await drive.read(target) == b"AAAA" + more
        drive.assert_nothing_left()


# -- a full field ------------------------------------------------------------------------------------------------------

FULL = "invoice/1/few/a.txt"


async def _full(office: Office, drive: Drive) -> None:
    """A field in which a file has to go before another comes, whose bytes are on this disk."""
    office.add(FULL, b"old")
    office.add("invoice/1/few/b.txt", b"other")
    await drive.read(FULL)
    await drive.read("invoice/1/few/b.txt")


async def test_nothing_makes_room_before_every_row_is_taken_up(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = office.disk / "state" / "drafts"
    async with office.mounted() as drive:
        await _full(office, drive)
        await drive.names("invoice/2/scan")
        drive.network.away = True
        for path, data in ((FULL, b"new"), ("invoice/2/scan/film.mp4", b"a film")):
            with suppress(AerofsError):
                await drive.write(path, data)

    def slow(path: Path) -> str:
        """Reading a film takes a while: long enough for another save to make room for itself."""
        end = time.monotonic() + 0.5
        while path.read_bytes() == b"a film" and time.monotonic() < end:
            if [*drafts.glob("*.secured")] and len(office.stored("1/few")) == 1:
                break
            time.sleep(0.02)
        return digest(path)

    monkeypatch.setattr("aerofs.filesystem.recovery.digest", slow)
    with office.sandbox.hold("save"):
        async with office.mounted() as drive:
            await until(lambda: len(office.stored("1/few")) == 1)
            (secured,) = drafts.glob("*.secured")
            assert secured.read_bytes() == b"old"
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored("1/few") == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


# -- a later row without its bytes -------------------------------------------------------------------------------------

SMALL = "invoice/1/small/x.txt"


async def _accepted_then_refused(drive: Drive) -> None:
    """A save that waits, and a version behind it that is synced and then meets an error."""
    await drive.names("invoice/1/small")
    drive.network.away = True
    with suppress(AerofsError):
        await drive.write(SMALL, b"accepted v1")
    handle = await drive.open(SMALL, os.O_RDWR)
    await drive.filesystem.write(handle, 0, b"v2")
    await drive.filesystem.fsync(handle)
    with pytest.raises(TooLargeError):
        await drive.filesystem.write(handle, 0, b"z" * 20000)
    with suppress(AerofsError):
        await drive.close(handle)


async def test_a_version_that_met_an_error_leaves_no_row_behind(office: Office) -> None:
    async with office.mounted() as drive:
        await _accepted_then_refused(drive)
        await until(lambda: len(drive.store.journal.load()) == 1)
        assert await drive.read(SMALL) == b"accepted v1"
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/small/x.txt", b"accepted v1")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("damage", ["gone", "other bytes", "gone behind a rename"])
async def test_a_later_row_without_its_bytes_leaves_the_save_before_it_alone(
    office: Office, damage: str
) -> None:
    office.add(A, b"old")
    with office.sandbox.hold("save"):
        async with office.mounted(close_wait=0.1, rename_wait=0.1) as drive:
            await drive.find(A)
            for data in (b"accepted", b"later"):
                with suppress(AerofsError):
                    await drive.write(A, data)
            _, later = drive.store.journal.load()
            draft = drive.store.drafts / str(later.content)
            if damage == "other bytes":
                draft.write_bytes(b"l\0ter")
            else:
                draft.unlink()
            if damage == "gone behind a rename":
                await drive.rename(A, B)
    async with office.mounted() as drive:
        assert await drive.read(A) == b"accepted"
        await until(lambda: "held" in drive.states().values())
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"accepted")]
        assert await drive.read(A) == b"accepted"
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        (held, *_) = drive.filesystem.saves()
        assert held["state"] == "held"
        await drive.filesystem.waiting.discard(int(str(held["id"])))
        assert office.stored() == [("1/scan/a.txt", b"accepted")]
        assert await drive.read(A) == b"accepted"


async def test_of_rows_that_all_lost_their_bytes_the_last_one_counts(office: Office) -> None:
    office.add(A, b"old")
    with office.sandbox.hold("save"):
        async with office.mounted(close_wait=0.1, rename_wait=0.1) as drive:
            await drive.find(A)
            for data in (b"one", b"two"):
                with suppress(AerofsError):
                    await drive.write(A, data)
            for draft in drive.store.drafts.iterdir():
                draft.unlink()
        async with office.mounted() as drive:
            await until(lambda: drive.states() == {"a.txt": "held"})
            assert await drive.read(A) == b"old"
            assert office.stored() == [("1/scan/a.txt", b"old")]


async def test_what_was_put_back_just_before_the_end_is_not_put_back_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink
    copied: list[Path] = []

    def dying(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".secured" and not copied:
            copied.append(path)
            office.copy_disk("state", "after")
        unlink(path, missing_ok=missing_ok)

    async with office.mounted() as drive:
        await _full(office, drive)
        office.sandbox.add_fault(Fault("save", "status", status=403, count=1))
        monkeypatch.setattr(Path, "unlink", dying)
        with pytest.raises(DeniedError):
            await drive.write(FULL, b"new")
    assert len(copied) == 1
    assert office.stored("1/few") == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
    async with office.mounted("after") as drive:
        await drive.drained()
        assert office.stored("1/few") == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()
