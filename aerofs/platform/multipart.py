"""The body of a save: one file as a multipart form, streamed from a fresh reader.

Not httpx's own encoder: that one reads 64 KiB at a time, and writes the names of files in its own way.
Pieces are read in line, from the local disk; they grow while the network takes them quickly and shrink when
it does not, so that "no byte for so many seconds" means what it says on a slow line too.
"""

import mimetypes
import secrets
from collections.abc import AsyncIterator, Callable, Generator
from typing import BinaryIO, Protocol

import httpx
import trio

from aerofs.errors import LocalIOError
from aerofs.platform.wire import sendable_name

_SMALLEST_PIECE = 32 * 1024
_FIRST_PIECE = 128 * 1024
_LARGEST_PIECE = 1024 * 1024
_QUICK = 0.05
_SLOW = 0.5


class Content(Protocol):
    """Bytes that can be sent, more than once if need be."""

    @property
    def size(self) -> int:
        """Bytes in all; they do not change while they are sent."""

    def open(self) -> BinaryIO:
        """Return a fresh reader that stands at the first byte; whoever asked closes it."""


def media_type(name: str) -> str:
    """Return the type that a file name suggests."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:  # the type is that of the packed file, not of the package
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return kind or "application/octet-stream"


class Form(httpx.AsyncByteStream):
    """A multipart form of one file. Iterating it sends it once; make another to send it again.

    Attributes:
        size: Bytes of the whole form.
        content_type: For the header, with the boundary.
    """

    def __init__(
        self,
        part: str,
        name: str,
        content: Content,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Prepare a form whose one part is named `part`; `sent` is told each size that the network took."""
        boundary = secrets.token_hex(16)
        title = sendable_name(name)  # as browsers write it: a backslash stands for itself
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="'.encode()
            + title
            + f'"\r\nContent-Type: {media_type(name)}\r\n\r\n'.encode()
        )
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._name = name
        self._content = content
        self._content_size = content.size
        self._sent = sent
        self._pieces = self._sliced()
        self.size = len(self._head) + self._content_size + len(self._tail)
        self.content_type = f"multipart/form-data; boundary={boundary}"

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Raises:
            LocalIOError: The content cannot be read, or is shorter than it said.
        """
        # no async generator: one that is given up half-way would wait for the collector with its file open
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close the reader, wherever it stands."""
        self._pieces.close()

    def _sliced(self) -> Generator[bytes, None, None]:
        with self._opened() as reader:
            head, left, piece = self._head, self._content_size, _FIRST_PIECE
            while left:
                data = self._read(reader, min(piece, left))
                left -= len(data)
                began = trio.current_time()
                yield head + data if head else data
                head = b""
                self._sent(len(data))
                piece = _next_piece(piece, trio.current_time() - began)
        yield head + self._tail

    def _opened(self) -> BinaryIO:
        try:
            return self._content.open()
        except OSError as error:
            raise LocalIOError(f"{self._name}: cannot be read: {error.strerror}") from error

    def _read(self, reader: BinaryIO, size: int) -> bytes:
        try:
            data = reader.read(size)
        except OSError as error:
            raise LocalIOError(f"{self._name}: cannot be read: {error.strerror}") from error
        if not data:
            raise LocalIOError(f"{self._name}: shorter than its {self._content_size} bytes")
        return data


def _next_piece(piece: int, took: float) -> int:
    if took < _QUICK:
        return min(piece * 2, _LARGEST_PIECE)
    return max(piece // 2, _SMALLEST_PIECE) if took > _SLOW else piece
