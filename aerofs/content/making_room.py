"""A full field: the old bytes are kept here before they are deleted to make room, and stand again after a refusal."""

from dataclasses import replace
from typing import Any

from aerofs.content.actions import Actions
from aerofs.content.operations import Operation, Secured
from aerofs.content.puts import FileContent, Put
from aerofs.content.recognition import Recognition
from aerofs.errors import AerofsError, ProtocolError, UnavailableError
from aerofs.model import Attachment, FieldRef


class MakingRoom:
    """Secures what has to go first, and puts it back."""

    def __init__(self, actions: Actions, recognition: Recognition) -> None:
        self._actions = actions
        self._recognition = recognition

    async def secure(self, put: Put, base: Attachment) -> Secured:
        """Keep the bytes of `base`, and those of the put, here and in the journal."""
        await self._actions.with_content(put)
        row = put.row
        name = await self._actions.keep(
            row.place, base, "secured", lambda name: replace(row, secured=_secured(name, base, row.place))
        )
        secured = _secured(name, base, row.place)
        await self._actions.settle_on(put, secured=secured)
        return secured

    async def release(self, put: Put, secured: Secured, **changes: Any) -> None:
        """It is not ours to put back: it stands, its successor does, or somebody else took it away on purpose.

        Args:
            put: The put.
            secured: It.
            changes: What the journal is to say of the put besides, from the same moment on.
        """
        await self._actions.settle_on(put, secured=None, **changes)
        self._actions.file(secured.content).unlink(missing_ok=True)

    async def make(self, put: Put, secured: Secured) -> tuple[Attachment, ...] | None:
        """Delete what is secured. None where that was us; else what stands there now that somebody was faster.

        Raises:
            AerofsError: It may not go. If that is final, it stands, or stands again: here it is needed no more.
        """
        try:
            return await self._actions.delete(_place(put.row, secured), secured.attachment)
        except AerofsError as error:
            if not error.temporary:
                await self._let_stand(put, secured)
            raise

    async def _let_stand(self, put: Put, secured: Secured) -> None:
        try:
            standing = await self._actions.standing(_place(put.row, secured))
        except AerofsError as error:
            raise _not_now(put.row, error) from error
        # (An earlier try may have deleted it without our learning it.)
        if any(entry.id == secured.attachment for entry in standing):
            await self.release(put, secured)
        else:
            await self.put_back(put, secured)

    async def put_back(self, put: Put, secured: Secured) -> None:
        """What had made room stands again, under a new id, which the row knows from now on.

        Raises:
            UnavailableError: Not now. It is to be done again by itself, whatever the reason: until then the only
                copy of what others see on the platform is here.
        """
        try:
            back = await self._found_back(put.row, secured) or await self._bring_back(put, secured)
        except AerofsError as error:
            raise _not_now(put.row, error) from error
        await self._back(put, secured, back)

    async def look_back(self, put: Put) -> None:
        """An earlier try to put it back may have been carried out: then it stands, and the row knows its new id.

        Raises:
            UnavailableError: That cannot be found out now.
        """
        secured = put.row.secured
        if secured is None or not secured.returning:
            return
        try:
            back = await self._found_back(put.row, secured)
        except AerofsError as error:
            raise _not_now(put.row, error) from error
        if back is not None:
            await self._back(put, secured, back)

    async def _back(self, put: Put, secured: Secured, back: Attachment) -> None:
        if put.returned is not None:
            put.returned(secured.attachment, back)
        self._actions.returned(_place(put.row, secured), back)
        retire = tuple(
            replace(old, attachment=back.id) if old.attachment == secured.attachment else old
            for old in put.row.retire
        )
        known = put.row.known | {back.id}
        await self._actions.settle_on(put, secured=None, retire=retire, known=known)
        self._actions.file(secured.content).unlink(missing_ok=True)

    async def _bring_back(self, put: Put, secured: Secured) -> Attachment:
        row, path = put.row, self._actions.file(secured.content)
        await self._actions.settle_on(put, secured=replace(secured, returning=True))
        content = FileContent(path, path.stat().st_size)
        back = await self._actions.save(_place(row, secured), secured.title, content, known=row.bygone)
        back = back or await self._find(row, secured)
        if back is None:
            raise ProtocolError("the platform said yes, but the field does not show it")
        return back

    async def _found_back(self, row: Operation, secured: Secured) -> Attachment | None:
        return await self._find(row, secured) if secured.returning else None

    def forget(self, put: Put) -> None:
        """The successor stands: the old bytes are needed no more."""
        secured = put.row.secured
        if secured is not None:
            rest = tuple(old for old in put.row.retire if old.attachment != secured.attachment)
            put.row = replace(put.row, secured=None, retire=rest)
            self._actions.file(secured.content).unlink(missing_ok=True)

    async def _find(self, row: Operation, secured: Secured) -> Attachment | None:
        standing = await self._actions.standing(_place(row, secured))
        path = self._actions.file(secured.content)
        return await self._recognition.equal_to(path, secured.title, standing, known=row.bygone)


def _secured(name: str, base: Attachment, place: FieldRef) -> Secured:
    return Secured(name, base.id, base.name, place=place)


def _place(row: Operation, secured: Secured) -> FieldRef:
    return secured.place or row.place


def _not_now(row: Operation, error: AerofsError) -> UnavailableError:
    return UnavailableError(f"{row.path}: what was there could not be put back: {error}")
