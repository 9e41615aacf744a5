"""What stat(2), getxattr(2) and statfs(2) tell of the tree."""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cachetools import LRUCache

from aerofs.filesystem.nodes import (
    DefinitionNode,
    DocumentNode,
    FieldNode,
    FileNode,
    Life,
    Node,
    Root,
)
from aerofs.filesystem.tree import Tree
from aerofs.settings import Settings

_DIRECTORY_MODE = 0o777
_REMEMBERED = 100_000
"""Inodes whose owner, or directory mode, is remembered."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a node.

    Attributes:
        mode: Type and permission bits.
        size: Bytes; 0 where nobody knows yet.
        entry_timeout, attribute_timeout: Seconds for which the kernel may believe the name, and the rest.
    """

    inode: int
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    uid: int
    gid: int
    nlink: int
    entry_timeout: float
    attribute_timeout: float


class Attributor:
    """Tells the attributes of nodes, and remembers what the user set on directories."""

    def __init__(self, tree: Tree, settings: Settings, *, now_ns: Callable[[], int]) -> None:
        self._tree = tree
        self._uid = os.getuid() if settings.uid is None else settings.uid
        self._gid = os.getgid() if settings.gid is None else settings.gid
        self._directory_mode = _DIRECTORY_MODE & ~settings.umask
        self._mounted_ns = now_ns()
        self._set: LRUCache[int, tuple[int | None, int | None]] = LRUCache(_REMEMBERED)
        self.owners: LRUCache[int, tuple[int, int]] = LRUCache(_REMEMBERED)

    def of(self, inode: int, node: Node) -> Attributes:
        """The attributes of a node."""
        uid, gid = self.owners.get(inode, (self._uid, self._gid))
        freshness = self._freshness(node)
        if isinstance(node, FileNode):
            return Attributes(
                inode=inode,
                mode=stat.S_IFREG | node.mode,
                size=node.size or 0,
                mtime_ns=node.mtime_ns,
                ctime_ns=max(node.ctime_ns, node.mtime_ns),
                uid=uid,
                gid=gid,
                nlink=0 if node.life is Life.UNLINKED else 1,
                entry_timeout=freshness,
                # A size that nobody knows is asked for again: an open may have found it out.
                attribute_timeout=0.0 if node.size is None else freshness,
            )
        mode, mtime_ns = self._set.get(inode, (None, None))
        modified = self._tree.fields.modified_ns(node) if isinstance(node, DocumentNode) else 0
        if isinstance(node, FieldNode):
            modified = self._tree.fields.modified_ns(node.parent)
        return Attributes(
            inode=inode,
            mode=stat.S_IFDIR | (self._directory_mode if mode is None else mode),
            size=0,
            mtime_ns=mtime_ns or modified or self._mounted_ns,
            ctime_ns=modified or self._mounted_ns,
            uid=uid,
            gid=gid,
            nlink=2,
            entry_timeout=freshness,
            attribute_timeout=freshness,
        )

    def remember(self, inode: int, *, mode: int | None = None, mtime_ns: int | None = None) -> None:
        """Keep what chmod or utimens set on a directory, for the life of the mount."""
        before = self._set.get(inode, (None, None))
        self._set[inode] = (before[0] if mode is None else mode, before[1] if mtime_ns is None else mtime_ns)

    def _freshness(self, node: Node) -> float:
        catalog = self._tree.catalog
        match node:
            case Root() | DefinitionNode():
                return catalog.remaining()
            case DocumentNode():
                definition = node.parent.definition
                return max(catalog.remaining(definition), catalog.remaining(definition, node.document))
            case FieldNode():
                return catalog.remaining(node.parent.parent.definition, node.parent.document)
            case FileNode():
                document = node.home.parent
                return catalog.remaining(document.parent.definition, document.document)


def extended(node: Node) -> Mapping[str, bytes]:
    """Where a file is on the platform, as extended attributes; from memory."""
    if not isinstance(node, FileNode) or node.attachment is None:
        return {}
    values = {"user.aero.id": node.attachment.id, "user.aero.title": node.attachment.name}
    if node.attachment.type:
        values["user.aero.type"] = node.attachment.type
    return {name: value.encode() for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr(2) wants changed; None: nothing."""

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """statfs(2): the platform names no limits, so what bounds a save is the local disk that spools it. Bytes."""

    total: int
    free: int
    available: int
    files: int
