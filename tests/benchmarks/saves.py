"""The cost of saving: many small files copied into one directory, behind a network of so many milliseconds a request.

`scripts/bench saves` prints Markdown; `--json FILE` keeps every sample. A sample ends when the platform has all files.
aerofs and plain httpx speak to the sandbox, rclone to its own WebDAV server; before both stands the same relay. What
takes part, and in which turn, changes from round to round; ratios are medians of the rounds' own ratios.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

from aerofs.sandbox import Platform
from tests.benchmarks.closing import plain_client, send
from tests.benchmarks.latency import Network
from tests.benchmarks.origin import DEFINITION, FIELD
from tests.benchmarks.rclone import WebDav
from tests.faults.rig import Drive, Server, running

BOUND = 900.0
_TICKS = os.sysconf("SC_CLK_TCK")
STRICT, LATER = "aerofs", "aerofs --close-wait 0"
WIDE = f"AEROFS_UPLOAD_LANE=12 {LATER}"
OFF = "rclone --vfs-cache-mode off"
WRITES = "rclone --vfs-cache-mode writes"
AT_ONCE = f"{WRITES} --vfs-write-back 0"
PLAIN = "plain httpx, one after the other"
CONTESTANTS = (STRICT, OFF, LATER, WRITES, WIDE, AT_ONCE, PLAIN)
COMPARED = ((STRICT, OFF), (STRICT, PLAIN), (LATER, WRITES), (LATER, AT_ONCE), (WIDE, AT_ONCE))


@dataclass(frozen=True)
class Sample:
    """All files copied once by one contestant.

    Attributes:
        copied: Seconds until `cp` had ended.
        stored: Seconds until the platform had everything.
        cpu: Seconds of the mount's process.
        requests: By method, of everything between the first and the last file.
        load: The machine's load average over the minute before.
    """

    contestant: str
    turn: int
    copied: float
    stored: float
    cpu: float
    requests: dict[str, int]
    load: float


@dataclass(frozen=True)
class Closes:
    """Seconds of close() and of a plain request with the same body, in pairs."""

    turn: int
    closes: list[float]
    requests: list[float]


class Arena:
    """The platforms, the files, and everybody's way to them."""

    def __init__(self, home: Path, given: argparse.Namespace) -> None:
        self._home = home
        self._count: int = given.files
        self._latency: float = given.latency / 1000
        self._dav = WebDav(given.rclone, home / "rclone")
        self.version = self._dav.version
        self._sources = home / "sources"
        self._sources.mkdir()
        for number in range(self._count):
            content = secrets.token_bytes(4096 + secrets.randbelow(4097))
            (self._sources / f"small {number:04}.txt").write_bytes(content)
        with contextlib.closing(Platform.open(home / "data")) as platform, platform.transaction():
            platform.add_definition(DEFINITION, fields=[FIELD])
            for turn in range(given.rounds):
                for name in (STRICT, LATER, WIDE, PLAIN, "closes", "requests"):
                    platform.add_document(DEFINITION, external_id=f"{name} {turn}")
        self._server = Server(home / "data")

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Everything that is not a mount runs."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(running(self._server))
            stack.enter_context(self._dav.serving())
            port = int(self._server.url.rpartition(":")[2])
            self._aero = stack.enter_context(Network(port, self._latency))
            self._web = stack.enter_context(Network(self._dav.port, self._latency))
            yield

    def sample(self, contestant: str, turn: int) -> Sample:
        """Let one contestant copy everything."""
        if contestant == PLAIN:
            return self._plain(turn)
        if contestant.startswith("rclone"):
            return self._rclone(contestant, turn)
        return self._drive(contestant, turn)

    def _plain(self, turn: int) -> Sample:
        load, started, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
        with plain_client(self._aero.url, self._server.token, self._server.environment) as client:
            for path in sorted(self._sources.iterdir()):
                send(client, f"{PLAIN} {turn}", path.name, path.read_bytes())
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        return Sample(PLAIN, turn, took, took, cpu, dict(self._aero.counted()), load)

    @contextlib.contextmanager
    def _mounted(self, name: str, contestant: str) -> Iterator[Drive]:
        """A fresh mount that has seen its documents."""
        words = contestant.split()
        options = words[words.index("aerofs") + 1 :]
        environ = dict(word.split("=") for word in words[: words.index("aerofs")])
        home = self._home / name
        drive = Drive(self._server, home, options=options, AEROFS_URL=self._aero.url, **environ)
        try:
            drive.mount()
            drive.run("ls", drive.place / DEFINITION)
            yield drive
            drive.umount()
        finally:
            drive.close()

    def _drive(self, contestant: str, turn: int) -> Sample:
        with self._mounted(f"{contestant} {turn}", contestant) as drive:
            target = drive.place / DEFINITION / f"{contestant} {turn}" / FIELD
            self._aero.counted()
            self._server.reset()
            return self._copied(contestant, turn, target, drive.pid, self._saved, self._aero)

    def _saved(self) -> bool:
        stats = self._server.stats()
        return stats["requests"].get("save", 0) >= self._count and not stats["underWay"].get("save")

    def _rclone(self, contestant: str, turn: int) -> Sample:
        _, *options = contestant.split()
        folder = secrets.token_hex(4)
        place = self._home / folder / "mnt"
        with self._dav.mounted(self._web.url, folder, place, options) as process:
            _shell("ls", place)
            self._web.counted()

            def saved() -> bool:
                return self._dav.stored(folder) == self._count

            return self._copied(contestant, turn, place, process, saved, self._web)

    def _copied(
        self,
        contestant: str,
        turn: int,
        target: Path,
        process: int,
        saved: Callable[[], bool],
        network: Network,
    ) -> Sample:
        load, cpu, started = os.getloadavg()[0], _cpu(process), time.perf_counter()
        _shell("cp", *sorted(self._sources.iterdir()), target)
        copied = time.perf_counter() - started
        while not saved():
            time.sleep(0.05)
            if time.perf_counter() - started > BOUND:
                raise AssertionError(f"{contestant}: not everything arrives")
        stored = time.perf_counter() - started
        cpu = _cpu(process) - cpu
        return Sample(contestant, turn, copied, stored, cpu, dict(network.counted()), load)

    def closes(self, turn: int, files: int) -> Closes:
        """What close() takes, beside a plain request."""
        with self._mounted(f"closes {turn}", STRICT) as drive:
            given = {
                "sources": str(self._sources),
                "target": str(drive.place / DEFINITION / f"closes {turn}" / FIELD),
                "document": f"requests {turn}",
                "url": self._aero.url,
                "token": self._server.token,
                "environment": self._server.environment,
                "files": str(files),
            }
            command = (sys.executable, "-m", "tests.benchmarks.closing", json.dumps(given))
            done = drive.run(*command, bound=BOUND)
            return Closes(turn, **json.loads(done.out))

    def check(self, samples: Sequence[Sample]) -> None:
        """Everything that was said to be stored is there, once."""
        expected = self._count * sum(not one.contestant.startswith("rclone") for one in samples)
        standing = self._server.standing(DEFINITION)
        if standing < expected:
            raise AssertionError(f"the platform holds {standing} files instead of {expected}")


