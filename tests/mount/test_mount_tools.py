"""The tools of every day do what they do on a disk."""

import os
from pathlib import Path

import pytest

from tests.mount.harness import Paper, megabytes, names

HOUR = 3_600_000_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    for number in range(5):
        file = directory / f"file {number}.txt"
        file.write_bytes(f"content {number}\n".encode() * 100)
        os.utime(file, ns=(HOUR * (number + 1), HOUR * (number + 1)))
    (directory / "empty").write_bytes(b"")
    (directory / "large").write_bytes(megabytes(3))
    return directory


def _content(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names(directory)}


def test_rsync_brings_files_up_and_a_second_run_has_nothing_to_do(paper: Paper, source: Path) -> None:
    paper.warm().drive.shell('rsync -a "$1/" ./', source, cwd=paper.scan)
    paper.drive.settled()
    assert dict(paper.held()) == _content(source) == _content(paper.scan)
    for name in names(source):
        assert (paper.scan / name).stat().st_mtime_ns == (source / name).stat().st_mtime_ns
    paper.drive.platform.reset()
    assert paper.drive.shell('rsync -ai "$1/" ./ | grep -v "^\\.d" || true', source, cwd=paper.scan) == ""
    assert paper.drive.requests == {}
    (source / "file 1.txt").write_bytes(b"changed")
    (source / "file 2.txt").unlink()
    paper.drive.shell('rsync -a --delete "$1/" ./', source, cwd=paper.scan)
    paper.drive.settled()
    assert dict(paper.held()) == _content(source)
    assert len(paper.held()) == len(names(source))
    assert paper.drive.requests["save"] == 1


def test_rsync_brings_files_up_one_upload_each(paper: Paper, source: Path) -> None:
    paper.warm().drive.shell('rsync -a "$1/" ./', source, cwd=paper.scan)
    paper.drive.settled()
    assert paper.drive.requests == {"save": 7}


def test_rsync_fetches_files(paper: Paper, tmp_path: Path) -> None:
    for number in range(5):
        paper.put(f"file {number}", f"content {number}".encode())
    target = tmp_path / "target"
    target.mkdir()
    paper.warm().drive.shell('rsync -a ./ "$1/"', target, cwd=paper.path)
    assert _content(target / "scan") == {
        f"file {number}": f"content {number}".encode() for number in range(5)
    }
    assert paper.drive.shell('rsync -ain ./ "$1/"', target, cwd=paper.path) == ""


def test_rsync_in_place_changes_a_file(paper: Paper, source: Path) -> None:
    paper.put("large", megabytes(3, 1))
    paper.warm().drive.shell('rsync --inplace --ignore-times "$1/large" large', source, cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("large", megabytes(3))]


def test_tar_packs_what_is_there_and_unpacks_into_a_field(paper: Paper, source: Path, tmp_path: Path) -> None:
    paper.warm().drive.shell('tar -C "$1" -cf - . | tar -xf - 2>&1 || true', source, cwd=paper.scan)
    paper.drive.settled()
    assert dict(paper.held()) == _content(source)
    paper.drive.shell('tar -cf "$1/packed.tar" -C scan .', tmp_path, cwd=paper.path)
    (tmp_path / "unpacked").mkdir()
    paper.drive.shell('tar -xf "$1/packed.tar" -C "$1/unpacked"', tmp_path)
    assert _content(tmp_path / "unpacked") == _content(source)


def test_tar_writes_an_archive_into_a_field(paper: Paper, source: Path) -> None:
    paper.warm().drive.shell(
        'tar -C "$1" -czf archive.tar.gz .; tar -tzf archive.tar.gz', source, cwd=paper.scan
    )
    paper.drive.settled()
    assert [name for name, _ in paper.held()] == ["archive.tar.gz"]
    assert paper.drive.requests == {"save": 1}


def test_copying_with_all_attributes_succeeds_both_ways(paper: Paper, source: Path, tmp_path: Path) -> None:
    paper.warm().drive.shell('cp -a "$1/." .', source, cwd=paper.scan)
    paper.drive.settled()
    assert dict(paper.held()) == _content(source)
    assert paper.drive.requests == {"save": 7}
    paper.drive.shell('cp -a scan "$1/back"', tmp_path, cwd=paper.path)
    assert _content(tmp_path / "back") == _content(source)
    for name in names(source):
        assert (tmp_path / "back" / name).stat().st_mtime_ns == (source / name).stat().st_mtime_ns


