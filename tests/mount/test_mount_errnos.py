"""What is refused is refused at once, and with the errno that tools understand."""

import ctypes
import errno
import os
import stat
from pathlib import Path

import pytest

from aerofs.sandbox import Access
from tests.mount.harness import LocalPlatform, Mounting, Paper, fails_with, names, opened
from tests.mounted import eventually

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
_AT_FDCWD = -100


def renameat2(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


@pytest.fixture
def file(paper: Paper) -> Path:
    paper.put("file", b"content")
    paper.put("other", b"other")
    paper.warm()
    return paper.scan / "file"


def test_directories_are_neither_made_nor_removed_nor_renamed(paper: Paper) -> None:
    drive = paper.drive
    for place in (drive.path, drive.path / "order", paper.path, paper.scan):
        with fails_with(errno.EPERM):
            (place / "folder").mkdir()
    for place in (drive.path / "invoice", paper.path, paper.scan):
        with fails_with(errno.EPERM):
            place.rmdir()
        with fails_with(errno.EPERM):
            place.rename(place.parent / "renamed")
    with fails_with(errno.ENOENT):
        (paper.scan / "nothing").rmdir()


def test_links_and_special_files_are_not_made(paper: Paper, file: Path) -> None:
    with fails_with(errno.EPERM):
        (paper.scan / "symbolic").symlink_to(file)
    with fails_with(errno.EPERM):
        (paper.scan / "hard").hardlink_to(file)
    with fails_with(errno.EPERM):
        os.mkfifo(paper.scan / "pipe")
    with fails_with(errno.EPERM):
        os.mknod(paper.scan / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert names(paper.scan) == ["file", "other"]


def test_the_flags_of_rename(paper: Paper, file: Path) -> None:
    other = paper.scan / "other"
    with fails_with(errno.EINVAL):
        renameat2(file, other, EXCHANGE)
    with fails_with(errno.EINVAL):
        renameat2(file, paper.scan / "new", WHITEOUT)
    with fails_with(errno.EEXIST):
        renameat2(file, other, NOREPLACE)
    renameat2(file, paper.scan / "new", NOREPLACE)
    assert sorted(paper.held()) == [("new", b"content"), ("other", b"other")]


def test_a_bin_of_deleted_files_is_not_kept(paper: Paper, file: Path) -> None:
    for place in (paper.drive.path, paper.scan):
        with fails_with(errno.EPERM):
            (place / ".Trash-0").mkdir()
    with fails_with(errno.EPERM):
        (paper.scan / ".Trash-0").write_bytes(b"x")
    with fails_with(errno.EPERM):
        file.rename(paper.scan / ".Trash-1000")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"n" * 256, errno.ENAMETOOLONG),
        ("ü".encode() * 128, errno.ENAMETOOLONG),
        (b"caf\xe9", errno.EILSEQ),
        (b'say "hello"', errno.EINVAL),
        (b"two\nlines", errno.EINVAL),
        (b"return\r", errno.EINVAL),
        (b"bell\a", errno.EINVAL),
    ],
)
def test_names_that_cannot_be_sent_are_refused_when_a_file_is_created_or_renamed(
    paper: Paper, file: Path, name: bytes, number: int
) -> None:
    target = paper.scan / os.fsdecode(name)
    with fails_with(number), opened(target, os.O_CREAT | os.O_WRONLY):
        pass
    with fails_with(number):
        file.rename(target)
    assert not paper.drive.requests.get("save")
    assert names(paper.scan) == ["file", "other"]


def test_looking_for_a_name_that_cannot_be_sent_is_no_mistake(paper: Paper) -> None:
    for name in (b"caf\xe9", b'say "hello"', b"two\nlines"):
        assert not os.path.lexists(os.fsencode(paper.scan) + b"/" + name)
    with fails_with(errno.ENAMETOOLONG):
        (paper.scan / ("n" * 256)).stat()


def test_there_are_no_files_above_the_fields(paper: Paper, file: Path) -> None:
    drive = paper.drive
    for place in (drive.path, drive.path / "order", paper.path):
        with fails_with(errno.EPERM):
            (place / "file.txt").write_bytes(b"x")
        with fails_with(errno.EPERM):
            file.rename(place / "file.txt")


def test_a_full_field_takes_no_new_file(paper: Paper) -> None:
    file = paper.scan / "file"
    paper.put("file", b"content")
    paper.put("the only one", b"x", "single")
    for number in range(3):
        paper.put(f"file {number}", b"x", "few")
    paper.warm()
    for field in ("single", "few"):
        with fails_with(errno.EDQUOT):
            (paper.path / field / "one more").write_bytes(b"x")
        with fails_with(errno.EDQUOT):
            file.rename(paper.path / field / "one more")
    assert paper.drive.requests == {}
    assert file.read_bytes() == b"content"


def test_a_file_beyond_the_limit_of_its_field_is_refused_while_it_is_written(paper: Paper) -> None:
    path = paper.path / "small" / "large"
    paper.warm()
    with fails_with(errno.EFBIG):
        path.write_bytes(bytes(1024 * 1024 + 1))
    assert paper.held("small") == []
    eventually(lambda: not path.exists())
    with fails_with(errno.EFBIG), path.open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    path.write_bytes(bytes(1024 * 1024))
    assert paper.held("small") == [("large", bytes(1024 * 1024))]


