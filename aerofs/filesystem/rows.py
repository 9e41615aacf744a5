"""What the journal's row of a file says while the file is as it is now, and the label that goes with it.

A row that names another local file is another row: its label has the number of its row.
"""

import time
from dataclasses import replace
from pathlib import Path

from aerofs.content import labels
from aerofs.content.disk import digest, local_error
from aerofs.content.draft import Draft
from aerofs.content.operations import Operation, Retire, Role
from aerofs.filesystem.fields import Fields
from aerofs.filesystem.nodes import FileNode, Noted

LARGE = 4 << 20
"""Bytes from which a draft is synced and digested in a thread of its own: the journal's writer serves everybody."""


class Rows:
    """Composes rows of what is known without a request."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def save(self, node: FileNode, draft: Draft, *, inherits: bool = False) -> Operation:
        """The save of a draft as it is now; `inherits`: what it replaces follows from an earlier one of the file."""
        retire = node.retire
        if node.attachment is not None and not inherits:
            stands = node.stands or node.place
            role = Role.BASE if stands == node.place else Role.SOURCE
            retire = (Retire(stands, node.attachment.id, node.attachment.name, role), *retire)
        return self.operation(node, size=draft.size, retire=retire)

    def operation(self, node: FileNode, *, size: int, retire: tuple[Retire, ...]) -> Operation:
        """An operation of a file as it is now: where it is to stand, and the local facts that go with it."""
        return Operation(
            **self._fields.destination(node),
            size=size,
            retire=retire,
            inode=node.inode,
            mtime_ns=node.mtime_ns,
            mode=node.mode,
            since=time.time(),
        )


def synced(row: Operation, draft: Draft, path: Path) -> Operation:
    """The digest of the bytes, and with it everything to the disk. Runs in a thread."""
    try:
        row = replace(row, sha256=digest(path), size=path.stat().st_size)
    except OSError as error:
        raise local_error(error, row.path) from error
    labels.write(path, row)
    draft.sync_file(path)
    return row


def label(noted: Noted, synced_by: Draft | None) -> Operation:
    """The label of a row, and with it everything to the disk, if somebody is to see to that. Runs in a thread."""
    labels.write(noted.path, noted.row)
    if synced_by is not None:
        synced_by.sync_file(noted.path)
    return noted.row


def number_of(noted: Noted | None, path: Path) -> int:
    """The number of the row of a file, if it has one: a row that names another file is another row."""
    return noted.row.id if noted is not None and noted.path == path else 0


def former_of(noted: Noted | None, row: Operation) -> tuple[int, ...]:
    """The number of the row that another one takes the place of, if there is one."""
    return (noted.row.id,) if noted is not None and noted.row.id != row.id else ()
