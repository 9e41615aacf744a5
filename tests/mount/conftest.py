"""Fixtures of the mount tests: one platform and one drive per module, a fresh document per test."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.mount.harness import Drive, LocalPlatform, Mounting, Paper


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    """A platform for the tests of a module; what goes wrong on order ends with each test."""
    running = LocalPlatform()
    yield running
    running.stop()


@pytest.fixture
def lasting_platform(tmp_path: Path) -> Iterator[LocalPlatform]:
    """A platform of one's own, which may be stopped and started again."""
    running = LocalPlatform(data=tmp_path / "platform")
    yield running
    running.stop()
    shutil.rmtree(tmp_path / "platform", ignore_errors=True)


@pytest.fixture(scope="module")
def shared_drive(platform: LocalPlatform) -> Iterator[Drive]:
    """A drive with the usual settings, for all tests of a module that need no others."""
    drive = Drive(platform)
    try:
        yield drive.mount()
    finally:
        drive.end()
    assert not drive.complaints()


@pytest.fixture
def drive(shared_drive: Drive) -> Iterator[Drive]:
    """The shared drive, watched: a warning in its log fails the test."""
    with shared_drive.watched():
        yield shared_drive
    shared_drive.platform.behave()
    complaints = shared_drive.complaints()
    shared_drive.expected.clear()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def paper(drive: Drive) -> Paper:
    """A fresh document of the shared drive."""
    return Paper(drive, drive.platform.document())


@pytest.fixture
def mounting() -> Iterator[Mounting]:
    """Mount drives with settings of one's own; they end with the test, and their warnings fail it."""
    complaints: list[str] = []

    def end(drive: Drive) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            drive.platform.behave()
        drive.end()
        complaints.extend(drive.complaints())

    with contextlib.ExitStack() as drives:

        def mount(platform: LocalPlatform, **settings: object) -> Drive:
            drive = Drive(platform, settings)
            drives.callback(end, drive)
            drives.enter_context(drive.watched())
            return drive.mount()

        yield mount
    assert not complaints, "\n".join(complaints)
