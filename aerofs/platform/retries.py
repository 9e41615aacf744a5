"""When a call is tried again, and after which pause.

The loop is stamina's, the bound is the caller's deadline. stamina's own timeout is off, and a pause that
would outlive the deadline is not begun at all: the error at hand tells more than a deadline. Its hook that
logs arguments at WARNING is replaced by one that logs the cause at INFO.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
import trio
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from aerofs.errors import DeadlineError, UnavailableError
from aerofs.platform.tally import Tally

log = logging.getLogger(__name__)
T = TypeVar("T")

_PATIENCE = 15.0
"""The longest pause that the platform may ask for within one call."""
_JITTER = 0.2

_retrying = stamina.AsyncRetryingCaller(
    attempts=5,
    timeout=None,
    wait_initial=0.1,
    wait_max=5.0,
    wait_jitter=_JITTER,
)


def _log_retry(details: RetryDetails) -> None:
    log.info("%s; trying again in %.1f s", details.caused_by, details.wait_for)


set_on_retry_hooks([_log_retry])


async def retried(
    attempt: Callable[[], Awaitable[T]],
    *,
    repeatable: Callable[[UnavailableError], bool],
    tally: Tally,
) -> T:
    """Call `attempt` until it succeeds, or fails for good or too often: then raise its last error.

    Args:
        attempt: Raises UnavailableError where trying again may help. A DeadlineError is the bound, never
            repeated.
        repeatable: Whether the call may be repeated after this error.
        tally: Told each retry.
    """

    def pause(error: Exception) -> bool | float:
        if not isinstance(error, UnavailableError) or isinstance(error, DeadlineError):
            return False
        if error.retry_after is None or not repeatable(error):
            return repeatable(error)
        asked = error.retry_after + random.uniform(0, _JITTER)  # noqa: S311 -- spreads load, guards nothing
        left = trio.current_effective_deadline() - trio.current_time()
        return asked if asked <= min(_PATIENCE, left) else False

    tries = 0

    async def counted() -> T:
        nonlocal tries
        tally.retries += tries > 0
        tries += 1
        return await attempt()

    return await _retrying(pause, counted)
