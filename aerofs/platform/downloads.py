"""The bytes of one attachment, or a range of them, as they arrive.

A download URL is another party's: usually a signed, short-lived one of an object store on another host. It
may ignore Range, redirect, or have expired; its answer is judged here, and the caller learns what it really
got. No URL is ever in a message.

Source: RFC 9110, 14 (range requests); aero-api: READING of downloadURL.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Self, cast

import httpx

from aerofs.errors import AerofsError, ProtocolError, UnavailableError
from aerofs.platform.exchange import Exchange
from aerofs.platform.lanes import foreign_errors_translated

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)
_EXPIRED = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE},
)


class ExpiredUrlError(AerofsError):
    """The URL no longer serves; the field's list brings a fresh one, if the attachment still stands there."""


class Download(AsyncIterator[bytes]):
    """An open download.

    Attributes:
        start: Offset of its first byte in the object: 0 where the server ignored the range.
        expected: Bytes that will come; None where the server does not tell.
        total: Size of the whole object; None where the server does not tell.
        ranged: Whether the answer is one to a range, so that `total` is told beside the length of the body.
        etag: The store's name for this content, if it gave one.
    """

    def __init__(
        self,
        response: httpx.Response,
        *,
        start: int,
        expected: int | None,
        total: int | None,
        ranged: bool,
        received: Callable[[int], None],
    ) -> None:
        self.start = start
        self.expected = expected
        self.total = total
        self.ranged = ranged
        self.etag: str | None = response.headers.get("etag")
        self._response = response
        self._received = received
        self._body: AsyncIterator[bytes] | None = None
        self._count = 0

    def __repr__(self) -> str:
        return f"<Download from {self.start}, {self.expected} bytes of {self.total}>"

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the bytes in order, once, as they come from the network; leaving early needs no care."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises:
            UnavailableError: The connection broke or the body is shorter than promised; what came is right.
            DeadlineError: No byte within the bound.
        """
        if self.expected == 0:
            raise StopAsyncIteration
        if self._body is None:
            # raw: ranges and sizes count the stored bytes, whatever encoding the store calls them
            self._body = aiter(cast("httpx.AsyncByteStream", self._response.stream))
        try:
            with foreign_errors_translated("a download"):
                chunk = await anext(self._body)
        except StopAsyncIteration:
            if self.expected is not None and self._count != self.expected:
                raise UnavailableError(
                    f"a download ended after {self._count} of {self.expected} bytes",
                ) from None
            raise
        self._count += len(chunk)
        self._received(len(chunk))
        return chunk

    async def aclose(self) -> None:
        """Give up what has not come yet."""
        await self._response.aclose()
        if self._body is not None:
            # httpx nests generators; the closed connection makes the innermost raise, which unwinds them all
            # at once instead of one by one in the garbage collector
            with contextlib.suppress(httpx.HTTPError, httpx.StreamError, StopAsyncIteration):
                await anext(self._body)


@asynccontextmanager
async def opened(exchange: Exchange, url: str, *, start: int, stop: int | None) -> AsyncIterator[Download]:
    """Begin a download from `start` up to, not including, `stop`; close it at the end of the block.

    Raises:
        ExpiredUrlError: A fresh URL is needed.
        UnavailableError: The store cannot be reached or cannot serve now.
        ProtocolError: An answer that makes no sense.
    """
    headers = {"Accept-Encoding": "identity"}
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
    response, stack = await exchange.open(url, headers=headers)
    async with stack:
        download = _judged(response, start=start, received=exchange.tally.received)
        try:
            yield download
        finally:
            await download.aclose()


def _judged(response: httpx.Response, *, start: int, received: Callable[[int], None]) -> Download:
    status = response.status_code
    length = response.headers.get("content-length", "")
    expected = int(length) if length.isdigit() else None
    if status == HTTPStatus.OK:
        return Download(response, start=0, expected=expected, total=expected, ranged=False, received=received)
    if status in _EXPIRED:
        raise ExpiredUrlError(f"a download URL no longer serves (status {status})")
    told = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        # (No store needs to say what there is of an object that does not even have a first byte.)
        total = int(told[3]) if told and told[3] != "*" else None if start else 0
        return Download(response, start=start, expected=0, total=total, ranged=True, received=received)
    if status == HTTPStatus.PARTIAL_CONTENT and told and told[1]:
        first, last = int(told[1]), int(told[2])
        total, expected = None if told[3] == "*" else int(told[3]), last - first + 1
        return Download(response, start=first, expected=expected, total=total, ranged=True, received=received)
    raise ProtocolError(f"a download was answered by status {status}, which is no content")
