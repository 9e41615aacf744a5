"""`aerofs umount`: waits until every save is on the platform, unmounts, waits until the process has ended."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from aerofs import control, mountpoint, settings
from aerofs.cli import status as statuses
from aerofs.errors import AerofsError, ConfigError, NotFoundError

_SILENCE = 60.0
"""Seconds without a line while draining after which the mount counts as stuck."""
_UNDER_WAY = {"queued", "uploading"}


def umount(
    *,
    place: Annotated[Path, typer.Argument(metavar="MOUNTPOINT", show_default=False)],
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long to wait; without it, as needed.")
    ] = None,
) -> None:
    """Wait until everything is uploaded, then unmount MOUNTPOINT.

    With --timeout it says what is left after that time, and leaves the mount as it is.
    """
    try:
        ends = time.monotonic() + settings.duration(timeout) if timeout is not None else None
    except ValueError as error:
        raise ConfigError(f"--timeout: {error}") from None
    unmount(place, ends=ends, console=statuses.plain_console(stderr=True))


def unmount(place: Path, *, ends: float | None, console: Console) -> None:
    """Drain, unmount, and wait for the end of the process.

    Args:
        place: The mount point.
        ends: When to give up, on the monotonic clock; None: when it is done.
        console: Where progress and what is left are shown.

    Raises:
        NotFoundError: Nothing of aerofs is mounted there.
        AerofsError: Saves are left (the mount stays), or programs use the mount.
    """
    mounted = mountpoint.mounted_at(place)
    if mounted is None or mounted.fstype != mountpoint.FSTYPE:
        raise NotFoundError(f"no aerofs is mounted at {place}")
    if mountpoint.is_dead(place):
        mountpoint.detach(place)
        console.print(Text(f"the aerofs at {place} had crashed; the mount point is free again"))
        return
    path = control.socket_path(mounted.mountpoint, uid=mounted.owner)
    process = _process(path, place)
    try:
        _drain(path, ends=ends, console=console)
        mountpoint.unmount(place)
        _wait_for(process, ends=ends, place=place)
    finally:
        os.close(process)


def _process(path: Path, place: Path) -> int:
    """The mount's process, held by a descriptor so that its number cannot come to mean another."""
    try:
        pid = int(control.call(path, "status")["pid"])
    except NotFoundError:
        raise AerofsError(
            f"the aerofs at {place} cannot be asked whether its saves are uploaded; "
            f"fusermount3 -u {place} unmounts without asking"
        ) from None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise AerofsError(f"the process {pid} of {place} has just ended") from None


def _drain(path: Path, *, ends: float | None, console: Console) -> None:
    last: dict[str, Any] = {}
    for last in _lines(path, ends=ends, console=console):  # noqa: B007 -- the last line tells what is left
        pass
    saves = [save for save in last.get("saves") or [] if isinstance(save, dict)]
    waiting = [save for save in saves if save.get("state") in _UNDER_WAY]
    if saves:
        console.print(statuses.table_of(saves))
    if waiting or (last.get("remaining") and not saves):
        count = len(waiting) or last.get("remaining")
        what = "1 save is" if count == 1 else f"{count} saves are"
        raise AerofsError(f"{what} not uploaded yet, and the mount stays as it is")
    if saves:
        console.print(Text("these stay on this disk, and are there again with the next mount"))


def _lines(path: Path, *, ends: float | None, console: Console) -> Iterator[dict[str, Any]]:
    """The lines of `drain` as they come, shown as progress meanwhile."""
    timeout = None if ends is None else max(0.0, ends - time.monotonic())
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("asking the mount", total=None)
        for line in control.stream(path, "drain", silence=_SILENCE, timeout=timeout):
            if isinstance(line, dict):
                left = f"uploading: {line.get('remaining')} saves left"
                size = f", {statuses.size(float(line['bytes']))}" if line.get("bytes") else ""
                progress.update(task, description=left + size)
                yield line


def _wait_for(process: int, *, ends: float | None, place: Path) -> None:
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    timeout = None if ends is None else max(0.0, ends - time.monotonic()) * 1000
    if not waiting.poll(timeout):
        raise AerofsError(
            f"{place} is unmounted; its process is still at work, and its journal keeps what is left"
        )
