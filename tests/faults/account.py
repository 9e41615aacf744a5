"""What one program may count on after what it did: the model that a drive is held to, crashes included.

An act that the drive said yes to has happened. One that ended with an error has not, except a `close()`: its bytes
are kept and come up later. An act that the drive died in has happened or not, as a whole: it is in *doubt* until the
platform is looked at. Nothing here looks at anything: digests go in, findings come out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from aerofs.namespace.familiar import is_local

World: TypeAlias = dict[str, str | None]
"""Some paths, each with the MD5 of its bytes; None: there is no such file."""


class Finding(NamedTuple):
    """Something that may not be: `lost`, `doubled`, `half`, `litter`, `damaged`."""

    kind: str
    what: str


def local(path: str) -> bool:
    """Whether a file of that path never leaves the machine."""
    return is_local(path.rpartition("/")[2])


@dataclass
class Account:
    """One program's files.

    Attributes:
        owner: What the names of all its files begin with.
        certain: Every file that must be there, and its MD5.
        doubts: Acts of unknown outcome; of each, the worlds that are right.
        loose: Paths of which nothing is promised.
        made: Every MD5 that the program ever gave a file.
    """

    owner: str
    certain: dict[str, str] = field(default_factory=dict)
    doubts: list[list[World]] = field(default_factory=list)
    loose: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    accepted: int = 0

    def apply(self, act: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """An act and what the drive answered (`told`: done, failed, died).

        A save may pass through other versions (`between`), and uses other names (`loose`) that it may leave behind
        where it does not come to its end.
        """
        before, after = self._worlds(act)
        between: list[World] = [{act["path"]: md5} for md5 in act.get("between", ())]
        self.made |= {md5 for world in (*between, after) for md5 in world.values() if md5}
        told, at = outcome["told"], outcome.get("at", "")
        saves = act["act"] == "save"
        self._is(dict.fromkeys(act.get("loose", ()), None))
        if told != "done":
            self.loose.update(act.get("loose", ()))
        if told == "done" or (told == "failed" and saves and at == "close"):
            self.accepted += told == "done" and saves
            self._is(after)
        elif saves and at in ("open", "write"):
            if local(act["path"]):
                self._doubt(act, [before, after])  # its bytes were changed in place, as on any disk
        elif told == "failed" and act["act"] == "rename" and at != "tool":
            pass
        else:
            self._doubt(act, [before, *between, after])

    def _worlds(self, act: Mapping[str, Any]) -> tuple[World, World]:
        path = act["path"]
        before: World = {path: self.certain.get(path)}
        match act["act"]:
            case "save":
                return before, {path: act["md5"]}
            case "rename":
                before[act["to"]] = self.certain.get(act["to"])
                return before, {path: None, act["to"]: self.certain[path]}
            case "remove":
                return before, {path: None}
        raise ValueError(act["act"])

    def _is(self, world: World) -> None:
        for path, md5 in world.items():
            self.certain.pop(path, None)
            if md5 is not None:
                self.certain[path] = md5

    def _doubt(self, act: Mapping[str, Any], worlds: list[World]) -> None:
        for path in worlds[0]:
            self.certain.pop(path, None)
        if act["act"] == "save" and local(act["path"]):
            self.loose.add(act["path"])
        else:
            self.doubts.append(worlds)

    @property
    def doubtful(self) -> set[str]:
        """Paths of which it is not known what they hold."""
        return self.loose | {path for worlds in self.doubts for path in worlds[0]}

    # -- the judgement -----------------------------------------------------------------------------------------------

    def judge(self, stored: Sequence[tuple[str, str]], shown: Mapping[str, str]) -> list[Finding]:
        """Hold what is there to what must be there.

        Args:
            stored: Path and MD5 of every file on the platform.
            shown: Path and MD5 of every file in the drive.
        """
        mine = [(path, md5) for path, md5 in stored if self.owns(path)]
        there = dict(mine)
        findings = [
            *self._doubled(mine),
            *self._strange(mine, shown),
            *self._missing(there, shown),
            *self._undecided(there, shown),
        ]
        differ = {path for path in {*there, *shown} if self.owns(path) and not local(path)}
        findings += [
            Finding("damaged", f"{path}: the drive does not show what the platform holds")
            for path in sorted(differ)
            if there.get(path) != shown.get(path)
        ]
        return findings

    def owns(self, path: str) -> bool:
        """Whether a path is one of this program's, whatever a drive made of it."""
        return path.rpartition("/")[2].lstrip(".").startswith(self.owner)

    def _doubled(self, mine: Iterable[tuple[str, str]]) -> Iterable[Finding]:
        for path, count in Counter(path for path, _ in mine).items():
            if count > 1:
                yield Finding("doubled", f"{path}: stands {count} times")

    def _strange(self, mine: Sequence[tuple[str, str]], shown: Mapping[str, str]) -> Iterable[Finding]:
        known = {*self.certain, *self.doubtful}
        for path, md5 in {*mine, *((path, md5) for path, md5 in shown.items() if self.owns(path))}:
            if path not in known:
                yield Finding("litter", f"{path}: nobody gave a file this name")
            elif md5 not in self.made and path not in self.loose:
                yield Finding("half", f"{path}: bytes that nobody saved")
        for path, _ in mine:
            if local(path):
                yield Finding("litter", f"{path}: a local name on the platform")

    def _missing(self, there: Mapping[str, str], shown: Mapping[str, str]) -> Iterable[Finding]:
        for path, md5 in self.certain.items():
            found = (shown if local(path) else there).get(path)
            if found is None:
                yield Finding("lost", f"{path}: is not there")
            elif found != md5:
                kind = "lost" if found in self.made else "half"
                yield Finding(kind, f"{path}: holds other bytes than were saved last")

    def _undecided(self, there: Mapping[str, str], shown: Mapping[str, str]) -> Iterable[Finding]:
        for worlds in self.doubts:
            found = {path: (shown if local(path) else there).get(path) for path in worlds[0]}
            if found not in worlds:
                kind = "lost" if None in found.values() and found not in worlds else "damaged"
                yield Finding(kind, f"neither before nor after: {found}, allowed are {worlds}")

    def settle(self, there: Mapping[str, str], shown: Mapping[str, str]) -> Counter[str]:
        """Take what was found for certain. Returns how many doubts had happened, and how many had not."""
        found: Counter[str] = Counter()
        for before, *_ in self.doubts:
            now = {path: (shown if local(path) else there).get(path) for path in before}
            found["had not happened" if now == before else "had happened"] += 1
        self.certain = {path: md5 for path, md5 in there.items() if self.owns(path)}
        self.certain |= {path: md5 for path, md5 in shown.items() if self.owns(path) and local(path)}
        self.made |= set(self.certain.values())
        self.doubts, self.loose = [], set()
        return found


def replay(account: Account, entries: Iterable[Mapping[str, Any]]) -> None:
    """Apply a diary: an act without an outcome died."""
    act: Mapping[str, Any] | None = None
    for entry in entries:
        if "act" in entry:
            if act is not None:
                account.apply(act, {"told": "died", "at": ""})
            act = entry
        elif act is not None:
            account.apply(act, entry)
            act = None
    if act is not None:
        account.apply(act, {"told": "died", "at": ""})
