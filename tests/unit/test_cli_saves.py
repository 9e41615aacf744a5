"""`aerofs saves` and `aerofs status` without a running mount: what was left is seen and decided about."""

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import trio

from aerofs import cli, control, mountpoint
from aerofs.cli import exporting
from aerofs.content.conflicts import Conflict, Conflicts
from aerofs.content.disk import digest
from aerofs.content.operations import Operation, Secured, State
from aerofs.content.store import Owner, StateDirectory
from aerofs.errors import DeadlineError, ExistsError
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.mountpoint import Mounted

FIELD = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan"))
NEW = Operation(place=FIELD, path="d/1/scan/a.txt", file_name="a.txt", title="a.txt", size=5, tries=2)
OLD = Attachment(AttachmentId("x1"), "b.txt")


class Left:
    """State directories that no mount has open."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, *rows: Operation, data: bytes = b"bytes") -> list[Operation]:
        owner = Owner("https://aero.example", "live", f"/mnt/{name}", "me")
        recorded: list[Operation] = []
        with StateDirectory(self.root / name, owner) as state:
            for row in rows:
                file = state.drafts / f"{len(recorded)}.draft"
                file.write_bytes(data)
                content = row.content or file.name
                sha256 = digest(file) if row.accepted is None else None
                filled = row if row.copy_of else replace(row, content=content, sha256=sha256)
                recorded.append(trio.run(state.journal.record, filled))
        return recorded

    def rows(self, name: str) -> list[Operation]:
        with StateDirectory(self.root / name) as state:
            return state.journal.load()

    def drafts(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.root / name / "drafts").iterdir())


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Left:
    for name in [name for name in os.environ if name.startswith("AEROFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(control, "running_mounts", list)  # none of those that this machine may have
    monkeypatch.setattr(mountpoint, "mounts", list)
    monkeypatch.setattr(mountpoint, "true_place", lambda place: place)
    return Left(platformdirs.user_state_path("aerofs"))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(each) for each in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


HELD = replace(NEW, state=State.HELD, error="denied", errno=13, since=time.time() - 7300)


def test_status_shows_what_was_left_with_age_tries_error_and_what_can_be_done(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    left.add("a", HELD)
    assert run("status") == 0
    said = capsys.readouterr().out
    for word in ("/mnt/a", "https://aero.example", "not mounted; mounting there again recovers it", "held"):
        assert word in said
    for word in ("5 B", "2 h", "denied", "aerofs saves retry ID", "d/1/scan/a.txt"):
        assert word in said
    assert run("status", "--json", "/mnt/a") == 1  # named, and it does not run
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["mountpoint"], shown["mounted"], shown["saves"][0]["tries"]) == ("/mnt/a", False, 2)


def test_a_directory_in_which_nothing_waits_is_not_shown_and_one_elsewhere_is_if_it_is_named(
    left: Left, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left.add("empty")
    Left(tmp_path / "elsewhere").add("b", HELD)
    assert run("status") == 0
    assert capsys.readouterr().out == "no aerofs mount is running, and nothing waits\n"
    assert run("saves", "--json", "--state-dir", tmp_path / "elsewhere" / "b") == 0
    (save,) = json.loads(capsys.readouterr().out)
    assert (save["mountpoint"], save["state"]) == ("/mnt/b", "held")


def test_a_damaged_journal_is_a_sentence_and_is_left_as_it_is(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    left.add("a", HELD)
    journal = left.root / "a" / "journal.sqlite"
    journal.write_bytes(b"no database" * 1000)
    assert run("status") == 0
    said = capsys.readouterr().out
    assert "cannot be read" in said
    assert "Traceback" not in said
    assert journal.read_bytes() == b"no database" * 1000


def test_a_journal_that_is_damaged_in_part_is_not_changed(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    row, _ = left.add("a", HELD, HELD)
    with sqlite3.connect(left.root / "a" / "journal.sqlite") as database:
        database.execute("UPDATE operations SET body = '{}' WHERE id = 2")
    database.close()
    assert run("saves", "discard", row.id, "--yes") == 1
    assert "row 2 cannot be read" in capsys.readouterr().err
    assert len(left.drafts("a")) == 2


DAMAGES: dict[str, Callable[[Path], object]] = {
    "damaged": lambda journal: journal.write_bytes(b"no database" * 1000),
    "empty": lambda journal: journal.write_bytes(b""),
    "missing": lambda journal: journal.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_saves_that_cannot_be_read_are_not_said_to_be_on_the_platform(
    damage: str, left: Left, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left.add("a", HELD)
    left.add("b", replace(HELD, title="other"), HELD)
    journal = left.root / "a" / "journal.sqlite"
    DAMAGES[damage](journal)
    assert run("status", "/mnt/a") == 1
    assert f"the journal {journal}" in capsys.readouterr().out
    for words in (["list"], ["list", "--json"], ["list", "/mnt/a"], ["retry", "--all"]):
        assert run("saves", *words) == 1
        said = capsys.readouterr()
        assert f"the journal {journal}" in said.err
        assert "on the platform" not in said.out
    for decision in ("retry 3", "discard 3 --yes", f"export 3 {tmp_path}/x"):
        assert run("saves", *decision.split()) == 1
        said = capsys.readouterr()
        assert "there is no save 3 in what can be read" in said.err
        assert f"the journal {journal}" in said.err
    assert [row.state for row in left.rows("b")] == [State.QUEUED, State.QUEUED]  # by --all
    assert left.drafts("a") == ["0.draft"]


def test_a_directory_that_may_not_be_seen_is_not_said_to_hold_nothing(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not left.root.exists()

    def denied(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for owner, name in ((Path, "lstat"), (Path, "exists"), (os, "open")):
        monkeypatch.setattr(owner, name, denied)
    assert run("status", "--state-dir", tmp_path / "hidden") == 0
    assert f"{tmp_path}/hidden: Permission denied" in capsys.readouterr().out
    assert run("saves", "--state-dir", tmp_path / "hidden") == 1
    monkeypatch.undo()


def test_conflicts_are_shown_with_both_names(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    left.add("a", HELD)
    conflicts = Conflicts(left.root / "a")
    for number in range(7):
        conflicts.note(Conflict(f"d/1/scan/{number}.odt", f"{number} (conflict me).odt", 1_763_900_000.0))
    assert run("status") == 0
    said = capsys.readouterr().out
    assert "2 earlier conflicts" in said
    assert (
        "d/1/scan/6.odt is somebody else's newer version, ours stands beside it as 6 (conflict me).odt"
        in said
    )
    assert "d/1/scan/1.odt" not in said
    assert run("status", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert len(shown["conflicts"]) == 7
    assert shown["conflicts"][0]["theirs"] == "0.odt"


@pytest.mark.parametrize(
    "arguments", [["saves"], ["saves", "list"], ["saves", "/mnt/a"], ["saves", "list", "/mnt/a"]]
)
def test_saves_lists_them(arguments: list[str], left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    left.add("a", HELD)
    assert run(*arguments) == 0
    said = capsys.readouterr().out
    assert "/mnt/a  (not mounted)" in said
    assert "denied" in said


def test_a_name_comes_out_as_it_is_in_every_locale(left: Left) -> None:
    left.add("a", replace(HELD, path="d/1/scan/hot \N{HOT DOG}"))
    done = subprocess.run(
        [sys.executable, "-m", "aerofs", "saves", "/mnt/a"],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=True,
    )
    assert "d/1/scan/hot \N{HOT DOG}".encode() in done.stdout


def test_without_any_that_is_said(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    assert not left.root.exists()
    assert run("saves") == 0
    assert capsys.readouterr().out == "every save is on the platform\n"


def test_retry_without_a_mount_lets_the_next_one_try(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = left.add("a", HELD)
    assert run("saves", "retry", row.id) == 0
    assert capsys.readouterr().out == f"{row.id} d/1/scan/a.txt: will be tried at the next mount\n"
    (after,) = left.rows("a")
    assert (after.state, after.error, after.content) == (State.QUEUED, "", row.content)
    assert run("saves", "retry", "--all") == 0


def test_what_never_leaves_this_machine_cannot_be_retried(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = left.add("a", replace(NEW, state=State.LOCAL))
    assert run("saves", "retry", row.id) == 1
    assert "there is nothing to try" in capsys.readouterr().err
    assert run("saves", "retry", "--all") == 0
    assert left.rows("a") == [row]


def test_discard_without_a_mount_removes_the_row_and_its_bytes(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, row = left.add("a", NEW, HELD)
    assert run("saves", "discard", row.id) == 2
    assert "give --yes" in capsys.readouterr().err
    assert len(left.rows("a")) == 2
    assert run("saves", "discard", row.id, "--yes") == 0
    assert left.rows("a") == [kept]
    assert left.drafts("a") == ["0.draft"]


def test_what_may_have_arrived_is_taken_back_by_the_next_mount(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = left.add("a", replace(NEW, tries=0))  # the end of its process may have cut its request off
    assert run("saves", "discard", row.id, "--yes") == 0
    assert "if it has reached the platform, it is taken back there" in capsys.readouterr().out
    (after,) = left.rows("a")
    assert (after.cancelled, after.maybe_sent, after.retire) == (True, True, ())
    assert run("saves", "retry", row.id) == 0
    assert "was discarded: the next mount takes it back" in capsys.readouterr().out


def test_what_was_certainly_not_sent_leaves_nothing_to_be_taken_back(left: Left) -> None:
    (row,) = left.add("a", NEW)  # every try but the first is noted before it is sent
    assert run("saves", "discard", row.id, "--yes") == 0
    assert left.rows("a") == []


def test_the_only_copy_of_another_file_is_not_discarded(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = left.add("a", replace(HELD, secured=Secured("0.secured", AttachmentId("x"), "old.txt")))
    assert run("saves", "discard", row.id, "--yes") == 1
    assert "keeps the only copy of old.txt" in capsys.readouterr().err
    assert left.rows("a") == [row]


def test_what_waits_for_one_another_is_one_decision_and_the_later_save_counts(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = left.add("a", replace(NEW, tries=0))
    with StateDirectory(left.root / "a") as state:  # the file of that save was renamed
        trio.run(state.journal.record, replace(NEW, path="d/1/scan/b.txt", after=one.id, tries=0))
    _, two = left.add("b", HELD, replace(NEW, after=1))
    _, three = left.add("c", HELD, replace(NEW, copy_of=(FIELD, OLD.id), after=1))
    for place, later in (("/mnt/b", two), ("/mnt/c", three)):
        assert run("saves", "discard", 1, "--yes", "--mount", place) == 1
        assert f"save {later.id} is a later one of the same file" in capsys.readouterr().err
    assert run("saves", "discard", one.id, "--yes", "--mount", "/mnt/a") == 0
    assert [row.cancelled for row in left.rows("a")] == [True, True]  # either may have arrived
    assert "1.draft" in left.drafts("b")


def test_an_id_that_two_mounts_have_needs_the_mount(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = left.add("a", HELD)
    left.add("b", HELD)
    assert run("saves", "retry", row.id) == 1
    said = capsys.readouterr().err
    assert f"/mnt/a and /mnt/b each have a save {row.id}; say which is meant with --mount MOUNTPOINT" in said
    assert run("saves", "retry", row.id, "--mount", "/mnt/b") == 0
    assert [left.rows(name)[0].state for name in "ab"] == [State.HELD, State.QUEUED]


@pytest.mark.parametrize(
    "arguments", [["retry", "77"], ["discard", "77", "--yes"], ["export", "77", "/nowhere"]]
)
def test_an_unknown_id_is_one_sentence(
    arguments: list[str], left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    left.add("a", HELD)
    assert run("saves", *arguments) == 1
    assert capsys.readouterr().err == (
        "aerofs: there is no save 77: it is on the platform by now, or never was\n"
    )


def test_a_directory_that_a_process_holds_is_not_changed_behind_its_back(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = left.add("a", HELD)
    with StateDirectory(left.root / "a"):
        assert run("saves", "discard", row.id, "--yes") == 1
        assert f"process {os.getpid()} is at work on it" in capsys.readouterr().err
        assert run("status") == 0
        assert "is still at work" in capsys.readouterr().out
    assert left.rows("a") == [row]


@pytest.fixture
def standing(left: Left, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mount in the kernel's table whose socket nobody serves, and which belongs to the directory `a`."""
    place = Path("/mnt/a")
    assert not left.root.exists()
    table = [Mounted(place, mountpoint.FSTYPE, "https://aero.example", os.geteuid())]
    monkeypatch.setattr(mountpoint, "mounts", lambda: table)
    monkeypatch.setattr(mountpoint, "is_dead", lambda _: False)
    return place


