"""Opening a journal that may be damaged, so that no save is lost with it.

What cannot be read as it is, is set aside for people to look at; whatever can still be read from it goes into a new
journal, and the drafts that it does not name any more tell for themselves what they are (`labels.py`). What does not
even do that is held for the user, never brought up and never deleted.
"""

import logging
import shutil
import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aerofs.content import labels
from aerofs.content.database import DamagedError
from aerofs.content.disk import sync_directory
from aerofs.content.facts import Fact
from aerofs.content.journal import Journal
from aerofs.content.operations import NOWHERE, OPERATION, Operation, State
from aerofs.errors import AerofsError, ConfigError, LocalIOError
from aerofs.model import AttachmentId

log = logging.getLogger(__name__)

_PARTS = ("", "-wal", "-shm")
_PAGE = 4096
_LOST = "its row in the journal was lost"


def sound_journal(path: Path, drafts: Path) -> Journal:
    """The journal at `path`, made new from what is left of it if need be.

    Raises:
        ConfigError: It was made by a newer aerofs, or the disk does not let us use it.
    """
    _finish(path)
    if _headless(path, drafts):
        return _rebuilt(path, drafts, f"the journal {path} is damaged: it is empty")
    try:
        journal = Journal(path)
    except DamagedError as damage:
        return _rebuilt(path, drafts, str(damage))
    try:
        _take_back_the_tail(journal, journal.load(), drafts)
    except DamagedError as damage:
        journal.close()
        return _rebuilt(path, drafts, str(damage))
    except BaseException:
        journal.close()
        raise
    return journal


def _headless(path: Path, drafts: Path) -> bool:
    """The database is gone or empty, though something was in it; SQLite would throw its log away in silence."""
    if path.exists() and path.stat().st_size:
        return False
    wal = _part(path, "-wal")
    return (wal.exists() and wal.stat().st_size > 0) or any(drafts.iterdir())


def _take_back_the_tail(journal: Journal, rows: Sequence[Operation], drafts: Path) -> None:
    """A database that lost its last commits looks whole; drafts with numbers that it never saw tell of them."""
    named = {name for row in rows for name in row.files}
    orphans = [path for path in drafts.iterdir() if path.name not in named]
    secured = list(_with_secured(orphans, rows))
    if secured:
        journal.put(secured)
    lost = _in_chains(rows, _told(orphans, range(1, journal.last + 1)))
    if lost:
        journal.put([*_as_of_once(rows), *lost])
        log.warning("the journal had lost its last rows; %d saves are back from their drafts", len(lost))


def _rebuilt(path: Path, drafts: Path, damage: str) -> Journal:
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    fresh = _part(path, ".new")
    try:
        rows, facts = _readable(path)
        rows = list(_as_of_once(rows))
        found = _from_drafts(drafts, rows)
        with Journal(_part(path, ".building")) as journal:
            journal.put([*rows, *found])
            for attachment, fact in facts:
                journal.facts.remember(attachment, fact)
        _part(path, ".building").rename(fresh)
        _set_aside(path, aside)
        fresh.rename(path)
        sync_directory(path.parent)
    except (OSError, sqlite3.Error, AerofsError) as error:
        raise ConfigError(f"{damage}; and it could not be made new: {error}") from error
    log.warning(
        "%s; it is set aside as %s, %s goes on with %d rows of it and %d saves found by their drafts",
        damage,
        aside.name,
        path.name,
        len(rows),
        len(found),
    )
    return Journal(path)


def _finish(path: Path) -> None:
    """A journal that was being made new when the process ended: set in place if it was complete."""
    fresh = _part(path, ".new")
    shutil.rmtree(_part(path, ".copy"), ignore_errors=True)
    for part in _PARTS:
        _part(path, f".building{part}").unlink(missing_ok=True)
    if fresh.exists() and not path.exists():
        # The database itself is the first part of the old journal to be set aside: the others go with it.
        set_aside = sorted(path.parent.glob(f"{path.name}.damaged-*Z"))
        _set_aside(path, set_aside[-1] if set_aside else _part(path, ".damaged"))
        fresh.rename(path)
    fresh.unlink(missing_ok=True)


def _set_aside(path: Path, aside: Path) -> None:
    for part in _PARTS:
        if _part(path, part).exists():
            _part(path, part).rename(_part(aside, part))


