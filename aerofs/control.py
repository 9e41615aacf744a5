"""The control socket of a mount: JSON lines over a unix socket, the mount's server and the CLI's calls.

A request is one line, `{"call": "status", ...}`. The answer is any number of lines `{"answer": ...}`, then
`{"done": true}`; or `{"error": "a sentence", "kind": "NotFoundError"}` in place of either. What the calls
mean is the mount's affair (it brings the handlers); how a person sees them is the command line's.

Invariants: only the user who mounted, and root, are answered (SO_PEERCRED, besides the socket's mode 0600);
no client can hold the server up, for every line in and out has a bound; a socket that refuses has no mount.
"""

import contextlib
import hashlib
import json
import logging
import os
import socket
import stat
import struct
import tempfile
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import platformdirs
import trio

from aerofs import errors
from aerofs.errors import AerofsError, ConfigError, DeadlineError, DeniedError, NotFoundError, ProtocolError

log = logging.getLogger(__name__)

JSON: TypeAlias = Any
Handler: TypeAlias = Callable[[Mapping[str, JSON]], Awaitable[JSON] | AsyncGenerator[JSON, None]]
"""Takes the request's parameters. One awaited value is one answer; an async generator yields several."""

MAX_REQUEST = 64 * 1024
REQUEST_BOUND = 10.0
SEND_BOUND = 30.0
_MAX_SOCKET_PATH = 107
"""Source: unix(7), sun_path holds 108 bytes with its NUL."""
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
        _own_directory(self._path.parent)
        if _answers(self._path):
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


def socket_path(mountpoint: Path, *, uid: int | None = None) -> Path:
    """Where the mount at `mountpoint`, its true absolute path, of the user `uid` (None: ourselves) listens.

    Never looks at the mount point itself: the process that serves it would wait for its own answer.
    """
    name = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16] + ".sock"
    directories = list(_directories(os.geteuid() if uid is None else uid))
    existing = (directory / name for directory in directories if _is_socket(directory / name))
    return next(existing, directories[0] / name)


def _is_socket(path: Path) -> bool:
    """Whether one is seen there; another user's directory shows nothing."""
    with contextlib.suppress(OSError):
        return path.is_socket()
    return False


def running_mounts() -> list[Path]:
    """The sockets of the mounts that run: ours, for root everyone's. Sockets of ended mounts are removed."""
    sockets: list[Path] = []
    for uid in _users():
        for directory in _directories(uid):
            with contextlib.suppress(OSError):
                sockets += [path for path in sorted(directory.glob("*.sock")) if path not in sockets]
    running = []
    for path in sockets:
        if _answers(path):
            running.append(path)
        else:
            _remove_stale(path)
    return running


def call(path: Path, name: str, *, silence: float = 10.0, **params: JSON) -> JSON:
    """Ask the mount behind the socket at `path`; its answer (of a stream the last).

    Raises: as `stream`.
    """
    answer = None
    for answer in stream(path, name, silence=silence, **params):  # noqa: B007 -- the last one is what counts
        pass
    return answer


def stream(path: Path, name: str, *, silence: float = 10.0, **params: JSON) -> Iterator[JSON]:
    """Ask the mount behind the socket at `path`; its answers as they come.

    After `silence` seconds without a line the mount counts as stuck.

    Raises:
        NotFoundError: No mount listens there (a socket left behind is removed).
        DeadlineError: It does not answer.
        DeniedError: It is another user's.
        ProtocolError: Its answer is not one.
        AerofsError: What the mount said went wrong.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(silence)
        try:
            connection.connect(os.fspath(path))
            connection.sendall(json.dumps({"call": name, **params}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    message = _message(line)
                    if "answer" not in message:
                        return
                    yield message["answer"]
        except (FileNotFoundError, ConnectionRefusedError):
            _remove_stale(path)
            raise NotFoundError(f"no running mount answers at {path}") from None
        except PermissionError:
            raise DeniedError(
                f"only the user who mounted, and root, may ask the mount behind {path}"
            ) from None
        except TimeoutError:
            raise DeadlineError(f"the mount behind {path} gave no answer in {silence:g} s") from None
        except OSError as error:
            raise ProtocolError(f"the mount behind {path} cannot be asked: {error.strerror}") from None
    raise ProtocolError(f"the mount behind {path} ended in mid-answer")


def _message(line: bytes) -> dict[str, JSON]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not message.keys() & {"answer", "done", "error"}:
        raise ProtocolError(f"the mount gave an answer that is none: {line[:80]!r}")
    if "error" in message:
        kind = getattr(errors, str(message.get("kind")), AerofsError)
        known = isinstance(kind, type) and issubclass(kind, AerofsError)
        raise (kind if known else AerofsError)(str(message["error"]))
    return message


def _answers(path: Path) -> bool:
    """Whether somebody listens. A full backlog counts as living."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(os.fspath(path))
        except BlockingIOError:
            return True
        except OSError as error:
            return isinstance(error, PermissionError)
    return True


def _remove_stale(path: Path) -> None:
    """Remove a socket that refuses, in our own directory only: root follows nothing that a user laid."""
    with contextlib.suppress(OSError):
        if path.parent.lstat().st_uid == os.geteuid() and path.is_socket():
            path.unlink()


def _directories(uid: int) -> Iterator[Path]:
    """Where sockets of a user may be, best first. A login session and a cron job may see different ones."""
    if uid == os.geteuid():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR may be unset; platformdirs says so each time
            with contextlib.suppress(OSError):
                preferred = platformdirs.user_runtime_path("aerofs")
                if _fits(preferred):
                    yield preferred
    if Path(f"/run/user/{uid}").is_dir():
        yield Path(f"/run/user/{uid}/aerofs")
    if _fits(temporary := Path(tempfile.gettempdir(), f"runtime-{uid}", "aerofs")):
        yield temporary
    yield Path(f"/tmp/runtime-{uid}/aerofs")  # noqa: S108 -- _own_directory looks who owns it


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) + len("/0123456789abcdef.sock") <= _MAX_SOCKET_PATH


def _users() -> list[int]:
    """Whose mounts we may see."""
    if os.geteuid() != 0:
        return [os.geteuid()]
    found = {0}
    for pattern in ("run/user/*", f"{tempfile.gettempdir().lstrip('/')}/runtime-*"):
        for path in Path("/").glob(pattern):
            owner = path.name.removeprefix("runtime-")
            if owner.isdecimal():
                found.add(int(owner))
    return sorted(found)


def _own_directory(directory: Path) -> None:
    """Make the socket's directory, or see that nobody else may replace what is in it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for level in (directory, directory.parent):
        status = level.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {0, os.geteuid()}:
            raise ConfigError(f"{level} belongs to another user; the control socket cannot stand there")
        if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            raise ConfigError(f"{level} may be written by others; the control socket cannot stand there")
