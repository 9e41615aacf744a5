"""What is not on the platform yet, as a person sees it, and what a person decides about it while the mount runs.

The rules are those of `content/decisions.py`.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio

from aerofs.content import decisions
from aerofs.content.conflicts import Conflicts
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.discarding import Discarding
from aerofs.filesystem.nodes import FileNode, Life
from aerofs.filesystem.tree import Tree


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
        drafts: Path,
        conflicts: Conflicts,
        discarding: Discarding,
        *,
        wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._drafts = drafts
        self._conflicts = conflicts
        self._discarding = discarding
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
                error = str(node.draft.refusal or "") or None
                yield decisions.shown(row) | changes | {"error": error}

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
            return await self._discarding.draft(unsent)
        return await self._discarding.save(self._work(number))

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


def _first_of(work: Work) -> Work:
    """The one that has to be settled before anything of its chain goes on."""
    while work.previous is not None and not work.previous.settled.is_set():
        work = work.previous
    return work
