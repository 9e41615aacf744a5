"""Programs, colleagues and misfortunes in any order: the drive keeps its promises, step by step and in the end.

A failure prints the steps that lead to it; `scripts/state-machine --seed N` makes them as few as possible, and runs as
many as one likes.
"""

import os
from datetime import UTC, datetime
from itertools import count, islice

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.drive_machine import DriveMachine
from tests.properties.programs import NAMES, Programs
from tests.properties.simulation import Simulation
from tests.properties.world import World


class SimulatedDrive(DriveMachine):
    """Without a kernel, and faster than time."""

    def world(self) -> World:
        return Simulation()


USUAL = settings(
    max_examples=25,
    stateful_step_count=50,
    deadline=None,
    database=None,
    print_blob=False,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


SEEDS = (0, 1, 2, 3, None)
"""None: another one every day."""
STEPS = 10_000
"""That they take together, at least. What finds nothing to do is no step."""


@pytest.mark.complains
@pytest.mark.parametrize("first", SEEDS)
def test_whatever_happens_nothing_is_lost_doubled_or_destroyed_unseen(first: int | None) -> None:
    numbers = count(int(f"{datetime.now(UTC):%Y%m%d}") if first is None else first, 1_000_000_000)
    before, share = Programs.steps, STEPS / len(SEEDS)
    for number in islice(numbers, 10):
        if Programs.steps - before >= share:
            break
        machine = type("SimulatedDrive", (SimulatedDrive,), {})
        try:
            run_state_machine_as_test(seed(number)(machine), settings=USUAL)
        except BaseException as error:
            error.add_note(f"Again, in fewer steps: scripts/state-machine 1 --seed {number}")
            raise
    assert Programs.steps - before >= share


def test_the_last_file_of_a_required_field_stays_after_a_truncate() -> None:
    machine = SimulatedDrive()
    machine.save(pick=("2/needed", 0), length=9, excl=False)
    machine.truncate(pick=("2/needed", 0), size=12)
    machine.unlink(pick=("2/needed", 0))
    machine.teardown()


@pytest.mark.complains
def test_the_last_file_of_a_required_field_that_was_put_aside_is_not_renamed_over() -> None:
    machine = SimulatedDrive()
    for place in (("2/needed", 0), ("2/scan", 1)):
        machine.save(pick=place, length=9, excl=False)
    machine.rename(pick=("2/needed", 0), there=("1/few", 2), noreplace=False)
    machine.rename(pick=("2/scan", 1), there=("1/few", 2), noreplace=False)
    machine.teardown()


@pytest.mark.complains
def test_a_held_save_is_not_taken_for_a_removed_file_of_its_name_and_bytes() -> None:
    machine, new = SimulatedDrive(), os.O_WRONLY | os.O_CREAT | os.O_EXCL
    machine.away()
    machine.open(pick=("1/few", 0), how=new)
    machine.unlink(pick=("1/few", 0))
    for _ in range(2):
        machine.colleague_adds(field="1/few", name="a.txt")
    machine.open(pick=("1/few", 0), how=new)
    machine.teardown()


@pytest.mark.complains
def test_a_file_told_apart_and_put_aside_is_found_under_its_title_after_a_crash() -> None:
    machine = SimulatedDrive()
    for _ in range(2):
        machine.colleague_adds(field="1/few", name="b.txt")
    machine._settle()
    for there in (2, 3):
        machine.rename(pick=("1/few", len(NAMES)), there=("1/scan", there), noreplace=False)
        machine.truncate(pick=("1/scan", there), size=100)
    machine.remount(crash=True)
    machine.teardown()


def test_the_last_file_of_a_required_field_that_is_written_leaves_it_with_its_close() -> None:
    machine = SimulatedDrive()
    machine.save(pick=("2/needed", 0), length=9, excl=False)
    machine.open(pick=("2/needed", 0), how=os.O_WRONLY | os.O_TRUNC)
    machine.rename(pick=("2/needed", 0), there=("1/scan", 0), noreplace=False)
    machine.teardown()
