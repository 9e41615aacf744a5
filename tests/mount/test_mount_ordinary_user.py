"""The drive of an ordinary user: mounted by fusermount3, without any privilege."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.harness import Drive, LocalPlatform, Paper, names
from tests.mounted import eventually

DEVICE = Path("/dev/fuse")
_ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def user() -> int:
    """A user that may use FUSE and has nothing."""
    return pwd.getpwnam("nobody").pw_uid


@pytest.fixture(scope="module", autouse=True)
def _open_device() -> Iterator[None]:
    """As udev has it on ordinary systems."""
    before = stat.S_IMODE(DEVICE.stat().st_mode)
    DEVICE.chmod(0o666)
    yield
    DEVICE.chmod(before)


@pytest.fixture(scope="module")
def interpreter(user: int) -> Iterator[tuple[str, dict[str, str]]]:
    """An interpreter that this user may run, and the environment in which it finds aerofs."""
    probe = [sys.executable, "-c", "import aerofs.mount, aerofs.cli"]
    if (
        subprocess.run(
            probe, user=user, group=user, extra_groups=[], capture_output=True, check=False, cwd="/"
        ).returncode
        == 0
    ):
        yield sys.executable, {}
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="aerofs-test-lib-") as directory:
        copy = Path(directory)
        copy.chmod(0o755)
        shutil.copytree(_ROOT / "aerofs", copy / "aerofs", ignore=shutil.ignore_patterns("__pycache__"))
        for place in sys.path:
            if Path(place).name == "site-packages":
                shutil.copytree(place, copy, dirs_exist_ok=True, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
        plain = os.path.realpath(sys.executable)
        found = subprocess.run(
            [plain, "-c", probe[2]],
            user=user,
            group=user,
            extra_groups=[],
            env={"PYTHONPATH": directory},
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if found.returncode:
            pytest.skip(f"no interpreter for another user: {found.stderr}")
        yield plain, {"PYTHONPATH": directory}


@pytest.fixture(scope="module")
def shared_drive(
    platform: LocalPlatform, user: int, interpreter: tuple[str, dict[str, str]]
) -> Iterator[Drive]:
    """A drive of that user."""
    python, environ = interpreter
    drive = Drive(platform, user=user, python=python, environ=environ)
    try:
        yield drive.mount()
    finally:
        drive.end()
    assert not drive.complaints()


def test_the_user_reads_writes_moves_and_removes(paper: Paper, user: int) -> None:
    paper.put("old", b"old")
    drive = paper.drive
    said = drive.shell(
        'cat "$1/old"; printf new > "$1/new"; mv "$1/old" "$2/moved"; ls "$1"; rm "$1/new"; stat -c "%u %a" "$2/moved"',
        paper.scan,
        paper.path / "papers.letters",
        cwd=Path("/"),
    )
    assert said == f"oldnew\n{user} 644\n"
    drive.settled()
    assert (paper.held(), paper.held("papers.letters")) == ([], [("moved", b"old")])


def test_nobody_else_gets_in_not_even_root(drive: Drive) -> None:
    with pytest.raises(PermissionError):
        names(drive.path)


def test_the_state_is_the_users_alone(drive: Drive, user: int) -> None:
    status = (drive.directory / "state").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (user, 0o700)


def test_root_can_ask_how_it_is(drive: Drive) -> None:
    assert drive.status()["mountpoint"] == str(drive.path)


def test_the_user_sees_the_status_and_unmounts(drive: Drive, paper: Paper) -> None:
    drive.shell('printf new > "$1/new"', paper.scan, cwd=Path("/"))
    assert str(drive.path) in drive.command("status", "--json").stdout
    said = drive.command("umount", str(drive.path))
    assert said.returncode == 0, said.stderr
    assert drive.wait() == 0
    assert paper.held() == [("new", b"new")]
    drive.mount()
    assert drive.shell('cat "$1/new"', paper.scan, cwd=Path("/")) == "new"


def test_the_user_decides_about_saves_with_and_without_a_mount(drive: Drive, paper: Paper) -> None:
    drive.platform.fault("save", "status", status=403, count=None)
    for name in ("one", "two"):
        drive.shell('printf "$2" > "$1/$2"', paper.scan, name, cwd=Path("/"))
    eventually(lambda: len(drive.saves("held")) == 2)
    drive.platform.behave()
    numbers = {Path(save["path"]).name: str(save["id"]) for save in drive.saves()}
    where = ("--mount", str(drive.path))
    assert drive.command("saves", "export", numbers["one"], "-", *where).stdout == "one"
    assert drive.command("saves", "retry", numbers["one"], *where).returncode == 0
    assert drive.command("umount", str(drive.path)).returncode == 3
    assert drive.wait() == 0
    assert "not mounted" in drive.command("status", str(drive.path)).stdout
    assert drive.command("saves", "discard", numbers["two"], "--yes", *where).returncode == 0
    drive.mount()
    assert drive.saves() == []
    assert paper.held() == [("one", b"one")]


def test_a_crashed_mount_is_recovered_by_its_user(drive: Drive, paper: Paper) -> None:
    drive.kill()
    drive.shell('ls "$1"', drive.path, cwd=Path("/"), fails=True)
    drive.mount()
    eventually(lambda: drive.shell('ls "$1"', paper.scan, cwd=Path("/")) == "")
