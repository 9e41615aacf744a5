"""Sending a file: whole or a range, in large pieces straight from the disk."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from starlette.responses import Response

from aerofs.sandbox.database import AttachmentRow
from aerofs.sandbox.exchange import Exchange

PIECE = 512 * 1024
"""Bytes of one send."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def byte_range(header: str, size: int) -> range | None:
    """The bytes that a Range header asks for.

    Returns:
        An empty range where it cannot be satisfied (416); None where the whole is to be sent: no header,
        several ranges, or something that is no range.
    """
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)


async def send_file(exchange: Exchange, row: AttachmentRow, content: Path, *, ranges: bool = True) -> None:
    """Answer a GET with the bytes of an attachment."""
    etag = f'"{row.blob}"'
    asked = exchange.headers.get("range", "") if ranges else ""
    if exchange.headers.get("if-range", etag) != etag:
        asked = ""
    part = byte_range(asked, row.size)
    headers = {"ETag": etag}
    if part is not None and not part:
        headers["Content-Range"] = f"bytes */{row.size}"
        await exchange.answer(Response(status_code=416, headers=headers))
        return
    headers["Content-Type"] = row.type
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(row.name, safe='')}"
    if ranges:
        headers["Accept-Ranges"] = "bytes"
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{row.size}"
    whole = range(row.size) if part is None else part
    headers["Content-Length"] = str(len(whole))
    await _send(exchange, content, whole, 200 if part is None else 206, headers)


async def _send(exchange: Exchange, content: Path, part: range, status: int, headers: dict[str, str]) -> None:
    file = os.open(content, os.O_RDONLY)
    try:
        raw = [(key.lower().encode(), value.encode("latin-1")) for key, value in headers.items()]
        await exchange.send({"type": "http.response.start", "status": status, "headers": raw})
        position = part.start
        while position < part.stop:
            data = os.pread(file, min(PIECE, part.stop - position), position)
            if not data:
                await exchange.cut()
            position += len(data)
            await exchange.send({"type": "http.response.body", "body": data, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        os.close(file)
