"""An upload's multipart body, streamed into files: never more of it in memory than the chunk at hand.

The push parser of python-multipart does the parsing. What is refused on the way (too many files, too large)
is read to its end without being kept, so that the client hears the answer instead of a broken connection.
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from aerofs.sandbox.refusals import Refusal, invalid

_DISPOSITION = re.compile(rb';\s*(name|filename)="([^"]*)"', re.IGNORECASE)
_BOUNDARY = re.compile(r'^multipart/form-data\s*;.*\bboundary="?([^";,]+)"?', re.IGNORECASE)
_ESCAPES = {b"%22": b'"', b"%0A": b"\n", b"%0D": b"\r"}


@dataclass(frozen=True, slots=True)
class Part:
    """A file that has arrived whole; `type` is what its part said, "" if nothing."""

    name: str
    type: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one call may bring; None is unlimited. `part_name` "" admits any name."""

    part_name: str = "file"
    files: int | None = None
    total: int | None = None
    single: int | None = None


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        Refusal: 400 for anything but multipart/form-data.
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise invalid("Header error: Content-Type; must be multipart/form-data with a boundary")
    return found[1].encode("latin-1")


def unescaped(name: bytes) -> bytes:
    """A file name as HTML5 escapes it in a part's header: `%22`, `%0A` and `%0D`, nothing else."""
    return re.sub(rb"%22|%0[AD]", lambda found: _ESCAPES[found[0].upper()], name, flags=re.IGNORECASE)


class Receiver:
    """Takes a body piece by piece; a context manager that removes what nobody has taken from `parts`."""

    def __init__(self, boundary: bytes, directory: Path, limits: Limits) -> None:
        self.parts: list[Part] = []
        self._refusal: Refusal | None = None
        self._directory = directory
        self._limits = limits
        self._total = 0
        self._ended = False
        self._key = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._type = ""
        self._file: int | None = None
        self._path = directory
        self._size = 0
        self._made: list[Path] = []
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._on_key,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_end_of_part,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise invalid(f"Body error: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        for path in self._made:
            path.unlink(missing_ok=True)

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if self._refusal is None:
            try:
                self._parser.write(data)
            except FormParserError as error:
                self._refuse(invalid(f"Body error: {error}"))

    def finish(self) -> list[Part]:
        """The files, once the body is over.

        Raises:
            Refusal: the body was not whole, held something else than files, or was beyond the limits.
        """
        if self._refusal is not None:
            raise self._refusal
        if not self._ended:
            raise invalid("Body error: the multipart body ends too early")
        if not self.parts:
            raise invalid("Body error: there is no file in the body")
        return self.parts

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = self._refusal or refusal
        self._close()

    def _on_key(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._key.lower()] = self._value
        self._key = self._value = b""

    def _on_headers(self) -> None:
        if self._refusal is not None:
            return
        disposition = self._headers.get(b"content-disposition", b"")
        found = {key.lower(): value for key, value in _DISPOSITION.findall(disposition)}
        self._type = self._headers.get(b"content-type", b"").decode("latin-1")
        try:
            field = found.get(b"name", b"").decode()
            self._name = unescaped(found.get(b"filename", b"")).decode()
        except UnicodeDecodeError:
            self._refuse(invalid("Body error: a name is not UTF-8"))
            return
        limits = self._limits
        if not self._name or "\0" in self._name:
            self._refuse(invalid(f"Body error: {field}; only files are accepted, each with a filename"))
        elif limits.part_name and field != limits.part_name:
            self._refuse(invalid(f"Body error: {field}; the part must be named {limits.part_name!r}"))
        elif limits.files is not None and len(self.parts) >= limits.files:
            self._refuse(invalid(f"Body error: files; more than {limits.files} files in one call"))
        else:
            self._path = self._directory / secrets.token_hex(8)
            self._made.append(self._path)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._size = 0

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            return
        limits = self._limits
        self._size += end - start
        self._total += end - start
        if limits.single is not None and self._size > limits.single:
            self._refuse(invalid(f"Body error: {self._name}; The file is larger than {limits.single} bytes"))
        elif limits.total is not None and self._total > limits.total:
            self._refuse(invalid(f"Body error: files; more than {limits.total} bytes in one call"))
        else:
            rest = memoryview(data)[start:end]
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def _on_end_of_part(self) -> None:
        if self._file is not None:
            self._close()
            self.parts.append(Part(self._name, self._type, self._path, self._size))

    def _on_end(self) -> None:
        self._ended = True

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
