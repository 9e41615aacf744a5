"""Reading: the right bytes in every way of asking, from every kind of platform."""

import errno
import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.harness import Paper, fails_with, megabytes, names, opened
from tests.mounted import eventually

SIZE = 3
DATA = megabytes(SIZE)


@pytest.fixture
def file(paper: Paper) -> Path:
    paper.put("data", DATA)
    paper.warm()
    return paper.scan / "data"


def test_a_file_is_read_whole(paper: Paper, file: Path) -> None:
    assert file.read_bytes() == DATA
    digest = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert paper.drive.shell("md5sum data", cwd=paper.scan) == f"{digest}  data\n"
    assert paper.drive.requests["list"] == 1


def test_an_empty_file_is_read_without_a_download(paper: Paper) -> None:
    paper.put("empty", b"")
    paper.warm()
    assert (paper.scan / "empty").read_bytes() == b""
    assert paper.drive.requests == {}


def test_reads_in_any_order_are_right(file: Path) -> None:
    choice = random.Random(1)
    with opened(file, os.O_RDONLY) as reading:
        for _ in range(60):
            offset, length = choice.randrange(len(DATA)), choice.choice([1, 100, 4096, 200_000])
            assert os.pread(reading, length, offset) == DATA[offset : offset + length]
        assert os.pread(reading, 10, len(DATA)) == b""
        assert os.pread(reading, 10, len(DATA) - 3) == DATA[-3:]


def test_a_look_at_the_beginning_does_not_fetch_the_whole(paper: Paper) -> None:
    paper.put("large", megabytes(30))
    paper.warm()
    with opened(paper.scan / "large", os.O_RDONLY) as reading:
        os.posix_fadvise(reading, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(reading, 4096, 0) == megabytes(1)[:4096]
    assert paper.drive.platform.content_bytes[1] <= 2 * 1024 * 1024


def test_seeking_far_ahead_does_not_fetch_what_lies_between(paper: Paper) -> None:
    data = megabytes(30)
    paper.put("large", data)
    paper.warm().drive.shell(
        "dd if=large bs=1M skip=28 status=none | cmp -i 0:29360128 - large", cwd=paper.scan
    )
    fresh = Paper(paper.drive, paper.drive.platform.document())
    fresh.put("large", data)
    fresh.warm()
    with (fresh.scan / "large").open("rb") as reading:
        reading.seek(28 * 1024 * 1024)
        assert reading.read(1000) == data[28 * 1024 * 1024 :][:1000]
    assert paper.drive.platform.content_bytes[1] <= 4 * 1024 * 1024


def test_many_readers_of_one_file_share_what_they_fetch(paper: Paper, file: Path) -> None:
    with ThreadPoolExecutor(8) as readers:
        for data in readers.map(lambda _: file.read_bytes(), range(16)):
            assert data == DATA
    assert paper.drive.requests["list"] == 1
    assert paper.drive.platform.content_bytes[1] <= 1.2 * len(DATA)


def test_many_files_are_read_at_once(paper: Paper) -> None:
    for number in range(30):
        paper.put(f"file {number}", megabytes(1, number)[: 50_000 + number])
    paper.warm()
    with ThreadPoolExecutor(10) as readers:
        read = dict(readers.map(lambda name: (name, (paper.scan / name).read_bytes()), names(paper.scan)))
    assert read == {f"file {number}": megabytes(1, number)[: 50_000 + number] for number in range(30)}


def test_a_file_can_be_mapped_into_memory(paper: Paper, file: Path) -> None:
    script = (
        "import hashlib, mmap, sys\n"
        "with open(sys.argv[1], 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:\n"
        "    print(memory[2000000:2000020], hashlib.sha256(memory).hexdigest())\n"
    )
    expected = f"{DATA[2000000:2000020]!r} {hashlib.sha256(DATA).hexdigest()}\n"
    assert paper.drive.python(script, file) == expected


@pytest.mark.parametrize(
    "variants",
    [
        ("no-sizes",),
        ("no-range",),
        ("no-sizes", "no-range"),
        ("redirect-urls",),
        ("relative-urls",),
        ("api-urls", "no-sizes"),
        ("plain-keys", "data-envelope"),
    ],
)
def test_every_kind_of_platform_yields_the_bytes(paper: Paper, variants: tuple[str, ...]) -> None:
    paper.drive.platform.variants(*variants)
    paper.drive.ask("refresh")
    paper.put("data", DATA)
    paper.put("short", b"short")
    paper.put("empty", b"")
    assert (paper.scan / "data").read_bytes() == DATA
    assert (
        paper.drive.shell("cat short empty short; wc -c < data", cwd=paper.scan) == f"shortshort{len(DATA)}\n"
    )
    with opened(paper.scan / "data", os.O_RDONLY) as reading:
        assert os.pread(reading, 10, 1_000_000) == DATA[1_000_000:1_000_010]
    assert [(paper.scan / name).stat().st_size for name in ("data", "short", "empty")] == [len(DATA), 5, 0]
    paper.drive.platform.behave()
    paper.drive.ask("refresh")


def test_urls_that_expire_in_mid_file_are_renewed(paper: Paper) -> None:
    paper.put("large", megabytes(8))
    paper.drive.platform.variants("short-urls")
    paper.warm()
    with (paper.scan / "large").open("rb", buffering=0) as reading:
        assert reading.read(1000) == megabytes(1)[:1000]
        paper.drive.platform.fault("download", "status", status=403, count=2)
        rest = b""
        while piece := reading.read(1 << 20):
            rest += piece
    assert rest == megabytes(8)[1000:]


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "cut", "at": 700_000},
        {"action": "half"},
        {"action": "status", "status": 503},
        {"action": "status", "status": 404},
        {"action": "drop_answer"},
    ],
)
def test_a_download_that_breaks_once_goes_on(paper: Paper, file: Path, fault: dict[str, object]) -> None:
    paper.drive.platform.fault("download", **fault)
    assert file.read_bytes() == DATA


