"""When calls fail at once, and when they are tried again."""

import pytest
import trio
from trio.testing import MockClock

from aerofs.platform.breaker import Breaker


async def test_a_few_refusals_in_a_row_open_it(mock_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    breaker = Breaker(refusals=3)
    breaker.refused()
    breaker.refused()
    breaker.answered()
    breaker.refused()
    breaker.refused()
    assert breaker.reachable
    breaker.refused()
    assert not breaker.reachable
    assert breaker.state == "open"


async def test_one_deadline_opens_it(mock_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    breaker = Breaker()
    breaker.overdue(since=trio.current_time())
    assert not breaker.reachable


async def test_one_hanging_request_does_not_open_it_while_others_are_answered(mock_clock: MockClock) -> None:
    breaker = Breaker()
    since = trio.current_time()
    mock_clock.jump(10)
    breaker.answered()
    breaker.overdue(since=since)
    assert breaker.reachable


async def test_an_answer_closes_it(mock_clock: MockClock) -> None:
    breaker = Breaker(refusals=1)
    breaker.refused()
    mock_clock.jump(1)
    breaker.answered()
    assert breaker.reachable
    assert breaker.statistics() == {"state": "closed", "openings": 1, "open_for": None}


async def test_probes_are_due_after_growing_pauses_one_at_a_time(mock_clock: MockClock) -> None:
    breaker = Breaker(refusals=1, pause=2, longest_pause=6)
    assert not breaker.probe_due
    breaker.refused()
    assert not breaker.probe_due
    for pause in (2, 4, 6, 6):
        mock_clock.jump(pause - 0.1)
        assert not breaker.probe_due
        mock_clock.jump(0.1)
        assert breaker.probe_due
        with breaker.probing():
            assert not breaker.probe_due
            assert breaker.state == "probing"
    mock_clock.jump(6)
    with breaker.probing():
        breaker.answered()
    breaker.refused()
    mock_clock.jump(2)
    assert breaker.probe_due


async def test_a_probe_that_fails_by_an_exception_is_over(mock_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    breaker = Breaker(refusals=1)
    breaker.refused()
    with pytest.raises(ZeroDivisionError), breaker.probing():
        raise ZeroDivisionError
    assert breaker.state == "open"
    assert "open" in repr(breaker)
