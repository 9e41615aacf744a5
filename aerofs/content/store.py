"""The local disk of one mount: its directory, who holds it, and what lies in it.

`mount.json` (whose it is), `journal.sqlite` (operations and local facts), `drafts/` (bytes that the platform does not
have yet), `blobs/` (bytes that it has: a cache, wiped at mount). The directory is 0700 and belongs to one process at a
time.
"""

import errno
import fcntl
import json
import os
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from aerofs.content import labels
from aerofs.content.blobs import Blobs
from aerofs.content.disk import local_error, sync_directory
from aerofs.content.salvage import sound_journal
from aerofs.errors import AerofsError, ConfigError, HeldError, LocalIOError, NoSpaceError

LOCK = "lock"
JOURNAL = "journal.sqlite"
DRAFTS = "drafts"
OWNER = "mount.json"

_HOLD_PAUSE = 0.02
_INSTANT = 0.1
"""Seconds for which a directory may be held by whoever only looks whether it is (`inspection.py`)."""
_VISIT = 20.0
"""The same for a visitor, who takes its rows over (`siblings.py`) or decides about one."""
_VISITING = "visiting"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose state a directory keeps.

    Attributes:
        identity: Where the token comes from and which user asks, never the token itself: tokens are renewed.
    """

    url: str
    environment: str
    mountpoint: str
    identity: str


_OWNER_JSON = TypeAdapter(Owner)


class StateDirectory:
    """A state directory that this process holds: without a mount, for a short visit.

    Attributes:
        directory: Where it is.
        journal: Operations and local facts.
        drafts: The directory of bytes to be brought up.
    """

    _visiting = True

    def __init__(self, directory: Path, owner: Owner | None = None) -> None:
        """Open or make the directory.

        Args:
            directory: Where it is.
            owner: Whose it is from now on; None leaves that as it is.

        Raises:
            NoSpaceError: The disk is full.
            HeldError: Another process holds it.
            ConfigError: It cannot be used.
        """
        self.directory = directory
        self.drafts = directory / DRAFTS
        with ExitStack() as opened:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                opened.callback(os.close, self._lock)
                self._hold()
                directory.chmod(0o700)
                self.drafts.mkdir(mode=0o700, exist_ok=True)
                if owner is not None:
                    _write_owner(directory, owner)
                self.journal = opened.enter_context(sound_journal(directory / JOURNAL, self.drafts))
                self._open(opened)
            except (OSError, LocalIOError) as error:
                raise _unusable(directory, error) from error
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        """What else there is to open, and to close at the end."""

    def _hold(self) -> None:
        begun = time.monotonic()
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # A mount does not fail for a visitor; a visitor goes away.
                patience = _VISIT if not self._visiting and is_visited(self._lock) else _INSTANT
                if time.monotonic() - begun > patience:
                    raise HeldError(
                        f"the state directory {self.directory} is held by process "
                        f"{holder(self._lock) or '(unknown)'}: this drive is already mounted"
                    ) from None
                time.sleep(_HOLD_PAUSE)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()} {_VISITING if self._visiting else ''}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is to be kept and let go of the directory."""
        self._opened.close()


class Store(StateDirectory):
    """The state directory of a running mount.

    Attributes:
        blobs: Downloaded bytes; none are left from before.
    """

    blobs: Blobs
    _visiting = False

    def _open(self, opened: ExitStack) -> None:
        labels.check(self.drafts)
        self.blobs = Blobs(self.directory / "blobs")
        opened.callback(self.blobs.close)


def _unusable(directory: Path, error: OSError | LocalIOError) -> AerofsError:
    """Why a directory cannot be opened, as an error of ours."""
    reason = str(error)
    if isinstance(error, FileExistsError):
        # Something else stands where a directory is to be made.
        reason = os.strerror(errno.ENOTDIR)
    elif isinstance(error, OSError):
        known = local_error(error, f"the state directory {directory}")
        if isinstance(known, NoSpaceError):
            return known
        reason = str(error.strerror)
    return ConfigError(f"the state directory {directory} cannot be used: {reason}")


def is_state_directory(directory: Path) -> bool:
    """Whether a mount has, or had, its state there.

    Raises:
        OSError: That cannot be told.
    """
    try:
        (directory / LOCK).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def owner_of(directory: Path) -> Owner | None:
    """Whose state a directory keeps; None where nothing readable tells it."""
    try:
        return _OWNER_JSON.validate_json((directory / OWNER).read_bytes())
    except (OSError, ValidationError):
        return None


def holder(lock: int) -> int | None:
    """The process that wrote its number into an open lock file."""
    written = os.pread(lock, 64, 0).split()
    return int(written[0]) if written and written[0].isdigit() else None


def is_visited(lock: int) -> bool:
    """Whether whoever wrote into an open lock file only visits."""
    return _VISITING.encode() in os.pread(lock, 64, 0)


def _write_owner(directory: Path, owner: Owner) -> None:
    """At once and as a whole, also over a loss of power."""
    if owner_of(directory) == owner:
        return
    path, fresh = directory / OWNER, directory / f"{OWNER}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(owner), file, ensure_ascii=False, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_directory(directory)
