"""Going to the background: the parent waits until the child has something to say, and says it.

The child works in a session of its own, in /, and from readiness on without a terminal. Readiness and errors
travel over a pipe. The fork happens before any thread, trio or connection exists; what is heavy is imported
by the work itself, in the child.
"""

import contextlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from aerofs import errors
from aerofs.errors import AerofsError, ConfigError

_END_BOUND = 10.0

log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[Callable[[], None]], None]
"""Blocks for as long as the mount lives; calls its argument once the mount answers."""


def start(work: Work) -> int:
    """Run `work` in a child and wait until it is ready.

    Returns:
        The child's process id; the child goes on.

    Raises:
        AerofsError: What the child raised before it was ready, in its class; or that it died without a word.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.signal(signal.SIGTERM, _stop)
    # In the middle of a fork Python would swallow what a signal raises.
    unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        os.close(reading)
        _live(work, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
            said = pipe.read()
    except KeyboardInterrupt:
        _end(child)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if said == b"ready":
        return child
    _, status = os.waitpid(child, 0)
    raise _error(said, os.waitstatus_to_exitcode(status))


def _end(child: int) -> None:
    """End the child by asking, then by force. One that is stuck in the kernel is left to the kernel."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(child)
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], _END_BOUND)[0]:
                break
        os.close(process)


def _stop(*_: object) -> NoReturn:
    """Whoever ends us while we wait ends the child too."""
    raise KeyboardInterrupt


def _error(said: bytes, code: int) -> AerofsError:
    """What the child said before its end, as the error that it was."""
    with contextlib.suppress(ValueError):
        message = json.loads(said)
        kind = getattr(errors, message["kind"], AerofsError)
        return kind(message["error"]) if issubclass(kind, AerofsError) else AerofsError(message["error"])
    end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
    return AerofsError(f"the mount's process {end} before the mount was ready, without saying why")


def _live(work: Work, pipe: int) -> NoReturn:
    """The child's whole life. It never returns into the parent's code, and never prints a traceback."""
    code = 1
    ready = False

    def announce() -> None:
        nonlocal ready
        if not ready:
            ready = True
            _leave_terminal()
            _tell(pipe, b"ready")

    try:
        os.setsid()
        os.chdir("/")
        os.umask(0o077)
        _close_inherited(keep=pipe)
        work(announce)
        code = 0
        if not ready:
            _tell(pipe, _sentence(AerofsError("the mount ended before it was ready")))
            code = 1
    except AerofsError as error:
        code = 2 if isinstance(error, ConfigError) else 1
        if ready:
            log.error("the mount ended: %s", error)
        else:
            _tell(pipe, _sentence(error))
    except BaseException as error:
        log.exception("the mount ended unexpectedly")
        if not ready:
            _tell(pipe, _sentence(AerofsError(f"unexpected {type(error).__name__}: {error}")))
    finally:
        with contextlib.suppress(Exception):
            logging.shutdown()
        os._exit(code)


def _close_inherited(*, keep: int) -> None:
    """What our caller had open besides the standard three: a pipe among it would make its reader wait for us."""
    first = 3
    os.closerange(first, keep)
    os.closerange(max(first, keep + 1), os.sysconf("SC_OPEN_MAX"))


def _sentence(error: AerofsError) -> bytes:
    return json.dumps({"error": str(error), "kind": type(error).__name__}).encode()


def _tell(pipe: int, message: bytes) -> None:
    with contextlib.suppress(OSError):  # the parent may be gone; the mount then lives on by itself
        os.write(pipe, message)
        os.close(pipe)


def _leave_terminal() -> None:
    """From now on nobody reads our output, and whoever waits for its end is let go."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    if nothing > 2:  # noqa: PLR2004 -- the three standard descriptors
        os.close(nothing)
