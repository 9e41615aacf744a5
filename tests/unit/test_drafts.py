"""Drafts: plain storage that never changes what a save reads, and never forgets a refusal."""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aerofs.content import draft as module
from aerofs.content.disk import clone, digest
from aerofs.content.draft import Draft
from aerofs.errors import LocalIOError, NoSpaceError, TooLargeError


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    draft = Draft.empty(tmp_path)
    yield draft
    draft.close()


async def test_what_was_written_can_be_read_back(draft: Draft) -> None:
    assert await draft.write(4, b"world") == 5
    await draft.write(0, b"hey ")
    assert draft.read(0, 100) == b"hey world"
    assert draft.read(7, 100) == b"ld"
    assert draft.size == 9
    assert draft.changes == 2


async def test_truncating_cuts_and_extends_with_zeros(draft: Draft) -> None:
    await draft.write(0, b"0123456789")
    await draft.truncate(3)
    await draft.truncate(5)
    assert draft.read(0, 100) == b"012\0\0"
    assert draft.size == 5


@pytest.mark.parametrize("change", ["write", "truncate"])
async def test_a_frozen_file_never_changes(draft: Draft, change: str) -> None:
    await draft.write(0, b"frozen")
    path = draft.freeze()
    if change == "write":
        await draft.write(0, b"THAWED")
    else:
        await draft.truncate(2)
    assert path.read_bytes() == b"frozen"
    assert draft.path != path
    assert draft.read(0, 100) == (b"THAWED" if change == "write" else b"fr")
    assert not draft.release_frozen(path)


@pytest.mark.parametrize("change", ["write", "truncate"])
async def test_what_is_protected_never_changes(draft: Draft, tmp_path: Path, change: str) -> None:
    await draft.write(0, b"protected")
    path = draft.protect()
    await draft.write(9, b", and more")
    assert draft.path == path
    if change == "write":
        await draft.write(8, b"D")
    else:
        await draft.truncate(8)
    assert path.read_bytes() == b"protected, and more"
    assert draft.path != path
    assert draft.read(0, 100) == (b"protecteD, and more" if change == "write" else b"protecte")
    draft.leave(path)
    assert _files(tmp_path) == [draft.path]


async def test_what_is_added_while_the_rest_is_cloned_is_not_lost(
    draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    await draft.write(0, b"protected")
    draft.protect()
    begun, go_on = trio.Event(), threading.Event()

    def slow(source: Path, target: Path, keep: int | None = None) -> None:
        clone(source, target, keep)
        trio.from_thread.run_sync(begun.set)
        go_on.wait(20)

    monkeypatch.setattr(module, "clone", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(draft.write, 0, b"P")
        await begun.wait()
        nursery.start_soon(draft.write, 9, b", and more")
        await wait_all_tasks_blocked(0.02)
        go_on.set()
    assert draft.read(0, 100) == b"Protected, and more"


async def test_no_more_is_copied_than_is_left(
    draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def watched(source: Path, target: Path, keep: int | None = None) -> None:
        clone(source, target, keep)
        sizes.append(target.stat().st_size)

    monkeypatch.setattr(module, "clone", watched)
    for size in (3, 0):
        await draft.write(0, bytes(1000))
        path = draft.protect()
        await draft.truncate(size)
        draft.leave(path)
    assert sizes == [3, 0]
    assert _files(tmp_path) == [draft.path]


async def test_writes_that_come_together_thaw_a_draft_once(draft: Draft, tmp_path: Path) -> None:
    await draft.write(0, b"........")
    path = draft.freeze()
    async with trio.open_nursery() as nursery:
        for offset in range(8):
            nursery.start_soon(draft.write, offset, b"%d" % offset)
    assert path.read_bytes() == b"........"
    assert draft.read(0, 100) == b"01234567"
    assert len(_files(tmp_path)) == 2


async def test_a_save_that_ends_while_the_draft_is_cloned_leaves_one_file(
    draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await draft.write(0, b"frozen")
    path = draft.freeze()

    def ending(source: Path, target: Path, keep: int | None = None) -> None:
        clone(source, target, keep)
        trio.from_thread.run_sync(draft.release_frozen, path)

    monkeypatch.setattr(module, "clone", ending)
    await draft.write(0, b"THAWED")
    assert draft.read(0, 100) == b"THAWED"
    assert _files(tmp_path) == [draft.path]


async def test_a_draft_that_was_not_written_again_keeps_its_file(draft: Draft) -> None:
    await draft.write(0, b"frozen")
    path = draft.freeze()
    assert draft.release_frozen(path)
    await draft.write(0, b"THAWED")
    assert draft.path == path


async def test_a_discarded_draft_leaves_what_a_save_still_reads(draft: Draft) -> None:
    await draft.write(0, b"frozen")
    path = draft.freeze()
    draft.discard()
    assert path.read_bytes() == b"frozen"


async def test_a_discarded_draft_leaves_nothing_else(draft: Draft, tmp_path: Path) -> None:
    draft.discard()
    draft.discard()
    assert _files(tmp_path) == []


async def test_beyond_the_limit_a_write_is_refused_and_the_refusal_stays(tmp_path: Path) -> None:
    draft = Draft.empty(tmp_path, limit=4)
    await draft.write(0, b"1234")
    with pytest.raises(TooLargeError) as raised:
        await draft.write(1, b"2345")
    await draft.write(0, b"ok")
    assert draft.refusal is raised.value
    assert draft.read(0, 100) == b"ok34"
    draft.close()


async def test_beyond_the_limit_a_truncation_is_refused(tmp_path: Path) -> None:
    draft = Draft.empty(tmp_path, limit=4)
    with pytest.raises(TooLargeError):
        await draft.truncate(5)
    assert isinstance(draft.refusal, TooLargeError)
    draft.close()


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EFBIG, TooLargeError),
        (errno.EIO, LocalIOError),
    ],
)
async def test_what_the_disk_refuses_is_remembered(
    draft: Draft, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def refuse(*_given: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(error):
            await draft.write(0, b"x")
    assert isinstance(draft.refusal, error)


async def test_a_disk_that_fills_in_the_middle_of_a_write_shows_what_was_written(draft: Draft) -> None:
    with _file_size_limit(4096), pytest.raises(TooLargeError):
        await draft.write(0, b"x" * 10_000)
    assert draft.size == 4096
    assert draft.read(4000, 1000) == b"x" * 96


async def test_a_draft_that_cannot_be_cloned_is_refused(
    draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await draft.write(0, b"frozen")
    path = draft.freeze()

    def full(_source: Path, target: Path, _keep: int | None) -> None:
        target.touch()
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module, "clone", full)
    with pytest.raises(NoSpaceError):
        await draft.write(0, b"x")
    assert path.read_bytes() == b"frozen"
    assert _files(tmp_path) == [path]


async def test_a_draft_of_a_version_that_cannot_be_copied_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(LocalIOError):
        await Draft.copy_of(tmp_path / "missing", tmp_path)
    assert _files(tmp_path) == []


async def test_a_draft_of_a_version_begins_with_its_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    draft = await Draft.copy_of(source, tmp_path)
    await draft.write(0, b"y")
    assert source.read_bytes()[:1] == b"x"
    assert draft.size == 3_000_000
    assert draft.changes == 1
    draft.close()


def test_a_clone_has_the_same_bytes_where_the_kernel_cannot_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_given: object) -> int:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "copy_file_range", cannot)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_000))
    clone(source, target)
    assert digest(source) == digest(target)


def test_the_file_of_a_draft_is_for_its_owner_alone(draft: Draft) -> None:
    assert draft.path.stat().st_mode & 0o777 == 0o600


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
