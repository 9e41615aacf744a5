"""What waits for another mount point of the same person arrives with the next mount: all of it, once, by whomever."""

import errno
import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aerofs import errors, mount
from aerofs.content import siblings
from aerofs.content.inspection import inspect
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.content.store import Owner, StateDirectory, Store
from aerofs.model import DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.mount import stays_here
from aerofs.settings import Settings
from tests.contract.conftest import Office, refused, saved_while_away

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
HELD = "invoice/1/copies/h.txt"
PART = "invoice/1/scan/c.part"
ONE = Owner("https://aero.example", "live", "/mnt/one", "me")
OTHER = Operation(
    place=FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan")),
    path="d/1/scan/o.txt",
    file_name="o.txt",
    title="o.txt",
    size=0,
)
TWO = replace(ONE, mountpoint="/mnt/two")
SAVED = [("1/scan/a.txt", b"newest a"), ("1/scan/b.txt", b"new b")]


def take_over(office: Office, mine: str = "two", owner: Owner = TWO, *, told: list[str] | None = None) -> int:
    """The start of a mount. `told`: what it says; None where it is to say nothing."""
    said: list[str] = [] if told is None else told
    with Store(office.disk / mine, owner) as store:
        came = siblings.adopt(store, owner, office.disk, stays=stays_here, tell=said.append)
    assert told is not None or said == []
    return came


async def left_behind(office: Office, *, held: bool = False) -> None:
    """Mount one: two versions of a file wait, and another file; one is refused, one is local. Then it ends."""
    Store(office.disk / "one", ONE).close()
    async with office.mounted("one") as drive:
        await drive.find("invoice/1/scan")
        await drive.find("invoice/1/copies")
        if held:
            await refused(drive, HELD, b"held", told=True)
        for path, data in ((A, b"new a"), (B, b"new b"), (A, b"newest a")):
            await saved_while_away(drive, path, data)
        await drive.write(PART, b"part")


class _Killed(BaseException):
    pass


