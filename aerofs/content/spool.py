"""The local disk under all drafts together: how much of it they may take, and room for them where it is full."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aerofs.errors import NoSpaceError


class Spool:
    """Admits what drafts grow by.

    What they take is not booked with every end of a file (a draft may become a blob, be cloned, dropped or handed
    over), but measured: what is remembered is never too little, and before anything is refused it is counted anew.

    Attributes:
        limit: Bytes that all drafts together may take; None: as much as the disk holds.
        make_room: Makes room for so many bytes on a full disk, and tells whether it could: what is only cached goes.
    """

    def __init__(
        self, drafts: Path, *, limit: int | None = None, make_room: Callable[[int], bool] = lambda _: False
    ) -> None:
        self._drafts = drafts
        self.limit = limit
        self.make_room = make_room
        self._at_most = self.used() if limit is not None else 0
        self._reserved = 0

    def __repr__(self) -> str:
        return f"<Spool at most {self._at_most} of {self.limit} bytes>"

    def used(self) -> int:
        """Bytes that the drafts take now, by their sizes; none where somebody removed their directory."""
        total = 0
        with suppress(FileNotFoundError), os.scandir(self._drafts) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # it has just been brought up
                    total += entry.stat().st_size
        return total

    def left(self) -> int | None:
        """Bytes that may still come; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used() - self._reserved)

    def admit(self, growth: int) -> None:
        """A draft grows by so many bytes, now.

        Raises:
            NoSpaceError: The drafts would take more than they may.
        """
        if self.limit is None or growth <= 0:
            return
        if self._at_most + growth > self.limit:
            self._at_most = self.used() + self._reserved
            if self._at_most + growth > self.limit:
                raise NoSpaceError(
                    f"the files that wait to be saved may take {self.limit} bytes (spool_limit)"
                )
        self._at_most += growth

    @contextmanager
    def reserved(self, growth: int) -> Iterator[None]:
        """The same for what grows little by little while the block runs. Raises as `admit`."""
        self.admit(growth)
        self._reserved += growth
        try:
            yield
        finally:
            self._reserved -= growth
