"""Kill -9 of the drive at random moments while programs save, rename, overwrite and remove; then the reckoning.

`python -m tests.faults.kill_storm [KILLS] [SEED]` prints what was done and what was found. After each kill: the dead
mount point refuses everything, the next mount takes up the journal, and when it is drained every program's account is
held to what the platform has. Each kill is of one kind (`KINDS`), which says what else is wrong at that moment.
"""

import contextlib
import errno
import itertools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from aerofs.sandbox import FieldSpec, Platform
from tests.faults.account import Account, Finding, replay
from tests.faults.diary import Diary, DiaryReader
from tests.faults.rig import BOUND, ROOT, Drive, Server, ended, running
from tests.mounted import eventually

FIELDS = ("order/O-0/photos", "order/O-0/papers", "order/O-1/photos", "order/O-1/papers")
CRAMPED = ("order/O-2/three", "order/O-2/single")
"""Fields that are full: each overwrite has to make room first."""
SAVERS = (FIELDS, FIELDS, FIELDS, FIELDS, CRAMPED)
KINDS = (
    "plain",
    "slow platform",
    "write-back",
    "lost answers",
    "failing platform",
    "platform killed too",
    "killed while it drains",
    "killed while it recovers",
)
CHANGING = ("save", "delete", "copy")
WAYS = ((), (), ("silent-copy",), ("save-answers-field",), ("no-sizes",), ("redirect-urls", "no-range"))
"""How the platform speaks."""


@dataclass
class Summary:
    """What a storm came to."""

    seed: str
    kills: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    taken_up: int = 0
    findings: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def found(self, when: str, finding: Finding) -> None:
        """Something that may not be."""
        self.kinds[finding.kind] += 1
        self.findings.append(f"{when}: {finding.kind}: {finding.what}")

    def __str__(self) -> str:
        def told(counter: Counter[str]) -> str:
            return ", ".join(f"{count} {what}" for what, count in counter.most_common()) or "none"

        lost, doubled, half = (self.kinds[kind] for kind in ("lost", "doubled", "half"))
        other = sum(self.kinds.values()) - lost - doubled - half
        return "\n".join(
            [
                f"seed {self.seed}: {self.kills.total()} kills in {self.seconds:.0f} s ({told(self.kills)})",
                f"  acts begun: {told(self.acts)}",
                f"  saves whose close() returned 0: {self.accepted}; errors: {told(self.errors)}",
                f"  operations taken up by the next mount: {self.taken_up}",
                f"  acts that the drive died in: {told(self.doubts)}",
                f"  {lost} lost, {doubled} doubled, {half} half; other findings: {other}",
                *self.findings,
            ]
        )


class Program:
    """A saver, as the storm sees it."""

    def __init__(self, home: Path, place: Path, name: str, seed: str, fields: Sequence[str]) -> None:
        diary = home / f"{name}.diary"
        diary.touch()
        self.account = Account(name)
        self._news = DiaryReader(diary)
        words = [sys.executable, "-m", "tests.faults.saver", str(place), name, seed, str(diary), *fields]
        self.process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def go(self) -> None:
        """Set it going with the files that it has."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(self.account.certain) + "\n")
        self.process.stdin.flush()

    def died(self) -> list[dict[str, Any]]:
        """Wait until it has met the end of the drive. Returns what it did."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], BOUND)[0], f"{self.account.owner} hangs"
        assert self.process.stdout.readline() == "died\n"
        return self._news.news()


