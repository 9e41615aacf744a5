"""What a person may decide about a save that waits, and what follows from it for the journal's rows.

Pure rules, which hold with and without a mount; and `Unmounted`, which carries decisions out where no mount runs. A
running mount does it in `filesystem/saves.py`, for there are files to be seen and requests under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import trio

from aerofs.content.operations import Operation, State
from aerofs.content.store import StateDirectory
from aerofs.errors import NotFoundError, RefusedError


def unknown(row: int) -> NotFoundError:
    """The error for a save that is not there."""
    return NotFoundError(f"there is no save {row}: it is on the platform by now, or never was")


def superseded(row: Operation, by: int) -> RefusedError:
    """The error for a save that a later one of the same file stands for."""
    return RefusedError(
        f"{row.path}: save {row.id} counts no more, save {by} is a later one of the same file"
    )


def not_tried(row: Operation) -> RefusedError:
    """The error for what is not on its way to the platform."""
    return RefusedError(
        f"{row.path}: was not closed yet, or has a name that never leaves this machine: there is nothing to try"
    )


def no_bytes(row: Operation) -> RefusedError:
    """The error for a rename, whose bytes the platform has."""
    return RefusedError(f"{row.path}: is a rename of what stands on the platform; it has no bytes here")


def check_discard(rows: Sequence[Operation]) -> None:
    """See that nothing is lost with these rows that is nowhere else, besides the saves that are given up.

    Raises:
        RefusedError: One holds the only copy of a file that had to make room.
    """
    for row in rows:
        if row.secured is not None:
            raise RefusedError(
                f"{row.path}: save {row.id} keeps the only copy of {row.secured.title}, which had to make room for it; "
                f"'aerofs saves retry {row.id}' brings one of the two up"
            )


def given_up(row: Operation) -> Operation | None:
    """What is left to do of a row that is given up: nothing; or, if it may have arrived, to take that back.

    What it was to replace is never touched then. What certainly stands is left to stand.
    """
    if row.state is State.LOCAL or row.cancelled or row.added is not None or not row.maybe_sent:
        return None
    return replace(
        row, state=State.QUEUED, cancelled=True, superseded=False, retire=(), after=None, error="", errno=0
    )


def unit(row: Operation, rows: Mapping[int, Operation]) -> list[Operation]:
    """The rows that are decided upon together, oldest first: those of one file that wait for one another."""
    chain, first = [row], row
    while first.after is not None and first.after in rows:
        first = rows[first.after]
        chain.insert(0, first)
    followers = {each.after: each for each in rows.values() if each.after is not None}
    while (follower := followers.get(chain[-1].id)) is not None:
        chain.append(follower)
    return chain


def shown(row: Operation) -> dict[str, Any]:
    """A row as `aerofs status` shows it, in JSON's types. Times are seconds of time.time(), or None."""
    return {
        "id": row.id,
        "path": row.path,
        "state": str(row.state),
        "size": row.size,
        "sent": 0,
        "since": row.since or None,
        "mtime_ns": row.mtime_ns,
        "after": row.after,
        "tries": row.tries,
        "next_try": None,
        "error": row.error or None,
        "withdrawn": row.cancelled,
    }


class Unmounted:
    """The state directory of a mount that does not run, held while it is changed. Every method blocks."""

    def __init__(self, directory: Path) -> None:
        """Hold it.

        Raises:
            ConfigError: It cannot be used, or a mount holds it by now.
        """
        self._state = StateDirectory(directory)
        self._rows = {row.id: row for row in self._state.journal.load()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._state.close()

    def retry(self, number: int | None) -> list[Operation]:
        """Let a save (None: every one) be tried at the next mount. Returns those that will be."""
        if number is not None and self._row(number).state is State.LOCAL:
            raise not_tried(self._row(number))
        chosen = list(self._rows.values()) if number is None else unit(self._row(number), self._rows)
        retried = [row for row in chosen if row.state is not State.LOCAL]
        for row in retried:
            if row.state is State.HELD:
                self._record(replace(row, state=State.QUEUED, error="", errno=0))
        return retried

    def discard(self, number: int) -> list[Operation]:
        """Forget a save, its bytes and what waits for it. Returns what was forgotten, as it is now.

        A row that may have arrived stays as a withdrawal, which the next mount carries out.
        """
        row = self._row(number)
        chain = unit(row, self._rows)
        # (A rename that names no source is one of what this save brings up.)
        later = [each for each in chain[chain.index(row) + 1 :] if each.content or each.copy_of]
        if later:
            raise superseded(row, later[-1].id)
        check_discard(chain)
        return [self._give_up(each) for each in reversed(chain)][::-1]

    def _give_up(self, row: Operation) -> Operation:
        # The end of its process may have cut its last request off.
        left = given_up(replace(row, maybe_sent=row.unsure) if row.state is State.QUEUED else row)
        if left is not None:
            self._record(left)
            return left
        trio.run(self._state.journal.remove, row.id)
        for name in row.files:
            (self._state.drafts / name).unlink(missing_ok=True)
        return row

    def _row(self, number: int) -> Operation:
        if number not in self._rows:
            raise unknown(number)
        return self._rows[number]

    def _record(self, row: Operation) -> None:
        trio.run(self._state.journal.record, row)
