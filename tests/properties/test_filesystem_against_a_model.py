"""Programs, colleagues and misfortunes in any order: the drive keeps its promises, step by step and in the end.

A failure prints the steps that lead to it; `scripts/state-machine --seed N` makes them as few as possible, and runs as
many as one likes.
"""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.drive_machine import DriveMachine
from tests.properties.simulation import Simulation
from tests.properties.world import World


class SimulatedDrive(DriveMachine):
    """Without a kernel, and faster than time."""

    def world(self) -> World:
        return Simulation()


USUAL = settings(
    max_examples=55,
    stateful_step_count=50,
    deadline=None,
    database=None,
    print_blob=False,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.complains
@pytest.mark.parametrize("number", range(4))
def test_whatever_happens_nothing_is_lost_doubled_or_destroyed_unseen(number: int) -> None:
    machine = type("SimulatedDrive", (SimulatedDrive,), {})
    run_state_machine_as_test(seed(number)(machine), settings=USUAL)