async def half_taken(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mount two takes over what one left behind, and dies before that one gives it away."""
    await left_behind(office)
    Store(office.disk / "two", TWO).close()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "give_away", lambda *_: (_ for _ in ()).throw(_Killed()))
        with pytest.raises(_Killed):
            take_over(office)


async def arrives(office: Office, state: str = "two") -> None:
    async with office.mounted(state) as drive:
        await drive.drained()
        assert office.stored("1/scan") == SAVED
        assert await drive.read(A) == b"newest a"


async def test_what_waits_for_a_dead_sibling_is_brought_up_by_the_next_mount(office: Office) -> None:
    office.add(A, b"old a")
    await left_behind(office, held=True)
    assert take_over(office) == 3
    assert take_over(office) == 0
    async with office.mounted("two") as drive:
        await drive.drained()
        assert office.stored() == SAVED
        assert drive.states() == {"h.txt": "held"}
        assert await drive.read(HELD) == b"held"
        assert "c.part" not in await drive.names("invoice/1/scan")
    # A name that never leaves this machine stayed with its own mount, and nothing else did.
    async with office.mounted("one") as drive:
        assert list(drive.states().values()) == ["local"]
        assert await drive.read(PART) == b"part"
        assert len(list(drive.store.drafts.iterdir())) == 1


async def test_rows_that_wait_for_one_another_still_do(office: Office) -> None:
    Store(office.disk / "one", ONE).close()
    with office.sandbox.hold("save"):
        async with office.mounted("one", close_wait=0, rename_wait=0.1) as drive:
            await drive.write(A, b"new")
            await drive.rename(A, B)
    with StateDirectory(office.disk / "two", TWO) as state:
        for number in (1, 2):  # so that the numbers are others here
            assert (await state.journal.record(OTHER)).id == number
            await state.journal.remove(number)
    assert take_over(office) == 2
    first, second = inspect(office.disk / "two").rows
    assert second.after == first.id == 3
    async with office.mounted("two") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new")]
        drive.assert_nothing_left()


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, url="https://other.example"),
        replace(ONE, environment="test"),
        replace(ONE, identity="somebody else"),
    ],
)
async def test_what_others_left_is_theirs(office: Office, other: Owner) -> None:
    await left_behind(office)
    Store(office.disk / "one", other).close()
    assert take_over(office) == 0
    assert len(inspect(office.disk / "one").rows) == 3


async def test_a_sibling_that_runs_keeps_what_it_has(office: Office) -> None:
    await left_behind(office)
    with StateDirectory(office.disk / "one"):
        assert take_over(office) == 0
    assert take_over(office) == 2


async def test_a_newer_siblings_journal_is_let_alone(office: Office) -> None:
    await left_behind(office)
    with sqlite3.connect(office.disk / "one" / "journal.sqlite") as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    told: list[str] = []
    assert take_over(office, told=told) == 0
    assert "made by a newer aerofs" in told[0]
    assert len(inspect(office.disk / "one").rows) == 3


def _in_place_of(path: Path, *, directory: bool) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if directory:
        path.mkdir()
    else:
        path.write_bytes(b"no directory")


def _foreign_draft(one: Path) -> None:
    """A draft that can neither be linked nor read, as where the disk fails under it."""
    (content,) = [row.content for row in inspect(one).rows if row.path.endswith("/b.txt") and row.content]
    _in_place_of(one / "drafts" / content, directory=True)


def _foreign_journal(one: Path) -> None:
    for path in one.glob("journal.sqlite*"):
        path.unlink()
    (one / "journal.sqlite").mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "lock": (lambda one: _in_place_of(one / "lock", directory=True), "Is a directory"),
    "drafts": (lambda one: _in_place_of(one / "drafts", directory=False), "Not a directory"),
    "draft": (_foreign_draft, "bringing over"),
    "journal": (_foreign_journal, "journal.sqlite"),
    "owner": (lambda one: (one / "mount.json").write_bytes(b"\0" * 80), "mount.json"),
}


def _disk(directory: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_sibling_that_cannot_be_taken_over_is_told_of_and_left_as_it_is(
    office: Office, damage: str
) -> None:
    await left_behind(office)
    harm, why = DAMAGES[damage]
    harm(office.disk / "one")
    before = _disk(office.disk / "one")
    told: list[str] = []
    assert take_over(office, told=told) == 0
    (sentence,) = told
    assert str(office.disk / "one") in sentence
    assert why in sentence
    assert _disk(office.disk / "one") == before
    # It is seen without a mount, and nothing of it stays with ours.
    left = inspect(office.disk / "one")
    assert left.rows or left.troubles
    async with office.mounted("two") as drive:
        drive.assert_nothing_left()


async def test_what_waits_for_other_siblings_is_taken_over_beside_one_that_may_not_be_read(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_behind(office)
    shut = office.disk / "away"
    with StateDirectory(shut, replace(ONE, mountpoint="/mnt/away")) as state:
        await state.journal.record(OTHER)
    look = Path.lstat

    def refused(path: Path) -> os.stat_result:
        if path.parent == shut:
            raise PermissionError(errno.EACCES, "Permission denied")
        return look(path)

    told: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Path, "lstat", refused)
        assert take_over(office, told=told) == 2
    (sentence,) = told
    assert str(shut) in sentence
    assert "Permission denied" in sentence
    await arrives(office)


async def test_rows_that_a_sibling_does_not_let_go_stay_its_own(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk refuses to write: were they performed here, its own mount would bring them up once more."""
    await left_behind(office)
    before = inspect(office.disk / "one").rows
    give_away = Journal.give_away

    def refused(journal: Journal, rows: Iterable[int]) -> None:
        if "one" in journal._path.parts:
            raise errors.LocalIOError("the journal: disk I/O error")
        give_away(journal, rows)

    told: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "give_away", refused)
        assert take_over(office, told=told) == 0
    assert "disk I/O error" in told[0]
    assert inspect(office.disk / "two").rows == ()
    assert list((office.disk / "two" / "drafts").iterdir()) == []
    assert inspect(office.disk / "one").rows == before
    assert take_over(office) == 2
    await arrives(office)


