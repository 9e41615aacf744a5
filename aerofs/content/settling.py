"""The end of an operation: its row leaves the journal, who waited for it learns what it left, its file goes on."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from aerofs.content import labels
from aerofs.content.blobs import Blobs
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.content.recognition import mistakable
from aerofs.content.work import Work

log = logging.getLogger(__name__)


class Settling:
    """Keeps the books of a mount's operations."""

    def __init__(self, journal: Journal, blobs: Blobs, drafts: Path) -> None:
        self._journal = journal
        self._blobs = blobs
        self._drafts = drafts

    async def anew(
        self, work: Work, *, instead_of: Iterable[int] = (), also: Sequence[Operation] = ()
    ) -> None:
        """The operation intends something else from now on; other rows go, or are written, at this moment."""
        for row in (work.row, *also):
            self.label(row)
        await self._journal.record(work.row, instead_of=instead_of, also=also)

    async def take_out(self, work: Work, others: Iterable[Work]) -> None:
        """The operation is done: whoever waited for it inherits, and nobody takes what it brought up for their own.

        Raises:
            AerofsError: The journal could not be written; to be done again.
        """
        added, told = work.row.added, []
        others = list(others)
        for later in others:
            if later.previous is work:
                later.inherits(work)
                work.heirs.append(later)
            elif added is not None and later is not work and mistakable(later.row, work.row.place, added):
                later.row = replace(later.row, known=later.row.known | {added.id})
                if not later.over:
                    told.append(later.row)
        # (After a journal that failed once, an heir may be settled by now: its row is not to rise again.)
        # The same of one that is being given up at this moment.
        heirs = [heir.row for heir in work.heirs if heir in others and not heir.over]
        for changed in (*heirs, *told):
            self.label(changed)
        await self._journal.remove(work.row.id, successors=[*heirs, *told], settled=work.row)

    async def given_up(
        self,
        chain: Sequence[Operation],
        left: Callable[[Operation], Operation | None],
        rows: Iterable[int],
    ) -> None:
        """Nothing is to be done of these but what is `left` of each, oldest first; other rows go at this moment."""
        anew = [(row, left(row)) for row in chain]
        withdrawn = [row for _, row in anew if row is not None]
        for row in withdrawn:
            self.label(row)
        last, left_of_last = anew[-1]
        await self._journal.remove(
            *(row.id for row, rest in anew if rest is None),
            *rows,
            successors=withdrawn,
            settled=last if left_of_last is None else None,
            durable=True,
        )

    def dispose(self, work: Work) -> None:
        """What becomes of its file: the blob of what it was brought up as, if nobody else keeps it."""
        row = work.row
        try:
            taken = work.takes_content(work) if work.takes_content is not None else False
        except Exception:  # the operation is over, whatever its file makes of that
            log.exception("%s: unexpected", row)
            taken = True
        if row.content is None and row.copy_of is not None and row.added is not None:
            self._blobs.share(row.copy_of[1], row.added.id)
        if row.content is None or taken or any(heir.row.content == row.content for heir in work.heirs):
            return
        path = self._drafts / row.content
        added = row.added
        whole = work.damage is None and not row.resizes
        if added is not None and whole and added.size in (None, row.size):
            self._blobs.adopt(added.id, path, row.size)
        else:
            path.unlink(missing_ok=True)

    def label(self, row: Operation) -> None:
        """Let its file say what it is."""
        if row.content is not None:
            labels.write(self._drafts / row.content, row)
