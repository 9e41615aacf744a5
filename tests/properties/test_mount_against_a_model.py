"""The same machine through a real mount: what the kernel makes of it, in real time, and so in fewer steps."""

from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.properties.drive_machine import DriveMachine
from tests.properties.mounted_world import Ground, MountedWorld
from tests.properties.walk import take, walks
from tests.properties.world import World


class MountedDrive(DriveMachine):
    """What takes minutes, or a moment that cannot be hit from outside, is left to the simulation."""

    ground: ClassVar[Ground]
    usual = ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt")
    patience = 0.0
    longest_sleep = 0.1
    die = None  # type: ignore[assignment]
    away = None  # type: ignore[assignment]

    def world(self) -> World:
        return MountedWorld(self.ground)


@pytest.fixture
def ground() -> Iterator[Ground]:
    ground = Ground()
    try:
        yield ground
    finally:
        ground.end()


def test_the_same_holds_through_a_mount(ground: Ground) -> None:
    machine = type("MountedDrive", (MountedDrive,), {"ground": ground})
    for walk in walks(machine, 0, count=10, length=50):
        take(machine, walk)
