"""Whose turn it is in a field: who adds a file shares it with others who do, everything else has it for itself.

Turns are given in the order in which they were asked for. Nobody passes one that is in his way, so nobody waits for
ever: who needs a field for himself waits for those before him, and those after him wait for him. Two additions are in
each other's way only where they bring the same title: after a lost answer ours is told by title and bytes, and one file
must not be taken for both. Everything here happens on the trio thread.
"""

import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from aerofs.model import FieldRef


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """One who stands in the lines of some fields, or has his turn.

    Attributes:
        adds: The title that he adds to his one field; None: he wants his fields for himself.
    """

    fields: frozenset[FieldRef]
    adds: str | None
    called: trio.Event = field(default_factory=trio.Event)


class Turns:
    """The lines before all fields.

    Args:
        together: How many additions may be under way in one field.
    """

    def __init__(self, *, together: int) -> None:
        self._together = together
        self._lines: dict[FieldRef, dict[_Place, None]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        return f"<Turns: lines before {len(self)} fields>"

    @asynccontextmanager
    async def of(self, fields: frozenset[FieldRef], *, adds: str | None = None) -> AsyncIterator[None]:
        """Wait for the turn in all these fields, and have it; `adds`: the title of what is only added, to one field."""
        place = _Place(fields, None if adds is None else unicodedata.normalize("NFC", adds))
        for each in fields:
            self._lines.setdefault(each, {})[place] = None
        self._call(fields)
        try:
            await place.called.wait()
            yield
        finally:
            for each in fields:
                del self._lines[each][place]
                if not self._lines[each]:
                    del self._lines[each]
            self._call(fields)

    def _call(self, fields: frozenset[FieldRef]) -> None:
        for each in fields:
            self._call_first(self._lines.get(each, {}))

    def _call_first(self, line: dict[_Place, None]) -> None:
        """Let go whoever has nobody before him that is in his way."""
        titles: set[str] = set()
        for place in line:
            if place.adds is None:
                if not titles and all(next(iter(self._lines[other])) is place for other in place.fields):
                    place.called.set()
                return
            if place.adds not in titles:
                titles.add(place.adds)
                place.called.set()
            if len(titles) == self._together:
                return
