"""Every request that can fail, in every way, under all that programs do: no promise is broken, and FAULTS.md is true.

A third of the cells, another one every day; that of a number with AEROFS_FAULT_MATRIX=0, 1 or 2, all with
AEROFS_FAULT_MATRIX=all. `scripts/fault-matrix --write` tries all and writes the page.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.faults.acts import ACTS, Act
from tests.faults.lab import lab
from tests.faults.matrix import tried
from tests.faults.table import PAGE, Told, cells, page, told_by

THIRD = os.environ.get("AEROFS_FAULT_MATRIX") or str(datetime.now(UTC).toordinal() % 3)


@pytest.fixture
def clock() -> MockClock:
    """Time that the laboratory lets pass."""
    return MockClock()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
async def test_whatever_fails_nothing_is_lost_and_the_call_says_what_the_page_tells(
    tmp_path: Path, clock: MockClock, act: Act
) -> None:
    print(f"AEROFS_FAULT_MATRIX={THIRD}")  # noqa: T201  what was tried, where it fails
    assert THIRD in ("all", "0", "1", "2")
    written = PAGE.read_text()
    async with lab(tmp_path, clock) as here:
        for number, cell in enumerate(cells(act, [*await here.requests(act)])):
            # (Those that strike once and those that last take turns, so that either is among them.)
            if THIRD not in ("all", str(number % 3)):
                continue
            outcome = Told.of(cell, await tried(here, cell))
            expected = told_by(written, cell)
            assert expected is not None, (
                f"{cell}: FAULTS.md does not tell it; run scripts/fault-matrix --write"
            )
            assert outcome.words == expected.words, f"{cell}: FAULTS.md says {expected}"
            assert outcome.seconds <= expected.seconds + 1, f"{cell}: FAULTS.md says {expected}"


def test_the_page_is_made_of_its_sections_and_an_introduction() -> None:
    text = PAGE.read_text()
    sections = {}
    for part in text.split("\n## ")[1:]:
        heading, _, lines = part.partition("\n\n")
        sections.update(dict.fromkeys(heading.lower().split("; "), lines.rstrip("\n") + "\n"))
    assert set(sections) == {act.name for act in ACTS}
    assert page({act.name: sections[act.name] for act in ACTS}) == text
