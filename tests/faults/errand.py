"""One act through a mount, told as JSON: `python -m tests.faults.errand MOUNTPOINT ACT PATH…`.

Run as a process of its own, so that a mount that hangs takes nobody along. Tells `error` (the name of the errno) and
`at` (the call that met it), `seconds`, and what the act found.
"""

import errno
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

CHUNK = 1 << 20


def made_up(size: int, seed: str) -> bytes:
    """Bytes that only this seed gives."""
    return Random(seed).randbytes(size)


def md5(data: bytes) -> str:
    """As the acts tell it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Acts:
    """What can be done below a mount point. `at` is the call under way."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.at = ""

    def read(self, path: str) -> dict[str, Any]:
        """All bytes of a file."""
        digest, size = hashlib.md5(usedforsecurity=False), 0
        self.at = "open"
        descriptor = os.open(self._place / path, os.O_RDONLY)
        self.at = "read"
        while chunk := os.read(descriptor, CHUNK):
            digest.update(chunk)
            size += len(chunk)
        self.at = "close"
        os.close(descriptor)
        return {"md5": digest.hexdigest(), "size": size}

    def write(self, path: str, size: str, seed: str) -> dict[str, Any]:
        """Make or overwrite a file."""
        data = memoryview(made_up(int(size), seed))
        self.at = "open"
        descriptor = os.open(self._place / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self.at = "write"
        while data:
            data = data[os.write(descriptor, data[:CHUNK]) :]
        self.at = "close"
        os.close(descriptor)
        return {}

    def rename(self, old: str, new: str) -> dict[str, Any]:
        """As mv does."""
        self.at = "rename"
        (self._place / old).rename(self._place / new)
        return {}

    def remove(self, path: str) -> dict[str, Any]:
        """As rm does."""
        self.at = "unlink"
        (self._place / path).unlink()
        return {}

    def list(self, path: str) -> dict[str, Any]:
        """As ls -l does."""
        self.at = "scandir"
        with os.scandir(self._place / path) as entries:
            return {"names": {entry.name: entry.stat().st_size for entry in entries}}

    def tree(self) -> dict[str, Any]:
        """Every file below the mount point, with the MD5 of its bytes."""
        files = {}
        self.at = "walk"
        for folder, _, names in os.walk(self._place, onerror=_raise):
            for name in names:
                path = Path(folder, name)
                self.at = f"read {path}"
                files[str(path.relative_to(self._place))] = md5(path.read_bytes())
        return {"files": files}


def _raise(error: OSError) -> None:
    raise error


def main() -> None:
    """Perform and tell."""
    place, act, *words = sys.argv[1:]
    acts = Acts(Path(place))
    started = time.monotonic()
    told: dict[str, Any] = {}
    try:
        told = getattr(acts, act)(*words)
    except OSError as error:
        told = {"error": errno.errorcode[error.errno or 0], "at": acts.at}
    told["seconds"] = time.monotonic() - started
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
