"""The fault matrix as a page for people, FAULTS.md: which cells there are, how their outcomes are told, and back again.

`python -m tests.faults.table` tries them all and prints the page; with `--write` it keeps it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import trio
from trio.testing import MockClock

from tests.faults.acts import ACTS, Act
from tests.faults.lab import lab
from tests.faults.matrix import OUTAGE, Cell, Outcome, tried
from tests.faults.strikes import EVERYTHING, STRIKES

PAGE = Path(__file__).parents[2] / "FAULTS.md"
_REQUESTS: Mapping[str, str] = {
    "definitions": "definitions",
    "documents": "page of documents",
    "document": "document",
    "list": "list of the field",
    "save": "upload",
    "delete": "delete",
    "copy": "copy",
    "download": "download",
    EVERYTHING: "everything",
}
_ENDS = {"by hand": ", held", "as before": ", as before", "both": ", both"}
_INTRODUCTION = f"""\
# When the platform fails

Made by `scripts/fault-matrix --write`; tests hold it to what the drive does. Every line was tried: the whole drive but
for the kernel does the thing while one kind of request fails, once or for {OUTAGE:.0f} seconds; then the platform is well
again. Before every request and at the end it is checked that the old bytes or the new ones are on the platform (in a
full field: or in the journal), that a save is on the platform or in the journal, that no other file was touched and no
other bytes appeared; at the end, that nothing is left over, here or there, and that a fresh look shows what the
platform has.