@pytest.mark.parametrize("rows", [(), (HELD,)], ids=["idle", "busy"])
@pytest.mark.parametrize("arguments", [[], ["/mnt/a"]])
def test_a_mount_whose_socket_is_gone_is_told_as_what_it_is(
    arguments: list[str],
    rows: tuple[Operation, ...],
    left: Left,
    standing: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left.add("a", *rows)
    with StateDirectory(left.root / "a"):
        run("status", "--json", *arguments)
        (shown,) = json.loads(capsys.readouterr().out)
        assert (shown["mountpoint"], shown["mounted"], shown["crashed"]) == (str(standing), True, False)
        assert (shown["pid"], len(shown["saves"])) == (os.getpid(), len(rows))
        assert shown["troubles"] == []
        run("status", *arguments)
        assert "does not answer; its control socket is gone" in capsys.readouterr().out
        assert run("saves", *arguments) == 0  # the journal tells
        assert ("denied" if rows else "every save is on the platform") in capsys.readouterr().out


def test_a_mount_of_which_nothing_is_known_is_not_said_to_be_done(
    standing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("saves") == 0
    assert capsys.readouterr().out == f"no save is seen to wait, but {standing} cannot be asked\n"


def test_a_stuck_mount_is_shown_once_with_what_waits_in_it(
    left: Left, standing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stuck(*_: object, **__: object) -> None:
        raise DeadlineError("gave no answer")

    monkeypatch.setattr(control, "running_mounts", lambda: [control.socket_path(standing, uid=os.geteuid())])
    monkeypatch.setattr(control, "call", stuck)
    monkeypatch.setattr(mountpoint, "is_dead", lambda _: pytest.fail("it was asked once more"))
    left.add("a", HELD)
    for arguments in ([], [str(standing)]):
        with StateDirectory(left.root / "a"):
            run("status", "--json", *arguments)
        (shown,) = json.loads(capsys.readouterr().out)
        assert (shown["mountpoint"], shown["mounted"], shown["crashed"]) == (str(standing), True, False)
        assert (len(shown["saves"]), shown["troubles"]) == (1, ["gave no answer"])


@pytest.mark.parametrize("state_of_mount", ["stuck", "ending"])
def test_what_a_process_holds_that_does_not_answer_is_exported_and_decided_about_only_without_it(
    state_of_mount: str,
    left: Left,
    standing: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if state_of_mount == "ending":
        monkeypatch.setattr(mountpoint, "mounts", list)
    row, growing = left.add("a", HELD, replace(HELD, state=State.LOCAL, accepted=3))
    with StateDirectory(left.root / "a") as state:
        state.journal.put([row])  # in the log of the database, as a process leaves it that was stopped
        for number, data in ((row.id, b"bytes"), (growing.id, b"byt")):
            assert run("saves", "export", number, tmp_path / str(number), "--mount", standing) == 0
            assert (tmp_path / str(number)).read_bytes() == data
        capsys.readouterr()
        for words in (["retry", row.id], ["discard", row.id, "--yes"]):
            assert run("saves", *words) == 1
            (told,) = capsys.readouterr().err.splitlines()
            assert f"process {os.getpid()}" in told
            assert ("aerofs saves export" in told) == (state_of_mount == "stuck")
        assert state.journal.load() == [row, growing]


def test_a_mount_that_just_ends_is_not_told_twice(
    left: Left, standing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"mountpoint": str(standing), "pid": os.getpid(), "mounted": False, "saves": []}
    monkeypatch.setattr(control, "running_mounts", lambda: [Path("/socket")])
    monkeypatch.setattr(control, "call", lambda *_, **__: answer)
    monkeypatch.setattr(
        mountpoint, "is_dead", lambda _: True
    )  # its session is over, and it still stands there
    left.add("a")
    assert run("status", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["mounted"], shown["crashed"], shown["pid"]) == (False, False, os.getpid())


# --- export -------------------------------------------------------------------------------------------------


@pytest.fixture
def row(left: Left) -> Iterator[Operation]:
    (row,) = left.add("a", replace(HELD, mtime_ns=1_700_000_000_123_456_789))
    yield row
    assert left.rows("a") == [row]  # nothing of it changes what waits


def test_export_copies_the_bytes_with_their_time_to_a_file_or_into_a_directory(
    row: Operation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    assert run("saves", "export", row.id, place / "x") == 0
    assert run("saves", "export", row.id, place) == 0
    assert capsys.readouterr().out.endswith(f"copied to {place}/a.txt\n")
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "x"]
    for path in place.iterdir():
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"bytes", row.mtime_ns)
        assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0


def test_export_never_overwrites_unless_it_is_forced(
    row: Operation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"mine")
    assert run("saves", "export", row.id, target) == 1
    assert capsys.readouterr().err == f"aerofs: {target} exists; --force overwrites it\n"
    assert target.read_bytes() == b"mine"
    assert run("saves", "export", row.id, target, "--force") == 0
    assert target.read_bytes() == b"bytes"


def _target(kind: str, directory: Path) -> Path:
    target = directory / "x"
    match kind:
        case "fifo":
            os.mkfifo(target)
        case "device":
            try:
                os.mknod(target, stat.S_IFCHR | 0o600, os.makedev(1, 3))
            except PermissionError:
                pytest.skip("who runs this may make no devices")
        case "directory":
            (target / "a.txt").mkdir(parents=True)
    return target


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_export_overwrites_nothing_but_a_regular_file(
    kind: str, row: Operation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = _target(kind, tmp_path)
    before = target.stat()
    (tmp_path / "link").symlink_to(target)
    for place in (target, tmp_path / "link"):
        assert run("saves", "export", row.id, place, "--force") == 1
        assert "no regular file" in capsys.readouterr().err
    assert (target.stat().st_ino, target.stat().st_rdev) == (before.st_ino, before.st_rdev)


def test_export_writes_where_a_link_leads(row: Operation, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"old")
    for name in ("there", "nowhere"):
        (tmp_path / "link").symlink_to(name)
        assert run("saves", "export", row.id, tmp_path / "link") == 1
        assert run("saves", "export", row.id, tmp_path / "link", "--force") == 0
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / name).read_bytes() == b"bytes"
        (tmp_path / "link").unlink()


def test_export_into_a_directory_that_is_not_there_makes_no_file_of_its_name(
    row: Operation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("saves", "export", row.id, f"{tmp_path}/new/") == 1
    assert capsys.readouterr().err == f"aerofs: {tmp_path}/new/ is no directory\n"
    assert not (tmp_path / "new").exists()


def test_where_nothing_may_be_written_that_is_told(
    row: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for step in ("open", "unlink"):
        monkeypatch.setattr(Path, step, read_only)
    monkeypatch.setattr(exporting, "_opened", lambda _: nullcontext())
    assert run("saves", "export", row.id, tmp_path / "x") == 1
    assert capsys.readouterr().err == f"aerofs: cannot write {tmp_path}/x: Read-only file system\n"
    monkeypatch.undo()


def test_bytes_that_are_gone_are_not_said_to_have_arrived(
    left: Left, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = left.add("one", HELD)
    file = left.root / "one" / "drafts" / str(row.content)
    file.unlink()
    assert run("status") == 0
    assert "its bytes are gone from this disk" in capsys.readouterr().out
    for target in (tmp_path / "x", "-"):
        assert run("saves", "export", row.id, target) == 1
        assert f"its bytes are not here any more: {file} is gone" in capsys.readouterr().err


def test_a_file_that_appears_while_it_is_exported_is_not_overwritten(tmp_path: Path) -> None:
    part, target = tmp_path / "part", tmp_path / "x"
    for path in (part, target):
        path.write_bytes(path.name.encode())
    with pytest.raises(ExistsError):
        exporting._put(part, target, force=False)
    assert target.read_bytes() == b"x"


def test_export_to_the_standard_output_is_the_bytes_alone(
    row: Operation, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("saves", "export", row.id, "-") == 0
    assert capfdbinary.readouterr().out == b"bytes"


def test_damaged_bytes_are_not_passed_off_as_the_save(
    row: Operation, left: Left, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (left.root / "a" / "drafts" / str(row.content)).write_bytes(b"bytEs")
    assert run("saves", "export", row.id, tmp_path / "x") == 1
    assert "not those that were saved" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert not list(tmp_path.glob(".aerofs-*"))


def test_a_full_disk_and_a_missing_directory_are_one_sentence(
    row: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("saves", "export", row.id, tmp_path / "none" / "x") == 1
    assert capsys.readouterr().err == f"aerofs: cannot write {tmp_path}/none/x: No such file or directory\n"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_copy", full)
    assert run("saves", "export", row.id, tmp_path / "x") == 1
    assert capsys.readouterr().err == f"aerofs: cannot write {tmp_path}/x: No space left on device\n"
    assert not list(tmp_path.glob(".aerofs-*"))


def test_what_was_written_after_the_last_close_is_not_exported(
    left: Left, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (row,) = left.add("one", replace(NEW, state=State.LOCAL, size=3, accepted=3))
    assert run("saves", "export", row.id, tmp_path / "x") == 0
    assert (tmp_path / "x").read_bytes() == b"byt"
    capfdbinary.readouterr()
    assert run("saves", "export", row.id, "-") == 0
    assert capfdbinary.readouterr().out == b"byt"


def test_a_rename_has_no_bytes_to_export(left: Left, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = left.add("a", replace(HELD, copy_of=(FIELD, OLD.id)))
    assert run("saves", "export", row.id, "-") == 1
    assert "it has no bytes here" in capsys.readouterr().err
