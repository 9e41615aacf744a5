"""For every test: a warning of ours in the log fails it, unless it is marked as one that wants to see some."""

import logging
import signal
from collections.abc import Iterator

import pytest


def pytest_configure() -> None:
    """Where Ctrl-C is ignored (a job in the background of a script), the programs under test must not inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_unexpected_complaints(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Nothing at WARNING or above from aerofs that the test did not ask to see."""
    yield
    if request.node.get_closest_marker("complains"):
        return
    complaints = [
        f"{record.levelname} {record.name}: {record.getMessage()}"
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.levelno >= logging.WARNING and record.name.startswith("aerofs")
    ]
    assert not complaints, "\n".join(complaints)
