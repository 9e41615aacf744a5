"""The local disk is full: writers are told, what was there stays, readers read on."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.harness import Drive, LocalPlatform, Mounting, Paper, fails_with, names

LARGE = os.urandom(10 << 20)

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="a small disk is made by mounting one, which takes root"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Six megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def paper(platform: LocalPlatform, small_disk: Path, mounting: Mounting) -> Paper:
    drive: Drive = mounting(platform, state_dir=small_disk / "state")
    return Paper(drive, platform.document())


def test_a_new_file_that_does_not_fit_is_refused_and_leaves_nothing(paper: Paper) -> None:
    with fails_with(errno.ENOSPC):
        (paper.scan / "large").write_bytes(LARGE)
    assert names(paper.scan) == []
    assert paper.held() == []
    (paper.scan / "small").write_bytes(b"fits")
    assert paper.held() == [("small", b"fits")]
    assert paper.drive.saves() == []


def test_a_file_that_is_overwritten_with_too_much_stays_what_it_was(paper: Paper) -> None:
    paper.put("a.txt", b"old")
    with fails_with(errno.ENOSPC):
        (paper.scan / "a.txt").write_bytes(LARGE)
    assert (paper.scan / "a.txt").read_bytes() == b"old"
    assert paper.held() == [("a.txt", b"old")]
    (paper.scan / "a.txt").write_bytes(b"new")
    assert paper.held() == [("a.txt", b"new")]


def test_what_is_only_cached_goes_for_a_save(paper: Paper) -> None:
    paper.put("cached", LARGE[: 4 << 20])
    assert (paper.scan / "cached").read_bytes() == LARGE[: 4 << 20]
    (paper.scan / "new").write_bytes(LARGE[: 5 << 20])
    assert dict(paper.held())["new"] == LARGE[: 5 << 20]
    assert (paper.scan / "cached").read_bytes() == LARGE[: 4 << 20]


def test_a_file_larger_than_the_disk_is_read_all_the_same(paper: Paper) -> None:
    paper.put("large", LARGE)
    assert (paper.scan / "large").read_bytes() == LARGE
    (paper.scan / "small").write_bytes(b"fits")
    assert ("small", b"fits") in paper.held()