def test_copying_within_the_mount(paper: Paper) -> None:
    paper.put("file", b"content")
    paper.warm().drive.shell("cp file copy; cp -r . ../papers.letters/ 2>&1; true", cwd=paper.scan)
    paper.drive.settled()
    assert sorted(paper.held()) == [("copy", b"content"), ("file", b"content")]
    assert sorted(paper.held("papers.letters")) == [("copy", b"content"), ("file", b"content")]


def test_moving_in_and_out(paper: Paper, source: Path, tmp_path: Path) -> None:
    expected = _content(source)
    paper.warm().drive.shell('mv "$1"/* .', source, cwd=paper.scan)
    paper.drive.settled()
    assert (dict(paper.held()), names(source)) == (expected, [])
    paper.drive.shell('mkdir "$1/out"; mv * "$1/out/"', tmp_path, cwd=paper.scan)
    assert (paper.held(), _content(tmp_path / "out")) == ([], expected)


def test_sed_in_place_is_one_upload_and_one_delete(paper: Paper) -> None:
    paper.put("letter.txt", b"Dear Sir,\n")
    paper.warm().drive.shell("sed -i s/Sir/Madam/ letter.txt", cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("letter.txt", b"Dear Madam,\n")]
    assert names(paper.scan) == ["letter.txt"]
    requests = paper.drive.requests
    assert (requests["save"], requests["delete"]) == (1, 1)


def test_sed_with_a_backup_keeps_it_here(paper: Paper) -> None:
    paper.put("letter.txt", b"Dear Sir,\n")
    paper.warm().drive.shell("sed -i~ s/Sir/Madam/ letter.txt", cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("letter.txt", b"Dear Madam,\n")]
    assert names(paper.scan) == ["letter.txt", "letter.txt~"]
    assert (paper.scan / "letter.txt~").read_bytes() == b"Dear Sir,\n"


def test_sums_are_written_and_checked(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", megabytes(1, number))
    said = paper.warm().drive.shell("md5sum file* > sums; md5sum -c sums", cwd=paper.scan)
    assert said == "".join(f"file {number}: OK\n" for number in range(3))
    paper.drive.settled()
    assert len(paper.held()) == 4


def test_sort_onto_itself_and_tee_and_patch(paper: Paper) -> None:
    paper.put("list", b"c\na\nb\n")
    paper.warm().drive.shell("sort -o list list; echo d | tee -a list > /dev/null", cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("list", b"a\nb\nc\nd\n")]


def test_vim_saves_with_one_upload_and_leaves_nothing_behind(paper: Paper) -> None:
    paper.put("notes.txt", b"one\ntwo\n")
    script = (
        "vim -es -u NONE -N -c 'set swapfile backup writebackup' -c '%s/two/2/' -c 'wq' notes.txt < /dev/null"
    )
    paper.warm().drive.shell(script, cwd=paper.scan)
    paper.drive.settled()
    assert paper.held() == [("notes.txt", b"one\n2\n")]
    assert set(names(paper.scan)) <= {"notes.txt", "notes.txt~"}
    assert (paper.scan / "notes.txt").read_bytes() == b"one\n2\n"
    assert paper.drive.requests["save"] == 1


def test_a_database_works_in_a_field(paper: Paper) -> None:
    script = (
        "import sqlite3, sys\n"
        "with sqlite3.connect(sys.argv[1]) as db:\n"
        "    db.execute('create table t (x)')\n"
        "    db.executemany('insert into t values (?)', [(n,) for n in range(100)])\n"
        "db.commit()\n"
        "print(db.execute('select sum(x) from t').fetchone()[0])\n"
        "db.close()\n"
    )
    assert paper.warm().drive.python(script, paper.scan / "data.sqlite") == "4950\n"
    paper.drive.settled()
    assert [name for name, _ in paper.held()] == ["data.sqlite"]


def test_find_removes_what_it_finds(paper: Paper) -> None:
    for number in range(20):
        paper.put(f"file {number}", b"x" * number)
    paper.warm().drive.shell("find . -type f -size -10c -delete", cwd=paper.scan)
    assert sorted(len(data) for _, data in paper.held()) == list(range(10, 20))
