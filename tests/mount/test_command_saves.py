"""`aerofs saves`, `status` and `umount` on a real mount: what people see of a save that waits, and decide about it."""

import errno
import json
import os
import pty
import select
import signal
import subprocess
import time
from typing import Any

import pytest

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


def refused(paper: Paper, name: str, data: bytes) -> int:
    """A save that the platform refuses. Returns its id."""
    paper.drive.platform.fault("save", "status", status=403, count=None)
    with fails_with(errno.EACCES):
        (paper.scan / name).write_bytes(data)
    paper.drive.platform.behave()
    return next(int(save["id"]) for save in paper.drive.saves("held") if save["path"].endswith(f"/{name}"))


def said(done: "subprocess.CompletedProcess[str]") -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listed(drive: Drive) -> list[dict[str, Any]]:
    """As `aerofs saves` has it; other mounts of this machine may be there, too."""
    found = json.loads(said(drive.command("saves", "--json")))
    return [save for save in found if save["mountpoint"] == str(drive.path)]


def status(drive: Drive, *, runs: bool = True) -> str:
    done = drive.command("status", str(drive.path))
    assert (done.returncode, done.stderr) == (0 if runs else 1, "")
    return done.stdout


def decide(drive: Drive, *words: object) -> "subprocess.CompletedProcess[str]":
    return drive.command("saves", *map(str, words), "--mount", str(drive.path))


def test_a_held_save_is_seen_exported_retried_and_discarded_while_the_mount_runs(
    drive: Drive, paper: Paper
) -> None:
    paper.put("old", b"before")
    paper.warm()
    one, two = refused(paper, "new", b"precious"), refused(paper, "old", b"after")
    shown = status(drive)
    for word in ("held", "8 B", "aerofs saves retry ID", str(drive.path), "take 13 B"):
        assert word in shown
    assert [save["id"] for save in listed(drive)] == [one, two]

    target = drive.directory / "out"
    target.mkdir()
    assert "copied to" in said(decide(drive, "export", str(one), str(target)))
    copied, waiting = (target / "new").stat(), (paper.scan / "new").stat()
    assert ((target / "new").read_bytes(), copied.st_mtime_ns) == (b"precious", waiting.st_mtime_ns)
    assert decide(drive, "export", str(one), str(target / "new")).returncode == 1
    assert said(decide(drive, "export", str(two), "-")) == "after"

    assert "is on the platform" in said(decide(drive, "retry", str(one)))
    assert ("new", b"precious") in paper.held()

    reading = (paper.scan / "old").open("rb")
    with reading:
        assert "discarded" in said(decide(drive, "discard", str(two), "--yes"))
        assert reading.read() == b"after"
    assert (paper.scan / "old").read_bytes() == b"before"
    (paper.scan / "old").write_bytes(b"anew")
    assert sorted(paper.held()) == [("new", b"precious"), ("old", b"anew")]
    assert listed(drive) == []
    assert "there is no save" in decide(drive, "retry", str(one)).stderr


def test_a_retry_that_is_refused_again_says_so(drive: Drive, paper: Paper) -> None:
    number = refused(paper, "new", b"x")
    drive.platform.fault("save", "status", status=403)
    done = decide(drive, "retry", str(number))
    assert (done.returncode, "refused: " in done.stdout) == (1, True)
    assert "1 save refused again" in done.stderr
    assert "is on the platform" in said(decide(drive, "retry", "--all"))


def test_what_is_being_written_or_uploaded_is_not_taken_away(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait=0, rename_wait=0.5)).warm()
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(megabytes(1))
        save.arrived()
        (shown,) = listed(paper.drive)
        assert (shown["state"], shown["sent"] > 0) == ("uploading", True)
        done = decide(paper.drive, "discard", str(shown["id"]), "--yes")
        assert (done.returncode, "is on its way" in done.stderr) == (1, True)
    paper.drive.settled()
    assert paper.held() == [("new", megabytes(1))]
    paper.drive.platform.fault("save", "status", status=403)
    (paper.scan / "other").write_bytes(b"x")
    eventually(lambda: paper.drive.saves("held"))
    (held,) = paper.drive.saves("held")
    with opened(paper.scan / "other", os.O_WRONLY | os.O_APPEND) as writing:
        done = decide(paper.drive, "discard", str(held["id"]), "--yes")
        assert "is open for writing" in done.stderr
        os.write(writing, b"y")
    paper.drive.settled()
    assert ("other", b"xy") in paper.held()


