"""What one saving program leaves behind, judged from every side.

A `Desk` is a document of its own with the programs' home beside the mount. A test lets a program save, then says with
`saved` what must be so: the platform's field holds exactly those files, once; the drive shows the same; nothing else
stays on this machine but what the test names; times stand still, also after everything that was cached is forgotten.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.mount.harness import Drive, Paper, names
from tests.programs.terminal import Terminal

_BOUND = 60.0


class _Look(NamedTuple):
    mtime_ns: int
    size: int
    inode: int


@dataclass
class Desk:
    """A fresh document, the programs that work on it, and the bill.

    Attributes:
        home: HOME and TMPDIR of the programs: outside the mount, outside /tmp.
        bill: Called with a row's title and the requests it cost.
    """

    paper: Paper
    home: Path
    bill: Callable[[str, Mapping[str, int]], None]
    looks: dict[str, _Look] = field(default_factory=dict)

    @property
    def drive(self) -> Drive:
        """The drive that the document is in."""
        return self.paper.drive

    @property
    def scan(self) -> Path:
        """The directory that the programs work in."""
        return self.paper.scan

    @property
    def requests(self) -> dict[str, int]:
        """What was asked of the platform since `ready`."""
        return self.drive.requests

    def ready(self, files: Mapping[str, bytes] | None = None) -> None:
        """Let the field hold these files, as somebody else put them there, and count from now on."""
        for name, data in (files or {}).items():
            self.paper.put(name, data)
        self.paper.warm()

    def run(self, script: str, *arguments: object) -> str:
        """Run a shell script in the field's directory, as a program of the user. Returns its output."""
        done = subprocess.run(
            ["bash", "-c", f'cd "$0" || exit 97\n{script}', str(self.scan), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=_BOUND,
            check=False,
            stdin=subprocess.DEVNULL,
            env=self.environ(),
        )
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def environ(self) -> dict[str, str]:
        """The programs' environment."""
        return {**os.environ, "HOME": str(self.home), "TMPDIR": str(self.home), "LC_ALL": "C.UTF-8"}

    def terminal(self) -> Terminal:
        """A terminal for one program."""
        return Terminal(self.home / "tmux", self.home)

    def shown(self) -> list[str]:
        """What the directory shows."""
        return names(self.scan)

    def saved(self, files: Mapping[str, bytes], *, local: Iterable[str] = ()) -> None:
        """Judge what is there once everything has arrived.

        Args:
            files: What the platform is to hold: each name with its bytes, and exactly once.
            local: What stays on this machine besides, and is shown in the directory.
        """
        at_once = {name: self._look(name) for name in files}
        self.drive.settled(90)
        assert sorted(self.paper.held()) == sorted(files.items())
        self._shown(files, local)
        assert {name: self._look(name) for name in files} == at_once
        left = {Path(save["path"]).name for save in self.drive.saves() if self._is_mine(save["path"])}
        assert left == set(local), left

    def stays(self, files: Mapping[str, bytes], *, local: Iterable[str] = ()) -> None:
        """The same is so when nothing is cached any more. Costs requests: after the bill."""
        before = {name: self._look(name) for name in files}
        self.drive.ask("refresh")
        self._shown(files, local)
        assert {name: self._look(name) for name in files} == before
        assert sorted(self.paper.held()) == sorted(files.items())

    def costs(self, title: str, **requests: int) -> None:
        """What it cost so far, exactly; a row of the table in PERFORMANCE.md."""
        found = dict(self.requests)
        assert found == requests, found
        self.bill(title, found)

    def _shown(self, files: Mapping[str, bytes], local: Iterable[str]) -> None:
        assert names(self.scan) == sorted([*files, *local])
        for name, data in files.items():
            assert (self.scan / name).read_bytes() == data

    def _is_mine(self, path: str) -> bool:
        return self.paper.name in Path(path).parts

    def _look(self, name: str) -> _Look:
        found = (self.scan / name).stat()
        return _Look(found.st_mtime_ns, found.st_size, found.st_ino)