async def test_what_was_half_taken_is_kept_where_its_sibling_cannot_be_read_any_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await half_taken(office, monkeypatch)
    (office.disk / "one" / "lock").unlink()
    (office.disk / "one" / "lock").mkdir()
    told: list[str] = []
    assert take_over(office, told=told) == 0
    assert len(told) == 1
    assert len(inspect(office.disk / "two").rows) == 2
    # It can be read again before they were brought up: they are let go there.
    (office.disk / "one" / "lock").rmdir()
    (office.disk / "one" / "lock").touch()
    assert take_over(office) == 0
    assert all(stays_here(row) for row in inspect(office.disk / "one").rows)
    await arrives(office)


@pytest.mark.complains
async def test_a_siblings_damaged_journal_is_mended_on_the_way(office: Office) -> None:
    await left_behind(office)
    (office.disk / "one" / "journal.sqlite").write_bytes(b"no database at all" * 400)
    assert take_over(office) == 2
    await arrives(office)


def _arrows() -> list[tuple[object, str]]:
    return [
        (os, "link"),
        (siblings, "sync_directory"),
        (Journal, "bring"),
        (Journal, "give_away"),
        (Journal, "arrived"),
        (Path, "unlink"),
    ]


@contextmanager
def _killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The process dies right after so many of the steps that leave something on the disk."""
    left = [steps]

    def mortal(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise _Killed
            left[0] -= 1
            return step(*args, **kwargs)

        return taken

    with monkeypatch.context() as patched:
        for home, name in _arrows():
            patched.setattr(home, name, mortal(getattr(home, name)))
        with suppress(_Killed):
            yield left


@pytest.mark.parametrize("first", ["one", "two"])
async def test_a_death_between_any_two_steps_loses_nothing_and_doubles_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    await left_behind(office)
    shutil.copytree(office.disk / "one", office.disk / "kept" / "one")
    for steps in itertools.count():
        office.clear()
        for name in ("one", "two"):
            shutil.rmtree(office.disk / name, ignore_errors=True)
        shutil.copytree(office.disk / "kept" / "one", office.disk / "one")
        Store(office.disk / "two", TWO).close()
        with _killed_after(steps, monkeypatch) as left:
            take_over(office)
        done = left[0] > 0
        # Whoever of the two is mounted next has them all; then the other comes, and nothing is left to it.
        owners = {"one": ONE, "two": TWO}
        (second,) = owners.keys() - {first}
        take_over(office, first, owners[first])
        with StateDirectory(office.disk / first) as state:
            assert state.journal.origins() == {}
        assert sum(len(inspect(office.disk / name).rows) for name in owners) == 3, steps
        await arrives(office, first)
        assert take_over(office, second, owners[second]) == 0
        assert all(stays_here(row) for name in owners for row in inspect(office.disk / name).rows)
        if done:
            assert steps > 12
            return


async def test_a_half_taken_row_is_left_to_the_sibling_that_runs_by_now(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await half_taken(office, monkeypatch)
    assert len(inspect(office.disk / "two").rows) == 2
    with StateDirectory(office.disk / "one"):  # it runs before we are back
        take_over(office)
        assert inspect(office.disk / "two").rows == ()
        assert list((office.disk / "two" / "drafts").iterdir()) == []
    await arrives(office, "one")


async def test_a_mount_at_the_usual_place_looks_for_siblings_and_one_with_a_place_of_its_own_does_not(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(office.disk))
    await left_behind(office)
    given = {"url": "https://aero.example", "environment": "live", "token_file": "/etc/token"}
    settings = Settings.model_validate(given | {"mountpoint": "/mnt/two"})
    (office.disk / "aerofs").mkdir()
    (office.disk / "one").rename(office.disk / "aerofs" / "one")
    Store(office.disk / "aerofs" / "one", mount.owner(settings)).close()
    with Store(office.disk / "own", mount.owner(settings)) as store:
        mount._adopt_siblings(settings.model_copy(update={"state_dir": office.disk / "own"}), store, print)
        assert store.journal.load() == []
    with Store(mount.state_directory(settings), mount.owner(settings)) as store:
        mount._adopt_siblings(settings, store, print)
        assert len(store.journal.load()) == 2
