"""At mount: what the journal holds from before becomes files and work again."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import trio

from aerofs.content.actions import tell
from aerofs.content.disk import digest
from aerofs.content.draft import Draft
from aerofs.content.journal import Journal
from aerofs.content.operations import Operation, State
from aerofs.content.spool import Spool
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work
from aerofs.errors import AerofsError, met_before
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.nodes import DefinitionNode, DocumentNode, FieldNode, FileNode, Life, Noted
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment
from aerofs.namespace.familiar import is_local
from aerofs.namespace.names import encode

log = logging.getLogger(__name__)


class Recovery:
    """Makes files and work of journal rows, oldest first."""

    def __init__(
        self, tree: Tree, commits: Commits, uploads: Uploads, journal: Journal, drafts: Path, spool: Spool
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal
        self._drafts = drafts
        self._spool = spool
        self._works: dict[int, Work] = {}
        self._nodes: dict[int, FileNode] = {}
        self._superseded: set[int] = set()
        self._bytes: dict[int, Draft] = {}
        self._damage: dict[int, str] = {}

    async def recover(self) -> int:
        """Take up everything the journal holds. Returns how many operations go on."""
        rows = self._journal.load()
        later = {row.after: row for row in rows if row.after is not None}
        rows = [row if row.id in later else self._kept(row) for row in rows]
        ordered = _in_order(rows)
        for row in reversed(ordered):  # the last first: what is there of it decides about those before it
            await self._examine(row, _chain(row, later))
        for row in ordered:
            if row.cancelled and row.state is State.HELD and row.id not in later:
                await self._abandon(row)
            else:
                await self._take_up(row, chain=_chain(row, later))
        self._remove_orphans(rows)
        # Not before: what they keep here from now on is no orphan, and who comes after them is known.
        for work in self._works.values():
            self._uploads.submit(work)
        if rows:
            log.info("%d operations from before are taken up", len(rows))
        return len(rows)

    def _kept(self, row: Operation) -> Operation:
        """A row of a file that the platform did not let go is what it was, if its bytes are nowhere else.

        Its process could not write that any more; and what it was, held or not, another try tells.
        """
        refused = row.cancelled and row.state is State.HELD and row.added is None and not row.superseded
        if not refused or row.content is None or not (self._drafts / row.content).exists():
            return row
        log.info("%s: was not removed, and is a save again: %s", row, row.error)
        return replace(row, cancelled=False, state=State.QUEUED, error="", errno=0)

    async def _abandon(self, row: Operation) -> None:
        """The platform did not let the file go: it is there, and is shown again."""
        log.info("%s: was not removed: %s", row, row.error)
        await self._journal.remove(row.id)

    async def _take_up(self, row: Operation, *, chain: list[Operation]) -> None:
        """One row. `chain`: the rows that wait for it, in their order."""
        if row.state is State.LOCAL and is_local(row.file_name):
            await self._take_up_local(row)
            return
        previous = self._works.get(row.after or 0)
        superseded = row.id in self._superseded or bool(row.bare and previous and previous.row.superseded)
        row = await self._as_save(row) if row.state is State.LOCAL else _as_left(row, superseded=superseded)
        draft, damage = self._bytes.get(row.id), None if superseded else self._damage.get(row.id)
        if damage and row.state is State.HELD:
            # Nobody looks for it by itself, so that nobody else would tell.
            log.warning("%s: %s; it was held: %s", row, damage, row.error)
            row = replace(row, error=damage)
        row = replace(row, size=draft.size) if draft is not None else row
        work = Work(row, previous=previous)
        work.damage = damage
        self._works[row.id] = work
        node = self._nodes.get(row.after or 0) if row.content is None else None
        if node is None and not (superseded or row.cancelled or damage):
            # What waits for a row without its bytes is not carried out, and names nothing.
            named = [row, *takewhile(lambda after: after.id not in self._damage, chain)]
            node = self._show(row, named[-1], draft)
        if row.added is not None and not row.cancelled:
            tell(self._tree.catalog, row, row.added)
        if row.id not in self._damage:
            self._hide(work, node)
        if node is not None:
            self._nodes[row.id] = node
            frozen = draft.freeze() if draft is not None else None
            self._commits.outcomes.follow(node, work, frozen=frozen)
        else:
            work.takes_content = self._shown_again
            if draft is not None:
                draft.close()

    async def _as_save(self, row: Operation) -> Operation:
        """A draft that was synced and never closed, or made under a name that only looked temporary, is a save now.

        The journal knows before anything is sent: should this process die, too, the next one has to look for it.
        """
        # (One that met an error is for a person to look at, as its writer was told.)
        row = replace(row, state=State.HELD if row.errno else State.QUEUED)
        try:
            await self._journal.record(row)
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", row, error)
        return row

    async def _take_up_local(self, row: Operation) -> None:
        draft = self._bytes.get(row.id)
        if row.id in self._damage and not (self._drafts / str(row.content)).exists():
            # Removed just before a loss of power, which the journal did not hear of any more.
            await self._journal.remove(row.id)
        node = self._show(replace(row, size=draft.size), row, draft) if draft is not None else None
        if node is not None and node.draft is not None:
            node.life, node.committed = Life.LOCAL, -1
            node.noted = Noted(row, node.draft.path, node.draft.changes)
            node.draft.refusal = met_before(row.errno, row.error) if row.errno else None

    async def _examine(self, row: Operation, chain: list[Operation]) -> None:
        """See whether a later row stands for this one; if none does, open its bytes.

        A later row without its bytes stands for none that has its own: they would be nowhere.
        """
        # (One that names a source moves another file here; else it is a rename of what this one brings up.)
        heirs = [after for after in chain if after.content or after.copy_of or after.cancelled]
        # (It may have been refused where it was, and was about to hand its bytes on.)
        wanted = any(after.bare and not (after.superseded or after.cancelled) for after in chain)
        given_up = row.superseded and not (heirs or wanted)
        if any(heir.id not in self._damage for heir in heirs) or given_up:
            self._superseded.add(row.id)
        elif row.content is not None and not row.cancelled:
            await self._open(row, row.content)
            if heirs and row.id in self._damage:
                self._superseded.add(row.id)

    async def _open(self, row: Operation, content: str) -> None:
        """A row's bytes, or what is wrong with them. A row without its bytes hides nothing.

        A save that was through loses its bytes before the loss of its row is on the disk; after a loss of power it is
        back without them, or with what was written to the file since then. It is looked for; if it does not stand, and
        only then, it is held.
        """
        try:
            draft = Draft(self._drafts / content, spool=self._spool, cut=row.accepted)
            if await _is_as_recorded(row, draft):
                self._bytes[row.id] = draft
                return
            draft.close()
            damage = "its bytes are not those any more that were recorded"
        except (OSError, AerofsError) as error:
            damage = f"its bytes cannot be read: {error}"
        log.info("%s: %s", row, damage)
        self._damage[row.id] = damage

    def _hide(self, work: Work, node: FileNode | None) -> None:
        """What an operation is to retire is not seen while it is on its way; nor is what it brings up for another."""
        retired = [old.attachment for old in work.row.retire]
        for attachment in retired:
            self._tree.overlay.hide(attachment)
        if node is not None:
            node.hidden = (*node.hidden, *retired)
            return
        work.hidden = retired

        def announced(added: Attachment) -> None:
            self._tree.overlay.hide(added.id)
            work.hidden.append(added.id)

        work.announced, work.returned = announced, lambda _, back: announced(back)
        if work.row.added is not None:
            announced(work.row.added)

    def _shown_again(self, work: Work) -> bool:
        """An operation without a file of its own is settled: what it hid is gone by now, or is to be seen."""
        for attachment in work.shown_again():
            self._tree.overlay.unhide(attachment)
        return False

    def _home(self, row: Operation) -> FieldNode | None:
        definition = self._tree.catalog.definition_of(row.place.definition)
        parts = row.path.split("/")
        if definition is None or len(parts) != 4:  # noqa: PLR2004  definition/document/field/file
            log.info("%s: its definition is not shown any more", row)
            return None
        parent = DocumentNode(DefinitionNode(definition, parts[0]), row.place.document, parts[1])
        return FieldNode(parent, row.place)

    def _show(self, row: Operation, last: Operation, draft: Draft | None) -> FileNode | None:
        """The file of a row, under the name that the `last` row of its chain gives it."""
        home = self._home(last)
        if home is None:
            return None
        key = f"r:{row.id}"
        if row.inode:
            self._tree.inodes.claim(row.inode, key)
        # One that stands beside a stranger's has left the name to it.
        name = encode(last.title) if last.title == last.conflict else last.file_name
        node = self._tree.new_file(home, name, last.title, key=key, mode=last.mode, now_ns=last.mtime_ns)
        if draft is not None:
            field = self._tree.fields.settings(home.place)
            draft.limit = field.maximum_size if field is not None else None
            node.draft, node.committed = draft, draft.changes
        if row.added is not None:
            node.attachment, node.stands = row.added, row.place
        elif row.copy_of is not None:
            place, attachment = row.copy_of
            node.attachment = Attachment(attachment, row.source_title, row.size)
            node.stands = place
        if node.attachment is not None:
            self._tree.overlay.hide(node.attachment.id)
        return node

    def _remove_orphans(self, rows: list[Operation]) -> None:
        """Files in the drafts' directory that no row names: writes that no close or fsync ever covered."""
        needed = {name for row in rows for name in row.files}
        for path in self._drafts.iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)


async def _is_as_recorded(row: Operation, draft: Draft) -> bool:
    if row.accepted is not None and draft.size != row.accepted:
        return False
    return row.sha256 is None or await trio.to_thread.run_sync(digest, draft.path) == row.sha256


def _in_order(rows: Sequence[Operation]) -> list[Operation]:
    """Every row behind the one that it waits for, whose id may be the greater one."""
    waiting = {row.id: row for row in rows}
    ordered: list[Operation] = []
    while waiting:
        ready = [row for row in waiting.values() if row.after not in waiting] or list(waiting.values())
        ordered += [waiting.pop(row.id) for row in ready]
    return ordered


def _chain(row: Operation, later: Mapping[int, Operation]) -> list[Operation]:
    """The rows that wait for this one, directly or not, in their order."""
    chain: list[Operation] = []
    while (follower := later.get(row.id)) is not None:
        chain.append(follower)
        row = follower
    return chain


def _as_left(row: Operation, *, superseded: bool) -> Operation:
    """A row as the end of the process before left it: its last request may have been carried out."""
    row = replace(row, superseded=superseded, state=State.QUEUED if superseded else row.state)
    return replace(row, maybe_sent=row.unsure)
