"""The journal: rows that survive, facts that travel, and what happens when the disk does not play along."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from aerofs.content import facts, schema
from aerofs.content.database import DamagedError
from aerofs.content.facts import Fact
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, Retire, Role, Secured, State, inherit
from aerofs.errors import ConfigError, NoSpaceError
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath

FIELD = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan"))
BASE = Retire(FIELD, AttachmentId("a1"), "a.txt", Role.BASE)
ROW = Operation(
    place=FIELD,
    path="d/1/scan/a.txt",
    file_name="a.txt",
    title="a.txt",
    size=3,
    content="x.draft",
    sha256="00",
    retire=(BASE,),
    known=frozenset({AttachmentId("a1"), AttachmentId("a2")}),
    maximum=3,
    added=Attachment(AttachmentId("a3"), "a.txt", 3),
    secured=Secured("y.secured", AttachmentId("a1"), "a.txt"),
    mtime_ns=7,
)
ADDED = Attachment(AttachmentId("new"), "a.txt", 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as journal:
        yield journal


async def test_a_row_is_the_same_after_the_journal_was_opened_again(path: Path) -> None:
    with Journal(path) as journal:
        row = await journal.record(ROW)
        assert row.id
        await journal.step(replace(row, tries=3, state=State.HELD))
    with Journal(path) as journal:
        assert journal.load() == [replace(row, tries=3, state=State.HELD)]


async def test_a_row_is_the_same_after_the_death_of_the_process(path: Path, tmp_path: Path) -> None:
    with Journal(path) as journal:
        row = await journal.record(ROW)
        await journal.step(replace(row, tries=1))
        _copy(path, tmp_path)
    with Journal(tmp_path / "dead-journal.sqlite") as journal:
        assert journal.load() == [replace(row, tries=1)]


def _copy(path: Path, directory: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        (directory / f"dead-{file.name}").write_bytes(file.read_bytes())


async def test_rows_come_back_in_their_order(journal: Journal) -> None:
    rows = [await journal.record(replace(ROW, title=f"{count}")) for count in range(12)]
    await journal.record(replace(rows[3], tries=1))
    assert [row.title for row in journal.load()] == [f"{count}" for count in range(12)]


async def test_a_step_does_not_wait_for_the_disk_and_a_record_does(journal: Journal) -> None:
    row = await journal.record(ROW)
    assert journal.syncs == 1
    await journal.step(row)
    await journal.record(row, durable=False)
    await journal.remove(row.id)
    assert journal.syncs == 1


async def test_a_step_of_a_row_that_is_gone_does_not_bring_it_back(journal: Journal) -> None:
    row = await journal.record(ROW)
    await journal.remove(row.id)
    await journal.step(row)
    assert journal.load() == []


async def test_what_is_to_be_done_first_is_done_before_the_row_is_written(journal: Journal) -> None:
    row = await journal.record(ROW, first=lambda: replace(ROW, sha256="11"))
    assert row.sha256 == "11"
    assert journal.load() == [row]


async def test_a_failure_of_what_is_to_be_done_first_leaves_no_row(journal: Journal) -> None:
    def full() -> Operation:
        raise NoSpaceError("full")

    with pytest.raises(NoSpaceError):
        await journal.record(ROW, first=full)
    assert journal.load() == []


async def test_settling_rewrites_those_that_waited_in_the_same_transaction(journal: Journal) -> None:
    first = await journal.record(ROW)
    second = await journal.record(replace(ROW, after=first.id))
    await journal.remove(first.id, successors=[replace(second, after=None)])
    assert journal.load() == [replace(second, after=None)]


async def test_a_row_that_waited_and_that_nobody_rewrites_inherits(journal: Journal) -> None:
    prior = replace(await journal.record(ROW), added=ADDED)
    waiting = await journal.record(replace(ROW, after=prior.id))
    other = await journal.record(replace(ROW, after=waiting.id))
    await journal.remove(prior.id, settled=prior)
    assert journal.load() == [inherit(waiting, prior), other]


async def test_many_calls_at_once_lose_nothing(journal: Journal) -> None:
    async def one(count: int) -> None:
        row = await journal.record(replace(ROW, title=f"{count}"))
        await journal.step(replace(row, tries=1))
        if count % 2:
            await journal.remove(row.id)

    async with trio.open_nursery() as nursery:
        for count in range(40):
            nursery.start_soon(one, count)
    rows = journal.load()
    assert {row.title for row in rows} == {f"{count}" for count in range(0, 40, 2)}
    assert all(row.tries == 1 for row in rows)


async def test_facts_are_there_again_and_forgotten_ones_are_not(path: Path) -> None:
    kept, gone = AttachmentId("kept"), AttachmentId("gone")
    with Journal(path) as journal:
        journal.facts.remember(kept, Fact(1, 2, 3))
        journal.facts.remember(gone, Fact(4, 5, 6))
        row = await journal.record(ROW)
        await journal.remove(row.id)
        journal.facts.forget(gone)
    with Journal(path) as journal:
        assert journal.facts.of(kept) == Fact(1, 2, 3)
        assert journal.facts.of(gone) is None


async def test_facts_that_could_not_be_written_are_written_later(path: Path) -> None:
    with Journal(path) as journal:
        row = await journal.record(ROW)
        journal.facts.remember(AttachmentId("kept"), Fact(1, 2, 3))
        with sqlite3.connect(path, timeout=0) as other:
            journal._db.execute("PRAGMA busy_timeout=0")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Exception, match="locked"):
                await journal.remove(row.id)
            other.rollback()
        other.close()
    with Journal(path) as journal:
        assert journal.facts.of(AttachmentId("kept")) == Fact(1, 2, 3)


async def test_facts_are_not_lost_with_a_write_that_failed_in_any_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(path) as journal:
        row = await journal.record(ROW)
        journal.facts.remember(AttachmentId("kept"), Fact(1, 2, 3))

        def fail(*_: object) -> None:
            raise OverflowError

        with monkeypatch.context() as failing:
            failing.setattr(facts, "write", fail)
            with pytest.raises(OverflowError):
                await journal.remove(row.id)
    with Journal(path) as journal:
        assert journal.facts.of(AttachmentId("kept")) == Fact(1, 2, 3)


@pytest.mark.parametrize(
    ("wanted", "kept"), [(253_370_764_800 * 10**9, 2**63 - 1), (-62_135_596_800 * 10**9, -(2**63))]
)
async def test_a_time_that_cannot_be_kept_becomes_the_nearest_that_can(
    wanted: int, kept: int, path: Path
) -> None:
    with Journal(path) as journal:
        journal.facts.remember(AttachmentId("far"), Fact(1, wanted, 3))
        row = await journal.record(ROW)
        await journal.remove(row.id)
    with Journal(path) as journal:
        assert journal.facts.of(AttachmentId("far")) == Fact(1, kept, 3)


async def test_a_full_disk_is_told_and_does_not_last(journal: Journal) -> None:
    journal._db.execute("PRAGMA max_page_count=8")
    with pytest.raises(NoSpaceError):
        await journal.record(replace(ROW, title="x" * 100_000))
    journal._db.execute("PRAGMA max_page_count=100000")
    row = await journal.record(ROW)
    assert journal.load() == [row]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL])
@pytest.mark.parametrize("free", [0, 1])
def test_a_disk_that_is_full_when_the_journal_is_opened_is_no_mistake_of_the_users(
    code: int, free: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = code

    def fail(_: object) -> None:
        raise failed

    Journal(path).close()
    monkeypatch.setattr(schema, "migrate", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    full = free == 0 or code == sqlite3.SQLITE_FULL
    with pytest.raises(NoSpaceError if full else ConfigError, match="full" if full else "disk I/O error"):
        Journal(path)


def test_a_newer_journal_is_refused(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(ConfigError, match="newer"):
        Journal(path)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_journal_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        Journal(path)


async def test_a_row_that_cannot_be_read_is_told_and_not_dropped(path: Path) -> None:
    with Journal(path) as journal:
        await journal.record(ROW)
        journal._db.execute("UPDATE operations SET body='{}'")
        with pytest.raises(DamagedError, match="cannot be read"):
            journal.load()


def test_a_later_save_retires_what_the_earlier_one_brought_up() -> None:
    prior = replace(ROW, id=1, added=ADDED, retire=(), secured=None)
    row = inherit(replace(ROW, id=2, after=1, retire=(), secured=None), prior)
    assert [(old.attachment, old.role) for old in row.retire] == [("new", Role.BASE)]
    assert row.after is None
    assert "new" in row.bygone
    assert "new" not in row.known  # else all that stood beside it would count as seen


def test_a_later_save_inherits_what_an_earlier_one_left_standing() -> None:
    prior = replace(ROW, id=1, added=None)
    row = inherit(replace(ROW, id=2, after=1, retire=(), secured=None), prior)
    assert row.retire == (BASE,)
    assert row.secured == ROW.secured


def test_a_move_inherits_what_is_to_be_moved() -> None:
    prior = replace(ROW, id=1, added=ADDED, retire=(), secured=None)
    move = replace(ROW, id=2, after=1, content=None, retire=(), secured=None)
    row = inherit(move, prior)
    assert row.copy_of == (FIELD, "new")
    assert [(old.attachment, old.role) for old in row.retire] == [("new", Role.SOURCE)]


def test_a_move_inherits_the_bytes_of_what_was_not_brought_up() -> None:
    prior = replace(ROW, id=1, added=None, copy_of=(FIELD, AttachmentId("source")), source_title="s.txt")
    move = replace(ROW, id=2, after=1, content=None, sha256=None, copy_of=None, source_title="", size=0)
    row = inherit(move, prior)
    assert (row.content, row.sha256, row.size) == (prior.content, prior.sha256, prior.size)
    assert (row.copy_of, row.source_title) == (prior.copy_of, prior.source_title)


VERSION_1 = """
CREATE TABLE operations (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE facts (
  attachment TEXT PRIMARY KEY, inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL
);
INSERT INTO operations VALUES (7, '{"state":"held","place":{"definition":"d","document":"1","path":"scan"},
  "path":"d/1/scan/a.txt","file_name":"a.txt","title":"a.txt","size":3,"content":"x.draft","sha256":"00",
  "retire":[{"place":{"definition":"d","document":"1","path":"scan"},"attachment":"a1","title":"a.txt",
  "role":"base"}],"known":["a1"],"maximum":3,"inode":99,"mtime_ns":7,"tries":2,"error":"no","errno":13}');
INSERT INTO operations VALUES (9, '{"place":{"definition":"d","document":"1","path":"scan"},
  "path":"d/1/scan/b.txt","file_name":"b.txt","title":"b.txt","size":3,
  "copy_of":[{"definition":"d","document":"2","path":"scan"},"a2"],"source_title":"b.txt","after":7}');
INSERT INTO facts VALUES ('a1', 99, 7, 420);
PRAGMA user_version=1;
"""


async def test_a_journal_of_version_1_is_brought_up_to_date_with_all_that_it_holds(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.executescript(VERSION_1)
    database.close()
    for _ in range(2):
        with Journal(path) as journal:
            first, second = journal.load()
            assert (first.id, first.state, first.content, first.retire) == (7, State.HELD, "x.draft", (BASE,))
            assert (first.maximum, first.inode, first.tries, first.error) == (3, 99, 2, "no")
            assert (second.id, second.after, second.copies) == (9, 7, True)
            assert journal.facts.of(AttachmentId("a1")) == Fact(99, 7, 420)
            assert journal.origins() == {}
    with Journal(path) as journal:
        assert (await journal.record(ROW)).id == 10
    with sqlite3.connect(path) as database:
        assert schema.version(database) == schema.VERSION > 1
    database.close()


@pytest.mark.parametrize(
    ("changes", "unsure"),
    [
        ({"tries": 1, "path": "d/1/scan/Größe \u2028.txt"}, True),
        ({"tries": 2, "state": State.HELD}, True),
        ({"tries": 2, "state": State.LOCAL}, False),
        ({"tries": 1, "resizes": True}, False),
        ({"tries": 1, "added": ADDED}, False),
        ({"tries": 0, "resizes": True}, False),
        ({"tries": 1, "resizes": True, "maybe_sent": True}, True),
    ],
)
async def test_what_a_journal_of_version_3_does_not_tell_of_later_tries_is_not_known(
    path: Path, changes: dict[str, Any], *, unsure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(schema, "_STEPS", schema._STEPS[:3])
        with Journal(path) as journal:
            row = await journal.record(replace(ROW, **{"maybe_sent": False, "added": None, **changes}))
    with Journal(path) as journal:
        assert journal.load() == [replace(row, maybe_sent=unsure)]
        # What this one notes of a later try holds.
        await journal.step(replace(row, maybe_sent=False))
    with Journal(path) as journal:
        assert journal.load() == [replace(row, maybe_sent=False)]


def test_a_step_of_a_migration_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(path) as database:
        database.executescript(VERSION_1)
    database.close()
    with monkeypatch.context() as patched:
        patched.setattr(schema, "_STEPS", (*schema._STEPS, ("CREATE TABLE more (x)", "NO SQL AT ALL")))
        with pytest.raises(ConfigError):
            Journal(path)
    with sqlite3.connect(path) as database:
        assert schema.version(database) == schema.VERSION
        assert not database.execute("SELECT * FROM sqlite_master WHERE name='more'").fetchall()
    database.close()
    with Journal(path) as journal:
        assert len(journal.load()) == 2


async def test_what_is_made_firm_is_on_the_disk_and_costs_nothing_twice(journal: Journal) -> None:
    row = await journal.record(ROW)
    await journal.firm()
    assert journal.syncs == 1
    await journal.step(replace(row, tries=1))
    await journal.firm()
    await journal.firm()
    assert journal.syncs == 2


async def test_numbers_are_never_given_twice_also_those_not_yet_recorded(path: Path) -> None:
    with Journal(path) as journal:
        slow = journal.numbered(ROW)
        quick = await journal.record(ROW)
        await journal.record(slow)
        assert slow.id < quick.id
        await journal.remove(quick.id)
    with Journal(path) as journal:
        assert journal.last == quick.id
        assert journal.numbered(ROW).id == quick.id + 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own: 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "aerofs-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def test_a_full_disk_is_told_as_such_and_the_journal_goes_on_when_there_is_room(
    small_disk: Path,
) -> None:
    with Journal(small_disk / "journal.sqlite") as journal:
        kept = await journal.record(ROW)
        filler = small_disk / "filler"
        with suppress(OSError):
            filler.write_bytes(b"x" * (1 << 20))
        with suppress(NoSpaceError):
            for _ in range(200):
                await journal.record(replace(ROW, path="x" * 4000))
        before = journal.load()
        with pytest.raises(NoSpaceError):
            await journal.record(replace(ROW, path="x" * 9000))
        assert journal.load() == before
        assert before[0] == kept
        filler.unlink()
        later = await journal.record(replace(ROW, title="later"))
        await journal.remove(kept.id)
        expected = [*before[1:], later]
        assert journal.load() == expected
    with Journal(small_disk / "journal.sqlite") as journal:
        assert journal.load() == expected
