"""Fields with a maximum, and fields that resize images: what is replaced, what is put back."""

import errno
import io

import pytest
from PIL import Image

from tests.mount.harness import Paper, fails_with, may_fail_with, names
from tests.mounted import eventually


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


@pytest.mark.parametrize("command", ["cp x {}/new", "mv x {}/", "mv x {}/new"])
@pytest.mark.parametrize("field", ["few", "single", "needed1"])
def test_nothing_new_goes_into_a_full_field_whatever_the_tool(paper: Paper, field: str, command: str) -> None:
    for number in range(3 if field == "few" else 1):
        paper.put(f"file {number}", b"old", field)
    paper.put("x", b"from elsewhere")
    before = paper.held(field)
    said = paper.warm().drive.shell(command.format(f"../{field}"), cwd=paper.scan, fails=True)
    assert "quota" in said.lower()
    assert (paper.held(field), paper.held()) == (before, [("x", b"from elsewhere")])
    assert names(paper.path / field) == [name for name, _ in before]
    assert (paper.scan / "x").read_bytes() == b"from elsewhere"
    assert not {"save", "copy", "delete"} & paper.drive.requests.keys()


@pytest.mark.parametrize("field", ["few", "single", "needed", "needed1"])
def test_a_file_from_elsewhere_goes_over_one_of_a_full_field(paper: Paper, field: str) -> None:
    for number in range(3 if field == "few" else 1):
        paper.put(f"file {number}", b"old", field)
    paper.put("x", b"from elsewhere")
    paper.warm().drive.shell(f"mv x '../{field}/file 0'", cwd=paper.scan)
    paper.drive.settled()
    found = dict(paper.held(field))
    assert found.pop("file 0") == b"from elsewhere"
    assert found == ({"file 1": b"old", "file 2": b"old"} if field == "few" else {})
    assert paper.held() == []
    assert (paper.path / field / "file 0").read_bytes() == b"from elsewhere"


@pytest.mark.parametrize("field", ["few", "single", "needed", "needed1"])
def test_a_file_that_may_not_go_over_one_of_a_full_field_leaves_both(paper: Paper, field: str) -> None:
    for number in range(3 if field == "few" else 1):
        paper.put(f"file {number}", b"old", field)
    paper.put("x", b"from elsewhere")
    paper.warm()
    before = sorted(paper.held(field))
    paper.drive.platform.fault("save", "status", status=403)
    with fails_with(errno.EACCES):
        (paper.scan / "x").rename(paper.path / field / "file 0")
    assert (sorted(paper.held(field)), paper.held()) == (before, [("x", b"from elsewhere")])
    assert (paper.scan / "x").read_bytes() == b"from elsewhere"
    assert (paper.path / field / "file 0").read_bytes() == b"old"
    assert names(paper.path / field) == [name for name, _ in before]
    assert paper.drive.saves("held", "queued") == []


def test_the_last_place_of_a_field_is_enough_to_stand_beside_somebody_elses_version(paper: Paper) -> None:
    for number in range(3):
        paper.put(f"file {number}", b"old", "few")
    paper.warm()
    path = paper.path / "few" / "file 1"
    before = paper.ids("few")
    with path.open("r+b", buffering=0) as file:
        file.write(b"ours")
        # Somebody replaces it, and removes another: ours fits in once, not twice.
        for each in before[1:]:
            paper.drive.platform.remove(each)
        paper.put("file 1", b"theirs", "few")
    paper.drive.settled()
    found = dict(paper.held("few"))
    assert (found.pop("file 0"), found.pop("file 1")) == (b"old", b"theirs")
    ((name, data),) = found.items()
    assert name.startswith("file 1 (conflict ")
    assert data == b"ours"


def test_an_image_that_the_platform_makes_smaller_is_read_as_it_is_there(paper: Paper) -> None:
    paper.warm()
    path = paper.path / "photo" / "red.png"
    path.write_bytes(picture(400, "red"))
    paper.drive.settled()
    ((name, stored),) = paper.held("photo")
    assert (name, Image.open(io.BytesIO(stored)).width) == ("red.png", 100)
    eventually(lambda: path.stat().st_size == len(stored))
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
