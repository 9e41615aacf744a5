"""Loss of power, without a kernel: what a disk holds afterwards is what was synced, not what was written.

The journal is what it was at its last durable commit. What a file system makes of the rest is free, so there are two
kinds of disks: one that kept every rename and removal and every byte written to a file that had been synced once, and
one that kept none of that since the last sync. Bytes of a file that was never synced are lost on both.
"""

import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aerofs.content import database, journal, labels

KINDS = ("all kept", "all lost")
_REAL_FSYNC = os.fsync


@dataclass(frozen=True)
class _Synced:
    data: bytes
    label: bytes | None

    def write(self, path: Path) -> None:
        path.write_bytes(self.data)
        if self.label is not None:
            os.setxattr(path, labels._NAME, self.label)


@dataclass
class _Point:
    """The disk at the last moment when something was synced."""

    journal: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)


class Power:
    """The power supply of one state directory.

    Attributes:
        syncs: Every fsync and durable commit, in their order.
    """

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._state = state
        self._synced: dict[int, _Synced] = {}
        self._point = _Point()
        self.syncs: list[str] = []
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(journal, "Transaction", self._transaction())

    def lose(self, target: Path, kind: str) -> None:
        """Make `target` the state directory that is found when the power is back."""
        shutil.rmtree(target, ignore_errors=True)
        (target / "drafts").mkdir(parents=True)
        for name, data in self._point.journal.items():
            (target / name).write_bytes(data)
        kept = kind == "all kept"
        for name, inode in (self._names() if kept else self._point.names).items():
            synced = self._synced.get(inode)
            if synced is None:
                (target / "drafts" / name).touch()  # the name is there, the bytes never were
            else:
                if kept:
                    synced = replace(synced, data=(self._state / "drafts" / name).read_bytes())
                synced.write(target / "drafts" / name)

    def _names(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in (self._state / "drafts").iterdir()}

    def _fsync(self, descriptor: int) -> None:
        _REAL_FSYNC(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.parent == self._state / "drafts":
            self.syncs.append("draft")
            with path.open("rb") as file:
                try:
                    label = os.getxattr(path, labels._NAME)
                except OSError:
                    label = None
                self._synced[path.stat().st_ino] = _Synced(file.read(), label)
            self._point.names = self._names()

    def _committed(self) -> None:
        self.syncs.append("commit")
        self._point.journal = {
            path.name: path.read_bytes()
            for path in self._state.glob("journal.sqlite*")
            if not path.name.endswith("-shm")
        }
        self._point.names = self._names()

    def _transaction(self) -> type[database.Transaction]:
        power = self

        class Transaction(database.Transaction):
            def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
                super().__exit__(kind, *exc)
                mine = self._db.execute("PRAGMA database_list").fetchone()[2]
                if kind is None and self._durable and Path(mine).parent == power._state:
                    power._committed()

        return Transaction
