"""Other people work on the same documents: nothing of theirs that was not seen is destroyed."""

import errno
import os

from tests.mount.harness import Paper, fails_with, may_fail_with, names, opened
from tests.mounted import eventually


def test_a_newer_version_by_somebody_else_stays_beside_ours(paper: Paper) -> None:
    before = paper.put("report.odt", b"old")
    paper.warm()
    with opened(paper.scan / "report.odt", os.O_WRONLY) as writing:
        os.pwrite(writing, b"OURS", 0)
        paper.drive.platform.remove(before)
        paper.put("report.odt", b"theirs")
    paper.drive.settled()
    held = dict(paper.held())
    assert held.pop("report.odt") == b"theirs"
    ((name, data),) = held.items()
    assert name.startswith("report (conflict ")
    assert name.endswith(").odt")
    assert data == b"OURS"
    # For a moment the name leads to what was saved under it; then to the newer version. (Or is over already.)
    assert (paper.scan / "report.odt").read_bytes() in (b"OURS", b"theirs")
    eventually(lambda: (paper.scan / "report.odt").read_bytes() == b"theirs")
    assert names(paper.scan) == sorted(["report.odt", name])
    assert (paper.scan / name).read_bytes() == b"OURS"


def test_a_file_that_somebody_else_added_under_our_new_name_stays(paper: Paper) -> None:
    paper.warm()
    with opened(paper.scan / "new", os.O_WRONLY | os.O_CREAT) as writing:
        os.write(writing, b"ours")
        paper.put("new", b"theirs")
    paper.drive.settled()
    assert sorted(paper.held()) == [("new", b"ours"), ("new", b"theirs")]
    paper.drive.ask("refresh")
    eventually(lambda: len(names(paper.scan)) == 2)
    assert sorted((paper.scan / name).read_bytes() for name in names(paper.scan)) == [b"ours", b"theirs"]


def test_a_file_that_somebody_else_removed_is_saved_as_a_new_one(paper: Paper) -> None:
    before = paper.put("file", b"old")
    paper.warm()
    with opened(paper.scan / "file", os.O_WRONLY | os.O_TRUNC) as writing:
        os.write(writing, b"ours")
        paper.drive.platform.remove(before)
    paper.drive.settled()
    assert paper.held() == [("file", b"ours")]
    assert names(paper.scan) == ["file"]
    assert (paper.scan / "file").read_bytes() == b"ours"


def test_a_move_of_a_file_that_somebody_else_removed_says_so(paper: Paper) -> None:
    other = Paper(paper.drive, paper.drive.platform.document())
    before = paper.put("file", b"old")
    paper.warm(other)
    paper.drive.platform.remove(before)
    with fails_with(errno.ENOENT, errno.ESTALE):
        (paper.scan / "file").rename(other.scan / "file")
    eventually(lambda: (names(paper.scan), names(other.scan)) == ([], []))
    assert (paper.held(), other.held(), paper.drive.saves("held", "queued")) == ([], [], [])


def test_a_move_over_a_file_that_somebody_else_replaced_leaves_theirs(paper: Paper) -> None:
    before = paper.put("target", b"old")
    paper.put("file", b"ours")
    paper.warm()
    paper.drive.platform.remove(before)
    paper.put("target", b"theirs")
    (paper.scan / "file").rename(paper.scan / "target")
    paper.drive.settled()
    held = sorted(data for _, data in paper.held())
    assert held == [b"ours", b"theirs"]
    paper.drive.ask("refresh")
    eventually(lambda: len(names(paper.scan)) == 2)


def test_a_document_that_somebody_else_removed_is_gone_and_what_was_written_is_kept(paper: Paper) -> None:
    paper.put("file", b"old")
    paper.warm()
    platform = paper.drive.platform
    with may_fail_with(errno.ENOENT), opened(paper.scan / "new", os.O_WRONLY | os.O_CREAT) as writing:
        os.write(writing, b"precious")
        platform.call(platform.sandbox.platform.remove_document, "order", paper.name)
    (save,) = [save for save in paper.drive.saves() if paper.name in save["path"]]
    assert (save["state"], save["size"]) == ("held", 8)
    with fails_with(errno.ENOENT, errno.ESTALE):
        (paper.scan / "file").read_bytes()


def test_two_drives_see_each_others_work(paper: Paper) -> None:
    # What one drive brings up is to the other what somebody else did.
    paper.put("shared", b"old")
    paper.warm()
    (paper.scan / "shared").write_bytes(b"by this drive")
    ids = paper.ids()
    assert paper.held() == [("shared", b"by this drive")]
    paper.drive.platform.remove(ids[0])
    paper.put("shared", b"by that drive")
    paper.drive.ask("refresh")
    eventually(lambda: (paper.scan / "shared").read_bytes() == b"by that drive")
    assert names(paper.scan) == ["shared"]