def _part(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


# -- what can still be read ----------------------------------------------------------------------------------------


def _readable(path: Path) -> tuple[list[Operation], list[tuple[AttachmentId, Fact]]]:
    """Rows and facts that a damaged database still gives; read from a copy, because SQLite repairs by forgetting."""
    scratch = _part(path, ".copy")
    scratch.mkdir()
    try:
        for part in ("", "-wal"):
            if _part(path, part).exists():
                shutil.copyfile(_part(path, part), _part(scratch / path.name, part))
        copy = scratch / path.name
        if not copy.exists() or copy.stat().st_size < _PAGE:
            # (The log may hold the first page, too, but is read only where there is a file.)
            with copy.open("ab") as file:
                file.truncate(_PAGE)
        database = sqlite3.connect(copy, isolation_level=None)
        try:
            return _rows(database), list(_facts(database))
        finally:
            database.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _rows(database: sqlite3.Connection) -> list[Operation]:
    """From both ends, because a damaged page stops the reading there."""
    found: dict[int, Operation] = {}
    for order in ("ASC", "DESC"):
        for number, body in _until_damage(database, f"SELECT id, body FROM operations ORDER BY id {order}"):  # noqa: S608
            try:
                found[number] = replace(OPERATION.validate_json(body), id=number)
            except ValidationError:
                continue
    return [found[number] for number in sorted(found)]


def _facts(database: sqlite3.Connection) -> Iterator[tuple[AttachmentId, Fact]]:
    for attachment, *values in _until_damage(
        database, "SELECT attachment, inode, mtime_ns, mode FROM facts ORDER BY rowid"
    ):
        if all(isinstance(value, int) for value in values):
            yield AttachmentId(str(attachment)), Fact(*values)


def _until_damage(database: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    try:
        yield from database.execute(query)
    except sqlite3.Error as error:
        log.debug("%s: %s", query, error)


# -- what the drafts tell -------------------------------------------------------------------------------------------


def _from_drafts(drafts: Path, rows: Sequence[Operation]) -> list[Operation]:
    """A row for every file that no row names. The numbers of those that tell nothing are the greatest."""
    named = {name for row in rows for name in row.files}
    paths = [path for path in sorted(drafts.iterdir()) if path.name not in named]
    told = _told(paths, {row.id for row in rows})
    named |= {name for row in told for name in row.files}
    first = max((row.id for row in (*rows, *told)), default=0) + 1
    unknown = [path for path in paths if path.name not in named]
    return [*_in_chains(rows, told), *(_unknown(path, number) for number, path in enumerate(unknown, first))]


def _told(paths: Iterable[Path], taken: Container[int]) -> list[Operation]:
    """The rows that files tell of: those of drafts, and with them what had been secured for them."""
    told: dict[int, Operation] = {}
    secured: dict[int, Operation] = {}
    for path in paths:
        row = labels.read(path)
        if row is None or row.id in taken:
            continue
        if row.content == path.name:
            told[row.id] = _as_lost(row)
        elif row.secured is not None and row.secured.content == path.name:
            secured[row.id] = row
    for number, row in secured.items():
        told[number] = replace(told[number], secured=row.secured) if number in told else _as_lost_version(row)
    return list(told.values())


def _with_secured(paths: Iterable[Path], rows: Iterable[Operation]) -> Iterator[Operation]:
    """Rows that do not know yet, or any more, what was secured for them: it may be the only copy by now."""
    waiting = {row.id: row for row in rows if row.secured is None and row.state is State.QUEUED}
    for path in paths:
        told = labels.read(path)
        if told is None or told.secured is None or told.secured.content != path.name:
            continue
        row = waiting.get(told.id)
        # (What was put back stands under another id by now.)
        if (
            row is not None
            and row.added is None
            and any(old.attachment == told.secured.attachment for old in row.retire)
        ):
            yield replace(row, secured=told.secured)


def _unknown(path: Path, number: int) -> Operation:
    return Operation(
        id=number,
        state=State.HELD,
        place=NOWHERE,
        path=f"(unknown)/{path.name}",
        file_name=path.name,
        title=path.name,
        size=path.stat().st_size,
        content=path.name,
        error="found on this disk after the journal was damaged; where it belongs is not known: export it",
        errno=LocalIOError.errno,
    )


def _as_of_once(rows: Iterable[Operation]) -> Iterator[Operation]:
    """Rows that may have gone on since: that something was sent may have been noted, and lost."""
    for row in rows:
        sendable = row.state is not State.LOCAL and not row.resizes and row.added is None
        yield replace(row, maybe_sent=True) if sendable else row


def _as_lost(row: Operation) -> Operation:
    """A row as its draft tells it. What became of it since then is to be found out, or for the user to decide."""
    if row.state is State.LOCAL:
        return row
    if row.resizes:  # bytes do not tell there whether it was sent
        error = f"{_LOST}; it may stand in the field already: look there first"
        return replace(row, state=State.HELD, error=error, errno=LocalIOError.errno)
    return replace(row, state=State.QUEUED, maybe_sent=True)


def _as_lost_version(row: Operation) -> Operation:
    """Bytes that had been deleted to make room, of whose successor nothing is known."""
    if row.secured is None:
        return row
    return Operation(
        id=row.id,
        state=State.HELD,
        place=row.place,
        path=row.path,
        file_name=row.file_name,
        title=row.secured.title,
        size=row.size,
        content=row.secured.content,
        known=row.known,
        maximum=row.maximum,
        maybe_sent=True,
        error=f"{_LOST}; this version was taken away to make room for a newer one",
        errno=LocalIOError.errno,
    )


def _in_chains(rows: Iterable[Operation], lost: Iterable[Operation]) -> list[Operation]:
    """Lost rows again one after another, file by file: an older version gives way to a newer one."""
    known = {row.id: row for row in rows}
    for row in sorted(lost, key=lambda row: row.id):
        after = row.after if row.after in known else None
        if after is None and row.inode:
            same = [other for other in known.values() if _same_file(row, other) and other.id < row.id]
            after = max((other.id for other in same), default=None)
        known[row.id] = replace(row, after=after)
    return [known[row.id] for row in lost]


def _same_file(one: Operation, other: Operation) -> bool:
    # (What was renamed to a local name keeps its number, but its earlier save goes its own way.)
    return (one.inode, one.place, one.file_name) == (other.inode, other.place, other.file_name)
