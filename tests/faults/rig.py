"""A local platform and a mount, each a process of its own, that may be killed and started again at any moment.

Whatever goes through a mount goes through yet another process, under a bound: who asks a mount that hangs, hangs with
it, and no signal helps. `Drive.close` and `Server.close` end everything in any state.
"""

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from aerofs import control, mountpoint
from aerofs.sandbox import Platform
from tests.mounted import abort, connection, eventually

BOUND = 60.0
ROOT = Path(__file__).parents[2]
PATIENCE = {
    "AEROFS_CONNECT_DEADLINE": "2",
    "AEROFS_METADATA_DEADLINE": "3",
    "AEROFS_STALL_DEADLINE": "3",
}
"""Deadlines for tests in which the platform goes away."""


class Stored(NamedTuple):
    """A file on the platform: where it is, as the mount would show it, and what is in it."""

    path: str
    id: str
    md5: str


def free_ports(owner: object) -> tuple[int, int]:
    """Two ports that nobody else is given while `owner` is there: bound, never listened at.

    A server that sets SO_REUSEADDR, as all do that can be started again soon, may listen there all the same.
    """
    held = socket.socket(), socket.socket()
    for each in held:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("127.0.0.1", 0))
        weakref.finalize(owner, each.close)
    return held[0].getsockname()[1], held[1].getsockname()[1]


