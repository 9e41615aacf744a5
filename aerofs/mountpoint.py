"""The directory that a mount covers: is it fit, what stands there now, how a dead mount is taken away.

Knows the kernel's table of mounts and the tools around FUSE; knows nothing of what is inside a mount.

Invariant: a mount that is not of aerofs is never touched, and a living one is taken away only by `unmount`.
"""

import contextlib
import ctypes
import errno
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from aerofs.errors import AerofsError, ConfigError

FSTYPE = "fuse.aerofs"
_MNT_DETACH = 2
"""Source: umount(2)."""
_DEAD = {errno.ENOTCONN, errno.ECONNABORTED}
_TOOL_BOUND = 30.0
_ANSWER_BOUND = 2.0
_LOOK = "import os, sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as error: sys.exit(error.errno)"


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the kernel's table. `owner` is the user who mounted, None where the table does not say."""

    mountpoint: Path
    fstype: str
    source: str
    owner: int | None = None


def mounts(table: Path = Path("/proc/self/mountinfo")) -> list[Mounted]:
    """What is mounted, in the kernel's order: of two at one place the later one covers the earlier.

    Source: proc(5), /proc/pid/mountinfo.
    """
    found = []
    for line in table.read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        fields, (fstype, source, options) = before.split(b" "), after.split(b" ", 2)
        owner = re.search(rb"(?:^|,)user_id=(\d+)", options)
        found.append(
            Mounted(
                mountpoint=Path(_unescape(fields[4])),
                fstype=_unescape(fstype),
                source=_unescape(source),
                owner=int(owner[1]) if owner else None,
            )
        )
    return found


def true_place(mountpoint: Path) -> Path:
    """The path as the kernel's table has it. A mount that stands there is not asked: it may be dead or stuck."""
    parent, name = os.path.split(os.path.normpath(Path.cwd() / mountpoint))
    place = Path(os.path.realpath(parent), name)
    if any(mount.mountpoint == place for mount in mounts()):
        return place
    return Path(os.path.realpath(mountpoint))


def mounted_at(mountpoint: Path) -> Mounted | None:
    """The topmost mount at exactly this place."""
    place = true_place(mountpoint)
    return next((mount for mount in reversed(mounts()) if mount.mountpoint == place), None)


def is_dead(mountpoint: Path) -> bool:
    """Whether the process behind the mount is gone, so that the kernel answers every call with ENOTCONN.

    A mount that does not answer at all is not dead but stuck. Who waits for such a mount may be beyond every signal,
    so a child asks, and stays behind if it has to.
    """
    words = [sys.executable, "-I", "-S", "-c", _LOOK, os.path.abspath(mountpoint)]  # noqa: PTH100 -- asks nobody
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    child = os.posix_spawn(sys.executable, words, os.environ, file_actions=nothing)
    process = os.pidfd_open(child)
    try:
        answered = bool(select.select([process], [], [], _ANSWER_BOUND)[0])
    finally:
        os.close(process)
    if not answered:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0 if answered else os.WNOHANG)
    return answered and os.waitstatus_to_exitcode(status) in _DEAD


def prepare(mountpoint: Path, *, allow_other: bool = False) -> bool:
    """See that aerofs can mount here.

    Returns:
        Whether a crashed aerofs left its mount there. It stays until `clear`: it refuses every write, which would
        land in the directory below else.

    Raises:
        ConfigError: What is in the way, in one sentence.
    """
    check_fuse(allow_other=allow_other)
    mount = mounted_at(mountpoint)
    if mount is not None and is_dead(mountpoint):
        _must_be_ours(mount)
        return True
    if mount is not None and mount.fstype == FSTYPE:
        raise ConfigError(f"{mountpoint} is mounted already ({mount.source})")
    # (Looking into an automount would wait for the very mount we make.)
    if mount is None or mount.fstype != "autofs":
        _check_directory(mountpoint)
    return False


