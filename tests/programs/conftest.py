"""Fixtures of the tests with real programs: a platform and a drive per module, a desk per test.

They need programs that a bare machine lacks, so they run by `scripts/programs`, which installs them, and not by
`scripts/test`: everything here is marked `programs`, and that marker is left out unless asked for, as `live` is.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mount.harness import Drive, LocalPlatform, Paper, names, opened
from tests.programs.costs import Costs
from tests.programs.desk import Desk

_HERE = Path(__file__).parent
_LONG = 600.0
"""Seconds for which names and listings are believed: what is counted is what a save costs, not what time costs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--costs",
        choices=["check", "write"],
        help="compare the table of PERFORMANCE.md with a whole run, or write it",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("programs")
    # What has to wait for a minute begins first and is looked at last.
    items.sort(key=lambda item: "planted" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def costs(request: pytest.FixtureRequest) -> Iterator[Costs]:
    """What saving costs; `--costs` says what becomes of it."""
    found = Costs()
    yield found
    if request.config.getoption("--costs") == "write":
        found.write()
    elif request.config.getoption("--costs") == "check":
        found.check()


class Planted(NamedTuple):
    """What was made when the session began: files that look temporary, and one that was put aside."""

    paper: Paper
    files: dict[str, bytes]
    since: float


@pytest.fixture(scope="session")
def planted() -> Iterator[Planted]:
    """Made when the session begins; a minute later it is looked at."""
    platform = LocalPlatform()
    drive = Drive(platform, {"document_ttl": _LONG, "listing_ttl": _LONG})
    files = {"sedAbCdEf": b"sed's\n", "letter.tmp": b"somebody's\n", "tmpa1b2c3d4.pdf": b"Python's\n"}
    try:
        drive.mount()
        paper = Paper(drive, platform.document())
        paper.put("kept.txt", b"kept\n")
        paper.warm()
        for name, data in files.items():
            with opened(paper.scan / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
                os.write(descriptor, data)
        (paper.scan / "kept.txt").rename(paper.scan / "kept.txt~")
        since = time.monotonic()
        assert paper.held() == [("kept.txt", b"kept\n")]
        assert names(paper.scan) == sorted([*files, "kept.txt~"])
        assert {save["state"] for save in drive.saves()} == {"local"}
        yield Planted(paper, files, since)
        assert not drive.complaints()
    finally:
        drive.end()
        platform.stop()


@pytest.fixture(scope="session", autouse=True)
def _plant_early(request: pytest.FixtureRequest) -> None:
    if any("planted" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("planted")


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    running = LocalPlatform()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared_drive(platform: LocalPlatform) -> Iterator[Drive]:
    drive = Drive(platform, {"document_ttl": _LONG, "listing_ttl": _LONG, "definition_ttl": _LONG})
    try:
        yield drive.mount()
    finally:
        drive.end()
    assert not drive.complaints()


@pytest.fixture
def drive(shared_drive: Drive) -> Iterator[Drive]:
    """The module's drive, watched: a warning in its log fails the test."""
    with shared_drive.watched(100):
        yield shared_drive
    complaints = shared_drive.complaints()
    shared_drive.expected.clear()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def desks(drive: Drive, costs: Costs) -> Iterator[Callable[[], Desk]]:
    """Makes desks: fresh documents, each with a home for programs outside the mount, and not below /tmp.

    (For files below /tmp, vim makes no backups.)
    """
    with contextlib.ExitStack() as homes:

        def make() -> Desk:
            home = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="aerofs-home-"))
            homes.callback(shutil.rmtree, home, ignore_errors=True)
            return Desk(Paper(drive, drive.platform.document()), home, costs.add)

        yield make


@pytest.fixture
def desk(desks: Callable[[], Desk]) -> Desk:
    """A fresh document."""
    return desks()
