"""The SQLite database under the journal: opening it, its transactions, and what its errors mean. Blocks."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aerofs.content import schema
from aerofs.errors import AerofsError, ConfigError, LocalIOError, NoSpaceError

_SURROUNDINGS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What is wrong with the disk or with who may use it, and not with the database."""


class DamagedError(ConfigError):
    """The database, or a row of it, cannot be read any more."""


@contextmanager
def opening(path: Path) -> Iterator[sqlite3.Connection]:
    """Open or make the database, of this or an older version; it is closed again where the block fails.

    Raises:
        DamagedError, NoSpaceError, ConfigError: As `Journal`.
    """
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigError(f"the journal {path} cannot be used: {error}") from error
    try:
        _check(database, path)
        database.execute("PRAGMA journal_mode=WAL")
        schema.migrate(database)
        yield database
    except sqlite3.Error as error:
        database.close()
        if _is_full(error, path):
            raise NoSpaceError(f"the journal {path} cannot be used: the local disk is full") from error
        if error.sqlite_errorcode & 0xFF in _SURROUNDINGS:
            raise ConfigError(f"the journal {path} cannot be used: {error}") from error
        raise DamagedError(f"the journal {path} is damaged: {error}") from error
    except BaseException:
        database.close()
        raise


def _check(database: sqlite3.Connection, path: Path) -> None:
    if (found := schema.version(database)) > schema.VERSION:
        raise ConfigError(f"the journal {path} was made by a newer aerofs (schema {found}): use that one")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(f"the journal {path} is damaged: {verdict}")


class Transaction:
    """All that is executed in its context, or none of it; on the disk at its end, if it is `durable`."""

    def __init__(self, db: sqlite3.Connection, *, durable: bool) -> None:
        self._db = db
        self._durable = durable

    def __enter__(self) -> None:
        self._db.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            # Also where the commit itself failed; SQLite ends some failed transactions by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def failure(error: sqlite3.Error, path: Path) -> AerofsError:
    """What went wrong with a transaction, as an error of ours."""
    if _is_full(error, path):
        return NoSpaceError("the journal: the local disk is full")
    return LocalIOError(f"the journal: {error}")


def _is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether the disk is; of what SQLite keeps beside the database, it only says that something failed."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        with suppress(OSError):
            return shutil.disk_usage(path.parent).free == 0
    return code == sqlite3.SQLITE_FULL
