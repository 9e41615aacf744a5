"""The state machine: programs, colleagues and misfortunes at one drive, against the reference model.

Its rules are what programs may call, what others may do, and what may go wrong. After each, what a program can see is
compared with the model as far as the model is certain; at `settle` everything is.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aerofs.namespace.familiar import is_local, looks_temporary
from aerofs.sandbox import Fault
from tests.properties.model import File, Model, Place, is_name_of
from tests.properties.world import FIELDS, DiedError, Seen, Standing, World

NAMES = ("a.txt", "b.txt", "a.txt~", ".b.txt.swp", "sedAbC123")
TROUBLE = {errno.EIO, errno.ETIMEDOUT}
REFUSALS = {errno.EACCES, errno.EPERM, errno.EFBIG, errno.EDQUOT}
VANISHED = {errno.ENOENT, errno.ESTALE}
NOREPLACE = 1

fields = st.sampled_from(FIELDS)
picks = st.tuples(fields, st.integers(0, 9))
ACCIDENTS = st.one_of(
    st.builds(
        Fault,
        st.sampled_from(("save", "delete", "copy", "list", "document", "download", "*")),
        st.sampled_from(("status", "drop_answer", "cut", "half", "html")),
        count=st.integers(1, 3),
        after=st.integers(0, 1),
        status=st.sampled_from((503, 500, 429)),
    ),
    st.builds(
        Fault,
        st.sampled_from(("save", "delete", "copy", "list", "download")),
        st.just("delay"),
        seconds=st.sampled_from((1.0, 7.0, 20.0)),
    ),
)


class NotDone(Exception):  # noqa: N818  nothing failed
    """A call failed as it may, and nothing has changed."""


@dataclass(eq=False)
class Handle:
    """An open file."""

    number: int
    file: File
    writable: bool
    saved: bool = False


class DriveMachine(RuleBasedStateMachine):
    """What may be done to a drive, in any order."""

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

    def teardown(self) -> None:
        try:
            if not self.broken_off:
                self._settle()
                for file in list(self.model.shown()):
                    if file.local:
                        self.drive.unlink(*file.place)
                        file.linked = False
                self.drive.drain()
                self.drive.assert_nothing_left()
        finally:
            for end in self.ends:
                end()

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
        file = self._known(seen) or expected
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
        writable = bool(flags & (os.O_WRONLY | os.O_RDWR))
        if file is None:
            if not flags & os.O_CREAT:
                raise NotDone
            with self._may_fail():
                number, inode = self.drive.create(*place, flags)
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
            if flags & os.O_TRUNC and file.data:
                self._changed(file, b"")
        handle = Handle(number, file, writable)
        file.readers += 1
        file.writers += writable
        self.handles.append(handle)
        return handle

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
            with self._may_fail():
                self.drive.flush(handle.number)
        except NotDone:
            pass  # what close() refused is kept, too
        if handle.writable and file.linked and file.dirty and (file.data or file.local):
            self._saved(file)
            # (Written again: brought up later; until then its row goes with what is written.)
            file.rowed = handle.saved
            handle.saved = True

    def _saved(self, file: File) -> None:
        file.was_up = file.was_up or not file.local
        file.went_over = False
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

    def _handle(self, number: int, *, writable: bool = False) -> Handle:
        able = [handle for handle in self.handles if handle.writable or not writable]
        if not able:
            raise NotDone
        return able[number % len(able)]

    # -- rules: programs -----------------------------------------------------------------------------------------

    @contextmanager
    def _step(self) -> Iterator[None]:
        self.since_settled += 1
        DriveMachine.steps += 1
        try:
            with suppress(NotDone):
                yield
            assert not self.model.broken, self.model.broken
        except BaseException:
            self.broken_off = True
            raise

    @rule(pick=picks, length=st.sampled_from((0, 0, 9, 3000)), excl=st.booleans())
    def save(self, pick: tuple[str, int], length: int, *, excl: bool) -> None:
        """`cp` over a name."""
        with self._step():
            flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if excl else os.O_TRUNC)
            self._save(self._place(pick), flags, length)

    def _save(self, place: Place, flags: int, length: int) -> None:
        handle = self._open(place, flags)
        try:
            self._write(handle, 0, self.model.token(length))
        except DiedError:
            raise
        except NotDone:
            self._close(handle)
            raise
        self._close(handle)

    @rule(
        pick=picks,
        how=st.sampled_from(
            (
                os.O_RDONLY,
                os.O_RDWR,
                os.O_WRONLY | os.O_TRUNC,
                os.O_RDWR | os.O_CREAT,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL,
            )
        ),
    )
    def open(self, pick: tuple[str, int], how: int) -> None:
        with self._step():
            if len(self.handles) < 6:
                self._open(self._place(pick), how)

    @rule(
        which=st.integers(0, 5), where=st.sampled_from(("start", "end", "beyond")), length=st.integers(0, 9)
    )
    def write(self, which: int, where: str, length: int) -> None:
        with self._step():
            handle = self._handle(which, writable=True)
            size = len(handle.file.data)
            offset = {"start": 0, "end": size, "beyond": size + 5}[where]
            self._write(handle, offset, self.model.token(length))

    @rule(which=st.integers(0, 5))
    def close(self, which: int) -> None:
        with self._step():
            self._close(self._handle(which))

    @rule(which=st.integers(0, 5))
    def close_duplicate(self, which: int) -> None:
        """close(2) of one of several descriptors."""
        with self._step():
            self._flush(self._handle(which))

    @rule(which=st.integers(0, 5))
    def fsync(self, which: int) -> None:
        with self._step():
            handle = self._handle(which)
            with self._may_fail():
                self.drive.fsync(handle.number)
            file = handle.file
            if file.dirty and file.linked:
                file.journalled()

    @rule(which=st.integers(0, 5), offset=st.integers(0, 20), length=st.integers(1, 5000))
    def read(self, which: int, offset: int, length: int) -> None:
        with self._step():
            handle = self._handle(which)
            file = handle.file
            # Somebody else may have replaced the version that it opened: that one, or nothing.
            with self._may_fail(file=file):
                found = self.drive.read(handle.number, offset, length)
            assert found == file.data[offset : offset + length], f"{file} reads as {found!r}"

    @rule(which=st.integers(0, 5))
    def stat(self, which: int) -> None:
        with self._step():
            handle = self._handle(which)
            self._check(handle.file, self.drive.stat(handle.number))

    @rule(which=st.integers(0, 5), size=st.sampled_from((0, 8, 12, 100)))
    def ftruncate(self, which: int, size: int) -> None:
        with self._step():
            handle = self._handle(which, writable=True)
            self._resize(handle.file, handle, size)

    @rule(pick=picks, size=st.sampled_from((0, 8, 12, 100)))
    def truncate(self, pick: tuple[str, int], size: int) -> None:
        with self._step():
            file = self._find(self._place(pick))
            if file is not None:
                self._resize(file, None, size)

    def _resize(self, file: File, handle: Handle | None, size: int) -> None:
        before = file.data
        self.model.admit(file)
        try:
            with self._may_fail(file=file):
                self.drive.resize(file.place, handle.number if handle else None, size)
        except NotDone:
            seen = self.drive.stat(handle.number) if handle else self._look(file.place)
            if seen is None or seen.size != size:
                raise
        file.mtime_ns = None
        if handle is not None and file.gone:
            file.optional = file.loose = True  # the drive may save it anew
        if size != len(before):
            self._changed(file, before[:size].ljust(size, b"\0"))
        if handle is None and not file.writers and file.linked and (size or file.local):
            self._saved(file)  # (an empty one after a while)

    @rule(pick=picks, seconds=st.integers(1, 2**31), mode=st.sampled_from((None, 0o600, 0o644)))
    def adorn(self, pick: tuple[str, int], seconds: int, mode: int | None) -> None:
        """utimens(2) and chmod(2)."""
        with self._step():
            file = self._find(self._place(pick))
            if file is None:
                return
            self.drive.adorn(file.place, mtime_ns=seconds * 10**9, mode=mode)
            file.mtime_ns = seconds * 10**9
            file.mode = file.mode if mode is None else mode

    @rule(pick=picks, there=picks, noreplace=st.booleans())
    def rename(self, pick: tuple[str, int], there: tuple[str, int], *, noreplace: bool) -> None:
        with self._step():
            self._rename(self._place(pick), self._place(there), NOREPLACE if noreplace else 0)

    def _rename(self, old: Place, new: Place, flags: int) -> None:
        file, over = self._find(old), self._find(new)
        if file is None or file is over:
            return
        if over is not None and flags:
            with self._may_fail(errno.EEXIST):
                self.drive.rename(old, new, flags)
                raise AssertionError("replaced what was there")
        if (file.replaces or file.went_over) and is_local(new[1]):
            return  # what it went over, before its first close, stays hidden on the platform: nobody's to see
        self.model.admit(file)
        put_aside = self.model.aside(new)
        for other in (over, put_aside):
            if other is not None:
                self.model.admit(other)
        try:
            with self._may_fail(file=file):
                self.drive.rename(old, new, flags)
        except NotDone:
            self._not_renamed(file, old, new, over)
            raise
        self.model.renamed(file, new, over)

    def _not_renamed(self, file: File, old: Place, new: Place, over: File | None) -> None:
        """It failed: everything is as before."""
        self.drive.rest()
        if self._certain(old[0], new[0]) and self.calm:
            assert self._find(old) is file
            assert self._find(new) is over

    @rule(pick=picks)
    def unlink(self, pick: tuple[str, int]) -> None:
        with self._step():
            self._unlink(self._place(pick))

    def _unlink(self, place: Place) -> None:
        file = self._find(place)
        if file is None:
            with self._may_fail(errno.ENOENT):
                self.drive.unlink(*place)
                raise AssertionError(f"there was no {place}")
        self.model.admit(file)
        try:
            with self._may_fail(file=file):
                self.drive.unlink(*place)
        except NotDone:
            # Some of it may be done: the answer was lost.
            file.optional = True
            raise
        self.model.unlinked(file)

    @rule(field=fields)
    def list(self, field: str) -> None:
        with self._step():
            self.drive.rest()
            self._come_back()
            with self._may_fail():
                names = self.drive.names(field)
            assert len(set(names)) == len(names), f"a name is listed twice: {names}"
            if self._certain(field):
                shown = list(self.model.shown(field))
                unsure = {file.place[1] for file in shown if file.optional}
                # A file that was told apart gets its bare name when that is free.
                apart = [file for file in shown if file.place[1] != file.title and not file.local]
                unsure |= {name for file in apart for name in (file.place[1], file.title)}
                sure = {file.place[1] for file in shown} - unsure
                assert {*names} - unsure == sure, f"{field} shows {names}"

    @rule(pick=picks)
    def cat(self, pick: tuple[str, int]) -> None:
        """Open, read all, close."""
        with self._step():
            handle = self._open(self._place(pick), os.O_RDONLY)
            try:
                with self._may_fail(file=handle.file):
                    found = self.drive.read(handle.number, 0, 1 << 20)
                assert found == handle.file.data, f"{handle.file} reads as {found!r}"
            finally:
                self._close(handle)

    # -- rules: others -------------------------------------------------------------------------------------------

    @rule(field=fields, name=st.sampled_from(NAMES[:2]))
    def colleague_adds(self, field: str, name: str) -> None:
        with self._step():
            self.model.touched(field)
            self.drive.meddle(None, (field, name, self.model.token()))

    def _theirs(self, which: int) -> Standing:
        self.drive.rest()
        able = [
            known.standing
            for known in self.model.standing.values()
            if known.file is not None
            and known.file.aside is None
            and known.file.linked
            and known.standing.data
        ]
        if not able:
            raise NotDone
        return able[which % len(able)]

    @rule(which=st.integers(0, 20))
    def colleague_removes(self, which: int) -> None:
        with self._step():
            standing = self._theirs(which)
            self.model.meddled(standing, settled=self._settled())
            self.drive.meddle(standing.id, None)

    @rule(which=st.integers(0, 20))
    def colleague_replaces(self, which: int) -> None:
        with self._step():
            standing = self._theirs(which)
            self.model.meddled(standing, settled=self._settled())
            self.drive.meddle(standing.id, (standing.field, standing.title, self.model.token()))

    def _settled(self) -> bool:
        return not [save for save in self.drive.saves() if save["state"] != "local"]

    # -- rules: misfortunes --------------------------------------------------------------------------------------

    @rule(accident=ACCIDENTS)
    def accident(self, accident: Fault) -> None:
        with self._step():
            self._order(accident)

    def _order(self, accident: Fault) -> None:
        self.model.answers_get_lost |= accident.action in ("drop_answer", "half")
        self.drive.fault(accident)

    @rule(accident=ACCIDENTS, what=st.sampled_from(("save", "rename", "unlink")), pick=picks, there=picks)
    def unlucky(self, accident: Fault, what: str, pick: tuple[str, int], there: tuple[str, int]) -> None:
        """Something goes wrong in the middle of a call."""
        with self._step():
            self._order(accident)
            self._attempt(what, self._place(pick), self._place(there))

    def _attempt(self, what: str, place: Place, new: Place) -> None:
        if what == "save":
            self._save(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0)
        elif what == "unlink":
            self._unlink(place)
        else:
            self._rename(place, new, 0)

    @rule()
    def heal(self) -> None:
        with self._step():
            self._heal()

    def _heal(self) -> None:
        self.drive.clear()
        if self.is_away:
            self.is_away = False
            self.drive.away(away=False)

    @precondition(lambda self: not self.is_away)
    @rule()
    def away(self) -> None:
        with self._step():
            self.is_away = True
            self.drive.away(away=True)

    @rule()
    def rest(self) -> None:
        with self._step():
            self.drive.rest()

    @rule(seconds=st.sampled_from((1.0, 3.0, 6.0, 35.0, 61.0, 400.0)))
    def sleep(self, seconds: float) -> None:
        with self._step():
            self._sleep(min(seconds, self.longest_sleep))

    def _sleep(self, seconds: float) -> None:
        for file in self.model.files:
            if file.dirty and not file.local:
                file.unsure |= not file.durable
                file.durable.append(file.data)  # an open file that is quiet is saved
                file.rowed = True
        self.drive.sleep(seconds)
        for file in self.model.files:
            if file.dirty and file.linked and not file.writers and seconds > 2:
                self._saved(file)

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

    # -- the end of the life of a process ------------------------------------------------------------------------

    @rule(crash=st.booleans())
    def remount(self, *, crash: bool) -> None:
        """Unmounted and mounted again; or killed, and what the disk holds is mounted."""
        with self._step():
            if not crash:
                while self.handles:
                    self._close(self.handles[0])
            self._end_of_life(crashed=crash)

    def _end_of_life(self, *, crashed: bool) -> None:
        self._heal()
        self.drive.remount(crashed=crashed)
        self.model.remounted(crashed=crashed)
        self.handles.clear()
        for file in list(self.model.files):
            if file.linked and file.local:
                self._where_now(file)
        self._settle()

    def _where_now(self, file: File) -> None:
        """A file of a local name: it is still here, or what it is on the platform is to be seen again."""
        aside, file.aside = file.aside, None
        if self._look(file.place) is not None:
            self.model.may_stand(file, aside)
        elif aside is not None:
            file.place, file.local = aside, False
        else:
            real = [place for place in file.durable_places if not is_local(place[1])]
            assert real or file.optional, f"lost at the end of the process: {file}"
            file.linked = file.local = False
            if real:
                file.linked, file.place, file.title = True, real[-1], real[-1][1]

    @rule(
        request=st.integers(0, 4),
        answered=st.booleans(),
        what=st.sampled_from(("save", "rename", "unlink")),
        pick=picks,
        there=picks,
    )
    def die(
        self, request: int, what: str, pick: tuple[str, int], there: tuple[str, int], *, answered: bool
    ) -> None:
        """The process is killed in the middle of a call: it was carried out, or it was not."""
        with self._step():
            old, new = self._place(pick), self._place(there)
            file, over = self._find(old), self._find(new)
            put_aside = self.model.aside(old if what == "save" else new)
            opened = len(self.handles)
            self.drive.die_at(request, answered=answered)
            try:
                with suppress(NotDone):
                    self._attempt(what, old, new)
                self.drive.die_at(-1, answered=False)
            except DiedError:
                if what == "save" and len(self.handles) > opened:
                    file = self.handles[-1].file
                place = {"save": old, "rename": new}.get(what)
                if what == "rename" and over is not None and not over.local:
                    place = (new[0], over.title)
                self.model.died([file] if file else [], place)
                if what == "rename":
                    self.model.died([over] if over else [], None)
                self.model.died([put_aside] if put_aside else [], None)
                self._end_of_life(crashed=True)

    # -- the reckoning -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.since_settled >= 12)
    @rule()
    def settle(self) -> None:
        with self._step():
            self._settle()

    def _settle(self) -> None:
        """All is well again and everything has come to rest: what there is, is what there must be."""
        self.since_settled = 0
        self._heal()
        while self.handles:
            self._close(self.handles[0])
        self.drive.drain()
        self.drive.sleep(self.patience)
        self.drive.drain()
        self.drive.retry_held()
        for file in self.model.files:
            if file.exclusive:
                file.local = file.exclusive = False
        self._come_back()
        self._discard_hopeless()
        self.drive.refresh()
        truth = [each for field in FIELDS for each in self.drive.standing(field)]
        files = self.model.reckon(truth)
        for field in FIELDS:
            self._reckon_view(field, {each.id: each for each in truth if each.field == field}, files)
        left = [save for save in self.drive.saves() if save["state"] != "local"]
        assert not left, f"not brought up: {left}"

    def _discard_hopeless(self) -> None:
        """What a colleague removed while it was being moved cannot be moved: that is told, until the user acts."""
        saves = self.drive.saves()
        for save in saves:
            if save["state"] == "held":
                # (It may have been moved on since.)
                paths = [each["path"] for each in saves if each is save or each["after"] == save["id"]]
                places = [(f"{document}/{field}", name) for _, document, field, name in map(_parts, paths)]
                file = next((file for place in places if (file := self._find(place)) is not None), None)
                assert file is not None, f"held, but not shown: {save}"
                assert file.optional, f"held, though nothing speaks against it: {save}"
                self.drive.unlink(*file.place)
                self.model.unlinked(file)

    def _adopt(self, field: str, name: str, file: File) -> None:
        """After a crash: one of the versions that it may be."""
        file.data = self._content(field, name)
        assert file.data in file.durable, f"{file} may be {file.durable}"

    def _content(self, field: str, name: str) -> bytes:
        number = self.drive.open(field, name, os.O_RDONLY)
        try:
            return self.drive.read(number, 0, 1 << 20)
        finally:
            self.drive.flush(number)
            self.drive.release(number)

    def _reckon_view(self, field: str, truth: dict[str, Standing], files: dict[str, File]) -> None:
        names = self.drive.names(field)
        assert len(set(names)) == len(names), f"a name is listed twice: {names}"
        local = {file.place[1]: file for file in self.model.shown(field) if file.local}
        shown = set()
        for name in names:
            seen = self.drive.look(field, name)
            if name in local:
                file = local.pop(name)
            else:
                assert seen.attachment in truth, f"{name} is {seen}, but the platform holds {truth}"
                standing = truth[seen.attachment]
                file = files[seen.attachment]
                shown.add(seen.attachment)
                assert is_name_of(standing.title, name), f"{name}: {standing}"
                file.place = (field, name)
            file.inode = seen.inode
            if file.maybe and file.local:
                self._adopt(field, name, file)
            self._check(file, seen)
            # (Of what a colleague removed, a local name may show what is not here any more.)
            with suppress(NotDone), self._may_fail(file=file):
                found = self._content(field, name)
                assert found == file.data, f"{file} reads as {found!r}"
        lost = [file for file in local.values() if not file.optional]
        assert not lost, f"local files are lost: {lost}"
        for file in local.values():
            file.linked = False
        assert shown == truth.keys(), f"not shown: {truth.keys() - shown}"


def _parts(path: str) -> list[str]:
    return path.split("/")
