"""Discarding a save while the mount runs: the file is let go as a removed one is.

Who has it open goes on reading it, and the name shows what the platform has, as a file of its own. The rules are those
of `content/decisions.py`, and what only the running mount knows: who has the file open, what is under way.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from aerofs.content import decisions
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


class Discarding:
    """Forgets what is not on the platform yet.

    Args:
        wait: Seconds that a decision waits for a request that is under way.
    """

    def __init__(
        self, tree: Tree, commits: Commits, uploads: Uploads, journal: Journal, *, wait: float
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal
        self._wait = wait

    async def save(self, work: Work) -> list[dict[str, Any]]:
        """Forget a save and what waits for it; the file shows what the platform has.

        Returns:
            What was forgotten, as `decisions.shown`; `withdrawn` where it may have arrived, and is then taken back.

        Raises:
            NotFoundError, RefusedError: It has just arrived; or it cannot be discarded now, and why.
        """
        node = self._node(self._last_of(work))
        async with self._at_rest(node, work) as chain:
            if not chain:
                raise NotFoundError(f"{work.row.path}: save {work.row.id} has just arrived on the platform")
            self._check(chain, node)
            stands = chain[-1].row.added is not None  # what the file holds, under a name of its own
            lets_go = not stands and not any(each.row.cancelled for each in chain)
            places = {place for each in chain for place in each.fields}
            beside = [old for each in chain if each.row.added for old in each.row.spared]
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

    async def draft(self, node: FileNode) -> list[dict[str, Any]]:
        """Forget a draft that has a row and is not on its way: a name of this machine, or not closed. As above."""
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

    # -- what is decided upon ------------------------------------------------------------------------------------

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

    # -- letting go ----------------------------------------------------------------------------------------------

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