class KillStorm:
    """The storm.

    Args:
        home: A directory for everything.
        seed: The same seed gives the same programs and kills; not the same moments, which are the machine's.
    """

    def __init__(self, home: Path, seed: str) -> None:
        self._home = home
        self._random = Random(seed)
        with contextlib.closing(Platform.open(home / "data")) as platform:
            full = [FieldSpec("three", maximum_attachments=3), FieldSpec("single", maximum_attachments=1)]
            platform.add_definition("order", fields=["photos", "papers", *full])
            for number in range(3):
                platform.add_document("order", external_id=f"O-{number}")
        record = home / "record"
        self._record = Diary(record)
        self._server = Server(
            home / "data",
            "--record",
            str(record),
            "--callers",
            "sandbox-token",
            program="tests.faults.witness",
        )
        self._drive = Drive(self._server, home, options=("-vv",))
        self._below = os.open(self._drive.place, os.O_RDONLY | os.O_DIRECTORY)
        self._digests: dict[str, str] = {}
        self._read = 0
        self.summary = Summary(seed)

    def run(self, kills: int) -> Summary:
        """So many kills, one of each kind in turn; the first finding ends it."""
        started = time.monotonic()
        try:
            with running(self._server, self._drive), self._programs() as programs:
                for kind in itertools.cycle(KINDS):
                    if self.summary.findings or self.summary.kills.total() >= kills:
                        break
                    self._round(f"kill {self.summary.kills.total() + 1}", kind, programs)
                if not self.summary.findings:
                    self._drive.umount()
        finally:
            os.close(self._below)
        self.summary.seconds = time.monotonic() - started
        return self.summary

    @contextlib.contextmanager
    def _programs(self) -> Iterator[list[Program]]:
        found: list[Program] = []
        try:
            found.extend(
                Program(self._home, self._drive.place, f"p{number}", self.summary.seed, fields)
                for number, fields in enumerate(SAVERS)
            )
            yield found
        finally:
            self._drive.close()  # nobody hangs in it any more
            for program in found:
                program.process.kill()
                ended(program.process, signal.SIGKILL)
                assert program.process.stdin is not None
                program.process.stdin.close()

    def _round(self, when: str, kind: str, programs: list[Program]) -> None:
        self._go_wrong(kind)
        for program in programs:
            program.go()
        time.sleep(self._random.uniform(0.05, 0.9))
        if kind == "platform killed too":
            self._server.kill()
        self._crash(kind)
        for program in programs:
            self._take_down(when, program, program.died())
        self._look_at_the_dead(when)
        self._come_back(kind)
        self._judge(f"{when} ({kind})", programs)

    def _go_wrong(self, kind: str) -> None:
        """What is wrong besides, at the moment of the kill."""
        few = self._random.randrange(1, 6)
        self._server.speak(*self._random.choice(WAYS))
        for what in CHANGING:
            match kind:
                case "slow platform" | "write-back" | "killed while it drains":
                    self._server.order(what, "delay", count=None, seconds=self._random.uniform(0.01, 0.15))
                case "lost answers":
                    self._server.order(what, "drop_answer", count=few, after=self._random.randrange(10))
                case "failing platform":
                    self._server.order(what, "status", count=few, after=self._random.randrange(10))

    def _take_down(self, when: str, program: Program, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if "act" in entry:
                self.summary.acts[entry["act"]] += 1
            elif entry.get("told") == "failed":
                self.summary.errors[f"{entry.get('errno', 'tool')} at {entry['at']}"] += 1
            elif "wrong" in entry:
                self.summary.found(when, Finding("damaged", entry["wrong"]))
        acts = [entry for entry in entries if "wrong" not in entry]
        before = program.account.accepted
        replay(program.account, acts)
        self.summary.accepted += program.account.accepted - before

    def _look_at_the_dead(self, when: str) -> None:
        """A dead mount point refuses everything; nothing lands in the directory below it."""
        place = self._drive.place
        for name, call in (
            ("list", lambda: list(place.iterdir())),
            ("open", (place / "new").touch),
            ("mkdir", (place / "order").mkdir),
        ):
            try:
                call()
            except OSError as error:
                if error.errno == errno.ENOTCONN:
                    continue
            self.summary.found(when, Finding("damaged", f"{name} in the dead mount point"))
        self._look_below(when)

    def _look_below(self, when: str) -> None:
        for name in os.listdir(self._below):  # noqa: PTH208  a descriptor, not a path
            self.summary.found(when, Finding("damaged", f"{name} lies in the directory below the mount"))

    def _come_back(self, kind: str) -> None:
        """The next mount, or the one after that which is killed, too."""
        self._drive.choose(AEROFS_CLOSE_WAIT="0" if self._random.random() < 0.25 else "60")
        if kind == "platform killed too":
            self._server.start()
        elif kind == "killed while it recovers":
            self._drive.begin_mount()
            time.sleep(self._random.uniform(0.2, 1.2))
            self._crash("in recovery")
        elif kind == "killed while it drains":
            self._drive.mount()
            time.sleep(self._random.uniform(0.0, 0.3))
            self._crash("in the drain")
        self._server.heal()
        self._drive.mount()

    def _crash(self, kind: str) -> None:
        self._drive.crash()
        self._record.note(what="killed", kind=kind, at=time.monotonic())
        self.summary.kills[kind] += 1

    def _judge(self, when: str, programs: list[Program]) -> None:
        with contextlib.suppress(AssertionError):
            eventually(self._drive.at_rest, seconds=BOUND / 2)
        for save in self._drive.saves():
            if save["state"] != "local":
                self.summary.found(when, Finding("litter", f"still not up: {save}"))
        stored = self._server.peek(self._digests)
        shown = self._drive.tree()
        pairs = [(file.path, file.md5) for file in stored]
        for path, md5 in pairs:
            if not any(program.account.owns(path) for program in programs):
                self.summary.found(when, Finding("litter", f"{path} ({md5})"))
        for program in programs:
            for finding in program.account.judge(pairs, shown):
                self.summary.found(when, finding)
            self.summary.doubts += program.account.settle(dict(pairs), shown)
        self._look_below(when)
        self._read_the_log(when)

    def _read_the_log(self, when: str) -> None:
        lines = self._drive.log.read_text().splitlines()
        for line in lines[self._read :]:
            if "are taken up" in line:
                self.summary.taken_up += int(line.split("operations from before")[0].split()[-1])
            if any(word in line for word in (" ERROR ", " CRITICAL ", "Traceback")):
                self.summary.found(when, Finding("complaint", line))
        self._read = len(lines)


def main() -> None:
    """Rage, and tell."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = sys.argv[2] if len(sys.argv) > 2 else secrets.token_hex(4)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="aerofs-kills-") as home:
        summary = KillStorm(Path(home), seed).run(kills)
        sys.stdout.write(f"{summary}\n")
        if summary.findings and os.environ.get("AEROFS_KEEP"):
            subprocess.run(["cp", "-a", home, os.environ["AEROFS_KEEP"]], check=True)
    sys.exit(1 if summary.findings else 0)


if __name__ == "__main__":
    main()
