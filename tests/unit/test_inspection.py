"""Looking at state directories from outside: everything is seen, nothing is changed, nobody is disturbed."""

import errno
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from aerofs.content.inspection import inspect, inspect_all
from aerofs.content.operations import Operation, State
from aerofs.content.store import Owner, StateDirectory, Store
from aerofs.model import DefinitionId, DocumentId, FieldRef, ValuePath

OWNER = Owner("https://aero.example", "live", "/mnt/aero", "me")
FIELD = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan"))
ROW = Operation(
    place=FIELD, path="d/1/scan/a.txt", file_name="a.txt", title="a.txt", size=3, content="x.draft"
)


def _disk(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


async def test_a_running_mount_is_seen_with_its_process_and_its_rows(tmp_path: Path) -> None:
    with Store(tmp_path / "a", OWNER) as store:
        row = await store.journal.record(ROW)
        (found,) = inspect_all(tmp_path)
        assert (found.held, found.pid, found.owner) == (True, os.getpid(), OWNER)
        assert found.rows == (row,)
        assert found.file(row) == tmp_path / "a" / "drafts" / "x.draft"
        assert await store.journal.record(replace(row, tries=1))  # it was not disturbed


async def test_a_directory_that_nobody_holds_is_seen_and_left_as_it_is(tmp_path: Path) -> None:
    with Store(tmp_path / "a", OWNER) as store:
        row = await store.journal.record(replace(ROW, state=State.HELD))
    before = _disk(tmp_path / "a")
    (found,) = inspect_all(tmp_path)
    assert (found.held, found.pid, found.rows, found.troubles) == (False, None, (row,), ())
    assert _disk(tmp_path / "a") == before


async def test_what_a_dead_mount_left_is_seen_also_what_is_only_in_the_log(tmp_path: Path) -> None:
    with Store(tmp_path / "a", OWNER) as store:
        row = await store.journal.record(ROW)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    database = (tmp_path / "b" / "journal.sqlite").read_bytes()
    found = inspect(tmp_path / "b")
    assert (found.held, found.rows) == (False, (row,))
    assert (tmp_path / "b" / "journal.sqlite").read_bytes() == database


async def test_damage_is_told_and_what_is_readable_is_shown(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        with Store(tmp_path / name, OWNER) as store:
            row = await store.journal.record(ROW)
            await store.journal.record(ROW)
    (tmp_path / "a" / "journal.sqlite").write_bytes(b"no database at all" * 400)
    with sqlite3.connect(tmp_path / "b" / "journal.sqlite") as database:
        database.execute("UPDATE operations SET body='{}' WHERE id=2")
    database.close()
    (tmp_path / "c" / "mount.json").write_text("{}")
    damaged, unreadable, nobodys = inspect_all(tmp_path)
    assert damaged.rows == ()
    assert "cannot be read" in damaged.troubles[0]
    assert unreadable.rows == (row,)
    assert "row 2 cannot be read" in unreadable.troubles[0]
    assert nobodys.owner is None
    assert len(nobodys.rows) == 2


def test_what_is_no_state_directory_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    assert inspect_all(tmp_path) == []
    assert inspect_all(tmp_path / "nowhere") == []


async def test_a_directory_that_may_not_be_read_is_told_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        with Store(tmp_path / name, OWNER) as store:
            await store.journal.record(ROW)
    exists, opened, listed = Path.exists, os.open, Path.iterdir

    def refuse(path: object) -> bool:
        if str(path).startswith(f"{tmp_path}/a"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return False

    monkeypatch.setattr(Path, "exists", lambda path: refuse(path) or exists(path))
    monkeypatch.setattr(os, "open", lambda path, *rest: refuse(path) or opened(path, *rest))
    denied, other = inspect_all(tmp_path)
    assert denied.rows == ()
    assert denied.troubles[0] == f"{tmp_path}/a: Permission denied"
    assert len(other.rows) == 1
    monkeypatch.setattr(Path, "iterdir", lambda path: refuse(f"{tmp_path}/a") or listed(path))
    (whole,) = inspect_all(tmp_path)
    assert whole.troubles == (f"{tmp_path}: Permission denied",)


async def test_looking_does_not_keep_a_mount_from_starting(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    for _ in range(3):
        inspect(tmp_path)
        StateDirectory(tmp_path).close()


async def test_a_free_directory_is_opened_for_changes_and_keeps_what_is_cached(tmp_path: Path) -> None:
    with Store(tmp_path, OWNER) as store:
        row = await store.journal.record(ROW)
        (store.directory / "blobs" / "x.blob").touch()
    with StateDirectory(tmp_path) as state:
        await state.journal.remove(row.id)
    assert inspect(tmp_path).rows == ()
    assert inspect(tmp_path).owner == OWNER
    assert (tmp_path / "blobs" / "x.blob").exists()
