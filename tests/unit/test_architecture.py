"""ARCHITECTURE.md names what there is: every room, every module of a room, and nothing else."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "aerofs"
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def modules(directory: Path) -> set[str]:
    """What may be imported from it by name; the package itself is told of as a room."""
    return {file.stem for file in directory.glob("*.py")} - {"__init__", "__main__"}


ROOMS = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
TABLES = re.findall(r"^\| (`.*`) \| \|\n\| --- \| --- \|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
"""Each with the rooms in its head, and its rows."""


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


def test_the_overview_names_every_room() -> None:
    overview = re.search(r"^aerofs/\n((?:  .*\n)+)", PAGE, re.MULTILINE)
    assert overview
    named = [line.split()[0] for line in overview[1].splitlines()]
    assert sorted(named) == sorted(
        {f"{room}/" for room in ROOMS} | {f"{name}.py" for name in modules(PACKAGE)}
    )


def test_every_room_has_a_table() -> None:
    assert sorted(room for head, _ in TABLES for room in quoted(head)) == sorted(f"{room}/" for room in ROOMS)


@pytest.mark.parametrize(("head", "rows"), TABLES, ids=[head for head, _ in TABLES])
def test_a_table_names_every_module_of_its_rooms_once(head: str, rows: str) -> None:
    named = [name for row in rows.splitlines() for name in quoted(row.split("|")[1])]
    assert sorted(named) == sorted(name for room in quoted(head) for name in modules(PACKAGE / room))


def test_every_file_that_is_told_of_exists() -> None:
    told = {path for path in quoted(PAGE) if re.fullmatch(r"[a-z_]+/[a-z_]+\.py", path)}
    assert told
    assert {path for path in told if not (PACKAGE / path).is_file()} == set()
