"""A mount that follows another at once: it waits a little for its end, and says for whom."""

import os
from pathlib import Path

import pytest
import trio

from aerofs import mount, mountpoint
from aerofs.content.operations import Operation, State
from aerofs.content.store import Owner, StateDirectory, Store
from aerofs.errors import AerofsError, ConfigError
from aerofs.model import DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.mountpoint import Mounted

FIELD = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan"))
ROW = Operation(place=FIELD, path="d/1/scan/a", file_name="a", title="a", size=3, state=State.QUEUED)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in ("_SILENT", "_PAUSE"):
        monkeypatch.setattr(mount, name, 0.0)
    monkeypatch.setattr(mount, "_PATIENCE", 0.3)
    return []


def _owner(place: Path) -> Owner:
    return Owner("https://aero.example", "live", str(place), "me")


def test_the_end_of_the_last_mount_is_waited_for(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount, "_PATIENCE", 30.0)
    before = Store(tmp_path / "state", _owner(tmp_path))

    def tell(sentence: str) -> None:
        told.append(sentence)
        before.close()

    mount._let_finish(tmp_path / "state", tell)
    (sentence,) = told
    assert f"process {os.getpid()} still finishes" in sentence
    mount._let_finish(tmp_path / "state", pytest.fail)
    mount._let_finish(tmp_path / "none", pytest.fail)


def test_one_that_takes_its_time_is_told_with_what_it_still_does(tmp_path: Path, told: list[str]) -> None:
    with Store(tmp_path / "state", _owner(tmp_path)) as before:
        trio.run(before.journal.record, ROW)
        with pytest.raises(AerofsError, match=r"\(saves to bring up: 1\); it ends by itself") as refused:
            mount._let_finish(tmp_path / "state", told.append)
    assert not isinstance(refused.value, ConfigError)
    assert len(told) == 1


def test_a_visitor_or_a_mount_that_serves_is_not_waited_for_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StateDirectory(tmp_path / "state", _owner(tmp_path)):
        mount._let_finish(tmp_path / "state", pytest.fail)
    monkeypatch.setattr(mountpoint, "mounted_at", lambda place: Mounted(place, mountpoint.FSTYPE, "x"))
    with Store(tmp_path / "state", _owner(tmp_path)):
        mount._let_finish(tmp_path / "state", pytest.fail)
