"""The sandbox as a program: `python -m aerofs.sandbox`, serving until SIGINT or SIGTERM."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import trio

from aerofs.sandbox.faults import ACTIONS, Fault
from aerofs.sandbox.serving import serving
from aerofs.sandbox.state import SandboxConfig
from aerofs.sandbox.traffic import KINDS
from aerofs.sandbox.variants import PRESETS, Variants

_LAST_PORT = 65535


def main(argv: Sequence[str] | None = None, *, program: str = "python -m aerofs.sandbox") -> int:
    """Serve until told to stop; returns the exit code.

    The first lines on the standard output are `URL`, `token` and `environment`, each with its value; they are
    there once it answers. `program` is what the help calls it.
    """
    parser = _parser(program)
    given = parser.parse_args(argv)
    try:
        config = SandboxConfig(
            data_dir=given.data,
            token=given.token,
            environment=given.environment,
            variants=Variants.named(*given.variant),
            sample=given.sample,
            url_life=given.url_life,
            host=given.host,
            port=given.port,
            store_port=given.store_port,
            faults=tuple(map(Fault.parse, given.fault)),
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        trio.run(_serve, config)
    except OSError as error:
        # (Of a directory that is to be made where something else stands, only that is told.)
        reason = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror or error
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{program}: cannot serve: {where}{reason}\n")
        return 1
    return 0


async def _serve(config: SandboxConfig) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serving(config) as sandbox:
            lines = (f"URL {sandbox.url}", f"token {sandbox.token}", f"environment {sandbox.environment}")
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
            await anext(signals)


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port, which is a number from 0 to {_LAST_PORT}")
    return number


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="A local aero platform.",
        epilog=f"variants: {', '.join(PRESETS)}; kinds: {', '.join(KINDS)}; actions: {', '.join(ACTIONS)}",
    )
    usual = SandboxConfig()
    parser.add_argument("--host", default=usual.host)
    parser.add_argument("--port", type=_port, default=8765, help="of the API; 0 picks a free one")
    parser.add_argument("--store-port", type=_port, default=0, help="of the object store; 0 picks a free one")
    parser.add_argument("--data", type=Path, help="where the data lasts; without it, gone at the end")
    parser.add_argument("--sample", action="store_true", help="fill an empty sandbox with a small company")
    parser.add_argument("--token", default=usual.token)
    parser.add_argument("--environment", default=usual.environment)
    parser.add_argument("--url-life", type=float, default=usual.url_life, help="seconds of a download URL")
    parser.add_argument("--variant", action="append", default=[], help="a name below; may be repeated")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        help="kind:action[,key=value…], e.g. save:status,status=429,count=2",
    )
    return parser
