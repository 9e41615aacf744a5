"""The world of a state machine behind a real mount: system calls, a process that can be killed, real time."""

import contextlib
import ctypes
import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from aerofs.filesystem.outcomes import BESIDE_WAIT
from aerofs.namespace.familiar import is_local
from aerofs.sandbox import Fault
from tests.mount.harness import Drive, LocalPlatform
from tests.properties.world import FIELDS, Seen, Standing, Watch, specs

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = -100
"""AT_FDCWD of openat(2)."""
_libc = ctypes.CDLL(None, use_errno=True)
_DEFINITION = "model"


class Ground:
    """A platform and a mounted drive, for many worlds one after the other."""

    def __init__(self) -> None:
        self.platform = LocalPlatform()
        sandbox = self.platform.sandbox
        self.platform.call(lambda: sandbox.platform.add_definition(_DEFINITION, fields=specs()))
        self.drive = Drive(self.platform).mount()
        self._made = 0

    def document(self) -> str:
        """A document that nobody had yet."""
        self._made += 1
        return self.platform.new_document(_DEFINITION, f"model-{self._made:06d}")

    def end(self) -> None:
        """Leave nothing behind."""
        self.drive.end()
        self.platform.stop()


class MountedWorld:
    """Two fresh documents of a mounted drive."""

    def __init__(self, ground: Ground) -> None:
        self._drive = ground.drive
        self._platform = ground.platform
        self._documents = {name: ground.document() for name in ("1", "2")}
        self._news: SimpleQueue[Callable[[Watch], None]] = SimpleQueue()
        self._watch: Watch | None = None
        self._colleague = False
        self._conflict = False
        self._opened: set[int] = set()
        self._hook()
        self._watchdog = self._drive.watched(120)
        self._watchdog.__enter__()

    def _hook(self) -> None:
        """Learn what comes and goes on the platform; told between the calls."""
        data = self._platform.sandbox.platform
        attach, detach = type(data).attach.__get__(data), type(data).detach.__get__(data)

        def attached(document: str, path: str, contents: Any, *, instead_of: Any = ()) -> Any:
            instead_of, colleague = list(instead_of), self._colleague
            added = attach(document, path, contents, instead_of=instead_of)
            for row in added:
                self._appeared(document, row, data.content(row).read_bytes(), colleague=colleague)
            for row in instead_of:
                self._vanished(row.id, colleague=colleague)
            return added

        def detached(row: Any) -> None:
            detach(row)
            self._vanished(row.id, colleague=self._colleague)

        data.attach, data.detach = attached, detached  # type: ignore[method-assign]

    def _appeared(self, document: str, row: Any, data: bytes, *, colleague: bool) -> None:
        known = {
            self._platform.sandbox.platform.find(
                self._platform.sandbox.platform.definition(_DEFINITION), own
            ).id: name
            for name, own in self._documents.items()
        }
        standing = Standing(row.id, f"{known.get(document)}/{row.path}", row.name, data)
        self._conflict |= "(conflict" in row.name
        self._news.put(lambda watch: watch.appeared(standing, colleague=colleague))

    def _vanished(self, attachment: str, *, colleague: bool) -> None:
        self._news.put(lambda watch: watch.vanished(attachment, colleague=colleague))

    def _tell(self) -> None:
        while not self._news.empty():
            news = self._news.get()
            if self._watch is not None:
                news(self._watch)

    def _path(self, field: str, name: str = "") -> str:
        document, _, path = field.partition("/")
        return str(self._drive.path / _DEFINITION / self._documents[document] / path / name)

    def _place(self, field: str) -> tuple[str, str, str]:
        document, _, path = field.partition("/")
        return _DEFINITION, self._documents[document], path

    # -- what programs do ----------------------------------------------------------------------------------------

    def look(self, field: str, name: str) -> Seen:
        path = self._path(field, name)
        seen = self._seen(Path(path).stat(), path)
        self._tell()
        return seen

    def _seen(self, found: os.stat_result, of: str | int) -> Seen:
        told = None
        try:
            told = os.getxattr(of, "user.aero.id").decode()
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
        return Seen(found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode & 0o7777, told)

    def names(self, field: str) -> list[str]:
        return [entry.name for entry in Path(self._path(field)).iterdir()]

    def create(self, field: str, name: str, flags: int) -> tuple[int, int]:
        handle = self._open(field, name, flags | os.O_CREAT)
        return handle, os.fstat(handle).st_ino

    def open(self, field: str, name: str, flags: int) -> int:
        return self._open(field, name, flags)

    def _open(self, field: str, name: str, flags: int) -> int:
        handle = os.open(self._path(field, name), flags, 0o644)
        self._opened.add(handle)
        return handle

    def read(self, handle: int, offset: int, length: int) -> bytes:
        return os.pread(handle, length, offset)

    def write(self, handle: int, offset: int, data: bytes) -> None:
        os.pwrite(handle, data, offset)

    def stat(self, handle: int) -> Seen:
        return self._seen(os.fstat(handle), handle)

    def resize(self, place: tuple[str, str], handle: int | None, size: int) -> None:
        os.truncate(self._path(*place) if handle is None else handle, size)
        self._tell()

    def adorn(self, place: tuple[str, str], *, mtime_ns: int | None = None, mode: int | None = None) -> None:
        path = self._path(*place)
        if mtime_ns is not None:
            os.utime(path, ns=(mtime_ns, mtime_ns))
        if mode is not None:
            Path(path).chmod(mode)

    def fsync(self, handle: int) -> None:
        os.fsync(handle)

    def flush(self, handle: int) -> None:
        try:
            os.close(os.dup(handle))
        finally:
            self._tell()

    def release(self, handle: int) -> None:
        self._opened.discard(handle)
        with contextlib.suppress(OSError):
            os.close(handle)
        self._tell()

    def _release_all(self) -> None:
        """Close what a program that is no more has left open: it would hold the mount."""
        for handle in [*self._opened]:
            self.release(handle)

    def rename(self, old: tuple[str, str], new: tuple[str, str], flags: int) -> None:
        before, after = os.fsencode(self._path(*old)), os.fsencode(self._path(*new))
        try:
            if _libc.renameat2(_HERE, before, _HERE, after, flags):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            self._tell()

    def unlink(self, field: str, name: str) -> None:
        try:
            Path(self._path(field, name)).unlink()
        finally:
            self._tell()

    # -- what happens to them ------------------------------------------------------------------------------------

    def rest(self) -> None:
        deadline = time.monotonic() + 5
        while self._drive.saves("uploading") and time.monotonic() < deadline:
            time.sleep(0.01)
        self._tell()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._tell()

    def away(self, *, away: bool) -> None:
        raise NotImplementedError

    def fault(self, fault: Fault) -> None:
        if fault.seconds is not None:
            fault = replace(fault, seconds=0.2)
        self._platform.call(self._platform.sandbox.add_fault, fault)

    def clear(self) -> None:
        self._platform.call(self._platform.sandbox.clear_faults)

    def faulty(self) -> bool:
        return bool(self._platform.call(lambda: list(self._platform.sandbox.faults)))

    def drain(self) -> None:
        self._drive.ask("drain", timeout=60)
        self._tell()

    def refresh(self) -> None:
        if self._conflict:
            time.sleep(BESIDE_WAIT + 0.5)  # until then the name still leads to ours
            self._conflict = False
        self._drive.ask("refresh")

    def retry_held(self) -> None:
        if self.saves():
            self._drive.ask("retry")
            self.drain()

    def saves(self) -> list[dict[str, Any]]:
        names = {own: name for name, own in self._documents.items()}
        found = []
        for save in self._drive.saves():
            definition, document, path, name = save["path"].split("/")
            if document in names:
                found.append({**save, "path": f"{definition}/{names[document]}/{path}/{name}"})
        return found

    def assert_nothing_left(self) -> None:
        assert self.saves() == []

    def remount(self, *, crashed: bool) -> None:
        if crashed:
            self._heard_of_closes()
            self._drive.kill()
            self._release_all()
            self._drive.mount()
        else:
            self._drive.remount()
        self._watchdog.__exit__(None, None, None)
        self._watchdog = self._drive.watched(120)
        self._watchdog.__enter__()
        self._tell()

    def _heard_of_closes(self) -> None:
        """The kernel tells of the last close of a file a moment after close(2) returned; an empty one waits for it."""

        def unheard() -> list[str]:
            opened = {str(Path(f"/proc/self/fd/{handle}").readlink()) for handle in self._opened}
            paths = (save["path"] for save in self._drive.saves("local"))
            return [
                path
                for path in paths
                if not (is_local(Path(path).name) or str(self._drive.path / path) in opened)
            ]

        deadline = time.monotonic() + 5
        while unheard() and time.monotonic() < deadline:
            time.sleep(0.01)

    def die_at(self, request: int, *, answered: bool) -> None:
        raise NotImplementedError

    # -- what others see and do ----------------------------------------------------------------------------------

    def standing(self, field: str) -> list[Standing]:
        found = self._platform.call(self._platform.sandbox.platform.attachments, *self._place(field))
        return [Standing(each.id, field, each.name, each.data) for each in found]

    def meddle(self, remove: str | None, add: tuple[str, str, bytes] | None) -> None:
        data = self._platform.sandbox.platform

        def act() -> None:
            self._colleague = True
            try:
                if add is not None:
                    data.add_attachment(*self._place(add[0]), add[1], add[2])
                if remove is not None and any(
                    each.id == remove for field in FIELDS for each in self._now(field)
                ):
                    data.remove_attachment(remove)
            finally:
                self._colleague = False

        self._platform.call(act)
        self._tell()

    def _now(self, field: str) -> Any:
        return self._platform.sandbox.platform.attachments(*self._place(field))

    def watched_by(self, watch: Watch) -> None:
        self._watch = watch

    def end(self) -> None:
        self.clear()
        self._release_all()
        self._watchdog.__exit__(None, None, None)
