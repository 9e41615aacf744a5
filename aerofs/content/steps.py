"""The steps of one put, in their order: bring up, retire, settle. Each is safe to repeat after a crash.

Nothing here queues, waits for a turn or retries: `runner.py` does. A step that fails raises; what it had reached is in
the journal before the next request is sent, so that performing the row again goes on from there.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from aerofs.content.actions import Actions
from aerofs.content.conflicts import Conflict
from aerofs.content.journal import Journal
from aerofs.content.making_room import MakingRoom
from aerofs.content.operations import NOWHERE, Operation, Retire, Role, Secured
from aerofs.content.puts import Ledger, Put, Remote
from aerofs.content.recognition import Fetch, Recognition
from aerofs.content.retiring import Retiring
from aerofs.errors import (
    AerofsError,
    LocalIOError,
    ProtocolError,
    QuotaError,
    RefusedError,
    StaleError,
    UnavailableError,
)
from aerofs.model import Attachment

log = logging.getLogger(__name__)


class Performer:
    """Performs operations; holds no state of its own between or about them."""

    def __init__(
        self,
        remote: Remote,
        ledger: Ledger,
        journal: Journal,
        drafts: Path,
        fetch: Fetch,
        *,
        conflicted: Callable[[Conflict], None] = lambda _: None,
    ) -> None:
        """Wire the room.

        Args:
            remote: The platform.
            ledger: The metadata cache.
            journal: Where steps are recorded.
            drafts: The directory of `Operation.content`.
            fetch: Brings a whole attachment to the local disk, for as long as its context lasts.
            conflicted: Told of every version that had to stand beside a stranger's.
        """
        self._actions = Actions(remote, ledger, journal, drafts, fetch)
        self._recognition = Recognition(remote, drafts, fetch)
        self._making_room = MakingRoom(self._actions, self._recognition)
        self._retiring = Retiring(self._actions, self._making_room, conflicted=conflicted)

    async def perform(self, put: Put) -> None:
        """Carry an operation to its end; `put.row` then says what stands (`added`), if anything.

        Raises:
            AerofsError: After a temporary one the same put may be performed again; the others are final.
        """
        if put.row.place == NOWHERE:
            raise RefusedError(f"{put.row.path}: where it belongs is not known: export it, or discard it")
        if put.row.added is not None and not put.row.cancelled:
            await self._see_that_it_stands(put, put.row.added)
        if put.row.added is None and put.row.maybe_sent and not await self._found_again(put):
            await self._actions.step(put, maybe_sent=False)
        await self._making_room.look_back(put)
        while not put.row.cancelled:
            if put.row.added is None and not put.row.superseded:
                await self._bring_up(put)
            if put.row.added is not None and not put.row.cancelled:
                await self._retiring.retire_all(put)
            # (Where a stranger was faster, ours is brought up once more, to stand beside theirs.)
            if put.row.added is not None or put.row.superseded:
                break
        # It may have been unlinked while requests were under way.
        if put.row.cancelled:
            await self._retiring.withdraw(put)

    def abandon(self, put: Put) -> None:
        """What a withdrawn put was to delete stays."""
        self._actions.spared(put.row)
        self._making_room.forget(put)
        put.row = replace(put.row, added=None, retire=())

    async def _bring_up(self, put: Put) -> None:
        if put.damage is not None:
            raise LocalIOError(f"{put.row.path}: {put.damage}")
        row = put.row
        if row.secured is not None:
            await self._add_after_removal(put, row.secured)
            return
        victims = {old.attachment for old in row.retire if old.place == row.place}
        if victims and row.maximum and len(row.known | victims) >= row.maximum:
            await self._add_to_full(put)
            return
        try:
            await self._add(put)
        except QuotaError:
            # Fuller than we knew, or a maximum that the platform did not tell.
            if not victims:
                raise
            await self._add_to_full(put)

    async def _add(self, put: Put, *, instead_of: Retire | None = None) -> None:
        """Add the file; `instead_of` the only one that the field holds, in the same request."""
        if (put.row.resizes or put.row.tries) and not put.row.maybe_sent:
            # Where bytes need not tell ours from a stranger's, what tells is whether anything was sent at all.
            await self._actions.settle_on(put, maybe_sent=True)
        try:
            added = await self._send(put, replacing=instead_of is not None)
        except AerofsError as error:
            unclear = isinstance(error, UnavailableError) and not error.unsent
            if put.row.maybe_sent != unclear:
                await self._actions.step(put, maybe_sent=unclear)
            raise
        if added is not None:
            if instead_of is not None:
                self._took_the_place_of(put, instead_of)
            await self._actions.stands(put, added)
            return
        await self._actions.step(put, maybe_sent=True)
        if not await self._find_ours(put, certain=True):
            # Sending it again and again would fill the field with copies that nobody sees.
            raise ProtocolError(
                f"{put.row.path}: the platform said yes, but the field does not show the file"
            )

    def _took_the_place_of(self, put: Put, old: Retire) -> None:
        self._actions.gone(old.place, old.attachment)
        rest = tuple(other for other in put.row.retire if other != old)
        put.row = replace(put.row, retire=rest, retired=True, known=put.row.known | {old.attachment})

    async def _send(self, put: Put, *, replacing: bool) -> Attachment | None:
        if put.row.copies and not replacing:
            return await self._actions.copy(put)
        await self._actions.with_content(put)
        row, body = put.row, self._actions.body(put)
        return await self._actions.save(row.place, row.title, body, replacing=replacing, known=row.bygone)

    async def _add_to_full(self, put: Put) -> None:
        """A field that has no room besides the files that the new one stands for."""
        standing = await self._actions.standing(put.row.place)
        maximum, victim = put.row.maximum, _victim(put.row, standing)
        if maximum == 1 and standing and (victim is None or len(standing) > 1):
            raise QuotaError(f"{put.row.path}: the field holds one file, and not the version that was opened")
        if victim is None or (maximum is not None and len(standing) < maximum):
            await self._add(put)
            return
        old, base = victim
        if len(standing) == 1:
            # `replace` replaces the whole field, so only where that is exactly the version we know.
            await self._add(put, instead_of=old)
        else:
            secured = await self._making_room.secure(put, base)
            if await self._making_room.make(put, secured) is None:
                await self._add_in_its_room(put, secured)
            else:
                # We never asked for it before, so it was certainly not us: whoever did may have taken the room, too.
                await self._making_room.release(put, secured)
                await self._add(put)

    async def _add_after_removal(self, put: Put, secured: Secured) -> None:
        await self._actions.settle_on(put)  # the local disk may have been too full for it the first time
        # Where it is gone, an earlier try of ours may have done it.
        await self._making_room.make(put, secured)
        await self._add_in_its_room(put, secured)

    async def _add_in_its_room(self, put: Put, secured: Secured) -> None:
        try:
            await self._add(put)
        except AerofsError as error:
            if not error.temporary and put.row.added is None:
                await self._making_room.put_back(put, secured)
            raise

    async def _see_that_it_stands(self, put: Put, added: Attachment) -> None:
        """What an earlier try brought up may be gone since: nothing may be deleted for it, and it is to stand again.

        A colleague may have deleted one of two; or it was taken back, and the journal did not hear of that.
        """
        if await self._actions.holds(put.row.place, added.id):
            return
        log.info("%s: what was brought up is gone from the platform, before it was through", put.row.path)
        self._actions.gone(put.row.place, added.id)
        self._actions.spared(put.row)
        lost = Retire(put.row.place, added.id, added.name, Role.LOST)
        await self._actions.step(put, added=None, retire=(lost, *put.row.retire))
        put.retract()

    async def _found_again(self, put: Put) -> bool:
        """Whether an earlier try is found to have been carried out."""
        try:
            return await self._find_ours(put, certain=False)
        except StaleError:
            # What was moved is gone, and cannot be compared with.
            if not (put.row.cancelled or put.row.superseded):
                raise
            # Its file is to be gone, too, or elsewhere; a stranger's stays.
            return False

    async def _find_ours(self, put: Put, *, certain: bool) -> bool:
        """After a lost or silent answer: an id that we did not know, with our title and equal bytes, is ours."""
        standing = await self._actions.standing(put.row.place)
        try:
            added = await self._recognition.ours(put.row, standing, certain=certain)
        except RefusedError as doubt:
            # For a person to look: who lets it be tried again says that none of these is ours. Else none is touched.
            known = put.row.known | {entry.id for entry in standing}
            await self._actions.settle_on(put, maybe_sent=False, known=known)
            if not (put.row.cancelled or put.row.superseded):
                raise
            log.info("%s; it is left to stand", doubt)
            return False
        if added is None:
            put.strangers |= {entry.id for entry in standing}
            return False
        await self._actions.stands(put, added)
        return True


def _victim(row: Operation, standing: Sequence[Attachment]) -> tuple[Retire, Attachment] | None:
    """What may make room: of the files that the new one stands for the last one that nobody has taken away."""
    found = {entry.id: entry for entry in standing}
    return next(
        ((old, found[old.attachment]) for old in reversed(row.retire) if old.attachment in found), None
    )
