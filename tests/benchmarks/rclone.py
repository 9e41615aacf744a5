"""rclone, to compare with: its own WebDAV server, which is as quick as one can be, and its mount of that."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.rig import BOUND, free_ports
from tests.mounted import connection, eventually


class WebDav:
    """`rclone serve webdav` over a directory."""

    def __init__(self, rclone: Path, home: Path) -> None:
        self._rclone = rclone
        self.root, self.port = home / "dav", free_ports(self)[0]
        self.root.mkdir(parents=True)
        self._config = home / "rclone.conf"
        self._config.touch()
        self.environ = {**os.environ, "RCLONE_CONFIG": str(self._config)}

    @property
    def version(self) -> str:
        """As it says itself."""
        said = subprocess.run([self._rclone, "version"], capture_output=True, text=True, check=True).stdout
        return said.partition("\n")[0]

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Serve while the block runs."""
        command = [str(self._rclone), "serve", "webdav", str(self.root), "--addr", f"127.0.0.1:{self.port}"]
        process = subprocess.Popen(command, env=self.environ, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: _answers(self.port), seconds=BOUND)
            yield
        finally:
            process.terminate()
            process.wait(BOUND)

    @contextlib.contextmanager
    def mounted(self, url: str, folder: str, place: Path, options: Sequence[str]) -> Iterator[int]:
        """Mount a folder of it by that URL while the block runs; yields the process's number."""
        (self.root / folder).mkdir()
        place.mkdir(parents=True)
        remote = f":webdav,url='{url}',vendor=rclone:{folder}"
        command = [str(self._rclone), "mount", remote, str(place), "--webdav-pacer-min-sleep", "0"]
        cache = ["--cache-dir", str(place.parent / "cache")]
        log = (place.parent / "log").open("w")
        process = subprocess.Popen([*command, *cache, *options], env=self.environ, stderr=log)
        try:
            eventually(lambda: connection(place), seconds=BOUND)
            yield process.pid
        finally:
            process.terminate()  # unmounts
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(BOUND)
            process.kill()
            process.wait()
            log.close()
            subprocess.run(["umount", "-l", place], stderr=subprocess.DEVNULL, check=False)

    def stored(self, folder: str) -> int:
        """How many files a folder holds, those under way left out."""
        return sum(entry.stat().st_size > 0 for entry in os.scandir(self.root / folder))


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
