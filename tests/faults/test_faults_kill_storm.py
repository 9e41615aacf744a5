"""Kill -9 of the drive in a storm of saves, renames and overwrites: nothing is lost, doubled or half.

AEROFS_KILLS for more (`scripts/kill-storm`), AEROFS_STORM_SEED to repeat the same programs. First: the reckoning itself
can fail.
"""

import os
import secrets
import sys
from pathlib import Path

import pytest

from tests.faults.account import Account, replay
from tests.faults.kill_storm import KillStorm

KILLS = int(os.environ.get("AEROFS_KILLS", "20"))
SEED = os.environ.get("AEROFS_STORM_SEED") or secrets.token_hex(4)
A, B, BESIDE = "order/O-0/photos/p0-a.bin", "order/O-0/papers/p0-b.bin", "order/O-0/photos/p0-a (3f9c01).bin"
DONE = {"told": "done"}
DIED = {"told": "died", "at": "close"}


def account(*entries: dict[str, str]) -> Account:
    found = Account("p0")
    replay(found, entries)
    return found


def saved(path: str, md5: str) -> dict[str, str]:
    return {"act": "save", "path": path, "md5": md5}


def kinds(account: Account, *stored: tuple[str, str], shown: dict[str, str] | None = None) -> set[str]:
    return {finding.kind for finding in account.judge(stored, dict(stored) if shown is None else shown)}


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ([(A, "new"), (B, "b")], set()),
        ([(B, "b")], {"lost"}),
        ([(A, "old"), (B, "b")], {"lost"}),
        ([(A, "ne"), (B, "b")], {"half"}),
        ([(A, "new"), (A, "old"), (B, "b")], {"doubled", "lost"}),
        ([(A, "new"), (BESIDE, "new"), (B, "b")], {"litter"}),
        ([(A, "new"), (f"{A}.part", "new"), (B, "b")], {"litter"}),
        ([(A, "new")], {"lost"}),
        ([(A, "new"), (B, "torn")], {"half"}),
    ],
)
def test_the_reckoning_finds_what_is_lost_doubled_or_half(
    stored: list[tuple[str, str]], found: set[str]
) -> None:
    sure = account(saved(B, "b"), DONE, saved(A, "old"), DONE, saved(A, "new"), DONE)
    assert kinds(sure, *stored) == found


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ([(A, "old")], set()),
        ([(A, "new")], set()),
        ([], {"lost"}),
        ([(A, "torn")], {"half", "damaged"}),
        ([(A, "old"), (A, "new")], {"doubled"}),
    ],
)
def test_a_save_that_the_drive_died_in_has_happened_or_not(
    stored: list[tuple[str, str]], found: set[str]
) -> None:
    assert kinds(account(saved(A, "old"), DONE, saved(A, "new"), DIED), *stored) == found


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ([(A, "a"), (B, "b")], set()),
        ([(B, "a")], set()),
        ([(A, "a"), (B, "a")], {"damaged"}),
        ([(B, "b")], {"lost"}),
        ([(A, "a")], {"lost"}),
    ],
)
def test_a_rename_that_the_drive_died_in_has_happened_or_not(
    stored: list[tuple[str, str]], found: set[str]
) -> None:
    moved = account(
        saved(A, "a"),
        DONE,
        saved(B, "b"),
        DONE,
        {"act": "rename", "path": A, "to": B},
        {"told": "died", "at": "rename"},
    )
    assert kinds(moved, *stored) == found


def test_a_save_whose_close_failed_comes_up_later_and_one_that_was_never_closed_does_not() -> None:
    kept = account(saved(A, "old"), DONE, saved(A, "new"), {"told": "failed", "at": "close", "errno": "EIO"})
    assert kinds(kept, (A, "new")) == set()
    assert kinds(kept, (A, "old")) == {"lost"}
    never = account(saved(A, "old"), DONE, saved(A, "new"), {"told": "died", "at": "write"})
    assert kinds(never, (A, "old")) == set()
    assert kinds(never, (A, "new")) == {"lost"}


def test_the_reckoning_finds_a_drive_that_does_not_show_what_the_platform_holds() -> None:
    sure = account(saved(A, "a"), DONE, saved(f"{B}.part", "temporary"), DONE)
    assert kinds(sure, (A, "a"), shown={A: "a", f"{B}.part": "temporary"}) == set()
    assert kinds(sure, (A, "a"), shown={A: "a"}) == {"lost"}
    assert kinds(sure, (A, "a"), shown={f"{B}.part": "temporary"}) == {"damaged"}


@pytest.mark.timeout(60 + 15 * KILLS)
def test_no_save_is_lost_doubled_or_half_when_the_drive_is_killed(tmp_path: Path) -> None:
    summary = KillStorm(tmp_path, SEED).run(KILLS)
    sys.stdout.write(f"{summary}\n")
    assert summary.findings == [], str(summary)
    assert summary.kills.total() >= KILLS
    assert summary.accepted > KILLS
    assert summary.taken_up > KILLS / 2, "hardly a kill met the drive at work"
