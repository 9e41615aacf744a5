"""The journal and the local facts: one SQLite database per mount.

Rows are written before the first request of an operation and removed after its last step. Every statement runs in one
writer thread, one transaction at a time. `durable` transactions are on the disk when the call returns (WAL,
synchronous=FULL); the others survive the death of the process, and after a loss of power the steps they recorded are
found out again from the platform.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import trio
from pydantic import ValidationError

from aerofs.content import database, facts, schema
from aerofs.content.database import DamagedError, Transaction
from aerofs.content.facts import Facts
from aerofs.content.operations import OPERATION, Operation, inherit

_UPDATE = "UPDATE operations SET body=? WHERE id=?"
T = TypeVar("T")


class Journal:
    """The database of one mount. Opened by constructor, closed by `close`.

    Attributes:
        syncs: Commits that waited for the disk, so far.
        last: The greatest number that a row had when the journal was opened.
        facts: What is remembered of attachments.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the database, of this or an older version.

        Raises:
            DamagedError: It cannot be read as it is (`salvage.py` can do something about that).
            NoSpaceError: The disk has no room for what it needs beside it.
            ConfigError: It cannot be opened, or was made by a newer aerofs.
        """
        self._path = path
        self._writer = trio.CapacityLimiter(1)
        self.facts = Facts()
        self.syncs = 0
        self._loose = False
        with database.opening(path) as self._db:
            self.facts.read(self._db)
            (self.last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        self._numbers = itertools.count(self.last + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self._path.name}: {self.syncs} syncs, {self.facts!r}>"

    def load(self) -> list[Operation]:
        """All rows, oldest first. Blocks; meant for the start.

        Raises:
            DamagedError: The database is damaged, or a row cannot be read.
        """
        try:
            rows = self._db.execute("SELECT id, body FROM operations ORDER BY id").fetchall()
            return [replace(OPERATION.validate_json(body), id=row) for row, body in rows]
        except (sqlite3.Error, ValidationError) as error:
            raise DamagedError(f"the journal {self._path} cannot be read: {error}") from error

    def put(self, rows: Sequence[Operation]) -> None:
        """Write numbered rows, all or none, proof against a loss of power. Blocks; meant for the start.

        Raises:
            AerofsError: The disk is full, or fails.
        """
        with self._at_start(), self._transaction(durable=True):
            for row in rows:
                self._store(row)
        self._numbers = itertools.count(max([next(self._numbers), *(row.id + 1 for row in rows)]))

    # Rows on their way between two journals (`siblings.py`); all of these block, and are meant for the start.

    def origins(self) -> dict[int, str]:
        """Where rows come from that were brought here and may still stand there, too."""
        found = self._db.execute("SELECT id, origin FROM operations WHERE origin IS NOT NULL").fetchall()
        return {int(number): str(origin) for number, origin in found}

    def bring(self, rows: Mapping[str, Operation]) -> None:
        """Write numbered rows by their origins, all or none, proof against a loss of power."""
        with self._at_start(), self._transaction(durable=True):
            for origin, row in rows.items():
                self._store(row, origin)

    def arrived(self, rows: Iterable[int]) -> None:
        """Rows that were brought here stand here alone."""
        with self._at_start(), self._transaction(durable=False):
            self._db.executemany("UPDATE operations SET origin=NULL WHERE id=?", [(row,) for row in rows])

    def give_away(self, rows: Iterable[int]) -> None:
        """Rows that stand elsewhere now go from here, all or none, proof against a loss of power."""
        with self._at_start(), self._transaction(durable=True):
            self._delete(rows)

    @contextlib.contextmanager
    def _at_start(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise database.failure(error, self._path) from error

    def numbered(self, operation: Operation) -> Operation:
        """The row with the number under which it will be recorded."""
        return operation if operation.id else replace(operation, id=next(self._numbers))

    async def record(
        self,
        operation: Operation,
        *,
        first: Callable[[], Operation] | None = None,
        instead_of: Iterable[int] = (),
        also: Iterable[Operation] = (),
        durable: bool = True,
    ) -> Operation:
        """Write a new row, or an old one anew. Returns it with its id.

        Args:
            operation: The row; id 0 means new (or see `numbered`).
            first: Run before, in the writer thread; what it returns is recorded (to sync and hash a draft there).
            instead_of: The numbers of rows that go at this moment.
            also: Numbered rows that are written at this moment, too.
            durable: It is on the disk on return, proof against a loss of power.
        """

        def work() -> Operation:
            row = self.numbered(first() if first else operation)
            with self._transaction(durable=durable):
                self._delete(instead_of)
                for each in (row, *also):
                    self._store(each)
            return row

        return await self._in_thread(work)

    async def step(self, operation: Operation, *, durable: bool = False) -> None:
        """Record how far an operation has come. A row that is gone stays gone."""

        def work() -> None:
            with self._transaction(durable=durable):
                self._db.execute(_UPDATE, (_body(operation), operation.id))

        await self._in_thread(work)

    async def remove(
        self,
        *rows: int,
        successors: Iterable[Operation] = (),
        settled: Operation | None = None,
        durable: bool = False,
    ) -> None:
        """Rows go, all or none; those that waited for them are rewritten in the same transaction.

        Args:
            rows: Their numbers.
            successors: Rows to be written as they are now.
            settled: One of the operations, at its end: every other row that waited for it inherits from it.
            durable: They will not be back after a loss of power.
        """
        changed, later = self.facts.take_changed(), list(successors)

        def work() -> None:
            with self._transaction(durable=durable):
                self._delete(rows)
                for successor in later:
                    self._store(successor)
                if settled is not None:
                    self._store_heirs(settled)
                facts.write(self._db, changed)

        try:
            await self._in_thread(work)
        except BaseException:
            self.facts.not_written(changed)
            raise

    def _store_heirs(self, settled: Operation) -> None:
        rows = self._db.execute(
            "SELECT id, body FROM operations WHERE json_extract(body, '$.after') = ?", (settled.id,)
        ).fetchall()
        for row, body in rows:
            self._store(inherit(replace(OPERATION.validate_json(body), id=row), settled))

    async def firm(self) -> None:
        """See to it that everything written so far is proof against a loss of power; costs nothing where it is."""

        def work() -> None:
            if self._loose:
                with self._transaction(durable=True):
                    # The log is synced for a transaction that writes something.
                    self._db.execute(f"PRAGMA user_version={schema.VERSION:d}")

        await self._in_thread(work)

    def close(self) -> None:
        """Write the facts and close. Blocks; meant for the end.

        Raises:
            AerofsError: The disk is full, or fails: facts that were not written yet are lost.
        """
        try:
            with self._at_start(), self._transaction(durable=True):
                facts.write(self._db, self.facts.take_changed())
        finally:
            self._db.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._writer)
        except sqlite3.Error as error:
            raise database.failure(error, self._path) from error

    def _store(self, operation: Operation, origin: str | None = None) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO operations (id, body, origin) VALUES (?, ?, ?)",
            (operation.id, _body(operation), origin),
        )

    def _delete(self, rows: Iterable[int]) -> None:
        self._db.executemany("DELETE FROM operations WHERE id=?", [(row,) for row in rows])

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        with Transaction(self._db, durable=durable):
            self._loose = True
            yield
        if durable:
            self._loose = False
            self.syncs += 1


def _body(operation: Operation) -> str:
    return OPERATION.dump_json(operation, exclude_defaults=True).decode()
