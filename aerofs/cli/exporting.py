"""Copying the bytes of a save to where a person wants them: whole or not at all, and never over something else."""

import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aerofs.errors import AerofsError, ExistsError, NotFoundError, RefusedError

_CHUNK = 1 << 20


def export(
    file: Path,
    target: Path,
    *,
    name: str,
    mtime_ns: int,
    sha256: str | None,
    force: bool,
    length: int | None = None,
) -> Path:
    """Copy `file` to `target`, or into it as `name`, if it is a directory. Returns where the copy is.

    The copy appears under its name when it is complete and on the disk, with the time of the save. `length`: so many
    bytes at the beginning of the file are the save. `force`: what a symbolic link leads to is overwritten, as cp does,
    and nothing but a regular file.

    Raises:
        NotFoundError: The bytes are gone.
        ExistsError: The target exists, and `force` was not given.
        RefusedError: It is there, and no regular file.
        AerofsError: It cannot be written, or the bytes are not those that were saved.
    """
    target = _free(target / name if target.is_dir() else target, force=force)
    part = target.with_name(f".aerofs-{secrets.token_hex(8)}.part")
    try:
        with _opened(file) as reader, part.open("xb") as writer:
            _copy(reader, writer, sha256, name, length)
            writer.flush()
            os.utime(part, ns=(mtime_ns, mtime_ns))
            os.fsync(writer.fileno())
        _put(part, target, force=force)
    except OSError as error:
        raise AerofsError(f"cannot write {target}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink()
    return target


def _free(target: Path, *, force: bool) -> Path:
    """Where the copy may go: nobody has that name, or what has it may be overwritten."""
    if os.path.lexists(target):
        if not force:
            raise _exists(target)
        target = target.resolve()
        if os.path.lexists(target) and not target.is_file():
            raise RefusedError(f"{target} is no regular file, and only such a one is overwritten")
    return target


def stream(file: Path, *, name: str, sha256: str | None, length: int | None = None) -> None:
    """Copy `file` to the standard output.

    Raises:
        NotFoundError, AerofsError: As `export`.
    """
    try:
        with _opened(file) as reader:
            _copy(reader, sys.stdout.buffer, sha256, name, length)
            sys.stdout.buffer.flush()
    except OSError as error:
        raise AerofsError(f"cannot write to the standard output: {error.strerror}") from None


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """An open file stays what it is, also if the save arrives meanwhile and its file goes."""
    try:
        reader = file.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"its bytes are not here any more: {file} is gone") from None
    except OSError as error:
        raise AerofsError(f"its bytes in {file} cannot be read: {error.strerror}") from None
    with reader:
        yield reader


def _copy(reader: BinaryIO, writer: BinaryIO, sha256: str | None, name: str, length: int | None) -> None:
    digest, left = hashlib.sha256(), sys.maxsize if length is None else length
    while chunk := reader.read(min(_CHUNK, left)):
        left -= len(chunk)
        digest.update(chunk)
        writer.write(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise AerofsError(
            f"{name}: the bytes on this disk are not those that were saved; the disk is damaged"
        )


def _put(part: Path, target: Path, *, force: bool) -> None:
    """Give the copy its name; without `force` only if nobody has it, which a link tells in the same step."""
    if force:
        part.replace(target)
        return
    try:
        os.link(part, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV):
            raise
        # A file system without hard links: two steps have to do.
        if os.path.lexists(target):
            raise _exists(target) from None
        part.rename(target)


def _exists(target: Path) -> ExistsError:
    return ExistsError(f"{target} exists; --force overwrites it")
