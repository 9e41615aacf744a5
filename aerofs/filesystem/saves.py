"""What is not on the platform yet, as a person sees it, and what a person decides about it while the mount runs.

The rules are those of `content/decisions.py`. A discarded save is let go as a removed file is: who has it open goes on
reading it, and the name shows what the platform has, as a file of its own.
"""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

from aerofs.content import decisions
from aerofs.content.conflicts import Conflicts
from aerofs.content.journal import Journal
from aerofs.content.operations import State
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.errors import NotFoundError, RefusedError
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import FileNode, Life
from aerofs.filesystem.supplanting import row_went
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment


class Saves:
    """The saves of a running mount.

    Args:
        wait: Seconds that a decision waits for a request that is under way.
    """

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        journal: Journal,
        drafts: Path,
        conflicts: Conflicts,
        *,
        wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal
        self._drafts = drafts
        self._conflicts = conflicts
        self._wait = wait

    # -- seeing --------------------------------------------------------------------------------------------------

    def all(self) -> list[dict[str, Any]]:
        """Every save, for `aerofs status`."""
        waiting = (work for work in self._uploads if not work.only_books_left)
        return [*map(self._unsettled, waiting), *self._local()]

    def conflicts(self) -> list[dict[str, Any]]:
        """The last conflicts, oldest first: theirs and ours stand side by side on the platform."""
        return [conflict.to_json() for conflict in self._conflicts]

    def _unsettled(self, work: Work) -> dict[str, Any]:
        told = decisions.shown(work.row)
        if work.running:
            told |= {"state": "uploading", "sent": work.sent}
        if work.next_try is not None:
            told["next_try"] = time.time() + max(0.0, work.next_try - trio.current_time())
        return told | {"goes_on": work.goes_on}

    def _local(self) -> Iterator[dict[str, Any]]:
        for node in sorted(self._tree.placed(), key=lambda node: node.journalled):
            if node.draft is not None and (node.life is Life.LOCAL or node.changed):
                row = self._commits.rows.save(node, node.draft)
                changes = {"id": node.journalled, "state": "local", "since": node.ctime_ns / 1e9 or row.since}
                yield decisions.shown(row) | changes

    # -- deciding ------------------------------------------------------------------------------------------------

    async def retry(self, number: int | None) -> list[dict[str, Any]]:
        """Try a save now (None: every one that waits, also those that are held), and wait a little for the outcome.

        Returns:
            What became of each: as in `all`, with the state `done` for those that are on the platform.

        Raises:
            NotFoundError, RefusedError: There is no such save, or it is not on its way to the platform.
        """
        chosen = list(self._uploads) if number is None else [self._work(number)]
        firsts = [_first_of(work) for work in chosen]
        tries = {work: work.row.tries for work in (*chosen, *firsts)}
        for work in firsts:
            if not work.busy:
                work.wake.set()

        def failed(work: Work) -> bool:
            return work.row.tries > tries[work] and not work.busy

        with trio.move_on_after(self._wait):
            await self._uploads.until(
                lambda: all(
                    work.settled.is_set() or failed(work) or failed(first)
                    for work, first in zip(chosen, firsts, strict=True)
                )
            )
        done = {"state": "done", "error": None}
        return [
            decisions.shown(work.row) | done if work.settled.is_set() else self._unsettled(work)
            for work in chosen
        ]

    def content(self, number: int) -> dict[str, Any]:
        """Where the bytes of a save are on this disk.

        Raises:
            NotFoundError, RefusedError: There is no such save, or it has no bytes here.
        """
        node = self._unsent(number)
        if node is not None and node.draft is not None:
            return decisions.shown(self._commits.rows.save(node, node.draft)) | {
                "file": str(node.draft.path),
                "sha256": None,
            }
        row = self._work(number).row
        if row.content is None:
            raise decisions.no_bytes(row)
        return decisions.shown(row) | {"file": str(self._drafts / row.content), "sha256": row.sha256}

    async def discard(self, number: int) -> list[dict[str, Any]]:
        """Forget a save and what waits for it; the file shows what the platform has.

        Returns:
            What was forgotten, as in `all`; `withdrawn` where it may have arrived, and is taken back in that case.

        Raises:
            NotFoundError, RefusedError: There is no such save; or it cannot be discarded now, and why.
        """
        unsent = self._unsent(number)
        if unsent is not None:
            return await self._discard_unsent(unsent)
        work = self._work(number)
        node = self._node(self._last_of(work))
        async with self._at_rest(node, work) as chain:
            if not chain:
                raise NotFoundError(f"{work.row.path}: save {number} has just arrived on the platform")
            self._check(chain, node)
            stands = chain[-1].row.added is not None  # what the file holds, under a name of its own
            lets_go = not stands and not any(each.row.cancelled for each in chain)
            places = {place for each in chain for place in each.fields}
            beside = [old for each in chain if each.row.added for old in each.row.retire]
            with self._withheld(node):
                rows = () if node is None or node.noted is None else (node.journalled,)
                await self._uploads.write_given_up(chain, decisions.given_up, rows=rows)
            if node is not None and lets_go:
                self._let_go(node, chain)
            self._uploads.given_up(chain, decisions.given_up)
            for old in beside:
                # The catalog was told that the new version stands in its place.
                self._tree.catalog.added(old.place, Attachment(old.attachment, old.title))
            for place in places:
                self._tree.catalog.expire(place)
            if node is not None:
                self._tree.look_again(node)
                row_went(node)
            return [decisions.shown(each.row) for each in chain]

    # -- what decisions are made of ------------------------------------------------------------------------------

    def _work(self, number: int) -> Work:
        for work in self._uploads:
            if work.row.id == number:
                return work
        node = self._unsent(number)
        if node is not None and node.draft is not None:
            raise decisions.not_tried(self._commits.rows.save(node, node.draft))
        raise decisions.unknown(number)

    def _unsent(self, number: int) -> FileNode | None:
        """The file of a journal row that was never submitted."""
        return next((node for node in self._tree.placed() if number and node.journalled == number), None)

    def _node(self, work: Work) -> FileNode | None:
        """The file that an operation is the newest of."""
        return next((node for node in self._tree.placed() if node.pending is work), None)

    def _unit(self, work: Work) -> list[Work]:
        """What is decided upon together: see `decisions.unit`. One that counts no more and is held stands alone."""
        if work.settled.is_set():
            return []
        if work.row.superseded:
            if work.row.state is not State.HELD:
                raise decisions.superseded(work.row, self._last_of(work).row.id)
            return [work]
        chain = [work]
        while (earlier := chain[0].previous) is not None and not earlier.settled.is_set():
            chain.insert(0, earlier)
        while (later := self._follower(chain[-1])) is not None:
            chain.append(later)
        return chain

    def _follower(self, work: Work) -> Work | None:
        return next((each for each in self._uploads if each.previous is work), None)

    def _last_of(self, work: Work) -> Work:
        """The newest that waits for it."""
        while (later := self._follower(work)) is not None:
            work = later
        return work

    @asynccontextmanager
    async def _at_rest(self, node: FileNode | None, work: Work) -> AsyncIterator[list[Work]]:
        """Hold the file, its operations at rest if that does not take too long: no save of it is recorded meanwhile."""
        lock = self._commits.notes.lock(node) if node is not None else trio.Lock()
        with trio.move_on_after(self._wait) as bound:
            await lock.acquire()
        if bound.cancelled_caught:
            raise RefusedError(f"{work.row.path}: is just being changed; try again in a moment")
        try:
            with trio.move_on_after(self._wait):
                await self._uploads.until(lambda: not any(each.busy for each in self._unit(work)))
            yield self._unit(work)
        finally:
            lock.release()

    def _check(self, chain: Sequence[Work], node: FileNode | None) -> None:
        """See that nothing stands against giving these up. No await lies between this and writing it."""
        path = chain[-1].row.path
        if any(work.spent for work in chain):
            raise RefusedError(
                f"{path}: its name was taken by a file that is not closed yet; close that first"
            )
        if any(work.busy for work in chain):
            raise RefusedError(
                f"{path}: is on its way to the platform at this moment; try again in a little while"
            )
        decisions.check_discard([work.row for work in chain])
        if node is None:
            return
        if node.life is Life.LOCAL:
            raise RefusedError(
                f"{path}: is {node.name} now, a name of this machine; give it its name back first"
            )
        if node.life is Life.REAL and node.writers:
            raise RefusedError(f"{path}: is open for writing; close it first")
        if node.life is Life.REAL and node.changed:
            raise RefusedError(f"{path}: was changed since, and is about to be saved; try again in a moment")

    def _let_go(self, node: FileNode, chain: Sequence[Work]) -> None:
        """The name shows what the platform has; the bytes go with the last one who has them open."""
        for work in chain:
            work.announced = work.retracted = None
            for attachment in work.shown_again():
                self._tree.overlay.unhide(attachment)
        for attachment in node.hidden:
            self._tree.overlay.unhide(attachment)
        node.hidden, node.retire, node.follows = (), (), None
        self._tree.plain(node)
        if node.draft is None:
            return  # only a name was to change
        node.life = Life.UNLINKED
        if node.attachment is not None:
            self._tree.parted(node.attachment.id)
            # The time that is remembered may be that of the draft.
            self._journal.facts.forget(node.attachment.id)

    @contextmanager
    def _withheld(self, node: FileNode | None) -> Iterator[None]:
        """What was seen of a file stays as it is: nobody opens it, and what its readers hold stays."""
        if node is None:
            yield
            return
        life, node.life, node.handles = node.life, Life.UNLINKED, node.handles + 1
        try:
            yield
        finally:
            node.life, node.handles = life, node.handles - 1

    async def _discard_unsent(self, node: FileNode) -> list[dict[str, Any]]:
        """A draft that has a row and is not on its way: a name of this machine, or not closed."""
        async with self._commits.notes.lock(node):
            if node.draft is None or not node.journalled:
                raise decisions.unknown(node.journalled)
            told = [decisions.shown(self._commits.rows.save(node, node.draft)) | {"id": node.journalled}]
            if node.life is Life.REAL or node.writers:
                raise RefusedError(f"{node.path}: is not closed yet; close it first")
            if node.aside is not None or node.pending is not None or node.attachment is not None:
                raise RefusedError(f"{node.path}: stands on the platform under another name; rm removes both")
            with self._withheld(node):
                await self._commits.notes.forget(node)
            self._tree.drop(node)
            if not node.handles:
                self._commits.outcomes.discard_draft(node)
        return told


def _first_of(work: Work) -> Work:
    """The one that has to be settled before anything of its chain goes on."""
    while work.previous is not None and not work.previous.settled.is_set():
        work = work.previous
    return work
