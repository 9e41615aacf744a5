"""Perform a request: place in a lane, deadline, retries, breaker. What is asked and said stands in `wire.py`.

Invariants: a request that is not idempotent is repeated only if it certainly did nothing; every call ends
within its bound: metadata as a whole, transfers by progress.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx
import trio

from aerofs.errors import DeadlineError, NotFoundError, UnavailableError
from aerofs.platform import wire
from aerofs.platform.address import Address
from aerofs.platform.answers import Answer, SlowQueryError, failure, payload
from aerofs.platform.breaker import Breaker
from aerofs.platform.dialect import Dialect
from aerofs.platform.lanes import Lane, Lanes
from aerofs.platform.multipart import Form
from aerofs.platform.retries import retried
from aerofs.platform.sending import Call, Message, Sender
from aerofs.platform.tally import Tally
from aerofs.platform.tokens import Tokens
from aerofs.platform.wire import Request
from aerofs.settings import Settings

_PROBE_DEADLINE = 5.0


class Outcome(NamedTuple):
    """What a successful request brought: the JSON, None where it is empty, and where it came from."""

    content: Any
    url: str


class Exchange:
    """Performs requests for one platform. Tasks: any."""

    def __init__(
        self,
        settings: Settings,
        *,
        address: Address,
        dialect: Dialect,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.address = address
        self.breaker = Breaker()
        self.tally = Tally()
        self.tokens = Tokens.of(settings)
        self._sender = Sender(
            address,
            environment=settings.environment,
            tokens=self.tokens,
            breaker=self.breaker,
            tally=self.tally,
        )
        self.lanes = Lanes.of(settings, address, transport=transport)
        self._dialect = dialect
        self._settings = settings

    async def perform(
        self, request: Request, *, again: Callable[[], Awaitable[None]] | None = None
    ) -> Outcome:
        """Perform a metadata request within the metadata deadline, retries included; `again` runs before each of these.

        Raises:
            AerofsError: What the platform says, or why it could not be reached.
        """
        call = Call(request.kind, request.what)
        bound = self._settings.metadata_deadline
        try:
            with trio.fail_after(bound):
                return await self._retried(call, request, self.lanes.metadata, again=again)
        except trio.TooSlowError:
            if call.begun is not None:
                self.breaker.overdue(since=call.begun)
            raise DeadlineError(f"{call.what}: no answer within {bound:g} s", unsent=not call.sent) from None

    async def upload(self, request: Request, form: Callable[[], Form]) -> Outcome:
        """Perform a save. It may take as long as bytes move; its form is made anew each time that it is sent.

        Raises:
            AerofsError: What the platform says, or why it could not be reached.
        """
        return await self._retried(Call(request.kind, request.what), request, self.lanes.uploads, form)

    async def open(self, url: str, *, headers: Mapping[str, str]) -> tuple[httpx.Response, AsyncExitStack]:
        """Begin a download; the body is not read yet.

        Returns:
            The response, whatever its status below 500, and the stack to close when done with it: it holds
            the connection and the place in the lane.

        Raises:
            UnavailableError: The store cannot be reached or cannot serve now.
        """
        call = Call("download", "a download")
        bound = self._settings.connect_deadline + self._settings.stall_deadline
        own = self.address.owns(url)
        try:
            with trio.fail_after(bound):
                return await retried(
                    lambda: self._opened(call, url, headers),
                    repeatable=lambda _: self.breaker.reachable or not own,
                    tally=self.tally,
                )
        except trio.TooSlowError:
            raise DeadlineError(f"{call.what}: no answer within {bound:g} s", unsent=not call.sent) from None

    async def probe(self) -> bool:
        """Ask whether the platform answers at all, and tell the breaker. One probe runs at a time."""
        if self.breaker.is_probing:
            return self.breaker.reachable
        request = wire.probe()
        call = Call(request.kind, request.what)
        # without credentials: a 401 proves as much as anything
        message = Message(request.method, {})
        url = self.address.url(request.path)
        with self.breaker.probing(), trio.move_on_after(_PROBE_DEADLINE) as scope:
            try:
                async with self._sender.response(call, self.lanes.metadata, message, url, headers={}):
                    pass
            except UnavailableError:
                pass  # the breaker knows
        if scope.cancelled_caught and call.begun is not None:
            self.breaker.overdue(since=call.begun)
        return self.breaker.reachable

    async def _retried(
        self,
        call: Call,
        request: Request,
        lane: Lane,
        form: Callable[[], Form] | None = None,
        *,
        again: Callable[[], Awaitable[None]] | None = None,
    ) -> Outcome:
        first = True

        async def attempt() -> Outcome:
            nonlocal first
            if again is not None and not first:
                await again()
            first = False
            return await self._attempt(call, request, lane, form)

        def repeatable(error: UnavailableError) -> bool:
            if isinstance(error, SlowQueryError) or not self.breaker.reachable:
                return False
            return request.idempotent or error.unsent

        return await retried(
            attempt,
            repeatable=repeatable,
            tally=self.tally,
        )

    async def _attempt(
        self,
        call: Call,
        request: Request,
        lane: Lane,
        form: Callable[[], Form] | None,
    ) -> Outcome:
        """Perform a request once."""
        doubtful = call.sent
        url = self.address.url(request.path, request.params)
        message = Message(request.method, {}, body=request.body, form=form)
        await self._admitted(call)
        try:
            async with lane.place(), self._sender.followed(call, lane, message, url) as response:
                answer = await self._sender.answer(response)
            return Outcome(payload(answer, dialect=self._dialect, what=request.what), answer.url)
        except UnavailableError as error:
            if error.unsent:
                call.sent, error.unsent = doubtful, not doubtful
            raise
        except NotFoundError:
            if request.kind == "delete" and doubtful:
                # an earlier try got no answer, and now it is gone: that was us
                return Outcome(None, url)
            raise

    async def _opened(
        self,
        call: Call,
        url: str,
        headers: Mapping[str, str],
    ) -> tuple[httpx.Response, AsyncExitStack]:
        if self.address.owns(url):
            await self._admitted(call)
        lane = self.lanes.downloads
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(lane.place())
            response = await stack.enter_async_context(
                self._sender.followed(call, lane, Message("GET", {"Accept": "*/*", **headers}), url),
            )
            status = response.status_code
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {408, 425, 429}:
                raise failure(Answer(status, headers=dict(response.headers)), "", what=call.what)
            return response, stack.pop_all()

    async def _admitted(self, call: Call) -> None:
        """Pass if the breaker lets us, probing first where a probe is due.

        Raises:
            UnavailableError: The platform is away; nothing was sent.
        """
        if self.breaker.reachable or (self.breaker.probe_due and await self.probe()):
            return
        raise UnavailableError(f"{call.what}: the platform is not reachable", unsent=True)
