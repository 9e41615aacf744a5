"""Renaming and moving: what the platform is asked for, and what everyone sees."""

import errno
import os
import time
from pathlib import Path

import pytest

from tests.mount.harness import (
    Background,
    LocalPlatform,
    Mounting,
    Paper,
    fails_with,
    megabytes,
    names,
    opened,
)


@pytest.fixture
def file(paper: Paper, other: Paper) -> Path:
    paper.put("file", b"content")
    paper.warm(other)
    return paper.scan / "file"


@pytest.fixture
def other(paper: Paper) -> Paper:
    return Paper(paper.drive, paper.drive.platform.document())


def test_a_file_gets_another_name_within_its_field(paper: Paper, file: Path) -> None:
    number = file.stat().st_ino
    file.rename(paper.scan / "renamed.txt")
    assert names(paper.scan) == ["renamed.txt"]
    assert paper.held() == [("renamed.txt", b"content")]
    assert (paper.scan / "renamed.txt").read_bytes() == b"content"
    assert (paper.scan / "renamed.txt").stat().st_ino == number
    assert not file.exists()
    assert paper.drive.requests == {"list": 1, "download": 1, "save": 1, "delete": 1}


def test_the_bytes_of_a_renamed_file_are_not_downloaded_twice(paper: Paper, file: Path) -> None:
    file.read_bytes()
    paper.drive.platform.reset()
    file.rename(paper.scan / "renamed.txt")
    assert (paper.scan / "renamed.txt").read_bytes() == b"content"
    assert paper.drive.requests == {"save": 1, "delete": 1}


@pytest.mark.parametrize("field", ["papers.letters", "rows.r1.photo", "single", "few"])
def test_a_file_moves_to_another_field_by_a_copy_on_the_platform(
    paper: Paper, file: Path, field: str
) -> None:
    file.rename(paper.path / field / "file")
    assert (paper.held(), paper.held(field)) == ([], [("file", b"content")])
    assert (names(paper.scan), names(paper.path / field)) == ([], ["file"])
    assert paper.drive.requests == {"copy": 1, "delete": 1}
    assert (paper.path / field / "file").read_bytes() == b"content"


def test_a_file_moves_to_another_document_and_definition(paper: Paper, file: Path, other: Paper) -> None:
    invoice = Paper(paper.drive, paper.drive.platform.document("invoice"), "invoice")
    paper.warm(other, invoice)
    file.rename(other.scan / "file")
    (other.scan / "file").rename(invoice.scan / "file")
    assert (paper.held(), other.held(), invoice.held()) == ([], [], [("file", b"content")])
    assert paper.drive.requests == {"copy": 2, "delete": 2}
    assert paper.drive.platform.content_bytes[1] == 0


def test_a_file_moves_under_another_name(paper: Paper, file: Path, other: Paper) -> None:
    file.rename(other.scan / "renamed")
    assert (paper.held(), other.held()) == ([], [("renamed", b"content")])
    assert "copy" not in paper.drive.requests
    assert (other.scan / "renamed").read_bytes() == b"content"


def test_a_file_goes_over_another_one(paper: Paper, file: Path) -> None:
    paper.put("target", b"old")
    paper.warm()
    number = file.stat().st_ino
    file.rename(paper.scan / "target")
    assert paper.held() == [("target", b"content")]
    assert names(paper.scan) == ["target"]
    assert (paper.scan / "target").read_bytes() == b"content"
    assert (paper.scan / "target").stat().st_ino == number


def test_a_file_goes_over_one_of_the_same_name_elsewhere(paper: Paper, file: Path, other: Paper) -> None:
    other.put("file", b"old")
    paper.warm(other)
    file.rename(other.scan / "file")
    assert (paper.held(), other.held()) == ([], [("file", b"content")])
    assert names(other.scan) == ["file"]
    assert (other.scan / "file").read_bytes() == b"content"
    assert paper.drive.requests == {"copy": 1, "delete": 2, "list": 1, "download": 1}


def test_a_reader_of_the_file_that_is_gone_over_keeps_it(paper: Paper, file: Path) -> None:
    paper.put("target", b"old")
    paper.warm()
    with opened(paper.scan / "target", os.O_RDONLY) as reading:
        file.rename(paper.scan / "target")
        assert os.pread(reading, 100, 0) == b"old"
        assert (paper.scan / "target").read_bytes() == b"content"


