"""The journal's tables: one step for each version, from an empty file to what this aerofs uses.

A step that was released is never changed; a new version is a new step at the end. Each is one transaction together with
its number (`PRAGMA user_version`), so a migration that was cut short goes on where it stopped.
"""

import sqlite3

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE IF NOT EXISTS operations (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
        """
        CREATE TABLE IF NOT EXISTS facts (
          attachment TEXT PRIMARY KEY, inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL
        )
        """,
    ),
    # Where a row was before it was brought over from a sibling's directory, until that is over: `siblings.py`.
    (
        "ALTER TABLE operations ADD COLUMN origin TEXT",
        "CREATE UNIQUE INDEX operations_origin ON operations (origin)",
    ),
    # Every operation that is settled looks for those that waited for it: not among thousands, one by one.
    (
        """
        CREATE INDEX operations_after ON operations (json_extract(body, '$.after'))
        WHERE json_extract(body, '$.after') IS NOT NULL
        """,
    ),
    # Up to here, later tries of a save were not announced either: of none that was tried it is known what came of it.
    # (Where the platform makes pictures smaller, all of them were.)
    (
        """
        UPDATE operations SET body = json_set(body, '$.maybe_sent', json('true'))
        WHERE json_extract(body, '$.tries') > 0 AND coalesce(json_extract(body, '$.state'), 'queued') <> 'local'
        AND json_extract(body, '$.added') IS NULL AND NOT coalesce(json_extract(body, '$.resizes'), 0)
        """,
    ),
)
VERSION = len(_STEPS)


def version(database: sqlite3.Connection) -> int:
    """Which version a database has; 0 for an empty one."""
    (number,) = database.execute("PRAGMA user_version").fetchone()
    return int(number)


def migrate(database: sqlite3.Connection) -> None:
    """Bring a database of this or an older version up to this one."""
    for number, statements in enumerate(_STEPS, start=1):
        if version(database) >= number:
            continue
        database.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                database.execute(statement)
            database.execute(f"PRAGMA user_version={number:d}")
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
