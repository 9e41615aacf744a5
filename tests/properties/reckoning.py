"""The reckoning: all is well again and everything has come to rest; what there is, is what there must be."""

import os
from contextlib import suppress

from tests.properties.model import File, Place, is_name_of
from tests.properties.programs import NotDone, Programs
from tests.properties.world import FIELDS, LIMITS, Standing


class Reckoning(Programs):
    """Compares the platform, the drive and the model, file for file."""

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

    def _heal(self) -> None:
        self.drive.clear()
        if self.is_away:
            self.is_away = False
            self.drive.away(away=False)

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
        self.drive.sleep(min(10.0, self.patience))  # the names of conflicts settle
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
                # (It may have been moved on since: the last of them is the name that it has.)
                paths = [each["path"] for each in saves if each is save or each["after"] == save["id"]]
                places = [(f"{document}/{field}", name) for _, document, field, name in map(_parts, paths)]
                file = next((file for place in places[::-1] if (file := self._held(place)) is not None), None)
                assert file is not None, f"held, but not shown: {save}"
                full = self.model.may_be_full(places[0][0], for_one_more=False)
                assert file.optional or full, f"held, though nothing speaks against it: {save}"
                file.maybe = file.maybe or [(file.place, file.data), *self._not_recognised(file)]
                self.drive.unlink(*file.place)
                self.model.unlinked(file)

    def _not_recognised(self, file: File) -> list[tuple[Place, bytes]]:
        """Where it stands, perhaps without the drive's knowing: what was moved is gone, and is not there to compare."""
        own = (known.standing for known in self.model.standing.values() if known.file is file)
        return [((each.field, each.title), each.data) for each in own if each.data == file.data]

    def _held(self, place: Place) -> File | None:
        """Whose save is held under that name; a stranger's file that took the room may have the name, too."""
        if place[0] not in LIMITS:
            return self._find(place)
        with suppress(OSError):
            found = self._content(*place)
            # (One that was removed while it was open may have had the name and the bytes, too: it is no save.)
            able = [file for file in self.model.files if file.linked or file.optional]
            for file in sorted(able, key=lambda file: (file.place != place, not file.linked)):
                its_bytes = file.data == found or (file.maybe and found in file.durable)
                if its_bytes and file.place[0] == place[0] and not file.local:
                    file.place = place
                    return file
        return self._find(place)  # (A move has no bytes here.)

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
