"""Serving ASGI applications: hypercorn's trio connection, with larger reads and a handle on the connection.

`hypercorn.trio.serve` reads 64 KiB at a time, shields its sends from cancellation (a client that stops
reading would then hold up the shutdown) and offers no way to break a connection. So this composes the same
parts itself: each connection's `scope["state"]["link"]` is its `Link`. Nothing here knows the API.
"""

import errno
import socket
from collections.abc import Sequence
from functools import partial
from typing import Self, cast

import h11
import trio
from h11._receivebuffer import ReceiveBuffer
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

READ = 256 * 1024
"""Bytes of one read from a socket."""
_KEEP_ALIVE = 75.0
_BACKLOG = 512


class Link:
    """A connection, as far as an application may touch it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.gone = False

    async def cut(self) -> None:
        """Close the connection at once, in the middle of whatever it carries."""
        self.gone = True
        await trio.aclose_forcefully(self._stream)


class _Inbox(ReceiveBuffer):
    """h11's receive buffer, but a piece of a body that came in one read goes on without being copied.

    h11 copies each piece four times, which is half of the time that a large upload takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._piece = b""

    def __iadd__(self, piece: bytes | bytearray) -> Self:
        if self._data or self._piece or not isinstance(piece, bytes):
            self._settle()
            self._data += piece
        else:
            self._piece = piece
        return self

    def __len__(self) -> int:
        return len(self._data) + len(self._piece)

    def __bytes__(self) -> bytes:
        return bytes(self._data) + self._piece

    def _settle(self) -> None:
        self._data += self._piece
        self._piece = b""

    def maybe_extract_at_most(self, count: int) -> bytearray | None:
        if self._piece and len(self._piece) <= count:
            piece, self._piece = self._piece, b""
            # Nobody changes what is extracted: bytes serve as well.
            return cast("bytearray", piece)
        self._settle()
        return super().maybe_extract_at_most(count)

    def maybe_extract_next_line(self) -> bytearray | None:
        self._settle()
        return super().maybe_extract_next_line()

    def maybe_extract_lines(self) -> list[bytearray] | None:
        self._settle()
        return super().maybe_extract_lines()

    def is_next_line_obviously_invalid_request_line(self) -> bool:
        self._settle()
        return super().is_next_line_obviously_invalid_request_line()


class _Connection(TCPServer):
    """One connection, which can be cut, cancelled and noticed to be gone."""

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream
    ) -> None:
        self.link = Link(stream)
        self._plain = stream
        # hypercorn's annotation says SSLStream only; it serves both.
        state = ConnectionState({"link": self.link})
        super().__init__(app, config, context, state, cast("trio.SSLStream[trio.SocketStream]", stream))

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            async with self.send_lock:
                try:
                    await self._plain.send_all(event.data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.link.gone = True
                    await self.protocol.handle(Closed())
        elif not (isinstance(event, Updated) and self.link.gone):
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        http = self.protocol.protocol
        if isinstance(http, H11Protocol) and isinstance(http.connection, h11.Connection):
            http.connection._receive_buffer = _Inbox()  # noqa: SLF001 - h11 has no other door
        data = b"x"
        while data:
            try:
                data = bytes(await self._plain.receive_some(READ))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                break
            await self.protocol.handle(RawData(data))
        self.link.gone = True
        await self.protocol.handle(Closed())
        # Without this the connection would linger until its keep-alive is over.
        await self.idle_task.stop()


def _configuration() -> Config:
    config = Config()
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = _KEEP_ALIVE
    config.keep_alive_max_requests = 1_000_000_000
    return config


class Listener:
    """A bound socket that is not yet served; port 0 picks a free one."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.bind((host, port))
            self.socket.listen(_BACKLOG)
        except OSError as error:
            self.socket.close()
            if error.errno == errno.EADDRINUSE:
                raise OSError(error.errno, f"{host}:{port} is in use") from error
            raise
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


async def serve(pairs: Sequence[tuple[Listener, ASGIApp]]) -> None:
    """Serve each application on its listener until cancelled, which also breaks every connection."""
    config = _configuration()
    context = WorkerContext(None)
    async with trio.open_nursery() as nursery:
        for listener, app in pairs:
            wrapped = wrap_app(cast("ASGIFramework", app), config.wsgi_max_body_size, "asgi")
            accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener.socket))
            handler = partial(_converse, wrapped, config, context)
            nursery.start_soon(partial(trio.serve_listeners, handler, [accepting]))
        await trio.sleep_forever()


async def _converse(
    app: AppWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream
) -> None:
    try:
        await _Connection(app, config, context, stream).run()
    finally:
        await trio.aclose_forcefully(stream)
