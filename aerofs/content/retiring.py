"""What happens to the old once the new one stands: it is deleted, by its id; and if that cannot be, the new one goes.

Two rules stand above all: what was added is never taken back when something that it stands for is gone already, and a
stranger's newer version is never touched: ours then stands beside it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from aerofs.content.actions import Actions
from aerofs.content.conflicts import Conflict, conflict_title
from aerofs.content.making_room import MakingRoom
from aerofs.content.operations import Operation, Retire, Role
from aerofs.content.puts import Put
from aerofs.content.recognition import same_title
from aerofs.errors import AerofsError
from aerofs.model import Attachment, AttachmentId

log = logging.getLogger(__name__)

_ORDER = {Role.LOST: 0, Role.BASE: 0, Role.SOURCE: 1, Role.OVER: 2, Role.FIRST: 3}


class Retiring:
    """Deletes what a put stands for."""

    def __init__(
        self, actions: Actions, making_room: MakingRoom, *, conflicted: Callable[[Conflict], None]
    ) -> None:
        self._actions = actions
        self._making_room = making_room
        self._conflicted = conflicted

    async def retire_all(self, put: Put) -> None:
        """Delete everything that the new attachment stands for: what a rename goes over after what was moved.

        Where a stranger's newer version stands, ours gives way: `added` is then None, the row has another title, and
        is to be brought up once more.

        Raises:
            AerofsError: If it is final, what was added was taken back; or all stand, where that is impossible.
        """
        secured = put.row.secured
        while left := [old for old in put.row.retire if not secured or old.attachment != secured.attachment]:
            await self._retire(put, min(left, key=lambda old: _ORDER[old.role]))
            if put.row.added is None:
                return
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
            ours = (put.row.place, put.row.added.id) if put.row.added is not None else None
            instead = await self._actions.delete(old.place, old.attachment, instead=ours)
        except AerofsError as error:
            if not error.temporary:
                await self._take_back(put)
            raise
        if instead is not None and old.role in (Role.BASE, Role.OVER, Role.LOST):
            elsewhere = old.place != put.row.place
            standing = await self._actions.standing(put.row.place) if elsewhere else instead
            if await self._gives_way(put, old, standing=standing):
                return
        rest = tuple(other for other in put.row.retire if other != old)
        put.row = replace(put.row, retire=rest, retired=put.row.retired or old.role is not Role.LOST)
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
        self._actions.spared(row)
        put.retract()
        if row.secured is not None:
            await self._making_room.put_back(put, row.secured)

    async def _gives_way(self, put: Put, old: Retire, *, standing: Sequence[Attachment]) -> bool:
        """Somebody else replaced or deleted the version that we opened. A stranger's newer one is not touched.

        Returns whether there is one: ours is then to be brought up anew, under a title of its own.
        """
        row, first = put.row, put.row.added
        if first is None:
            return False
        ours = _known_siblings(row, old) | {old.attachment, first.id}
        theirs = [entry for entry in standing if same_title(entry.name, row.title) and entry.id not in ours]
        if not theirs:
            return False
        await self._actions.with_content(put, standing=first)
        title = conflict_title(
            row.title, datetime.now().astimezone(), taken=frozenset(entry.name for entry in standing)
        )
        log.info("%s: a newer version stands on the platform; ours is kept as %s", row.path, title)
        self._conflicted(Conflict(row.path, title, time.time()))
        self._actions.named(row.place, theirs[0], row.file_name)
        # Where our first copy stands, what had to make room for it is needed no more: kept on, it would have to stand
        # again before that copy gives way, and there is room for one of them only.
        secured = row.secured if any(entry.id == first.id for entry in standing) else None
        settle_on = (
            partial(self._making_room.release, secured=secured) if secured else self._actions.settle_on
        )
        gone = {old.attachment, secured.attachment if secured else None}
        rest = tuple(other for other in put.row.retire if other.attachment not in gone)
        await settle_on(
            put,
            title=title,
            conflict=title,
            added=None,
            # The last one: where the field is full, it is what makes room.
            retire=(*rest, Retire(row.place, first.id, first.name, Role.FIRST)),
            retired=True,
            known=row.known | {entry.id for entry in standing},
        )
        return True


def _known_siblings(row: Operation, old: Retire) -> frozenset[AttachmentId]:
    """Files of the same title that stood beside the version that was opened, and so do not replace it."""
    retired = frozenset(other.attachment for other in row.retire)
    return retired | row.known if old.attachment in row.known else retired
