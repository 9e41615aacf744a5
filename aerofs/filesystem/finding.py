"""Finding files by their names: the catalog's answer, minus what is hidden, plus what this mount placed on top."""

from collections.abc import AsyncIterator, Iterator, Mapping

from aerofs.errors import NotFoundError
from aerofs.filesystem.nodes import DefinitionNode, Directory, DocumentNode, Entry, FieldNode, Root
from aerofs.filesystem.tree import Tree
from aerofs.model import Attachment, FieldRef, ValuePath
from aerofs.namespace.familiar import probed
from aerofs.namespace.names import apart, encode, look_alike
from aerofs.namespace.snapshots import FieldFiles, Snapshot


async def find(tree: Tree, parent: Directory, name: str) -> Entry:
    """The entry of that name.

    Raises:
        NotFoundError: There is none.
    """
    match parent:
        case Root():
            return _entry(tree, name, DefinitionNode(await tree.catalog.definition(name), name))
        case DefinitionNode():
            document = await tree.catalog.find_document(parent.definition, name)
            return _entry(tree, name, DocumentNode(parent, document.id, name))
        case DocumentNode():
            snapshot = await _snapshot(tree, parent, unless_probed=name)
            for path in snapshot.fields:
                if encode(path) == name:
                    return _entry(tree, name, _field_node(parent, path))
            raise NotFoundError(f"{parent.name}/{name}: no such field")
        case FieldNode():
            return await _find_file(tree, parent, name)


async def _snapshot(tree: Tree, node: DocumentNode, *, unless_probed: str = "") -> Snapshot:
    definition = node.parent.definition
    if unless_probed and probed(unless_probed):
        snapshot = tree.catalog.peek(definition, node.document)
        if snapshot is None:
            raise NotFoundError(f"{node.name}/{unless_probed}: no such field")
        return snapshot
    snapshot = await tree.catalog.snapshot(definition, node.document)
    # What changed here while the answer was handed on is not in it, and perhaps not in the overlay any more.
    return tree.catalog.peek(definition, node.document, stale=True) or snapshot


async def _find_file(tree: Tree, parent: FieldNode, name: str) -> Entry:
    placed = tree.overlay.placed(parent.place, name)
    if placed is not None:
        return Entry(name, placed.inode, placed)
    snapshot = await _snapshot(tree, parent.parent)
    placed = tree.overlay.placed(parent.place, name)
    if placed is not None:
        # Somebody began to write it while we asked: what it was is hidden now.
        return Entry(name, placed.inode, placed)
    files = _files(parent, snapshot)
    attachment = files.get(name)
    free = not tree.overlay.is_ours(parent.place, name)
    if attachment is not None and free and not tree.fields.hidden(parent.place)(attachment):
        node = tree.file(parent, name, attachment, snapshot)
        return Entry(name, node.inode, node)
    if attachment is None and name.isascii() and " (" not in name:
        # Neither told apart from others nor like another: no need to go through all that is there.
        raise NotFoundError(f"{parent.path}/{name}: no such file")
    shown = _shown(tree, parent, snapshot)
    found = name if name in shown else look_alike(name, (*shown, *tree.overlay.names(parent.place)))
    if found is None:
        raise NotFoundError(f"{parent.path}/{name}: no such file")
    if found not in shown:
        node = tree.overlay.names(parent.place)[found]
    else:
        node = tree.file(parent, found, shown[found], snapshot)
    return Entry(name, node.inode, node)


def _files(parent: FieldNode, snapshot: Snapshot) -> FieldFiles:
    """What the platform shows in a field."""
    files = snapshot.fields.get(parent.place.path)
    if files is None:
        raise NotFoundError(f"{parent.path}: no such field any more")
    return files


def _shown(tree: Tree, parent: FieldNode, snapshot: Snapshot) -> Mapping[str, Attachment]:
    """What the platform shows in a field, and this mount does not hide, under the names that are left for it."""
    files, placed = _files(parent, snapshot), tree.overlay.names(parent.place)
    hidden = tree.fields.hidden(parent.place)
    shown: dict[str, Attachment] = {}
    for name, attachment in files.items():
        if hidden(attachment):
            continue
        if tree.overlay.is_ours(parent.place, name):
            # A name that is ours for now: somebody else's file is seen beside it.
            name = apart(attachment.id, attachment.name, {**files, **placed})  # noqa: PLW2901
        shown[name] = attachment
    return shown


async def entries(tree: Tree, parent: Directory) -> AsyncIterator[Entry]:
    """All entries, as they become known."""
    match parent:
        case Root():
            for name, definition in (await tree.catalog.definitions()).items():
                yield _entry(tree, name, DefinitionNode(definition, name))
        case DefinitionNode():
            async for listed in tree.catalog.documents(parent.definition):
                yield _entry(tree, listed.name, DocumentNode(parent, listed.id, listed.name))
        case DocumentNode():
            snapshot = await _snapshot(tree, parent)
            for path in snapshot.fields:
                yield _entry(tree, encode(path), _field_node(parent, path))
        case FieldNode():
            snapshot = await _snapshot(tree, parent.parent)
            for entry in _file_entries(tree, parent, snapshot):
                yield entry


def _file_entries(tree: Tree, parent: FieldNode, snapshot: Snapshot) -> Iterator[Entry]:
    placed = list(tree.overlay.names(parent.place).items())
    for name, attachment in list(_shown(tree, parent, snapshot).items()):
        if not tree.overlay.is_hidden(attachment.id):
            node = tree.file(parent, name, attachment, snapshot)
            yield Entry(name, node.inode, node)
    for name, node in placed:
        yield Entry(name, node.inode, node)


def _entry(tree: Tree, name: str, node: Directory) -> Entry:
    return Entry(name, tree.number(node), node)


def _field_node(parent: DocumentNode, path: ValuePath) -> FieldNode:
    return FieldNode(parent, FieldRef(parent.parent.definition.id, parent.document, path))
