"""The commands as a person types them: what they print, and the exit code."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

import aerofs
from aerofs import cli, control, mountpoint
from aerofs.cli import umount
from aerofs.control import ControlServer, Handler, sockets
from aerofs.errors import AerofsError
from aerofs.mountpoint import Mounted

HELD = {
    "id": 4,
    "path": "a/b/c/[red]x.pdf",
    "state": "held",
    "size": 1_234_567,
    "tries": 3,
    "error": "denied",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the person who runs the tests, and none of the mounts that this machine may have."""
    for name in [name for name in os.environ if name.startswith("AEROFS_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(sockets, "_users", lambda: [os.geteuid()])
    monkeypatch.setattr(sockets, "_directories", lambda _: iter([tmp_path / "run"]))
    truly = mountpoint.mounts
    monkeypatch.setattr(
        mountpoint, "mounts", lambda: [mount for mount in truly() if mount.fstype != mountpoint.FSTYPE]
    )


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


async def run_beside(*arguments: str) -> int:
    """Run a command while a server in this trio run answers it."""
    return await trio.to_thread.run_sync(lambda: run(*arguments))


def test_the_version_and_the_help_are_no_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"aerofs {aerofs.__version__}\n"
    for arguments in ([], ["--help"], ["mount", "--help"], ["umount", "--help"], ["status", "--help"]):
        assert run(*arguments) == 0
    assert "MOUNTPOINT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fly"], "No such command 'fly'"),
        (["mount", "--colour"], "No such option: --colour"),
        (["umount"], "Missing argument 'MOUNTPOINT'"),
        (["mount", "https://x.example"], "the mount point is missing: aerofs mount [URL] MOUNTPOINT"),
        (["mount", "a", "b", "c"], "one URL and one mount point are enough, not 3 words: a b c"),
        (["mount", "/nowhere", "-o", "colour=red"], "unknown mount option 'colour'"),
        (["mount", "/nowhere", "--token", "hush"], "No such option: --token"),
        (
            ["umount", "/nowhere", "--timeout", "-5"],
            "--timeout: '-5' is less than no time",
        ),
        (
            ["umount", "/nowhere", "--timeout", "soon"],
            "--timeout: 'soon' is not a duration (write 30, 30s, 5m, 2h, 1d)",
        ),
        (
            ["https://x.example", "/nowhere", "-o", "rw,nosuid,environment=e"],
            "token is not set: give AEROFS_TOKEN, token_file or token_command",
        ),
        (
            ["mount", "/nowhere", "-o", "umask=9", "--environment", "e"],
            "url is not set: give it as an argument, as AEROFS_URL or in a profile; umask (from the options): '9' is",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    said = captured.err.strip()
    assert said.startswith(f"aerofs: {sentence}")
    assert "\n" not in said


def test_an_unfit_mount_point_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mountpoint, "check_fuse", lambda **_: None)
    monkeypatch.setenv("AEROFS_TOKEN", "hush")
    assert run("mount", "https://x.example", str(tmp_path / "none"), "--environment", "e") == 2
    assert capsys.readouterr().err == (
        f"aerofs: the mount point {tmp_path}/none does not exist (mkdir {tmp_path}/none)\n"
    )


def test_a_working_directory_that_is_gone_is_told_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["mount", "https://x.example", "here"], ["status", "here"], ["umount", "here"]):
        assert run(*words) == 2
        assert capsys.readouterr().err == "aerofs: the working directory is gone: change to another one\n"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_demo_at_a_place_that_cannot_be_a_directory_is_one_sentence(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run("demo", str(tmp_path / place)) == 2
    assert (
        capsys.readouterr().err
        == f"aerofs: the mount point {tmp_path}/{place} cannot be used: Not a directory\n"
    )


def test_an_unexpected_error_shows_its_traceback_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise RuntimeError("a bug")

    assert cli._guarded(fail, verbose=False) == 1
    assert capsys.readouterr().err == "aerofs: unexpected RuntimeError: a bug (-v shows where)\n"
    assert cli._guarded(fail, verbose=True) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "reason"), [("/dev/full", "No space left on device"), ("&-", "Bad file descriptor")]
)
def test_an_output_that_takes_nothing_is_told(output: str, reason: str) -> None:
    script = f'"$0" -m aerofs --version >{output}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"aerofs: cannot write to the standard output: {reason}\n")


