"""What a program is about to do to a drive, and what came of it: lines of JSON beside the drive, which no crash takes.

A line is written by one system call before the act and one after it, and the program itself is never killed: so the
diary tells of every act whether it was begun, and what the drive answered, if it did.
"""

import json
import os
from pathlib import Path
from typing import Any


class Diary:
    """One program's diary, to be written."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, **entry: Any) -> None:
        """Write a line."""
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")


class DiaryReader:
    """The same diary, to be read on and on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def news(self) -> list[dict[str, Any]]:
        """The lines since the last time."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            found = file.read()
        self._read += len(found)
        return [json.loads(line) for line in found.splitlines()]
