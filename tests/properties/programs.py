"""Programs at a drive, and the model beside them: each call is made, judged by the model, and noted there."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from aerofs.namespace.familiar import is_local, looks_temporary
from tests.properties.model import File, Model, Place
from tests.properties.world import REQUIRED, Seen, World

NAMES = ("a.txt", "b.txt", "a.txt~", ".b.txt.swp", "sedAbC123")
TROUBLE = {errno.EIO, errno.ETIMEDOUT}
REFUSALS = {errno.EACCES, errno.EPERM, errno.EFBIG, errno.EDQUOT}
VANISHED = {errno.ENOENT, errno.ESTALE}


class NotDone(Exception):  # noqa: N818  nothing failed
    """A call failed as it may, and nothing has changed."""


class Idle(NotDone):
    """There is nothing to do it with: that was no step."""


@dataclass(eq=False)
class Handle:
    """An open file."""

    number: int
    file: File
    readable: bool
    writable: bool


class Programs(RuleBasedStateMachine):
    """What programs do through system calls, and what they may see, as far as the model is certain."""

    def world(self) -> World:
        """Where it happens."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.drive = self.world()
        self.drive.watched_by(self.model)
        self.handles: list[Handle] = []
        self.is_away = False
        self.since_settled = 0
        self.ends: list[Callable[[], object]] = [self.drive.end]

    usual: ClassVar = NAMES
    patience: ClassVar = 130.0
    """Seconds after which everything has happened that happens by itself."""
    longest_sleep: ClassVar = 400.0
    broken_off = False
    steps: ClassVar = 0

    # -- what may be expected ------------------------------------------------------------------------------------

    @property
    def calm(self) -> bool:
        """Nothing goes wrong at the moment."""
        return not self.is_away and not self.drive.faulty()

    def _certain(self, *places: str) -> bool:
        return not self.model.murky.intersection(places)

    @contextmanager
    def _may_fail(self, *numbers: int, lenient: bool = False, file: File | None = None) -> Iterator[None]:
        """The call may fail with these errors, and where something goes wrong with others, too.

        Raises:
            NotDone: It failed so.
        """
        calm = self.calm
        try:
            yield
        except OSError as error:
            allowed = {*numbers}
            if lenient or not calm or not self.calm:
                allowed |= TROUBLE
            if file is not None and (file.gone or not file.linked or file.optional):
                allowed |= VANISHED | TROUBLE
            if error.errno in allowed:
                raise NotDone from error
            if self.refusing:
                allowed |= REFUSALS
            if error.errno in allowed:
                raise NotDone from error
            raise AssertionError(f"unexpected: {error!r}; calm: {calm}") from error

    refusing = False
    dying = False

    def _quota(self, field: str, *, new: bool = False) -> tuple[int, ...]:
        """The error of a field without room, where there may be none; ours that is to make it may have met another."""
        if not self.model.may_be_full(field, for_one_more=new):
            return ()
        return (errno.EDQUOT,) if self._settled() else (errno.EDQUOT, errno.EIO)

    def _settled(self) -> bool:
        return not [save for save in self.drive.saves() if save["state"] != "local"]

    def _keeps(self, file: File) -> bool:
        """Whether the platform does not let it go: a Required field keeps its last file.

        Raises:
            Idle: Nobody can tell at the moment.
        """
        if (file.aside or file.place)[0] not in REQUIRED:
            return False
        if self.dying or not (self.calm and self._certain(*REQUIRED) and self._settled()):
            raise Idle
        return self.model.is_last(file)

    # -- finding files -------------------------------------------------------------------------------------------

    def _place(self, pick: tuple[str, int]) -> Place:
        """A usual name, or one that happens to be there."""
        field, number = pick
        if number < len(self.usual):
            return field, self.usual[number]
        there = self.model.names(field)
        return field, there[number % len(there)] if there else self.usual[0]

    def _find(self, place: Place) -> File | None:
        """The file of that name, as lookup(2) and the model agree."""
        field = place[0]
        if not self._certain(field):
            self.drive.rest()
        self._come_back(place)
        expected = self.model.at(place)
        with self._may_fail():
            seen = self._look(place)
        if seen is None:
            if expected is not None and self._has_its_bare_name(expected):
                return None
            sure = self._certain(field) and expected is not None and not expected.optional
            assert not sure, f"not there: {expected}"
            return None
        file = self._known(seen)
        if file is None and expected is not None:
            file = expected
            if seen.size != len(file.data) and not self._certain(field):
                raise NotDone  # of several with this name it is another
        if file is not None and file.place != place and file.inode not in (None, seen.inode):
            raise NotDone  # what an answer that was lost has left: not recognised yet
        assert file is not None, f"who is {place}: {seen}"
        if self._certain(field) and not file.gone:
            # (A file that was told apart gets its bare name when that is free.)
            bare = expected is None and place == (file.place[0], file.title)
            assert file is expected or bare, f"{place} is {file}, not {expected}"
        file.place, file.inode = place, seen.inode
        file.linked = True
        self._check(file, seen)
        return file

    def _has_its_bare_name(self, file: File) -> bool:
        bare = (file.place[0], file.title)
        seen = self._look(bare) if file.place != bare and not file.local else None
        if seen is None or self._known(seen) is not file:
            return False
        file.place = bare
        return True

    def _look(self, place: Place) -> Seen | None:
        try:
            return self.drive.look(*place)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def _known(self, seen: Seen) -> File | None:
        file = self.model.by_inode(seen.inode)
        if file is None and seen.attachment is not None:
            file = self.model.known[seen.attachment].file
        return file

    def _check(self, file: File, seen: Seen) -> None:
        assert seen.size == len(file.data), f"{file} has {seen.size} bytes"
        if file.mtime_ns is not None:
            assert seen.mtime_ns == file.mtime_ns, f"the time of {file} moved"
        if file.mode is not None:
            assert seen.mode == file.mode, f"the mode of {file} changed"

    # -- opening, writing, closing -------------------------------------------------------------------------------

    def _open(self, place: Place, flags: int) -> Handle:
        file = self._find(place)
        access = flags & os.O_ACCMODE
        readable, writable = access != os.O_WRONLY, access != os.O_RDONLY
        if file is None:
            if not flags & os.O_CREAT:
                raise NotDone
            number, inode = self._create(place, flags)
            file = self._met(number, place, flags)
            if file is None:
                exclusive = bool(flags & os.O_EXCL) and looks_temporary(place[1])
                file = self.model.created(place, exclusive=exclusive)
                file.inode = inode
        elif flags & os.O_EXCL:
            raise NotDone
        else:
            if flags & os.O_TRUNC:
                self.model.admit(file)
            with self._may_fail(file=file):
                number = self.drive.open(*place, flags & ~os.O_CREAT)
            if not self._certain(place[0]) and self.drive.stat(number).inode != file.inode:
                file = self._met(number, place, flags) or file
            if flags & os.O_TRUNC and file.data:
                self._changed(file, b"")
        handle = Handle(number, file, readable, writable)
        file.readers += 1
        file.writers += writable
        self.handles.append(handle)
        return handle

    def _create(self, place: Place, flags: int) -> tuple[int, int]:
        is_real = not is_local(place[1]) and not (flags & os.O_EXCL and looks_temporary(place[1]))
        full = is_real and self.calm and self._certain(place[0]) and self.model.is_full(place[0])
        with self._may_fail(*self._quota(place[0], new=True)):
            number, inode = self.drive.create(*place, flags)
            assert not full or self.model.aside(place), f"made, though the field is full: {place}"
        return number, inode

    def _met(self, number: int, place: Place, flags: int) -> File | None:
        """Whom the name led to in the end: a colleague's file may have taken it a moment ago."""
        seen = self.drive.stat(number)
        file = self._known(seen) if seen.attachment is not None and not self._certain(place[0]) else None
        if file is not None:
            file.place, file.inode = place, seen.inode
            if flags & os.O_TRUNC and file.data:
                self._changed(file, b"")
        return file

    def _changed(self, file: File, data: bytes) -> None:
        self.model.admit(file)
        self.model.changed(file, data)

    def _write(self, handle: Handle, offset: int, data: bytes) -> None:
        file = handle.file
        self.model.admit(file)
        with self._may_fail(file=file):
            self.drive.write(handle.number, offset, data)
        old = file.data.ljust(offset, b"\0")
        self._changed(file, old[:offset] + data + old[offset + len(data) :])

    def _flush(self, handle: Handle) -> None:
        file = handle.file
        try:
            with self._may_fail(*self._quota(file.place[0])):
                self.drive.flush(handle.number)
        except NotDone:
            pass  # what close() refused is kept, too
        if handle.writable and file.linked and file.dirty and (file.data or file.local):
            self._saved(file)

    def _saved(self, file: File) -> None:
        file.was_up = file.was_up or not file.local
        if not file.local:
            file.went_over = []
        file.accepted()

    def _release(self, handle: Handle) -> None:
        self.drive.release(handle.number)
        self.handles.remove(handle)
        file = handle.file
        file.readers -= 1
        file.writers -= handle.writable
        if file.linked and not file.writers and file.dirty:
            self._saved(file)

    def _close(self, handle: Handle) -> None:
        self._flush(handle)
        self._release(handle)

    def _handle(self, number: int, *, readable: bool = False, writable: bool = False) -> Handle:
        able = [
            handle
            for handle in self.handles
            if (handle.writable or not writable) and (handle.readable or not readable)
        ]
        if not able:
            raise Idle
        return able[number % len(able)]

    def _come_back(self, *places: Place) -> None:
        """A minute after it was put aside a file is back, unless another took its name: look where it is."""
        for file in self.model.files:
            if (
                file.linked
                and file.aside is not None
                and (not places or {file.place, file.aside} & {*places})
            ):
                with self._may_fail():
                    seen = self._look(file.place)
                if seen is None:
                    file.place, file.local, file.aside = file.aside, False, None
                    file.accepted()
