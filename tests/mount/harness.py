"""What the mount tests stand on: a platform in a thread of this process, a drive in a process of its own.

The drive is a real `aerofs mount --foreground`; the tests are its users. Because the platform answers from a thread of
the tests' own process, nothing here may touch the mount while it holds the interpreter's lock: no `mmap` and no
`Popen(cwd=…)` on the mount in this process (`Drive.shell` changes directory in the child).

Invariants: `Drive.end` leaves no process and no mount behind, whatever state they are in, and a watchdog breaks the
kernel's connection of a test that hangs, so that its system calls return.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import pytest
import trio

from aerofs import control
from aerofs.namespace.familiar import is_local
from aerofs.sandbox import Fault, FieldSpec, Hold, Sandbox, SandboxConfig, Variants, serving
from tests.mounted import abort, connection, eventually

MOUNT_BOUND = 20.0
END_BOUND = 15.0
TEST_BOUND = 60.0
_WARNING = re.compile(r"^\S+ \S+ (WARNING|ERROR|CRITICAL)\b")
_MEGABYTE = 1024 * 1024
_POOL = {"order": 80, "invoice": 20}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")

T = TypeVar("T")
Mounting: TypeAlias = Callable[..., "Drive"]
"""The fixture of that name: mounts a drive of the platform with these settings."""


class LocalPlatform:
    """A sandbox that serves from a thread of its own; every method may be called from a test.

    Attributes:
        sandbox: To be looked at; changes go through `call`.
    """

    def __init__(self, *, data: Path | None = None) -> None:
        self._config = SandboxConfig(data_dir=data)
        self.sandbox: Sandbox
        self.start()
        self.call(_add_definitions, self.sandbox)
        self._fresh = {name: self._documents(name, count) for name, count in _POOL.items()}

    def start(self) -> None:
        """Serve; a second time at the addresses of the first."""
        started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(started,), name="platform", daemon=True)
        self._thread.start()
        started.wait()
        if self._failure is not None:
            raise self._failure

    def _run(self, started: threading.Event) -> None:
        async def serve() -> None:
            async with serving(self._config) as sandbox:
                self.sandbox = sandbox
                self._config.port, self._config.store_port = (
                    int(url.rpartition(":")[2]) for url in (sandbox.url, sandbox.store_url)
                )
                self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
                started.set()
                await self._stop.wait()

        try:
            trio.run(serve)
        except BaseException as error:
            self._failure = error
            raise
        finally:
            started.set()

    def stop(self) -> None:
        """Break every connection and listen no more."""
        self.call(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens while the block runs. Needs a data directory."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call something in the platform's thread."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    # -- counting, and going wrong -------------------------------------------------------------------------------

    @property
    def requests(self) -> dict[str, int]:
        """Requests per kind since the last `reset`, without those that never came."""
        return {kind: count for kind, count in self.sandbox.requests.items() if count}

    @property
    def content_bytes(self) -> tuple[int, int]:
        """Bytes of bodies that came to the API, and that left the store."""
        return self.sandbox.bytes_in["api"], self.sandbox.bytes_out["store"]

    def reset(self) -> None:
        """Count anew."""
        self.call(self.sandbox.reset_counts)

    def fault(self, kind: str, action: Any, **details: Any) -> None:
        """Order a fault (see `aerofs.sandbox.Fault`)."""
        self.call(self.sandbox.add_fault, Fault(kind, action, **details))

    def variants(self, *names: str) -> None:
        """Speak in these ways, and no other."""
        self.call(setattr, self.sandbox, "variants", Variants.named(*names))

    def behave(self) -> None:
        """No faults, no variants any more."""
        self.call(self.sandbox.clear_faults)
        self.variants()

    @contextmanager
    def hold(self, kind: str, *, path: str = "", answered: bool = False) -> Iterator["Holding"]:
        """Hold requests of a kind while the block runs."""
        manager = self.sandbox.hold(kind, path=path, answered=answered)
        held = self.call(manager.__enter__)
        try:
            yield Holding(self, held)
        finally:
            self.call(manager.__exit__, None, None, None)

    # -- data ----------------------------------------------------------------------------------------------------

    def document(self, definition: str = "order") -> str:
        """A document that no test had yet, by its external id: its name in the drive.

        They are there from the beginning, because a listing that is fresh would not show a new one.
        """
        return next(self._fresh[definition])

    def _documents(self, definition: str, count: int) -> Iterator[str]:
        data = self.sandbox.platform
        lines = {"rows": [{"_id": "r1"}]} if definition == "order" else None
        found = [f"{definition}-{number:04d}" for number in range(count)]

        def add() -> None:
            with data.transaction():
                for name in found:
                    data.add_document(definition, external_id=name, lines=lines)

        self.call(add)
        return iter(found)

    def new_document(self, definition: str, name: str) -> str:
        """Add a document now, as somebody else would. Returns its external id."""
        self.call(lambda: self.sandbox.platform.add_document(definition, external_id=name))
        return name

    def put(self, definition: str, document: str, field: str, name: str, data: bytes) -> str:
        """Add a file, as somebody else would. Returns its id."""
        platform = self.sandbox.platform
        return self.call(lambda: platform.add_attachment(definition, document, field, name, data))

    def held(self, definition: str, document: str, field: str) -> list[tuple[str, bytes]]:
        """What a field holds: names and bytes, in the platform's order."""
        found = self.call(self.sandbox.platform.attachments, definition, document, field)
        return [(each.name, each.data) for each in found]

    def ids(self, definition: str, document: str, field: str) -> list[str]:
        """The ids of what a field holds."""
        return [each.id for each in self.call(self.sandbox.platform.attachments, definition, document, field)]

    def remove(self, attachment: str) -> None:
        """Remove a file, as somebody else would."""
        self.call(self.sandbox.platform.remove_attachment, attachment)


