"""What the kernel caches and emulates agrees with what was written, by whichever handle and in whichever order."""

import errno
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.harness import Paper, fails_with, may_fail_with, megabytes, names, opened
from tests.mounted import eventually

SIZE = 300_000


@pytest.fixture
def file(paper: Paper) -> Path:
    paper.put("file", bytes(SIZE))
    paper.warm()
    return paper.scan / "file"


def test_cached_pages_show_what_another_handle_writes(paper: Paper, file: Path) -> None:
    with opened(file, os.O_RDONLY) as reading:
        assert os.pread(reading, SIZE, 0) == bytes(SIZE)
        with opened(file, os.O_WRONLY) as writing:
            os.pwrite(writing, b"in the middle", 100_000)
            assert os.pread(reading, 13, 100_000) == b"in the middle"
            os.ftruncate(writing, 100_010)
            assert os.pread(reading, 100, 100_000) == b"in the mid"
            os.pwrite(writing, b"end", SIZE - 3)
            assert os.pread(reading, 100, 100_000)[:20] == b"in the mid" + bytes(10)
            assert os.fstat(reading).st_size == SIZE
        assert os.pread(reading, 13, 100_000) == b"in the mid" + bytes(3)
    assert paper.held()[0][1] == bytes(100_000) + b"in the mid" + bytes(SIZE - 100_013) + b"end"


def test_a_truncating_open_shows_to_those_who_read(file: Path) -> None:
    with opened(file, os.O_RDONLY) as reading:
        assert len(os.pread(reading, SIZE, 0)) == SIZE
        with opened(file, os.O_WRONLY | os.O_TRUNC) as writing:
            assert os.pread(reading, 100, 0) == b""
            os.write(writing, b"new")
            assert os.pread(reading, 100, 0) == b"new"
        assert os.pread(reading, 100, 0) == b"new"
        assert file.read_bytes() == b"new"


def test_a_mapping_shows_what_is_written(paper: Paper, file: Path) -> None:
    script = (
        "import mmap, os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDWR)\n"
        "memory = mmap.mmap(file, 0)\n"
        "assert memory[100000] == 0\n"
        "os.pwrite(file, b'written', 100000)\n"
        "assert memory[100000:100007] == b'written', memory[100000:100007]\n"
        "memory[200000:200006] = b'mapped'\n"
        "memory.flush()\n"
        "assert os.pread(file, 6, 200000) == b'mapped'\n"
        "other = os.open(sys.argv[1], os.O_RDONLY)\n"
        "assert os.pread(other, 6, 200000) == b'mapped'\n"
    )
    paper.drive.python(script, file)
    paper.drive.settled()
    ((_, data),) = paper.held()
    assert (data[100_000:100_007], data[200_000:200_006], len(data)) == (b"written", b"mapped", SIZE)


def test_two_appenders_do_not_overwrite_each_other(paper: Paper) -> None:
    path = paper.warm().scan / "log"
    path.write_bytes(b"")
    with opened(path, os.O_WRONLY | os.O_APPEND) as one, opened(path, os.O_WRONLY | os.O_APPEND) as two:
        for number in range(50):
            os.write(one, f"one {number:02d}\n".encode())
            os.write(two, f"two {number:02d}\n".encode())
    paper.drive.settled()
    ((_, data),) = paper.held()
    assert data == b"".join(f"one {number:02d}\ntwo {number:02d}\n".encode() for number in range(50))


def test_quick_sequences_end_as_they_should(paper: Paper) -> None:
    script = (
        "touch a; mv a b; "
        ": > c; mv c ../papers.letters/c; "
        "touch d; rm d; "
        "echo 1 > e; rm e; echo 2 > e; "
        "echo 1 > f; echo 2 > f; echo 3 > f; "
        "echo 1 > g; mv g h; echo 2 > g; mv h i; "
        "echo 1 > j; : > j; "
        "mv i i 2> /dev/null; "
        "cp e k; mv k e; "
        "ls"
    )
    assert paper.warm().drive.shell(script, cwd=paper.scan).split() == ["b", "e", "f", "g", "i", "j"]
    paper.drive.settled()
    expected = {"b": b"", "e": b"2\n", "f": b"3\n", "g": b"2\n", "i": b"1\n", "j": b""}
    assert dict(paper.held()) == expected
    assert len(paper.held()) == len(expected)
    assert paper.held("papers.letters") == [("c", b"")]
    assert {name: (paper.scan / name).read_bytes() for name in names(paper.scan)} == expected
    paper.drive.ask("refresh")
    assert {name: (paper.scan / name).read_bytes() for name in names(paper.scan)} == expected


def test_many_files_are_created_at_once_in_one_field_and_in_many(paper: Paper) -> None:
    others = [Paper(paper.drive, paper.drive.platform.document()) for _ in range(4)]
    paper.warm(*others)
    places = [(each, f"file {number}") for each in (paper, *others) for number in range(12)]

    def write(place: tuple[Paper, str]) -> None:
        (place[0].scan / place[1]).write_bytes(place[1].encode() * 1000)

    with ThreadPoolExecutor(12) as writers:
        list(writers.map(write, places))
    for each in (paper, *others):
        assert dict(each.held()) == {
            f"file {number}": f"file {number}".encode() * 1000 for number in range(12)
        }
        assert len(names(each.scan)) == 12
    assert paper.drive.requests == {"save": 60}


def test_one_file_is_written_by_many_at_once_and_ends_as_one(paper: Paper) -> None:
    path = paper.warm().scan / "contested"
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda number: path.write_bytes(str(number).encode() * 10), range(24)))
    paper.drive.settled()
    ((_, data),) = paper.held()
    assert path.read_bytes() == data
    assert names(paper.scan) == ["contested"]


