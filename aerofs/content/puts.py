"""A put on its way, and the two neighbours that it needs: the platform and the metadata cache.

Only what travels between `runner.py` and `steps.py`; the protocols are met by `platform.client.Platform` and
`namespace.catalog.Catalog`, which this room does not import.
"""

import io
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from aerofs.content.disk import local_error
from aerofs.content.operations import Operation
from aerofs.content.reader import Download
from aerofs.model import Attachment, AttachmentId, FieldRef


class Remote(Protocol):
    """The calls of the platform that a put needs (`platform.client.Platform`)."""

    async def attachments(self, place: FieldRef) -> tuple[Attachment, ...]: ...  # noqa: D102
    async def save(  # noqa: D102
        self, place: FieldRef, name: str, content: "FileContent", *, replace: bool = False,
        known: frozenset[AttachmentId] = frozenset(),
    ) -> Attachment | None: ...  # fmt: skip
    async def delete(  # noqa: D102
        self, place: FieldRef, attachment: AttachmentId, *, again: Callable[[], Awaitable[None]] | None = None
    ) -> None: ...
    async def copy(  # noqa: D102
        self,
        source: FieldRef,
        attachments: Sequence[AttachmentId],
        target: FieldRef,
        *,
        known: frozenset[AttachmentId] = frozenset(),
    ) -> tuple[Attachment, ...] | None: ...
    def download(  # noqa: D102
        self, url: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[Download]: ...


class Ledger(Protocol):
    """Who learns what our own requests changed (`namespace.catalog.Catalog`)."""

    def begin(self) -> int: ...  # noqa: D102
    def end(self, begun: int) -> None: ...  # noqa: D102
    def learn(self, place: FieldRef, attachments: Sequence[Attachment], *, begun: int) -> object: ...  # noqa: D102
    def added(self, place: FieldRef, attachment: Attachment, *, name: str | None = None) -> object: ...  # noqa: D102
    def removed(self, place: FieldRef, attachment_id: AttachmentId) -> object: ...  # noqa: D102
    def replaced(  # noqa: D102
        self, place: FieldRef, old_id: AttachmentId, attachment: Attachment, *, name: str | None = None
    ) -> object: ...
    def expire(self, what: FieldRef) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class FileContent:
    """A local file as the body of a save.

    Attributes:
        reached: Told how far its newest reader has come.
    """

    path: Path
    size: int
    reached: Callable[[int], None] = lambda _: None

    def open(self) -> BinaryIO:
        """A fresh reader from the first byte."""
        try:
            return _Told(io.FileIO(self.path), self.reached)
        except OSError as error:
            raise local_error(error, f"draft {self.path.name}") from error


class _Told(io.BufferedReader):
    """A reader that tells how far it has come."""

    def __init__(self, file: io.FileIO, reached: Callable[[int], None]) -> None:
        super().__init__(file)
        self._reached = reached
        reached(0)

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._reached(self.tell())
        return data


class Put:
    """An operation on its way: its row as far as it has come, and who wants to know.

    Attributes:
        row: Replaced by every step.
        sent: How many of its bytes the last try has come to.
        announced: Called with the attachment as soon as it stands, before what it replaces is retired.
        retracted: Called when what stood was taken back.
        returned: Called with the id that a file had before it made room, and with what it is since it was put back.
        strangers: Attachments that were looked at, and are not what it brought up.
        damage: What is wrong with its bytes on this disk: it may be found on the platform, but not sent.
    """

    def __init__(self, row: Operation) -> None:
        self.row = row
        self.sent = 0
        self.announced: Callable[[Attachment], None] | None = None
        self.retracted: Callable[[], None] | None = None
        self.returned: Callable[[AttachmentId, Attachment], None] | None = None
        self.strangers: frozenset[AttachmentId] = frozenset()
        self.damage: str | None = None

    def announce(self, added: Attachment) -> None:
        """The new attachment stands."""
        if self.announced is not None:
            self.announced(added)

    def retract(self) -> None:
        """What was announced stands no more."""
        if self.retracted is not None:
            self.retracted()

    def body(self, drafts: Path) -> FileContent:
        """The bytes to send."""
        return FileContent(drafts / str(self.row.content), self.row.size, self._reached)

    def _reached(self, sent: int) -> None:
        self.sent = sent
