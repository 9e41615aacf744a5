"""The moments at which something dies: an act through the mount, and the request that is stopped in its middle.

`BEFORE`: the platform has not done what the request asks. `AFTER`: it has, and nobody was told.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aerofs.sandbox import Platform
from tests.faults.errand import made_up, md5

PHOTOS, PAPERS = "order/O-1/photos", "order/O-2/papers"
LARGE = 24_000_000
SMALL = 300_000
UNREAD = f"{PHOTOS}/unread.bin"
BEFORE: Mapping[str, Any] = MappingProxyType({})
AFTER: Mapping[str, Any] = MappingProxyType({"at": 1, "side": "answer"})
HALFWAY: Mapping[str, Any] = MappingProxyType({"at": SMALL // 2, "side": "request"})
READING: Mapping[str, Any] = MappingProxyType({"at": LARGE // 2, "side": "answer"})
SEEDED: Mapping[str, str] = MappingProxyType(
    {
        f"{PHOTOS}/large.bin": md5(made_up(LARGE, "large")),
        f"{PHOTOS}/old.bin": md5(made_up(SMALL, "old")),
        f"{PHOTOS}/other.bin": md5(made_up(SMALL, "other")),
        UNREAD: md5(made_up(SMALL, "unread")),
    }
)


def seed(data: Path) -> None:
    """The documents that the moments work on."""
    with closing(Platform.open(data)) as platform:
        platform.add_definition("order", fields=["photos", "papers"])
        first = platform.add_document("order", external_id="O-1")
        platform.add_document("order", external_id="O-2")
        for name, size in (("large", LARGE), ("old", SMALL), ("other", SMALL), ("unread", SMALL)):
            platform.add_attachment("order", first, "photos", f"{name}.bin", made_up(size, name))


@dataclass(frozen=True)
class Moment:
    """An act, the kind of request that stops in its middle, and what the platform must hold in the end.

    Attributes:
        standing: How many files the platform holds when the request has stopped.
        accepted: The act may succeed while the platform is away: a rename is an intent.
    """

    name: str
    act: tuple[str, ...]
    stops: str
    where: Mapping[str, Any]
    standing: int = 4
    adds: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    accepted: bool = False

    def expected(self) -> dict[str, str]:
        """The platform in the end, when all is well again."""
        stays = {path: digest for path, digest in SEEDED.items() if path not in self.takes}
        return stays | dict(self.adds)


_NEW = {f"{PAPERS}/new.bin": md5(made_up(SMALL, "new"))}
_NEWER = {f"{PHOTOS}/old.bin": md5(made_up(SMALL, "newer"))}
_OLD = SEEDED[f"{PHOTOS}/old.bin"]
_WRITE = ("write", f"{PAPERS}/new.bin", str(SMALL), "new")
_OVERWRITE = ("write", f"{PHOTOS}/old.bin", str(SMALL), "newer")
_MOVE = ("rename", f"{PHOTOS}/old.bin", f"{PAPERS}/old.bin")
_RENAME = ("rename", f"{PHOTOS}/old.bin", f"{PHOTOS}/renamed.bin")
_OVER = ("rename", f"{PHOTOS}/old.bin", f"{PHOTOS}/other.bin")

READ = Moment("reading", ("read", f"{PHOTOS}/large.bin"), "download", READING)


def _save(name: str, stops: str, where: Mapping[str, Any], *, over: bool, standing: int) -> Moment:
    """A new file, or an overwritten one."""
    if over:
        return Moment(name, _OVERWRITE, stops, where, standing=standing, adds=_NEWER)
    return Moment(name, _WRITE, stops, where, standing=standing, adds=_NEW)


def _move(
    name: str, act: tuple[str, ...], stops: str, where: Mapping[str, Any] = BEFORE, *, standing: int = 4
) -> Moment:
    """A rename of `old.bin`."""
    source, target = act[1:]
    return Moment(
        name, act, stops, where, standing=standing, adds={target: _OLD}, takes=(source,), accepted=True
    )


ALL_CHANGES = [
    _save("half of a new file is up", "save", HALFWAY, over=False, standing=4),
    _save("a new file is up, untold", "save", AFTER, over=False, standing=5),
    _save("half of a new version is up", "save", HALFWAY, over=True, standing=4),
    _save("a new version is up, untold", "save", AFTER, over=True, standing=5),
    _save("the base is to be deleted", "delete", BEFORE, over=True, standing=5),
    _save("the base is deleted, untold", "delete", AFTER, over=True, standing=4),
    _move("a move is to be copied", _MOVE, "copy"),
    _move("a move is copied, untold", _MOVE, "copy", AFTER, standing=5),
    _move("the source of a move is to be deleted", _MOVE, "delete", standing=5),
    _move("the source of a move is deleted, untold", _MOVE, "delete", AFTER),
    _move("half of a renamed file is up", _RENAME, "save", HALFWAY),
    _move("a renamed file is up, untold", _RENAME, "save", AFTER, standing=5),
    _move("the old name is to be deleted", _RENAME, "delete", standing=5),
    _move("the old name is deleted, untold", _RENAME, "delete", AFTER),
    _move("half of what goes over another is up", _OVER, "save", HALFWAY),
    _move("what goes over another is up, untold", _OVER, "save", AFTER, standing=5),
]

_USUAL = {
    "half of a new file is up",
    "a new file is up, untold",
    "half of a new version is up",
    "the base is to be deleted",
    "a move is copied, untold",
    "the source of a move is to be deleted",
    "half of a renamed file is up",
    "what goes over another is up, untold",
}
CHANGES = [moment for moment in ALL_CHANGES if moment.name in _USUAL or os.environ.get("AEROFS_ALL_MOMENTS")]
"""The usual ones, which take a minute and a half; every one with AEROFS_ALL_MOMENTS=1."""
