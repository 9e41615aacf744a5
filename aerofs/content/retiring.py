"""What happens to the old once the new one stands: it is deleted, by its id; and if that cannot be, the new one goes.

Two rules stand above all: what was added is never taken back when something that it stands for is gone already, and a
stranger's newer version is never touched: ours then stands beside it.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath

from aerofs.content.actions import Actions
from aerofs.content.conflicts import Conflict
from aerofs.content.making_room import MakingRoom
from aerofs.content.operations import Operation, Retire, Role
from aerofs.content.puts import Put
from aerofs.content.recognition import same_title
from aerofs.errors import AerofsError, UnavailableError
from aerofs.model import Attachment, AttachmentId

log = logging.getLogger(__name__)

_ORDER = {Role.BASE: 0, Role.SOURCE: 1, Role.OVER: 2, Role.FIRST: 3}


class Retiring:
    """Deletes what a put stands for."""

    def __init__(
        self, actions: Actions, making_room: MakingRoom, *, conflicted: Callable[[Conflict], None]
    ) -> None:
        self._actions = actions
        self._making_room = making_room
        self._conflicted = conflicted

    async def retire_all(self, put: Put) -> None:
        """Delete everything that the new attachment stands for, the target of a rename last.

        Raises:
            AerofsError: If it is final, what was added was taken back; or all stand, where that is impossible.
        """
        secured = put.row.secured
        while left := [old for old in put.row.retire if not secured or old.attachment != secured.attachment]:
            await self._retire(put, min(left, key=lambda old: _ORDER[old.role]))
        self._making_room.forget(put)

    async def withdraw(self, put: Put) -> None:
        """The file was unlinked meanwhile: nothing of it may stay."""
        if put.row.added is not None:
            await self._actions.delete(put.row.place, put.row.added.id)
            await self._actions.step(put, added=None)
        for old in put.row.retire:
            await self._actions.delete(old.place, old.attachment)
        self._making_room.forget(put)
        put.row = replace(put.row, retire=())

    async def _retire(self, put: Put, old: Retire) -> None:
        try:
            instead = await self._actions.delete(old.place, old.attachment)
        except AerofsError as error:
            if not error.temporary:
                await self._take_back(put)
            raise
        if instead is not None and old.role in (Role.BASE, Role.OVER):
            elsewhere = old.place != put.row.place
            standing = await self._actions.standing(put.row.place) if elsewhere else instead
            await self._stand_beside(put, old, standing=standing)
        rest = tuple(other for other in put.row.retire if other != old)
        put.row = replace(put.row, retire=rest, retired=True)
        if rest:
            await self._actions.step(put)

    async def _take_back(self, put: Put) -> None:
        """What was added must not stand beside what could not be retired."""
        row = put.row
        if row.added is None:
            return
        if row.retired:
            log.info("%s: stays beside what could not be deleted: it is all that is left", row.path)
            return
        try:
            await self._actions.delete(row.place, row.added.id)
        except AerofsError as error:
            if error.temporary:
                raise
            log.info("%s: both versions stand on the platform; neither could go: %s", row.path, error)
            return
        await self._actions.settle_on(put, added=None)
        for old in row.retire:
            if row.secured is None or old.attachment != row.secured.attachment:
                self._actions.returned(old.place, Attachment(old.attachment, old.title))
        put.retract()
        if row.secured is not None:
            await self._making_room.put_back(put, row.secured)

    async def _stand_beside(self, put: Put, old: Retire, *, standing: Sequence[Attachment]) -> None:
        """Somebody else replaced or deleted the version that we opened. A stranger's newer one is not touched."""
        first = put.row.added
        if first is None:
            return
        ours = _known_siblings(put.row, old) | {old.attachment, first.id}
        theirs = [
            entry for entry in standing if same_title(entry.name, put.row.title) and entry.id not in ours
        ]
        if not theirs:
            return
        title, beside = put.row.conflict, None
        if title is None:
            title = conflict_title(put.row.title, datetime.now().astimezone())
        else:
            # An earlier try: it may have been carried out. Nobody else chooses this title.
            beside = next((entry for entry in standing if same_title(entry.name, title)), None)
        if beside is None:
            log.info("%s: a newer version stands on the platform; ours is kept as %s", put.row.path, title)
            await self._actions.with_content(put, standing=first)
            await self._actions.step(put, conflict=title)
            known = frozenset(entry.id for entry in standing)
            beside = await self._actions.save(put.row.place, title, self._actions.body(put), known=known)
        if beside is None:
            raise UnavailableError(f"{put.row.path}: the platform said yes, but did not name the new file")
        rest = tuple(other for other in put.row.retire if other != old)
        rest = (*rest, Retire(put.row.place, first.id, first.name, Role.FIRST))
        self._actions.appeared(put, put.row.place, beside)
        self._actions.named(put.row.place, theirs[0], put.row.file_name)
        put.row = replace(put.row, added=replace(beside, url=None), title=title, retire=rest, retired=True)
        put.announce(beside)
        self._conflicted(Conflict(put.row.path, beside.name, time.time()))
        await self._actions.step(put)


def _known_siblings(row: Operation, old: Retire) -> frozenset[AttachmentId]:
    """Files of the same title that stood beside the version that was opened, and so do not replace it."""
    retired = frozenset(other.attachment for other in row.retire)
    return retired | row.known if old.attachment in row.known else retired


def conflict_title(title: str, when: datetime) -> str:
    """`report.odt` -> `report (conflict HOST 2026-11-23 14.05).odt`."""
    path = PurePosixPath(title)
    tag = f" (conflict {socket.gethostname()} {when:%Y-%m-%d %H.%M})"
    stem = title.removesuffix(path.suffix) if path.suffix else title
    return f"{stem}{tag}{path.suffix}"
