"""Where the sandbox keeps its data: SQLite (WAL) and a file for each content, in a directory or in memory.

Only rows and files; what they mean is `records.py`'s. Invariants, which hold after a SIGKILL at any instant:

- A row of an attachment is committed after its content stands under `blobs/`, and a content is unlinked after
  the last row that names it is gone. What is left in `incoming/`, or in `blobs/` without a row, is nobody's
  and is removed at the next start.
- Several rows may share one content: a copy is instant, whatever its size.
"""

import json
import secrets
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS definitions (id TEXT PRIMARY KEY, spec TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, definition TEXT NOT NULL, external_id TEXT, status TEXT NOT NULL,
    created TEXT NOT NULL, modified TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS documents_by_id ON documents (definition, id);
CREATE INDEX IF NOT EXISTS documents_by_external_id ON documents (definition, external_id);
CREATE INDEX IF NOT EXISTS documents_by_modified ON documents (definition, modified);
CREATE TABLE IF NOT EXISTS attachments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL, path TEXT NOT
    NULL, name TEXT NOT NULL, type TEXT NOT NULL, size INTEGER NOT NULL, width INTEGER, height INTEGER, blob
    TEXT NOT NULL, created TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS attachments_by_field ON attachments (document, path);
CREATE INDEX IF NOT EXISTS attachments_by_blob ON attachments (blob);
"""
_DOCUMENT = "id, definition, external_id, status, created, modified, body"
_ATTACHMENT = "id, document, path, name, type, size, width, height, blob, created"


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document; `body` is the JSON text of its plain values and lines."""

    id: str
    definition: str
    external_id: str | None
    status: str
    created: str
    modified: str
    body: str

    def values(self) -> dict[str, Any]:
        """The plain values, with the lines."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True)
class AttachmentRow:
    """A file of a field; `path` is the canonical value path, "" for one that was never put into a field."""

    id: str
    document: str
    path: str
    name: str
    type: str
    size: int
    width: int | None
    height: int | None
    blob: str
    created: str


class Database:
    """The rows and the contents. Calls take microseconds and may come from any thread."""

    def __init__(self, connection: sqlite3.Connection, directory: Path, *, temporary: bool) -> None:
        self._connection = connection
        self._directory = directory
        self._temporary = temporary
        self._lock = threading.RLock()
        self._depth = 0
        self._doomed: set[str] = set()
        self.incoming = directory / "incoming"
        self.blobs = directory / "blobs"
        self.incoming.mkdir(exist_ok=True)
        self.blobs.mkdir(exist_ok=True)
        connection.executescript(_SCHEMA)
        self._sweep()

    @classmethod
    def open(cls, directory: Path | None) -> Self:
        """The database in this directory, made if needed; None: in memory, contents in a temporary one."""
        if directory is None:
            connection = _connected(":memory:")
            return cls(connection, Path(tempfile.mkdtemp(prefix="aero-sandbox-")), temporary=True)
        directory.mkdir(parents=True, exist_ok=True)
        connection = _connected(str(directory / "platform.sqlite"))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return cls(connection, directory, temporary=False)

    def close(self) -> None:
        """Let go; a database in memory takes its contents with it."""
        self._connection.close()
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within stand or fall together; may be nested."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                    self._doomed.clear()
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")
                self._unlink_unused()

    def meta(self, key: str, usual: str) -> str:
        """A value that lasts; `usual` is stored if there is none yet."""
        self._execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, usual))
        return str(self._rows("SELECT value FROM meta WHERE key = ?", (key,))[0][0])

    def definition_specs(self) -> list[str]:
        """The JSON texts of all definitions, oldest first."""
        return [str(row[0]) for row in self._rows("SELECT spec FROM definitions ORDER BY rowid")]

    def put_definition(self, definition: str, spec: str) -> None:
        """Add a definition or change it."""
        self._execute(
            "INSERT INTO definitions VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET spec = excluded.spec",
            (definition, spec),
        )

    def documents(
        self,
        where: str,
        parameters: Iterable[Any] = (),
        *,
        order: str = "rowid",
        limit: int = -1,
        skip: int = 0,
    ) -> list[DocumentRow]:
        """The documents for which this SQL holds."""
        # The pieces of SQL come from this package; values of callers are always parameters.
        sql = f"SELECT {_DOCUMENT} FROM documents WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
        return [DocumentRow(*row) for row in self._rows(sql, (*parameters, limit, skip))]

    def put_document(self, row: DocumentRow) -> None:
        """Add a document or change it."""
        self._execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, status = excluded.status,"
            " modified = excluded.modified, body = excluded.body",
            (row.id, row.definition, row.external_id, row.status, row.created, row.modified, row.body),
        )

    def drop_document(self, document: str) -> None:
        """Remove a document with all its files."""
        with self.transaction():
            self.drop_attachments(self.attachments("document = ?", (document,)))
            self._execute("DELETE FROM documents WHERE id = ?", (document,))

    def attachments(self, where: str, parameters: Iterable[Any] = ()) -> list[AttachmentRow]:
        """The attachments for which this SQL holds, in the order in which they were added."""
        sql = f"SELECT {_ATTACHMENT} FROM attachments WHERE {where} ORDER BY seq"  # noqa: S608 - as above
        return [AttachmentRow(*row) for row in self._rows(sql, parameters)]

    def attachments_of(self, documents: list[str]) -> list[AttachmentRow]:
        """The attachments of up to a page of documents."""
        marks = ", ".join("?" * len(documents))
        return self.attachments(f"document IN ({marks}) AND path <> ''", documents)

    def add_attachment(self, row: AttachmentRow) -> None:
        """Add an attachment, whose content already stands under `blobs`."""
        self._execute(
            "INSERT INTO attachments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row.id, row.document, row.path, row.name, row.type),
                *(row.size, row.width, row.height, row.blob, row.created),
            ),
        )

    def drop_attachments(self, rows: Iterable[AttachmentRow]) -> None:
        """Remove attachments, and the contents that nobody else has."""
        with self.transaction():
            for row in rows:
                self._execute("DELETE FROM attachments WHERE id = ?", (row.id,))
                self._doomed.add(row.blob)

    def adopt(self, path: Path) -> str:
        """Make a finished file of `incoming` a content; returns its name."""
        blob = secrets.token_hex(16)
        path.rename(self.blobs / blob)
        return blob

    def _unlink_unused(self) -> None:
        while self._doomed:
            blob = self._doomed.pop()
            if not self._rows("SELECT 1 FROM attachments WHERE blob = ? LIMIT 1", (blob,)):
                (self.blobs / blob).unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self.incoming.iterdir():
            path.unlink()
        named = {str(row[0]) for row in self._rows("SELECT DISTINCT blob FROM attachments")}
        for path in self.blobs.iterdir():
            if path.name not in named:
                path.unlink()

    def _rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(sql, tuple(parameters)).fetchall()

    def _execute(self, sql: str, parameters: Iterable[Any]) -> None:
        with self._lock:
            self._connection.execute(sql, tuple(parameters))


def _connected(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)
