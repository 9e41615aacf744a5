"""The figures: how many requests the operations of every day cost, exactly."""

import os
from pathlib import Path

import pytest

from tests.mount.harness import Drive, LocalPlatform, Mounting, Paper, megabytes, names

DOCUMENTS = 1000
FILES = 4


@pytest.fixture
def file(paper: Paper) -> Path:
    paper.put("report.pdf", b"%PDF old")
    paper.warm()
    return paper.scan / "report.pdf"


def _many(platform: LocalPlatform) -> None:
    data = platform.sandbox.platform

    def fill() -> None:
        definition = data.definition(data.add_definition("crowd", fields=["files", "more"]))
        with data.transaction():
            first = data.add_document("crowd", external_id="crowd-0000")
            data.add_attachments(
                "crowd", first, "files", [(f"{name}.txt", b"x" * name) for name in range(FILES)]
            )
            rows = data.files(data.find(definition, first).id, "files")
            for number in range(1, DOCUMENTS):
                document = data.add_document("crowd", external_id=f"crowd-{number:04d}")
                data.attach(document, "files", rows)

    platform.call(fill)


def test_a_thousand_documents_are_found_with_two_pages_and_listed_again_with_nothing(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    _many(platform)
    drive = mounting(platform)
    platform.reset()
    found = drive.shell("find crowd -type f -size -100c").split()
    assert len(set(found)) == DOCUMENTS * FILES
    # Two full pages, and the one that says that there is no more.
    assert sum(drive.requests.values()) <= 4, drive.requests
    assert set(drive.requests) == {"documents"}
    platform.reset()
    assert len(drive.shell("ls -lR crowd").splitlines()) > DOCUMENTS * FILES
    assert drive.requests == {}


def test_a_long_listing_of_a_known_field_costs_nothing(paper: Paper, file: Path) -> None:
    assert "report.pdf" in paper.drive.shell("ls -la", cwd=file.parent)
    assert paper.drive.requests == {}


def test_reading_costs_one_list_and_one_download_and_again_nothing(paper: Paper, file: Path) -> None:
    assert paper.drive.shell("cat report.pdf", cwd=paper.scan) == "%PDF old"
    assert paper.drive.requests == {"list": 1, "download": 1}
    assert file.read_bytes() == b"%PDF old"
    assert paper.drive.requests == {"list": 1, "download": 1}


def test_reading_a_large_file_costs_one_list_and_few_downloads(paper: Paper) -> None:
    paper.put("large", megabytes(8))
    paper.warm().drive.shell("cat large | cmp -n 8388608 - large", cwd=paper.scan)
    assert paper.drive.requests["list"] == 1
    assert paper.drive.platform.content_bytes[1] <= 8.5 * 1024 * 1024


def test_copying_a_new_file_in_costs_one_request(paper: Paper, tmp_path: Path) -> None:
    (tmp_path / "new.pdf").write_bytes(b"new")
    paper.warm().drive.shell('cp "$1" .', tmp_path / "new.pdf", cwd=paper.scan)
    assert paper.drive.requests == {"save": 1}


def test_copying_over_a_file_costs_a_save_and_a_delete(paper: Paper, file: Path, tmp_path: Path) -> None:
    (tmp_path / "new.pdf").write_bytes(b"new")
    paper.drive.shell('cp "$1" "$2"', tmp_path / "new.pdf", file)
    assert paper.drive.requests == {"save": 1, "delete": 1}


@pytest.mark.parametrize("size", [0, 5, 4 * 1024 * 1024])
def test_moving_to_another_document_costs_two_requests_and_no_content(paper: Paper, size: int) -> None:
    paper.put("moved", bytes(size))
    other = Paper(paper.drive, paper.drive.platform.document())
    paper.warm(other).drive.shell("mv moved $1/", other.scan, cwd=paper.scan)
    assert paper.drive.requests == {"copy": 1, "delete": 1}
    sent, received = paper.drive.platform.content_bytes
    assert received == 0
    assert sent < 1000
    assert other.held() == [("moved", bytes(size))]
    assert paper.held() == []


def test_moving_costs_the_bytes_that_tell_the_copy_where_the_platform_does_not_name_it(
    paper: Paper, file: Path
) -> None:
    other = Paper(paper.drive, paper.drive.platform.document())
    paper.warm(other)
    paper.drive.platform.variants("silent-copy")
    paper.drive.shell("mv report.pdf $1/", other.scan, cwd=file.parent)
    assert paper.drive.requests == {"copy": 1, "list": 2, "download": 2, "delete": 1}
    assert other.held() == [("report.pdf", b"%PDF old")]


def test_removing_costs_one_request(paper: Paper, file: Path) -> None:
    paper.drive.shell("rm report.pdf", cwd=file.parent)
    assert paper.drive.requests == {"delete": 1}
    assert names(paper.scan) == []


def test_names_that_programs_probe_for_cost_nothing(paper: Paper) -> None:
    paper.warm()
    probes = (
        ".git",
        "HEAD",
        ".hidden",
        ".directory",
        "autorun.inf",
        ".Trash-0",
        ".xdg-volume-info",
        ".DS_Store",
    )
    drive = paper.drive
    (drive.path / "invoice").stat()
    drive.platform.reset()
    for place in (drive.path, drive.path / "order", drive.path / "invoice", paper.path, paper.scan):
        for probe in probes:
            assert not os.path.lexists(place / probe)
    assert drive.requests == {}


def test_a_name_that_is_not_there_costs_nothing_in_a_known_field_and_one_request_above(drive: Drive) -> None:
    paper = Paper(drive, drive.platform.document()).warm()
    for _ in range(3):
        assert not (paper.scan / "nothing").exists()
        assert not (paper.path / "nothing").exists()
    assert drive.requests == {}


def test_walking_to_one_document_costs_one_request(paper: Paper) -> None:
    paper.put("a", b"a")
    names(paper.drive.path)
    paper.drive.platform.reset()
    assert (paper.scan / "a").stat().st_size == 1
    # By its external id, which has to be resolved; what it holds comes with it.
    assert sum(paper.drive.requests.values()) == 1, paper.drive.requests


def test_a_desktop_of_questions_about_a_known_file_costs_nothing(paper: Paper, file: Path) -> None:
    script = "stat report.pdf; test -r report.pdf; test -x report.pdf; df . ; ls -i; find . -newer report.pdf"
    paper.drive.shell(script, cwd=paper.scan)
    os.listxattr(file)
    assert paper.drive.requests == {}
