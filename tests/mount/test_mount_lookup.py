"""Finding and listing: the tree as find, ls and readdir see it."""

import os
import stat
import threading
from pathlib import Path

from tests.mount.harness import Drive, LocalPlatform, Mounting, Paper, names
from tests.mounted import eventually


def test_the_tree_is_definitions_documents_fields_and_files(paper: Paper) -> None:
    paper.put("a.pdf", b"12345")
    assert set(names(paper.drive.path)) >= {"order", "invoice"}
    assert paper.name in names(paper.path.parent)
    assert names(paper.path) == sorted(
        ["scan", "papers.letters", "single", "few", "small", "needed", "needed1", "photo", "rows.r1.photo"]
    )
    assert names(paper.scan) == ["a.pdf"]
    for directory in (paper.drive.path, paper.path.parent, paper.path, paper.scan):
        assert stat.S_ISDIR(directory.stat().st_mode)
    assert stat.S_ISREG((paper.scan / "a.pdf").stat().st_mode)
    assert (paper.scan / "a.pdf").stat().st_size == 5


def test_every_directory_can_be_left_by_its_dots(paper: Paper) -> None:
    assert paper.drive.shell("cd ../.. && pwd && ls -a", cwd=paper.scan).splitlines()[0] == str(
        paper.path.parent
    )
    for directory in (paper.drive.path, paper.path, paper.scan):
        listed = paper.drive.shell("ls -a", cwd=directory).split("\n")
        assert listed.count(".") <= 1
        assert (directory / ".").stat().st_ino == directory.stat().st_ino
    assert (paper.scan / "..").stat().st_ino == paper.path.stat().st_ino
    assert (paper.path / "..").stat().st_ino == paper.path.parent.stat().st_ino
    assert paper.drive.shell("find . -maxdepth 1 -name scan", cwd=paper.path) == "./scan\n"


def test_numbers_of_files_are_the_same_in_a_listing_and_in_a_stat(paper: Paper) -> None:
    for number in range(5):
        paper.put(f"file {number}", b"x")
    paper.warm()
    with os.scandir(paper.scan) as entries:
        listed = {entry.name: entry.inode() for entry in entries}
    assert listed == {name: (paper.scan / name).stat().st_ino for name in listed}
    assert len(set(listed.values())) == 5


def test_rewinding_a_directory_shows_what_has_changed_meanwhile(paper: Paper) -> None:
    for number in range(3):
        (paper.scan / f"file {number}").write_bytes(b"x")
    script = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.fdopendir.restype = libc.readdir.restype = ctypes.c_void_p\n"
        "libc.fdopendir.argtypes = [ctypes.c_int]\n"
        "libc.readdir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]\n"
        "directory = libc.fdopendir(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY))\n"
        "def all():\n"
        "    found = []\n"
        "    while entry := libc.readdir(directory):\n"
        "        name = ctypes.string_at(entry + 19).decode()\n"
        "        if name not in ('.', '..'): found.append(name)\n"
        "    return sorted(found)\n"
        "print(all())\n"
        "os.unlink(sys.argv[1] + '/file 0')\n"
        "open(sys.argv[1] + '/new', 'w').close()\n"
        "os.rename(sys.argv[1] + '/file 1', sys.argv[1] + '/file 9')\n"
        "libc.rewinddir(directory)\n"
        "print(all())\n"
    )
    before, after = paper.drive.python(script, paper.scan).splitlines()
    assert before == "['file 0', 'file 1', 'file 2']"
    assert after == "['file 2', 'file 9', 'new']"


def test_entries_come_and_go_while_a_directory_is_read(paper: Paper) -> None:
    for number in range(200):
        paper.put(f"stays {number:03d}", b"x")
    paper.warm()
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            (paper.scan / "comes").write_bytes(b"x")
            (paper.scan / "comes").rename(paper.scan / "goes")
            (paper.scan / "goes").unlink()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(10):
            found = names(paper.scan)
            assert len([name for name in found if name.startswith("stays")]) == 200
            assert len(found) == len(set(found))
    finally:
        stop.set()
        changing.join()


def test_what_somebody_else_adds_and_removes_shows_after_its_time(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    document = platform.document()
    drive = mounting(platform, document_ttl="0.2", listing_ttl="0.2", negative_ttl="0.2")
    field = drive.path / "order" / document / "scan"
    assert names(field) == []
    attachment = platform.put("order", document, "scan", "new", b"x")
    eventually(lambda: names(field) == ["new"])
    assert (field / "new").read_bytes() == b"x"
    platform.remove(attachment)
    eventually(lambda: names(field) == [])
    eventually(lambda: not (field / "new").exists())
    another = platform.new_document("order", "another")
    eventually(lambda: another in names(field.parent.parent))
    eventually((field.parent.parent / another / "scan").is_dir)


def test_a_refresh_shows_it_at_once(drive: Drive, paper: Paper) -> None:
    paper.warm()
    paper.put("new", b"x")
    assert names(paper.scan) == []
    drive.ask("refresh")
    assert names(paper.scan) == ["new"]


def test_a_document_is_found_without_a_listing(drive: Drive) -> None:
    document = drive.platform.document("invoice")
    drive.platform.put("invoice", document, "scan", "a", b"x")
    names(drive.path)
    drive.platform.reset()
    assert names(drive.path / "invoice" / document / "scan") == ["a"]
    assert sum(drive.requests.values()) == 1, drive.requests


def test_the_root_has_a_name_for_df_and_mount(drive: Drive) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    (line,) = [line for line in lines if f" {drive.path} " in line]
    assert f"fuse.aerofs {drive.platform.sandbox.url} " in line
    assert {"nosuid", "nodev"} <= set(line.split()[5].split(","))


def test_a_program_that_stays_in_a_directory_sees_it_go_on(paper: Paper) -> None:
    script = 'ls; echo x > new; ls; cd ..; cd scan; cat new; cd "$1"; cat $2/scan/new'
    said = paper.drive.shell(script, paper.path.parent, paper.name, cwd=paper.scan)
    assert said == "new\nx\nx\n"
