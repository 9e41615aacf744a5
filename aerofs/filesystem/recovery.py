"""At mount: what the journal holds from before becomes files and work again."""

import logging
from dataclasses import replace
from pathlib import Path

from aerofs.content.draft import Draft
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, State
from aerofs.content.uploads import Uploads, Work
from aerofs.errors import AerofsError
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import DefinitionNode, DocumentNode, FieldNode, FileNode, Life
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment
from aerofs.namespace.familiar import is_local

log = logging.getLogger(__name__)


class Recovery:
    """Makes files and work of journal rows, oldest first."""

    def __init__(
        self, tree: Tree, commits: Commits, uploads: Uploads, journal: Journal, drafts: Path
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal
        self._drafts = drafts
        self._works: dict[int, Work] = {}

    async def recover(self) -> int:
        """Take up everything the journal holds. Returns how many operations go on."""
        rows = self._journal.load()
        later = {row.after: row for row in rows if row.after is not None}
        for row in rows:
            await self._take_up(row, followed=row.id in later)
        self._remove_orphans(rows)
        if rows:
            log.info("%d operations from before are taken up", len(rows))
        return len(rows)

    async def _take_up(self, row: Operation, *, followed: bool) -> None:
        local = row.state is State.LOCAL and is_local(row.file_name)
        if row.state is State.LOCAL and not local:
            # A draft that was synced and never closed, or made under a name that only looked temporary.
            row = replace(row, state=State.QUEUED)
        elif not local:
            row = replace(row, maybe_sent=True)
        draft = None
        try:
            if row.content is not None and not row.cancelled:
                draft = Draft(self._drafts / row.content)
                row = replace(row, size=draft.size)
        except AerofsError as error:
            log.error("%s: its bytes are gone: %s", row, error)
            row = replace(row, state=State.HELD, error=str(error), errno=error.errno)
        home = None if followed or row.cancelled else await self._home(row)
        node = self._show(row, home, draft) if home is not None else None
        if local:
            if node is not None:
                node.life, node.journalled, node.committed, node.hidden = Life.LOCAL, row.id, -1, ()
            return
        work = Work(row, previous=self._works.get(row.after or 0))
        self._works[row.id] = work
        if node is not None:
            self._commits.follow(node, work, frozen=draft.freeze() if draft is not None else None)
        else:
            work.hidden = [old.attachment for old in row.retire]
            work.takes_content = self._shown_again
            if draft is not None:
                draft.close()
        for old in row.retire:
            self._tree.overlay.hide(old.attachment)
        self._uploads.submit(work)

    def _shown_again(self, work: Work) -> bool:
        """An operation without a file of its own is settled: what it hid is gone by now, or is to be seen."""
        for attachment in work.hidden:
            self._tree.overlay.unhide(attachment)
        return False

    async def _home(self, row: Operation) -> FieldNode | None:
        definition = self._tree.catalog.definition_of(row.place.definition)
        parts = row.path.split("/")
        if definition is None or len(parts) != 4:  # noqa: PLR2004  definition/document/field/file
            log.info("%s: its definition is not shown any more", row)
            return None
        parent = DocumentNode(DefinitionNode(definition, parts[0]), row.place.document, parts[1])
        return FieldNode(parent, row.place)

    def _show(self, row: Operation, home: FieldNode, draft: Draft | None) -> FileNode:
        key = f"r:{row.id}"
        if row.inode:
            self._tree.inodes.claim(row.inode, key)
        node = self._tree.new_file(
            home, row.file_name, row.title, key=key, mode=row.mode, now_ns=row.mtime_ns
        )
        node.hidden = tuple(old.attachment for old in row.retire)
        if draft is not None:
            node.draft, node.committed = draft, draft.changes
        elif row.copy_of is not None:
            place, attachment = row.copy_of
            self._tree.overlay.hide(attachment)
            node.attachment = Attachment(attachment, row.source_title, row.size)
            node.stands = place
        return node

    def _remove_orphans(self, rows: list[Operation]) -> None:
        """Files in the drafts' directory that no row names: writes that no close or fsync ever covered."""
        needed = {name for row in rows for name in row.files}
        for path in self._drafts.iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)