def test_without_a_mount_saves_are_seen_exported_discarded_and_let_go_at_the_next_one(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    drive = mounting(platform)
    paper = _paper(drive)
    paper.put("b", b"before")
    paper.warm()
    numbers = [refused(paper, name, name.encode() * 3) for name in "abc"]
    drive.kill()
    crashed = status(drive, runs=False)
    assert "crashed; mounting there again recovers it" in crashed
    assert "held" in crashed
    subprocess.run(["umount", "-l", drive.path], check=True)
    assert "not mounted; mounting there again recovers it" in status(drive, runs=False)
    assert [save["id"] for save in listed(drive)] == numbers
    assert said(decide(drive, "export", str(numbers[0]), "-")) == "aaa"
    assert "discarded" in said(decide(drive, "discard", str(numbers[1]), "--yes"))
    assert "at the next mount" in said(decide(drive, "retry", str(numbers[0])))
    drive.mount()
    eventually(lambda: len(paper.held()) == 2)
    assert sorted(paper.held()) == [("a", b"aaa"), ("b", b"before")]
    assert (paper.scan / "b").read_bytes() == b"before"
    assert [(save["id"], save["state"]) for save in drive.saves()] == [(numbers[2], "held")]
    assert (paper.scan / "c").read_bytes() == b"ccc"


def test_what_a_crash_cut_off_and_is_discarded_is_taken_back_at_the_next_mount(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform))
    paper.put("file", b"before")
    paper.warm()
    with platform.hold("save", answered=True) as save:
        writing = Background((paper.scan / "file").write_bytes, b"after")
        save.arrived()
        paper.drive.kill()
        with may_fail_with(*CRASHED):
            writing.result()
    assert len(paper.held()) == 2
    (left,) = listed(paper.drive)
    assert "it is taken back there" in said(decide(paper.drive, "discard", str(left["id"]), "--yes"))
    paper.drive.mount()
    eventually(lambda: paper.held() == [("file", b"before")])
    paper.drive.settled()
    assert (paper.scan / "file").read_bytes() == b"before"


def test_a_conflict_is_shown_by_status_with_both_names(drive: Drive, paper: Paper) -> None:
    theirs = paper.put("report.odt", b"before")
    paper.warm()
    names(paper.scan)
    drive.platform.remove(theirs)
    paper.put("report.odt", b"theirs")
    (paper.scan / "report.odt").write_bytes(b"ours")
    (conflict,) = drive.status()["conflicts"]
    assert dict(paper.held()) == {"report.odt": b"theirs", conflict["ours"]: b"ours"}
    assert f"ours stands beside it as {conflict['ours']}" in status(drive)


def test_a_save_of_a_mount_that_was_stopped_is_copied_out(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform)).warm()
    drive = paper.drive
    number = refused(paper, "new", b"precious")
    drive.signal(signal.SIGSTOP)
    try:
        exported = decide(drive, "export", str(number), "-")  # after the 10 s in which it might have answered
    finally:
        drive.signal(signal.SIGCONT)
    assert said(exported) == "precious"
    assert [save["id"] for save in drive.saves()] == [number]


# --- how long a close waits, and how much may wait --------------------------------------------------------------


def test_a_close_that_waits_not_at_all_returns_before_the_upload_and_status_tells_what_went_wrong(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(b"slow")
        save.arrived()
        assert [each["state"] for each in paper.drive.saves()] == ["uploading"]
        assert paper.held() == []
    paper.drive.settled()
    platform.fault("save", "status", status=413)
    (paper.scan / "large").write_bytes(b"too large, as it turns out")
    eventually(lambda: paper.drive.saves("held"))
    (held,) = paper.drive.saves("held")
    assert held["error"].endswith("(413)")
    assert "(413)" in status(paper.drive)
    assert paper.held() == [("new", b"slow")]


def test_a_close_that_waits_to_the_end_waits_for_as_long_as_bytes_move_and_no_longer(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait="inf", stall_deadline=1)).warm()
    content = megabytes(2)
    platform.fault("save", "stall", at=600_000, side="request", seconds=0.7)
    began = time.monotonic()
    (paper.scan / "slow").write_bytes(content)
    assert time.monotonic() - began > 0.7
    assert paper.held() == [("slow", content)]  # the very moment that close() is back
    platform.fault("save", "stall", seconds=20)
    with fails_with(errno.EIO):
        (paper.scan / "stuck").write_bytes(b"no byte moves")
    paper.drive.settled()
    assert dict(paper.held())["stuck"] == b"no byte moves"