def test_ctrl_c_ends_with_130() -> None:
    def stop() -> int:
        raise KeyboardInterrupt

    assert cli._guarded(stop, verbose=False) == 130


@pytest.mark.parametrize(
    ("arguments", "passed_on"),
    [
        (["https://x.example", "/mnt", "-o", "rw"], ["mount", "https://x.example", "/mnt", "-o", "rw"]),
        (["src", "/mnt", "-sn", "-v", "-t", "fuse", "-N", "/ns"], ["mount", "src", "/mnt", "-v"]),
    ],
)
def test_mount_8_finds_its_conventions(
    arguments: list[str], passed_on: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[str]] = []
    monkeypatch.setattr(cli, "main", taken.append)
    cli.mount_main(arguments)
    assert taken == [passed_on]
    with pytest.raises(SystemExit) as ended:
        cli.mount_main(["src", "/mnt", "-f"])
    assert ended.value.code == 0


# --- with a mount that runs ---------------------------------------------------------------------------------


class Mount:
    """What a mount says at its control socket, and the process behind it (a stand-in that only waits)."""

    def __init__(self, place: Path, process: "subprocess.Popen[bytes]") -> None:
        self.place = place
        self.process = process
        self.saves: list[dict[str, Any]] = []
        self.left = [2, 1, 0]
        self.timeouts: list[float | None] = []
        self.unmounted = False
        self.decided: list[int | None] = []
        self.outcomes: list[dict[str, Any]] = []
        self.bytes: dict[str, Any] = {}
        self.arrives = False

    async def status(self, request: Mapping[str, Any]) -> Any:
        assert not request
        return {
            "mountpoint": str(self.place),
            "url": "https://x.example",
            "environment": "e",
            "pid": self.process.pid,
            "reachable": True,
            "requests": {"list": 2},
            "saves": self.saves,
            "statistics": {},
        }

    async def drain(self, request: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        self.timeouts.append(request["timeout"])
        for remaining in self.left:
            yield self._progress(remaining)
        yield self._progress(self.left[-1]) | {"saves": self.saves}

    def _progress(self, remaining: int) -> dict[str, Any]:
        return {
            "remaining": remaining,
            "total": 2,
            "bytes": remaining * 1000,
            "total_bytes": 2000,
            "reachable": True,
        }

    async def decide(self, request: Mapping[str, Any]) -> Any:
        self.decided.append(request["save"])
        return self.outcomes

    async def content(self, request: Mapping[str, Any]) -> Any:
        assert request["save"] == HELD["id"]
        if self.arrives:
            self.saves = []
        return HELD | self.bytes

    def unmount(self, place: Path) -> None:
        assert place == self.place
        self.unmounted = True
        self.process.terminate()


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


@pytest.fixture
async def mount(
    tmp_path: Path, process: "subprocess.Popen[bytes]", nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> Mount:
    mount = Mount(tmp_path / "mnt", process)
    table = [Mounted(mount.place, mountpoint.FSTYPE, "https://x.example", os.geteuid())]
    monkeypatch.setattr(mountpoint, "mounts", lambda: table)
    monkeypatch.setattr(mountpoint, "unmount", mount.unmount)
    handlers: dict[str, Handler] = {
        "status": mount.status,
        "drain": mount.drain,
        "retry": mount.decide,
        "discard": mount.decide,
        "content": mount.content,
    }
    await nursery.start(ControlServer(control.socket_path(mount.place), handlers).serve)
    return mount


async def test_status_lists_every_mount_as_json(mount: Mount, capsys: pytest.CaptureFixture[str]) -> None:
    mount.saves = [HELD]
    for arguments in (["status", "--json"], ["status", "--json", str(mount.place)]):
        assert await run_beside(*arguments) == 0
        (shown,) = json.loads(capsys.readouterr().out)
        assert (shown["mountpoint"], shown["reachable"], shown["saves"]) == (str(mount.place), True, [HELD])
        assert (shown["mounted"], shown["crashed"], shown["troubles"]) == (True, False, [])


async def test_a_mount_that_ends_or_is_stuck_hides_no_other(
    mount: Mount, nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stuck(_: Mapping[str, Any]) -> Any:
        raise AerofsError("it is stuck")

    await nursery.start(ControlServer(control.socket_path(tmp_path / "other"), {"status": stuck}).serve)
    assert await run_beside("status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {str(mount.place), None} == {each["mountpoint"] for each in found}
    assert ["it is stuck"] in [each["troubles"] for each in found]
    assert await run_beside("status") == 0
    assert "does not answer" in capsys.readouterr().out


async def test_status_tells_a_person(mount: Mount, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_beside("status") == 0
    assert "every save is on the platform" in capsys.readouterr().out
    mount.saves = [HELD]
    assert await run_beside("status", str(mount.place)) == 0
    shown = capsys.readouterr().out
    for word in (str(mount.place), "https://x.example", "list 2", "held", "1.2 MB", "[red]x.pdf", "denied"):
        assert word in shown.replace("\n", "")


def test_status_without_mounts_is_calm_and_of_none_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 0
    assert "no aerofs mount is running, and nothing waits" in capsys.readouterr().out
    assert run("status", "/nowhere") == 1
    assert capsys.readouterr().err == "aerofs: no aerofs is mounted at /nowhere\n"


def test_a_crashed_mount_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        mountpoint, "mounts", lambda: [Mounted(tmp_path, mountpoint.FSTYPE, "https://x.example")]
    )
    monkeypatch.setattr(mountpoint, "is_dead", lambda _: True)
    assert run("status", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["mountpoint"], shown["crashed"], shown["saves"]) == (str(tmp_path), True, [])
    assert run("status") == 0
    assert "crashed" in capsys.readouterr().out
    assert run("status", str(tmp_path)) == 1
    assert "crashed; mounting there again recovers it" in capsys.readouterr().out


async def test_umount_waits_for_the_saves_unmounts_and_waits_for_the_end(mount: Mount) -> None:
    assert await run_beside("umount", str(mount.place)) == 0
    assert mount.unmounted
    assert mount.process.poll() is not None
    assert mount.timeouts == [None]


async def test_umount_says_what_is_left_and_leaves_the_mount(
    mount: Mount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.saves = [HELD | {"state": "uploading"}, HELD]
    mount.left = [2, 2]
    assert await run_beside("umount", str(mount.place), "--timeout", "3s") == 1
    assert not mount.unmounted
    said = capsys.readouterr().err
    assert "[red]x.pdf" in said.replace("\n", "")
    assert "aerofs: 2 saves are not uploaded yet, and the mount stays" in said
    assert mount.timeouts[0] == pytest.approx(3, abs=2)


async def test_umount_tells_how_far_it_is_in_few_lines_where_nobody_watches_a_bar(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(umount, "_FIRST_LINE", 0.0)
    mount.left = [2, 2, 1, 0]
    assert await run_beside("umount", str(mount.place)) == 0
    assert capsys.readouterr().err == "uploading: 2 saves left, 0 B of 2.0 kB\n"


async def test_umount_shows_a_bar_of_bytes_to_a_person(mount: Mount) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=90)
    await trio.to_thread.run_sync(lambda: umount.unmount(mount.place, ends=None, console=console))
    assert "of 2.0 kB" in drawn.getvalue()
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in drawn.getvalue()


async def test_ctrl_c_while_umount_waits_leaves_the_mount_as_it_is(
    mount: Mount, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> Iterator[Any]:
        yield mount._progress(2)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "stream", stopped)
        patch.setattr(control, "call", lambda *_, **__: {"pid": mount.process.pid})
        assert await run_beside("umount", str(mount.place)) == 130
    assert not mount.unmounted
    said = capsys.readouterr().err
    assert said.startswith("2 saves are not uploaded yet; the mount stays as it is and goes on uploading\n")


async def test_umount_goes_on_when_what_is_left_waits_for_the_user(
    mount: Mount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.saves = [HELD]
    mount.left = [0]
    assert await run_beside("umount", str(mount.place)) == 3
    assert mount.unmounted
    assert "these stay on this disk" in capsys.readouterr().err


async def test_umount_of_a_mount_in_use_fails(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy(place: Path) -> None:
        raise AerofsError(mountpoint._busy(place))

    monkeypatch.setattr(mountpoint, "unmount", busy)
    assert await run_beside("umount", str(mount.place)) == 1
    assert "is in use" in capsys.readouterr().err
    assert mount.process.poll() is None


async def test_umount_does_not_wait_for_ever_for_the_process(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mountpoint, "unmount", lambda _: None)
    monkeypatch.setattr(umount, "_GRACE", 0.2)
    assert await run_beside("umount", str(mount.place), "--timeout", "0") == 3
    assert "is unmounted; its process is still at work" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["0", "inf"])
async def test_umount_of_an_idle_mount_takes_no_time_to_speak_of(given: str, mount: Mount) -> None:
    mount.left = [0]
    assert await run_beside("umount", str(mount.place), "--timeout", given) == 0
    assert mount.unmounted


def test_umount_of_a_stuck_mount_takes_as_long_as_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [Mounted(tmp_path, mountpoint.FSTYPE, "https://x.example", os.geteuid())]
    monkeypatch.setattr(mountpoint, "mounts", lambda: table)
    monkeypatch.setattr(umount, "_GRACE", 0.2)
    path = control.socket_path(tmp_path)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()  # who connects is never answered
        assert run("umount", str(tmp_path), "--timeout", "0") == 1
    assert "gave no answer in 0.2 s" in capsys.readouterr().err


def test_umount_frees_a_crashed_mount_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    freed: list[Path] = []
    monkeypatch.setattr(
        mountpoint, "mounts", lambda: [Mounted(tmp_path, mountpoint.FSTYPE, "https://x.example")]
    )
    monkeypatch.setattr(mountpoint, "is_dead", lambda _: True)
    monkeypatch.setattr(mountpoint, "detach", freed.append)
    assert run("umount", str(tmp_path)) == 0
    assert freed == [tmp_path]
    assert "the mount point is free again" in capsys.readouterr().err


def test_umount_of_what_is_not_ours_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("umount", "/proc") == 1
    assert capsys.readouterr().err == "aerofs: no aerofs is mounted at /proc\n"


# --- decisions about the saves of a mount that runs -----------------------------------------------------------


async def test_retry_says_what_became_of_each_and_fails_where_one_is_refused_again(
    mount: Mount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.saves = [HELD]
    mount.outcomes = [HELD | {"state": "done"}]
    assert await run_beside("saves", "retry", "4") == 0
    assert capsys.readouterr().out == "4 a/b/c/[red]x.pdf: is on the platform\n"
    mount.outcomes = [HELD, HELD | {"id": 5, "state": "uploading"}]
    assert await run_beside("saves", "retry", "--all") == 1
    said = capsys.readouterr()
    assert said.out == ("4 a/b/c/[red]x.pdf: refused: denied\n5 a/b/c/[red]x.pdf: is being uploaded\n")
    assert said.err == "aerofs: 1 save refused again\n"
    assert mount.decided == [4, None]
    for arguments in ([], ["4", "--all"]):
        assert await run_beside("saves", "retry", *arguments) == 2


async def test_discard_asks_where_somebody_can_answer_and_does_nothing_at_a_no(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.saves = mount.outcomes = [HELD]
    assert await run_beside("saves", "discard", "4") == 2
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert await run_beside("saves", "discard", "4") != 0
    assert mount.decided == []
    assert "Delete them?" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert await run_beside("saves", "discard", "4") == 0
    assert await run_beside("saves", "discard", "4", "--yes") == 0
    assert mount.decided == [4, 4]
    assert "4 a/b/c/[red]x.pdf: discarded\n" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_export_copies_what_the_mount_has_and_tells_where_it_has_just_gone(
    mount: Mount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.saves = [HELD]
    file = tmp_path / "draft"
    file.write_bytes(b"bytes")
    mount.bytes = {"file": str(file), "sha256": None, "mtime_ns": 10**18}
    assert await run_beside("saves", "export", "4", str(tmp_path)) == 0
    assert (tmp_path / "[red]x.pdf").read_bytes() == b"bytes"
    file.unlink()
    assert await run_beside("saves", "export", "4", str(tmp_path / "y")) == 1
    assert f"its bytes are not here any more: {file} is gone" in capsys.readouterr().err
    mount.arrives = True
    assert await run_beside("saves", "export", "4", str(tmp_path / "y")) == 1
    assert "has just arrived on the platform" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()
