"""What this machine remembers of attachments because the platform has no place for it: number, time, mode.

All in memory, the newest `_KEPT`; the journal's database holds them, too, and writes what has changed with its rows.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from cachetools import LRUCache

from aerofs.model import AttachmentId

_KEPT = 100_000
_EARLIEST_NS, _LATEST_NS = -(1 << 63), (1 << 63) - 1
"""SQLite's integers; in nanoseconds from 1677 to 2262."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is remembered of one attachment."""

    inode: int
    mtime_ns: int
    mode: int


Changed: TypeAlias = Sequence[tuple[AttachmentId, Fact | None]]
"""Facts as they are to be written; None: no more."""


def keepable(mtime_ns: int) -> int:
    """The time that can be kept: this one, or the nearest that can, as ext4 and XFS do with theirs.

    Source: inode_set_mtime_to_ts and timestamp_truncate, Linux fs/inode.c.
    """
    return min(max(mtime_ns, _EARLIEST_NS), _LATEST_NS)


class Facts:
    """The facts of one mount. All synchronous on the trio thread, but for `write`."""

    def __init__(self) -> None:
        self._facts: LRUCache[AttachmentId, Fact] = LRUCache(_KEPT)
        self._changed: set[AttachmentId] = set()

    def __repr__(self) -> str:
        return f"<Facts of {len(self._facts)} attachments, {len(self._changed)} to write>"

    def read(self, database: sqlite3.Connection) -> None:
        """The newest into memory, the newest last; those beyond the bound leave the disk, too."""
        rows = database.execute(
            "SELECT rowid, attachment, inode, mtime_ns, mode FROM facts ORDER BY rowid DESC LIMIT ?", (_KEPT,)
        ).fetchall()
        if len(rows) == _KEPT:
            database.execute("DELETE FROM facts WHERE rowid < ?", (rows[-1][0],))
        for _, attachment, inode, mtime_ns, mode in reversed(rows):
            self._facts[AttachmentId(attachment)] = Fact(inode, mtime_ns, mode)

    def of(self, attachment: AttachmentId) -> Fact | None:
        """What is remembered of an attachment."""
        return self._facts.get(attachment)

    def remember(self, attachment: AttachmentId, fact: Fact) -> None:
        """Remember a fact; written to the database with the next row, and when the journal is closed."""
        fact = replace(fact, mtime_ns=keepable(fact.mtime_ns))
        if self._facts.get(attachment) != fact:
            self._facts[attachment] = fact
            self._changed.add(attachment)

    def forget(self, attachment: AttachmentId) -> None:
        """The attachment is gone."""
        if self._facts.pop(attachment, None) is not None:
            self._changed.add(attachment)

    def take_changed(self) -> Changed:
        """What has to be written; it counts as written from now on, see `not_written`."""
        changed = [(attachment, self._facts.get(attachment)) for attachment in self._changed]
        self._changed.clear()
        return changed

    def not_written(self, changed: Changed) -> None:
        """What was taken could not be written: the next time."""
        self._changed.update(attachment for attachment, _ in changed)


def write(database: sqlite3.Connection, changed: Iterable[tuple[AttachmentId, Fact | None]]) -> None:
    """Write what has changed. Blocks; to be called in a transaction."""
    for attachment, fact in changed:
        if fact is None:
            database.execute("DELETE FROM facts WHERE attachment=?", (attachment,))
        else:
            database.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)",
                (attachment, fact.inode, fact.mtime_ns, fact.mode),
            )
