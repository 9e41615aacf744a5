"""How an operation tells its file what it is: another version, what it was before, nothing that is under way."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aerofs.content.work import Work
from aerofs.filesystem.nodes import FileNode, Life
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment, AttachmentId, FieldRef

if TYPE_CHECKING:
    from aerofs.filesystem.outcomes import Outcomes


class Followed:
    """One operation of a file: it calls `announced`, `retracted` and `returned`, and `settled` at its end."""

    def __init__(
        self, node: FileNode, work: Work, frozen: Path | None, outcomes: "Outcomes", tree: Tree
    ) -> None:
        self._node = node
        self._work = work
        work.frozen = frozen
        self._outcomes = outcomes
        self._tree = tree
        self._earlier, node.work = node.pending, work
        work.hidden, node.hidden = [*node.hidden], ()
        self._before: tuple[Attachment | None, FieldRef | None] | None = None

    def announced(self, added: Attachment) -> None:
        """The new version stands: it is what the file is from now on."""
        node, row = self._node, self._work.row
        if self._before is None:
            self._before = (node.attachment, node.stands)
        if node.attachment is not None and self._tree.is_placed(node):
            self._work.hidden.append(node.attachment.id)
        size = added.size if added.size is not None else row.size
        node.attachment, node.stands = replace(added, size=size), row.place
        had_own = node.beside is None
        self._tree.became(node, asked=row.file_name)
        if had_own:
            self._outcomes.stand_beside(node, node)
        self._outcomes.remember(node)  # times that were set since the row was written

    def retracted(self) -> None:
        """It was taken back: the file is what it was before."""
        node = self._node
        # (After a crash it stood from the start, and what it was before is not known.)
        (earlier, stood), self._before = self._before or (None, None), None
        if node.attachment is not None:
            self._tree.parted(node.attachment.id)
        if self._tree.is_placed(node) and node.attachment is not None:
            self._tree.overlay.unhide(node.attachment.id)
            if earlier is not None:
                self._work.hidden.remove(earlier.id)
        node.attachment, node.stands = earlier, stood

    def returned(self, former: AttachmentId, back: Attachment) -> None:
        """What had to make room was put back under another id: nobody is to see that beside the file.

        It is what the file was, or what it goes over.
        """
        node = self._node
        was_its_own = node.attachment is not None and node.attachment.id == former
        self._tree.overlay.hide(back.id)
        self._tree.returned(former, back)
        if was_its_own:
            node.attachment = back
        if was_its_own and self._tree.is_placed(node):
            self._tree.overlay.unhide(former)
        else:
            self._work.hidden.append(back.id)

    def settled(self, work: Work) -> bool:
        """The operation is over. Returns whether the file keeps the local file of its bytes."""
        node, earlier = self._node, self._earlier
        if node.work is work:
            # (One that it was to follow may still be there, if this one was dropped.)
            node.work = earlier if earlier is not None and not earlier.settled.is_set() else None
        self._keep_hidden_for_heirs()
        for taker in self._tree.placed():
            if taker.follows is work and taker is not node:
                self._outcomes.hand_on(taker, work)
        kept = self._outcomes.over(node, work)
        for attachment in work.shown_again():
            self._tree.overlay.unhide(attachment)
        return kept

    def _keep_hidden_for_heirs(self) -> None:
        """A file was renamed over, and is over: what it was is not seen before whoever took its name is settled."""
        node, work = self._node, self._work
        if node.life is not Life.UNLINKED or node.attachment is None or not self._tree.is_placed(node):
            return
        for heir in work.heirs:
            if any(old.attachment == node.attachment.id for old in heir.row.retire):
                self._tree.overlay.hide(node.attachment.id)
                heir.hidden.append(node.attachment.id)