| the call says | which means |
| --- | --- |
| 0 | done when the call returned |
| 0, later; EIO, later | it is in the journal, `aerofs status` shows it, the file is there under its name with its bytes; done by itself, once, when the platform is well. A program that saves hears EIO, because its bytes are only here yet |
| refused, held | the errno of [SEMANTICS.md](SEMANTICS.md#errors) (EACCES for 401 and 403, ENOENT for 404, EFBIG for 413, EDQUOT for a full field, EPERM for another rule); what stood on the platform still stands, what was saved is kept here; done when the user had it tried again |
| refused, as before | the same errno, and nothing has changed anywhere |
| …, both | the platform said that it deleted what it did not delete, or lets us add and not delete: the old file stands beside the new one |
| 0, as before | the platform said that it removed what it did not remove: the file is seen again after a while |
| EIO, done; ETIMEDOUT, done | no answer told whether it was removed; it was |
| an errno and no more | nothing was read; done when it was asked again |

*(N s)*: the longest that a call took, where that is more than a second. *done, …*: the platform carried the request out
and did not tell us so. A token that is refused is renewed once, and the new one is refused as long as 401 lasts.
"""  # noqa: E501  -- lines of a table
_HEAD = "| what fails | how | once | for two minutes |\n| --- | --- | --- | --- |\n"


@dataclass(frozen=True)
class Told:
    """An outcome as the page tells it, or the worst of several that are told alike."""

    words: str
    seconds: int = 0

    def __str__(self) -> str:
        return f"{self.words} ({self.seconds} s)" if self.seconds > 1 else self.words

    @classmethod
    def of(cls, cell: Cell, outcome: Outcome) -> "Told":
        """Tell an outcome."""
        said = "refused" if outcome.said == cell.strike.errno else outcome.said
        later = outcome.waits == "queued" and outcome.stands == "done"
        if cell.act.family == "unlink" and said != "0" and outcome.stands == "done":
            said += ", done"
        seconds = int(outcome.took) if outcome.took > 1 else 0
        return cls(said + (", later" if later else _ENDS.get(outcome.stands, "")), seconds)

    @classmethod
    def read(cls, text: str) -> "Told":
        """The same from a line of the page."""
        words, _, rest = text.partition(" (")
        return cls(words, int(rest.removesuffix(" s)") or 1))


Line = tuple[str, bool]
"""What the page knows a cell by: the kind of request and the words of the strike, and whether it lasts."""


def cells(act: Act, kinds: Sequence[str]) -> Iterator[Cell]:
    """Every cell of an act that asks for these kinds of requests."""
    for kind in (*kinds, EVERYTHING):
        for strike in STRIKES:
            for lasts in (False, True):
                if strike.strikes(kind) and (lasts or kind != EVERYTHING):
                    yield Cell(act, kind, strike, lasts)


async def outcomes(disk: Path, act: Act, clock: MockClock) -> tuple[int, dict[Cell, Outcome]]:
    """Try every cell of an act. Returns also how many requests it costs where nothing fails.

    Raises:
        AssertionError: A promise is broken; the note of the error names the cell.
    """
    async with lab(disk, clock) as here:
        asked = await here.requests(act)
        return asked.total(), {cell: await tried(here, cell) for cell in cells(act, [*asked])}


def section(asked: int, found: Mapping[Cell, Outcome]) -> str:
    """What is told of an act: strikes of one kind of request that end alike are one line, and kinds that are alike."""
    lines: dict[tuple[str, ...], tuple[list[str], list[Told]]] = {}
    for kind, group in groupby(found, key=lambda cell: cell.kind):
        alike: dict[tuple[str, ...], tuple[list[str], list[Told]]] = {}
        for words, pair in groupby(group, key=lambda cell: cell.strike.words):
            told = [Told.of(cell, found[cell]) for cell in pair]
            names, worst = alike.setdefault(tuple(each.words for each in told), ([], told))
            names.append(words)
            worst[:] = map(_worse, worst, told)
        for ends, (names, told) in alike.items():
            kinds, worst = lines.setdefault(("; ".join(names), *ends), ([], told))
            kinds.append(_REQUESTS[kind])
            worst[:] = map(_worse, worst, told)
    most = max(outcome.requests for cell, outcome in found.items() if not cell.lasts)
    requests = f"Requests where nothing fails: {asked}; where something failed once: at most {most}.\n\n"
    return (
        requests
        + _HEAD
        + "".join(
            f"| {', '.join(kinds)} | {how} | {str(told[0]) if len(told) > 1 else '-'} | {told[-1]} |\n"
            for (how, *_), (kinds, told) in lines.items()
        )
    )


def _worse(one: Told, other: Told) -> Told:
    return Told(one.words, max(one.seconds, other.seconds))


def page(sections: Mapping[str, str]) -> str:
    """The whole page; acts with the same lines share them."""
    shared: dict[str, list[str]] = {}
    for name, lines in sections.items():
        shared.setdefault(lines, []).append(name)
    parts = (f"## {_heading(names)}\n\n{lines}" for lines, names in shared.items())
    return "\n".join((_INTRODUCTION, *parts))


def _heading(names: Sequence[str]) -> str:
    text = "; ".join(names)
    return text[0].upper() + text[1:]


def told_by(text: str, cell: Cell) -> Told | None:
    """What a page says of a cell; None where it says nothing."""
    for part in text.split("\n## ")[1:]:
        heading, _, lines = part.partition("\n\n")
        if cell.act.name not in heading.lower().split("; "):
            continue
        for line in lines.splitlines()[4:]:
            kinds, how, *ends = line.strip("| ").split(" | ")
            if _REQUESTS[cell.kind] in kinds.split(", ") and cell.strike.words in how.split("; "):
                return Told.read(ends[cell.lasts])
    return None


def _tried(name: str) -> tuple[str, int]:
    """The section of an act, and how many cells were tried for it."""
    (act,) = (act for act in ACTS if act.name == name)
    with tempfile.TemporaryDirectory() as disk:
        clock = MockClock()
        asked, found = trio.run(outcomes, Path(disk), act, clock, clock=clock)
    return section(asked, found), len(found)


def main() -> int:
    """Try every cell, or those of some operations, and print the page."""
    parser = argparse.ArgumentParser(prog="scripts/fault-matrix", description=main.__doc__)
    parser.add_argument("word", nargs="?", default="", help="only operations whose name contains this")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    given = parser.parse_args()
    chosen = [act for act in ACTS if given.word in act.name]
    if given.write and chosen != list(ACTS):
        parser.error("only the whole matrix is written")
    sections, count, began = {}, 0, time.monotonic()
    with ProcessPoolExecutor() as pool:
        for name, (lines, tries) in zip(
            (act.name for act in chosen), pool.map(_tried, [act.name for act in chosen]), strict=True
        ):
            sections[name], count = lines, count + tries
            sys.stderr.write(f"{name}: {tries} cells, {count} in {time.monotonic() - began:.0f} s\n")
    if given.write:
        PAGE.write_text(page(sections))
    else:
        sys.stdout.write(page(sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
