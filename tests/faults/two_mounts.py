"""Two drives of one platform edit the same fields; then every version that anybody saved is accounted for.

`python -m tests.faults.two_mounts [SECONDS] [SEED]` prints what was done and what was found.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerofs.sandbox import Platform
from tests.faults.account import Finding
from tests.faults.diary import DiaryReader
from tests.faults.lineage import Lineage
from tests.faults.rig import BOUND, Drive, Server, running
from tests.mounted import eventually

EDITORS = 3
DRIVES = ("one", "other")
FIELDS = ("order/O-0/photos", "order/O-0/papers", "order/O-1/photos")
TIMES = {"AEROFS_DOCUMENT_TTL": "0.5", "AEROFS_LISTING_TTL": "0.5", "AEROFS_NEGATIVE_TTL": "0.2"}
LOCAL = ".part"
NAMES_SETTLE = 15.0
"""Seconds after which a file that had to stand beside a colleague's has its own name also where it was saved.

5 s after the save it is looked at whether it was saved again, and if so 5 s later once more.
"""
SLOW = 0.01
"""Seconds that a change takes at the least, so that drives meet in the middle of them."""


@dataclass
class Summary:
    """What a quarrel came to."""

    seed: str
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        told = "\n".join(f"  {count} {what}" for what, count in self.counts.most_common() if count)
        kinds = Counter(finding.kind for finding in self.findings)
        verdict = ", ".join(
            f"{kinds[kind]} {kind}" for kind in ("lost", "destroyed", "unseen", "doubled", "half")
        )
        lines = [f"seed {self.seed}: two drives for {self.seconds:g} s", told, f"  {verdict}"]
        return "\n".join([*lines, *(f"{finding.kind}: {finding.what}" for finding in self.findings)])


class Quarrel:
    """Two drives, each with its editors."""

    def __init__(self, home: Path, seed: str, seconds: float) -> None:
        self._home = home
        with contextlib.closing(Platform.open(home / "data")) as platform:
            platform.add_definition("order", fields=["photos", "papers"])
            names = [f"O-{number}" for number in range(2)]
            self._documents = {platform.add_document("order", external_id=name): name for name in names}
        record = home / "record"
        record.touch()
        self._record = DiaryReader(record)
        self._server = Server(
            home / "data", "--record", str(record), "--callers", *DRIVES, program="tests.faults.witness"
        )
        self._drives = {
            name: Drive(self._server, home / name, **{**TIMES, "AEROFS_TOKEN": name}) for name in DRIVES
        }
        self._kept: list[str] = []
        self._summary = Summary(seed, seconds)

    def run(self) -> Summary:
        """Edit, come to rest, judge."""
        with running(self._server, *self._drives.values()):
            for what in ("save", "delete"):
                self._server.order(what, "delay", count=None, seconds=SLOW)
            self._edit()
            for drive in self._drives.values():
                eventually(drive.at_rest, seconds=BOUND)
            self._compare()
            for drive in self._drives.values():
                drive.umount()
        lineage = Lineage(dict(self._diaries()))
        lineage.watch(self._events())
        self._summary.findings += lineage.judge(self._kept)
        self._summary.counts = lineage.counts
        for name, drive in self._drives.items():
            complaints = [line for line in drive.complaints() if " WARNING " not in line]
            self._summary.findings += [Finding("complaint", f"{name}: {line}") for line in complaints]
        return self._summary

    def _edit(self) -> None:
        seconds, started = self._summary.seconds, []
        for name, drive in self._drives.items():
            locks = self._home / name / "locks"
            locks.mkdir()
            for number in range(EDITORS):
                editor = f"{name}{number}"
                command = [
                    sys.executable,
                    "-m",
                    "tests.faults.editor",
                    str(drive.place),
                    editor,
                    str(seconds),
                ]
                words = [self._summary.seed, str(self._diary(editor)), str(locks), *FIELDS]
                started.append((drive, drive.start(*command, *words)))
        for drive, process in started:
            done = drive.finish(process, bound=seconds + BOUND)
            assert done.code == 0, process.args

    def _diary(self, editor: str) -> Path:
        return self._home / f"{editor}.diary"

    def _diaries(self) -> Iterable[tuple[str, list[dict[str, Any]]]]:
        for name in DRIVES:
            entries = [DiaryReader(self._diary(f"{name}{number}")).news() for number in range(EDITORS)]
            yield name, [entry for each in entries for entry in each]

    def _events(self) -> Iterable[dict[str, Any]]:
        """What the witness saw, places as they are in the drives."""
        for event in self._record.news():
            if "place" in event:
                document, _, field = event["place"].partition("/")
                event["place"] = f"order/{self._documents[document]}/{field}"
            yield event

    def _compare(self) -> None:
        """Both drives show what the platform holds, under whatever names they tell equal titles apart by."""
        stored = _by_field((file.path, file.md5) for file in self._server.peek({}))
        for name, drive in self._drives.items():
            ends = time.monotonic() + NAMES_SETTLE
            while (shown := self._shown(drive)) != stored and time.monotonic() < ends:
                time.sleep(0.5)
            if shown != stored:
                differ = {
                    what: (shown[what], stored[what]) for what in {*(shown - stored), *(stored - shown)}
                }
                self._summary.findings.append(Finding("damaged", f"{name} shows otherwise: {differ}"))
            self._kept += [md5 for path, md5 in drive.tree().items() if path.endswith(LOCAL)]

    def _shown(self, drive: Drive) -> Counter[tuple[str, str]]:
        drive.ask("refresh")
        # (A name that changes between the listing and the reading is an ENOENT: not at rest yet.)
        return _by_field(drive.act("tree", bound=2 * BOUND).get("files", {}).items())


def _by_field(files: Iterable[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """How often each content stands in each field; what never leaves a machine is left out."""
    return Counter((path.rpartition("/")[0], md5) for path, md5 in files if not path.endswith(LOCAL))


def main() -> None:
    """Quarrel, and tell."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    seed = sys.argv[2] if len(sys.argv) > 2 else secrets.token_hex(4)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="aerofs-quarrel-") as home:
        summary = Quarrel(Path(home), seed, seconds).run()
        sys.stdout.write(f"{summary}\n")
        if summary.findings and os.environ.get("AEROFS_KEEP"):
            subprocess.run(["cp", "-a", home, os.environ["AEROFS_KEEP"]], check=True)
    sys.exit(1 if summary.findings else 0)


if __name__ == "__main__":
    main()
