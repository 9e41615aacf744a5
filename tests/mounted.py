"""What every rig of real mounts needs: the kernel's connection of one, and a bounded wait."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


def connection(place: Path) -> Path | None:
    """The kernel's connection of the mount at this place; None where none is.

    Source: proc(5), /proc/pid/mountinfo; the kernel's Documentation/filesystems/fuse.rst. The mount is not asked: it
    may be stuck. Nor is the program under test.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(place):
            return Path("/sys/fs/fuse/connections", fields[2].partition(":")[2])
    return None


def abort(broken: Path | None) -> None:
    """Break a connection: every system call in the mount returns."""
    if broken is not None:
        with contextlib.suppress(OSError):
            (broken / "abort").write_text("1")


def eventually(
    condition: Callable[[], object], *, seconds: float = 20.0, what: str = "what the test waits for"
) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: It does not come.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.02)
