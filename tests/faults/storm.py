"""Twenty loops of cp, mv, overwrite and rm through a mount, and what must be there after them.

`python -m tests.faults.storm MOUNTPOINT SECONDS SEED KIND` is the child that goes through the mount; it tells as JSON
how many acts it made, which of them failed and what the loops left. In a storm (KIND `storm`) each loop has names of
its own, whose content it knows at every moment, and shares a few names with all others: there any outcome of a race is
fine. In a quarrel (KIND `quarrel`) they are at the shared names alone.
"""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.faults.errand import md5

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPS = 20
OWN_NAMES = 6
SHARED_NAMES = 3
SHARED_FIELDS = 3
LARGEST = 150_000
LOST_RACE = {errno.ENOENT, errno.ESTALE, errno.EEXIST}


class Loop:
    """One of the loops: acts at random, and the contents that its own names must have."""

    def __init__(self, place: Path, fields: list[Path], number: int, seed: str, *, kind: str) -> None:
        self._place = place
        self._fields = fields
        self._number = number
        self._kind = kind
        self._random = Random(f"{seed} {number}")
        self.left: dict[str, str] = {}
        self.acts: Counter[str] = Counter()
        self.lost_races = 0
        self.failures: list[str] = []

    def run(self, until: float) -> None:
        """Act until the time is over."""
        choices: list[tuple[Callable[[], None], int]] = [
            (self.copy, 4),
            (self.overwrite, 4),
            (self.move, 4),
            (self.edit, 2),
            (self.remove, 2),
            (self.look, 2),
            (self.quarrel, 4),
        ]
        if self._kind == "quarrel":
            choices = [(self.quarrel, 1)]
        acts, weights = [act for act, _ in choices], [weight for _, weight in choices]
        while time.monotonic() < until and not self.failures:
            (act,) = self._random.choices(acts, weights)
            self.acts[act.__name__] += 1
            try:
                act()
            except (OSError, subprocess.CalledProcessError) as error:
                said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
                self.failures.append(f"loop {self._number}, {act.__name__}: {error} {said}")

    # -- own names -------------------------------------------------------------------------------------------------

    def copy(self) -> None:
        """`cp` to a name that is new, or stood there before."""
        self._put(self._own(), new=True)

    def overwrite(self) -> None:
        """`cp` over a file that is there."""
        path = self._standing()
        if path is not None:
            self._put(path, new=False)

    def move(self) -> None:
        """`mv`: across fields or within one, under the same name or another, over a file or not."""
        path = self._standing()
        if path is None:
            return
        target = self._own()
        if self._random.random() < 0.5:
            target = Path(self._random.choice(self._fields), path.name)
        if target == path:
            return
        if self._random.random() < 0.25:
            _command("mv", "-f", self._place / path, self._place / target)
        else:
            (self._place / path).rename(self._place / target)
        self.left[str(target)] = self.left.pop(str(path))

    def edit(self) -> None:
        """As editors save: a temporary file beside it, renamed over it."""
        path = self._standing()
        if path is None:
            return
        data = self._bytes()
        beside = (self._place / path).with_name(f"{path.name}.part")
        beside.write_bytes(data)
        beside.rename(self._place / path)
        self.left[str(path)] = md5(data)

    def remove(self) -> None:
        """`rm`."""
        path = self._standing()
        if path is None:
            return
        if self._random.random() < 0.25:
            _command("rm", self._place / path)
        else:
            (self._place / path).unlink()
        del self.left[str(path)]

    def look(self) -> None:
        """`cat`: what this loop wrote is what it reads."""
        path = self._standing()
        if path is None:
            return
        found = md5((self._place / path).read_bytes())
        if found != self.left[str(path)]:
            self.failures.append(f"loop {self._number}: {path} holds other bytes than were written")

    def _own(self) -> Path:
        name = f"loop {self._number:02}-{self._random.randrange(OWN_NAMES)}.bin"
        return Path(self._random.choice(self._fields), name)

    def _standing(self) -> Path | None:
        return Path(self._random.choice(sorted(self.left))) if self.left else None

    def _put(self, path: Path, *, new: bool) -> None:
        data = self._bytes()
        if self._random.random() < 0.25:
            _command("cp", "/dev/stdin", self._place / path, fed=data)
        else:
            flags = os.O_CREAT if new else 0
            descriptor = os.open(self._place / path, os.O_WRONLY | os.O_TRUNC | flags, 0o644)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
        self.left[str(path)] = md5(data)

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.randrange(1, LARGEST))

    # -- shared names ----------------------------------------------------------------------------------------------

    def quarrel(self) -> None:
        """An act on a name that others are at too."""
        path, target = self._shared(), self._shared()
        try:
            match self._random.randrange(4):
                case 0 | 1:
                    path.write_bytes(self._bytes())
                case 2:
                    path.rename(target)
                case _:
                    path.unlink()
        except OSError as error:
            if error.errno not in LOST_RACE:
                raise
            self.lost_races += 1

    def _shared(self) -> Path:
        field = self._random.choice(self._fields[:SHARED_FIELDS])
        return self._place / field / f"shared-{self._random.randrange(SHARED_NAMES)}.bin"


def _command(*words: str | Path, fed: bytes | None = None) -> None:
    subprocess.run([str(word) for word in words], input=fed, check=True, capture_output=True)


def fields_below(place: Path) -> list[Path]:
    """The fields of all documents, as paths below the mount point."""
    return sorted(path.relative_to(place) for path in place.glob("*/*/*"))


def rage(place: Path, seconds: float, seed: str, kind: str) -> dict[str, Any]:
    """Run all loops side by side."""
    fields = fields_below(place)
    loops = [Loop(place, fields, number, seed, kind=kind) for number in range(LOOPS)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=loop.run, args=(until,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acts = sum((loop.acts for loop in loops), Counter[str]())
    left = {path: digest for loop in loops for path, digest in loop.left.items()}
    failures = [failure for loop in loops for failure in loop.failures]
    lost = sum(loop.lost_races for loop in loops)
    return {"acts": acts, "lost races": lost, "left": left, "failures": failures}


def main() -> None:
    """Rage and tell."""
    place, seconds, seed, kind = sys.argv[1:]
    sys.stdout.write(json.dumps(rage(Path(place), float(seconds), seed, kind)))


if __name__ == "__main__":
    main()
