"""Creating and writing: what arrives on the platform, when, and with how many requests."""

import os
from pathlib import Path

import pytest

from tests.mount.harness import Background, Paper, megabytes, names, opened
from tests.mounted import eventually


@pytest.fixture
def old(paper: Paper) -> Path:
    """A file that is there, of the text `old content`."""
    paper.put("old.txt", b"old content")
    paper.warm()
    return paper.scan / "old.txt"


def test_a_new_file_arrives_with_one_request(paper: Paper, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_bytes(b"hello")
    paper.warm().drive.shell('cp "$1" .', tmp_path / "new.txt", cwd=paper.scan)
    assert paper.held() == [("new.txt", b"hello")]
    assert paper.drive.requests == {"save": 1}
    assert names(paper.scan) == ["new.txt"]


def test_a_file_that_is_copied_over_takes_two_requests(paper: Paper, old: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_bytes(b"new")
    paper.drive.shell('cp "$1" "$2"', tmp_path / "new.txt", old)
    assert paper.held() == [("old.txt", b"new")]
    assert paper.drive.requests == {"save": 1, "delete": 1}
    assert old.read_bytes() == b"new"
    assert paper.drive.requests == {"save": 1, "delete": 1}


def test_appending_keeps_what_is_there(paper: Paper, old: Path) -> None:
    with old.open("ab") as file:
        file.write(b", and more")
    assert paper.held() == [("old.txt", b"old content, and more")]
    assert paper.drive.requests == {"list": 1, "download": 1, "save": 1, "delete": 1}


def test_writes_land_where_they_are_aimed(paper: Paper, old: Path) -> None:
    with opened(old, os.O_RDWR) as file:
        os.pwrite(file, b"NEW", 0)
        os.pwrite(file, b"end", 20)
        os.pwrite(file, b"C", 4)
        assert os.pread(file, 100, 0) == b"NEW Content" + bytes(9) + b"end"
    assert paper.held() == [("old.txt", b"NEW Content" + bytes(9) + b"end")]


@pytest.mark.parametrize("size", [3, 11, 20])
def test_truncate_by_path_arrives_without_a_close(paper: Paper, old: Path, size: int) -> None:
    os.truncate(old, size)
    assert old.stat().st_size == size
    expected = b"old content".ljust(size, b"\0")[:size]
    eventually(lambda: paper.held() == [("old.txt", expected)])
    assert len(paper.ids()) == 1
    assert paper.drive.requests.get("save", 0) == (size != 11)


def test_truncate_to_nothing_by_path_arrives_after_a_moment(paper: Paper, old: Path) -> None:
    os.truncate(old, 0)
    assert old.read_bytes() == b""
    eventually(lambda: paper.held() == [("old.txt", b"")])


def test_ftruncate_cuts_and_extends_an_open_file(paper: Paper, old: Path) -> None:
    with opened(old, os.O_RDWR) as file:
        os.ftruncate(file, 3)
        assert os.fstat(file).st_size == 3
        os.ftruncate(file, 6)
        assert os.pread(file, 100, 0) == b"old\0\0\0"
    assert paper.held() == [("old.txt", b"old\0\0\0")]
    assert paper.drive.requests["save"] == 1


def test_truncating_on_open_downloads_nothing(paper: Paper, old: Path) -> None:
    with opened(old, os.O_WRONLY | os.O_TRUNC) as file:
        os.write(file, b"fresh")
    assert paper.held() == [("old.txt", b"fresh")]
    assert paper.drive.requests == {"save": 1, "delete": 1}


def test_an_unchanged_file_that_was_open_for_writing_is_not_uploaded(paper: Paper, old: Path) -> None:
    with opened(old, os.O_RDWR) as file:
        assert os.read(file, 3) == b"old"
    with opened(old, os.O_WRONLY | os.O_APPEND):
        pass
    assert paper.drive.requests.get("save", 0) == 0


def test_what_is_written_can_be_read_before_the_file_is_closed(paper: Paper) -> None:
    path = paper.scan / "draft.txt"
    with opened(path, os.O_WRONLY | os.O_CREAT) as writer:
        os.write(writer, b"seen at once")
        assert path.read_bytes() == b"seen at once"
        assert path.stat().st_size == 12
        assert paper.held() == []
    assert paper.held() == [("draft.txt", b"seen at once")]


def test_several_handles_of_a_file_share_what_they_write(paper: Paper, old: Path) -> None:
    with opened(old, os.O_RDWR) as first, opened(old, os.O_RDWR) as second:
        os.pwrite(first, b"1", 0)
        os.pwrite(second, b"2", 1)
        assert os.pread(first, 3, 0) == os.pread(second, 3, 0) == b"12d"
        with opened(old, os.O_RDONLY) as third:
            assert os.read(third, 3) == b"12d"
    eventually(lambda: paper.held() == [("old.txt", b"12d content")])
    paper.drive.settled()
    assert paper.drive.requests["save"] <= 2


def test_a_file_that_is_written_in_mid_save_arrives_in_both_versions(paper: Paper) -> None:
    path = paper.scan / "log.txt"
    with opened(path, os.O_RDWR | os.O_CREAT) as kept:
        with paper.drive.platform.hold("save") as save:
            os.write(kept, b"first")
            closing = Background(os.close, os.dup(kept))
            save.arrived()
            os.write(kept, b" second")
            assert os.pread(kept, 100, 0) == b"first second"
            save.release()
            closing.result()
        assert paper.held() == [("log.txt", b"first")]
    paper.drive.settled()
    assert paper.held() == [("log.txt", b"first second")]


def test_a_shared_memory_write_arrives(paper: Paper, old: Path) -> None:
    paper.drive.python(
        "import mmap, os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDWR)\n"
        "memory = mmap.mmap(file, 0)\n"
        "memory[0:3] = b'NEW'\n"
        "memory.flush()\n"
        "memory.close()\n"
        "os.close(file)\n",
        old,
    )
    eventually(lambda: paper.held() == [("old.txt", b"NEW content")])


def test_a_shared_memory_write_after_the_close_arrives(paper: Paper, old: Path) -> None:
    paper.drive.python(
        "import mmap, os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDWR)\n"
        "memory = mmap.mmap(file, 0)\n"
        "os.close(file)\n"
        "memory[0:3] = b'NEW'\n"
        "memory.close()\n",
        old,
    )
    eventually(lambda: paper.held() == [("old.txt", b"NEW content")])
    assert paper.drive.requests["save"] == 1


@pytest.mark.usefixtures("old")
def test_a_descriptor_that_ten_commands_share_takes_two_uploads_at_most(paper: Paper) -> None:
    script = "exec 3>>old.txt; for n in 1 2 3 4 5 6 7 8 9; do date >&3; done; echo end >&3; exec 3>&-"
    paper.drive.shell(script, cwd=paper.scan)
    paper.drive.settled()
    ((name, data),) = paper.held()
    assert name == "old.txt"
    assert data.startswith(b"old content")
    assert data.endswith(b"\nend\n")
    assert data.count(b"\n") == 10
    assert paper.drive.requests["save"] <= 2
    assert paper.drive.requests["delete"] == paper.drive.requests["save"]


def test_the_output_of_a_group_of_commands_takes_two_uploads_at_most(paper: Paper) -> None:
    paper.warm().drive.shell("{ date; ls; date; } > x", cwd=paper.scan)
    paper.drive.settled()
    ((name, data),) = paper.held()
    assert name == "x"
    assert b"\nx\n" in data
    assert paper.drive.requests["save"] <= 2


def test_echo_arrives_with_one_upload_and_never_empty(paper: Paper) -> None:
    paper.warm().drive.shell("echo hello > x", cwd=paper.scan)
    assert paper.held() == [("x", b"hello\n")]
    assert paper.drive.requests == {"save": 1}


def test_echo_over_a_file_takes_one_upload_and_never_shows_it_empty(paper: Paper, old: Path) -> None:
    paper.drive.shell("echo hello > old.txt", cwd=paper.scan)
    assert paper.held() == [("old.txt", b"hello\n")]
    assert paper.drive.requests == {"save": 1, "delete": 1}
    assert old.read_bytes() == b"hello\n"


@pytest.mark.parametrize("command", ["touch x", ": > x", "true > x; true"])
def test_an_empty_file_arrives_once(paper: Paper, command: str) -> None:
    paper.warm().drive.shell(command, cwd=paper.scan)
    eventually(lambda: paper.held() == [("x", b"")])
    paper.drive.settled()
    assert paper.drive.requests == {"save": 1}
    assert (paper.scan / "x").read_bytes() == b""


def test_an_empty_file_that_stays_open_arrives_after_a_moment(paper: Paper) -> None:
    with opened(paper.scan / "x", os.O_WRONLY | os.O_CREAT) as file:
        os.close(os.dup(file))
        eventually(lambda: paper.held() == [("x", b"")])


@pytest.mark.usefixtures("old")
def test_touch_of_a_file_that_is_there_uploads_nothing(paper: Paper) -> None:
    paper.drive.shell("touch old.txt", cwd=paper.scan)
    paper.drive.settled()
    assert paper.drive.requests == {}


@pytest.mark.usefixtures("old")
def test_dd_into_the_middle_changes_only_the_middle(paper: Paper) -> None:
    paper.drive.shell("printf XY | dd of=old.txt bs=1 seek=4 conv=notrunc status=none", cwd=paper.scan)
    assert paper.held() == [("old.txt", b"old XYntent")]
    assert paper.drive.requests["save"] == 1


def test_fsync_uploads_nothing_and_close_once(paper: Paper) -> None:
    paper.warm()
    with opened(paper.scan / "x", os.O_WRONLY | os.O_CREAT) as file:
        os.write(file, b"safe")
        os.fsync(file)
        assert paper.drive.requests == {}
        (save,) = paper.drive.saves()
        assert (save["state"], save["size"]) == ("local", 4)
        os.write(file, b" and sound")
        os.fdatasync(file)
        assert paper.drive.requests == {}
    assert paper.held() == [("x", b"safe and sound")]
    assert paper.drive.requests == {"save": 1}
    assert paper.drive.saves() == []


def test_a_large_file_arrives_whole_and_is_read_from_this_disk(paper: Paper, tmp_path: Path) -> None:
    data = megabytes(20)
    (tmp_path / "large").write_bytes(data)
    paper.warm().drive.shell(
        'cp "$1" large; sync large; cat large | cmp - "$1"', tmp_path / "large", cwd=paper.scan
    )
    ((_, arrived),) = paper.held()
    assert arrived == data
    assert paper.drive.requests == {"save": 1}


def test_a_file_of_a_line_field_and_of_a_dotted_field_arrives(paper: Paper) -> None:
    (paper.path / "rows.r1.photo" / "a.txt").write_bytes(b"line")
    (paper.path / "papers.letters" / "b.txt").write_bytes(b"letter")
    assert paper.held("rows.r1.photo") == [("a.txt", b"line")]
    assert paper.held("papers.letters") == [("b.txt", b"letter")]


def test_a_python_program_that_writes_in_many_small_pieces_uploads_once(paper: Paper) -> None:
    paper.warm()
    with (paper.scan / "lines").open("w") as file:
        for number in range(2000):
            file.write(f"{number}\n")
            file.flush()
    assert paper.held()[0][1].count(b"\n") == 2000
    assert paper.drive.requests == {"save": 1}