def test_a_download_that_never_succeeds_is_an_error_and_no_other_bytes(paper: Paper, file: Path) -> None:
    paper.drive.platform.fault("download", "status", status=500, count=None)
    with fails_with(errno.EIO, errno.ETIMEDOUT):
        file.read_bytes()
    paper.drive.platform.behave()
    eventually(lambda: file.read_bytes() == DATA)


def test_a_reader_keeps_what_it_opened_when_somebody_else_replaces_the_file(paper: Paper, file: Path) -> None:
    (before,) = paper.ids()
    with opened(file, os.O_RDONLY) as reading:
        number = os.fstat(reading).st_ino
        assert os.pread(reading, len(DATA), 0) == DATA
        paper.put("data", b"another")
        paper.drive.platform.remove(before)
        paper.drive.ask("refresh")
        eventually(lambda: file.stat().st_ino != number)
        assert file.read_bytes() == b"another"
        assert os.pread(reading, len(DATA), 0) == DATA
        assert os.fstat(reading).st_size == len(DATA)


def test_a_reader_whose_version_is_gone_gets_an_error_and_no_other_bytes(paper: Paper, file: Path) -> None:
    (before,) = paper.ids()
    with opened(file, os.O_RDONLY) as reading:
        number = os.fstat(reading).st_ino
        paper.put("data", megabytes(SIZE, 1))
        paper.drive.platform.remove(before)
        with fails_with(errno.ESTALE, errno.EIO):
            os.pread(reading, 100, 0)
    # Whoever opens it now gets what stands there now.
    eventually(lambda: file.stat().st_ino != number)
    assert file.read_bytes() == megabytes(SIZE, 1)


def test_a_listing_goes_on_while_a_download_is_slow(paper: Paper, file: Path) -> None:
    with paper.drive.platform.hold("download") as download, ThreadPoolExecutor(1) as readers:
        reading = readers.submit(file.read_bytes)
        download.arrived()
        assert names(paper.scan) == ["data"]
        assert file.stat().st_size == len(DATA)
        download.release()
        assert reading.result() == DATA
