"""The platform, or the mount, dies in the middle of a read, a save, a rename.

While the platform is away every call ends within its bound, cached names are shown, and what was changed is kept; when
it is back everything arrives by itself, once. A mount that died takes up its journal when it is mounted again.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.errand import made_up, md5
from tests.faults.moments import CHANGES, PAPERS, PHOTOS, READ, SEEDED, SMALL, UNREAD, Moment, seed
from tests.faults.rig import BOUND, PATIENCE, Drive, Server, running
from tests.mounted import eventually

if TYPE_CHECKING:
    import subprocess

DOWN = 10.0
"""The longest that a call may take while the platform is away: the deadlines of `PATIENCE`, and a rename's wait."""
BACK = 40.0
"""The longest that a save may take to arrive by itself: the pauses between tries have grown meanwhile."""
UNREACHABLE = {"EIO", "ETIMEDOUT"}
DEAD = {"ENOTCONN", "ECONNABORTED", "EIO"}
Place = tuple[Server, Drive]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    seed(tmp_path / "data")
    server = Server(tmp_path / "data")
    # Cached things are stale after a second, and are shown all the same.
    drive = Drive(server, tmp_path, AEROFS_DOCUMENT_TTL="1", AEROFS_LISTING_TTL="1", **PATIENCE)
    with running(server, drive):
        drive.act("list", PHOTOS)
        drive.act("list", PAPERS)
        yield server, drive


def in_the_middle(place: Place, moment: Moment) -> "subprocess.Popen[str]":
    """Begin the act, and come back when its request has stopped."""
    server, drive = place
    if moment.act[0] == "rename":
        drive.act("read", moment.act[1])
    server.order(moment.stops, "stall", **moment.where)
    act = drive.begin(*moment.act)
    eventually(lambda: server.under_way(moment.stops), seconds=BOUND)
    eventually(lambda: server.standing("order") == moment.standing, seconds=BOUND)
    if moment is READ:
        eventually(lambda: server.stats()["bytesOut"].get("store", 0) >= moment.where["at"], seconds=BOUND)
    return act


def assert_the_platform_holds(server: Server, drive: Drive, expected: dict[str, str]) -> None:
    """The mount and the platform agree on exactly these files."""
    eventually(lambda: drive.ask("status")["reachable"], seconds=BACK)
    shown = drive.tree()
    drive.umount()
    server.close()
    stored = server.stored()
    assert {file.path: file.md5 for file in stored} == expected
    assert len(stored) == len(expected), "something stands twice"
    assert shown == expected
    assert list((drive.state / "drafts").iterdir()) == []
    assert [line for line in drive.complaints() if " WARNING " not in line] == []


def test_a_read_ends_in_an_error_when_the_server_dies_and_works_when_it_is_back(place: Place) -> None:
    server, drive = place
    act = in_the_middle(place, READ)
    server.kill()
    told = drive.told(act, bound=DOWN)
    assert (told["error"], told["at"]) in {(error, "read") for error in UNREACHABLE}
    assert sorted(drive.act("list", PHOTOS, bound=DOWN)["names"]) == [
        "large.bin",
        "old.bin",
        "other.bin",
        "unread.bin",
    ]
    server.start()
    eventually(
        lambda: drive.act(*READ.act, bound=DOWN).get("md5") == SEEDED[f"{PHOTOS}/large.bin"], seconds=BACK
    )
    assert_the_platform_holds(server, drive, dict(SEEDED))


@pytest.mark.parametrize("moment", CHANGES, ids=lambda moment: moment.name)
def test_a_change_survives_the_death_of_the_server(place: Place, moment: Moment) -> None:
    server, drive = place
    act = in_the_middle(place, moment)
    server.kill()
    told = drive.told(act, bound=DOWN)
    assert told.get("error") in (UNREACHABLE | ({None} if moment.accepted else set()))
    assert_what_works_while_it_is_away(drive, moment)
    server.start()
    drive.drained(bound=BACK)
    late = {f"{PAPERS}/late.bin": md5(made_up(SMALL, "late"))}
    assert_the_platform_holds(server, drive, moment.expected() | late)


def assert_what_works_while_it_is_away(drive: Drive, moment: Moment) -> None:
    names = {*drive.act("list", PHOTOS, bound=DOWN)["names"], *drive.act("list", PAPERS, bound=DOWN)["names"]}
    assert names == {Path(path).name for path in moment.expected()}
    for path, digest in moment.adds.items():
        assert drive.act("read", path, bound=DOWN)["md5"] == digest, "what was changed is not shown"
    assert drive.act("read", UNREAD, bound=DOWN)["error"] in UNREACHABLE
    told = drive.act("write", f"{PAPERS}/late.bin", str(SMALL), "late", bound=DOWN)
    assert (told["error"], told["at"]) == ("EIO", "close")
    assert drive.act("read", f"{PAPERS}/late.bin", bound=DOWN)["md5"] == md5(made_up(SMALL, "late"))
    started = time.monotonic()
    assert {save["state"] for save in drive.saves()} <= {"queued", "uploading"}
    assert time.monotonic() - started < min(map(float, PATIENCE.values()))


@pytest.mark.parametrize("moment", CHANGES, ids=lambda moment: moment.name)
def test_a_change_survives_the_death_of_the_mount(place: Place, moment: Moment) -> None:
    server, drive = place
    act = in_the_middle(place, moment)
    drive.crash()
    assert drive.told(act, bound=DOWN).get("error") in DEAD
    assert drive.act("list", PHOTOS, bound=DOWN)["error"] == "ENOTCONN"
    server.heal()
    drive.mount()
    assert {*drive.act("list", PHOTOS)["names"], *drive.act("list", PAPERS)["names"]} == {
        Path(path).name for path in moment.expected()
    }
    drive.drained(bound=BACK)
    assert_the_platform_holds(server, drive, moment.expected())


def test_a_read_ends_when_the_mount_dies_and_works_in_the_next_mount(place: Place) -> None:
    server, drive = place
    act = in_the_middle(place, READ)
    drive.crash()
    assert drive.told(act, bound=DOWN)["error"] in DEAD
    server.heal()
    drive.mount()
    assert drive.act(*READ.act)["md5"] == SEEDED[f"{PHOTOS}/large.bin"]
    assert_the_platform_holds(server, drive, dict(SEEDED))
