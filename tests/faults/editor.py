"""A program that edits what others edit, too.

`python -m tests.faults.editor MOUNTPOINT NAME SECONDS SEED DIARY LOCKS FIELD…`. Every version that it saves ends with a
line that begins with a token of its own. Before it replaces or removes a file it opens and reads it, and its diary
tells which version that was. Programs of one drive lock paths among themselves, as well-behaved programs do; those of
the other drive know nothing of these locks.
"""

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.faults.diary import Diary
from tests.faults.errand import md5

NAMES = 4
LARGEST = 20_000


class BusyError(Exception):
    """Another program of this drive is at the file, by another name that it had."""


class Editor:
    """The program.

    Attributes:
        at: The call under way.
    """

    def __init__(
        self, place: Path, name: str, seed: str, *, diary: Diary, locks: Path, fields: list[str]
    ) -> None:
        self._place = place
        self._name = name
        self._random = Random(f"{seed} {name}")
        self._diary = diary
        self._locks = locks
        self._fields = fields
        self._count = 0
        self._descriptors: set[int] = set()
        self.at = ""

    def run(self, seconds: float) -> None:
        """Act until the time is over."""
        acts: list[tuple[Callable[[], None], int]] = [
            (self.create, 2),
            (self.rewrite, 4),
            (self.copy_over, 4),
            (self.append, 4),
            (self.replace, 3),
            (self.move, 4),
            (self.remove, 4),
            (self.look, 2),
        ]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            (act,) = self._random.choices([act for act, _ in acts], [weight for _, weight in acts])
            try:
                act()
            except BusyError:
                continue
            except OSError as error:
                self._failed(error)  # before it had begun

    # -- acts --------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """A new file, or none where there is one."""
        path = self._name_of_all()
        with self._locked(path):
            self._create(path)

    def _create(self, path: str) -> None:
        token, data = self._version()
        with self._act("create", path=path, token=token, md5=md5(data)):
            self._save(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, data)

    def rewrite(self) -> None:
        """Read a file and write it anew, through one descriptor."""
        path = self._some()
        with self._locked(path), self._reading(path, os.O_RDWR) as (descriptor, old):
            token, data = self._version()
            with self._act("rewrite", path=path, token=token, md5=md5(data), sees=[_token(old)]):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, data, 0)
                self._close(descriptor)

    def append(self) -> None:
        """Read a file and add a line."""
        path = self._some()
        with self._locked(path), self._reading(path, os.O_RDWR) as (descriptor, old):
            token, line = self._version()
            with self._act("append", path=path, token=token, md5=md5(old + line), sees=[_token(old)]):
                os.pwrite(descriptor, line, len(old))
                self._close(descriptor)

    def copy_over(self) -> None:
        """As `cp`: truncate and write, whatever is there."""
        path = self._some()
        with self._locked(path), self._reading(path, os.O_RDONLY) as (held, old):
            token, data = self._version()
            with self._act("overwrite", path=path, token=token, md5=md5(data), sees=[_token(old)]):
                if self._save(path, os.O_WRONLY | os.O_TRUNC, data) != os.fstat(held).st_ino:
                    self._guess(path)

    def replace(self) -> None:
        """As editors do: a temporary file, renamed over the one that is there."""
        path = self._some()
        token, data = self._version()
        beside = f"{path}.{token}.part"
        with self._locked(path):
            with self._act("save", path=beside, token=token, md5=md5(data)):
                self._save(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, data)
            self._rename(beside, path, token)

    def move(self) -> None:
        """`mv`, over another file or not."""
        path, to = self._some(), self._some()
        if self._random.random() < 0.3:
            to = f"{self._random.choice(self._fields)}/{path.rpartition('/')[2]}"
        if path == to:
            return
        with self._locked(path, to), self._reading(path, os.O_RDONLY) as (held, old):
            self._rename(path, to, _token(old))
            if (self._place / to).stat().st_ino != os.fstat(held).st_ino:
                with self._reading(to, os.O_RDONLY) as (_, new):
                    self._diary.note(moved=_token(new))  # a newer version than we had read

    def _rename(self, path: str, to: str, token: str) -> None:
        with contextlib.ExitStack() as stack:
            held, sees = None, []
            with contextlib.suppress(FileNotFoundError):
                held, old = stack.enter_context(self._reading(to, os.O_RDONLY))
                sees = [_token(old)]
            with self._act("rename", path=path, to=to, moves=token, sees=sees):
                self.at = "rename"
                (self._place / path).rename(self._place / to)
                if held is None or os.fstat(held).st_nlink:
                    self._guess(to)

    def remove(self) -> None:
        """`rm`."""
        path = self._some()
        with (
            self._locked(path),
            self._reading(path, os.O_RDONLY) as (held, old),
            self._act("remove", path=path, sees=[_token(old)]),
        ):
            self.at = "unlink"
            (self._place / path).unlink()
            if os.fstat(held).st_nlink:
                self._guess(path)

    def look(self) -> None:
        """`cat`."""
        path = self._some()
        with self._locked(path), self._reading(path, os.O_RDONLY):
            pass

    # -- how -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _act(self, act: str, **what: object) -> Iterator[None]:
        self._diary.note(act=act, at=time.monotonic(), **what)
        try:
            yield
        except OSError as error:
            self._failed(error)
        else:
            self._diary.note(
                told="done",
                at=time.monotonic(),
                **{key: what[key] for key in ("token",) if key in what},
            )

    def _failed(self, error: OSError) -> None:
        told = {"where": self.at, "errno": errno.errorcode[error.errno or 0]}
        self._diary.note(told="failed", at=time.monotonic(), **told)

    def _guess(self, path: str) -> None:
        self._diary.note(guess=path)

    @contextlib.contextmanager
    def _locked(self, *paths: str) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for path in sorted(set(paths)):
                file = stack.enter_context((self._locks / md5(path.encode())).open("w"))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _reading(self, path: str, flags: int) -> Iterator[tuple[int, bytes]]:
        """A file that is there, open while the block runs, and what it holds."""
        self.at = "open"
        descriptor = os.open(self._place / path, flags)
        self._descriptors.add(descriptor)
        lock = (self._locks / str(os.fstat(descriptor).st_ino)).open("w")
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError from None
            self.at = "read"
            data = b""
            while piece := os.read(descriptor, 1 << 20):
                data += piece
            self._diary.note(read=md5(data), path=path)
            if not data:
                raise OSError(errno.ESTALE, "nothing to be read", path)
            yield descriptor, data
        finally:
            lock.close()
            if descriptor in self._descriptors:
                self._descriptors.discard(descriptor)
                os.close(descriptor)

    def _close(self, descriptor: int) -> None:
        self.at = "close"
        self._descriptors.discard(descriptor)
        os.close(descriptor)

    def _save(self, path: str, flags: int, data: bytes) -> int:
        """Write all of a file. Returns the inode number of what was written."""
        self.at = "open"
        descriptor = os.open(self._place / path, flags, 0o644)
        self._descriptors.add(descriptor)
        try:
            inode = os.fstat(descriptor).st_ino
            self.at = "write"
            os.write(descriptor, data)
        except OSError:
            os.close(descriptor)
            raise
        self._close(descriptor)
        return inode

    # -- which ---------------------------------------------------------------------------------------------------------

    def _version(self) -> tuple[str, bytes]:
        """A new version: its token, and the line that it ends with."""
        self._count += 1
        token = f"{self._name}.{self._count}"
        filler = "x" * self._random.randrange(LARGEST)
        return token, f"{token} {filler}\n".encode()

    def _name_of_all(self) -> str:
        return f"{self._random.choice(self._fields)}/n{self._random.randrange(NAMES)}.txt"

    def _some(self) -> str:
        """A name that is shown, or may be."""
        if self._random.random() < 0.4:
            return self._name_of_all()
        field = self._random.choice(self._fields)
        self.at = "list"
        names = [name for name in os.listdir(self._place / field) if not name.endswith(".part")]  # noqa: PTH208
        return f"{field}/{self._random.choice(sorted(names))}" if names else self._name_of_all()


def _token(data: bytes) -> str:
    return data.splitlines()[-1].partition(b" ")[0].decode()


def main() -> None:
    """Edit."""
    place, name, seconds, seed, diary, locks, *fields = sys.argv[1:]
    editor = Editor(Path(place), name, seed, diary=Diary(Path(diary)), locks=Path(locks), fields=fields)
    editor.run(float(seconds))


if __name__ == "__main__":
    main()
