"""The state machine: programs, colleagues and misfortunes at one drive, against the reference model.

Its rules are what programs may call, what others may do, and what may go wrong. After each, what a program can see is
compared with the model as far as the model is certain; at `settle` everything is.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hypothesis import strategies as st
from hypothesis.stateful import rule

from aerofs.namespace.familiar import is_local
from aerofs.sandbox import Fault
from tests.properties.model import File, Place
from tests.properties.programs import NAMES, Handle, Idle, NotDone, Programs
from tests.properties.reckoning import Reckoning
from tests.properties.world import FIELDS, LIMITS, REQUIRED, DiedError, Standing

NOREPLACE = 1

fields = st.sampled_from((*FIELDS, "1/few", "1/few"))  # two files and a third: that takes some doing
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


class DriveMachine(Reckoning):
    """What may be done to a drive, in any order."""

    # -- rules: programs -----------------------------------------------------------------------------------------

    @contextmanager
    def _step(self) -> Iterator[None]:
        try:
            with suppress(NotDone):
                try:
                    yield
                except Idle:
                    return
            assert not self.model.broken, self.model.broken
        except BaseException:
            self.broken_off = True
            raise
        self.since_settled += 1
        Programs.steps += 1

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
            if len(self.handles) >= 6:
                raise Idle
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
            handle = self._handle(which, readable=True)
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
            with self._may_fail(*self._quota(file.place[0]), file=file):
                self.drive.resize(file.place, handle.number if handle else None, size)
        except NotDone:
            seen = self.drive.stat(handle.number) if handle else self._look(file.place)
            if seen is None or seen.size != size:
                raise
        file.mtime_ns = None
        if handle is not None and file.gone:
            file.optional = file.loose = True  # the drive may save it anew
        if size != len(before) or (file.writers and not file.gone):  # (The same size is a change, too.)
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
        out = new[0] != (file.aside or file.place)[0] and not is_local(new[1])
        # (What was put aside still stands where it came from; what is at a real name makes room for another.)
        if out and self._keeps(file) and file.writers and file.dirty:
            raise Idle  # (It goes with its close, which is told.)
        stays = out and self._keeps(file)
        if stays and over is not None and LIMITS.get(new[0]) == 1:
            raise Idle  # (It has taken the place of the other by the time that its source is found to have to stay.)
        if stays or (over is not None and over.aside is not None and self._keeps(over)):
            if over is not None:
                self.model.admit(over)  # in a full field it makes room, and stands again
            with self._may_fail(errno.EPERM, *self._quota(new[0], new=True)):
                self.drive.rename(old, new, flags)
                raise AssertionError(f"the last file has left a Required field: {file}")
        self.model.admit(file)
        put_aside = self.model.aside(new)
        for other in (over, put_aside):
            if other is not None:
                self.model.admit(other)
        no_room = () if is_local(new[1]) else self._quota(new[0], new=over is None)
        if not (is_local(new[1]) or self._settled()):
            no_room += self._quota(old[0])  # (What it comes after may be refused where it was.)
        stood = set(self.model.standing)
        try:
            with self._may_fail(*no_room, file=file):
                self.drive.rename(old, new, flags)
        except NotDone:
            self._not_renamed(file, old, new, over, stood)
            raise
        self.model.renamed(file, new, over)

    def _not_renamed(self, file: File, old: Place, new: Place, over: File | None, stood: set[str]) -> None:
        """It failed: everything is as before."""
        self.drive.rest()
        if self.refusing and new[0] in REQUIRED and over is None:
            over = self.model.cannot_be_taken_back(new, stood)
        seen = self._look(new) if over is not None and new[0] in LIMITS else None
        if seen is not None and self._known(seen) is file:
            # What it went over had to make room, and is gone: ours stands, or is held until its source may go.
            self.model.renamed(file, new, over)
            return
        if over is not None and over.place[1] != over.title and new[0] in LIMITS:
            self._told_apart_anew(over)
        if self._certain(old[0], new[0]) and self.calm:
            assert self._find(old) is file
            over = over or self._put_aside(new)
            assert self._find(over.place if over is not None else new) is over

    def _put_aside(self, place: Place) -> File | None:
        """Who was put aside from that name, and is back by now; else nobody has the name."""
        file = self.model.aside(place)
        if file is None or file.gone or self._find(file.place) is None:
            return None
        if file.aside is None:
            return file
        seen = self._look(place)
        assert seen is None, f"{seen} is {place}, and so is {file}"
        return None

    def _told_apart_anew(self, over: File) -> None:
        """What had to make room and was put back has another id, by which it is told apart from others of its title."""
        field = over.place[0]
        for name in self.drive.names(field):
            seen = self.drive.look(field, name)
            if self._known(seen) is over:
                over.place, over.inode = (field, name), seen.inode

    @rule(pick=picks)
    def unlink(self, pick: tuple[str, int]) -> None:
        with self._step():
            self._unlink(self._place(pick))

    def _unlink(self, place: Place) -> None:
        file = self._find(place)
        if file is None:
            if not self._certain(place[0]):
                raise NotDone  # the kernel asks for no removal of what it was not shown
            with self._may_fail(errno.ENOENT):
                self.drive.unlink(*place)
                raise AssertionError(f"there was no {place}")
        if self._keeps(file):
            with self._may_fail(errno.EPERM):
                self.drive.unlink(*place)
                raise AssertionError(f"the last file of a Required field is gone: {file}")
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
            if field in LIMITS and (len(self.drive.standing(field)) >= LIMITS[field] or not self._settled()):
                raise Idle  # (What has made room for itself would wait for it for ever.)
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
            and b"<" in known.standing.data
        ]
        if not able:
            raise Idle
        return able[which % len(able)]

    def _is_unheard_of(self, standing: Standing) -> bool:
        """It is what a save has brought up, though the drive may not know."""
        known = self.model.standing[standing.id]
        waiting = {save["path"].partition("/")[2] for save in self.drive.saves() if save["state"] != "local"}
        file = known.file
        return not known.colleagues and file is not None and "/".join(file.place) in waiting

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
            if standing.field in LIMITS and self._is_unheard_of(standing):
                raise Idle  # (As above: theirs is where what made room for ours has to stand again.)
            self.model.meddled(standing, settled=self._settled())
            self.drive.meddle(standing.id, (standing.field, standing.title, self.model.token()))

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

    @rule(
        kind=st.sampled_from(("save", "delete", "copy")),
        what=st.sampled_from(("save", "rename", "unlink")),
        pick=picks,
        there=picks,
    )
    def refused(self, kind: str, what: str, pick: tuple[str, int], there: tuple[str, int]) -> None:
        """The platform does not let us: the caller is told, and what was to be saved is held."""
        with self._step():
            self._refused(kind, what, self._place(pick), self._place(there))

    @rule(name=st.sampled_from(NAMES[:2]))
    def refused_where_it_is_full(self, name: str) -> None:
        """What is there has made room, and has to be put back."""
        with self._step():
            for each in NAMES[:2]:
                place = ("1/few", each)
                if not (self.calm and self._certain(place[0]) and self._settled()):
                    raise Idle
                if self.model.at(place) is None and not self.model.is_full(place[0]):
                    self._save(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 9)
            self._refused("save", "save", ("1/few", name), ("1/few", name))

    def _refused(self, kind: str, what: str, place: Place, new: Place) -> None:
        if not self.calm:
            raise Idle
        self.drive.rest()
        before, settled = self._all_standing(), self._settled()
        self.drive.fault(Fault(kind, "status", status=403))
        self.refusing = True
        try:
            self._attempt(what, place, new)
        finally:
            self.refusing, hit = False, not self.drive.faulty()
            self.drive.clear()
        if hit and settled and kind == "save":
            self.drive.rest()
            gone = before - self._all_standing()
            assert not gone, f"destroyed for something that was refused: {gone}"

    def _all_standing(self) -> set[tuple[str, str, bytes]]:
        return {
            (each.field, each.title, each.data) for field in FIELDS for each in self.drive.standing(field)
        }

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

    @rule()
    def away(self) -> None:
        with self._step():
            if self.is_away:
                raise Idle
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
        self.drive.sleep(seconds)
        for file in self.model.files:
            file.was_up |= not file.writers if file.exclusive else file.dirty and not file.local
            if file.dirty and file.linked and not file.writers and seconds > 2:
                self._saved(file)

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
        # (A rename in which it died may have been carried out.)
        names = [file.place, *(place for place in file.durable_places if is_local(place[1]))]
        here = next((place for place in names if self._look(place) is not None), None)
        if here is not None:
            file.place = here
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
            self.dying = True
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
                self.dying = False
                self._end_of_life(crashed=True)
            finally:
                self.dying = False

    # -- the reckoning -------------------------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        with self._step():
            if self.since_settled < 12:
                raise Idle
            self._settle()
