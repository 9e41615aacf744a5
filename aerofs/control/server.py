"""The mount's side of its control socket: it answers one request of each client.

Invariants: only the user who mounted, and root, are answered (SO_PEERCRED, besides the socket's mode 0600); no client
can hold the server up, for every line in and out has a bound; a socket that refuses has no mount.
"""

import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import trio

from aerofs.control.sockets import is_served, own_directory
from aerofs.errors import AerofsError, ConfigError

log = logging.getLogger(__name__)

JSON: TypeAlias = Any
Handler: TypeAlias = Callable[[Mapping[str, JSON]], Awaitable[JSON] | AsyncGenerator[JSON, None]]
"""Takes the request's parameters. One awaited value is one answer; an async generator yields several."""

MAX_REQUEST = 64 * 1024
REQUEST_BOUND = 10.0
SEND_BOUND = 30.0
_PEER = struct.Struct("3i")
"""Source: unix(7), struct ucred: pid, uid, gid."""


class ControlServer:
    """Answers control requests on `path` with `handlers`, by the name of the call."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = dict(handlers)
        self._served = 0

    def __repr__(self) -> str:
        return f"<ControlServer {self._path} {sorted(self._handlers)} served={self._served}>"

    def statistics(self) -> dict[str, int]:
        """How many requests were taken up."""
        return {"served": self._served}

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once the socket answers. The socket's file is removed at the end.

        Raises:
            ConfigError: Another living mount owns the socket, or its directory is not ours alone.
        """
        own_directory(self._path.parent)
        if is_served(self._path):
            raise ConfigError(f"another aerofs process serves this mount point already ({self._path})")
        # It gets its name when it listens: one that refuses looks like one left behind, and anybody may remove that.
        unnamed = self._path.with_suffix(".new")
        unnamed.unlink(missing_ok=True)
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            await listening.bind(os.fspath(unnamed))
            unnamed.chmod(0o600)
            inode = unnamed.stat().st_ino
            listening.listen(16)
            unnamed.replace(self._path)
            try:
                task_status.started()
                await trio.serve_listeners(self._converse, [trio.SocketListener(listening)])
            finally:
                with contextlib.suppress(OSError):
                    if self._path.stat().st_ino == inode:
                        self._path.unlink()

    async def _converse(self, stream: trio.SocketStream) -> None:
        """One client, one request. Whatever it or the handler does, the server stays."""
        async with stream:
            try:
                await self._answer(stream)
            except trio.BrokenResourceError:
                log.debug("a control client went away or did not read its answer")

    async def _answer(self, stream: trio.SocketStream) -> None:
        pid, uid, _ = _PEER.unpack(
            stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        )
        # Read before it is refused: who still writes would get a broken pipe in place of the answer.
        request = await _receive(stream)
        if request is None:
            return
        if uid not in {0, os.geteuid()}:
            log.warning("process %d of user %d was refused at the control socket", pid, uid)
            await _send(stream, {"error": "only the user who mounted may ask", "kind": "DeniedError"})
            return
        name = request.pop("call", None)
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None:
            await _send(stream, {"error": f"this mount knows no call {name!r}", "kind": "ProtocolError"})
            return
        self._served += 1
        await self._perform(stream, handler, request)

    async def _perform(
        self, stream: trio.SocketStream, handler: Handler, request: Mapping[str, JSON]
    ) -> None:
        try:
            result = handler(request)
            if isinstance(result, AsyncGenerator):
                async with contextlib.aclosing(result) as answers:
                    async for answer in answers:
                        await _send(stream, {"answer": answer})
            else:
                await _send(stream, {"answer": await result})
        except AerofsError as error:
            await _send(stream, {"error": str(error), "kind": type(error).__name__})
        except trio.BrokenResourceError:
            raise
        except Exception:
            log.exception("a control call failed: %s", sorted(request))
            await _send(
                stream, {"error": "the mount failed at this; its log tells why", "kind": "AerofsError"}
            )
        else:
            await _send(stream, {"done": True})


async def _receive(stream: trio.SocketStream) -> dict[str, JSON] | None:
    """The request; None where the client sent none in time (a probe that only connects is none)."""
    received = b""
    with trio.move_on_after(REQUEST_BOUND):
        while not received.endswith(b"\n") and len(received) <= MAX_REQUEST:
            part = await stream.receive_some(MAX_REQUEST)
            if not part:
                return None
            received += part
        try:
            request = json.loads(received)
        except ValueError:
            request = None
        if isinstance(request, dict):
            return request
        await _send(stream, {"error": "a request is one line holding a JSON object", "kind": "ProtocolError"})
    return None


async def _send(stream: trio.SocketStream, message: Mapping[str, JSON]) -> None:
    """Raises: trio.BrokenResourceError, also for a client that does not read."""
    with trio.move_on_after(SEND_BOUND):
        await stream.send_all(json.dumps(message).encode() + b"\n")
        return
    raise trio.BrokenResourceError
