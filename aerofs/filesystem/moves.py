"""Renaming: what takes whose place, and what the platform is asked to do for it.

A rename is a journalled intent: the names swap here at once, the platform is given `rename_wait` seconds to refuse
(then everything is as before), and after that the work goes on in the journal.
"""

import logging
from dataclasses import dataclass, replace

import trio

from aerofs.content.journal import Journal
from aerofs.content.operations import Retire, Role
from aerofs.content.uploads import Uploads
from aerofs.content.work import Work, coming_after
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
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import Directory, FieldNode, FileNode, Life
from aerofs.filesystem.takeovers import Takeovers
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.unlinking import Unlinking
from aerofs.model import FieldRef
from aerofs.namespace.familiar import is_local, is_trash
from aerofs.namespace.names import check_new, encode

log = logging.getLogger(__name__)

_NOREPLACE = 1
"""RENAME_NOREPLACE of renameat2(2); the other flags are not known here."""


@dataclass(frozen=True, slots=True)
class _Before:
    """A file as it was before a rename, to be restored after a refusal."""

    home: FieldNode
    name: str
    title: str
    life: Life
    retire: tuple[Retire, ...]
    stands: FieldRef | None
    follows: Work | None
    aside: tuple[FieldNode, str] | None


class Moves:
    """Renames files."""

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        uploads: Uploads,
        journal: Journal,
        takeovers: Takeovers,
        asides: Asides,
        unlinking: Unlinking,
        kernel: Kernel,
        *,
        read_only: bool,
        rename_wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._uploads = uploads
        self._journal = journal
        self._takeovers = takeovers
        self._asides = asides
        self._unlinking = unlinking
        self._kernel = kernel
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
        async with self._commits.lock(node):
            # A save under way is awaited; one that only waits for its next try is retargeted.
            await self._await_busy(node)
            old_parent, old_name = self._tree.number(node.home), node.name
            before = _Before(
                node.home,
                node.name,
                node.title,
                node.life,
                node.retire,
                node.stands,
                node.follows,
                node.aside,
            )
            former = target or self._asides.at(home, name)
            chain = node.pending is None and node.follows is None
            retire, follows = await self._takeovers.take_over(home, name, target, chain=chain)
            node.follows = follows or node.follows
            if target is not None:
                target.handles += 1  # what it holds stays until we know that it is given up
            self._asides.forget(node)
            node.stands = node.stands or (node.place if node.attachment is not None else None)
            self._tree.place(node)
            self._tree.move(node, home, name)
            node.title, node.life, node.exclusive = title, Life.REAL, False
            self._commits.outcomes.stand_beside(node, former)
            node.retire = (*node.retire, *retire)
            node.hidden = (*node.hidden, *(old.attachment for old in retire))
            work, failure = None, None
            try:
                # Still locked: a close at this moment makes a save that comes after ours, or ours after it.
                work = await self._begin(node, before)
            except AerofsError as error:
                failure = error
        try:
            if failure is not None:
                raise failure
            if work is not None:
                await self._uploads.wait(work, max(0.0, ends - trio.current_time()))
        except AerofsError as error:
            if error.temporary:
                log.info("%s: renamed here, not yet on the platform: %s", node.path, error)
                return
            if work is None or not (work.row.retired or work.row.secured):
                # (Else what was brought up, or waits here, is all that is left: ours stays, held.)
                if work is not None and work.row.added is not None:
                    work.retract()  # it could not even be taken back: it is a file of its own now
                await self._restore(node, before, work, target)
                if isinstance(error, NotFoundError):
                    self._tree.catalog.expire(before.home.place)  # somebody else took it away
                self._kernel.forget_entry(old_parent, old_name)
            raise
        finally:
            self._let_go(target)

    def _let_go(self, target: FileNode | None) -> None:
        if target is not None:
            target.handles -= 1
            if target.life is Life.UNLINKED and target.handles == 0:
                self._commits.outcomes.discard_draft(target)

    async def _begin(self, node: FileNode, before: _Before) -> Work | None:
        """Give the platform what the rename means for it. None where nothing is to be waited for."""
        draft = node.draft
        if draft is not None and before.life is Life.LOCAL and node.pending is None:
            node.committed = -1  # nothing of it was ever sent
        if not node.changed:
            await self._commits.outcomes.forget_row(node)  # of the local name: the bytes are those of a save
        async with self._uploads.followed(lambda: node.pending or node.follows) as previous:
            return await self._begin_after(node, previous)

    async def _begin_after(self, node: FileNode, previous: Work | None) -> Work | None:
        draft, pending = node.draft, node.pending
        if (
            pending is not None
            and not pending.busy
            and not pending.row.maybe_sent
            and pending.row.added is None
        ):
            await self._retarget(node, pending)
            return None
        if draft is not None and node.changed:
            if node.writers:
                return None  # its close will do it
            return await self._commits.record(node)
        return await self._move(node, previous)

    async def _retarget(self, node: FileNode, work: Work) -> None:
        row = work.row
        retire = (*row.retire, *(old for old in node.retire if old not in row.retire))
        work.hidden += node.hidden
        node.retire, node.hidden = (), ()
        await self._uploads.amend(work, replace(row, **self._tree.fields.destination(node), retire=retire))

    async def _move(self, node: FileNode, previous: Work | None) -> Work | None:
        """What stands on the platform, or will when its operation is settled, is to stand elsewhere."""
        attachment, pending, source = node.attachment, node.pending, node.stands or node.place
        if attachment is None and pending is None:
            raise NotFoundError(f"{node.path}: nothing to move")
        row = self._commits.operation(node, size=node.size or 0, retire=node.retire)
        if attachment is not None and pending is None:
            gone = Retire(source, attachment.id, attachment.name, Role.SOURCE)
            row = replace(
                row,
                copy_of=(source, attachment.id),
                source_title=attachment.name,
                retire=(gone, *node.retire),
            )
        row, previous = coming_after(row, previous)
        work = Work(await self._journal.record(row), previous=previous)
        node.retire, node.follows = (), None
        self._commits.outcomes.follow(node, work)
        self._uploads.submit(work)
        if previous is not None and pending is None:
            self._uploads.supersede(previous)  # of the file whose place this one takes
        return work

    async def _await_busy(self, node: FileNode) -> None:
        if node.pending is not None and node.pending.busy:
            with trio.move_on_after(self._rename_wait):
                await self._uploads.rested(node.pending)

    async def _restore(
        self,
        node: FileNode,
        before: _Before,
        work: Work | None,
        target: FileNode | None,
    ) -> None:
        """The platform refused: everything is as before."""
        for attachment in node.hidden:
            self._tree.overlay.unhide(attachment)
        parent, name = self._tree.number(node.home), node.name
        self._tree.move(node, before.home, before.name)
        node.title, node.life, node.retire, node.hidden = before.title, before.life, before.retire, ()
        node.beside = None
        node.stands, node.follows = before.stands, before.follows
        if target is not None:
            await self._give_back(target)  # before our row goes: until then it tells what there was
        if work is not None:
            await self._uploads.drop(work)
        if before.aside is not None:
            self._asides.put(node, *before.aside)
        if node.life is Life.LOCAL:
            await self._commits.journal(node, durable=False)
        elif node.draft is None:
            node.stands = None
            self._tree.plain(node)
        elif work is None:
            await self._commits.released(node)
        elif work.row.content is not None:
            await self._save_anew(node)
        self._kernel.forget_entry(parent, name)

    async def _give_back(self, target: FileNode) -> None:
        """A name that was taken over in vain: what had it has it again, with the operation that was on its way."""
        target.life, given_up = Life.REAL, target.follows
        if given_up is not None and not given_up.settled.is_set():
            await self._uploads.reinstate(given_up)
            target.follows = None if given_up is target.pending else given_up
        elif given_up is not None and given_up.row.added is not None:
            target.follows = None
        stands = given_up is None or (given_up.settled.is_set() and given_up.row.added is not None)
        if stands and target.draft is None:
            return  # the catalog shows it
        self._tree.place(target)
        self._tree.move(target, target.home, target.name)
        if target.pending is not None:
            return
        if target.draft is None:
            await self._move(target, None)
        elif stands and given_up is not None:
            await self._commits.released(target)
        else:
            await self._save_anew(target)

    async def _save_anew(self, node: FileNode) -> None:
        """The save of what close() accepted was given up for the sake of a rename that came to nothing."""
        node.committed = -1
        await self._commits.released(node)
        await self._commits.journal(node, durable=False)

    async def _to_local(self, node: FileNode, home: FieldNode, name: str, target: FileNode | None) -> None:
        """`x` becomes `x~`: the platform keeps its copy until a new `x` arrives, or `x` is back after a while."""
        if target is not None:
            await self._unlinking.unlink(home, name)
        async with self._commits.lock(node):
            await self._await_busy(node)
            was_real = node.life is Life.REAL
            old_home, old_name = node.home, node.name
            node.stands = node.stands or (node.place if node.attachment is not None else None)
            self._tree.place(node)
            self._tree.move(node, home, name)
            node.life, node.exclusive = Life.LOCAL, False
            if was_real and (node.attachment is not None or node.pending is not None):
                self._asides.put(node, old_home, old_name)
            await self._commits.outcomes.forget_row(node)
            await self._commits.note(node)
