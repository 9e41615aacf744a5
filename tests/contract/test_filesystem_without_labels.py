"""A state directory on a file system without extended attributes: all works but the rescue of a damaged journal."""

import ctypes
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from aerofs.sandbox import SandboxConfig, serving
from tests.contract.conftest import WRITE_NEW, Drive, Office, saved_while_away
from tests.contract.test_filesystem_crashes import STORIES, died
from tests.contract.test_siblings import arrives, left_behind, take_over

pytestmark = pytest.mark.complains  # one warning a mount: `warned` sees to it that there are no others

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def _mount_ramfs(place: Path) -> bool:
    """A real file system that knows no such attributes, where we may mount one."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mount(b"ramfs", os.fsencode(place), b"ramfs", 0, None) == 0)


@pytest.fixture(params=["refused", "ramfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if request.param == "refused":
        for call in ("setxattr", "getxattr", "removexattr"):
            monkeypatch.setattr(os, call, _refuse)
        yield tmp_path
        return
    place = tmp_path / "ramfs"
    place.mkdir()
    if not _mount_ramfs(place):
        pytest.skip("file systems can be mounted by root only")
    try:
        yield place
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(place), 2)


@pytest.fixture
async def office(disk: Path) -> AsyncIterator[Office]:
    async with serving(SandboxConfig()) as sandbox:
        yield Office(sandbox, disk)


@pytest.fixture(autouse=True)
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Each mount tells it in one line."""
    yield
    told = [each.getMessage() for each in caplog.get_records("call") if each.levelname == "WARNING"]
    assert told
    assert all("keeps no extended attributes" in each or "damaged" in each for each in told)


async def test_a_mount_tells_it_in_one_line(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    async with office.mounted():
        (record,) = caplog.records
        assert str(office.disk / "state" / "drafts") in record.getMessage()


async def test_files_are_saved_renamed_and_removed(office: Office) -> None:
    office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.write(A, b"new")
        await drive.write("invoice/1/few/f.txt", b"one")
        await drive.rename(A, B)
        await drive.write(A, b"another")
        await drive.remove(B)
        handle = await drive.open(A, os.O_RDWR)
        await drive.filesystem.write(handle, 7, b" one")
        await drive.filesystem.fsync(handle)
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/few/f.txt", b"one"), ("1/scan/a.txt", b"another one")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("answered", [False, True], ids=["unsent", "answered"])
@pytest.mark.parametrize("name", ["two versions", "a file of a full field"])
async def test_a_death_at_any_request_leaves_the_work_done_once(
    office: Office, name: str, *, answered: bool
) -> None:
    story = STORIES[name]
    for after in range(20):
        office.start_over(story.before)
        if not await died(office, story, after, answered=answered):
            return
        async with office.mounted("dead") as drive:
            await drive.drained()
            assert office.stored() in (story.after, story.between), f"died at request {after + 1}"
            drive.assert_nothing_left()
    pytest.fail("it never came to an end")


async def test_what_close_accepted_of_a_file_that_is_written_again_survives_a_crash(office: Office) -> None:
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        for offset, data in ((0, b"one "), (4, b"two")):
            await drive.filesystem.write(handle, offset, data)
            await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 0, b"ONE")
    async with office.mounted() as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"one two")]
        drive.assert_nothing_left()


async def test_what_waits_for_another_mount_point_is_taken_over(office: Office) -> None:
    office.add(A, b"old a")
    await left_behind(office)

    assert take_over(office) == 2
    await arrives(office)


async def test_of_a_damaged_journal_the_saves_without_a_row_are_held(office: Office) -> None:
    async with office.mounted() as drive:
        await _saves_one(drive)
    journal = office.disk / "state" / "journal.sqlite"
    journal.write_bytes(b"\xa5" * 4096)
    journal.with_name("journal.sqlite-wal").unlink(missing_ok=True)
    async with office.mounted() as drive:
        await drive.drained()
        (save,) = drive.filesystem.saves()
        assert (save["state"], "(unknown)/" in save["path"]) == ("held", True)
        file = str(drive.filesystem.waiting.content(save["id"])["file"])
        assert await trio.Path(file).read_bytes() == b"new"
    assert office.stored() == []


async def _saves_one(drive: Drive) -> None:
    await drive.find("invoice/1/scan")
    await saved_while_away(drive, A, b"new")
