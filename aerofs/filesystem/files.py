"""Opening, reading, writing and closing files.

A handle reads its file's draft while there is one, else the attachment. The first change of a file makes its draft:
empty after O_TRUNC, else with the bytes of the version that is there. When a draft becomes a save is `commits.py`'s.
"""

import os
import time
import uuid
from functools import partial

from aerofs.content.draft import Draft
from aerofs.content.reader import Reader
from aerofs.errors import (
    AerofsError,
    ExistsError,
    InvalidNameError,
    IsDirectoryError,
    NotFoundError,
    ReadOnlyError,
    RefusedError,
    StaleError,
)
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.finding import find
from aerofs.filesystem.handles import Handle, Handles
from aerofs.filesystem.lookalikes import Lookalikes
from aerofs.filesystem.nodes import Directory, Entry, FieldNode, FileNode, Life, Node
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.versions import Versions
from aerofs.namespace.familiar import is_local, is_passing, is_trash
from aerofs.namespace.names import check_new

_WRITING = os.O_WRONLY | os.O_RDWR


class Files:
    """The open files of a mount."""

    def __init__(
        self,
        tree: Tree,
        commits: Commits,
        asides: Asides,
        versions: Versions,
        reader: Reader,
        lookalikes: Lookalikes,
        *,
        read_only: bool,
        umask: int,
    ) -> None:
        self._tree = tree
        self._commits = commits
        self._asides = asides
        self._versions = versions
        self._lookalikes = lookalikes
        self._read_only = read_only
        self._umask = umask
        self._handles = Handles(tree, reader)

    def __repr__(self) -> str:
        return f"<Files {self._handles!r}>"

    # -- opening -------------------------------------------------------------------------------------------------

    async def open(self, node: Node, flags: int) -> int:
        """Open a file. Returns the handle's number.

        Raises:
            IsDirectoryError, ReadOnlyError: As open(2).
            AerofsError: The size, or what is to be changed, cannot be had.
        """
        if not isinstance(node, FileNode):
            raise IsDirectoryError("a directory is not opened as a file")
        if node.life is Life.UNLINKED:
            # Removed or replaced since the kernel looked the name up: at this errno it looks again.
            raise StaleError(f"{node.path} is gone")
        writable = bool(flags & _WRITING)
        if (writable or flags & os.O_TRUNC) and self._read_only:
            raise ReadOnlyError(f"{node.path}: the mount is read-only")
        number = self._handles.open(node, writable=writable)
        try:
            if flags & os.O_TRUNC:
                await self._truncate(node)
            elif node.size is None:
                await self._learn_size(self._handles[number])
        except BaseException:
            self._handles.close(number)
            raise
        return number

    async def create(self, home: Directory, name: str, flags: int, mode: int) -> tuple[Entry, int]:
        """Make and open a new file; an existing one is opened, unless O_EXCL is set.

        Raises:
            ExistsError, ReadOnlyError: As open(2).
            RefusedError: There are no files above the fields; `.Trash-*` is not kept.
            QuotaError: The field is full.
        """
        if self._read_only:
            raise ReadOnlyError(f"{name}: the mount is read-only")
        if not isinstance(home, FieldNode) or is_trash(name):
            raise RefusedError(f"{name}: files are kept in attachment fields only")
        title = check_new(name)
        existing = await self._existing(home, name)
        if existing is not None:
            if flags & os.O_EXCL:
                raise ExistsError(f"{home.path}/{name} exists")
            return existing, await self.open(existing.node, flags)
        node = await self._new(home, name, title, exclusive=bool(flags & os.O_EXCL), mode=mode)
        return Entry(name, node.inode, node), self._handles.open(node, writable=True)

    async def _new(self, home: FieldNode, name: str, title: str, *, exclusive: bool, mode: int) -> FileNode:
        passing = is_passing(name, exclusive=exclusive)
        local = passing or is_local(name)
        if not local and not self._asides.is_aside(home, name):
            self._tree.fields.check_room(home)
        draft = self._versions.empty(home)
        former = self._asides.at(home, name)
        try:
            claim = await self._asides.claim(home, name)
        except BaseException:
            draft.discard()
            raise
        node = self._tree.new_file(
            home,
            name,
            title if former is None else former.title,
            key=f"n:{uuid.uuid4().hex}",
            mode=mode & ~self._umask & 0o777,
            now_ns=time.time_ns(),
        )
        node.life = Life.LOCAL if local else Life.REAL
        node.exclusive, node.draft, node.retire, node.follows = passing, draft, claim.retire, claim.follows
        node.hidden = tuple(old.attachment for old in claim.retire)
        node.gives_back = partial(self._asides.taken_in_vain, claim)
        self._commits.outcomes.stand_beside(node, former)
        draft.changes += 1  # its existence is what has to be saved
        return node

    async def _existing(self, home: FieldNode, name: str) -> Entry | None:
        try:
            return await find(self._tree, home, name)
        except NotFoundError:
            return None

    def node(self, number: int) -> FileNode:
        """The file of a handle."""
        return self._handles[number].node

    # -- reading -------------------------------------------------------------------------------------------------

    async def read(self, number: int, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; short only at the end."""
        handle = self._handles[number]
        draft = handle.node.draft
        if draft is not None:
            return draft.read(offset, length)
        reader = self._handles.reading(handle)
        try:
            return b"" if reader is None else await reader.read(offset, length)
        except StaleError:
            self._tree.look_again(handle.node)
            raise

    async def _learn_size(self, handle: Handle) -> None:
        reader = self._handles.reading(handle)
        if reader is not None and handle.node.attachment is not None:
            self._tree.sized(handle.node, await reader.size())

    # -- writing -------------------------------------------------------------------------------------------------

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Write all of `data`. Returns its length."""
        node = self._handles[number].node
        draft = node.draft or await self._draft(node)
        written = await draft.write(offset, data)
        self._modified(node)
        return written

    async def resize(self, node: FileNode, size: int, number: int | None) -> None:
        """truncate(2), or ftruncate(2) where a handle is named."""
        if self._read_only:
            raise ReadOnlyError(f"{node.path}: the mount is read-only")
        if number is None and node.life is Life.UNLINKED:
            raise StaleError(f"{node.path} is gone")
        if size == node.size and node.draft is None:
            return
        node.writers, node.handles = node.writers + 1, node.handles + 1  # the draft stays meanwhile
        try:
            if size == 0:
                await self._truncate(node)
            else:
                await (node.draft or await self._draft(node)).truncate(size)
                self._modified(node)
        finally:
            node.writers, node.handles = node.writers - 1, node.handles - 1
            if node.draft is not None and node.draft.refusal is not None:
                self._commits.outcomes.let_go(node)
        if number is None and node.writers == 0:
            # No handle, so no flush will come.
            if node.life is not Life.REAL:
                await self._commits.released(node)
            elif size == 0:
                self._commits.quiet.empty(node)
            else:
                await self._commits.commit(node)
                await self._commits.booked(node)

    async def _truncate(self, node: FileNode) -> None:
        async with self._versions.lock(node):
            if node.draft is None:
                if node.size == 0 and node.attachment is not None:
                    return
                draft = self._versions.empty(node.home)
                draft.changes += 1
                self._adopt(node, draft)
            elif node.draft.refusal is not None:
                self._commits.outcomes.start_over(node)
            elif node.draft.size:
                await node.draft.truncate(0)
            else:
                return
        self._modified(node)

    async def _draft(self, node: FileNode) -> Draft:
        """The node's draft, made from the version that is there."""
        async with self._versions.lock(node):
            if node.draft is None:
                self._adopt(node, await self._versions.copy(node))
        if node.draft is None:
            raise InvalidNameError(f"{node.path}: nothing to write to")
        return node.draft

    def _adopt(self, node: FileNode, draft: Draft) -> None:
        node.draft, node.committed = draft, 0
        if node.life is not Life.UNLINKED:
            self._tree.place(node)

    def _modified(self, node: FileNode) -> None:
        node.mtime_ns = node.ctime_ns = time.time_ns()
        self._commits.quiet.touched(node)

    # -- closing -------------------------------------------------------------------------------------------------

    async def flush(self, number: int) -> None:
        """A descriptor is closed: commit what was changed through it.

        Raises:
            AerofsError: What a write met before, or what the platform said of the save.
        """
        handle = self._handles[number]
        if not handle.writable:
            return
        again = handle.commits > 0
        try:
            handle.commits += await self._commits.close(handle.node, written_again=again)
        except AerofsError:
            handle.commits += 1
            raise

    async def fsync(self, number: int) -> None:
        """The draft and its journal row are on the disk when this returns; nothing is uploaded."""
        node = self._handles[number].node
        if node.draft is None:
            return
        if node.draft.refusal is not None:
            raise node.draft.refusal
        if node.changed or node.life is Life.LOCAL:
            await self._commits.notes.note(node)

    async def release(self, number: int) -> None:
        """The last descriptor of a handle is gone."""
        handle = self._handles.close(number)
        node = handle.node
        await self._commits.booked(node)
        await self._commits.released(node)
        if handle.writable:
            self._lookalikes.closed(node)
