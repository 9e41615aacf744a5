"""The benchmark: contestants side by side, in turns, on one platform of this machine.

`scripts/bench` prints a Markdown table; `--json FILE` keeps every sample, `--quick` tries everything once and small,
`--rounds N` and `--only NAME` (a piece of work, may be repeated) change what is measured. Seconds depend on the machine
and on its mood, ratios less so: all contestants of a round work within the same minute, in turns, and the ratio shown
is the median of the rounds' ratios.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.contestants import Aerofs, Contestant, Local, Plain, Sources, megabytes
from tests.benchmarks.origin import QUICK, Sizes, seed
from tests.faults.rig import Drive, Server, running

RESIDENT_LIMIT = 150_000_000
CONTESTANTS = ("aerofs", "plain", "local")
WORK = {
    "find": "`find` over {documents} documents of 4 files, fresh mount",
    "list_again": "`ls -lR` of the same, just after",
    "sniff": "first 4 KiB of {photos} photos, cold",
    "read": "`cat` of {large} MiB, cold",
    "read_again": "the same again",
    "read_dropped": "the same, the kernel's pages dropped",
    "write": "`cp` of {large} MiB, until close",
    "move": "`mv` of it to another document",
    "copy_small": "`cp` of {small_files} files of 8 KiB",
    "overwrite_small": "`cp` over {overwritten} of them",
    "remove_small": "`rm` of {removed} of them",
}
BEFORE = {
    "list_again": "find",
    "read_again": "read",
    "read_dropped": "read",
    "move": "write",
    "overwrite_small": "copy_small",
    "remove_small": "copy_small",
}
"""What must have been done for the work to make sense."""


@dataclass(frozen=True)
class Sample:
    """One piece of work, done once by one contestant. Sizes in bytes, times in seconds."""

    work: str
    contestant: str
    turn: int
    seconds: float
    cpu: float
    requests: int
    uploaded: int
    downloaded: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    given = _arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sizes, rounds = (QUICK, given.rounds or 1) if given.quick else (Sizes(), given.rounds or 5)
    chosen = [work for work in WORK if not given.only or work in given.only]
    needed = {*chosen, *(BEFORE[work] for work in chosen if work in BEFORE)}
    with _arena(sizes, rounds) as (server, contestants):
        samples = []
        for turn in range(rounds):
            samples += _round(server, contestants, turn, [work for work in WORK if work in needed])
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
        peaks = {} if given.only else _memory(contestants[0])
    samples = [sample for sample in samples if sample.work in chosen]
    sys.stdout.write(_table(samples, sizes) + _peaks(peaks, sizes))
    if given.json:
        told = {"samples": [asdict(sample) for sample in samples], "resident": peaks, "rounds": rounds}
        given.json.write_text(json.dumps(told, indent=2))
    return int(any(peak >= RESIDENT_LIMIT for peak in peaks.values()))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help="how often; without it 5, with --quick 1")
    parser.add_argument(
        "--quick", action="store_true", help="everything once and small, to see that it works"
    )
    parser.add_argument("--only", action="append", choices=WORK, help="this work alone; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample")
    return parser.parse_args(arguments)


@contextmanager
def _arena(sizes: Sizes, rounds: int) -> Iterator[tuple[Server, list[Contestant]]]:
    """The platform and the contestants; nothing of them is left at the end."""
    home = Path(tempfile.mkdtemp(prefix="aerofs-bench-", dir="/var/tmp"))
    try:
        seed(home / "data", sizes, contestants=list(CONTESTANTS), rounds=rounds)
        server = Server(home / "data")
        drive = Drive(server, home / "drive", options=())
        (home / "sources").mkdir()
        sources = Sources(home / "sources", sizes)
        local = Local(home / "local", sources, rounds=rounds)
        with running(server, drive):
            yield server, [Aerofs(drive, sources), Plain(server, sources), local]
    finally:
        shutil.rmtree(home)


def _round(server: Server, contestants: list[Contestant], turn: int, works: list[str]) -> list[Sample]:
    """Every work once by everybody; who begins changes from work to work and from round to round."""
    for contestant in contestants:
        contestant.fresh(turn)
    samples = []
    for number, work in enumerate(works):
        first = (number + turn) % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            if work == "read_dropped" and (drop := getattr(contestant, "drop_pages", None)):
                drop(turn)
            samples.append(_measure(server, contestant, work, turn))
    return samples


def _measure(server: Server, contestant: Contestant, work: str, turn: int) -> Sample:
    server.reset()
    cpu, started = contestant.cpu(), time.perf_counter()
    getattr(contestant, work)(turn)
    seconds, cpu = time.perf_counter() - started, contestant.cpu() - cpu
    contestant.settled()
    stats = server.stats()
    return Sample(
        work,
        contestant.name,
        turn,
        seconds,
        cpu,
        sum(stats["requests"].values()),
        sum(stats["bytesIn"].values()),
        sum(stats["bytesOut"].values()),
    )


def _memory(contestant: Contestant) -> dict[str, int]:
    """The most that the mount holds resident while a huge file passes, either way."""
    peaks = {}
    for work in ("read_huge", "write_huge"):
        contestant.forget_peak()
        getattr(contestant, work)(0)
        peaks[work] = contestant.peak() or 0
    return peaks


def _table(samples: list[Sample], sizes: Sizes) -> str:
    facts = asdict(sizes) | {"large": sizes.large >> 20}
    lines = [
        "| work | aerofs : plain | aerofs : local | requests | MiB up / down | CPU s | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for work, words in WORK.items():
        ours, plain, local = (_of(samples, work, name) for name in CONTESTANTS)
        if not ours:
            continue
        up, down = (median(getattr(one, side) for one in ours) for side in ("uploaded", "downloaded"))
        cells = [
            words.format(**facts),
            f"**{_ratio(ours, plain)}**",
            _ratio(ours, local),
            f"{_requests(ours)} ({_requests(plain)})",
            f"{megabytes(up)} / {megabytes(down)}",
            f"{median(one.cpu for one in ours):.2f} ({median(one.cpu for one in plain):.2f})",
            " / ".join(f"{median(one.seconds for one in each):.3g}" for each in (ours, plain, local)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of(samples: list[Sample], work: str, contestant: str) -> list[Sample]:
    return [sample for sample in samples if (sample.work, sample.contestant) == (work, contestant)]


def _requests(samples: list[Sample]) -> str:
    return f"{median(sample.requests for sample in samples):g}"


def _ratio(ours: list[Sample], theirs: list[Sample]) -> str:
    """The median of the rounds' own ratios: what disturbed a round disturbed both."""
    ratio = median(one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True))
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"


def _peaks(peaks: dict[str, int], sizes: Sizes) -> str:
    words = {"read_huge": "reading", "write_huge": "writing"}
    return "".join(
        f"\nResident at most while {words[work]} {sizes.huge >> 20} MiB: {peak / 1e6:.0f} MB"
        f" (limit {RESIDENT_LIMIT / 1e6:.0f} MB)\n"
        for work, peak in peaks.items()
    )


if __name__ == "__main__":
    sys.exit(main())