def test_locks_are_kept_among_the_programs_of_this_machine(paper: Paper, file: Path) -> None:
    with file.open("r+b") as first, file.open("r+b") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with fails_with(errno.EAGAIN):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(first, fcntl.LOCK_UN)
        fcntl.lockf(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert "save" not in paper.drive.requests


def test_what_the_drive_cannot_do_is_said_and_programs_go_on(paper: Paper, file: Path) -> None:
    with opened(file, os.O_RDWR) as both:
        assert os.lseek(both, 0, os.SEEK_DATA) == 0
        assert os.lseek(both, 0, os.SEEK_HOLE) == SIZE
        os.posix_fallocate(both, 0, SIZE + 1)  # which the C library does by writing
        assert os.fstat(both).st_size == SIZE + 1
    paper.drive.shell("cp --reflink=auto --sparse=always file copy; cmp file copy", cwd=paper.scan)
    with fails_with(errno.EOPNOTSUPP):
        os.open(paper.scan, os.O_TMPFILE | os.O_RDWR)


def test_direct_reads_and_writes_work(paper: Paper) -> None:
    writing = "dd if=/dev/zero of=direct bs=4096 count=100 oflag=direct status=none"
    script = f"{writing}; dd if=direct iflag=direct bs=4096 status=none | wc -c"
    assert paper.warm().drive.shell(script, cwd=paper.scan).strip() == "409600"
    assert paper.held() == [("direct", bytes(409_600))]


def test_copies_within_the_kernel_work(paper: Paper, file: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(megabytes(2))
    with (
        (tmp_path / "source").open("rb") as source,
        opened(paper.scan / "sent", os.O_WRONLY | os.O_CREAT) as target,
    ):
        while os.sendfile(target, source.fileno(), None, 1 << 20):
            pass
    with opened(paper.scan / "sent", os.O_RDONLY) as source, opened(file, os.O_WRONLY | os.O_TRUNC) as target:
        while os.copy_file_range(source, target, 1 << 20):
            pass
    assert dict(paper.held()) == {"sent": megabytes(2), "file": megabytes(2)}


def test_a_directory_can_be_synced(paper: Paper) -> None:
    with opened(paper.scan, os.O_RDONLY | os.O_DIRECTORY) as directory:
        os.fsync(directory)


def test_a_sparse_file_is_written_and_read(paper: Paper) -> None:
    path = paper.warm().scan / "sparse"
    with opened(path, os.O_RDWR | os.O_CREAT) as writing:
        os.pwrite(writing, b"end", 5_000_000)
        assert os.fstat(writing).st_size == 5_000_003
        assert os.pread(writing, 10, 2_000_000) == bytes(10)
    assert paper.held() == [("sparse", bytes(5_000_000) + b"end")]


# -- versions --------------------------------------------------------------------------------------------------------

LARGE = megabytes(4)


def by_rename_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"new")
    other.rename(path)


def by_temporary(path: Path) -> None:
    temporary = path.with_name(".goutputstream-A1B2C3")
    temporary.write_bytes(b"new")
    temporary.rename(path)


def with_backup(path: Path) -> None:
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_bytes(b"new")
    backup.unlink()


@pytest.mark.parametrize("save", [by_rename_over, by_temporary, with_backup])
def test_a_reader_in_the_middle_of_a_version_that_we_replace_reads_it_to_the_end(
    paper: Paper, save: Callable[[Path], None]
) -> None:
    paper.put("large", LARGE)
    path = paper.warm().scan / "large"
    with opened(path, os.O_RDONLY) as reading:
        assert os.pread(reading, 1000, 0) == LARGE[:1000]
        save(path)
        paper.drive.settled()
        assert [data for _, data in paper.held()] == [b"new"]
        # A fresh open gets the newest, at once; the old one is what it was.
        assert path.read_bytes() == b"new"
        assert path.stat().st_ino != os.fstat(reading).st_ino
        assert b"".join(os.pread(reading, 1 << 20, at) for at in range(0, len(LARGE), 1 << 20)) == LARGE
        assert os.fstat(reading).st_size == len(LARGE)
    assert path.read_bytes() == b"new"


def test_a_reader_sees_what_is_saved_in_place_as_on_a_disk(paper: Paper) -> None:
    paper.put("large", LARGE)
    path = paper.warm().scan / "large"
    with opened(path, os.O_RDONLY) as reading:
        assert os.pread(reading, 1000, 0) == LARGE[:1000]
        path.write_bytes(b"new")
        paper.drive.settled()
        assert os.pread(reading, 1000, 0) == b"new"
        assert path.read_bytes() == b"new"
        assert path.stat().st_ino == os.fstat(reading).st_ino


def test_a_reader_in_the_middle_of_a_version_that_somebody_replaces_never_reads_other_bytes(
    paper: Paper,
) -> None:
    before = paper.put("large", LARGE)
    path = paper.warm().scan / "large"
    with opened(path, os.O_RDONLY) as reading:
        number = os.fstat(reading).st_ino
        assert os.pread(reading, 1000, 0) == LARGE[:1000]
        paper.put("large", megabytes(4, 1))
        paper.drive.platform.remove(before)
        paper.drive.ask("refresh")
        eventually(lambda: path.stat().st_ino != number)
        assert path.read_bytes() == megabytes(4, 1)
        assert os.pread(reading, 1000, 0) == LARGE[:1000]  # what is held
        for at in range(0, len(LARGE), 1 << 20):
            with may_fail_with(errno.ESTALE):
                assert os.pread(reading, 1 << 20, at) == LARGE[at : at + (1 << 20)]