def _shell(*command: str | Path) -> None:
    """Run a command that goes through a mount; killed if it hangs."""
    words = ["timeout", "-s", "KILL", f"{BOUND:g}", *map(str, command)]
    pid = os.posix_spawnp(
        "timeout", words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise AssertionError(f"{command[0]} failed")


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Path(tempfile.mkdtemp(prefix="aerofs-bench-", dir="/var/tmp"))
    try:
        arena = Arena(home, given)
        with arena.open():
            samples, closes = _rounds(arena, given)
            arena.check(samples)
    finally:
        shutil.rmtree(home)
    sys.stdout.write(report(samples, closes, given, arena.version))
    if given.json:
        told = {
            "rclone": arena.version,
            "samples": [asdict(one) for one in samples],
            "closes": [asdict(one) for one in closes],
        }
        given.json.write_text(json.dumps(told, indent=2))
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench saves", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rclone", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=int, default=1000, help="how many; without it 1000")
    parser.add_argument(
        "--pairs", type=int, default=300, help="closes measured in each round; without it 300"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often; without it 5")
    parser.add_argument(
        "--latency", type=float, default=20, metavar="MS", help="of each request; without it 20"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample")
    return parser.parse_args(arguments)


def _rounds(arena: Arena, given: argparse.Namespace) -> tuple[list[Sample], list[Closes]]:
    samples, closes = [], []
    for turn in range(given.rounds):
        first = turn % len(CONTESTANTS)
        for contestant in (*CONTESTANTS[first:], *CONTESTANTS[:first]):
            sample = arena.sample(contestant, turn)
            samples.append(sample)
            sys.stderr.write(f"{turn + 1}/{given.rounds} {contestant}: {sample.stored:.1f} s\n")
        closes.append(arena.closes(turn, min(given.pairs, given.files)))
    return samples, closes


def report(
    samples: Sequence[Sample], closes: Sequence[Closes], given: argparse.Namespace, version: str
) -> str:
    """The tables, as PERFORMANCE.md shows them."""
    load = median(one.load for one in samples)
    what = (
        f"{given.files} files of 4 to 8 KiB, {given.latency:g} ms a request, {given.rounds} rounds, {version}"
    )
    columns = (
        "copied by `cp` with",
        "s until all is stored",
        "s until `cp` ends",
        "ms a file",
        "requests a file",
    )
    lines = [f"{what}, load average {load:.1f}:", "", f"| {' | '.join(columns)} | CPU ms a file |"]
    lines.append("| --- " * 6 + "|")
    for contestant in CONTESTANTS:
        mine = _of(samples, contestant)
        stored, copied = median(one.stored for one in mine), median(one.copied for one in mine)
        requests = median(sum(one.requests.values()) for one in mine) / given.files
        kinds = ", ".join(sorted(set().union(*(one.requests for one in mine))))
        cpu = median(one.cpu for one in mine) / given.files * 1000
        cells = [
            f"{stored:.1f}",
            f"{copied:.1f}",
            f"{stored / given.files * 1000:.1f}",
            f"{requests:.2f} ({kinds})",
        ]
        lines.append(f"| `{contestant}` | {' | '.join(cells)} | {cpu:.1f} |")
    lines += ["", "| times as fast as | median | each round |", "| --- | --- | --- |"]
    for one, other in COMPARED:
        pairs = zip(_of(samples, one), _of(samples, other), strict=True)
        ratios = [theirs.stored / ours.stored for ours, theirs in pairs]
        lines.append(
            f"| {one} : {other} | **{median(ratios):.2f}** | {', '.join(f'{each:.2f}' for each in ratios)} |"
        )
    return "\n".join([*lines, "", *_told(closes)]) + "\n"


def _told(closes: Sequence[Closes]) -> Iterator[str]:
    close = [seconds * 1000 for one in closes for seconds in one.closes]
    plain = [seconds * 1000 for one in closes for seconds in one.requests]
    ratios = [ours / theirs for ours, theirs in zip(close, plain, strict=True)]
    low, middle, high = quantiles(ratios)
    rounds = [median(one.closes) / median(one.requests) for one in closes]
    yield (
        f"close() of {len(close)} new files, each beside a plain request with the same body: "
        f"{median(close):.1f} ms and {median(plain):.1f} ms, **{middle:.2f}** round trips "
        f"(quartiles {low:.2f} and {high:.2f}; the rounds {', '.join(f'{each:.2f}' for each in rounds)})"
    )


def _of(samples: Sequence[Sample], contestant: str) -> list[Sample]:
    return sorted((one for one in samples if one.contestant == contestant), key=lambda one: one.turn)


if __name__ == "__main__":
    sys.exit(main())
