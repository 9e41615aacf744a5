"""What a file in the drafts' directory says for itself, should the journal lose its row: an extended attribute.

It is written before the file is synced and holds the row as it was then, with its number. File systems without user
attributes do without: the label is a second line of defence, the journal the first. Nothing else relies on it.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from aerofs.content.operations import OPERATION, Operation

log = logging.getLogger(__name__)

_NAME = "user.aerofs.save"
_PROBE = "user.aerofs.probe"
_ROOM = 3000
"""Bytes: ext4 keeps all attributes of a file in one block."""


def check(directory: Path) -> None:
    """Tell in the log where the file system keeps no labels: nobody else would notice before it is too late."""
    try:
        os.setxattr(directory, _PROBE, b"")
        os.removexattr(directory, _PROBE)
    except OSError as error:
        log.warning(
            "%s: the file system keeps no extended attributes (%s): should the journal be damaged, saves of which it "
            "has lost the rows do not tell where they belong",
            directory,
            error.strerror,
        )


def write(path: Path, row: Operation) -> None:
    """Let a file say which row it belongs to. Blocks for some microseconds; nothing is synced."""
    body = OPERATION.dump_json(row, exclude_defaults=True)
    if len(body) > _ROOM:
        # What stood in a large field. Without it, equal bytes of that name count as ours.
        body = OPERATION.dump_json(replace(row, known=frozenset(), error=""), exclude_defaults=True)
    try:
        if len(body) <= _ROOM:
            os.setxattr(path, _NAME, body)
        else:
            os.removexattr(path, _NAME)  # of an earlier row
    except OSError as error:
        log.debug("%s: carries no label: %s", path.name, error.strerror)


def read(path: Path) -> Operation | None:
    """The row that a file says it belongs to; None where it does not, or not readably."""
    try:
        return OPERATION.validate_json(os.getxattr(path, _NAME))
    except (OSError, ValidationError):
        return None
