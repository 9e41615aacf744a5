"""The local disk of one mount: its directory, who holds it, and what lies in it.

`journal.sqlite` (operations and local facts), `drafts/` (bytes that the platform does not have yet), `blobs/` (bytes
that it has: a cache, wiped at mount). The directory is 0700 and belongs to one process at a time.
"""

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from aerofs.content.blobs import Blobs
from aerofs.content.journal import Journal
from aerofs.errors import ConfigError, LocalIOError


class Store:
    """An open state directory.

    Attributes:
        directory: Where it is.
        journal: Operations and local facts.
        blobs: Downloaded bytes.
        drafts: The directory of bytes to be brought up.
    """

    def __init__(self, directory: Path) -> None:
        """Open or make the directory.

        Raises:
            ConfigError: It cannot be used, or another process holds it.
        """
        self.directory = directory
        self.drafts = directory / "drafts"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"the state directory {directory} cannot be used: {error.strerror}") from error
        try:
            self._hold()
            directory.chmod(0o700)
            self.drafts.mkdir(mode=0o700, exist_ok=True)
            self.blobs = Blobs(directory / "blobs")
            self.journal = Journal(directory / "journal.sqlite")
        except (OSError, LocalIOError) as error:
            os.close(self._lock)
            raise ConfigError(f"the state directory {directory} cannot be used: {error}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def _hold(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 64, 0).decode(errors="replace").strip() or "another process"
            raise ConfigError(
                f"the state directory {self.directory} is held by process {holder}: this drive is already mounted"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is to be kept and let go of the directory."""
        with ExitStack() as ends:
            ends.callback(os.close, self._lock)
            ends.callback(self.blobs.close)
            ends.callback(self.journal.close)
