"""Asking a mount at its control socket, as the command line does. Blocks."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from aerofs import errors
from aerofs.control.server import JSON
from aerofs.control.sockets import remove_stale
from aerofs.errors import AerofsError, DeadlineError, DeniedError, NotFoundError, ProtocolError


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
            remove_stale(path)
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
