"""A terminal that a person sits at: a program in tmux, keys typed into it, its screen read.

tmux is a real terminal, so an editor does here all that it does for people (swap files, locks, backups), and what it
says on its screen is what a test waits for.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.mounted import eventually

_BOUND = 30.0


class Terminal:
    """One program in one terminal.

    Args:
        socket: Where tmux listens; anywhere but in the mount.
        home: Directory for HOME and TMPDIR, outside the mount: programs write no backups for temporary files.
    """

    def __init__(self, socket: Path, home: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        kept = {name: value for name, value in os.environ.items() if name not in ("TMUX", "VIMINIT")}
        self._environ = {**kept, "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"}

    @contextmanager
    def running(self, command: str, cwd: Path) -> Iterator["Terminal"]:
        """While the block runs, so does the command, unless it ends by itself."""
        # The shell changes directory, not tmux: `new-session -c` goes elsewhere, silently, where it cannot.
        script = f"cd {shlex.quote(str(cwd))} && exec {command}"
        self._call("new-session", "-d", "-x", "180", "-y", "40", script, environ=self._environ)
        try:
            yield self
        finally:
            self._call("kill-server", check=False)

    def type(self, text: str) -> None:
        """Type text; a newline is the Enter key."""
        for line in text.splitlines(keepends=True):
            self._call("send-keys", "-l", line.rstrip("\n")) if line.rstrip("\n") else None
            if line.endswith("\n"):
                self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: C-x, Escape, Enter."""
        self._call("send-keys", *keys)

    def shows(self, text: str) -> None:
        """Wait until the screen shows a text."""
        try:
            eventually(lambda: text in self.screen(), seconds=_BOUND, what=repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.screen()}") from None

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self._call("list-sessions", check=False))

    def ends(self) -> None:
        """Wait until the program has ended by itself."""
        eventually(lambda: not self.runs, seconds=_BOUND, what=f"the end of what shows\n{self.screen()}")

    def screen(self) -> str:
        """What is to be read on it; nothing after the program has ended."""
        return self._call("capture-pane", "-p", check=False)

    def _call(self, *words: str, check: bool = True, environ: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, timeout=_BOUND, check=False, env=environ
        )
        assert done.returncode == 0 or not check, f"tmux {words[0]}: {done.stderr}"
        return done.stdout
