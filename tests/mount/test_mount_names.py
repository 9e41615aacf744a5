"""Names from hell: whatever stands on the platform has a name here, and whatever a user types stands there."""

import os

import pytest

from tests.mount.harness import LocalPlatform, Mounting, Paper, names

SLASH, QUOTE = "\N{DIVISION SLASH}", "\N{SINGLE HIGH-REVERSED-9 QUOTATION MARK}"
TITLES = [
    "two\nlines.txt",
    "tab\there",
    "a/b.pdf",
    "..",
    ".",
    "/etc/passwd",
    " leading and trailing ",
    "   ",
    "😀 emoji 👩‍👩‍👧.png",
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "-rf *",
    "$(reboot) `id` ; & | < > ' \\",
    'say "hello"',
    f"a{SLASH}b look-alike",
    f"{QUOTE}{SLASH} quoted look-alike",
    "␊ picture of a newline",
    "100%25.txt",
    "bdr:200¡adm:05¡prj:6",
    "\u202eright to left",
    "con.txt",
    "n" * 251 + ".txt",
    "ü" * 125 + ".txt",
    "n" * 400 + ".txt",
    "ö" * 200 + ".tar.gz",
]


def test_every_title_has_a_name_and_can_be_read_and_removed(paper: Paper) -> None:
    for number, title in enumerate(TITLES):
        paper.put(title, f"content {number}".encode())
    paper.warm()
    found = names(paper.scan)
    assert len(found) == len(set(found)) == len(TITLES)
    assert all(
        len(os.fsencode(name)) <= 255 and "/" not in name and name not in (".", "..") for name in found
    )
    by_title = {os.getxattr(paper.scan / name, "user.aero.title").decode(): name for name in found}
    assert set(by_title) == set(TITLES)
    for number, title in enumerate(TITLES):
        assert (paper.scan / by_title[title]).read_bytes() == f"content {number}".encode(), title
    # As any program does: list, then use what was listed.
    script = "find . -type f -exec cat {} + | wc -c"
    expected = sum(len(f"content {number}") for number in range(len(TITLES)))
    assert paper.drive.shell(script, cwd=paper.scan).strip() == str(expected)
    paper.drive.shell("find . -type f -print0 | xargs -0 rm --", cwd=paper.scan)
    assert names(paper.scan) == []
    assert paper.held() == []


@pytest.mark.parametrize(
    "title", [title for title in TITLES if len(title) < 255 and '"' not in title and "\n" not in title]
)
def test_a_file_with_an_awkward_name_can_be_changed_and_moved(paper: Paper, title: str) -> None:
    paper.put(title, b"old")
    other = Paper(paper.drive, paper.drive.platform.document())
    paper.warm(other)
    (name,) = names(paper.scan)
    (paper.scan / name).write_bytes(b"new")
    assert paper.held() == [(title, b"new")]
    assert names(paper.scan) == [name]
    (paper.scan / name).rename(other.scan / name)
    assert other.held() == [(title, b"new")]
    assert names(other.scan) == [name]
    assert (other.scan / name).read_bytes() == b"new"


@pytest.mark.parametrize("title", ['say "hello".txt', "two\nlines.txt", "n" * 400 + ".txt"])
def test_a_file_whose_title_cannot_be_sent_can_be_moved_and_removed(paper: Paper, title: str) -> None:
    paper.put(title, b"content")
    other = Paper(paper.drive, paper.drive.platform.document())
    paper.warm(other)
    (name,) = names(paper.scan)
    (paper.scan / name).rename(other.scan / name)
    assert other.held() == [(title, b"content")]
    (other.scan / name).rename(other.scan / "plain.txt")
    assert other.held() == [("plain.txt", b"content")]


@pytest.mark.parametrize(
    "name",
    [
        "with space.txt",
        " leading",
        "trailing ",
        "😀.png",
        "caf\u00e9",
        "cafe\u0301",
        "-rf",
        "$(id)",
        "back\\slash",
        "100%",
        "a&b=c?d#e",
        "n" * 255,
        "ü" * 127,
        "semi;colon",
        "quote'single",
        "name (abc123).txt",
    ],
)
def test_what_a_user_types_is_what_stands_there(paper: Paper, name: str) -> None:
    paper.warm()
    (paper.scan / name).write_bytes(b"content")
    assert paper.held() == [(name, b"content")]
    assert names(paper.scan) == [name]
    paper.drive.ask("refresh")
    assert names(paper.scan) == [name]
    assert (paper.scan / name).read_bytes() == b"content"


def test_a_look_alike_of_a_slash_arrives_as_a_slash(paper: Paper) -> None:
    paper.warm()
    (paper.scan / f"a{SLASH}b.pdf").write_bytes(b"content")
    assert paper.held() == [("a/b.pdf", b"content")]
    paper.drive.ask("refresh")
    assert names(paper.scan) == [f"a{SLASH}b.pdf"]


def test_a_name_is_found_in_either_form_of_its_accents(paper: Paper) -> None:
    paper.put("caf\u00e9.txt", b"content")
    paper.warm()
    assert (paper.scan / "cafe\u0301.txt").read_bytes() == b"content"
    assert names(paper.scan) == ["caf\u00e9.txt"]


def test_files_of_one_name_are_told_apart_and_keep_their_names(paper: Paper) -> None:
    first, second, third = (paper.put("photo.jpg", data) for data in (b"1", b"2", b"3"))
    paper.warm()
    expected = ["photo.jpg", f"photo ({second[-6:]}).jpg", f"photo ({third[-6:]}).jpg"]
    assert names(paper.scan) == sorted(expected)
    assert [(paper.scan / name).read_bytes() for name in expected] == [b"1", b"2", b"3"]
    (paper.scan / expected[1]).write_bytes(b"changed")
    assert sorted(paper.held()) == [("photo.jpg", b"1"), ("photo.jpg", b"3"), ("photo.jpg", b"changed")]
    assert names(paper.scan) == sorted(expected)
    (paper.scan / "photo.jpg").unlink()
    assert names(paper.scan) == sorted(expected[1:])
    assert first not in paper.ids()


def test_a_new_file_of_a_name_that_is_free_again_gets_it(paper: Paper) -> None:
    paper.put("photo.jpg", b"1")
    paper.warm()
    (paper.scan / "photo.jpg").rename(paper.scan / "first.jpg")
    (paper.scan / "photo.jpg").write_bytes(b"2")
    assert sorted(paper.held()) == [("first.jpg", b"1"), ("photo.jpg", b"2")]
    assert names(paper.scan) == ["first.jpg", "photo.jpg"]


def test_documents_with_awkward_ids_are_found(platform: LocalPlatform, mounting: Mounting) -> None:
    externals = ["bdr:200¡adm:05¡prj:6", "a/b", "..", "x y", "100%", "caf\u00e9", "new\nline"]
    for external in externals:
        platform.new_document("invoice", external)
        platform.put("invoice", external, "scan", "file", external.encode())
    drive = mounting(platform)
    documents = drive.path / "invoice"
    found = [name for name in names(documents) if not name.startswith("invoice-")]
    assert sorted((documents / name / "scan" / "file").read_text() for name in found) == sorted(externals)
    for name in found:
        (documents / name / "scan" / "new").write_bytes(b"new")
    for external in externals:
        assert platform.held("invoice", external, "scan")[1:] == [("new", b"new")]
    drive.remount()
    # Without a listing.
    for name in found:
        assert (documents / name / "scan" / "new").read_bytes() == b"new"
