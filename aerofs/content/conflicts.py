"""Conflicts that happened: where ours had to stand beside somebody else's newer version, which a person is to look at.

What ours is called then, and a bounded list, in a small file of the state directory: it outlives the mount, and can be
read without one.
"""

import json
import logging
import re
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

log = logging.getLogger(__name__)

FILE = "conflicts.json"
_KEPT = 100
_MOST_BYTES = 255
_EXTENSION = re.compile(r"(?<=.)(?:\.tar)?\.[^.\s()]{1,15}\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Conflict:
    """One conflict.

    Attributes:
        path: The file, in the mount: theirs now.
        ours: The name under which ours stands beside it.
        at: When, in seconds of time.time().
    """

    path: str
    ours: str
    at: float

    def to_json(self) -> dict[str, Any]:
        """As `aerofs status` shows it: theirs and ours by their names."""
        return {**asdict(self), "theirs": self.path.rpartition("/")[2]}


_CONFLICTS = TypeAdapter(list[Conflict])


class Conflicts:
    """The last conflicts of a mount, oldest first."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._kept = deque(recorded(directory), maxlen=_KEPT)

    def __iter__(self) -> Iterator[Conflict]:
        return iter(self._kept)

    def note(self, conflict: Conflict) -> None:
        """Keep one more. That it cannot be written hinders nobody: both versions stand on the platform."""
        self._kept.append(conflict)
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps([asdict(each) for each in self._kept]), encoding="utf-8")
            fresh.replace(self._file)
        except (OSError, UnicodeEncodeError) as error:
            log.info("%s: the conflict could not be kept for the next mount: %s", conflict.path, error)


def recorded(directory: Path) -> list[Conflict]:
    """What a state directory has recorded; nothing where that cannot be read."""
    try:
        return _CONFLICTS.validate_json((directory / FILE).read_bytes())
    except (OSError, ValidationError):
        return []


def conflict_title(title: str, when: datetime, *, taken: frozenset[str] = frozenset()) -> str:
    """`report.odt` -> `report (conflict HOST 2026-11-23 14.05).odt`; numbered where that is taken.

    The stem is shortened where the whole would not fit into a file name.
    """
    match = _EXTENSION.search(title)
    extension = match[0] if match else ""
    stem = title.removesuffix(extension)
    tag = f"conflict {socket.gethostname()} {when:%Y-%m-%d %H.%M}"
    chosen, count = _fitted(stem, f" ({tag})", extension), 1
    while chosen in taken:
        count += 1
        chosen = _fitted(stem, f" ({tag} {count})", extension)
    return chosen


def _fitted(stem: str, tag: str, extension: str) -> str:
    room = max(0, _MOST_BYTES - len(f"{tag}{extension}".encode()))
    # A character cut in two is left out.
    return stem.encode()[:room].decode(errors="ignore").rstrip() + tag + extension
