"""A save is never nowhere: crashes, servers that are away, and what the next mount does."""

import errno
import os
import signal
from pathlib import Path

from tests.mount.harness import (
    Background,
    Drive,
    LocalPlatform,
    Mounting,
    Paper,
    fails_with,
    may_fail_with,
    megabytes,
    names,
    opened,
)
from tests.mounted import eventually

CRASHED = (errno.ECONNABORTED, errno.ENOTCONN, errno.EIO)


def _paper(drive: Drive) -> Paper:
    return Paper(drive, drive.platform.document())


def _settle(background: Background) -> None:
    """Wait for an operation that the crash may have ended with an error."""
    with may_fail_with(*CRASHED):
        background.result()


def test_a_crash_in_the_middle_of_a_save_brings_it_up_once_at_the_next_mount(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform)).warm()
    path = paper.scan / "file"
    with platform.hold("save") as save:
        writing = Background(path.write_bytes, b"precious")
        save.arrived()
        paper.drive.kill()
        _settle(writing)
    with fails_with(errno.ENOTCONN):
        path.stat()
    paper.drive.mount()
    assert path.read_bytes() == b"precious"
    paper.drive.settled()
    assert paper.held() == [("file", b"precious")]
    assert path.read_bytes() == b"precious"


def test_a_crash_after_the_save_and_before_its_answer_does_not_bring_it_up_twice(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform)).warm()
    with platform.hold("save", answered=True) as save:
        writing = Background((paper.scan / "file").write_bytes, b"precious")
        save.arrived()
        paper.drive.kill()
        _settle(writing)
    platform.reset()
    paper.drive.mount()
    paper.drive.settled()
    assert paper.held() == [("file", b"precious")]
    assert "save" not in platform.requests


def test_a_crash_between_the_new_version_and_the_end_of_the_old_one_leaves_one(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform))
    paper.put("file", b"old")
    paper.warm()
    with platform.hold("delete") as delete:
        writing = Background((paper.scan / "file").write_bytes, b"new")
        delete.arrived()
        paper.drive.kill()
        _settle(writing)
        assert sorted(paper.held()) == [("file", b"new"), ("file", b"old")]
    paper.drive.mount()
    assert names(paper.scan) == ["file"]
    assert (paper.scan / "file").read_bytes() == b"new"
    paper.drive.settled()
    assert paper.held() == [("file", b"new")]


def test_a_crash_in_the_middle_of_a_move_ends_it_at_the_next_mount(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform))
    other = _paper(paper.drive)
    paper.put("file", b"content")
    paper.warm(other)
    with platform.hold("delete") as delete:
        moving = Background((paper.scan / "file").rename, other.scan / "file")
        delete.arrived()
        paper.drive.kill()
        _settle(moving)
    paper.drive.mount()
    assert (names(paper.scan), names(other.scan)) == ([], ["file"])
    paper.drive.settled()
    assert (paper.held(), other.held()) == ([], [("file", b"content")])


def test_what_was_synced_and_never_closed_survives_a_crash(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform)).warm()
    with may_fail_with(*CRASHED), opened(paper.scan / "file", os.O_WRONLY | os.O_CREAT) as writing:
        os.write(writing, b"synced")
        os.fsync(writing)
        paper.drive.kill()
    paper.drive.mount()
    assert (paper.scan / "file").read_bytes() == b"synced"
    paper.drive.settled()
    assert paper.held() == [("file", b"synced")]


def test_ten_saves_survive_a_crash_in_their_order(platform: LocalPlatform, mounting: Mounting) -> None:
    paper = _paper(mounting(platform, close_wait=0, rename_wait=1)).warm()
    with platform.hold("save") as save:
        for number in range(10):
            (paper.scan / f"file {number}").write_bytes(str(number).encode())
        (paper.scan / "file 3").write_bytes(b"three, anew")
        (paper.scan / "file 4").unlink()
        save.arrived()
        paper.drive.kill()
    paper.drive.mount()
    expected = {f"file {number}": str(number).encode() for number in range(10)}
    expected |= {"file 3": b"three, anew"}
    del expected["file 4"]
    assert names(paper.scan) == sorted(expected)
    assert {name: (paper.scan / name).read_bytes() for name in expected} == expected
    paper.drive.settled()
    assert names(paper.scan) == sorted(expected)
    assert dict(paper.held()) == expected
    assert len(paper.held()) == 9


