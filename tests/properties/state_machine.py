"""`scripts/state-machine`: as many steps as wanted, from a seed on, with their speed and failures."""

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.programs import Programs
from tests.properties.test_filesystem_against_a_model import USUAL, SimulatedDrive
from tests.properties.walk import take, walks

Try = Callable[[int], None]


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
    # Like ^C, which hypothesis lets through; it would take a SystemExit for a failure of the machine, and go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no mount is left behind
    logging.getLogger("aerofs").setLevel(logging.CRITICAL)
    phases = (Phase.generate,) if given.no_shrink else (Phase.generate, Phase.shrink)
    chosen = settings(USUAL, stateful_step_count=given.length, phases=phases)
    with _mounted(given.length) if given.mount else _simulated(chosen) as attempt:
        return 1 if _run(attempt, steps=given.steps, first=given.seed) else 0


@contextmanager
def _simulated(chosen: settings) -> Iterator[Try]:
    def attempt(number: int) -> None:
        machine = type(SimulatedDrive.__name__, (SimulatedDrive,), {})
        run_state_machine_as_test(seed(number)(machine), settings=chosen)

    yield attempt


@contextmanager
def _mounted(length: int) -> Iterator[Try]:
    from tests.properties.mounted_world import Ground  # noqa: PLC0415  it needs a kernel
    from tests.properties.test_mount_against_a_model import MountedDrive  # noqa: PLC0415

    ground = Ground()

    def attempt(number: int) -> None:
        for walk in walks(MountedDrive, number, count=10, length=length):
            take(MountedDrive, walk)

    try:
        MountedDrive.ground = ground
        yield attempt
    finally:
        ground.end()


def _run(attempt: Try, *, steps: int, first: int) -> int:
    """Seed after seed. Returns how many of them failed."""
    failures, number, began = 0, first, time.monotonic()
    while Programs.steps < steps:
        try:
            attempt(number)
        except Exception as error:  # noqa: BLE001  each is told
            failures += 1
            _tell(f"--- seed {number}:", *traceback.format_exception(error, limit=-4))
        number += 1
        speed = Programs.steps / (time.monotonic() - began)
        _tell(f"{Programs.steps} steps, {speed:.0f} a second, up to seed {number}, {failures} failures")
    return failures


def _tell(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