def clear(mountpoint: Path) -> None:
    """Take away what a crashed aerofs left: the very last thing before a new mount stands there.

    Raises:
        ConfigError: What is in the way, in one sentence.
    """
    cleared = False
    while (mount := mounted_at(mountpoint)) is not None and is_dead(mountpoint):
        _must_be_ours(mount)
        detach(mountpoint)
        cleared = True
    if cleared and mount is None:
        _check_directory(mountpoint)


def _must_be_ours(mount: Mounted) -> None:
    if mount.fstype != FSTYPE:
        raise ConfigError(
            f"{mount.mountpoint} holds a dead mount of another kind ({mount.fstype} of {mount.source}); "
            f"unmount it first: fusermount3 -u -z {mount.mountpoint}"
        )


def check_fuse(*, allow_other: bool = False, device: Path = Path("/dev/fuse")) -> None:
    """See that this machine lets this user mount by FUSE.

    Raises:
        ConfigError: What to install or to allow.
    """
    if not device.exists():
        raise ConfigError(
            f"{device} is missing: load the FUSE module (modprobe fuse); a container needs --device {device}"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise ConfigError(
            f"{device} may not be opened by this user; it is usually open to all (chmod 666 {device})"
        )
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise ConfigError("fusermount3 is missing: install the package fuse3 (apt-get install fuse3)")
    if allow_other and not _others_allowed(Path("/etc/fuse.conf")):
        raise ConfigError("allow_other needs a line user_allow_other in /etc/fuse.conf, which root can add")


def detach(mountpoint: Path) -> None:
    """Take a dead mount away.

    Raises:
        ConfigError: It cannot be taken away by this user.
    """
    try:
        _take_away(mountpoint, lazy=True)
    except AerofsError as error:
        raise ConfigError(
            f"{mountpoint} holds a crashed mount of aerofs that cannot be removed: {error}"
        ) from None


def unmount(mountpoint: Path) -> None:
    """Unmount a living mount; its process may still be at work when this returns.

    Raises:
        AerofsError: Programs still use it, or it is not ours.
    """
    _take_away(mountpoint, lazy=False)


def _take_away(mountpoint: Path, *, lazy: bool) -> None:
    place = str(true_place(mountpoint))
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(place), _MNT_DETACH if lazy else 0) != 0:
            code = ctypes.get_errno()
            if code == errno.EBUSY:
                raise AerofsError(_busy(mountpoint))
            raise AerofsError(f"cannot unmount {mountpoint}: {os.strerror(code)}")
        return
    tool = shutil.which("fusermount3")
    if tool is None:
        raise ConfigError("fusermount3 is missing: install the package fuse3 (apt-get install fuse3)")
    command = [tool, "-u", *(["-z"] if lazy else []), "--", place]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_BOUND, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise AerofsError(f"fusermount3 did not unmount {mountpoint} within {_TOOL_BOUND:g} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().removeprefix("fusermount3: ")
        raise AerofsError(
            _busy(mountpoint) if "busy" in said.lower() else f"cannot unmount {mountpoint}: {said}"
        )


def _busy(mountpoint: Path) -> str:
    return f"{mountpoint} is in use: a program works in it or has a file open (fuser -vm {mountpoint} tells)"


def _check_directory(mountpoint: Path) -> None:
    try:
        status = mountpoint.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"the mount point {mountpoint} is not a directory")
        with os.scandir(mountpoint) as entries:
            empty = next(entries, None) is None
    except FileNotFoundError:
        raise ConfigError(f"the mount point {mountpoint} does not exist (mkdir {mountpoint})") from None
    except OSError as error:
        raise ConfigError(f"the mount point {mountpoint} cannot be used: {error.strerror}") from None
    if not empty:
        raise ConfigError(f"the mount point {mountpoint} is not empty; its files would be hidden")
    if not os.access(mountpoint, os.W_OK):
        raise ConfigError(
            f"the mount point {mountpoint} is not writable for this user, as fusermount3 demands"
        )


def _others_allowed(configuration: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(line.strip() == "user_allow_other" for line in configuration.read_text().splitlines())
    return False


def _unescape(field: bytes) -> str:
    """Space, tab, newline and backslash stand as octal in the table."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))