def test_a_file_that_goes_over_the_only_one_of_its_field_replaces_it(paper: Paper, file: Path) -> None:
    paper.put("only", b"old", "single")
    paper.warm()
    file.rename(paper.path / "single" / "only")
    paper.drive.settled()
    assert (paper.held(), paper.held("single")) == ([], [("only", b"content")])


def test_a_file_is_renamed_and_renamed_back_at_once(paper: Paper, file: Path) -> None:
    renamed = paper.scan / "renamed"
    for _ in range(3):
        file.rename(renamed)
        renamed.rename(file)
    assert names(paper.scan) == ["file"]
    paper.drive.settled()
    assert paper.held() == [("file", b"content")]
    assert file.read_bytes() == b"content"


def test_a_file_is_renamed_back_while_the_first_rename_is_under_way(paper: Paper, file: Path) -> None:
    with paper.drive.platform.hold("save") as save:
        there = Background(file.rename, paper.scan / "renamed")
        save.arrived()
        back = Background(paper.drive.shell, 'mv "$1/renamed" "$1/file"', paper.scan)
        save.release()
        there.result()
        back.result()
    paper.drive.settled()
    assert names(paper.scan) == ["file"]
    assert paper.held() == [("file", b"content")]


def test_two_files_trade_their_names_by_a_third(paper: Paper, file: Path) -> None:
    paper.put("other", b"other")
    paper.warm().drive.shell("mv file third; mv other file; mv third other", cwd=paper.scan)
    paper.drive.settled()
    assert sorted(paper.held()) == [("file", b"other"), ("other", b"content")]
    assert file.read_bytes() == b"other"


def test_a_file_that_is_being_written_arrives_under_its_new_name(paper: Paper) -> None:
    paper.warm()
    with opened(paper.scan / "first", os.O_RDWR | os.O_CREAT) as writing:
        os.write(writing, b"begun")
        (paper.scan / "first").rename(paper.scan / "second")
        os.write(writing, b", ended")
        assert names(paper.scan) == ["second"]
    assert paper.held() == [("second", b"begun, ended")]
    assert paper.drive.requests == {"save": 1}


def test_an_old_file_that_is_being_written_arrives_under_its_new_name(paper: Paper, file: Path) -> None:
    with opened(file, os.O_RDWR) as writing:
        os.pwrite(writing, b"CON", 0)
        file.rename(paper.scan / "second")
        os.pwrite(writing, b"T", 3)
    paper.drive.settled()
    assert paper.held() == [("second", b"CONTent")]
    assert names(paper.scan) == ["second"]


def test_a_save_under_way_is_renamed_when_it_has_arrived(paper: Paper) -> None:
    paper.warm()
    with paper.drive.platform.hold("save") as save:
        writing = Background((paper.scan / "first").write_bytes, b"content")
        save.arrived()
        moving = Background((paper.scan / "first").rename, paper.scan / "second")
        save.release()
        writing.result()
        moving.result()
    paper.drive.settled()
    assert paper.held() == [("second", b"content")]
    assert names(paper.scan) == ["second"]


def test_a_queued_save_is_sent_under_its_new_name(paper: Paper) -> None:
    paper.warm()
    paper.drive.platform.fault("save", "status", status=503)
    with fails_with(errno.EIO):
        (paper.scan / "first").write_bytes(b"content")
    (paper.scan / "first").rename(paper.scan / "second")
    assert (paper.scan / "second").read_bytes() == b"content"
    paper.drive.settled()
    assert paper.held() == [("second", b"content")]


def test_saving_by_a_temporary_file_is_one_upload_and_one_delete(paper: Paper, file: Path) -> None:
    paper.drive.shell("printf new > .goutputstream-ABC123; mv .goutputstream-ABC123 file", cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("file", b"new")]
    assert paper.drive.requests == {"save": 1, "delete": 1}
    assert file.read_bytes() == b"new"
    assert names(paper.scan) == ["file"]


