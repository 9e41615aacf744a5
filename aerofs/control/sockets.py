"""Where the control sockets of mounts are, and which of them somebody listens at."""

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from aerofs.errors import ConfigError

_MAX_SOCKET_PATH = 107
"""Source: unix(7), sun_path holds 108 bytes with its NUL."""


def socket_path(mountpoint: Path, *, uid: int | None = None) -> Path:
    """Where the mount at `mountpoint`, its true absolute path, of the user `uid` (None: ourselves) listens.

    Never looks at the mount point itself: the process that serves it would wait for its own answer.
    """
    name = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16] + ".sock"
    directories = list(_directories(os.geteuid() if uid is None else uid))
    existing = (directory / name for directory in directories if _is_socket(directory / name))
    return next(existing, directories[0] / name)


def _is_socket(path: Path) -> bool:
    """Whether one is seen there; another user's directory shows nothing."""
    with contextlib.suppress(OSError):
        return path.is_socket()
    return False


def running_mounts() -> list[Path]:
    """The sockets of the mounts that run: ours, for root everyone's. Sockets of ended mounts are removed."""
    sockets: list[Path] = []
    for uid in _users():
        for directory in _directories(uid):
            with contextlib.suppress(OSError):
                sockets += [path for path in sorted(directory.glob("*.sock")) if path not in sockets]
    running = []
    for path in sockets:
        if is_served(path):
            running.append(path)
        else:
            remove_stale(path)
    return running


def is_served(path: Path) -> bool:
    """Whether somebody listens. A full backlog counts as living."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(os.fspath(path))
        except BlockingIOError:
            return True
        except OSError as error:
            return isinstance(error, PermissionError)
    return True


def remove_stale(path: Path) -> None:
    """Remove a socket that refuses, in our own directory only: root follows nothing that a user laid."""
    with contextlib.suppress(OSError):
        if path.parent.lstat().st_uid == os.geteuid() and path.is_socket():
            path.unlink()


def _directories(uid: int) -> Iterator[Path]:
    """Where sockets of a user may be, best first. A login session and a cron job may see different ones."""
    if uid == os.geteuid():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR may be unset; platformdirs says so each time
            with contextlib.suppress(OSError):
                preferred = platformdirs.user_runtime_path("aerofs")
                if _fits(preferred):
                    yield preferred
    if Path(f"/run/user/{uid}").is_dir():
        yield Path(f"/run/user/{uid}/aerofs")
    if _fits(temporary := Path(tempfile.gettempdir(), f"runtime-{uid}", "aerofs")):
        yield temporary
    yield Path(f"/tmp/runtime-{uid}/aerofs")  # noqa: S108 -- own_directory looks who owns it


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) + len("/0123456789abcdef.sock") <= _MAX_SOCKET_PATH


def _users() -> list[int]:
    """Whose mounts we may see."""
    if os.geteuid() != 0:
        return [os.geteuid()]
    found = {0}
    for pattern in ("run/user/*", f"{tempfile.gettempdir().lstrip('/')}/runtime-*"):
        for path in Path("/").glob(pattern):
            owner = path.name.removeprefix("runtime-")
            if owner.isdecimal():
                found.add(int(owner))
    return sorted(found)


def own_directory(directory: Path) -> None:
    """Make the socket's directory, or see that nobody else may replace what is in it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for level in (directory, directory.parent):
        status = level.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {0, os.geteuid()}:
            raise ConfigError(f"{level} belongs to another user; the control socket cannot stand there")
        if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            raise ConfigError(f"{level} may be written by others; the control socket cannot stand there")
