"""A program that saves without end, as programs do: `python -m tests.faults.saver MOUNTPOINT NAME SEED DIARY`.

Every line on its standard input (JSON: which files it has) sets it going; it says `died` when the drive is dead, and
waits for the next. What it is about to do and what it was answered stands in its diary. It has names of its own, and so
knows at every moment what each of its files holds.
"""

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.faults.account import Account, local
from tests.faults.diary import Diary
from tests.faults.errand import md5

DEAD = {errno.ENOTCONN, errno.ECONNABORTED}
NAMES = 3
LARGEST = 60_000
HUGE = 400_000
TOOLS = 0.08
"""How often a tool does it in place of this program."""


class DiedError(Exception):
    """The drive is gone."""


class Saver:
    """The program.

    Attributes:
        at: The call under way.
    """

    def __init__(self, place: Path, fields: list[str], name: str, seed: str, diary: Diary) -> None:
        self._place = place
        self._fields = fields
        self._name = name
        self._random = Random(f"{seed} {name}")
        self._diary = diary
        self._account = Account(name)
        self._bytes: dict[str, bytes] = {}
        self.at = ""

    def run(self, files: dict[str, str]) -> None:
        """Act until the drive dies."""
        self._account.certain, self._account.doubts, self._account.loose = files, [], set()
        self._bytes = {digest: self._bytes[digest] for digest in files.values() if digest in self._bytes}
        acts: list[tuple[Callable[[], None], int]] = [
            (self.save, 6),
            (self.append, 3),
            (self.patch, 2),
            (self.move, 5),
            (self.replace, 4),
            (self.backup, 1),
            (self.script, 2),
            (self.cut, 1),
            (self.replace_open, 2),
            (self.remove, 2),
            (self.look, 2),
        ]
        with contextlib.suppress(DiedError):
            for path in [path for path, digest in files.items() if digest not in self._bytes]:
                self._remove(path)  # a temporary file that the drive died over
            while True:
                (act,) = self._random.choices([act for act, _ in acts], [weight for _, weight in acts])
                act()

    # -- acts --------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """A new file, or all of an old one anew."""
        self._save(self._any())

    def _save(self, path: str, *, tool: bool | None = None) -> None:
        data = self._fresh()
        with self._act("save", path=path, md5=md5(data)):
            if self._random.random() < TOOLS if tool is None else tool:
                self._tool("cp", "/dev/stdin", path, fed=data)
            else:
                self._write(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, data)

    def append(self) -> None:
        """`>>`."""
        path = self._one()
        if path is None:
            return
        more = self._random.randbytes(self._random.randrange(1, 2000))
        whole = self._keep(self._bytes[self._account.certain[path]] + more)
        with self._act("save", path=path, md5=md5(whole)):
            self._write(path, os.O_WRONLY | os.O_APPEND, more)

    def patch(self) -> None:
        """Some bytes in the middle."""
        path = self._one()
        if path is None:
            return
        old = self._bytes[self._account.certain[path]]
        more = self._random.randbytes(self._random.randrange(1, 2000))
        start = self._random.randrange(len(old))
        whole = self._keep(old[:start] + more + old[start + len(more) :])
        with self._act("save", path=path, md5=md5(whole)):
            self._write(path, os.O_RDWR, more, start=start)

    def move(self) -> None:
        """`mv`: another name, another field, both, over another file or not."""
        path = self._one()
        if path is None:
            return
        field, name = path.rsplit("/", 1)
        match self._random.randrange(3):
            case 0:
                self._rename(path, f"{field}/{self._own_name()}")
            case 1:
                self._rename(path, f"{self._random.choice(self._fields)}/{name}")
            case _:
                self._rename(path, self._any())

    def _rename(self, path: str, to: str) -> None:
        if path == to or {path, to} & self._account.doubtful:
            return
        with self._act("rename", path=path, to=to):
            if self._random.random() < TOOLS:
                self._tool("mv", "-f", path, to)
            else:
                self.at = "rename"
                (self._place / path).rename(self._place / to)

    def replace(self) -> None:
        """Write a temporary file beside it and rename it over it; some programs' temporary names look real."""
        path = self._any()
        beside = f"{path}.part" if self._random.random() < 0.7 else f"{path}.new"
        if beside in self._account.doubtful:
            return
        self._save(beside, tool=False)
        if beside in self._account.certain:
            self._rename(beside, path)

    def backup(self) -> None:
        """As editors that keep a backup: `x` becomes `x~`, a new `x` is written, the backup removed."""
        path = self._one()
        if path is None or f"{path}~" in self._account.doubtful:
            return
        data = self._fresh()
        with self._act("save", path=path, md5=md5(data), loose=[f"{path}~"]):
            kept = self._place / f"{path}~"
            (self._place / path).rename(kept)
            self._write(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, data, stage="the new one's ")
            self.at = "backup's unlink"
            kept.unlink()

    def script(self) -> None:
        """As a shell script whose commands share a descriptor: two of them have closed theirs before the last one."""
        path = self._any()
        pieces = [self._random.randbytes(self._random.randrange(1, 3000)) for _ in range(3)]
        versions = [md5(self._keep(b"".join(pieces[: end + 1]))) for end in range(3)]
        with self._act("save", path=path, md5=versions[-1], between=versions[:-1]):
            with self._opened(path) as descriptor:
                for piece in pieces[:-1]:
                    os.write(descriptor, piece)
                    self.at = "command's close"
                    os.close(os.dup(descriptor))
                os.write(descriptor, pieces[-1])
            self.at = "close"
            os.close(descriptor)

    def cut(self) -> None:
        """truncate(2)."""
        path = self._one()
        if path is not None:
            old = self._bytes[self._account.certain[path]]
            whole = self._keep(old[: self._random.randrange(1, len(old) + 1)])
            with self._act("save", path=path, md5=md5(whole)):
                self.at = "truncate"
                os.truncate(self._place / path, len(whole))

    def replace_open(self) -> None:
        """A temporary file takes its place while it is still being written."""
        path = self._any()
        beside = f"{path}.open.part"
        if beside in self._account.doubtful:
            return
        start, end = (self._random.randbytes(self._random.randrange(1, 3000)) for _ in range(2))
        whole = self._keep(start + end)
        with self._act("save", path=path, md5=md5(whole), loose=[beside]):
            with self._opened(beside) as descriptor:
                os.write(descriptor, start)
                self.at = "its rename"
                (self._place / beside).rename(self._place / path)
                os.write(descriptor, end)
            self.at = "close"
            os.close(descriptor)

    def remove(self) -> None:
        """`rm`."""
        path = self._one()
        if path is not None:
            self._remove(path)

    def _remove(self, path: str) -> None:
        with self._act("remove", path=path):
            self.at = "unlink"
            (self._place / path).unlink()

    def look(self) -> None:
        """`cat`: what it saved is what it reads."""
        path = self._one()
        if path is None:
            return
        try:
            found = md5((self._place / path).read_bytes())
        except OSError as error:
            if error.errno in DEAD:
                raise DiedError from None
            return
        if found != self._account.certain[path]:
            self._diary.note(wrong=f"{path} reads as {found}, saved was {self._account.certain[path]}")

    # -- how -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _act(self, act: str, **what: str | list[str]) -> Iterator[None]:
        """Note the intent, then the outcome."""
        entry = {"act": act, **what}
        self._diary.note(**entry)
        outcome = {"told": "done"}
        self.at = "tool"
        try:
            yield
        except OSError as error:
            told = "died" if error.errno in DEAD else "failed"
            outcome = {"told": told, "at": self.at, "errno": errno.errorcode[error.errno or 0]}
        except subprocess.CalledProcessError as error:
            outcome = {
                "told": "died" if self._is_dead() else "failed",
                "at": "tool",
                "said": str(error.stderr),
            }
        self._diary.note(**outcome)
        self._account.apply(entry, outcome)
        if outcome["told"] == "died":
            raise DiedError

    def _is_dead(self) -> bool:
        try:
            os.statvfs(self._place)
        except OSError as error:
            return error.errno in DEAD
        return False

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int = os.O_WRONLY | os.O_CREAT | os.O_TRUNC) -> Iterator[int]:
        """A descriptor, which is closed if the block fails."""
        descriptor = os.open(self._place / path, flags, 0o644)
        try:
            yield descriptor
        except OSError:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise

    def _write(
        self, path: str, flags: int, data: bytes, *, start: int | None = None, stage: str = ""
    ) -> None:
        """open, write in pieces, perhaps fsync, close; `stage` stands before the names of these calls."""
        self.at = f"{stage}open"
        with self._opened(path, flags) as descriptor:
            self.at = f"{stage}write"
            if start is not None:
                os.lseek(descriptor, start, os.SEEK_SET)
            pieces = self._random.randrange(1, 4)
            step = len(data) // pieces + 1
            for begin in range(0, len(data), step):
                os.write(descriptor, data[begin : begin + step])
            if self._random.random() < 0.2:
                self.at = f"{stage}fsync"
                os.fsync(descriptor)
        self.at = f"{stage}close"
        os.close(descriptor)

    def _tool(self, *words: str, fed: bytes | None = None) -> None:
        paths = [word if word.startswith(("-", "/")) else str(self._place / word) for word in words[1:]]
        subprocess.run([words[0], *paths], input=fed, check=True, capture_output=True)

    # -- which ---------------------------------------------------------------------------------------------------------

    def _own_name(self) -> str:
        return f"{self._name}-{self._random.randrange(NAMES)}.bin"

    def _any(self) -> str:
        names = [f"{field}/{self._name}-{number}.bin" for field in self._fields for number in range(NAMES)]
        free = [path for path in names if path not in self._account.doubtful]
        if not free:
            self._wait_for_the_end()
        return self._random.choice(free)

    def _wait_for_the_end(self) -> None:
        while not self._is_dead():
            time.sleep(0.01)
        raise DiedError

    def _one(self) -> str | None:
        """A file that is there, and may be changed."""
        files = sorted(path for path in self._account.certain if not local(path))
        return self._random.choice(files) if files else None

    def _fresh(self) -> bytes:
        largest = HUGE if self._random.random() < 0.03 else LARGEST
        return self._keep(self._random.randbytes(self._random.randrange(1, largest)))

    def _keep(self, data: bytes) -> bytes:
        self._bytes[md5(data)] = data
        return data


def main() -> None:
    """Save whenever told to."""
    place, name, seed, diary, *fields = sys.argv[1:]
    saver = Saver(Path(place), fields, name, seed, Diary(Path(diary)))
    for line in sys.stdin:
        saver.run(json.loads(line))
        sys.stdout.write("died\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