@pytest.mark.usefixtures("file")
def test_saving_with_a_backup_is_one_upload_and_one_delete(paper: Paper) -> None:
    paper.drive.shell("mv file file~; printf new > file; sync file", cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("file", b"new")]
    assert paper.drive.requests["save"] == paper.drive.requests["delete"] == 1
    assert names(paper.scan) == ["file", "file~"]
    assert (paper.scan / "file~").read_bytes() == b"content"


def test_a_backup_that_is_renamed_back_changes_nothing(paper: Paper, file: Path) -> None:
    backup = paper.scan / "file~"
    file.rename(backup)
    assert names(paper.scan) == ["file~"]
    assert backup.read_bytes() == b"content"
    assert paper.held() == [("file", b"content")]
    backup.rename(file)
    assert names(paper.scan) == ["file"]
    paper.drive.settled()
    assert paper.held() == [("file", b"content")]
    assert "save" not in paper.drive.requests
    assert "delete" not in paper.drive.requests


def test_a_backup_that_is_removed_takes_the_file_with_it(paper: Paper, file: Path) -> None:
    file.rename(paper.scan / "file~")
    (paper.scan / "file~").unlink()
    assert names(paper.scan) == []
    paper.drive.settled()
    assert paper.held() == []


def test_local_names_stay_here_and_are_there_after_a_remount(paper: Paper) -> None:
    paper.warm()
    local = [
        ".~lock.report.odt#",
        ".report.txt.swp",
        "report.odt~",
        "4913",
        "part.crdownload",
        "._report",
        "a-wal",
    ]
    for name in local:
        (paper.scan / name).write_bytes(name.encode())
    assert names(paper.scan) == sorted(local)
    paper.drive.settled()
    assert (paper.held(), paper.drive.requests) == ([], {})
    paper.drive.remount()
    assert names(paper.scan) == sorted(local)
    for name in local:
        assert (paper.scan / name).read_bytes() == name.encode()
        (paper.scan / name).unlink()
    assert names(paper.scan) == []
    assert paper.held() == []


def test_a_large_file_moves_without_a_byte(paper: Paper, other: Paper) -> None:
    paper.put("large", megabytes(10))
    paper.warm(other).drive.shell('mv large "$1"', other.scan, cwd=paper.scan)
    assert paper.drive.platform.content_bytes[1] == 0
    assert paper.drive.requests == {"copy": 1, "delete": 1}
    assert other.held() == [("large", megabytes(10))]


def test_a_refused_move_leaves_everything_as_it_was(paper: Paper, file: Path, other: Paper) -> None:
    other.put("file", b"target")
    paper.warm(other)
    paper.drive.platform.fault("copy", "status", status=403)
    with fails_with(errno.EACCES):
        file.rename(other.scan / "file")
    assert (names(paper.scan), names(other.scan)) == (["file"], ["file"])
    assert (file.read_bytes(), (other.scan / "file").read_bytes()) == (b"content", b"target")
    assert (paper.held(), other.held()) == ([("file", b"content")], [("file", b"target")])
    assert paper.drive.saves("queued", "held") == []
    file.rename(other.scan / "file")
    assert (paper.held(), other.held()) == ([], [("file", b"content")])


def test_a_move_whose_answer_was_lost_is_done_once(paper: Paper, file: Path, other: Paper) -> None:
    paper.drive.platform.fault("copy", "drop_answer")
    file.rename(other.scan / "file")
    assert names(other.scan) == ["file"]
    paper.drive.settled()
    assert (paper.held(), other.held()) == ([], [("file", b"content")])


def test_a_rename_behind_a_slow_save_waits_no_longer_than_its_bound(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    drive = mounting(platform, close_wait=0, rename_wait=1)
    paper = Paper(drive, platform.document())
    paper.put("old", b"old")
    paper.warm()
    with platform.hold("save") as save:
        (paper.scan / "slow").write_bytes(b"slow")
        save.arrived()
        (paper.scan / "queued").write_bytes(b"queued")
        started = time.monotonic()
        (paper.scan / "queued").rename(paper.scan / "renamed")
        (paper.scan / "old").rename(paper.scan / "older")
        assert time.monotonic() - started < 4
        assert names(paper.scan) == ["older", "renamed", "slow"]
        assert (paper.scan / "renamed").read_bytes() == b"queued"
        save.release()
    drive.settled()
    assert sorted(paper.held()) == [("older", b"old"), ("renamed", b"queued"), ("slow", b"slow")]
