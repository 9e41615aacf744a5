"""The platform without HTTP: data, rules between documents and files, what lasts."""

from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from aerofs.sandbox.definitions import FieldSpec
from aerofs.sandbox.ids import Ids
from aerofs.sandbox.images import dimensions, shrunk
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.refusals import Refusal


def arranged(platform: Platform) -> str:
    platform.add_definition(
        "order",
        fields=["photos", "deep.er.files", FieldSpec("number", type="text")],
        lines={"rows": [FieldSpec("n", type="text"), "photo", "deep.files"]},
    )
    return platform.add_document("order", external_id="A", lines={"rows": [{"n": "1"}, {"n": "2"}]})


@pytest.fixture
def platform() -> Iterator[Platform]:
    platform = Platform.open()
    yield platform
    platform.close()


def test_ids_of_documents_grow_and_have_24_hex_digits() -> None:
    ids = Ids()
    grown = [ids.growing() for _ in range(1000)]
    assert grown == sorted(grown)
    assert all(len(id_) == 24 and int(id_, 16) for id_ in [*grown, ids.random()])


def test_files_stand_in_header_fields_nested_fields_and_lines(platform: Platform) -> None:
    document = arranged(platform)
    first, second = platform.line_ids("order", document, "rows")
    for path in ("photos", "deep.er.files", f"rows.{second}.photo", f"rows.{first}.deep.files"):
        platform.add_attachment("order", document, path, f"{path}.txt", path.encode())
        assert [file[1:] for file in platform.attachments("order", "A", path)] == [
            (f"{path}.txt", path.encode())
        ]
    spec = platform.definition("order")
    told = platform.documents_json(spec, [platform.find(spec, "A")])[0]
    assert told["deep"]["er"]["files"][0]["_fileName"] == "deep.er.files.txt"
    assert [len(row["photo"]) for row in told["rows"]] == [0, 1]
    assert [len(row["deep"]["files"]) for row in told["rows"]] == [1, 0]
    assert told["rows"][0]["n"] == "1"


@pytest.mark.parametrize("path", ["nonsense", "number", "rows", "rows.x", "photos.x", "deep.er"])
def test_a_path_to_anything_but_a_field_of_files_is_refused(platform: Platform, path: str) -> None:
    document = arranged(platform)
    with pytest.raises(Refusal, match="400"):
        platform.place("order", document, path)


def test_a_line_that_is_not_there_is_not_found(platform: Platform) -> None:
    document = arranged(platform)
    with pytest.raises(Refusal, match="404"):
        platform.place("order", document, "rows.0.photo")


def test_every_change_moves_the_moment_and_the_hash_forwards(platform: Platform) -> None:
    document = arranged(platform)
    spec = platform.definition("order")
    seen = []
    for change in (
        lambda: None,
        lambda: platform.add_attachment("order", document, "photos", "a", b"1"),
        lambda: platform.remove_attachment(platform.attachments("order", document, "photos")[0].id),
        lambda: platform.update(platform.find(spec, document), {"number": "7"}),
        lambda: platform.touch(document),
    ):
        change()
        told = platform.documents_json(spec, [platform.find(spec, document)])[0]
        seen.append((told["_lastModifiedOn"], told["_hash"]))
    assert [moment for moment, _ in seen] == sorted({moment for moment, _ in seen})
    assert len({digest for _, digest in seen}) == 5
    assert datetime.fromisoformat(seen[0][0]).tzinfo is not None


def test_an_external_id_may_be_shared_or_equal_an_id(platform: Platform) -> None:
    first = arranged(platform)
    platform.add_document("order", external_id="A")
    platform.add_document("order", external_id=first)
    spec = platform.definition("order")
    assert platform.find(spec, "A").id == first
    assert platform.find(spec, first).external_id == "A"


def test_copies_share_their_content_until_the_last_is_gone(platform: Platform) -> None:
    document = arranged(platform)
    platform.add_attachment("order", document, "photos", "a", b"12345")
    copied = platform.attach(document, "deep.er.files", platform.files(document, "photos"))
    assert len(list(platform.database.blobs.iterdir())) == 1
    platform.remove_attachment(platform.attachments("order", document, "photos")[0].id)
    assert platform.attachments("order", document, "deep.er.files")[0].data == b"12345"
    platform.detach(copied[0])
    assert not list(platform.database.blobs.iterdir())


def test_a_document_takes_its_files_with_it_and_so_does_a_line(platform: Platform) -> None:
    document = arranged(platform)
    first, second = platform.line_ids("order", document, "rows")
    for path in ("photos", f"rows.{first}.photo", f"rows.{second}.photo"):
        platform.add_attachment("order", document, path, "a", b"x")
    row = platform.find(platform.definition("order"), document)
    platform.update(row, {"rows": [{"_id": second}]})
    assert len(list(platform.database.blobs.iterdir())) == 2
    platform.remove_document("order", document)
    assert not list(platform.database.blobs.iterdir())


def test_a_transaction_that_fails_leaves_rows_and_contents_as_they_were(platform: Platform) -> None:
    document = arranged(platform)
    kept = platform.add_attachment("order", document, "photos", "a", b"x")

    def fail() -> None:
        with platform.transaction():
            platform.remove_attachment(kept)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert platform.attachments("order", document, "photos") == [(kept, "a", b"x")]


def test_data_lasts_and_what_a_crash_left_behind_is_swept(tmp_path: Path) -> None:
    platform = Platform.open(tmp_path / "data")
    document = arranged(platform)
    platform.add_attachment("order", document, "photos", "a", b"x")
    secret = platform.secret
    (platform.database.incoming / "half").write_bytes(b"half")
    (platform.database.blobs / "orphan").write_bytes(b"nobody's")
    platform.close()
    again = Platform.open(tmp_path / "data")
    assert again.secret == secret
    assert again.definition("order").lines[0].fields[1].name == "photo"
    assert [file.data for file in again.attachments("order", "A", "photos")] == [b"x"]
    assert not list(again.database.incoming.iterdir())
    assert len(list(again.database.blobs.iterdir())) == 1
    again.close()


def test_what_was_in_memory_leaves_nothing_on_the_disk() -> None:
    platform = Platform.open()
    document = arranged(platform)
    platform.add_attachment("order", document, "photos", "a", b"x")
    directory = platform.database.blobs.parent
    platform.close()
    assert not directory.exists()


def test_pictures_have_a_size_and_can_be_shrunk(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG"):
        path = tmp_path / kind
        Image.new("RGB", (400, 200), "teal").save(path, kind)
        assert dimensions(path) == (400, 200)
        assert shrunk(path, 100) == (100, 50)
        assert Image.open(BytesIO(path.read_bytes())).format == kind
        before = path.read_bytes()
        assert shrunk(path, 100) == (100, 50)
        assert path.read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff no picture", b"text", b"\x89PNG\r\n\x1a\n1234"])
def test_what_is_no_picture_has_no_size_and_is_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    assert dimensions(path) is None
    assert shrunk(path, 10) is None
    assert path.read_bytes() == data
