"""Where the cells of the fault matrix are tried: the drive but for the kernel, a sandbox, a clock that never waits."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import httpx
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from aerofs.sandbox import Access, SandboxConfig, server, serving
from aerofs.sandbox.api import route
from tests.contract.conftest import Drive, Office
from tests.faults.acts import NEIGHBOUR, Act

_IDLE = 0.001
"""Real seconds without an event after which every task waits, if no request is under way."""
_SILENT = 0.05
"""The same while one is: on a busy machine the kernel takes its time to carry bytes from one socket to another."""
_LONG = 3600.0


class Gate(httpx.AsyncHTTPTransport):
    """The network: every request passes here, and may find no way."""

    def __init__(self, pass_by: Callable[[httpx.Request], None]) -> None:
        super().__init__(verify=False)  # plain http; reading trust takes time
        self._pass_by = pass_by

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._pass_by(request)
        return await super().handle_async_request(request)


def kind_of(request: httpx.Request) -> str:
    """The sandbox's kind of a request."""
    found = route(request.url.raw_path.decode().partition("?")[0])
    return "download" if found is None else found.kinds.get(request.method, "other")


class Lab:
    """A sandbox for many cells, one after another."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self._drive: Drive | None = None

    @asynccontextmanager
    async def prepared(self, act: Act) -> AsyncIterator[Drive]:
        """The platform as it stands before an act, and a drive that knows of it what programs would have seen."""
        office, sandbox = self.office, self.office.sandbox
        office.clear()
        office.forget_disk("state")
        sandbox.clear_faults()
        sandbox.tokens["renewed"] = Access()
        for path, data in {**act.before, **neighbours(act)}.items():
            office.add(f"invoice/{path}", data)
        token = office.disk / "token"
        token.write_text(sandbox.token)
        random.seed(0)  # the pauses between tries are to be the same every time
        ttl = 0.0 if act.cold else _LONG
        async with office.mounted(
            token=None, token_file=token, definition_ttl=ttl, listing_ttl=_LONG, document_ttl=_LONG
        ) as drive:
            self._drive = drive
            for place in () if act.cold else act.fields:
                await drive.names(f"invoice/{place}")
            if act.stale:
                await trio.sleep(_LONG + 1)
            token.write_text("renewed")  # whoever is told that its token is no good finds another one
            sandbox.reset_counts()
            try:
                yield drive
            finally:
                self._drive = None
                sandbox.clear_faults()

    def stored(self, act: Act) -> list[tuple[str, bytes]]:
        """What stands in the fields of an act."""
        return self.office.stored(*act.fields)

    async def requests(self, act: Act) -> Counter[str]:
        """What an act asks for where nothing fails."""
        async with self.prepared(act) as drive:
            await act.does(drive)
            await drive.filesystem.drain()
            assert self.stored(act) == shown(act, act.after)
            drive.assert_nothing_left()
            return +self.office.sandbox.requests

    async def pass_time(self, clock: MockClock) -> None:
        """Whenever every task waits, go to the next moment that one of them waits for.

        Waits of minutes so cost nothing, and last exactly as long as they say. Trio's own autojump does not see
        threads at work, and would let deadlines pass while the disk is busy.

        Raises:
            AssertionError: Every task waits, and none of them for a moment: that would last for ever.
        """
        while True:
            await wait_all_tasks_blocked(_IDLE)
            if self._drive is None or _under_way(self._drive):
                await wait_all_tasks_blocked(_SILENT)
            if self._threads():
                continue
            step = trio.lowlevel.current_statistics().seconds_to_next_deadline
            assert step != float("inf"), "nothing will ever happen any more"
            clock.jump(max(step, 0.0))

    def _threads(self) -> int:
        journal = 0 if self._drive is None else self._drive.store.journal._writer.borrowed_tokens
        return journal + trio.to_thread.current_default_thread_limiter().borrowed_tokens


@asynccontextmanager
async def lab(disk: Path, clock: MockClock) -> AsyncIterator[Lab]:
    """A laboratory whose time passes by itself; `clock` has the rate 0."""
    # A connection that the server closes after a while would be a fault of its own.
    with mock.patch.object(server, "_KEEP_ALIVE", 1e9):
        async with serving(SandboxConfig()) as sandbox, trio.open_nursery() as nursery:
            here = Lab(Office(sandbox, disk))
            nursery.start_soon(partial(here.pass_time, clock))
            yield here
            nursery.cancel_scope.cancel()


def _under_way(drive: Drive) -> bool:
    """Whether a request is."""
    exchange = drive.platform._exchange
    lanes = exchange.lanes.metadata, exchange.lanes.uploads, exchange.lanes.downloads
    return exchange.breaker.is_probing or any(lane.places.borrowed_tokens for lane in lanes)


def neighbours(act: Act) -> dict[str, bytes]:
    """A file of no concern in every field that has room for it."""
    return {f"{place}/neighbour.txt": NEIGHBOUR for place in act.fields if not place.endswith("single")}


def shown(act: Act, files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Some files and the neighbours, as `Lab.stored` tells them."""
    return sorted({**files, **neighbours(act)}.items())
