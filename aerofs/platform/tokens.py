"""Where the bearer token comes from: a value, a file, or a command that prints one.

The source is asked once at the beginning and again after a 401. One renewal runs at a time, and whoever
waited for it takes its result. A token never stands in a repr, a log record, an error or an argument list
of ours.
"""

import logging
import shlex
import subprocess
from pathlib import Path
from typing import Protocol

import trio
from pydantic import SecretStr

from aerofs.errors import AerofsError, ConfigError, UnavailableError
from aerofs.settings import Settings

log = logging.getLogger(__name__)

_COMMAND_DEADLINE = 30.0
_COMPLAINT = 300


class Source(Protocol):
    """Something that can be asked for a token."""

    async def read(self) -> str:
        """Return what it says now, unchecked.

        Raises:
            AerofsError: It says nothing.
        """


class FixedToken:
    """A token that was given as such; asking again brings nothing new."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def read(self) -> str:
        """Return the token."""
        return self._token.get_secret_value()


class TokenFile:
    """A file that holds a token and may be rewritten at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> str:
        """Return what the file holds now."""
        try:
            return await trio.Path(self._path).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError(f"the token file {self._path} cannot be read: {reason}") from None


class TokenCommand:
    """A command line for the shell that prints a token. What it prints besides is shown only if it fails."""

    def __init__(self, command: str, *, deadline: float = _COMMAND_DEADLINE) -> None:
        self._command = command
        self._deadline = deadline

    async def read(self) -> str:
        """Run the command and return what it printed."""
        with trio.move_on_after(self._deadline):
            # the user's own configuration, run as the user wrote it
            done = await trio.run_process(
                ["/bin/sh", "-c", self._command],
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            if done.returncode == 0:
                return bytes(done.stdout).decode(errors="replace")
            complaint = " ".join(bytes(done.stderr).decode(errors="replace").split())[-_COMPLAINT:]
            raise ConfigError(
                f"{self} failed with status {done.returncode}: {complaint or 'it said nothing'}"
            )
        raise ConfigError(f"{self} printed no token within {self._deadline:g} s")

    def __str__(self) -> str:
        """Name the program only: its arguments may be secrets."""
        try:
            program = shlex.split(self._command)[0]
        except (ValueError, IndexError):
            program = "sh"
        return f"the token command ({program})"


class Tokens:
    """The token in use. Tasks: any; the lock makes renewals follow one another."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = trio.Lock()
        self._token: str | None = None
        self._renewals = 0

    def __repr__(self) -> str:
        return f"<Tokens from {type(self._source).__name__}, {self._renewals} renewals>"

    @classmethod
    def of(cls, settings: Settings) -> "Tokens":
        """Return the source that the settings name; a command wins over a file, a file over a value.

        Raises:
            ConfigError: They name none.
        """
        if settings.token_command:
            return cls(TokenCommand(settings.token_command))
        if settings.token_file is not None:
            return cls(TokenFile(settings.token_file))
        if settings.token is not None:
            return cls(FixedToken(settings.token))
        raise ConfigError("no token: give AEROFS_TOKEN, a token file or a token command")

    @property
    def renewals(self) -> int:
        """How often the source was asked again."""
        return self._renewals

    async def current(self) -> str:
        """Return the token, asking the source the first time.

        Raises:
            ConfigError: The source has none.
        """
        if self._token is None:
            async with self._lock:
                if self._token is None:
                    self._token = _checked(await self._source.read())
        return self._token

    async def renewed(self, *, refused: str) -> str | None:
        """Return another token than the refused one; None if the source has none.

        Raises:
            UnavailableError: The source failed this time; nothing was sent.
        """
        async with self._lock:
            if self._token not in {None, refused}:
                return self._token
            self._renewals += 1
            try:
                self._token = _checked(await self._source.read())
            except AerofsError as error:
                raise UnavailableError(f"the token was refused, and {error}", unsent=True) from None
            log.info("the token was refused, its source was asked again")
            return self._token if self._token != refused else None


def _checked(told: str) -> str:
    token = told.strip()
    if not token:
        raise ConfigError("the token is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token has characters that a header cannot carry")
    return token
