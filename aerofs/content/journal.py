"""The journal and the local facts: one SQLite database per mount.

Rows are written before the first request of an operation and removed after its last step. Every statement runs in one
writer thread, one transaction at a time. `durable` transactions are on the disk when the call returns (WAL,
synchronous=FULL); the others survive the death of the process, and after a loss of power the steps they recorded are
found out again from the platform.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import trio
from cachetools import LRUCache
from pydantic import ValidationError

from aerofs.content.operations import OPERATION, Operation
from aerofs.errors import AerofsError, ConfigError, LocalIOError, NoSpaceError
from aerofs.model import AttachmentId

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (
  attachment TEXT PRIMARY KEY, inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL
);
"""
_UPDATE = "UPDATE operations SET body=? WHERE id=?"
_FACTS_KEPT = 100_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fact:
    """What this machine remembers of an attachment because the platform has no place for it."""

    inode: int
    mtime_ns: int
    mode: int


class Journal:
    """The database of one mount. Opened by constructor, closed by `close`."""

    def __init__(self, path: Path) -> None:
        """Open or make the database.

        Raises:
            ConfigError: It cannot be opened, is damaged, or was made by a newer aerofs.
        """
        self._path = path
        self._writer = trio.CapacityLimiter(1)
        self._facts: LRUCache[AttachmentId, Fact] = LRUCache(_FACTS_KEPT)
        self._changed_facts: set[AttachmentId] = set()
        self.syncs = 0
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise ConfigError(f"the journal {path} cannot be used: {error}") from error
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._migrate()
            self._load_facts()
        except sqlite3.Error as error:
            self._db.close()
            raise ConfigError(f"the journal {path} cannot be used: {error}") from error
        except BaseException:
            self._db.close()
            raise

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise ConfigError(f"the journal {self._path} was made by a newer aerofs (schema {version})")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION:d}")

    def _load_facts(self) -> None:
        """The newest facts into memory, the newest last; those beyond the bound leave the disk too."""
        rows = self._db.execute(
            "SELECT rowid, attachment, inode, mtime_ns, mode FROM facts ORDER BY rowid DESC LIMIT ?",
            (_FACTS_KEPT,),
        ).fetchall()
        if len(rows) == _FACTS_KEPT:
            self._db.execute("DELETE FROM facts WHERE rowid < ?", (rows[-1][0],))
        for _, attachment, inode, mtime_ns, mode in reversed(rows):
            self._facts[AttachmentId(attachment)] = Fact(inode, mtime_ns, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self._path.name}: {len(self._changed_facts)} facts to write, {self.syncs} syncs>"

    def load(self) -> list[Operation]:
        """All rows, oldest first. Blocks; meant for the start.

        Raises:
            ConfigError: The database is damaged, or a row cannot be read.
        """
        try:
            rows = self._db.execute("SELECT id, body FROM operations ORDER BY id").fetchall()
            return [replace(OPERATION.validate_json(body), id=row) for row, body in rows]
        except (sqlite3.Error, ValidationError) as error:
            raise ConfigError(f"the journal {self._path} cannot be read: {error}") from error

    async def record(
        self, operation: Operation, *, first: Callable[[], Operation] | None = None, durable: bool = True
    ) -> Operation:
        """Write a new row, or an old one anew. Returns it with its id.

        Args:
            operation: The row; id 0 means new.
            first: Run before, in the writer thread; what it returns is recorded (to sync and hash a draft there).
            durable: It is on the disk on return, proof against a loss of power.
        """

        def work() -> Operation:
            row = first() if first else operation
            return self._write(row, durable=durable)

        return await self._in_thread(work)

    async def step(self, operation: Operation) -> None:
        """Record how far an operation has come, without waiting for the disk. A row that is gone stays gone."""

        def work() -> None:
            with self._transaction(durable=False):
                self._db.execute(_UPDATE, (_body(operation), operation.id))

        await self._in_thread(work)

    async def remove(self, row: int, *, successors: Iterable[Operation] = ()) -> None:
        """An operation is settled: its row goes; rows that waited for it are rewritten with what it brought."""
        facts, later = self._take_changed_facts(), list(successors)

        def work() -> None:
            with self._transaction(durable=False):
                self._db.execute("DELETE FROM operations WHERE id=?", (row,))
                for successor in later:
                    self._store(successor)
                self._store_facts(facts)

        try:
            await self._in_thread(work)
        except AerofsError:
            self._changed_facts.update(attachment for attachment, _ in facts)
            raise

    def fact(self, attachment: AttachmentId) -> Fact | None:
        """What is remembered of an attachment."""
        return self._facts.get(attachment)

    def remember(self, attachment: AttachmentId, fact: Fact) -> None:
        """Remember a fact; written to the database with the next row, and at `close`."""
        if self._facts.get(attachment) != fact:
            self._facts[attachment] = fact
            self._changed_facts.add(attachment)

    def forget(self, attachment: AttachmentId) -> None:
        """The attachment is gone."""
        if self._facts.pop(attachment, None) is not None:
            self._changed_facts.add(attachment)

    def close(self) -> None:
        """Write the facts and close. Blocks; meant for the end."""
        try:
            with self._transaction(durable=True):
                self._store_facts(self._take_changed_facts())
        finally:
            self._db.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._writer)
        except sqlite3.Error as error:
            raise _journal_error(error) from error

    def _write(self, operation: Operation, *, durable: bool) -> Operation:
        with self._transaction(durable=durable):
            return self._store(operation)

    def _store(self, operation: Operation) -> Operation:
        body = _body(operation)
        if operation.id:
            self._db.execute("INSERT OR REPLACE INTO operations VALUES (?, ?)", (operation.id, body))
            return operation
        row = self._db.execute("INSERT INTO operations (body) VALUES (?)", (body,)).lastrowid
        return replace(operation, id=row or 0)

    def _take_changed_facts(self) -> list[tuple[AttachmentId, Fact | None]]:
        facts = [(attachment, self._facts.get(attachment)) for attachment in self._changed_facts]
        self._changed_facts.clear()
        return facts

    def _store_facts(self, facts: Iterable[tuple[AttachmentId, Fact | None]]) -> None:
        for attachment, fact in facts:
            if fact is None:
                self._db.execute("DELETE FROM facts WHERE attachment=?", (attachment,))
            else:
                self._db.execute(
                    "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)",
                    (attachment, fact.inode, fact.mtime_ns, fact.mode),
                )

    def _transaction(self, *, durable: bool) -> "_Transaction":
        if durable:
            self.syncs += 1
        return _Transaction(self._db, durable=durable)


class _Transaction:
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


def _body(operation: Operation) -> str:
    return OPERATION.dump_json(operation, exclude_defaults=True).decode()


def _journal_error(error: sqlite3.Error) -> AerofsError:
    if "full" in str(error):
        return NoSpaceError("the journal: the local disk is full")
    return LocalIOError(f"the journal: {error}")