def test_while_the_platform_is_away_a_save_is_queued_readable_and_arrives_by_itself(
    lasting_platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(lasting_platform, connect_deadline=2, metadata_deadline=2))
    paper.put("old", b"old")
    paper.warm()
    with lasting_platform.away():
        with fails_with(errno.EIO):
            (paper.scan / "new").write_bytes(b"kept")
        (save,) = paper.drive.saves()
        assert (save["state"], save["size"], save["error"] is None) == ("queued", 4, False)
        assert save["path"].endswith("/scan/new")
        assert (paper.scan / "new").read_bytes() == b"kept"
        assert names(paper.scan) == ["new", "old"]
        assert "queued" in paper.drive.command("status", str(paper.drive.path)).stdout
        with fails_with(errno.EIO, errno.ETIMEDOUT):
            (paper.scan / "old").unlink()
        assert (paper.scan / "old").stat().st_size == 3
    eventually(lambda: len(paper.held()) == 2, seconds=20)
    paper.drive.settled()
    assert sorted(paper.held()) == [("new", b"kept"), ("old", b"old")]


def test_a_save_that_is_queued_at_the_unmount_arrives_with_the_next_mount(
    lasting_platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(lasting_platform, connect_deadline=2, metadata_deadline=2)).warm()
    with lasting_platform.away():
        with fails_with(errno.EIO):
            (paper.scan / "new").write_bytes(b"kept")
        paper.drive.unmount()
    paper.drive.mount()
    paper.drive.settled()
    assert paper.held() == [("new", b"kept")]


def test_a_save_under_way_is_finished_after_an_unmount(platform: LocalPlatform, mounting: Mounting) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(megabytes(1))
        save.arrived()
        ending = Background(paper.drive.unmount)
        eventually(lambda: not os.path.ismount(paper.drive.path))
        save.release()
        ending.result()
    assert paper.held() == [("new", megabytes(1))]


def test_a_close_that_does_not_wait_returns_before_the_platform_has_it(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait="0.2")).warm()
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(b"slow")
        save.arrived()
        assert [each["state"] for each in paper.drive.saves()] == ["uploading"]
        assert (paper.scan / "new").read_bytes() == b"slow"
        save.release()
        paper.drive.settled()
    assert paper.held() == [("new", b"slow")]


def test_umount_waits_until_everything_has_arrived(platform: LocalPlatform, mounting: Mounting) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(b"slow")
        save.arrived()
        early = paper.drive.command("umount", "--timeout", "0.5", str(paper.drive.path))
        assert early.returncode != 0
        assert "1 save is not uploaded yet" in early.stderr
        assert os.path.ismount(paper.drive.path)
        ending = Background(paper.drive.command, "umount", str(paper.drive.path))
        save.release()
        ended = ending.result()
    assert getattr(ended, "returncode", None) == 0, ended
    assert paper.held() == [("new", b"slow")]
    assert paper.drive.wait() == 0
    assert not os.path.ismount(paper.drive.path)


def test_sigterm_unmounts_and_finishes(platform: LocalPlatform, mounting: Mounting) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    (paper.scan / "new").write_bytes(b"last words")
    paper.drive.signal(signal.SIGTERM)
    assert paper.drive.wait() == 0
    assert not os.path.ismount(paper.drive.path)
    assert paper.held() == [("new", b"last words")]


def test_sigterm_while_a_file_is_open_ends_the_mount(platform: LocalPlatform, mounting: Mounting) -> None:
    paper = _paper(mounting(platform)).warm()
    with may_fail_with(*CRASHED), opened(paper.scan / "new", os.O_WRONLY | os.O_CREAT) as writing:
        os.write(writing, b"not closed")
        os.fsync(writing)
        paper.drive.signal(signal.SIGTERM)
        assert paper.drive.wait() == 0
    paper.drive.mount()
    paper.drive.settled()
    assert paper.held() == [("new", b"not closed")]


def test_a_crashed_mount_answers_not_connected_and_the_next_mount_recovers_it(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    drive = mounting(platform)
    paper = _paper(drive)
    paper.put("file", b"content")
    drive.kill()
    for place in (drive.path, paper.scan):
        with fails_with(errno.ENOTCONN):
            os.listdir(place)  # noqa: PTH208  the error of the call itself is what is asked for
    with fails_with(errno.ENOTCONN):
        (drive.path / "below").write_bytes(b"x")
    drive.mount()
    assert "crashed mount" in Path(drive.directory / "stderr").read_text()
    assert (paper.scan / "file").read_bytes() == b"content"


def test_a_second_mount_of_the_same_state_is_refused(platform: LocalPlatform, mounting: Mounting) -> None:
    drive = mounting(platform)
    elsewhere = drive.directory / "elsewhere"
    elsewhere.mkdir()
    said = drive.command("mount", "--foreground", str(elsewhere))
    assert said.returncode == 2
    assert "is held by process" in said.stderr
    said = drive.command("mount", "--foreground", str(drive.path))
    assert said.returncode == 2
    assert "is mounted already" in said.stderr
