"""Blob files on a real disk: what is held, for how long, and what goes first."""

import errno
import os
from pathlib import Path

import pytest

from aerofs.content.blobs import Blob, Blobs
from aerofs.errors import LocalIOError, NoSpaceError
from aerofs.model import AttachmentId

A, B, C = AttachmentId("a"), AttachmentId("b"), AttachmentId("c")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "blobs"


@pytest.fixture
def blobs(directory: Path) -> Blobs:
    return Blobs(directory, maximum_bytes=1000)


def filled(blobs: Blobs, name: AttachmentId, size: int) -> Blob:
    blob = blobs.blob(name, size)
    blob.write(0, bytes([name.encode()[0]]) * size)
    return blob


def test_the_directory_is_private_and_emptied_of_blobs_alone(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o755)
    (directory / "left.1.blob").write_bytes(b"from before")
    (directory / "notes.txt").write_bytes(b"not ours")
    Blobs(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalIOError, match="cannot hold cached files"):
        Blobs(tmp_path / "file" / "blobs")


def test_written_ranges_are_held_and_read_back(blobs: Blobs) -> None:
    blob = blobs.blob(A, 100)
    blob.write(50, b"world")
    blob.write(0, memoryview(b"hello"))
    assert list(blob.held) == [(0, 5), (50, 55)]
    assert blob.pread(51, 3) == b"orl"
    assert not blob.whole
    assert blobs.statistics()["bytes"] == 10


def test_a_blob_is_whole_when_every_byte_is_held(blobs: Blobs) -> None:
    blob = blobs.blob(A, 10)
    blob.write(0, b"12345")
    blob.write(5, b"67890")
    assert blob.whole
    assert blob.file().read_bytes() == b"1234567890"
    assert not blobs.blob(B, None).whole
    assert blobs.blob(C, 0).whole
    assert blobs.blob(C, 0).file().read_bytes() == b""


def test_the_same_attachment_is_the_same_blob(blobs: Blobs) -> None:
    assert blobs.get(A) is None
    blob = blobs.blob(A, None)
    assert blobs.blob(A, 7) is blobs.get(A) is blob
    assert blob.size == 7


def test_a_promised_size_corrects_only_a_promised_size(blobs: Blobs) -> None:
    blob = blobs.blob(A, 7)
    assert blobs.blob(A, 8).size == 8
    blob.write(0, b"1")
    assert blobs.blob(A, 9).size == 8
    other = blobs.blob(B, 7)
    other.confirmed = True
    assert blobs.blob(B, 9).size == 7


@pytest.mark.parametrize("name", ["../../etc/passwd", ".", "x" * 300, "a b/c"])
def test_any_id_has_a_file_inside_the_directory(blobs: Blobs, directory: Path, name: str) -> None:
    blob = filled(blobs, AttachmentId(name), 3)
    assert blob.path.parent == directory
    assert len(blob.path.name) < 100
    assert blob.path.stat().st_mode & 0o777 == 0o600


def test_the_longest_unused_blobs_go_first_and_pinned_ones_stay(blobs: Blobs) -> None:
    first, second = filled(blobs, A, 400), filled(blobs, B, 400)
    blobs.get(A)
    filled(blobs, C, 400)
    assert blobs.get(B) is None
    assert not second.path.exists()
    first.pin()
    filled(blobs, B, 900)
    assert blobs.get(A) is first
    assert first.pread(0, 2) == b"aa"
    assert blobs.statistics()["evicted"] == 3  # B, C, and the new B, which alone was beyond the bound
    first.unpin()
    assert blobs.get(A) is first


def test_a_dropped_blob_stays_readable_for_who_has_it_pinned(blobs: Blobs) -> None:
    old = filled(blobs, A, 10)
    old.pin()
    blobs.drop(A)
    assert blobs.get(A) is None
    assert blobs.statistics()["bytes"] == 0
    new = blobs.blob(A, 10)
    new.write(0, b"new")
    assert old.pread(0, 3) == b"aaa"
    old.write(10, b"late")
    assert blobs.statistics()["bytes"] == 3
    old.unpin()
    assert not old.path.exists()
    assert new.pread(0, 3) == b"new"
    blobs.drop(A)
    blobs.drop(A)
    assert not new.path.exists()


