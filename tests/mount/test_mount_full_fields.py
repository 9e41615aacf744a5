"""Fields with a maximum, and fields that resize images: what is replaced, what is put back."""

import errno
import io

import pytest
from PIL import Image

from tests.mount.harness import Paper, eventually, fails_with, may_fail_with, names


def picture(width: int, colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, width), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("field", ["single", "needed1"])
def test_the_only_file_of_a_field_is_replaced_in_one_step(paper: Paper, field: str) -> None:
    paper.put("only", b"old", field)
    paper.warm()
    path = paper.path / field / "only"
    path.write_bytes(b"new")
    assert paper.held(field) == [("only", b"new")]
    assert paper.drive.requests == {"list": 1, "save": 1}
    assert path.read_bytes() == b"new"
    with path.open("ab") as file:
        file.write(b"er")
    assert paper.held(field) == [("only", b"newer")]
    assert names(paper.path / field) == ["only"]


def test_the_only_file_of_a_field_is_not_replaced_where_somebody_else_was_faster(paper: Paper) -> None:
    paper.put("only", b"old", "single")
    paper.warm()
    path = paper.path / "single" / "only"
    (before,) = paper.ids("single")
    file = path.open("wb")
    file.write(b"ours")
    paper.drive.platform.remove(before)
    paper.put("only", b"theirs", "single")
    with fails_with(errno.EDQUOT):
        file.close()
    assert paper.held("single") == [("only", b"theirs")]
    (save,) = paper.drive.saves("held")
    assert save["size"] == 4
    # What was refused is kept here, and shown, until the user decides.
    assert path.read_bytes() == b"ours"
    path.unlink()
    eventually(lambda: paper.drive.saves("held") == [])


def test_a_file_of_a_full_field_is_replaced(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", b"old", "few")
    paper.warm()
    path = paper.path / "few" / "file 1"
    path.write_bytes(b"new")
    assert sorted(paper.held("few")) == [("file 0", b"old"), ("file 1", b"new"), ("file 2", b"old")]
    assert path.read_bytes() == b"new"
    assert names(paper.path / "few") == ["file 0", "file 1", "file 2"]


def test_a_replacement_that_is_refused_leaves_the_full_field_as_it_was(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", b"old", "few")
    paper.warm()
    path = paper.path / "few" / "file 1"
    paper.drive.platform.fault("save", "status", status=403)
    with fails_with(errno.EACCES):
        path.write_bytes(b"new")
    assert sorted(paper.held("few")) == [("file 0", b"old"), ("file 1", b"old"), ("file 2", b"old")]
    assert [save["state"] for save in paper.drive.saves("held", "queued")] == ["held"]
    # What was put back has a new id, and is seen beside ours until that is settled.
    assert {"file 0", "file 1", "file 2"} <= set(names(paper.path / "few"))
    assert path.read_bytes() == b"new"
    path.unlink()
    eventually(lambda: names(paper.path / "few") == ["file 0", "file 2"])


def test_room_that_was_made_can_be_used_at_once(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", b"old", "few")
    paper.warm()
    with fails_with(errno.EDQUOT):
        (paper.path / "few" / "new").write_bytes(b"x")
    (paper.path / "few" / "file 0").unlink()
    (paper.path / "few" / "new").write_bytes(b"x")
    assert [name for name, _ in paper.held("few")] == ["file 1", "file 2", "new"]
    with fails_with(errno.EDQUOT):
        (paper.path / "few" / "newer").write_bytes(b"x")


def test_local_names_take_no_room_in_a_full_field(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", b"old", "few")
    paper.warm().drive.shell(
        "echo x > .~lock.file#; mv 'file 0' 'file 0~'; printf new > 'file 0'", cwd=paper.path / "few"
    )
    paper.drive.settled()
    assert sorted(paper.held("few")) == [("file 0", b"new"), ("file 1", b"old"), ("file 2", b"old")]


def test_saving_by_a_temporary_file_works_in_a_full_field(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", b"old", "few")
    paper.warm().drive.shell("sed -i s/old/new/ 'file 2'", cwd=paper.path / "few")
    paper.drive.settled()
    assert sorted(paper.held("few")) == [("file 0", b"old"), ("file 1", b"old"), ("file 2", b"new")]
    assert names(paper.path / "few") == ["file 0", "file 1", "file 2"]


def test_an_image_that_the_platform_makes_smaller_is_read_as_it_is_there(paper: Paper) -> None:
    paper.warm()
    path = paper.path / "photo" / "red.png"
    path.write_bytes(picture(400, "red"))
    paper.drive.settled()
    ((name, stored),) = paper.held("photo")
    assert (name, Image.open(io.BytesIO(stored)).width) == ("red.png", 100)
    eventually(lambda: path.stat().st_size == len(stored), seconds=5)
    assert path.read_bytes() == stored
    path.write_bytes(picture(50, "blue"))
    paper.drive.settled()
    assert path.read_bytes() == picture(50, "blue") == paper.held("photo")[0][1]


def test_a_save_in_a_resizing_field_whose_answer_was_lost_is_done_once(paper: Paper) -> None:
    paper.warm()
    paper.drive.platform.fault("save", "drop_answer")
    path = paper.path / "photo" / "red.png"
    with may_fail_with(errno.EIO):
        path.write_bytes(picture(400, "red"))
    paper.drive.settled()
    assert len(paper.held("photo")) == 1
    assert names(path.parent) == ["red.png"]
