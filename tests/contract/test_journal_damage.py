"""The journal is damaged, in every way that disks and people know: no save is lost, none is brought up twice."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from aerofs import errors
from aerofs.content import labels
from aerofs.content.store import StateDirectory
from tests.contract.conftest import Drive, Office

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
PART = "invoice/1/scan/c.part"
FEW = "invoice/1/few/a.txt"
OLD = [("1/scan/a.txt", b"old a"), ("1/scan/b.txt", b"old b")]
NEW = [("1/copies/n.txt", b"new n"), ("1/scan/a.txt", b"newest a"), ("1/scan/b.txt", b"new b")]


def _header(journal: Path) -> None:
    with journal.open("r+b") as file:
        file.write(b"\xa5" * 512)


def _page(journal: Path) -> None:
    """The page with the rows."""
    with journal.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))


def _half(journal: Path) -> None:
    os.truncate(journal, 4096 + 100)


def _row(journal: Path) -> None:
    with sqlite3.connect(journal) as database:
        database.execute("UPDATE operations SET body='{\"no\": 1}' WHERE id=(SELECT min(id) FROM operations)")
    database.close()


def _empty(journal: Path) -> None:
    os.truncate(journal, 0)


def _emptied_log(journal: Path) -> None:
    os.truncate(journal.with_name("journal.sqlite-wal"), 0)


def _cut_log(journal: Path) -> None:
    log = journal.with_name("journal.sqlite-wal")
    os.truncate(log, log.stat().st_size * 2 // 3)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a garbage header": _header,
    "a garbage page": _page,
    "a truncated database": _half,
    "a row that cannot be read": _row,
    "an empty database": _empty,
    "a database that is gone": Path.unlink,
    "an emptied log": _emptied_log,
    "a log that was cut": _cut_log,
}
LOSES_ONLY_THE_TAIL = ("an emptied log", "a log that was cut")


async def _saves(drive: Drive) -> None:
    """Saves that wait: of a new file, of old ones, and two versions of one; and what never leaves this machine."""
    for path in (A, B):
        await drive.find(path)
    drive.network.away = True
    for path, data in (
        (A, b"new a"),
        (B, b"new b"),
        (A, b"newest a"),
        ("invoice/1/copies/n.txt", b"new n"),
    ):
        with pytest.raises(errors.UnavailableError):
            await drive.write(path, data)
    await drive.write(PART, b"part")


def _damaged(office: Office, damage: Callable[[Path], None], *, with_log: bool) -> None:
    """The disk of a mount that died, with the damage. `with_log`: what it wrote last is not in the database yet."""
    state = office.disk / "dead"
    if not with_log:
        with sqlite3.connect(state / "journal.sqlite") as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    damage(state / "journal.sqlite")


@pytest.mark.complains
@pytest.mark.parametrize(
    ("damage", "with_log"),
    [
        (damage, with_log)
        for damage in DAMAGES
        for with_log in (False, True)
        if with_log or damage not in LOSES_ONLY_THE_TAIL
    ],
)
async def test_every_save_arrives_once_whatever_happened_to_the_journal(
    office: Office, caplog: pytest.LogCaptureFixture, damage: str, *, with_log: bool
) -> None:
    for path, data in OLD:
        office.add(f"invoice/{path}", data)
    async with office.mounted() as drive:
        await _saves(drive)
        office.copy_disk("state", "dead")
    _damaged(office, DAMAGES[damage], with_log=with_log)
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert office.stored() == NEW
        assert await drive.read(A) == b"newest a"
        assert await drive.read(PART) == b"part"
        await drive.remove(PART)
        drive.assert_nothing_left()
    complaints = [each for each in caplog.records if each.levelname == "WARNING"]
    aside = [path.name for path in (office.disk / "dead").glob("journal.sqlite.damaged-*Z")]
    if with_log and damage in ("a garbage header", "a garbage page", "a truncated database"):
        assert not complaints or aside  # the log may hold it all
    elif damage in LOSES_ONLY_THE_TAIL or damage == "a database that is gone":
        assert len(complaints) == 1
    else:
        assert len(complaints) == len(aside) == 1
        assert "journal.sqlite" in complaints[0].getMessage()
        assert aside[0] in complaints[0].getMessage()
    async with office.mounted("dead") as drive:  # and that was that
        assert drive.filesystem.saves() == []
        assert [each for each in caplog.records if each.levelname == "WARNING"] == complaints


@pytest.mark.complains
async def test_a_save_that_was_through_is_not_repeated_when_its_row_is_lost(office: Office) -> None:
    office.add(A, b"old a")
    with office.sandbox.hold("save", answered=True) as hold:
        async with office.mounted(close_wait=0) as drive:
            await drive.write(A, b"new a")
            await hold.arrived()
            office.copy_disk("state", "dead")
    _empty(office.disk / "dead" / "journal.sqlite")
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"new a")]
        drive.assert_nothing_left()


@pytest.mark.complains
async def test_a_draft_that_tells_nothing_is_held_and_neither_sent_nor_deleted(office: Office) -> None:
    async with office.mounted() as drive:
        await _saves_one(drive)
    for draft in (office.disk / "state" / "drafts").iterdir():
        os.removexattr(draft, labels._NAME)
    _header(office.disk / "state" / "journal.sqlite")
    for _ in range(2):
        async with office.mounted() as drive:
            await drive.drained()
            drive.filesystem.retry()
            (save,) = drive.filesystem.saves()
            assert save["state"] == "held"
            assert "(unknown)/" in save["path"]
            assert "export it" in str(save["error"])
            for work in drive.filesystem._uploads:
                work.wake.set()  # as `aerofs saves retry`
            await drive.drained()
            assert [save["state"] for save in drive.filesystem.saves()] == ["held"]
            (draft,) = drive.store.drafts.iterdir()
            assert draft.read_bytes() == b"new a"
    assert office.stored() == []


async def _saves_one(drive: Drive) -> None:
    await drive.find("invoice/1/scan")
    drive.network.away = True
    with pytest.raises(errors.UnavailableError):
        await drive.write(A, b"new a")


@pytest.mark.complains
async def test_a_photo_of_which_nobody_knows_whether_it_was_sent_is_held(office: Office) -> None:
    path = "invoice/1/picture/a.jpg"
    async with office.mounted() as drive:
        await drive.find("invoice/1/picture")
        drive.network.away = True
        with pytest.raises(errors.UnavailableError):
            await drive.write(path, b"our photo")
    office.add(path, b"their photo")
    _header(office.disk / "state" / "journal.sqlite")
    async with office.mounted() as drive:
        await drive.drained()
        assert drive.states() == {"a.jpg": "held"}
        assert office.stored() == [("1/picture/a.jpg", b"their photo")]


@pytest.mark.complains
@pytest.mark.parametrize("lost", ["the journal", "the journal and the draft", "that it made room"])
async def test_a_version_that_had_made_room_is_not_lost_with_the_journal(office: Office, lost: str) -> None:
    for name in ("a", "b"):
        office.add(f"invoice/1/few/{name}.txt", b"old " + name.encode())
    async with office.mounted(close_wait=0) as drive:
        await drive.names("invoice/1/few")
        # It lists, downloads (which takes a list of its own) and deletes, and is dead before the save.
        drive.network.cut(4, answered=False, crashed=lambda: office.copy_disk("state", "dead"))
        await drive.write(FEW, b"new a")
        await drive.network.reached.wait()
    assert [name for name, _ in office.stored()] == ["1/few/b.txt"]
    if lost == "that it made room":
        with sqlite3.connect(office.disk / "dead" / "journal.sqlite") as database:
            database.execute("UPDATE operations SET body=json_remove(body, '$.secured')")
        database.close()
    else:
        for file in (office.disk / "dead").glob("journal.sqlite*"):
            file.unlink()
    if lost == "the journal and the draft":
        (draft,) = (office.disk / "dead" / "drafts").glob("*.draft")
        draft.unlink()
    async with office.mounted("dead") as drive:
        (row,) = drive.store.journal.load()
        await drive.drained()
        if lost != "the journal and the draft":
            assert row.secured is not None
            assert office.stored() == [("1/few/a.txt", b"new a"), ("1/few/b.txt", b"old b")]
            drive.assert_nothing_left()
        else:
            assert (row.state, row.title) == ("held", "a.txt")
            assert "make room" in row.error
            assert (drive.store.drafts / str(row.content)).read_bytes() == b"old a"


@pytest.mark.complains
@pytest.mark.parametrize("damage", ["a garbage header", "an empty database", "a database that is gone"])
async def test_a_rescue_that_dies_at_any_moment_is_carried_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    async with office.mounted() as drive:
        await _saves_one(drive)
        office.copy_disk("state", "dead")
    DAMAGES[damage](office.disk / "dead" / "journal.sqlite")
    genuine = Path.rename
    for after in range(9):
        shutil.rmtree(office.disk / "again", ignore_errors=True)
        shutil.copytree(office.disk / "dead", office.disk / "again")
        left = [after]

        def dying(path: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return genuine(path, target)

        monkeypatch.setattr(Path, "rename", dying)
        with suppress(KeyboardInterrupt):
            StateDirectory(office.disk / "again").close()
        monkeypatch.setattr(Path, "rename", genuine)
        with StateDirectory(office.disk / "again") as state:
            (row,) = state.journal.load()
            assert (row.path, row.size) == (A.removeprefix("/"), 5)
            assert (state.drafts / str(row.content)).read_bytes() == b"new a"
            assert not list((office.disk / "again").glob("journal.sqlite.[bnc]*"))
        if left[0]:
            return
    pytest.fail("it never came to an end")
