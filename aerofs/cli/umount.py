"""`aerofs umount`: waits until every save is on the platform, unmounts, waits until the process has ended."""

import math
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from aerofs import control, mountpoint, settings
from aerofs.cli import showing
from aerofs.errors import AerofsError, ConfigError, NotFoundError

LEFT = 3
"""The exit code where it is unmounted, and saves that wait for the user's word stay on this disk."""
_SILENCE = 60.0
"""Seconds without a line while draining after which the mount counts as stuck."""
_ANSWER = 10.0
_GRACE = 2.0
"""Seconds that a mount has for an answer where no time was given, and where that time is over."""
_FIRST_LINE = 2.0
_NEXT_LINE = 10.0
"""Seconds between lines of progress where nobody watches a bar."""


def umount(
    *,
    place: Annotated[Path, typer.Argument(metavar="MOUNTPOINT", show_default=False)],
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long to wait; without it, as needed.")
    ] = None,
) -> None:
    """Wait until everything is uploaded, then unmount MOUNTPOINT.

    With --timeout it says what is left after that time, and leaves the mount as it is; so does Ctrl-C. The exit code
    is 3 where it is unmounted and saves stay on this disk that wait for your word (`aerofs saves`).
    """
    try:
        bound = math.inf if timeout is None else settings.duration(timeout)
    except ValueError as error:
        raise ConfigError(f"--timeout: {error}") from None
    if bound < 0:
        raise ConfigError(f"--timeout: {timeout!r} is less than no time")
    ends = None if bound == math.inf else time.monotonic() + bound
    if unmount(place, ends=ends, console=showing.plain_console(stderr=True)):
        raise typer.Exit(LEFT)


def unmount(place: Path, *, ends: float | None, console: Console) -> bool:
    """Drain, unmount, and wait for the end of the process.

    Args:
        place: The mount point.
        ends: When to give up, on the monotonic clock; None: when it is done.
        console: Where progress and what is left are shown.

    Returns:
        Whether something stays on this disk: saves that somebody has to decide about, or that the process,
        which did not end in time, may still be at work on.

    Raises:
        NotFoundError: Nothing of aerofs is mounted there.
        AerofsError: Saves are on their way still (the mount stays), or programs use the mount.
        KeyboardInterrupt: Somebody did not want to wait; the mount stays.
    """
    mounted = mountpoint.mounted_at(place)
    if mounted is None or mounted.fstype != mountpoint.FSTYPE:
        raise NotFoundError(f"no aerofs is mounted at {place}")
    if mountpoint.is_dead(place):
        mountpoint.detach(place)
        console.print(Text(f"the aerofs at {place} had crashed; the mount point is free again"))
        return False
    path = control.socket_path(mounted.mountpoint, uid=mounted.owner)
    process = _process(path, place, ends)
    try:
        left = _drain(path, ends=ends, console=console)
        mountpoint.unmount(place)
        return not _ended(process, ends=ends, place=place, console=console) or bool(left)
    finally:
        os.close(process)


def _process(path: Path, place: Path, ends: float | None) -> int:
    """The mount's process, held by a descriptor so that its number cannot come to mean another."""
    silence = _ANSWER if ends is None else min(_ANSWER, max(_GRACE, ends - time.monotonic()))
    try:
        pid = int(control.call(path, "status", silence=silence)["pid"])
    except NotFoundError:
        raise AerofsError(
            f"the aerofs at {place} cannot be asked whether its saves are uploaded; "
            f"fusermount3 -u {place} unmounts without asking"
        ) from None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise AerofsError(f"the process {pid} of {place} has just ended") from None


def _drain(path: Path, *, ends: float | None, console: Console) -> list[dict[str, Any]]:
    """Wait until nothing is on its way. Returns what stays, because it waits for the user."""
    last: dict[str, Any] = {}
    timeout = None if ends is None else max(0.0, ends - time.monotonic())
    try:
        with _progress(console) as show:
            for last in _lines(path, timeout):
                show(last)
    except KeyboardInterrupt:
        console.print(
            Text(f"{_count(last)} not uploaded yet; the mount stays as it is and goes on uploading")
        )
        raise
    saves = [save for save in last.get("saves") or [] if isinstance(save, dict)]
    if saves:
        console.print(showing.table_of(saves))
    if last.get("remaining"):
        raise AerofsError(f"{_count(last)} not uploaded yet, and the mount stays as it is")
    if saves:
        console.print(Text("these stay on this disk, and are there again with the next mount"))
    return saves


def _count(line: dict[str, Any]) -> str:
    count = int(line.get("remaining") or 0)
    return f"{showing.saves(count)} {'is' if count == 1 else 'are'}"


def _lines(path: Path, timeout: float | None) -> Iterator[dict[str, Any]]:
    silence = _SILENCE if timeout is None else min(_SILENCE, timeout + _GRACE)
    for line in control.stream(path, "drain", silence=silence, timeout=timeout):
        if isinstance(line, dict):
            yield line


class _Show:
    """Shows lines of progress as sentences, not too many: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + _FIRST_LINE

    def __call__(self, line: dict[str, Any]) -> None:
        if line.get("remaining") and time.monotonic() >= self._next:
            self._next = time.monotonic() + _NEXT_LINE
            self._console.print(Text(sentence(line)))


class _ShowBar:
    """Shows them as a bar of bytes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("asking the mount", total=None)

    def __call__(self, line: dict[str, Any]) -> None:
        total = line.get("total_bytes") or 0
        done = total - (line.get("bytes") or 0)
        self._progress.update(self._task, description=sentence(line), total=total or None, completed=done)


def sentence(line: dict[str, Any]) -> str:
    """How far a drain has come."""
    total = float(line.get("total_bytes") or 0)
    done = showing.size(total - float(line.get("bytes") or 0))
    said = (
        f"uploading: {showing.saves(int(line.get('remaining') or 0))} left, {done} of {showing.size(total)}"
    )
    return said if line.get("reachable", True) else f"{said}; the platform cannot be reached"


@contextmanager
def _progress(console: Console) -> Iterator[_Show | _ShowBar]:
    if not console.is_terminal:
        yield _Show(console)
        return
    columns = (BarColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        yield _ShowBar(progress)


def _ended(process: int, *, ends: float | None, place: Path, console: Console) -> bool:
    """Wait for the end of the process: it was drained, and has nothing to do but to close what it holds."""
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    timeout = None if ends is None else max(_GRACE, ends - time.monotonic()) * 1000
    if waiting.poll(timeout):
        return True
    console.print(
        Text(f"{place} is unmounted; its process is still at work, and its journal keeps what is left")
    )
    return False
