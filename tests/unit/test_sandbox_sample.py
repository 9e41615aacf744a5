"""The sample company."""

import unicodedata
import zipfile
from collections.abc import Iterator
from io import BytesIO

import pytest

from aerofs.sandbox.images import dimensions
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.sample import fill


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    platform = Platform.open()
    fill(platform)
    yield platform
    platform.close()


def test_it_has_four_definitions_and_some_dozens_of_documents(platform: Platform) -> None:
    names = [spec.name for spec in platform.definitions.values()]
    assert names == ["invoice", "work-order", "employee", "menu-item"]
    assert 40 <= len(platform.database.documents("1")) <= 80


def test_its_files_are_real(platform: Platform) -> None:
    kinds: set[str] = set()
    total = 0
    for row in platform.database.attachments("1"):
        content = platform.content(row)
        data = content.read_bytes()
        total += len(data)
        ending = row.name.rpartition(".")[2]
        kinds.add(ending)
        if ending in ("jpg", "png"):
            assert dimensions(content) == (row.width, row.height) != (None, None)
        elif ending == "pdf":
            assert data.startswith(b"%PDF-")
        elif ending == "odt":
            with zipfile.ZipFile(BytesIO(data)) as odt:
                assert odt.infolist()[0].filename == "mimetype"
                assert b"Contract of employment" in odt.read("content.xml")
    assert {"jpg", "png", "pdf", "odt", "txt"} <= kinds
    assert total < 15_000_000


def test_the_awkward_ones_are_there(platform: Platform) -> None:
    rows = platform.database.attachments("1")
    names = [row.name for row in rows]
    assert {"a/b.pdf", ".."} <= set(names)
    assert any(len(name.encode()) >= 300 for name in names)
    assert any(unicodedata.normalize("NFC", name) != name for name in names)
    assert any(row.size == 0 for row in rows)
    twins = platform.attachments("invoice", "bdr:200¡adm:05¡prj:6", "attachments.invoiceFiles")
    assert [file.name for file in twins] == ["factuur.pdf"] * 2
    assert twins[0].data != twins[1].data
    assert platform.attachments("invoice", "empty", "scan") == []
    assert any(row.external_id is None for row in platform.database.documents("1"))


def test_it_is_the_same_every_time(platform: Platform) -> None:
    again = Platform.open()
    fill(again)

    def essence(of: Platform) -> list[object]:
        files = [(row.id, row.name, of.content(row).read_bytes()) for row in of.database.attachments("1")]
        return [*of.database.documents("1"), *files]

    assert essence(again) == essence(platform)
    again.close()
