"""What must be true of files on a drive, as SEMANTICS.md has it: the reference model of the state machine.

It knows nothing of how the drive works. Every file ever made, by us or by a colleague, is a `File` with bytes that no
other file has; the model follows what the programs did with it, and says what may stand on the platform in the end.
Where the promises leave an outcome open, or a colleague's hand makes it so, the model allows each of them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from aerofs.namespace.familiar import is_local
from tests.properties.world import FIELDS, LIMITS, REQUIRED, Standing

Place = tuple[str, str]


@dataclass(eq=False)
class File:
    """One file, from its first byte on.

    Attributes:
        place: The field and the name under which the drive shows it.
        title: What the platform is to call it.
        data: What its readers see.
        colleagues: Nobody here has ever changed it.
        local: Its name never leaves this machine; `exclusive`: for a minute only.
        aside: Where the platform still shows it, after it was renamed to a local name, and as what (`stood`).
        was_up: It was handed to the platform once, or may have been, so that it may be put aside.
        linked: It has a name.
        gone: A colleague removed it, and nothing newer of it is here.
        optional: It may be there in the end, or not.
        loose: A colleague was at its name: it may stand under the title of a conflict.
        dirty: Changed since a close.
        closed: What the last close accepted of it.
        durable: What a crash may leave of it; nothing: it was never accepted.
        durable_places: The same of its place.
        went_over: What the platform has of whom it took a name from, and has yet to replace.
        unsure: A crash may leave nothing of it.
        maybe: After a crash: places and bytes besides the usual ones.
        replaces: Whom it has taken the name of, before it was accepted itself.
    """

    place: Place
    title: str
    data: bytes
    colleagues: bool = False
    local: bool = False
    exclusive: bool = False
    aside: Place | None = None
    stood: list[bytes] = field(default_factory=list)
    was_up: bool = False
    linked: bool = True
    gone: bool = False
    optional: bool = False
    loose: bool = False
    dirty: bool = False
    closed: list[bytes] = field(default_factory=list)
    durable: list[bytes] = field(default_factory=list)
    durable_places: list[Place] = field(default_factory=list)
    maybe: list[tuple[Place, bytes]] = field(default_factory=list)
    replaces: list["File"] = field(default_factory=list)
    unsure: bool = False
    went_over: list[bytes] = field(default_factory=list)
    inode: int | None = None
    mtime_ns: int | None = None
    mode: int | None = None
    readers: int = 0
    writers: int = 0

    def __repr__(self) -> str:
        marks = [name for name in ("local", "gone", "optional", "loose", "dirty") if getattr(self, name)]
        marks += [] if self.linked else ["unlinked"]
        aside = f", aside from {self.aside}" if self.aside else ""
        return f"<{'/'.join(self.place)} {self.data!r} {' '.join(marks)}{aside}>"

    def accepted(self) -> None:
        """Everything of it is as safe as can be."""
        self.dirty, self.closed = False, [self.data]
        self.journalled()

    def journalled(self) -> None:
        """A crash leaves it as it is now, or as it is written from now on."""
        self.durable, self.durable_places = [self.data], [self.place]
        self.unsure = False
        self.replaces.clear()

    def may_stand_as(self, standing: Standing) -> bool:
        """Whether that is a right attachment for it to be in the end."""
        ways = self.maybe or [(self.place, self.data)]
        return any(
            standing.field == place[0]
            and standing.data == data
            and (self.may_be_called(standing.title) or self._called(place[1], standing.title))
            for place, data in ways
        )

    def may_be_called(self, title: str) -> bool:
        """Whether that is a right title for it."""
        return self._called(self.title, title)

    def _called(self, title: str, found: str) -> bool:
        return found == title or (self.loose and is_conflict(title, found))


@dataclass
class Known:
    """An attachment that stands, or stood."""

    standing: Standing
    file: File | None
    colleagues: bool
    ours_to_delete: bool = False


class Model:
    """All files."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.known: dict[str, Known] = {}
        self.standing: dict[str, Known] = {}
        self.murky: set[str] = set()
        self.broken: list[str] = []
        self.answers_get_lost = False
        self._tokens = 0

    def token(self, length: int = 0) -> bytes:
        """Bytes that nobody has written yet."""
        self._tokens += 1
        return b"<%06d>" % self._tokens + bytes([97 + self._tokens % 26]) * length

    def new(self, place: Place, data: bytes, *, colleagues: bool = False) -> File:
        """A new file."""
        file = File(place, place[1], data, colleagues=colleagues, local=is_local(place[1]) and not colleagues)
        file.loose = place[0] in self.murky and not colleagues
        self.files.append(file)
        return file

    # -- where files are -----------------------------------------------------------------------------------------

    def shown(self, *fields: str) -> Iterator[File]:
        """Every file that has a name there, as far as we know."""
        wanted = fields or FIELDS
        return (file for file in self.files if file.linked and not file.gone and file.place[0] in wanted)

    def at(self, place: Place) -> File | None:
        """The file of that name."""
        return next((file for file in self.shown(place[0]) if file.place == place), None)

    def aside(self, place: Place) -> File | None:
        """The file that was put aside from that name."""
        return next((file for file in self.files if file.linked and file.aside == place), None)

    def by_inode(self, inode: int) -> File | None:
        """The file that had this number."""
        return next((file for file in self.files if file.inode == inode), None)

    def names(self, field: str) -> list[str]:
        """The names of a field, as far as we know."""
        return sorted(file.place[1] for file in self.shown(field))

    # -- room ----------------------------------------------------------------------------------------------------

    def may_be_full(self, field: str, *, for_one_more: bool) -> bool:
        """The platform, or the drive, may find that there is no room."""
        limit = LIMITS.get(field)
        if limit is None:
            return False
        if field in self.murky:
            return True
        own = {file for file in self.shown(field) if not file.local or file.exclusive}
        own |= {file for file in self.files if file.aside is not None and file.aside[0] == field}
        others = [known for known in self.standing_in(field) if known.file not in own]
        return len(own) + len(others) + for_one_more > limit

    def is_full(self, field: str) -> bool:
        """There is no room for one more, for sure, where the field is not murky."""
        limit = LIMITS.get(field)
        sure = [file for file in self.shown(field) if not file.local and not file.optional]
        return limit is not None and len(sure) >= limit

    def standing_in(self, field: str) -> list[Known]:
        """What stands there."""
        return [known for known in self.standing.values() if known.standing.field == field]

    def is_last(self, file: File) -> bool:
        """It is all that stands in a Required field."""
        field = (file.aside or file.place)[0]
        files = [known.file for known in self.standing_in(field)]
        return field in REQUIRED and file in files and all(other is file for other in files)

    # -- what the platform tells ---------------------------------------------------------------------------------

    def appeared(self, standing: Standing, *, colleague: bool) -> None:
        """An attachment stands."""
        owner = None
        if colleague:
            owner = self.new((standing.field, standing.title), standing.data, colleagues=True)
            owner.was_up = True
            owner.accepted()
        else:
            owner = self._owner(standing)
            if self.answers_get_lost:
                # Until the drive has recognised it, it may be seen as somebody else's.
                self.murky.add(standing.field)
        known = Known(standing, owner, colleague)
        self.known[standing.id] = self.standing[standing.id] = known

    def _owner(self, standing: Standing) -> File | None:
        candidates = [
            file
            for file in reversed(self.files)
            if standing.data == file.data or standing.data in file.durable
        ]
        candidates.sort(
            key=lambda file: not (file.place[0] == standing.field and file.may_be_called(standing.title))
        )
        return candidates[0] if candidates else None

    def vanished(self, attachment: str, *, colleague: bool) -> None:
        """An attachment is gone."""
        known = self.standing.pop(attachment)
        if not colleague and known.colleagues and not known.ours_to_delete:
            self.broken.append(f"destroyed unseen: {known.standing}")

    def admit(self, file: File) -> None:
        """A program has seen the file, and asked for something that replaces or deletes it."""
        for known in self.standing.values():
            if known.file is file:
                known.ours_to_delete = True

    def spare(self, file: File) -> None:
        """It came to nothing: the file is as it was."""
        for known in self.standing.values():
            if known.file is file:
                known.ours_to_delete = False

    # -- what programs do ----------------------------------------------------------------------------------------

    def created(self, place: Place, *, exclusive: bool) -> File:
        """A new file has taken a name."""
        file = self.new(place, b"")
        file.exclusive = exclusive
        file.local |= exclusive
        file.dirty = True
        self._may_be_saved(file)
        file.durable_places.append(place)
        if not file.local:
            self._claim(file)
        return file

    def _may_be_saved(self, file: File) -> None:
        """An open file that is quiet for a while is saved; and any call may take a while."""
        file.unsure |= not file.durable
        file.durable.append(file.data)

    def _claim(self, file: File) -> None:
        """What was put aside from the name is only here from now on."""
        old = self.aside(file.place)
        if old is not None and old is not file:
            self.admit(old)
            self._replace(file, old, old.aside)
            old.aside = None

    def _replace(self, file: File, old: File, place: Place | None) -> None:
        """Until the file is accepted, a crash may leave the old one where it was on the platform."""
        file.went_over = [*file.went_over, *self._left_standing(old)]
        stood = old.stood if place == old.aside else old.durable
        if place is not None and stood:
            twin = File(place, old.title, stood[0], maybe=[(place, data) for data in stood])
            twin.linked, twin.optional = False, True
            twin.loose = old.loose
            file.replaces.append(twin)

    def changed(self, file: File, data: bytes) -> None:
        """A program changed its bytes."""
        if file.gone:
            file.durable.clear()
        file.data, file.dirty, file.gone, file.mtime_ns = data, True, False, None
        for known in self.standing_in(file.place[0]):
            if known.file is None and known.standing.data == data:
                known.file = file  # truncate(2) brings up what it has changed before it returns
        file.loose |= file.place[0] in self.murky
        self._may_be_saved(file)

    def unlinked(self, file: File) -> None:
        """A name was removed."""
        self.admit(file)
        file.linked = False

    def renamed(self, file: File, place: Place, over: File | None) -> None:
        """A file has another name."""
        self.admit(file)
        title = place[1]
        if over is not None:
            title = over.title if not over.local else title
            file.loose |= over.loose
            self._replace(file, over, over.aside or over.place)
            self.unlinked(over)
        back = file.aside == place and over is None
        came_from_local = file.local
        if is_local(place[1]):
            # (One that only looked temporary may be a real one by now.)
            if (not file.local or file.exclusive) and (file.was_up or file.went_over):
                file.aside, file.stood = file.place, self._left_standing(file)
            file.place, file.local, file.exclusive = place, True, False
        else:
            file.place, file.local, file.exclusive, file.was_up = place, False, False, True
            file.aside = None
            if not back:
                file.title = title
                self._claim(file)
        file.loose |= place[0] in self.murky
        if file.gone:
            # What the drive has of it may do, or it may not.
            file.optional = True
            file.gone = not file.local
            self.murky.add(place[0])
        if file.writers and not is_local(place[1]) and (file.dirty or came_from_local):
            file.dirty = True  # its close will do it
            file.durable_places.append(place)
        else:
            file.accepted()
            if not file.local:
                file.went_over = []

    def cannot_be_taken_back(self, place: Place, stood: set[str]) -> File | None:
        """A rename was refused, and what it brought up since `stood` is the last file of a Required field: it stays."""
        there = self.standing_in(place[0])
        if len(there) != 1 or there[0].standing.id in stood or there[0].colleagues:
            return None
        file = there[0].file = self.new(place, there[0].standing.data)
        file.title, file.was_up = there[0].standing.title, True
        file.accepted()
        return file

    def _left_standing(self, file: File) -> list[bytes]:
        """What the platform may show where a file was: the file, or what it has yet to replace."""
        if not file.was_up:
            return file.went_over
        # What was changed since its last close may not have been sent yet, nor was what an fsync made safe here.
        unsent = [known.standing.data for known in self.standing.values() if known.file is file]
        own = [*unsent, *file.closed, *file.durable] if file.dirty else [file.data]
        return [*file.went_over, *dict.fromkeys(own)]

    # -- the end of a process ------------------------------------------------------------------------------------

    def died(self, files: Iterable[File], place: Place | None) -> None:
        """It died in a call about these files: it was carried out or not. `place`: where one of them was to go."""
        for file in files:
            if file.dirty:
                file.durable.append(file.data)
            for known in self.standing.values():
                known.ours_to_delete |= known.file is file
            if place is None:
                file.optional = True
                self.may_stand(file, file.aside)
            else:
                file.durable_places.append(place)
                file.optional |= file.gone
                file.loose |= place[0] in self.murky

    def may_stand(self, file: File, place: Place | None) -> None:
        if place is not None and file.stood:
            twin = self.new(place, file.stood[0])
            twin.title = file.title  # (A file that was told apart from others has another name here.)
            twin.maybe = [(place, data) for data in file.stood]
            twin.linked, twin.optional, twin.loose, twin.local = False, True, True, False

    def remounted(self, *, crashed: bool) -> None:
        """A new process has taken up what the disk holds."""
        for file in list(self.files):
            file.inode = None
            if crashed:
                file.readers = file.writers = 0
                file.mtime_ns = file.mode = None
                for old in file.replaces:
                    self.files.append(old)
                self._as_found(file)
            if file.exclusive:
                file.local = file.exclusive = False
        self.files = [file for file in self.files if file.linked or file.optional]

    def _as_found(self, file: File) -> None:
        if not file.dirty and len(file.durable_places) < 2:
            return
        if not file.durable:
            file.linked = False
        else:
            file.maybe = [(place, data) for place in file.durable_places for data in file.durable]
            # New, and in the middle of its first save.
            file.optional |= file.unsure or (not file.was_up and not file.local)

    # -- what a colleague does -----------------------------------------------------------------------------------

    def meddled(self, standing: Standing, *, settled: bool) -> None:
        """A colleague is about to remove an attachment."""
        known = self.standing[standing.id]
        self.touched(standing.field)
        file = known.file
        if file is None or not file.linked:
            return
        file.loose = True
        if file.dirty:
            if standing.data in file.durable:
                # The version that a crash would have left, if nothing newer of it was recorded by then.
                file.durable = [data for data in file.durable if data != standing.data]
                file.unsure = True
            # (Without a close: an open file that is quiet is saved, too.)
            file.optional |= standing.data == file.data
            return
        if standing.data != file.data:
            return
        if (standing.field, standing.title) != (file.place[0], file.title) and not is_conflict(
            file.title, standing.title
        ):
            file.optional = True
            return
        file.gone = True
        file.optional |= not settled

    def touched(self, field: str) -> None:
        """A colleague was there: for a while the drive may show one thing or the other."""
        self.murky.add(field)
        for file in self.files:
            if file.linked and file.place[0] == field:
                file.loose = True

    # -- the reckoning -------------------------------------------------------------------------------------------

    def reckon(self, truth: Iterable[Standing]) -> dict[str, File]:
        """Compare what stands on the platform with what is to stand there. Returns the file of each attachment.

        Raises:
            AssertionError: Something is lost, doubled, or came back.
        """
        left = list(truth)
        found: dict[str, File] = {}
        expected = [file for file in self.files if file.linked and not file.local and not file.gone]
        maybe = [file for file in self.files if file not in expected and file.optional and not file.local]
        for file in sorted(expected, key=lambda file: file.optional) + maybe:
            fits = [each for each in left if file.may_stand_as(each)]
            # The same bytes twice are empty files: those that we know are taken first.
            fits.sort(key=lambda each: (self.known[each.id].file is not file, each.title != file.title))
            if fits:
                left.remove(fits[0])
                found[fits[0].id] = file
                file.title, file.linked, file.gone = fits[0].title, True, False
                file.was_up = True
                file.place, file.data = (fits[0].field, fits[0].title), fits[0].data
            elif not file.optional:
                raise AssertionError(f"lost: {file}; on the platform beside the others: {left}")
            else:
                file.linked = False
        assert not left, f"doubled, half, or come back: {left}"
        for file in self.files:
            file.linked &= not file.gone
        self.files = [file for file in self.files if file.linked or file.readers or file.writers]
        for file in self.files:
            # (Of what a colleague removed, a local name keeps what happens to be here: till the end of the process.)
            file.optional, file.loose = file.optional and file.local, False
            file.maybe.clear()
            file.accepted()
        for identity, file in found.items():
            self.known[identity].file = file
        self.murky.clear()
        self.answers_get_lost = False
        return found


def is_conflict(title: str, other: str) -> bool:
    """Whether the other is a title under which ours stands beside a stranger's."""
    return _with(r"( \(conflict [^()]*\))+", title).fullmatch(other) is not None


def is_name_of(title: str, name: str) -> bool:
    """Whether a file of that title may be shown so: told apart from others of the same title."""
    return _with(r"( \([0-9a-f]+\))?", title).fullmatch(name) is not None


def _with(tag: str, title: str) -> re.Pattern[str]:
    suffix = PurePosixPath(title).suffix
    suffix = suffix if suffix[1:].isalnum() else ""
    return re.compile(re.escape(title.removesuffix(suffix)) + tag + re.escape(suffix))
