"""What a dead mount left behind is brought over by the next one of the same person at the same platform.

Each mount point has a state directory of its own. A sibling is another one below the same root, of the same URL,
environment and identity, that nobody holds. Its rows and their files move in steps, each safe to be the last one:

1. the files get a second name here, another one than there, so that their labels mean only those there;
2. the rows stand here, in one durable transaction, each with its origin;
3. they go there, in one durable transaction;
4. here they lose their origins, there the files their names.

A row with an origin that still stands at its origin was caught between 2 and 3. Whoever of the two is mounted first
settles that: with the other's lock it goes where the work goes on, without it the one that runs already has the row.

A sibling that cannot be read, or does not let go of its rows, keeps what it has, and hinders nobody.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from aerofs.content import labels
from aerofs.content.disk import clone, local_error, sync_directory
from aerofs.content.inspection import Inspection, inspect
from aerofs.content.operations import Operation
from aerofs.content.store import OWNER, Owner, StateDirectory, is_state_directory, owner_of
from aerofs.errors import AerofsError, HeldError, LocalIOError

log = logging.getLogger(__name__)

_UNREADABLE = (AerofsError, OSError, sqlite3.Error)


def adopt(
    state: StateDirectory,
    owner: Owner,
    root: Path,
    *,
    stays: Callable[[Operation], bool],
    tell: Callable[[str], object],
) -> int:
    """Bring over what the siblings below `root` left. Returns how many rows came. Blocks; meant for the start.

    Args:
        state: Our own directory.
        owner: Whose it is.
        root: Where the siblings are.
        stays: Tells the rows that belong to their own mount (names that never leave it).
        tell: Called with a sentence for each sibling of which something may stay where it is.
    """
    came = 0
    if state.journal.origins():
        _carry_on(state, root)
    for directory in sorted(root.iterdir()):
        if directory == state.directory:
            continue
        try:
            if _akin(directory, owner):
                with StateDirectory(directory) as sibling:
                    came += _bring_over(state, sibling, root, stays=stays)
        except HeldError as error:
            log.debug("%s", error)  # it runs
        except _UNREADABLE as error:
            left = inspect(directory)
            if left.rows or left.troubles:
                tell(_not_taken(left, error))
    return came


def _not_taken(left: Inspection, error: Exception) -> str:
    place = left.owner.mountpoint if left.owner else "another mount"
    reason = error.strerror if isinstance(error, OSError) else error
    return (
        f"what waits for {place} is not taken over ('aerofs status' shows what can be seen of it): "
        f"{left.directory}: {reason}"
    )


def _akin(directory: Path, owner: Owner) -> bool:
    """Whether a directory is that of a sibling.

    Raises:
        OSError, LocalIOError: That cannot be told.
    """
    if not is_state_directory(directory):
        return False
    other = owner_of(directory)
    if other is None and (directory / OWNER).exists():
        raise LocalIOError(f"{OWNER} cannot be read, which tells whose it is")
    return other is not None and replace(other, mountpoint="") == replace(owner, mountpoint="")


def _carry_on(state: StateDirectory, root: Path) -> None:
    """Rows that we were bringing over when we ended the last time."""
    rows = {row.id: row for row in state.journal.load()}
    for name, numbers in _by_directory(state.journal.origins()).items():
        directory = root / name
        ours = [rows[here] for here in numbers.values()]
        try:
            if is_state_directory(directory):  # else it is gone, with all that was in it
                with StateDirectory(directory) as sibling:
                    # Nobody else has touched them since: it would have taken them back (`_taken_back`).
                    sibling.journal.give_away(numbers)
                    _label(state, ours)
                    _leave(sibling, [_named(row, _given) for row in ours])
        except HeldError:
            _dissolve(state, _standing_there(directory, numbers, rows))
        except _UNREADABLE as error:
            log.debug("%s: rows that came from there may stand there, too: %s", directory, error)
            continue
        state.journal.arrived(numbers.values())


def _standing_there(
    directory: Path, numbers: Mapping[int, int], rows: Mapping[int, Operation]
) -> list[Operation]:
    """Which of the rows that came from a directory are still seen in it."""
    seen = {row.id for row in inspect(directory).rows}
    return [rows[here] for there, here in numbers.items() if there in seen]


def _by_directory(origins: dict[int, str]) -> dict[str, dict[int, int]]:
    """For each directory: the numbers that rows have there and here."""
    found: dict[str, dict[int, int]] = {}
    for here, origin in origins.items():
        name, _, there = origin.rpartition("/")
        found.setdefault(name, {})[int(there)] = here
    return found


def _bring_over(
    state: StateDirectory, sibling: StateDirectory, root: Path, *, stays: Callable[[Operation], bool]
) -> int:
    rows = _taken_back(state, sibling, root)
    moving = [row for row in rows if not stays(row)]
    if not moving:
        return 0
    # (Should this end here, the files go at the recovery of this mount, which keeps none that no row names.)
    _link(moving, sibling.drafts, state.drafts)
    arriving = _renumbered(state, moving)
    name = sibling.directory.name
    state.journal.bring({f"{name}/{old.id}": new for old, new in zip(moving, arriving, strict=True)})
    _let_go(state, sibling, moving, arriving)
    _label(state, arriving)
    state.journal.arrived(row.id for row in arriving)
    _leave(sibling, moving)
    owner = owner_of(sibling.directory)
    log.info("%d saves that waited for %s are taken over", len(moving), owner and owner.mountpoint)
    return len(moving)


def _let_go(
    state: StateDirectory, sibling: StateDirectory, moving: list[Operation], arriving: list[Operation]
) -> None:
    """The rows go there. Those of which that is refused go from here again: two drives would bring them up."""
    try:
        sibling.journal.give_away(row.id for row in moving)
    except AerofsError:
        numbers = {old.id: new.id for old, new in zip(moving, arriving, strict=True)}
        _dissolve(state, _standing_there(sibling.directory, numbers, {row.id: row for row in arriving}))
        raise


def _taken_back(state: StateDirectory, sibling: StateDirectory, root: Path) -> list[Operation]:
    """The rows of a sibling without those that it was bringing over and that still stand where they came from."""
    rows = {row.id: row for row in sibling.journal.load()}
    for name, numbers in _by_directory(sibling.journal.origins()).items():
        home = root / name
        if home == state.directory:
            standing = {row.id for row in state.journal.load()}
            _dissolve(sibling, [rows[here] for there, here in numbers.items() if there in standing])
        else:
            standing = {row.id for row in inspect(home).rows}  # a third one's: between the two of them
        for there, here in numbers.items():
            if there in standing:
                rows.pop(here)
    return list(rows.values())


def _dissolve(state: StateDirectory, rows: list[Operation]) -> None:
    """Rows that stand elsewhere, and are performed there, go from here with their files."""
    state.journal.give_away(row.id for row in rows)
    _leave(state, rows)


def _label(state: StateDirectory, rows: Iterable[Operation]) -> None:
    for row in rows:
        if row.content is not None:
            labels.write(state.drafts / row.content, row)


def _leave(state: StateDirectory, rows: Iterable[Operation]) -> None:
    """Files that no row names any more. One that cannot be removed goes at the next mount there."""
    for row in rows:
        for name in row.files:
            with contextlib.suppress(OSError):
                (state.drafts / name).unlink(missing_ok=True)


def _link(rows: Iterable[Operation], source: Path, target: Path) -> None:
    for name in (name for row in rows for name in row.files):
        file, here = source / name, target / _taken(name)
        if not file.exists() or here.exists():
            continue  # its bytes are gone: the row tells so, wherever it is
        try:
            os.link(file, here)
        except OSError:
            _copy(file, here)
    sync_directory(target)


def _taken(name: str) -> str:
    path = Path(name)
    return f"{path.stem}.taken{path.suffix}"


def _given(name: str) -> str:
    return name.replace(".taken", "", 1)


def _named(row: Operation, change: Callable[[str], str]) -> Operation:
    """The row with other names for its files."""
    content = None if row.content is None else change(row.content)
    secured = None if row.secured is None else replace(row.secured, content=change(row.secured.content))
    return replace(row, content=content, secured=secured)


def _copy(source: Path, target: Path) -> None:
    fresh = target.with_suffix(".copying")
    try:
        fresh.unlink(missing_ok=True)
        clone(source, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.rename(target)
    except OSError as error:
        raise local_error(error, f"bringing over {source.name}") from error


def _renumbered(state: StateDirectory, rows: list[Operation]) -> list[Operation]:
    """The rows with numbers of ours. Their inode numbers were those of another mount."""
    fresh = {row.id: state.journal.numbered(_named(replace(row, id=0, inode=0), _taken)) for row in rows}
    return [replace(fresh[row.id], after=fresh[row.after].id if row.after in fresh else None) for row in rows]
