"""`aerofs demo`: a local platform with a small company in it, mounted, and a tour of what to try.

Both the platform and the mount are processes of their own, deaf to the terminal's Ctrl-C, so that they end in
order: saves up, unmounted, platform stopped, everything removed. What is still mounted is never removed.
"""

import errno
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from aerofs import mountpoint
from aerofs.cli import mounts, showing, umount
from aerofs.errors import AerofsError, ConfigError

_START_BOUND = 60.0
_END_BOUND = 60.0
_STEP_BOUND = 120.0


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the tour: a shell command, and what it shows."""

    command: str
    why: str


def demo(
    *,
    place: Annotated[Path | None, typer.Argument(metavar="[MOUNTPOINT]", show_default=False)] = None,
    once: Annotated[bool, typer.Option("--once", help="Take the tour by itself, show it, and end.")] = False,
) -> None:
    """Try aerofs: a local platform with sample documents, mounted until Ctrl-C."""
    console = showing.plain_console()
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    with ExitStack() as stack:
        scratch = stack.enter_context(_scratch())
        target = stack.enter_context(_place(place))
        console.print("starting a local aero platform with a small company in it …")
        environ = stack.enter_context(_platform(scratch))
        stack.enter_context(_mount(target, scratch, environ, console))
        steps = tour(target, scratch)
        console.print(f"\n[bold]{escape(str(target))}[/bold] is mounted: definition/document/field/file\n")
        if once:
            _take(steps, console)
            return
        try:
            _show(steps, console)
            signal.pause()
        except KeyboardInterrupt:
            console.print("\nending …")


def tour(target: Path, scratch: Path) -> list[Step]:
    """What to try, with names that are really there.

    Raises:
        AerofsError: The mount shows no file of some size, which no sample has.
    """
    files = (Path(folder, name) for folder, _, names in os.walk(target) for name in sorted(names))
    file = next((path for path in files if path.is_file() and path.stat().st_size and path.suffix), None)
    if file is None:
        raise AerofsError(f"the sample at {target} shows no file")
    field = file.parent
    copy = scratch / f"from-aero{file.suffix}"
    new, moved = field / "hello.txt", field / "greetings.txt"
    word = {name: shlex.quote(str(path)) for name, path in locals().items() if isinstance(path, Path)}
    return [
        Step(f"ls {word['target']}", "every kind of document is a directory"),
        Step(f"find {word['target']} -type f | head -n 12", "documents and their attachment fields below it"),
        Step(f"ls -l {word['field']}", "the files of one field"),
        Step(f"cp {word['file']} {word['copy']}", "download one"),
        Step(f"echo 'Hello, aero' > {word['new']}", "save a new one"),
        Step(f"cat {word['new']}", "read it back"),
        Step(f"mv {word['new']} {word['moved']}", "rename it"),
        Step(
            f"echo 'and again' >> {word['moved']} && cat {word['moved']}",
            "change it: the platform has the new one",
        ),
        Step(f"rm {word['moved']}", "remove it"),
        Step(f"md5sum {word['file']} {word['copy']}", "bytes are bytes"),
        Step(
            f"{_program()} status {word['target']}",
            "what the mount has asked the platform, and saves on their way",
        ),
    ]


def _program() -> str:
    """What another shell has to call; a clone's .venv is on nobody's path."""
    beside = Path(sys.executable).parent / "aerofs"
    return "aerofs" if shutil.which("aerofs") or not beside.exists() else shlex.quote(str(beside))


def _show(steps: list[Step], console: Console) -> None:
    console.print("Try in another shell:\n")
    for step in steps:
        console.print(f"  [dim]# {escape(step.why)}[/dim]\n  {escape(step.command)}")
    console.print("\n[bold]Ctrl-C[/bold] ends the demo and removes what it made.")


def _take(steps: list[Step], console: Console) -> None:
    """Run every command, show what it prints.

    Raises:
        AerofsError: A command fails.
    """
    for step in steps:
        console.print(f"[dim]# {escape(step.why)}[/dim]\n[bold]$ {escape(step.command)}[/bold]")
        done = subprocess.run(  # noqa: S602 -- the tour shows shell commands, its paths are quoted
            step.command,
            shell=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STEP_BOUND,
            check=False,
        )
        console.print(escape(done.stdout + done.stderr))
        if done.returncode != 0:
            raise AerofsError(f"the tour stopped: `{step.command}` ended with {done.returncode}")


def _as_ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory for the platform's data, the mount's state and the tour's copies; removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="aerofs-demo-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _place(wanted: Path | None) -> Iterator[Path]:
    """The mount point; made where it is missing, then removed by rmdir alone, which a mount withstands."""
    path = Path(os.path.realpath(wanted or tempfile.mkdtemp(prefix="aero-")))
    ours = wanted is None or not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
        raise ConfigError(f"the mount point {path} cannot be used: {reason}") from None
    try:
        yield path
    finally:
        if ours and mountpoint.mounted_at(path) is None:
            path.rmdir()


@contextmanager
def _platform(scratch: Path) -> Iterator[dict[str, str]]:
    """The sandbox as a child process; yields the environment that points a mount at it."""
    log = scratch / "platform.log"
    command = [
        sys.executable,
        "-m",
        "aerofs",
        "sandbox",
        "--sample",
        "--port",
        "0",
        "--data",
        str(scratch / "data"),
    ]
    with log.open("wb") as errors:
        child = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        told = _introduction(child, log)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AEROFS_")}
        yield ours | {
            "AEROFS_URL": told["URL"],
            "AEROFS_TOKEN": told["token"],
            "AEROFS_ENVIRONMENT": told["environment"],
        }
    finally:
        child.terminate()
        try:
            child.wait(_END_BOUND)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _introduction(child: "subprocess.Popen[str]", log: Path) -> dict[str, str]:
    """What the sandbox says of itself once it answers."""
    told: dict[str, str] = {}
    for line in child.stdout or ():
        name, _, value = line.strip().partition(" ")
        told[name] = value
        if told.keys() >= {"URL", "token", "environment"}:
            return told
    child.wait(_START_BOUND)
    reason = log.read_text(errors="replace").strip().splitlines()[-1:] or [f"exit status {child.returncode}"]
    raise ConfigError(f"the local platform did not start: {reason[0].removeprefix('aerofs: ')}")


@contextmanager
def _mount(target: Path, scratch: Path, environ: Mapping[str, str], console: Console) -> Iterator[None]:
    """`aerofs mount` in the background, as a user would call it; unmounted, with its saves up, at the end."""
    command = [sys.executable, "-m", "aerofs", "mount", str(target), "--config", os.devnull]
    command += ["--state-dir", str(scratch / "state"), "--log-file", str(scratch / "mount.log")]
    child = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = child.communicate(timeout=_START_BOUND)[1]
    except BaseException:
        child.terminate()  # it takes along what it has sent to the background
        child.communicate()
        raise
    if child.returncode != 0:
        raise ConfigError(said.strip().removeprefix("aerofs: ") or "the mount did not start")
    process = os.pidfd_open(int(mounts.find(target)[0].status["pid"]))
    try:
        yield
    finally:
        _unmount(target, process, console)
        os.close(process)


def _unmount(target: Path, process: int, console: Console) -> None:
    """Whatever a shell still does in the mount, the demo ends: first asking, then insisting."""
    try:
        umount.unmount(target, ends=time.monotonic() + _END_BOUND, console=console)
    except (AerofsError, KeyboardInterrupt) as error:
        console.print(f"{escape(str(error) or 'stopped')}; taking the mount away all the same")
        with suppress(ConfigError):
            mountpoint.detach(target)
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGTERM)
    if not select.select([process], [], [], _END_BOUND)[0]:
        signal.pidfd_send_signal(process, signal.SIGKILL)