def test_what_waits_may_take_no_more_than_the_limit_and_the_file_that_was_there_stays(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    drive = mounting(platform, spool_limit="3M", close_wait=0)
    paper = _paper(drive)
    paper.put("old", b"before")
    paper.warm()
    content = megabytes(2)
    with platform.hold("save") as save:
        (paper.scan / "first").write_bytes(content)
        save.arrived()
        with fails_with(errno.ENOSPC):
            (paper.scan / "second").write_bytes(content)
        with fails_with(errno.ENOSPC):
            (paper.scan / "old").write_bytes(content)
        assert (paper.scan / "old").read_bytes() == b"before"
        assert sorted(names(paper.scan)) == ["first", "old"]
        assert "files not yet uploaded take 2.1 MB of 3.0 MB" in status(drive)
        left = os.statvfs(drive.path)
        assert left.f_bavail * left.f_frsize <= 1_000_000
    drive.settled()
    (paper.scan / "second").write_bytes(content)
    drive.settled()
    assert sorted(paper.held()) == [("first", content), ("old", b"before"), ("second", content)]


# --- the end of a mount -----------------------------------------------------------------------------------------


def test_umount_tells_bytes_and_ctrl_c_leaves_the_mount_as_it_is(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    drive = paper.drive
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(megabytes(1))
        save.arrived()
        command = [drive._python, "-m", "aerofs", "umount", str(drive.path)]
        with subprocess.Popen(command, env=drive.environ(), stderr=subprocess.PIPE, text=True) as umount:
            assert umount.stderr is not None
            line = umount.stderr.readline()
            assert line.startswith("uploading: 1 save left, ")
            assert line.endswith(" of 1.0 MB\n")
            umount.send_signal(signal.SIGINT)
            assert umount.wait(20) == 130
            rest = umount.stderr.read()
        assert "1 save is not uploaded yet; the mount stays as it is" in rest
        assert (paper.scan / "new").stat().st_size == 1 << 20
    assert drive.command("umount", str(drive.path)).returncode == 0
    assert paper.held() == [("new", megabytes(1))]


def test_umount_shows_a_bar_on_a_terminal_and_takes_it_away(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    drive = paper.drive
    ours, theirs = pty.openpty()
    command = [drive._python, "-m", "aerofs", "umount", str(drive.path)]
    environ = drive.environ() | {"TERM": "xterm", "COLUMNS": "120"}
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(megabytes(1))
        save.arrived()
        with subprocess.Popen(command, env=environ, stdin=theirs, stderr=theirs) as umount:
            os.close(theirs)
            shown = _shown(ours, until="\u2501")
            assert "uploading: 1 save left, " in _shown(ours, until=" of 1.0 MB", before=shown)
            save.release()
            rest = _shown(ours, until=None)
            assert umount.wait(20) == 0
    os.close(ours)
    assert rest.rstrip().endswith("\x1b[2K")  # the line is clear again
    assert "\x1b[?25h" in rest  # and the cursor is back
    assert paper.held() == [("new", megabytes(1))]


def _shown(terminal: int, *, until: str | None, before: str = "") -> str:
    """What comes on a terminal, up to a word or to its end."""
    shown, deadline = before, time.monotonic() + 30
    while until is None or until not in shown:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        try:
            shown += os.read(terminal, 1 << 16).decode(errors="replace")
        except OSError:  # so a pty tells that nobody has its other end any more
            break
    assert until is None or until in shown, shown
    return shown


def test_umount_with_a_save_that_is_held_unmounts_and_says_what_is_left(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform)).warm()
    refused(paper, "new", b"x")
    done = paper.drive.command("umount", str(paper.drive.path))
    assert done.returncode == 3
    assert "these stay on this disk" in done.stderr
    assert paper.drive.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_of_each_kind_lets_an_upload_come_to_its_end(
    number: signal.Signals, platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    drive = paper.drive
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(b"kept")
        save.arrived()
        drive.signal(number)
        eventually(lambda: not os.path.ismount(drive.path) and f"{number.name}: unmounting" in drive.log)
        if number is signal.SIGHUP:
            drive.signal(number)  # a shell and its terminal both tell
        with pytest.raises(subprocess.TimeoutExpired):
            drive.wait(0.5)
        save.release()
        assert drive.wait() == 0
    assert paper.held() == [("new", b"kept")]


@pytest.mark.parametrize("way", ["signal", "fusermount3"])
def test_a_second_signal_ends_a_mount_sooner_and_loses_nothing(
    way: str, platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait=0)).warm()
    drive = paper.drive
    with platform.hold("save") as save:
        (paper.scan / "new").write_bytes(b"kept")
        save.arrived()
        if way == "signal":
            drive.signal(signal.SIGTERM)
        else:
            subprocess.run(["fusermount3", "-u", drive.path], check=True)
            eventually(lambda: "unmounted" in drive.log)
            drive.signal(signal.SIGTERM)  # the first one, at a mount that is ending anyhow
        eventually(lambda: not os.path.ismount(drive.path) and "unmounting" in drive.log)
        with pytest.raises(subprocess.TimeoutExpired):
            drive.wait(0.5)
        assert "is still at work" in status(drive)
        drive.signal(signal.SIGTERM)
        assert drive.wait(5) == 0
    drive.mount()
    drive.settled()
    assert paper.held() == [("new", b"kept")]


def test_a_close_that_waits_to_the_end_is_told_at_a_second_signal(
    platform: LocalPlatform, mounting: Mounting
) -> None:
    paper = _paper(mounting(platform, close_wait="inf")).warm()
    with platform.hold("save") as save:
        writing = Background((paper.scan / "new").write_bytes, b"kept")
        save.arrived()
        paper.drive.signal(signal.SIGTERM)
        eventually(lambda: "unmounting" in paper.drive.log)
        assert not writing.done
        paper.drive.signal(signal.SIGINT)
        with fails_with(*CRASHED):
            writing.result()
        assert paper.drive.wait() == 0
    paper.drive.mount()
    paper.drive.settled()
    assert paper.held() == [("new", b"kept")]
