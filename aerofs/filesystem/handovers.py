"""What the platform has of a file that was put aside is handed over to a new one of its name; and may be given back.

What is handed over is kept as one value, for as long as the platform may refuse the new file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from aerofs.content.operations import Retire, Role, left_by
from aerofs.content.work import Work
from aerofs.filesystem.nodes import FieldNode, FileNode, Life
from aerofs.filesystem.outcomes import Outcomes
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment, AttachmentId, FieldRef


@dataclass(frozen=True, slots=True)
class Handed:
    """A file as it was put aside.

    Attributes:
        node: The file.
        home, name: Its local name.
        aside: Where the platform showed it.
        changes: `draft.changes`.
        copied: Its draft was made only because its bytes were to live nowhere but here.
        retired: What the new file was told to retire: the attachment, and what this one had to.
        pending: Its own operation, with whom that told of what it did (`announced`, `retracted`).
    """

    node: FileNode
    home: FieldNode
    name: str
    aside: tuple[FieldNode, str]
    beside: str | None
    changes: int
    copied: bool
    attachment: Attachment | None
    stands: FieldRef | None
    retire: tuple[Retire, ...]
    hidden: tuple[AttachmentId, ...]
    retired: tuple[Retire, ...]
    follows: Work | None
    gives_back: Callable[[], None] | None
    pending: Work | None
    announced: Callable[[Attachment], None] | None
    retracted: Callable[[], None] | None

    @property
    def work(self) -> Work | None:
        """The operation that the new file has come after."""
        return self.pending or self.follows

    @property
    def is_untouched(self) -> bool:
        """Nobody has removed, renamed or written the file since."""
        node, draft = self.node, self.node.draft
        has_its_name = node.life is Life.LOCAL and (node.home, node.name) == (self.home, self.name)
        return has_its_name and draft is not None and draft.changes == self.changes and draft.refusal is None

    def give_back(
        self, tree: Tree, outcomes: Outcomes, standing: Mapping[AttachmentId, AttachmentId]
    ) -> None:
        """The new file came to nothing: what the platform has of this one is its own affair again.

        Args:
            tree: Where it is.
            outcomes: Who lets it learn of operations.
            standing: What stands of all that was handed over (see `Claim.standing`).
        """
        node = self.node
        node.beside, node.follows, node.gives_back = self.beside, self.follows, self.gives_back
        node.retire = tuple(replace(old, attachment=standing[old.attachment]) for old in self.retire)
        node.hidden = tuple(standing.get(attachment, attachment) for attachment in self.hidden)
        for attachment in node.hidden:
            tree.overlay.hide(attachment)
        if self.pending is None:
            self._give_attachment_back(tree, standing)
        elif self.pending.settled.is_set():
            # Who came after it was to replace what it left; now the file is.
            node.committed = -1
            outcomes.hand_on(node, self.pending)
        else:
            self._give_operation_back(tree, self.pending)
        if self.follows is not None and self.follows.settled.is_set():
            outcomes.hand_on(node, self.follows)

    def _give_attachment_back(self, tree: Tree, standing: Mapping[AttachmentId, AttachmentId]) -> None:
        node, attachment = self.node, self.attachment
        if attachment is not None:
            stands = standing[attachment.id]
            if stands != attachment.id:
                attachment = replace(attachment, id=stands, url=None)
                tree.inodes.also(node.inode, f"a:{stands}")
            node.attachment, node.stands = attachment, self.stands
            tree.overlay.hide(stands)

    def _give_operation_back(self, tree: Tree, pending: Work) -> None:
        node, row = self.node, pending.row
        node.work, pending.announced, pending.retracted = pending, self.announced, self.retracted
        sources = {old.attachment for old in row.retire} | ({row.copy_of[1]} if row.copy_of else set())
        # (What had to make room meanwhile was put back under another id, and stays hidden on its operation's behalf.)
        if self.attachment is not None and self.attachment.id in sources:
            node.attachment, node.stands = self.attachment, self.stands
            pending.hidden.remove(self.attachment.id)  # it is hidden on the file's own behalf again
        if row.added is not None and row.added.id in pending.hidden:
            pending.hidden.remove(row.added.id)
            tree.overlay.unhide(row.added.id)
            pending.announce(row.added)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a file takes over with a name.

    Attributes:
        retire: What it has to retire.
        follows: The operation that it has to come after.
        handed: Whom it has that from of those that were put aside, in the order in which they were.
    """

    retire: tuple[Retire, ...] = ()
    follows: Work | None = None
    handed: tuple[Handed, ...] = ()

    def taken(self, work: Work) -> set[AttachmentId]:
        """What the operation of the file that took the name is to retire for its sake."""
        follows = self.follows
        left = left_by(follows.row) if follows is not None and follows.settled.is_set() else ()
        return {*self.standing(work).values(), *(old.attachment for old in left)}

    def standing(self, work: Work | None) -> dict[AttachmentId, AttachmentId]:
        """What is still there of what was to be retired, by the ids that it had then.

        What had to make room for the new file was put back under another id, at its place in the row.

        Args:
            work: The operation of the file that took the name; None: it came to none.
        """
        now = work.row.retire[-len(self.retire) :] if work is not None else self.retire
        return {
            old.attachment: new.attachment
            for old, new in zip(self.retire, now, strict=False)
            if replace(new, attachment=old.attachment) == old
        }


def hand_over(
    node: FileNode, aside: tuple[FieldNode, str], *, copied: bool, hide: Callable[[AttachmentId], None]
) -> Claim:
    """What the platform has of a file, and what that has yet to replace, is the affair of a new one."""
    pending, retire = node.pending, node.retire
    if pending is None and node.attachment is not None:
        place = node.stands or node.place
        retire = (Retire(place, node.attachment.id, node.attachment.name, Role.BASE), *retire)
    handed = Handed(
        node=node,
        home=node.home,
        name=node.name,
        aside=aside,
        beside=node.beside,
        changes=node.draft.changes if node.draft is not None else 0,
        copied=copied,
        attachment=node.attachment,
        stands=node.stands,
        retire=node.retire,
        hidden=node.hidden,
        retired=retire,
        follows=node.follows,
        gives_back=node.gives_back,
        pending=pending,
        announced=pending.announced if pending is not None else None,
        retracted=pending.retracted if pending is not None else None,
    )
    if pending is not None:
        # What it brings up, or replaces, is the new file's affair, and not seen beside that.
        def announced(added: Attachment) -> None:
            hide(added.id)
            pending.hidden.append(added.id)

        pending.announced, pending.retracted = announced, None
        if node.attachment is not None:
            pending.hidden.append(node.attachment.id)
    # (All that stays hidden: from now on on behalf of the new file.)
    node.attachment, node.stands, node.work, node.follows = None, None, None, None
    node.retire, node.hidden, node.gives_back = (), (), None
    return Claim(retire, handed.work, (handed,))
