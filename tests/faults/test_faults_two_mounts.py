"""Two drives edit the same fields: nothing that either saved is lost, and neither destroys what it has not seen.

AEROFS_QUARREL_SECONDS for longer (`scripts/two-mounts`), AEROFS_STORM_SEED to repeat the same programs. First: the
proof itself can fail.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.lineage import Lineage
from tests.faults.two_mounts import Quarrel

SECONDS = float(os.environ.get("AEROFS_QUARREL_SECONDS", "18"))
SEED = os.environ.get("AEROFS_STORM_SEED") or secrets.token_hex(4)


def saved(token: str, *sees: str) -> list[dict[str, Any]]:
    act = {"act": "save", "at": 1.0, "path": "f/n", "token": token, "md5": f"md5 {token}", "sees": [*sees]}
    return [act, {"told": "done", "at": 1.5, "token": token}]


def moved(token: str) -> list[dict[str, Any]]:
    return [
        {"act": "rename", "at": 1.0, "path": "f/n", "to": "f/m", "moves": token, "sees": []},
        {"told": "done"},
    ]


def added(who: str, token: str, attachment: str, name: str = "n") -> dict[str, Any]:
    return {
        "what": "added",
        "who": who,
        "id": attachment,
        "at": 2.0,
        "place": "f",
        "name": name,
        "md5": f"md5 {token}",
    }


def told(who: str, attachment: str) -> dict[str, Any]:
    return {"what": "told", "who": who, "id": attachment, "at": 2.0}


def removed(who: str, attachment: str, at: float = 3.0) -> dict[str, Any]:
    return {"what": "removed", "who": who, "id": attachment, "at": at}


def kinds(diaries: dict[str, list[dict[str, Any]]], *events: dict[str, Any]) -> set[str]:
    lineage = Lineage(diaries)
    lineage.watch(events)
    return {finding.kind for finding in lineage.judge()}


def test_what_was_seen_and_replaced_is_no_loss() -> None:
    diaries = {"one": saved("a"), "other": saved("b", "a")}
    events = added("one", "a", "1"), told("other", "1"), added("other", "b", "2"), removed("other", "1")
    assert kinds(diaries, *events) == set()


def test_a_saved_version_that_never_stood_is_lost() -> None:
    assert kinds({"one": saved("a")}) == {"lost"}
    assert kinds({"one": [*saved("a"), *saved("b", "a")]}, added("one", "b", "1")) == set()


def test_a_version_that_its_destroyer_never_read_was_destroyed() -> None:
    diaries = {"one": saved("a"), "other": saved("b")}
    events = added("one", "a", "1"), told("other", "1"), added("other", "b", "2"), removed("other", "1")
    assert kinds(diaries, *events) == {"destroyed"}
    late = {"one": saved("a"), "other": saved("b", "a")}
    assert kinds(late, *events[:3], removed("other", "1", at=0.5)) == {"destroyed"}, "it read it afterwards"


def test_a_version_that_was_only_listed_may_be_replaced_by_name_at_that_moment() -> None:
    """Between the look and the `rename` another one took the name: that is what the program replaced."""
    save, done = saved("b")
    events = added("one", "a", "1"), told("other", "1"), added("other", "b", "2")
    diaries = {"one": saved("a"), "other": [save, {"guess": "f/n"}, done]}
    assert kinds(diaries, *events, removed("other", "1", at=2.0)) == set()
    assert kinds(diaries, *events, removed("other", "1", at=9.0)) == {"destroyed"}
    elsewhere = {"one": saved("a"), "other": [save, {"guess": "g/n"}, done]}
    assert kinds(elsewhere, *events, removed("other", "1", at=2.0)) == {"destroyed"}


@pytest.mark.parametrize(
    ("name", "title", "may_mean_it"),
    [
        ("n (a1b2c3).txt", "n.txt", True),
        ("n (a1b2c3).txt", "n (a1b2c3).txt", True),
        ("n (a1b2c3) (conflict).txt", "n (a1b2c3) (conflict).txt", True),
        ("n (a1b2c3) (d4e5f6).txt", "n (a1b2c3).txt", True),
        ("n (d4e5f6).txt", "n (a1b2c3).txt", False),
        ("n (conflict).txt", "n (a1b2c3) (conflict).txt", False),
    ],
)
def test_a_name_that_tells_equal_titles_apart_may_be_a_title(
    name: str, title: str, *, may_mean_it: bool
) -> None:
    """Who renames a file to such a name gives it that title, and the next one finds no title without the tag."""
    save, done = saved("b")
    diaries = {"one": saved("a"), "other": [save, {"guess": f"f/{name}"}, done]}
    events = added("one", "a", "1", title), told("other", "1"), removed("other", "1", at=2.0)
    assert ("destroyed" not in kinds(diaries, *events)) is may_mean_it


def test_an_attachment_that_its_remover_was_never_told_of_was_unseen() -> None:
    diaries = {"one": saved("a"), "other": saved("b", "a")}
    assert kinds(diaries, added("one", "a", "1"), added("other", "b", "2"), removed("other", "1")) == {
        "unseen"
    }


def test_bytes_that_nobody_saved_are_half() -> None:
    assert kinds({"one": saved("a")}, added("one", "a", "1"), added("one", "torn", "2")) == {"half"}
    assert kinds({"one": [*saved("a"), {"read": "torn", "path": "f/n"}]}, added("one", "a", "1")) == {"half"}


def test_a_version_that_stands_twice_is_doubled_unless_both_drives_renamed_it() -> None:
    twice = added("one", "a", "1"), added("one", "a", "2")
    assert kinds({"one": saved("a")}, *twice) == {"doubled"}
    assert kinds({"one": [*saved("a"), *moved("a")]}, *twice) == {"doubled"}
    assert kinds({"one": [*saved("a"), *moved("a")], "other": moved("a")}, *twice) == set()


@pytest.mark.timeout(SECONDS + 200)
def test_two_drives_in_the_same_fields_lose_nothing_and_destroy_nothing_unseen(tmp_path: Path) -> None:
    summary = Quarrel(tmp_path, SEED, SECONDS).run()
    sys.stdout.write(f"{summary}\n")
    assert summary.findings == [], str(summary)
    assert summary.counts["versions saved"] > 5 * SECONDS
    assert summary.counts["conflicts"], "they never met"
