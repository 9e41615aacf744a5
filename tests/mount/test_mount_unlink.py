"""Removing files: also those that are open, or on their way."""

import errno
import os
import time
from pathlib import Path

import pytest

from tests.mount.harness import Background, LocalPlatform, Mounting, Paper, fails_with, names, opened
from tests.mounted import eventually


@pytest.fixture
def file(paper: Paper) -> Path:
    paper.put("file", b"content")
    paper.warm()
    return paper.scan / "file"


def test_a_removed_file_is_gone_on_both_sides(paper: Paper, file: Path) -> None:
    file.unlink()
    assert paper.held() == []
    assert names(paper.scan) == []
    assert not file.exists()
    with fails_with(errno.ENOENT):
        file.unlink()


def test_an_open_file_that_is_removed_can_still_be_read(paper: Paper, file: Path) -> None:
    with opened(file, os.O_RDONLY) as reading:
        assert os.pread(reading, 3, 0) == b"con"
        file.unlink()
        assert os.fstat(reading).st_nlink == 0
        assert os.pread(reading, 100, 0) == b"content"
    assert paper.held() == []


def test_an_open_file_that_is_removed_can_still_be_written_and_is_not_uploaded(
    paper: Paper, file: Path
) -> None:
    with opened(file, os.O_RDWR) as writing:
        os.pwrite(writing, b"CON", 0)
        file.unlink()
        os.pwrite(writing, b"more", 7)
        assert os.pread(writing, 100, 0) == b"CONtentmore"
    paper.drive.settled()
    assert paper.held() == []
    assert "save" not in paper.drive.requests
    assert paper.drive.saves() == []


def test_a_new_file_that_is_removed_before_its_close_is_never_uploaded(paper: Paper) -> None:
    paper.warm()
    path = paper.scan / "temporary"
    with opened(path, os.O_RDWR | os.O_CREAT) as writing:
        os.write(writing, b"scratch")
        path.unlink()
        assert os.pread(writing, 100, 0) == b"scratch"
        os.fsync(writing)
    paper.drive.settled()
    assert paper.drive.requests == {}
    assert names(paper.scan) == []


def test_a_file_made_anew_after_a_removal_is_another(paper: Paper, file: Path) -> None:
    with opened(file, os.O_RDONLY) as reading:
        before = os.fstat(reading).st_ino
        file.unlink()
        file.write_bytes(b"new")
        assert file.stat().st_ino != before
        assert os.pread(reading, 100, 0) == b"content"
        assert file.read_bytes() == b"new"
    assert paper.held() == [("file", b"new")]


def test_a_file_that_is_removed_while_its_save_is_under_way_does_not_come_back(paper: Paper) -> None:
    path = paper.warm().scan / "file"
    with paper.drive.platform.hold("save") as save:
        writing = Background(path.write_bytes, b"unwanted")
        save.arrived()
        removing = Background(path.unlink)
        save.release()
        removing.result()
        writing.result()
    paper.drive.settled()
    assert paper.held() == []
    assert names(paper.scan) == []


def test_a_file_that_is_removed_while_its_new_version_is_under_way_is_gone_in_both(
    paper: Paper, file: Path
) -> None:
    with paper.drive.platform.hold("save", answered=True) as save:
        writing = Background(file.write_bytes, b"unwanted")
        save.arrived()
        removing = Background(file.unlink)
        save.release()
        removing.result()
        writing.result()
    paper.drive.settled()
    assert paper.held() == []
    assert names(paper.scan) == []


def test_new_files_that_wait_behind_slow_saves_are_removed_at_once(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    drive = mounting(platform, close_wait=0, upload_lane=3)
    paper = Paper(drive, platform.document()).warm()
    under_way = ["file 0", "file 1", "file 2"]
    with platform.hold("save") as save:
        for number in range(10):
            (paper.scan / f"file {number}").write_bytes(b"x")
        save.arrived(3)
        started = time.monotonic()
        for number in range(3, 10):
            (paper.scan / f"file {number}").unlink()
        assert time.monotonic() - started < 10
        assert names(paper.scan) == under_way
        save.release()
    drive.settled()
    assert sorted(name for name, _ in paper.held()) == under_way
    assert drive.requests == {"save": 3}


def test_all_files_of_a_field_are_removed_with_a_request_each(paper: Paper) -> None:
    for number in range(10):
        paper.put(f"file {number}", b"x")
    paper.warm().drive.shell("rm -r scan", cwd=paper.path, fails=True)
    assert paper.held() == []
    assert paper.drive.requests == {"delete": 10}
    assert names(paper.scan) == []


def test_files_can_be_removed_while_the_directory_is_read(paper: Paper) -> None:
    for number in range(300):
        paper.put(f"file {number:03d}", b"x")
    paper.warm()
    with os.scandir(paper.scan) as entries:
        for entry in entries:
            Path(entry.path).unlink()
    assert names(paper.scan) == []
    assert paper.held() == []


def test_a_file_that_somebody_else_removed_is_removed_without_complaint(paper: Paper, file: Path) -> None:
    (attachment,) = paper.ids()
    paper.drive.platform.remove(attachment)
    file.unlink()
    assert names(paper.scan) == []


def test_only_the_file_that_was_seen_is_removed(paper: Paper, file: Path) -> None:
    (attachment,) = paper.ids()
    paper.put("file", b"a newer one, by somebody else")
    paper.drive.platform.remove(attachment)
    file.unlink()
    assert paper.held() == [("file", b"a newer one, by somebody else")]
    eventually(lambda: names(paper.scan) == ["file"])


def test_of_two_files_of_one_name_the_right_one_goes(paper: Paper) -> None:
    paper.put("twin", b"first")
    second = paper.put("twin", b"second")
    paper.warm()
    assert names(paper.scan) == [f"twin ({second[-6:]})", "twin"] or len(names(paper.scan)) == 2
    (paper.scan / "twin").unlink()
    assert paper.held() == [("twin", b"second")]
    assert names(paper.scan) == [f"twin ({second[-6:]})"]
