"""The commands against a real kernel and a local platform, as a person uses them: each a process of its own."""

import errno
import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aerofs import mountpoint

BOUND = 60.0


@dataclass
class Platform:
    """A sandbox that runs as a process of its own."""

    process: "subprocess.Popen[str]"
    url: str
    token: str
    environment: str


@dataclass
class Person:
    """Somebody with a home of their own, who types commands."""

    home: Path
    environ: dict[str, str]
    uid: int
    places: list[Path] = field(default_factory=list)
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def place(self, name: str = "mnt") -> Path:
        path = self.home / name
        path.mkdir()
        os.chown(path, self.uid, -1)
        self.places.append(path)
        return path

    def start(self, *command: str, **more: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command,
            env=self.environ | more,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.uid if self.uid != os.geteuid() else None,
        )
        self.started.append(process)
        return process

    def run(self, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        with self.start(*command, **more) as process:
            try:
                out, err = process.communicate(timeout=BOUND)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def aerofs(self, *arguments: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "aerofs", *map(str, arguments), **more)

    def succeed(self, *arguments: str | Path) -> str:
        done = self.aerofs(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def status(self, place: Path) -> dict[str, Any]:
        (mount,) = json.loads(self.succeed("status", "--json", place))
        assert isinstance(mount, dict)
        return mount


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    command = [sys.executable, "-m", "aerofs.sandbox", "--sample", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = dict(process.stdout.readline().split() for _ in range(3))
        yield Platform(process, told["URL"], told["token"], told["environment"])
        process.terminate()


def settle(person: Person) -> None:
    """End every command that a failed test left, in order; then take away every mount left, and its process."""
    for command in person.started:
        if command.poll() is None:
            command.terminate()
            command.communicate(timeout=BOUND)
    for place in person.places:
        if mountpoint.mounted_at(place) is None:
            continue
        found = (
            [] if mountpoint.is_dead(place) else json.loads(person.aerofs("status", "--json", place).stdout)
        )
        mountpoint.detach(place)
        for mount in found:
            end(mount["pid"])


def end(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    signal.pidfd_send_signal(process, number)
    assert select.select([process], [], [], BOUND)[0]
    os.close(process)


def make_person(platform: Platform, uid: int) -> Iterator[Person]:
    """Outside pytest's own folders, which only their owner may enter."""
    home = Path(tempfile.mkdtemp(prefix="aerofs-test-", dir="/var/tmp"))
    (home / "run").mkdir(mode=0o700)
    for path in (home, home / "run"):
        os.chown(path, uid, -1)
    environ = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin",
        "XDG_RUNTIME_DIR": str(home / "run"),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AEROFS_URL": platform.url,
        "AEROFS_TOKEN": platform.token,
        "AEROFS_ENVIRONMENT": platform.environment,
    }
    person = Person(home, environ, uid)
    yield person
    settle(person)
    shutil.rmtree(home)


@pytest.fixture
def person(platform: Platform) -> Iterator[Person]:
    yield from make_person(platform, os.geteuid())


@pytest.fixture
def ordinary_user(platform: Platform) -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    somebody = pwd.getpwnam("nobody").pw_uid
    try:
        subprocess.run([sys.executable, "-c", "import aerofs.cli"], user=somebody, cwd="/", check=True)
    except PermissionError:
        pytest.skip("this clone lies where other users may not look")
    yield from make_person(platform, somebody)


def a_field(place: Path) -> Path:
    """A field of the sample that takes more files."""
    return (
        next(path for path in sorted((place / "invoice").iterdir()) if path.is_dir())
        / "attachments.invoiceFiles"
    )


def test_a_mount_answers_once_the_command_is_back_and_all_is_uploaded_once_umount_is(person: Person) -> None:
    place = person.place()
    person.succeed("mount", place)
    content = os.urandom(3_000_000)
    (a_field(place) / "new.bin").write_bytes(content)
    pid = person.status(place)["pid"]
    person.succeed("umount", place)
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]
    assert list(place.iterdir()) == []
    person.succeed("mount", place)
    assert (a_field(place) / "new.bin").read_bytes() == content
    (a_field(place) / "new.bin").unlink()
    person.succeed("umount", place)


def test_a_mount_is_shown_and_not_mounted_over(person: Person, platform: Platform) -> None:
    place = person.place()
    person.succeed("mount", platform.url, place, "--environment", platform.environment)
    list((place / "invoice").iterdir())
    shown = person.status(place)
    assert shown["mountpoint"] == str(place)
    assert (shown["url"], shown["environment"], shown["reachable"]) == (
        platform.url,
        platform.environment,
        True,
    )
    assert shown["saves"] == []
    assert sum(shown["requests"].values()) > 0
    assert str(place) in person.succeed("status")
    done = person.aerofs("mount", place)
    assert (done.returncode, done.stderr.count("is mounted already")) == (2, 1)


def test_mistakes_are_one_sentence_and_leave_no_mount(person: Person, platform: Platform) -> None:
    place, full = person.place(), person.place("full")
    (full / "file").touch()
    mistakes: list[tuple[list[str | Path], dict[str, str], str]] = [
        ([platform.url, place], {"AEROFS_TOKEN": "wrong"}, "token"),
        ([platform.url, place, "--environment", "nope"], {}, "nope"),
        (["http://127.0.0.1:1", place], {}, "cannot be reached"),
        ([full], {}, "is not empty"),
        ([person.home / "none"], {}, "does not exist"),
        ([place, "--log-file", place / "log"], {}, "lies below the mount point"),
        ([place, "-o", "colour=red"], {}, "unknown mount option 'colour'"),
    ]
    for number, (arguments, more, sentence) in enumerate(mistakes):
        state = {"AEROFS_STATE_DIR": str(person.home / str(number))}
        done = person.aerofs("mount", *arguments, **more, **state)
        assert (done.returncode, done.stdout) == (2, "")
        assert sentence in done.stderr
        assert done.stderr.startswith("aerofs: ")
        assert done.stderr.count("\n") == 1
        assert platform.token not in done.stderr
    assert mountpoint.mounted_at(place) is None


def test_a_crashed_mount_is_told_and_taken_over_or_freed(person: Person) -> None:
    place = person.place()
    person.succeed("mount", place)
    end(person.status(place)["pid"])
    elsewhere = {"AEROFS_STATE_DIR": str(person.home / "elsewhere")}
    assert person.aerofs("mount", "http://127.0.0.1:1", place, **elsewhere).returncode == 2
    with pytest.raises(OSError, match="not connected") as caught:
        list(place.iterdir())
    assert caught.value.errno == errno.ENOTCONN, (
        "until a new mount stands there, nothing may be written there"
    )
    assert person.aerofs("status", place).returncode == 1
    done = person.aerofs("mount", place)
    assert (done.returncode, done.stderr) == (0, f"aerofs: a crashed mount at {place} is taken over\n")
    assert (place / "invoice").is_dir()
    assert sum(mount.mountpoint == place for mount in mountpoint.mounts()) == 1
    end(person.status(place)["pid"])
    assert person.aerofs("umount", place).returncode == 0
    assert list(place.iterdir()) == []


def test_umount_of_a_mount_in_use_says_so(person: Person) -> None:
    place = person.place()
    person.succeed("mount", place)
    folder = os.open(place / "invoice", os.O_RDONLY)
    done = person.aerofs("umount", place)
    os.close(folder)
    assert done.returncode == 1
    assert "is in use" in done.stderr
    person.succeed("umount", place)


def test_umount_with_a_timeout_leaves_a_mount_whose_saves_cannot_go_up(
    person: Person, platform: Platform
) -> None:
    place = person.place()
    person.succeed("mount", place, "--close-wait", "0")
    target = a_field(place)
    list(target.iterdir())
    platform.process.send_signal(signal.SIGSTOP)
    try:
        (target / "waits.txt").write_text("not yet")
        done = person.aerofs("umount", place, "--timeout", "1")
    finally:
        platform.process.send_signal(signal.SIGCONT)
    assert done.returncode == 1
    assert "1 save is not uploaded yet" in done.stderr
    assert "waits.txt" in done.stderr
    assert (target / "waits.txt").read_text() == "not yet"
    person.succeed("umount", place)
    person.succeed("mount", place)
    assert (target / "waits.txt").read_text() == "not yet"
    (target / "waits.txt").unlink()


def test_in_the_foreground_it_stays_until_it_is_told(person: Person) -> None:
    place = person.place()
    with person.start(sys.executable, "-m", "aerofs", "mount", str(place), "--foreground") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"aerofs: {place} is mounted\n"
        assert (place / "invoice").is_dir()
        process.terminate()
        assert process.wait(BOUND) == 0
    assert mountpoint.mounted_at(place) is None


def test_mount_8_s_convention_mounts_too(person: Person, platform: Platform) -> None:
    place = person.place()
    script = "from aerofs.cli import mount_main; mount_main()"
    done = person.run(
        sys.executable, "-c", script, platform.url, str(place), "-s", "-o", "ro,nosuid,umask=077"
    )
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(OSError, match="Read-only") as caught:
        (a_field(place) / "x").touch()
    assert caught.value.errno == errno.EROFS


def test_an_ordinary_user_mounts_works_and_unmounts(ordinary_user: Person) -> None:
    place = ordinary_user.place()
    ordinary_user.succeed("mount", place)
    done = ordinary_user.run(
        "sh", "-c", f"ls {place}/invoice && echo hello > {a_field_as(ordinary_user, place)}/h.txt"
    )
    assert (done.returncode, done.stderr) == (0, "")
    mounted = mountpoint.mounted_at(place)
    assert mounted is not None
    assert mounted.owner == ordinary_user.uid
    assert ordinary_user.status(place)["saves"] == []
    ordinary_user.succeed("umount", place)
    assert mountpoint.mounted_at(place) is None


def a_field_as(person: Person, place: Path) -> str:
    """As `a_field`, for a mount into which root may not look."""
    command = f"ls -d {place}/invoice/*/attachments.invoiceFiles | head -n 1"
    return person.run("sh", "-c", command).stdout.strip()


def test_the_demo_takes_its_tour_and_leaves_nothing(person: Person) -> None:
    place = person.place()
    done = person.aerofs("demo", place, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Hello, aero" in done.stdout
    assert mountpoint.mounted_at(place) is None
    assert [path for path in person.home.iterdir() if path.name.startswith("aero")] == []


def test_the_demo_ends_in_order_however_it_is_told_also_under_a_busy_shell(person: Person) -> None:
    demos = []
    for number in (signal.SIGINT, signal.SIGTERM):
        place = person.place(number.name)
        demos.append((number, place, person.start(sys.executable, "-u", "-m", "aerofs", "demo", str(place))))
    for number, place, process in demos:
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None
        busy = os.open(place / "invoice", os.O_RDONLY)
        process.send_signal(number)
        out, err = process.communicate(timeout=BOUND)
        os.close(busy)
        assert (process.returncode, err) == (0, "")
        assert "taking the mount away all the same" in out
        assert mountpoint.mounted_at(place) is None
    assert [path for path in person.home.iterdir() if path.name.startswith("aerofs-demo")] == []