def _add_definitions(sandbox: Sandbox) -> None:
    fields = [
        FieldSpec("scan"),
        FieldSpec("papers.letters"),
        FieldSpec("single", maximum_attachments=1),
        FieldSpec("few", maximum_attachments=3),
        FieldSpec("small", maximum_megabytes=1),
        FieldSpec("needed", required=True),
        FieldSpec("needed1", required=True, maximum_attachments=1),
        FieldSpec("photo", maximum_image_width=100),
    ]
    sandbox.platform.add_definition("order", fields=fields, lines={"rows": [FieldSpec("photo")]})
    sandbox.platform.add_definition("invoice", fields=["scan", "picture"])


class Holding:
    """Requests that are being held."""

    def __init__(self, platform: LocalPlatform, hold: Hold) -> None:
        self._platform = platform
        self._hold = hold

    def arrived(self, count: int = 1) -> None:
        """Wait until so many requests are held."""
        eventually(lambda: self._hold.waiting >= count, what="a request to be held")

    def release(self) -> None:
        """Let them go."""
        self._platform.call(self._hold.release)


class Drive:
    """A mounted drive: the process, its mount point, its log.

    Attributes:
        path: The mount point.
        directory: Everything of it: the mount point, state, log.
        expected: Patterns of warnings that the test wants to see.
    """

    def __init__(
        self,
        platform: LocalPlatform,
        settings: Mapping[str, object] = MappingProxyType({}),
        *,
        user: int | None = None,
        python: str = sys.executable,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.platform = platform
        self.directory = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="aerofs-test-"))
        self.path = self.directory / "mnt"
        self.path.mkdir()
        self.expected: list[str] = []
        self._user = user
        self._python = python
        self._environ = environ
        self._settings = {
            "url": platform.sandbox.url,
            "environment": platform.sandbox.environment,
            "token": platform.sandbox.token,
            "state_dir": self.directory / "state",
            "log_file": self.log_file,
            "verbose": 1,
            **settings,
        }
        if user is not None:
            for place in (self.directory, self.path):
                os.chown(place, user, user)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Path | None = None
        self._seen = 0
        self._last_log = ""

    @property
    def log_file(self) -> Path:
        """Where it logs."""
        return self.directory / "log"

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self.log_file.read_text() if self.log_file.exists() else self._last_log

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def environ(self) -> dict[str, str]:
        """The environment of the process, and of every `aerofs` command that is about this drive."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AEROFS_")}
        own = {f"AEROFS_{name.upper()}": str(value) for name, value in self._settings.items()}
        return {**kept, "HOME": str(self.directory), **self._environ, **own}

    # -- life ----------------------------------------------------------------------------------------------------

    def mount(self) -> "Drive":
        """Mount, and wait until it answers."""
        errors = self.directory / "stderr"
        command = [self._python, "-m", "aerofs", "mount", "--foreground", str(self.path)]
        # Tests that run under nohup hand its ignored SIGHUP on, and the drive would respect that.
        command = ["env", "--default-signal=HUP", *command]
        with errors.open("wb") as stream:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self.directory,
                env=self.environ(),
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user is not None else None,
            )
        deadline = time.monotonic() + MOUNT_BOUND
        while b" is mounted" not in errors.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"not mounted: {errors.read_text()}\n{self.log}")
            time.sleep(0.01)
        self._connection = connection(self.path)
        assert self._connection is not None
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = END_BOUND) -> int:
        """Wait for the end of the process. Returns its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """A crash. The mount point stays behind, dead."""
        self.signal(signal.SIGKILL)
        self.wait()

    def unmount(self) -> None:
        """fusermount3 -u, and wait for the end of the process."""
        subprocess.run(["fusermount3", "-u", str(self.path)], check=True, timeout=END_BOUND)
        self.wait()

    def remount(self) -> None:
        """Unmount and mount again: the state stays, the kernel's memory does not."""
        self.unmount()
        self.mount()

    def abort(self) -> None:
        """Break the kernel's connection: every system call in the mount returns."""
        abort(self._connection)

    @contextmanager
    def watched(self, seconds: float = TEST_BOUND) -> Iterator[None]:
        """While the block runs: a hang is broken after some seconds."""
        watchdog = threading.Timer(seconds, self.abort)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def end(self) -> None:
        """Leave no process and no mount behind."""
        process = self._process
        if connection(self.path):
            _quietly("fusermount3", "-u", str(self.path))
        if process is not None:
            try:
                process.wait(END_BOUND)
            except subprocess.TimeoutExpired:
                self.abort()
                process.kill()
                process.wait(END_BOUND)
        for _ in range(3):
            if connection(self.path):
                self.abort()
                _quietly("umount", "-l", str(self.path))
        # Never through a mount that is still there: its files are the platform's.
        if connection(self.path) is None:
            self._last_log = self.log
            shutil.rmtree(self.directory, ignore_errors=True)

    def expect(self, pattern: str) -> None:
        """Warnings with this in them are wanted."""
        self.expected.append(pattern)

    def complaints(self) -> list[str]:
        """Warnings and worse that were logged since the last time, and that no test wanted."""
        lines = self.log.splitlines()
        fresh, self._seen = lines[self._seen :], len(lines)
        found = [line for line in fresh if _WARNING.match(line)]
        return [line for line in found if not any(re.search(each, line) for each in self.expected)]

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def requests(self) -> dict[str, int]:
        """What the platform was asked since its last `reset`."""
        return self.platform.requests

    def status(self) -> dict[str, Any]:
        """As `aerofs status` sees it."""
        answer: dict[str, Any] = control.call(self._socket(), "status")
        return answer

    def ask(self, call: str, **parameters: Any) -> Any:
        """Another call of the control socket."""
        return control.call(self._socket(), call, **parameters)

    def _socket(self) -> Path:
        return control.socket_path(self.path, uid=self._user)

    def saves(self, *states: str) -> list[dict[str, Any]]:
        """What is not on the platform yet."""
        return [save for save in self.status()["saves"] if not states or save["state"] in states]

    def settled(self, seconds: float = 20.0) -> None:
        """Wait until nothing is on its way: no save, and no closed file that is about to become one."""

        def under_way() -> list[dict[str, Any]]:
            saves = self.saves("queued", "uploading", "local")
            return [save for save in saves if not is_local(Path(save["path"]).name)]

        eventually(lambda: not under_way(), seconds=seconds, what="saves to arrive")

    def statistics(self) -> dict[str, Any]:
        """The numbers of `aerofs status`."""
        found: dict[str, Any] = self.status()["statistics"]
        return found

    def command(self, *words: str, timeout: float = 30.0) -> "subprocess.CompletedProcess[str]":
        """Run an `aerofs` command."""
        return subprocess.run(
            [self._python, "-m", "aerofs", *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.environ(),
            user=self._user,
            group=self._user,
        )

    def shell(self, script: str, *arguments: object, cwd: Path | None = None, fails: bool = False) -> str:
        """Run a shell script in the mount (or `cwd`). Returns its output; fails where it fails, unless `fails`.

        The arguments are $1, $2, … of the script.
        """
        words = ["sh", "-c", f'cd "$0" || exit 97\n{script}', str(cwd or self.path), *map(str, arguments)]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=TEST_BOUND,
            check=False,
            stdin=subprocess.DEVNULL,
            user=self._user,
            group=self._user,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        said = f"{script}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert (done.returncode != 0) == fails, said
        return done.stdout + done.stderr if fails else done.stdout

    def python(self, script: str, *arguments: object) -> str:
        """Run Python with `sys.argv[1:]` in a process of its own: for mmap, which this process may not do."""
        words = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TEST_BOUND, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclass(frozen=True)
class Paper:
    """A document that no other test uses, seen from both sides."""

    drive: Drive
    name: str
    definition: str = "order"

    @property
    def path(self) -> Path:
        """Its directory in the mount."""
        return self.drive.path / self.definition / self.name

    @property
    def scan(self) -> Path:
        """The directory of its field without limits."""
        return self.path / "scan"

    def put(self, name: str, data: bytes, field: str = "scan") -> str:
        """Add a file, as somebody else would. Returns its id."""
        return self.drive.platform.put(self.definition, self.name, field, name, data)

    def held(self, field: str = "scan") -> list[tuple[str, bytes]]:
        """What a field holds on the platform."""
        return self.drive.platform.held(self.definition, self.name, field)

    def ids(self, field: str = "scan") -> list[str]:
        """The ids of what a field holds on the platform."""
        return self.drive.platform.ids(self.definition, self.name, field)

    def warm(self, *others: "Paper") -> "Paper":
        """Let the drive know the documents as they are now, then count anew."""
        self.drive.ask("refresh")
        for paper in (self, *others):
            for field in paper.path.iterdir():
                names(field)
        self.drive.platform.reset()
        return self


@contextmanager
def fails_with(*numbers: int) -> Iterator[None]:
    """The block fails with one of these error numbers."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  the number is what is compared, and told well
        yield
    told = os.strerror(caught.value.errno or 0)
    assert caught.value.errno in numbers, f"{told} instead of {[os.strerror(number) for number in numbers]}"


def names(directory: Path) -> list[str]:
    """What a directory shows, sorted."""
    return sorted(entry.name for entry in directory.iterdir())


@contextmanager
def opened(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    """A file descriptor."""
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Background:
    """Something that runs in a thread because it may wait; `result` returns or raises what it did."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self._outcome: list[object] = []
        self._thread = threading.Thread(target=self._run, args=(function, *args), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._outcome = [function(*args)]
        except BaseException as error:  # noqa: BLE001  it is raised where it is asked for
            self._outcome = [error]

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return not self._thread.is_alive()

    def result(self, seconds: float = 30.0) -> object:
        """Wait for the end."""
        self._thread.join(seconds)
        assert self.done, "it does not end"
        (outcome,) = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@contextmanager
def may_fail_with(*numbers: int) -> Iterator[None]:
    """The block may end early with one of these error numbers."""
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


def megabytes(count: int, seed: int = 0) -> bytes:
    """Bytes in which every place can be told from every other."""
    words = (f"{seed}:{number:012d}\n".encode() for number in range(count * _MEGABYTE // 15 + 1))
    return b"".join(words)[: count * _MEGABYTE]


def _quietly(*command: str) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=5, check=False)
