"""Nothing hangs: whatever the platform does, every call ends within its bound, and `ls` stays quick."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mount.harness import (
    Background,
    Drive,
    LocalPlatform,
    Mounting,
    Paper,
    fails_with,
    may_fail_with,
    megabytes,
    names,
    opened,
)
from tests.mounted import eventually

BOUND = 10.0
"""Seconds: deadlines below, times the tries, and a slow machine."""
TEMPORARY = (errno.EIO, errno.ETIMEDOUT)


@pytest.fixture(scope="module")
def shared_drive(platform: LocalPlatform) -> Iterator[Drive]:
    """The same, with short deadlines."""
    drive = Drive(
        platform,
        {
            "connect_deadline": 1,
            "metadata_deadline": 1,
            "stall_deadline": 1,
            "rename_wait": 1,
            "close_wait": 5,
        },
    )
    try:
        yield drive.mount()
    finally:
        drive.end()


@pytest.fixture(autouse=True)
def _back_to_normal(drive: Drive) -> Iterator[None]:
    yield
    drive.platform.behave()
    # The breaker closes by a probe.
    eventually(lambda: drive.status()["reachable"], seconds=15)
    drive.settled()


def ends_in_time(function: Callable[[], object]) -> None:
    started = time.monotonic()
    with fails_with(*TEMPORARY):
        function()
    assert time.monotonic() - started < BOUND


def test_a_stalled_list_or_download_ends_a_read(paper: Paper) -> None:
    paper.put("file", megabytes(2))
    paper.warm()
    paper.drive.platform.fault("download", "stall", count=None)
    ends_in_time((paper.scan / "file").read_bytes)
    paper.drive.platform.behave()
    eventually(lambda: _read(paper.scan / "file") == megabytes(2))


def test_a_truncate_that_is_kept_is_seen_though_the_platform_did_not_take_it(paper: Paper) -> None:
    paper.put("file", b"0123456789")
    assert (paper.warm().scan / "file").stat().st_size == 10
    paper.drive.platform.fault("save", "drop_answer")
    with fails_with(errno.EIO):
        os.truncate(paper.scan / "file", 4)
    assert (paper.scan / "file").stat().st_size == 4
    assert (paper.scan / "file").read_bytes() == b"0123"
    paper.drive.settled()
    assert paper.held() == [("file", b"0123")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_download_that_stalls_again_and_again_goes_on_from_where_it_was(paper: Paper) -> None:
    paper.put("file", megabytes(2))
    paper.warm()
    paper.drive.platform.fault("download", "stall", count=2, at=600_000)
    assert (paper.scan / "file").read_bytes() == megabytes(2)
    assert paper.drive.platform.content_bytes[1] < 3 * 1024 * 1024


def test_a_save_that_stalls_is_an_error_and_arrives_later_once(paper: Paper) -> None:
    paper.warm()
    paper.drive.platform.fault("save", "stall")
    ends_in_time(lambda: (paper.scan / "file").write_bytes(megabytes(2)))
    assert (paper.scan / "file").read_bytes() == megabytes(2)
    paper.drive.settled()
    assert paper.held() == [("file", megabytes(2))]


def test_a_save_that_is_cut_in_the_middle_arrives_later_once(paper: Paper) -> None:
    paper.warm()
    paper.drive.platform.fault("save", "cut", at=500_000, side="request")
    ends_in_time(lambda: (paper.scan / "file").write_bytes(megabytes(2)))
    paper.drive.settled()
    assert paper.held() == [("file", megabytes(2))]


@pytest.mark.parametrize("action", ["drop_answer", "half", "html", "status"])
def test_a_save_whose_answer_is_no_answer_arrives_once(paper: Paper, action: str) -> None:
    paper.put("file", b"old")
    paper.warm()
    paper.drive.platform.fault("save", action)
    with may_fail_with(*TEMPORARY):
        (paper.scan / "file").write_bytes(b"new")
    paper.drive.settled()
    assert paper.held() == [("file", b"new")]
    assert (paper.scan / "file").read_bytes() == b"new"
    assert names(paper.scan) == ["file"]


def test_a_move_that_stalls_returns_in_time_and_is_done_later(paper: Paper) -> None:
    other = Paper(paper.drive, paper.drive.platform.document())
    paper.put("file", b"content")
    paper.warm(other)
    paper.drive.platform.fault("copy", "stall")
    started = time.monotonic()
    (paper.scan / "file").rename(other.scan / "file")
    assert time.monotonic() - started < BOUND
    assert (names(paper.scan), names(other.scan)) == ([], ["file"])
    paper.drive.settled()
    assert (paper.held(), other.held()) == ([], [("file", b"content")])


def test_a_delete_that_stalls_in_a_move_is_done_later(paper: Paper) -> None:
    paper.put("file", b"content")
    paper.warm()
    paper.drive.platform.fault("delete", "stall")
    started = time.monotonic()
    (paper.scan / "file").rename(paper.scan / "renamed")
    assert time.monotonic() - started < BOUND
    paper.drive.settled()
    assert paper.held() == [("renamed", b"content")]
    assert names(paper.scan) == ["renamed"]


def test_a_removal_that_stalls_is_an_error_and_can_be_repeated(paper: Paper) -> None:
    paper.put("file", b"content")
    paper.warm()
    paper.drive.platform.fault("delete", "stall", count=None)
    ends_in_time((paper.scan / "file").unlink)
    assert names(paper.scan) == ["file"]
    paper.drive.platform.behave()
    eventually(lambda: paper.drive.status()["reachable"], seconds=15)
    (paper.scan / "file").unlink()
    assert paper.held() == []


def test_an_unknown_directory_that_stalls_ends_and_known_ones_go_on(paper: Paper) -> None:
    paper.put("file", b"content")
    paper.warm()
    unknown = paper.drive.path / "invoice"
    for kind in ("documents", "document"):
        paper.drive.platform.fault(kind, "stall", count=None)
    ends_in_time(lambda: names(unknown))
    assert names(paper.scan) == ["file"]
    ends_in_time((unknown / paper.drive.platform.document("invoice") / "scan").stat)


def test_a_list_stays_quick_while_everything_else_is_slow(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    drive = mounting(platform)  # with the usual deadlines: 30 s for what is held
    paper, other = Paper(drive, platform.document()), Paper(drive, platform.document())
    paper.put("slow", megabytes(1))
    paper.warm(other)
    with platform.hold("save") as save, platform.hold("download") as download:
        under_way = [
            Background((paper.scan / "slow").read_bytes),
            Background((paper.scan / "new").write_bytes, b"x"),
        ]
        save.arrived()
        download.arrived()
        started = time.monotonic()
        paper.drive.shell("ls -l; ls -lR ..; stat slow new; cat new", cwd=paper.scan)
        (other.scan / ".~lock.x#").write_bytes(b"x")
        assert time.monotonic() - started < 8
        save.release()
        download.release()
    for each in under_way:
        each.result()
    drive.settled()


def test_the_breaker_fails_fast_and_known_things_are_still_served(paper: Paper) -> None:
    paper.put("known", b"known")
    paper.put("unknown", b"unknown")
    paper.warm()
    assert (paper.scan / "known").read_bytes() == b"known"
    for kind in ("list", "download", "save", "delete", "document", "documents", "definitions"):
        paper.drive.platform.fault(kind, "stall", count=None)
    ends_in_time((paper.scan / "unknown").unlink)
    eventually(lambda: not paper.drive.status()["reachable"], seconds=BOUND)
    started = time.monotonic()
    assert (paper.scan / "known").read_bytes() == b"known"
    assert names(paper.scan) == ["known", "unknown"]
    with fails_with(*TEMPORARY):
        (paper.scan / "unknown").unlink()
    with fails_with(*TEMPORARY):
        (paper.scan / "new").write_bytes(b"kept")
    assert time.monotonic() - started < 2  # two that waited would take a second each
    assert (paper.scan / "new").read_bytes() == b"kept"
    paper.drive.platform.behave()
    eventually(lambda: ("new", b"kept") in paper.held(), seconds=20)
    paper.drive.settled()
    assert len(paper.held()) == 3


def test_an_open_handle_survives_a_time_of_trouble(paper: Paper) -> None:
    paper.put("file", megabytes(2))
    paper.warm()
    with opened(paper.scan / "file", os.O_RDONLY) as reading:
        paper.drive.platform.fault("download", "status", status=503, count=None)
        with fails_with(*TEMPORARY):
            os.pread(reading, 100, 1_500_000)
        paper.drive.platform.behave()
        eventually(lambda: paper.drive.status()["reachable"], seconds=15)
        assert os.pread(reading, 100, 1_500_000) == megabytes(2)[1_500_000:1_500_100]


def test_a_page_in_the_place_of_a_file_is_an_error_and_no_rename_brings_it_up(paper: Paper) -> None:
    content = b"content" * 100
    paper.put("file", content)
    paper.warm()
    paper.drive.platform.fault("download", "html", count=None)
    with fails_with(*TEMPORARY):
        (paper.scan / "file").read_bytes()
    (paper.scan / "file").rename(paper.scan / "renamed")
    assert paper.held() == [("file", content)]
    paper.drive.platform.behave()
    paper.drive.settled()
    assert paper.held() == [("renamed", content)]
    assert (paper.scan / "renamed").read_bytes() == content


def test_half_a_file_as_the_whole_spoils_no_edit_in_place(paper: Paper) -> None:
    content = b"content" * 1000
    paper.put("file", content)
    paper.warm()
    paper.drive.platform.fault("download", "shorten")
    with opened(paper.scan / "file", os.O_RDWR) as editing:
        os.pwrite(editing, b"C", 0)
    paper.drive.settled()
    assert paper.held() == [("file", b"C" + content[1:])]


def test_a_file_that_is_not_found_and_still_listed_is_not_said_to_be_removed(paper: Paper) -> None:
    paper.put("file", b"content")
    paper.warm()
    paper.drive.platform.fault("delete", "status", status=404)
    ends_in_time((paper.scan / "file").unlink)
    assert names(paper.scan) == ["file"]
    (paper.scan / "file").unlink()
    assert paper.held() == []
