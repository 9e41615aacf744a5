"""`scripts/state-machine`: as many steps as wanted, from a seed on, with their speed and failures."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.drive_machine import DriveMachine
from tests.properties.programs import Programs
from tests.properties.test_filesystem_against_a_model import USUAL, SimulatedDrive


def main() -> int:
    """Run, and tell. Returns the exit code: 1 where something failed."""
    parser = argparse.ArgumentParser(prog="scripts/state-machine", description=__doc__)
    parser.add_argument("steps", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="where to begin; the next ones follow")
    parser.add_argument(
        "--length", type=int, default=USUAL.stateful_step_count, help="steps of one run, at most"
    )
    parser.add_argument("--mount", action="store_true", help="through a real mount")
    parser.add_argument("--no-shrink", action="store_true", help="tell failures as they are found")
    given = parser.parse_args()
    logging.getLogger("aerofs").setLevel(logging.CRITICAL)
    phases = (Phase.generate,) if given.no_shrink else (Phase.generate, Phase.shrink)
    chosen = settings(USUAL, stateful_step_count=given.length, phases=phases)
    with _machine(mount=given.mount) as machine:
        return 1 if _run(machine, chosen, steps=given.steps, first=given.seed) else 0


@contextmanager
def _machine(*, mount: bool) -> Iterator[type[DriveMachine]]:
    if not mount:
        yield SimulatedDrive
        return
    from tests.properties.mounted_world import Ground  # noqa: PLC0415  it needs a kernel
    from tests.properties.test_mount_against_a_model import MountedDrive  # noqa: PLC0415

    ground = Ground()
    try:
        MountedDrive.ground = ground
        yield MountedDrive
    finally:
        ground.end()


def _run(machine: type[DriveMachine], chosen: settings, *, steps: int, first: int) -> int:
    """Seed after seed. Returns how many of them failed."""
    failures, number, began = 0, first, time.monotonic()
    while Programs.steps < steps:
        try:
            run_state_machine_as_test(seed(number)(type(machine.__name__, (machine,), {})), settings=chosen)
        except Exception as error:  # noqa: BLE001  each is told
            failures += 1
            _tell(f"--- seed {number}: {type(error).__name__}: {error}", *getattr(error, "__notes__", ()))
        number += 1
        speed, made = Programs.steps / (time.monotonic() - began), DriveMachine.steps
        _tell(f"{made} steps, {speed:.0f} a second, up to seed {number}, {failures} failures")
    return failures


def _tell(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