def ended(process: "subprocess.Popen[str]", number: signal.Signals, *, bound: float = BOUND) -> None:
    """Send a signal and wait for the end."""
    if process.poll() is None:
        process.send_signal(number)
    process.wait(bound)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class Server:
    """The sandbox on a data directory, at the same address through all its lives.

    Args:
        data: The directory.
        options: Of the command.
        program: The module that serves it.
    """

    def __init__(self, data: Path, *options: str, program: str = "aerofs.sandbox") -> None:
        self.data = data
        self._options = options
        self._program = program
        self._ports = free_ports(self)
        self._process: subprocess.Popen[str] | None = None
        self.url = f"http://127.0.0.1:{self._ports[0]}"
        self.token, self.environment = "sandbox-token", "sandbox"

    def start(self) -> None:
        """Serve; returns once it answers."""
        command = [sys.executable, "-m", self._program, "--data", str(self.data), *self._options]
        ports = ["--port", str(self._ports[0]), "--store-port", str(self._ports[1])]
        self._process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"URL {self.url}\n"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        ended(self._process, signal.SIGKILL)

    def close(self) -> None:
        """End it in order, if it runs."""
        if self._process is not None:
            ended(self._process, signal.SIGTERM)

    def _ask(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.url}/_sandbox/{what}"
        answer = httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=BOUND)
        told = answer.raise_for_status().json()
        assert isinstance(told, dict)
        return told

    def order(self, kind: str, action: str, **more: Any) -> None:
        """Order a fault."""
        self._ask("POST", "faults", {"kind": kind, "action": action, **more})

    def heal(self) -> None:
        """Forget the faults."""
        self._ask("DELETE", "faults")

    def speak(self, *variants: str) -> None:
        """Speak in these ways, and no other, until it is started again."""
        self._ask("PUT", "variants", {"presets": [*variants]})

    def stats(self) -> dict[str, Any]:
        """All counters."""
        return self._ask("GET", "stats")

    def reset(self) -> None:
        """Count anew."""
        self._ask("POST", "reset")

    def requests(self) -> Counter[str]:
        """Requests per kind."""
        return Counter(self.stats()["requests"])

    def under_way(self, kind: str) -> bool:
        """Whether such a request is being served."""
        return bool(self.stats()["underWay"].get(kind))

    def standing(self, definition: str) -> int:
        """How many files the documents of a definition hold, as the API tells it."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "environment-id": self.environment,
            "Accept": "application/json",
        }
        url = f"{self.url}/api/v2/document-definitions/{definition}/documents"
        answer = httpx.get(url, headers=headers, trust_env=False, timeout=BOUND).raise_for_status()
        fields = [value for document in answer.json()["documents"] for value in document.values()]
        return sum(len(value) for value in fields if isinstance(value, list))

    def stored(self) -> list[Stored]:
        """All files of the platform. The server must have ended."""
        assert self._process is None or self._process.poll() is not None
        with contextlib.closing(Platform.open(self.data)) as platform:
            found = []
            for row in platform.database.documents("1"):
                name = row.external_id or row.id
                definition = platform.definitions[row.definition].name
                for file in platform.database.attachments("document = ? AND path <> ''", (row.id,)):
                    with platform.content(file).open("rb") as content:
                        digest = hashlib.file_digest(content, "md5").hexdigest()
                    found.append(Stored(f"{definition}/{name}/{file.path}/{file.name}", file.id, digest))
        return found

    def peek(self, digests: dict[str, str]) -> list[Stored]:
        """The same while it serves, for a moment in which nobody changes anything.

        Args:
            digests: The MD5 of contents that are known already; it grows.
        """
        with contextlib.closing(
            sqlite3.connect(f"file:{self.data}/platform.sqlite?mode=ro", uri=True)
        ) as data:
            rows = data.execute(
                "SELECT definitions.spec, external_id, path, name, attachments.id, blob FROM attachments"
                " JOIN documents ON documents.id = document JOIN definitions ON definitions.id = definition"
                " WHERE path <> ''"
            ).fetchall()
        found = []
        for spec, document, path, name, number, blob in rows:
            if blob not in digests:
                with (self.data / "blobs" / blob).open("rb") as content:
                    digests[blob] = hashlib.file_digest(content, "md5").hexdigest()
            found.append(
                Stored(f"{json.loads(spec)['name']}/{document}/{path}/{name}", number, digests[blob])
            )
        return found


class Done(NamedTuple):
    """What a command through the mount came to."""

    code: int
    out: str
    seconds: float


class Drive:
    """A mount of a server, by the command, at the same place and on the same state through all its lives."""

    def __init__(
        self, server: Server, home: Path, *, options: Sequence[str] = ("-v",), **environ: str
    ) -> None:
        self._options = options
        self.place, self.state, self.log = home / "mnt", home / "state", home / "log"
        self.place.mkdir(parents=True)
        self._server = server
        usual = {name: value for name, value in os.environ.items() if not name.startswith("AEROFS_")}
        self._environ = usual | {
            "AEROFS_URL": server.url,
            "AEROFS_ENVIRONMENT": server.environment,
            "AEROFS_TOKEN": server.token,
            "AEROFS_STATE_DIR": str(self.state),
            "AEROFS_LOG_FILE": str(self.log),
            **environ,
        }
        self._process: subprocess.Popen[str] | None = None
        self._started: list[subprocess.Popen[str]] = []

    @property
    def pid(self) -> int:
        """The process that serves the mount."""
        assert self._process is not None
        return self._process.pid

    def choose(self, **environ: str) -> None:
        """Settings for the next mount, beside those that it had."""
        self._environ = {**self._environ, **environ}

    def mount(self) -> None:
        """Mount; returns once it answers."""
        self.begin_mount()
        self.mounted()

    def begin_mount(self) -> None:
        """Start the process that mounts."""
        command = [sys.executable, "-m", "aerofs", "mount", "--foreground", *self._options, str(self.place)]
        self._process = subprocess.Popen(
            command, env=self._environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def mounted(self) -> None:
        """Wait until the mount answers."""
        assert self._process is not None
        said = self._process.stderr
        assert said is not None
        line = ""
        while "is mounted" not in line:
            assert select.select([said], [], [], BOUND)[0], "the mount says nothing"
            line = said.readline()
            assert line, "the mount has ended"

    def umount(self, *options: str) -> None:
        """`aerofs umount`: everything is brought up and the process has ended."""
        command = [sys.executable, "-m", "aerofs", "umount", str(self.place), *options]
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, timeout=BOUND, check=False
        )
        assert done.returncode == 0, done.stderr
        assert self._process is not None
        ended(self._process, signal.SIGTERM)

    def crash(self) -> None:
        """End the mount's process as a crash would; the mount point stays, dead."""
        assert self._process is not None
        ended(self._process, signal.SIGKILL)

    def close(self) -> None:
        """Take everything away, in whatever state it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        abort(connection(self.place))
        if self._process is not None:
            ended(self._process, signal.SIGKILL)
        for process in self._started:
            ended(process, signal.SIGKILL)
        if connection(self.place) is not None:
            mountpoint.detach(self.place)

    def start(self, *command: str | Path) -> "subprocess.Popen[str]":
        """Start a command that goes through the mount."""
        words = [str(word) for word in command]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def finish(self, process: "subprocess.Popen[str]", *, bound: float) -> Done:
        """Wait for a command; one that is not done within the bound fails the test, and hangs nobody."""
        started = time.monotonic()
        try:
            out, _ = process.communicate(timeout=bound)
        except subprocess.TimeoutExpired:
            stacks = Path(f"/proc/{process.pid}/wchan").read_text()
            abort(connection(self.place))
            ended(process, signal.SIGKILL)
            raise AssertionError(f"{process.args!r} hangs for {bound:g} s ({stacks})") from None
        self._started.remove(process)
        return Done(process.returncode, out, time.monotonic() - started)

    def run(self, *command: str | Path, bound: float = BOUND) -> Done:
        """Run a command that goes through the mount."""
        return self.finish(self.start(*command), bound=bound)

    def begin(self, *words: str | Path) -> "subprocess.Popen[str]":
        """Start one of the acts of `errand.py`; paths are below the mount point."""
        return self.start(sys.executable, "-m", "tests.faults.errand", self.place, *words)

    def told(self, process: "subprocess.Popen[str]", *, bound: float) -> dict[str, Any]:
        """What an act tells at its end."""
        done = self.finish(process, bound=bound)
        assert done.code == 0, f"{process.args!r} failed"
        told = json.loads(done.out)
        assert isinstance(told, dict)
        return told

    def act(self, *words: str | Path, bound: float = BOUND) -> dict[str, Any]:
        """Perform one of the acts of `errand.py`."""
        return self.told(self.begin(*words), bound=bound)

    def tree(self) -> dict[str, str]:
        """Every file that the mount shows, with the MD5 of its bytes."""
        told = self.act("tree", bound=2 * BOUND)
        assert "error" not in told, told
        files = told["files"]
        assert isinstance(files, dict)
        return files

    def ask(self, call: str, **params: Any) -> Any:
        """Ask the mount by its control socket."""
        return control.call(control.socket_path(self.place), call, silence=BOUND, **params)

    def saves(self) -> list[dict[str, Any]]:
        """What is not on the platform yet."""
        saves = self.ask("status")["saves"]
        assert isinstance(saves, list)
        return saves

    def drained(self, *, bound: float = BOUND) -> None:
        """Wait until nothing is left to bring up, by itself."""
        eventually(lambda: not self.saves(), seconds=bound, what="the last save to arrive")

    def at_rest(self) -> bool:
        """Whether all that is left stays on this machine, or waits for the user."""
        return all(save["state"] in ("local", "held") for save in self.saves())

    def complaints(self) -> list[str]:
        """Lines of the log that somebody should read."""
        return [
            line
            for line in self.log.read_text().splitlines()
            if any(level in line for level in (" WARNING ", " ERROR ", " CRITICAL ", "Traceback"))
        ]


@contextlib.contextmanager
def running(server: Server, *drives: Drive, later: Sequence[Drive] = ()) -> Iterator[None]:
    """The server serves, the drives are mounted; at the end nothing is left of them and of those mounted later."""
    try:
        server.start()
        for drive in drives:
            drive.mount()
        yield
    finally:
        for drive in (*drives, *later):
            drive.close()
        server.close()
