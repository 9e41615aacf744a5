"""The state directory: private, held by one process, and told in one sentence when it cannot be used."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aerofs.content.store import Owner, StateDirectory, Store, owner_of
from aerofs.errors import ConfigError, NoSpaceError
from aerofs.mount import owner
from aerofs.settings import Settings


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with Store(tmp_path / "a" / "state") as store:
        assert store.directory.stat().st_mode & 0o777 == 0o700
        assert store.drafts.is_dir()


def test_one_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Store(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_second_opener_is_told_who_holds_it(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(ConfigError, match=r"held by process \d+"):
        Store(tmp_path)
    Store(tmp_path).close()


def test_a_failed_opening_lets_go_of_it(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(ConfigError, match="journal"):
            Store(tmp_path)
    (tmp_path / "journal.sqlite").rmdir()
    Store(tmp_path).close()


@pytest.mark.parametrize("name", ["drafts", "blobs", "lock"])
def test_something_in_its_way_is_told(tmp_path: Path, name: str) -> None:
    if name == "lock":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        Store(tmp_path)


def test_drafts_last_and_blobs_do_not(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (store.drafts / "x.draft").touch()
        (store.directory / "blobs" / "x.blob").touch()
    with Store(tmp_path) as store:
        assert [path.name for path in store.drafts.iterdir()] == ["x.draft"]
        assert list((store.directory / "blobs").iterdir()) == []


def test_it_tells_whose_it_is(tmp_path: Path) -> None:
    first = Owner("https://a", "live", "/mnt/a", "me")
    with Store(tmp_path, first):
        assert owner_of(tmp_path) == first
    second = Owner("https://b", "live", "/mnt/a", "me")
    Store(tmp_path, second).close()
    assert owner_of(tmp_path) == second
    Store(tmp_path).close()
    assert owner_of(tmp_path) == second
    assert not (tmp_path / "mount.json.new").exists()


def test_the_identity_tells_the_source_of_the_token_and_never_the_token(tmp_path: Path) -> None:
    def of(**given: str) -> Owner:
        base = {"url": "https://aero.example", "environment": "live", "mountpoint": "/mnt/a"}
        return owner(Settings.model_validate({**base, **given}))

    file = of(token_file=str(tmp_path / "token"))
    (tmp_path / "token").write_text("renewed")
    assert of(token_file=str(tmp_path / "token")) == file
    literal = of(token="secret-token")
    assert literal.identity not in {file.identity, of(token="another-token").identity}
    assert "secret" not in str(literal)
    assert of(token_command="pass aero").identity != of(token_command="pass other").identity


def test_a_mount_waits_for_a_visitor_to_go_and_a_visitor_for_nobody(tmp_path: Path) -> None:
    visit = StateDirectory(tmp_path)
    with pytest.raises(ConfigError, match=f"held by process {os.getpid()}"):
        StateDirectory(tmp_path)
    with ThreadPoolExecutor() as pool:
        mount = pool.submit(Store, tmp_path)
        with pytest.raises(TimeoutError):
            mount.result(timeout=0.5)
        visit.close()
        with mount.result(timeout=20), pytest.raises(ConfigError, match="already mounted"):
            StateDirectory(tmp_path)


def test_a_full_disk_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpaceError, match="the local disk is full"):
        Store(tmp_path)
    monkeypatch.undo()
    Store(tmp_path).close()
