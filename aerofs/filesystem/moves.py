"""Renaming: what takes whose place. `relocations` asks the platform to follow, `undoing` takes back what it refuses.

A rename is a journalled intent: the names swap here at once, the platform is given `rename_wait` seconds to refuse
(then everything is as before), and after that the work goes on in the journal.
"""

import logging

import trio

from aerofs.content.uploads import Uploads
from aerofs.errors import (
    AerofsError,
    ExistsError,
    InvalidNameError,
    IsDirectoryError,
    NotFoundError,
    ReadOnlyError,
    RefusedError,
)
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.finding import find
from aerofs.filesystem.handovers import Claim
from aerofs.filesystem.nodes import Directory, FieldNode, FileNode, Life
from aerofs.filesystem.relocations import Relocations
from aerofs.filesystem.takeovers import Takeovers
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.undoing import Undoing
from aerofs.filesystem.unlinking import Unlinking
from aerofs.namespace.familiar import is_local, is_trash
from aerofs.namespace.names import check_new, encode

log = logging.getLogger(__name__)

_NOREPLACE = 1
"""RENAME_NOREPLACE of renameat2(2); the other flags are not known here."""


class Moves:
    """Renames files."""

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        takeovers: Takeovers,
        asides: Asides,
        unlinking: Unlinking,
        relocations: Relocations,
        undoing: Undoing,
        *,
        read_only: bool,
        rename_wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._takeovers = takeovers
        self._asides = asides
        self._unlinking = unlinking
        self._relocations = relocations
        self._undoing = undoing
        self._read_only = read_only
        self._rename_wait = rename_wait

    async def rename(
        self, old_parent: Directory, old_name: str, new_parent: Directory, new_name: str, flags: int
    ) -> None:
        """Rename as rename(2) does, within a field or across fields, documents and definitions.

        Raises:
            InvalidNameError: A flag other than RENAME_NOREPLACE, or a name that cannot be sent.
            RefusedError: A directory is to be renamed, or a file to leave the fields.
            ExistsError, IsDirectoryError, ReadOnlyError, QuotaError: As rename(2).
            AerofsError: The platform refused within the wait; everything is as before.
        """
        if flags & ~_NOREPLACE:
            raise InvalidNameError(f"{old_name}: names cannot be exchanged")
        node = (await find(self._tree, old_parent, old_name)).node
        target = await self._target(new_parent, new_name)
        if target is node:
            return
        if not isinstance(node, FileNode) or not isinstance(new_parent, FieldNode) or is_trash(new_name):
            raise RefusedError(f"{old_name}: only files are renamed, and only into attachment fields")
        if target is not None and flags & _NOREPLACE:
            raise ExistsError(f"{target.path} exists")
        if self._read_only:
            raise ReadOnlyError(f"{node.path}: the mount is read-only")
        title = self._title(node, new_name, target or self._asides.at(new_parent, new_name))
        if is_local(new_name):
            await self._to_local(node, new_parent, new_name, target)
            return
        self._check_room(node, new_parent, new_name, target)
        await self._to_real(node, new_parent, new_name, title, target)

    def _title(self, node: FileNode, name: str, former: FileNode | None) -> str:
        """What the platform is to call a file that gets this name."""
        if former is not None and former is not node and (former.life is Life.REAL or former.aside):
            return former.title
        if encode(node.title) == name:
            return node.title  # also one that nobody could type: a copy on the platform keeps it
        return check_new(name)

    async def _target(self, parent: Directory, name: str) -> FileNode | None:
        try:
            entry = await find(self._tree, parent, name)
        except NotFoundError:
            return None
        if not isinstance(entry.node, FileNode):
            raise IsDirectoryError(f"{name} is a directory")
        return entry.node

    def _check_room(self, node: FileNode, home: FieldNode, name: str, target: FileNode | None) -> None:
        self._tree.fields.check_size(home, node.size or 0)
        stays = node.place == home.place and node.life is Life.REAL
        if target is None and not stays and not self._asides.is_aside(home, name):
            self._tree.fields.check_room(home)

    # -- to a real name ------------------------------------------------------------------------------------------

    async def _to_real(
        self, node: FileNode, home: FieldNode, name: str, title: str, target: FileNode | None
    ) -> None:
        back = node.aside is not None and (node.aside[0].place, node.aside[1]) == (home.place, name)
        if back and target is None:
            await self._asides.bring_back(node)  # `x~` is renamed to `x` again: nothing has happened
            return
        ends = trio.current_time() + self._rename_wait
        async with self._commits.notes.lock(node):
            # A save under way is awaited; one that only waits for its next try is retargeted.
            await self._await_busy(node)
            if node.life is Life.LOCAL and node.draft is not None and node.draft.refusal is not None:
                raise node.draft.refusal  # (One whose name is real is written still: its end comes with its close.)
            before = self._undoing.before(node)
            claim = await self._take_name(node, home, name, title, target)
            work, failure = None, None
            try:
                # Still locked: a close at this moment makes a save that comes after ours, or ours after it.
                work = await self._relocations.begin(node, was_local=before.life is Life.LOCAL)
            except AerofsError as error:
                failure = error
        try:
            if failure is not None:
                raise failure
            if work is not None:
                work.revocable = True
                await self._uploads.first_tries.wait(work, max(0.0, ends - trio.current_time()))
        except AerofsError as error:
            if error.temporary:
                log.info("%s: renamed here, not yet on the platform: %s", node.path, error)
                return
            if await self._undoing.undo(node, before, work, target, claim, error):
                raise
        finally:
            if work is not None:
                work.revocable = False
            self._let_go(target)

    async def _take_name(
        self, node: FileNode, home: FieldNode, name: str, title: str, target: FileNode | None
    ) -> Claim:
        """The file has the name here; what had it waits, out of sight, for what the platform says.

        Returns:
            What it has to retire, and from whom of those that were put aside it has that.
        """
        former = target or self._asides.at(home, name)
        chain = node.pending is None and node.follows is None
        claim = await self._takeovers.take_over(home, name, target, taker=node, chain=chain)
        node.follows = claim.follows or node.follows
        if target is not None:
            target.handles += 1  # what it holds stays until we know that it is given up
            self._commits.supplanting.take(node, target)
        self._asides.forget(node)
        self._move_here(node, home, name)
        node.title, node.life, node.exclusive = title, Life.REAL, False
        self._commits.outcomes.stand_beside(node, former)
        node.retire = (*node.retire, *claim.retire)
        node.hidden = (*node.hidden, *(old.attachment for old in claim.retire))
        return claim

    def _move_here(self, node: FileNode, home: FieldNode, name: str) -> None:
        node.stands = node.stands or (node.place if node.attachment is not None else None)
        self._tree.place(node)
        self._tree.move(node, home, name)

    def _let_go(self, target: FileNode | None) -> None:
        if target is not None:
            target.handles -= 1
            if target.life is Life.UNLINKED and target.handles == 0:
                self._commits.outcomes.discard_draft(target)

    async def _await_busy(self, node: FileNode) -> None:
        if node.pending is not None and node.pending.busy:
            with trio.move_on_after(self._rename_wait):
                await self._uploads.rested(node.pending)

    # -- to a local name -----------------------------------------------------------------------------------------

    async def _to_local(self, node: FileNode, home: FieldNode, name: str, target: FileNode | None) -> None:
        """`x` becomes `x~`: the platform keeps its copy until a new `x` arrives, or `x` is back after a while."""
        async with self._commits.notes.lock(node):
            await self._await_busy(node)
            if target is not None:
                await self._unlinking.unlink(home, name, taker=node)
            was_real = node.life is Life.REAL
            old_home, old_name = node.home, node.name
            self._move_here(node, home, name)
            node.life, node.exclusive = Life.LOCAL, False
            # (Also one that is new, if there is what it has yet to replace: that is not seen any more.)
            if was_real and (node.attachment or node.pending or node.retire or node.follows):
                self._asides.put(node, old_home, old_name)
            await self._commits.notes.note_renamed(node)
            # (Where nothing was to be noted, what goes had a name of this machine, too: no harm if it is back.)
            await self._commits.notes.forget_supplanted(node, durable=False)
