"""Looking at state directories from outside: who holds them, whose they are, what waits in them.

Nothing is changed and nobody is disturbed: a running mount goes on, a damaged journal stays as it is. Whoever wants to
change a directory that nobody holds opens it as a `store.StateDirectory`.
"""

import fcntl
import os
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from aerofs.content.operations import OPERATION, Operation
from aerofs.content.store import (
    DRAFTS,
    JOURNAL,
    LOCK,
    Owner,
    holder,
    is_state_directory,
    is_visited,
    owner_of,
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a state directory.

    Attributes:
        held: A process has it open.
        pid: That process; None where nobody holds it, or the holder did not say.
        visited: It is no mount, and soon gone.
        owner: Whose it is; None where that is not known (made by an older aerofs).
        rows: What waits in its journal, oldest first.
        troubles: What could not be read, a sentence each.
    """

    directory: Path
    held: bool
    pid: int | None
    owner: Owner | None
    rows: tuple[Operation, ...]
    troubles: tuple[str, ...] = ()
    visited: bool = False

    def file(self, row: Operation) -> Path | None:
        """Where the bytes of a row are on this disk; None where the row has none here."""
        return None if row.content is None else self.directory / DRAFTS / row.content

    def has_bytes(self, row: Operation) -> bool:
        """Whether the bytes of a row are where they should be; in a directory that is held, its holder sees to that."""
        file = self.file(row)
        if self.held or file is None or row.superseded or row.cancelled:
            return True
        try:
            file.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            pass  # who may not look does not know
        return True


def inspect_all(root: Path) -> list[Inspection]:
    """Every state directory below `root` (`settings.default_state_dir()`), by name; one that cannot be read, too."""
    try:
        directories = sorted(path for path in root.iterdir() if _may_be_one(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Inspection(root, False, None, None, (), (f"{root}: {error.strerror}",))]
    return [inspect(directory) for directory in directories]


def _may_be_one(directory: Path) -> bool:
    try:
        return is_state_directory(directory)
    except OSError:
        return True


def inspect(directory: Path) -> Inspection:
    """What is in one state directory."""
    held, pid, visited, troubles = False, None, False, []
    try:
        held, pid, visited = _held(directory / LOCK)
    except FileNotFoundError:
        troubles.append(f"{directory} is no state directory of aerofs")
    except OSError as error:
        troubles.append(f"{directory}: {error.strerror}")
    rows: tuple[Operation, ...] = ()
    journal = directory / JOURNAL
    try:
        if journal.exists():
            rows, unreadable = _rows(journal, held=held)
            troubles += unreadable
        elif drafts := _drafts(directory):
            troubles.append(
                f"the journal {journal} is missing; the next mount takes up what the files in {DRAFTS} tell ({drafts})"
            )
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        troubles.append(f"the journal {journal} cannot be read: {reason}")
    return Inspection(directory, held, pid, owner_of(directory), rows, tuple(troubles), visited)


def _drafts(directory: Path) -> int:
    """How many files there are that nobody has brought up yet, as far as that is seen."""
    try:
        return sum(1 for _ in (directory / DRAFTS).iterdir())
    except FileNotFoundError:
        return 0


def _held(lock: Path) -> tuple[bool, int | None, bool]:
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A shared lock, so that two who look do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True, holder(descriptor), is_visited(descriptor)
    else:
        return False, None, False
    finally:
        os.close(descriptor)


def _rows(journal: Path, *, held: bool) -> tuple[tuple[Operation, ...], list[str]]:
    wal = journal.with_name(f"{journal.name}-wal")
    # Closed in good order: nothing but the database itself, and nothing needs to be made beside it.
    closed = not held and not (wal.exists() and wal.stat().st_size)
    address = f"{journal.absolute().as_uri()}?{'immutable=1' if closed else 'mode=ro'}"
    database = sqlite3.connect(address, uri=True)
    rows: list[Operation] = []
    troubles: list[str] = []
    try:
        for id, body in database.execute("SELECT id, body FROM operations ORDER BY id"):  # noqa: A001
            try:
                rows.append(replace(OPERATION.validate_json(body), id=id))
            except ValidationError as error:
                troubles.append(
                    f"the journal {journal}: row {id} cannot be read: {error.error_count()} mistakes"
                )
    except sqlite3.Error as error:
        troubles.append(f"the journal {journal} cannot be read: {error}")
    finally:
        database.close()
    return tuple(rows), troubles
