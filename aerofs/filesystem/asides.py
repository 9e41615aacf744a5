"""Files put aside: `x` was renamed to a name that never leaves this machine (`x~`).

The platform keeps its copy as `x` until a new `x` arrives, which then replaces it; if none comes, `x` is back.
"""

import logging
from collections.abc import Mapping

import trio

from aerofs.content.operations import Retire, Role
from aerofs.content.work import Work
from aerofs.errors import AerofsError, DeadlineError, StaleError
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.handovers import Claim, Handed, hand_over
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.nodes import FieldNode, FileNode, Life
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.versions import Versions
from aerofs.model import Attachment, AttachmentId, FieldRef

log = logging.getLogger(__name__)

ASIDE_WAIT = 60.0
"""Seconds after which a file that was renamed to a local name is back, unless a new one took its name."""


class Asides:
    """Who is aside, and from which name.

    Args:
        wait: Seconds that a new file of the name waits for the bytes of the one put aside.
    """

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        versions: Versions,
        kernel: Kernel,
        nursery: trio.Nursery,
        *,
        wait: float,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._versions = versions
        self._kernel = kernel
        self._nursery = nursery
        self._wait = wait
        self._aside: dict[tuple[FieldRef, str], list[FileNode]] = {}

    def put(self, node: FileNode, home: FieldNode, name: str) -> None:
        """The file stands on the platform under that name, which it has left here."""
        node.aside = (home, name)
        self._aside.setdefault((home.place, name), []).append(node)
        if node.beside is not None:
            self._tree.overlay.reserve(home.place, name)
        self._nursery.start_soon(self._come_back_later, node)

    def is_aside(self, home: FieldNode, name: str) -> bool:
        """A file of that name was renamed to a local one, and its copy still stands on the platform."""
        return (home.place, name) in self._aside

    def at(self, home: FieldNode, name: str) -> FileNode | None:
        """The file that was put aside from that name, the last one of several."""
        aside = self._aside.get((home.place, name))
        return aside[-1] if aside else None

    def pending(self, home: FieldNode, name: str) -> list[Work]:
        """The operations of the files that were put aside from that name, or those that they follow."""
        works = (node.pending or node.follows for node in self._aside.get((home.place, name), ()))
        return [work for work in works if work is not None]

    async def claim(self, home: FieldNode, name: str) -> Claim:
        """A new file takes a name: what was put aside from it is what the new one replaces.

        Several were put aside if a stranger's file appeared under the name in between. A row comes after one other at
        most, and only the last one is worth waiting for: those before it are back after a while where they cannot go.
        """
        aside = self._aside.get((home.place, name))
        if not aside:
            return Claim()
        last = aside[-1]
        claimed = await self._claim(last, name, trio.current_time() + self._wait)
        return await self.claim_besides(home, name, last, claimed, chain=True)

    async def claim_besides(
        self, home: FieldNode, name: str, but: FileNode, claimed: Claim, *, chain: bool
    ) -> Claim:
        """What else was put aside from a name, where it can go; `chain`: an operation of it may be followed."""
        ends = trio.current_time() + self._wait
        for node in reversed(self._aside.get((home.place, name), [])[:]):
            if node is but or ((claimed.follows is not None or not chain) and (node.pending or node.follows)):
                continue
            try:
                more = await self._claim(node, name, ends)
            except AerofsError as error:
                log.info("%s: will be back as %s: %s", node.path, name, error)
            except Exception:  # a mistake of ours must not take along what others have handed over already
                log.exception("%s: unexpected", node.path)
            else:
                claimed = Claim(
                    (*more.retire, *claimed.retire),
                    claimed.follows or more.follows,
                    (*more.handed, *claimed.handed),
                )
        return claimed

    async def _claim(self, node: FileNode, name: str, ends: float) -> Claim:
        with trio.move_on_at(ends):
            # Its own name is in another directory, perhaps, and may be removed or renamed at this very moment.
            async with self._commits.notes.lock(node):
                if node.aside is None:
                    return Claim()
                aside, copied = node.aside, node.draft is None
                try:
                    await self._keep(node)
                except StaleError:
                    if node.pending is not None or node.attachment is None:
                        raise
                    return self._give_up(node, node.attachment)
                self.forget(node)
                return hand_over(node, aside, copied=copied, hide=self._tree.overlay.hide)
        self._nursery.start_soon(self._versions.fetch, node)
        raise DeadlineError(f"{node.path}: is still being fetched, and {name} cannot be replaced before")

    async def _keep(self, node: FileNode) -> None:
        """From now on the file lives only here, so its bytes must be here, and outlive the power.

        That its row does, too, is seen to by whatever lets what the platform has go: a row of a later date.
        """
        async with self._versions.lock(node):
            # (A writer may have made its draft while we waited for our turn.)
            if node.draft is None:
                draft = await self._versions.copy(node)
                node.draft, node.committed = draft, draft.changes
        await self._commits.notes.note_renamed(node, synced=True)

    def give_back(self, claim: Claim, standing: Mapping[AttachmentId, AttachmentId]) -> None:
        """The name was taken in vain: who was put aside from it is as it was, for another minute.

        Not one that is something else by now: it is what it is, and what the platform has of it has its name again.
        Nor one of which the platform has nothing any more: its bytes are here alone.
        """
        for handed in claim.handed:
            if handed.is_untouched and all(old.attachment in standing for old in handed.retired):
                handed.give_back(self._tree, self._commits.outcomes, standing)
                self.put(handed.node, *handed.aside)

    def taken_in_vain(self, claim: Claim) -> None:
        """The same of a new file that met an error before there was anything of it to be saved."""
        self.give_back(claim, claim.standing(None))
        for handed in claim.handed:
            self._nursery.start_soon(self._forget_copy_alone, handed)

    async def _forget_copy_alone(self, handed: Handed) -> None:
        try:
            await self.forget_copy(handed)
        except AerofsError as error:
            log.error("%s: could not be noted in the journal: %s", handed.node.path, error)

    async def forget_copy(self, handed: Handed) -> None:
        """What is given back needs no bytes on this disk, nor a row of them, if it had none before.

        Raises:
            AerofsError: The journal could not be written: a crash leaves the file beside what the platform has of it.
        """
        node = handed.node
        async with self._commits.notes.lock(node):
            given_back = node.aside is not None and handed.is_untouched
            if handed.copied and given_back and not (node.changed or node.writers):
                await self._commits.notes.forget(node)
                self._commits.outcomes.discard_draft(node)

    def _give_up(self, node: FileNode, gone: Attachment) -> Claim:
        """Somebody else took the version away, and nobody has its bytes: that holds no new file up."""
        log.info("%s: its version is gone from the platform", node.path)
        self.forget(node)
        retire = (Retire(node.stands or node.place, gone.id, gone.name, Role.BASE), *node.retire)
        node.retire, node.hidden = (), ()
        self._tree.overlay.hide(gone.id)  # on behalf of the new file
        self._tree.drop(node)
        return Claim(retire)

    def _is_written(self, home: FieldNode, name: str) -> bool:
        """Somebody else's file appeared under the name, and is changed here: it keeps the name."""
        return self._tree.overlay.placed(home.place, name) is not None

    def forget(self, node: FileNode) -> None:
        """The file does not go back to the name that it had."""
        if node.aside is not None:
            home, name = node.aside
            node.aside = None
            others = self._aside[home.place, name]
            others.remove(node)
            if not others:
                del self._aside[home.place, name]
            if all(other.beside is None for other in others):
                self._tree.overlay.release(home.place, name)

    async def _come_back_later(self, node: FileNode) -> None:
        aside = node.aside
        await trio.sleep(ASIDE_WAIT)
        while node.aside is aside and aside is not None and self._is_written(*aside):  # noqa: ASYNC110  a minute
            await trio.sleep(ASIDE_WAIT)
        if node.aside is aside and aside is not None and node.life is Life.LOCAL:
            parent, name = self._tree.number(node.home), node.name
            try:
                await self.bring_back(node)
            except AerofsError as error:
                log.info("%s: is not yet back as %s: %s", node.path, aside[1], error)
                self._nursery.start_soon(self._come_back_later, node)
                return
            log.info("%s: no new version came, the file is back", node.path)
            self._kernel.forget_entry(parent, name)
            self._kernel.forget_entry(self._tree.number(node.home), node.name)

    async def bring_back(self, node: FileNode) -> None:
        """The file has the name again that it had before it was put aside: nothing has happened.

        Raises:
            AerofsError: The journal could not be written.
        """
        async with self._commits.notes.lock(node):
            if node.aside is not None and not node.changed:
                await self._commits.notes.forget(node)
            if node.aside is None:
                return
            home, name = node.aside
            self.forget(node)
            self._tree.move(node, home, name)
            node.life = Life.REAL
            self._commits.outcomes.stand_beside(node, node)
        if node.draft is not None:
            await self._commits.released(node)
        elif node.work is None:
            node.stands = None
            self._tree.plain(node)