def test_a_file_that_grew_too_large_is_as_it_was(paper: Paper) -> None:
    paper.put("file", b"as it was", "small")
    path = paper.path / "small" / "file"
    paper.warm()
    with fails_with(errno.EFBIG), path.open("ab") as file:
        file.write(bytes(1024 * 1024))
        file.flush()
    assert path.read_bytes() == b"as it was"
    assert paper.held("small") == [("file", b"as it was")]
    with (paper.scan / "large").open("wb") as file:
        file.truncate(1024 * 1024 + 1)
    with fails_with(errno.EFBIG):
        (paper.scan / "large").rename(paper.path / "small" / "large")


def test_the_last_file_of_a_required_field_stays(paper: Paper) -> None:
    paper.put("last", b"x", "needed")
    path = paper.path / "needed" / "last"
    paper.warm()
    with fails_with(errno.EPERM):
        path.unlink()
    assert path.read_bytes() == b"x"
    with fails_with(errno.EPERM):
        path.rename(paper.scan / "last")
    assert path.read_bytes() == b"x"
    assert (names(paper.path / "needed"), names(paper.scan)) == (["last"], [])
    assert (paper.held("needed"), paper.held()) == ([("last", b"x")], [])
    path.rename(path.with_name("renamed"))
    (path.with_name("renamed")).write_bytes(b"y")
    assert paper.held("needed") == [("renamed", b"y")]


def test_files_and_directories_are_not_taken_for_each_other(paper: Paper, file: Path) -> None:
    with fails_with(errno.EISDIR), opened(paper.scan, os.O_WRONLY):
        pass
    with fails_with(errno.EISDIR, errno.EPERM):
        paper.scan.unlink()
    with fails_with(errno.ENOTDIR):
        file.rmdir()
    with fails_with(errno.ENOTDIR):
        (file / "below").stat()
    with fails_with(errno.EISDIR):
        file.rename(paper.path / "photo")
    with fails_with(errno.ENOENT):
        (paper.scan / "nothing").unlink()
    with fails_with(errno.ENOENT):
        (paper.scan / "nothing").rename(file)
    with fails_with(errno.EEXIST), opened(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY):
        pass


def test_a_read_only_mount_changes_nothing(platform: LocalPlatform, mounting: Mounting) -> None:
    document = platform.document()
    platform.put("order", document, "scan", "file", b"content")
    drive = mounting(platform, read_only="true")
    field = drive.path / "order" / document / "scan"
    file = field / "file"
    assert file.read_bytes() == b"content"
    with fails_with(errno.EROFS):
        (field / "new").write_bytes(b"x")
    with fails_with(errno.EROFS):
        file.write_bytes(b"x")
    with fails_with(errno.EROFS):
        os.truncate(file, 0)
    with fails_with(errno.EROFS):
        file.unlink()
    with fails_with(errno.EROFS):
        file.rename(field / "new")
    with fails_with(errno.EROFS):
        (field / "folder").mkdir()
    with fails_with(errno.EROFS):
        file.chmod(0o600)
    assert platform.held("order", document, "scan") == [("file", b"content")]


def test_a_user_who_may_only_read_is_told_so(platform: LocalPlatform, mounting: Mounting) -> None:
    document = platform.document()
    platform.put("order", document, "scan", "file", b"content")
    platform.call(platform.sandbox.tokens.__setitem__, "reader", Access(read_only=True))
    drive = mounting(platform, token="reader")
    field = drive.path / "order" / document / "scan"
    with fails_with(errno.EACCES):
        (field / "file").unlink()
    with fails_with(errno.EACCES):
        (field / "new").write_bytes(b"kept here")
    with fails_with(errno.EACCES):
        (field / "file").rename(field / "renamed")
    with fails_with(errno.EACCES):
        (field / "file").rename(drive.path / "order" / document / "few" / "file")
    assert (field / "file").read_bytes() == b"content"
    # What close() refused is kept, also for the next mount.
    (save,) = drive.saves()
    assert (save["state"], save["path"].rpartition("/")[2]) == ("held", "new")
    assert (field / "new").read_bytes() == b"kept here"
    drive.remount()
    assert (field / "new").read_bytes() == b"kept here"
    eventually(lambda: [save["state"] for save in drive.saves()] == ["held"])
    (field / "new").unlink()
    assert drive.saves() == []
    assert platform.held("order", document, "scan") == [("file", b"content")]


def test_a_user_who_may_not_delete_is_told_so_and_nothing_stands_twice(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    document, other = platform.document(), platform.document()
    platform.put("order", document, "scan", "file", b"content")
    platform.call(platform.sandbox.tokens.__setitem__, "keeper", Access(may_delete=False))
    drive = mounting(platform, token="keeper")
    drive.expect("both versions stand")
    field = drive.path / "order" / document / "scan"
    with fails_with(errno.EACCES):
        (field / "file").unlink()
    with fails_with(errno.EACCES):
        (field / "file").rename(drive.path / "order" / other / "scan" / "file")
    assert names(field) == ["file"]
    assert (field / "file").read_bytes() == b"content"
    # What could not even be taken back is shown, too: nothing is pretended.
    there = drive.path / "order" / other / "scan"
    assert names(there) == ["file"]
    assert (there / "file").stat().st_ino != (field / "file").stat().st_ino
    assert drive.saves() == []


def test_a_token_that_is_no_longer_good_is_permission_denied(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    document = platform.document()
    platform.call(platform.sandbox.tokens.__setitem__, "brief", Access())
    drive = mounting(platform, token="brief", document_ttl="0", listing_ttl="0", negative_ttl="0")
    field = drive.path / "order" / document / "scan"
    assert names(field) == []
    platform.call(platform.sandbox.tokens.pop, "brief")
    with fails_with(errno.EACCES):
        (field / "new").write_bytes(b"x")
