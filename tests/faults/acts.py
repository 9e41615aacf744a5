"""What programs do to a file: the columns of the fault matrix. Each says what stands before and what it intends."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tests.contract.conftest import Drive

OLD = b"The old version, line by line.\n" * 100
NEW = b"The new version, longer than the old one by a few bytes.\n" * 100
SAME = b"Another version, of equal size\n" * 100
OVER = b"What a rename goes over.\n" * 100
EDITED = OLD[:1000] + b"edited" + OLD[1006:]
NEIGHBOUR = b"Of no concern to anybody.\n"

Files = Mapping[str, bytes]
Family = Literal["save", "rename", "unlink", "read", "look"]


class WrongBytesError(AssertionError):
    """A read brought something else than the file."""


@dataclass(frozen=True, eq=False)
class Act:
    """One thing that programs do.

    Attributes:
        name: For people.
        family: Which promises hold for it.
        before: What stands on the platform, besides a neighbour in every field: paths below the definition.
        after: What is to stand when it is through.
        does: Does it.
        reads: The path that has the bytes afterwards, and the bytes.
        cold: Nothing is known of the platform before.
        stale: What is known of it is out of date.
    """

    name: str
    family: Family
    before: Files
    after: Files
    does: Callable[[Drive], Awaitable[None]]
    reads: tuple[str, bytes] | None = None
    cold: bool = False
    stale: bool = False

    @property
    def fields(self) -> list[str]:
        """Every field that it touches, as `1/scan`."""
        return sorted({path.rpartition("/")[0] for path in (*self.before, *self.after)})


def _writes(path: str, data: bytes) -> Callable[[Drive], Awaitable[None]]:
    return lambda drive: drive.write(f"invoice/{path}", data)


def _renames(old: str, new: str) -> Callable[[Drive], Awaitable[None]]:
    return lambda drive: drive.rename(f"invoice/{old}", f"invoice/{new}")


async def _edit(drive: Drive) -> None:
    """Change six bytes in the middle."""
    handle = await drive.open("invoice/1/scan/a.txt", os.O_RDWR)
    try:
        await drive.filesystem.write(handle, 1000, b"edited")
    finally:
        await drive.close(handle)


async def _read(drive: Drive) -> None:
    found = await drive.read("invoice/1/scan/a.txt")
    if found != OLD:
        raise WrongBytesError(found[:60])


async def _look(drive: Drive) -> None:
    found = await drive.names("invoice/1/scan")
    if found != ["a.txt", "neighbour.txt"]:
        raise WrongBytesError(found)


def _save(name: str, path: str, data: bytes, *, before: bytes | None = OLD) -> Act:
    stood = {} if before is None else {path: before}
    return Act(name, "save", stood, {path: data}, _writes(path, data), reads=(path, data))


def _rename(name: str, old: str, new: str, **over: bytes) -> Act:
    stood = {old: OLD, **({new: over["over"]} if over else {})}
    return Act(name, "rename", stood, {new: OLD}, _renames(old, new), reads=(new, OLD))


A = "1/scan/a.txt"
STANDS = {A: OLD}
ACTS: tuple[Act, ...] = (
    _save("new file", A, NEW, before=None),
    _save("overwrite", A, NEW),
    _save("overwrite, same size", A, SAME),
    Act("edit in place", "save", STANDS, {A: EDITED}, _edit, reads=(A, EDITED)),
    _save("overwrite in a full field", "1/few/a.txt", NEW),
    _save("overwrite in a field of one file", "1/single/a.txt", NEW),
    _rename("rename in the field", A, "1/scan/b.txt"),
    _rename("rename over a file", A, "1/scan/b.txt", over=OVER),
    _rename("move, same name", A, "2/scan/a.txt"),
    _rename("move, new name", A, "2/copies/b.txt"),
    Act("remove", "unlink", STANDS, {}, lambda drive: drive.remove("invoice/1/scan/a.txt")),
    Act("read", "read", STANDS, STANDS, _read, reads=(A, OLD)),
    Act("first look into a directory", "look", STANDS, STANDS, _look, reads=(A, OLD), cold=True),
    Act("another look, after a while", "look", STANDS, STANDS, _look, reads=(A, OLD), stale=True),
)
