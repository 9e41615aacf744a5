"""The mount point before a mount: fit, taken, or left by a crash."""

import errno
import os
import time
from pathlib import Path

import pytest

from aerofs import mountpoint
from aerofs.errors import ConfigError
from aerofs.mountpoint import Mounted

TABLE = rb"""22 1 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:40 / /mnt/my\040drive\011\134x rw,nosuid,nodev - fuse.aerofs https://aero.example rw,user_id=1000
31 22 0:41 / /mnt/\303\251 rw shared:1 master:2 - ext4 /dev/sd\040a rw
"""


def test_the_kernel_s_table_is_read_with_its_escapes(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(TABLE)
    assert mountpoint.mounts(table) == [
        Mounted(Path("/proc"), "proc", "proc"),
        Mounted(Path("/mnt/my drive\t\\x"), "fuse.aerofs", "https://aero.example", 1000),
        Mounted(Path("/mnt/é"), "ext4", "/dev/sd a"),
    ]


def test_the_real_table_is_readable_and_the_topmost_mount_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mountpoint.mounted_at(Path("/proc")) is not None
    lower, upper = Mounted(Path("/a"), "ext4", "x"), Mounted(Path("/a"), "fuse.aerofs", "y")
    monkeypatch.setattr(mountpoint, "mounts", lambda: [lower, upper])
    assert mountpoint.mounted_at(Path("/a")) == upper


def test_a_mount_is_found_by_any_path_that_leads_to_it_and_is_not_asked_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = Mounted(tmp_path / "true" / "mnt", "fuse.aerofs", "x")
    (mount.mountpoint / "below").mkdir(parents=True)
    (tmp_path / "parent").symlink_to("true")
    (tmp_path / "link").symlink_to("true/mnt")
    monkeypatch.setattr(mountpoint, "mounts", lambda: [mount])
    monkeypatch.chdir(mount.mountpoint)
    for path in (Path(), Path("../mnt/"), Path("below/.."), tmp_path / "link", tmp_path / "parent" / "mnt"):
        assert mountpoint.mounted_at(path) == mount
    looked: list[str] = []
    truly = os.lstat

    def watched(path: str) -> os.stat_result:
        looked.append(path)
        return truly(path)

    monkeypatch.setattr(os, "lstat", watched)
    assert mountpoint.mounted_at(tmp_path / "parent" / "mnt") == mount
    assert str(mount.mountpoint) not in looked


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    def fine(*, allow_other: bool = False) -> None:
        del allow_other

    monkeypatch.setattr(mountpoint, "check_fuse", fine)


@pytest.mark.usefixtures("device")
def test_an_empty_directory_is_fit(tmp_path: Path) -> None:
    assert mountpoint.prepare(tmp_path) is False


@pytest.mark.usefixtures("device")
def test_what_is_no_empty_directory_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, sentence in (
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file", "is not a directory"),
        (tmp_path / "file" / "below", "cannot be used: Not a directory"),
        (tmp_path, "is not empty"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            mountpoint.prepare(place)


class Kernel:
    """A table of mounts of which some are dead."""

    def __init__(self, place: Path, *fstypes: str, dead: bool) -> None:
        self.stack = [Mounted(place, fstype, "src") for fstype in fstypes]
        self.dead = dead
        self.detached: list[Path] = []

    def mounts(self) -> list[Mounted]:
        return self.stack

    def is_dead(self, place: Path) -> bool:
        return self.dead and any(mount.mountpoint == place for mount in self.stack)

    def detach(self, place: Path) -> None:
        self.detached.append(place)
        self.stack.pop()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("mounts", "is_dead", "detach"):
            monkeypatch.setattr(mountpoint, name, getattr(self, name))


@pytest.mark.usefixtures("device")
def test_crashed_mounts_of_aerofs_stay_until_they_are_cleared_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path, "fuse.aerofs", "fuse.aerofs", dead=True)
    kernel.install(monkeypatch)
    assert mountpoint.prepare(tmp_path) is True
    assert kernel.detached == []
    mountpoint.clear(tmp_path)
    assert kernel.detached == [tmp_path, tmp_path]


def test_what_landed_below_a_crashed_mount_is_not_hidden_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path, "fuse.aerofs", dead=True)
    kernel.install(monkeypatch)
    (tmp_path / "landed").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        mountpoint.clear(tmp_path)


@pytest.mark.usefixtures("device")
def test_a_dead_mount_of_another_kind_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, "fuse.sshfs", dead=True)
    kernel.install(monkeypatch)
    for act in (mountpoint.prepare, mountpoint.clear):
        with pytest.raises(ConfigError, match=r"a dead mount of another kind \(fuse\.sshfs of src\)"):
            act(tmp_path)
    assert kernel.detached == []


@pytest.mark.usefixtures("device")
def test_a_living_mount_is_not_mounted_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(tmp_path, "fuse.aerofs", dead=False).install(monkeypatch)
    with pytest.raises(ConfigError, match=r"is mounted already \(src\)"):
        mountpoint.prepare(tmp_path)


@pytest.mark.usefixtures("device")
def test_an_automount_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "would-block").touch()
    Kernel(tmp_path, "autofs", dead=False).install(monkeypatch)
    assert mountpoint.prepare(tmp_path) is False


@pytest.mark.parametrize(
    ("code", "dead"), [(errno.ENOTCONN, True), (errno.ECONNABORTED, True), (errno.EACCES, False)]
)
def test_a_mount_is_dead_when_the_kernel_says_not_connected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, code: int, dead: bool
) -> None:
    answer = f"def refused(_): raise OSError({code}, 'refused')\nos.statvfs = refused\n"
    monkeypatch.setattr(mountpoint, "_LOOK", mountpoint._LOOK.replace("\n", f"\n{answer}", 1))
    assert mountpoint.is_dead(tmp_path) is dead


def test_a_mount_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mountpoint, "_LOOK", "import time; time.sleep(60)")
    monkeypatch.setattr(mountpoint, "_ANSWER_BOUND", 0.1)
    begun = time.monotonic()
    assert not mountpoint.is_dead(tmp_path)
    assert time.monotonic() - begun < 10


def test_missing_fuse_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="fuse is missing: load the FUSE module"):
        mountpoint.check_fuse(device=tmp_path / "fuse")
    (tmp_path / "fuse").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install the package fuse3"):
        mountpoint.check_fuse(device=tmp_path / "fuse")
    (tmp_path / "fusermount3").touch(mode=0o755)
    mountpoint.check_fuse(device=tmp_path / "fuse")
    monkeypatch.setattr(mountpoint, "_others_allowed", lambda configuration: configuration == tmp_path)
    with pytest.raises(ConfigError, match=r"user_allow_other in /etc/fuse\.conf"):
        mountpoint.check_fuse(device=tmp_path / "fuse", allow_other=True)


def test_allow_other_for_users_stands_alone_on_its_line(tmp_path: Path) -> None:
    configuration = tmp_path / "fuse.conf"
    assert not mountpoint._others_allowed(configuration)
    configuration.write_text("#user_allow_other\nmount_max = 10\n")
    assert not mountpoint._others_allowed(configuration)
    configuration.write_text("mount_max = 10\n user_allow_other \n")
    assert mountpoint._others_allowed(configuration)