def test_nothing_is_kept_of_a_blob_that_never_held_anything(blobs: Blobs) -> None:
    blob = blobs.blob(A, 10)
    blob.pin()
    blob.unpin()
    assert blobs.statistics()["blobs"] == 0
    with pytest.raises(ValueError, match="not pinned"):
        blob.unpin()


def test_a_draft_becomes_a_whole_blob(blobs: Blobs, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.write_bytes(b"written here")
    filled(blobs, A, 5)
    blobs.adopt(A, draft, 12)
    blob = blobs.get(A)
    assert blob is not None
    assert blob.whole
    assert blob.pread(0, 12) == b"written here"
    assert not draft.exists()
    assert blobs.statistics()["bytes"] == 12


def test_a_draft_of_another_length_is_not_taken_for_the_blob(blobs: Blobs, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.write_bytes(b"written here, and more")
    blobs.adopt(A, draft, 12)
    assert blobs.get(A) is None
    assert not draft.exists()


def test_a_draft_on_another_file_system_is_dropped(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(_self: Path, _target: Path) -> Path:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "rename", rename)
    draft = tmp_path / "draft"
    draft.write_bytes(b"written here")
    blobs.adopt(A, draft, 12)
    assert blobs.get(A) is None
    assert not draft.exists()


def test_few_files_are_open_at_a_time(directory: Path) -> None:
    blobs = Blobs(directory, maximum_open=2)
    many = [filled(blobs, AttachmentId(str(number)), 4) for number in range(10)]
    assert [blob.pread(0, 1) for blob in many] == [str(number).encode() for number in range(10)]
    assert blobs.statistics()["open"] == 2
    blobs.close()
    assert blobs.statistics()["open"] == 0
    assert many[0].pread(0, 1) == b"0"
    blobs.close()


def test_forgetting_moves_the_version_on(blobs: Blobs) -> None:
    blob = filled(blobs, A, 10)
    blob.forget()
    assert (blob.version, len(blob.held), blobs.statistics()["bytes"]) == (1, 0, 0)


def test_a_full_disk_costs_unused_blobs_first(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    unused = filled(blobs, A, 100)
    blob = blobs.blob(B, 10)
    blob.pin()
    real, calls = os.pwrite, []

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        if unused.path.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:4], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    blob.write(0, b"0123456789")
    assert blob.pread(0, 10) == b"0123456789"
    assert calls == [0, 0, 4, 8]


def test_a_disk_that_stays_full_is_an_error_and_nothing_counts_as_held(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(_descriptor: int, _data: memoryview, _offset: int) -> int:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "pwrite", pwrite)
    blob = blobs.blob(A, 10)
    with pytest.raises(NoSpaceError):
        blob.write(0, b"1")
    assert not blob.held


def test_a_failing_disk_is_a_local_error(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = filled(blobs, A, 10)

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(LocalIOError, match="caching it failed"):
        blob.write(0, b"1")
    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(LocalIOError, match="reading its local copy failed"):
        blob.pread(0, 1)
    monkeypatch.setattr(os, "ftruncate", broken)
    with pytest.raises(LocalIOError, match="its local copy failed"):
        blob.file()


def test_a_file_that_was_cut_or_removed_never_reads_as_zeros(blobs: Blobs) -> None:
    blob = filled(blobs, A, 10)
    os.truncate(blob.path, 5)
    with pytest.raises(LocalIOError, match="was cut at 5"):
        blob.pread(0, 10)
    blobs.close()
    blob.path.unlink()
    with pytest.raises(LocalIOError):
        blob.pread(0, 5)
    assert "a 10/10" in repr(blob)
    assert repr(blobs) == "<Blobs 1 blobs, 10 bytes>"


def test_a_copy_on_the_platform_shares_the_whole_blob_and_outlives_it(blobs: Blobs) -> None:
    filled(blobs, A, 100)
    blobs.share(A, B)
    blobs.drop(A)
    copy = blobs.get(B)
    assert copy is not None
    assert copy.whole
    assert copy.pread(0, 100) == b"a" * 100


def test_a_blob_that_is_not_whole_is_not_shared(blobs: Blobs) -> None:
    blobs.blob(A, 100).write(0, b"half")
    blobs.share(A, B)
    assert blobs.get(B) is None
