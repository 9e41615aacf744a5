"""Where the log of a mount goes, how much of it, and what never gets into it.

Invariant: no token and no query of a URL (a signed one is a key to its file) reaches a log, also not in a
traceback or in the words of a library.
"""

import errno
import faulthandler
import logging
import os
import re
import signal
import sys
from hashlib import sha256
from logging.handlers import RotatingFileHandler
from pathlib import Path

import platformdirs

from aerofs.errors import ConfigError
from aerofs.settings import Settings, is_below

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_MAX_SIZE = 5 * 2**20
_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class RedactingFormatter(logging.Formatter):
    """Formats a record, then takes out the token and the query of every URL."""

    _QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]+")
    _BEARER = re.compile(r"(?i)(bearer\s+)[^\s'\"]+")

    def __init__(self, *, secret: str | None = None) -> None:
        super().__init__(_LINE)
        self._secret = secret

    def format(self, record: logging.LogRecord) -> str:
        """The redacted line, with its traceback if it has one."""
        text = self._BEARER.sub(r"\1…", self._QUERY.sub(r"\1?…", super().format(record)))
        return text.replace(self._secret, "…") if self._secret else text


def log_path(settings: Settings) -> Path:
    """Where a mount in the background logs: as told, else a file per mount point in the user's log path."""
    if settings.log_file is not None:
        return settings.log_file
    mark = sha256(str(settings.mountpoint).encode(errors="surrogateescape")).hexdigest()[:8]
    return platformdirs.user_log_path("aerofs") / f"{settings.mountpoint.name}-{mark}.log"


def in_a_file(settings: Settings, *, foreground: bool) -> bool:
    """Whether a mount logs to a file, and not to the terminal."""
    return not foreground or settings.log_file is not None


def configure(settings: Settings, *, foreground: bool) -> None:
    """Send the log to its file, or in the foreground without one to the terminal; SIGUSR1 dumps stacks.

    Raises:
        ConfigError: The log file cannot be written.
    """
    handler: logging.Handler
    if not in_a_file(settings, foreground=foreground):
        handler = logging.StreamHandler(sys.stderr)
        faulthandler.register(signal.SIGUSR1)
    else:
        path = log_path(settings)
        if is_below(path, settings.mountpoint):
            raise ConfigError(
                f"the log {path} lies below the mount point {settings.mountpoint}; set log_file"
            )
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handler = RotatingFileHandler(path, maxBytes=_MAX_SIZE, backupCount=2, encoding="utf-8")
            stacks = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)  # for life, whatever rotates
        except OSError as error:
            # (Of a directory that is to be made where something else stands, only that is told.)
            reason = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
            raise ConfigError(f"the log {path} cannot be written: {reason}") from None
        faulthandler.register(signal.SIGUSR1, file=stacks)
    token = settings.token.get_secret_value() if settings.token is not None else None
    handler.setFormatter(RedactingFormatter(secret=token))
    level = _LEVELS[min(settings.verbose, len(_LEVELS) - 1)]
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in ("httpx", "httpcore", "hpack", "asyncio"):  # httpx tells every URL at INFO
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
