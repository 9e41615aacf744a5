"""What stat, statfs and the extended attributes tell, and what of it lasts."""

import errno
import os
from pathlib import Path

import pytest

from tests.mount.harness import LocalPlatform, Mounting, Paper, fails_with, names, needs_root, opened

HOUR = 3_600_000_000_000


@pytest.fixture
def file(paper: Paper) -> Path:
    paper.put("file.txt", b"content")
    paper.warm()
    return paper.scan / "file.txt"


def test_mode_and_times_are_remembered_and_kept_over_a_save_and_a_remount(paper: Paper, file: Path) -> None:
    file.write_bytes(b"changed here")
    file.chmod(0o640)
    os.utime(file, ns=(HOUR, HOUR))
    assert (file.stat().st_mode & 0o777, file.stat().st_mtime_ns) == (0o640, HOUR)
    with file.open("ab") as appending:
        appending.write(b"!")
    assert file.stat().st_mode & 0o777 == 0o640
    os.utime(file, ns=(2 * HOUR, 2 * HOUR))
    number = file.stat().st_ino
    paper.drive.settled()
    paper.drive.remount()
    assert (file.stat().st_mode & 0o777, file.stat().st_mtime_ns) == (0o640, 2 * HOUR)
    assert file.stat().st_ino == number
    assert file.read_bytes() == b"changed here!"


def test_the_time_of_a_file_stays_after_its_save(paper: Paper, file: Path) -> None:
    with opened(file, os.O_RDWR) as writing:
        os.write(writing, b"new")
        before = os.fstat(writing).st_mtime_ns
    assert file.stat().st_mtime_ns == before
    paper.drive.settled()
    paper.drive.ask("refresh")
    assert file.stat().st_mtime_ns == before
    paper.put("sibling", b"by somebody else")
    paper.warm()
    assert file.stat().st_mtime_ns == before


def test_touch_with_a_date_is_kept(paper: Paper, file: Path) -> None:
    paper.drive.shell("touch -d '2020-02-02 02:02:02 UTC' file.txt", cwd=paper.scan)
    assert file.stat().st_mtime == 1580608922
    assert paper.drive.requests == {}


def test_a_date_that_cannot_be_kept_becomes_the_nearest_that_can_and_harms_no_file(paper: Paper) -> None:
    paper.warm().drive.shell("echo a > far; touch -d 9999-12-31 far; echo b > near", cwd=paper.scan)
    os.utime(paper.scan / "near", ns=(HOUR, HOUR))
    assert (paper.scan / "far").stat().st_mtime_ns == 2**63 - 1
    paper.drive.settled()
    paper.drive.remount()
    told = [(paper.scan / name).stat().st_mtime_ns for name in ("far", "near")]
    assert told == [2**63 - 1, HOUR]


def test_a_copy_with_its_attributes_keeps_them(paper: Paper, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    source.chmod(0o604)
    os.utime(source, ns=(HOUR, HOUR))
    paper.warm().drive.shell('cp -p "$1" copy', source, cwd=paper.scan)
    copied = (paper.scan / "copy").stat()
    assert (copied.st_mode & 0o777, copied.st_mtime_ns) == (0o604, HOUR)
    assert paper.drive.requests == {"save": 1}
    paper.drive.ask("refresh")
    assert (paper.scan / "copy").stat().st_mtime_ns == HOUR


def test_owner_and_times_of_directories_can_be_set_for_the_life_of_the_mount(paper: Paper) -> None:
    os.utime(paper.scan, ns=(HOUR, HOUR))
    paper.scan.chmod(0o750)
    os.chown(paper.scan, os.getuid(), os.getgid())
    assert (paper.scan.stat().st_mtime_ns, paper.scan.stat().st_mode & 0o777) == (HOUR, 0o750)


@needs_root
def test_the_owner_of_a_file_can_be_set(file: Path) -> None:
    os.chown(file, 1234, 5678)
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 5678)


def test_size_blocks_and_links(paper: Paper, file: Path) -> None:
    status = file.stat()
    assert (status.st_size, status.st_blocks, status.st_nlink) == (7, 1, 1)
    assert paper.scan.stat().st_nlink >= 1
    paper.put("large", bytes(10_000))
    paper.warm()
    assert (paper.scan / "large").stat().st_blocks == 20
    assert paper.drive.shell("du -b --apparent-size large", cwd=paper.scan).split()[0] == "10000"


def test_the_free_room_is_that_of_the_disk_that_spools(paper: Paper) -> None:
    space = os.statvfs(paper.scan)
    disk = os.statvfs(paper.drive.directory)
    assert space.f_namemax == 255
    assert space.f_blocks * space.f_frsize == disk.f_blocks * disk.f_frsize
    assert abs(space.f_bavail * space.f_frsize - disk.f_bavail * disk.f_frsize) < 1 << 30
    assert space.f_files > 0
    assert "aerofs" in paper.drive.shell("df -PT .", cwd=paper.scan)


def test_extended_attributes_tell_where_a_file_is_on_the_platform(paper: Paper, file: Path) -> None:
    (identity,) = paper.ids()
    assert os.getxattr(file, "user.aero.id") == identity.encode()
    assert os.getxattr(file, "user.aero.title") == b"file.txt"
    assert {"user.aero.id", "user.aero.title"} <= set(os.listxattr(file))
    for name in ("user.other", "user.aero.nothing", "security.capability", "system.posix_acl_access"):
        with fails_with(errno.ENODATA, errno.EOPNOTSUPP):
            os.getxattr(file, name)
    with fails_with(errno.EOPNOTSUPP):
        os.setxattr(file, "user.comment", b"x")
    assert os.listxattr(paper.scan) == []
    assert paper.drive.requests == {}


def test_a_new_file_has_the_attributes_of_its_creator(paper: Paper) -> None:
    paper.warm()
    with opened(paper.scan / "private", os.O_WRONLY | os.O_CREAT, 0o600) as writing:
        os.write(writing, b"x")
    assert (paper.scan / "private").stat().st_mode & 0o777 == 0o600
    assert (paper.scan / "private").stat().st_uid == os.getuid()


@needs_root
def test_owner_and_modes_of_all_can_be_chosen(platform: LocalPlatform, mounting: Mounting) -> None:
    document = platform.document()
    platform.put("order", document, "scan", "file", b"x")
    drive = mounting(platform, uid=1000, gid=1001, umask="027")
    file = drive.path / "order" / document / "scan" / "file"
    assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (1000, 1001, 0o640)
    assert file.parent.stat().st_mode & 0o777 == 0o750


def test_the_time_of_an_old_file_is_that_of_its_document_when_it_was_first_seen(
    paper: Paper, file: Path
) -> None:
    before = file.stat().st_mtime_ns
    assert abs(before - file.parent.stat().st_mtime_ns) < HOUR
    paper.put("sibling", b"x")
    paper.warm()
    assert names(paper.scan) == ["file.txt", "sibling"]
    assert file.stat().st_mtime_ns == before
