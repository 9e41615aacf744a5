"""What is done with whole files on the local disk, and its errors as ours. Everything here blocks."""

import errno
import hashlib
import os
from pathlib import Path

from aerofs.errors import AerofsError, LocalIOError, NoSpaceError, TooLargeError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the disk answers where there is no room."""

_COPY_CHUNK = 1 << 20


def local_error(error: OSError, what: str) -> AerofsError:
    """Turn an error of the local disk into ours."""
    if error.errno in FULL:
        return NoSpaceError(f"{what}: the local disk is full")
    if error.errno == errno.EFBIG:
        return TooLargeError(f"{what}: larger than the local disk admits")
    return LocalIOError(f"{what}: {error.strerror or error}")


def clone(source: Path, target: Path, keep: int | None = None) -> None:
    """Copy a file, or its first bytes: shared extents where the disk can, else in the kernel, else by hand. Blocks."""
    with source.open("rb") as reader, target.open("xb") as writer:
        left = os.fstat(reader.fileno()).st_size
        left = left if keep is None else min(left, keep)
        while left > 0:
            try:
                # copy_file_range shares extents by itself on file systems that can.
                copied = os.copy_file_range(reader.fileno(), writer.fileno(), min(left, 1 << 30))
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                while chunk := reader.read(min(left, _COPY_CHUNK)):
                    left -= writer.write(chunk)
                return
            if not copied:
                return
            left -= copied


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Blocks: call it in a thread."""
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk. Blocks."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
