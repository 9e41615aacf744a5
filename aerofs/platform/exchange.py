"""Perform a request: token, headers, redirects, deadline, retries, breaker.

What is asked and said stands in `wire.py`.

Invariants: the token and the environment header go to the API's origin alone, on every hop; a request that
is not idempotent is repeated only if it certainly did nothing; every call ends within its bound. Tasks:
any; what they share is in breaker, tokens and tally, which change between awaits only.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx
import trio

from aerofs.errors import ConfigError, DeadlineError, NotFoundError, ProtocolError, UnavailableError
from aerofs.platform import wire
from aerofs.platform.address import Address
from aerofs.platform.answers import Answer, payload
from aerofs.platform.breaker import Breaker
from aerofs.platform.dialect import Dialect
from aerofs.platform.lanes import Lane, Lanes, foreign_errors_translated
from aerofs.platform.multipart import Form
from aerofs.platform.retries import retried
from aerofs.platform.tally import Tally
from aerofs.platform.tokens import Tokens
from aerofs.platform.wire import Kind, Request
from aerofs.settings import Settings

_MOST_HOPS = 5
_LARGEST_ANSWER = 256 * 1024 * 1024
_WORTH_READING = 64 * 1024
_PROBE_DEADLINE = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Outcome(NamedTuple):
    """What a successful request brought: the JSON, None where it is empty, and where it came from."""

    content: Any
    url: str


@dataclass(slots=True)
class Call:
    """What is known of one call while it is tried.

    Attributes:
        kind: What its requests are counted as.
        what: What it is about, for messages.
        tries: Attempts that were begun.
        begun: When the request now under way to the API was begun; None while none is.
        renewed: The token was renewed for it, which happens once.
        sent: Some request of it may have done something.
    """

    kind: Kind
    what: str
    tries: int = 0
    begun: float | None = None
    renewed: bool = False
    sent: bool = False


class Exchange:
    """Performs requests for one platform."""

    def __init__(
        self,
        settings: Settings,
        *,
        address: Address,
        dialect: Dialect,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        if not (
            settings.environment and settings.environment.isascii() and settings.environment.isprintable()
        ):
            raise ConfigError(f"the environment id {settings.environment!r} cannot be carried by a header")
        self.address = address
        self.breaker = Breaker()
        self.tally = Tally()
        self.tokens = Tokens.of(settings)
        self.lanes = Lanes.of(settings, address, transport=transport)
        self._dialect = dialect
        self._settings = settings

    async def perform(self, request: Request) -> Outcome:
        """Perform a metadata request within the metadata deadline, retries included.

        Raises:
            AerofsError: What the platform says, or why it could not be reached.
        """
        call = Call(request.kind, request.what)
        bound = self._settings.metadata_deadline
        try:
            with trio.fail_after(bound):
                return await self._retried(call, request, self.lanes.metadata)
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
        try:
            with trio.fail_after(bound):
                return await retried(
                    lambda: self._opened(call, url, headers),
                    repeatable=lambda _: self.breaker.reachable or not self.address.owns(url),
                )
        except trio.TooSlowError:
            raise DeadlineError(f"{call.what}: no answer within {bound:g} s", unsent=not call.sent) from None

    async def probe(self) -> bool:
        """Ask whether the platform answers at all, and tell the breaker. One probe runs at a time."""
        if self.breaker.is_probing:
            return self.breaker.reachable
        request = wire.probe()
        call = Call(request.kind, request.what)
        url = self.address.url(request.path)
        with self.breaker.probing(), trio.move_on_after(_PROBE_DEADLINE) as scope:
            try:
                # without credentials: a 401 proves as much as anything
                async with self._response(call, self.lanes.metadata, request.method, url, headers={}):
                    pass
            except UnavailableError:
                self.breaker.refused()
        if scope.cancelled_caught and call.begun is not None:
            self.breaker.overdue(since=call.begun)
        return self.breaker.reachable

    async def _retried(
        self,
        call: Call,
        request: Request,
        lane: Lane,
        form: Callable[[], Form] | None = None,
    ) -> Outcome:
        return await retried(
            lambda: self._attempt(call, request, lane, form),
            repeatable=lambda error: self.breaker.reachable and (request.idempotent or error.unsent),
        )

    async def _attempt(
        self,
        call: Call,
        request: Request,
        lane: Lane,
        form: Callable[[], Form] | None,
    ) -> Outcome:
        """Perform a request once, tokens and redirects aside."""
        doubtful = call.sent
        url = self.address.url(request.path, request.params)
        self._count(call)
        await self._admitted(call)
        try:
            async with (
                lane.place(),
                self._followed(call, lane, request.method, url, body=request.body, form=form) as response,
            ):
                answer = await self._read(response)
            return Outcome(payload(answer, dialect=self._dialect, what=request.what), answer.url)
        except UnavailableError as error:
            if error.unsent:
                call.sent = doubtful
                error.unsent = not doubtful
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
        self._count(call)
        if self.address.owns(url):
            await self._admitted(call)
        lane = self.lanes.downloads
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(lane.place())
            response = await stack.enter_async_context(
                self._followed(call, lane, "GET", url, headers={"Accept": "*/*", **headers}),
            )
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status_code in {408, 429}:
                answer = Answer(response.status_code, headers=dict(response.headers))
                payload(answer, dialect=self._dialect, what=call.what)
            return response, stack.pop_all()

    def _count(self, call: Call) -> None:
        if call.tries:
            self.tally.retries += 1
        call.tries += 1

    async def _admitted(self, call: Call) -> None:
        """Pass if the breaker lets us, probing first where a probe is due.

        Raises:
            UnavailableError: The platform is away; nothing was sent.
        """
        if self.breaker.reachable or (self.breaker.probe_due and await self.probe()):
            return
        raise UnavailableError(f"{call.what}: the platform is not reachable", unsent=True)

    @asynccontextmanager
    async def _followed(
        self,
        call: Call,
        lane: Lane,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        form: Callable[[], Form] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Yield the final response: redirects of a GET followed, a refused token renewed once."""
        hops = 0
        while True:
            own = self.address.owns(url)
            token = await self.tokens.current() if own else ""
            sent = dict(headers or {}) | (self._credentials(token, headers) if own else {})
            async with self._response(
                call, lane, method, url, headers=sent, body=body, form=form
            ) as response:
                location = response.headers.get("location")
                if response.status_code == HTTPStatus.UNAUTHORIZED and own and not call.renewed:
                    await _drained(response)
                    call.renewed = True
                    if await self.tokens.renewed(refused=token) is not None:
                        continue
                elif response.status_code in _REDIRECTS and location and method == "GET":
                    await _drained(response)
                    hops += 1
                    if hops > _MOST_HOPS:
                        raise ProtocolError(f"{call.what}: the platform redirects us in circles")
                    url = self.address.resolved(location, against=url)
                    continue
                yield response
                return

    def _credentials(self, token: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        """Return the headers of every API call. Source: DOCUMENTED, request basics."""
        return {
            "Authorization": f"Bearer {token}",
            "environment-id": self._settings.environment,
            "Accept": (headers or {}).get("Accept", "application/json"),
        }

    @asynccontextmanager
    async def _response(
        self,
        call: Call,
        lane: Lane,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        form: Callable[[], Form] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send one request as it stands and yield the response, whose body is not read yet."""
        before, call.sent = call.sent, True
        own = self.address.owns(url)
        call.begun = began = trio.current_time() if own else None
        sending = form() if form is not None else None
        self.tally.requests[call.kind] += 1
        try:
            with foreign_errors_translated(call.what):
                request = _request(lane.client, method, url, headers=headers, body=body, form=sending)
                response = await lane.client.send(request, stream=True)
        except UnavailableError as error:
            call.begun = None
            if error.unsent:
                call.sent = before
            if began is not None:
                self._note_failure(error, began)
            raise
        finally:
            if sending is not None:
                sending.close()
        call.begun = None
        if own:
            self.breaker.answered()
        try:
            with foreign_errors_translated(call.what):
                yield response
        finally:
            await response.aclose()

    def _note_failure(self, error: UnavailableError, began: float) -> None:
        if isinstance(error, DeadlineError):
            self.breaker.overdue(since=began)
        elif error.unsent:
            self.breaker.refused()

    async def _read(self, response: httpx.Response) -> Answer:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > _LARGEST_ANSWER:
                raise ProtocolError(f"an answer of more than {_LARGEST_ANSWER} bytes")
        self.tally.received(size)
        return Answer(
            response.status_code,
            url=str(response.request.url),
            headers=dict(response.headers),
            body=b"".join(parts),
        )


def _request(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    form: Form | None,
) -> httpx.Request:
    if form is not None:
        told = {"Content-Type": form.content_type, "Content-Length": str(form.size)}
        return client.build_request(method, url, headers={**headers, **told}, content=form)
    if body is not None:
        return client.build_request(
            method, url, headers={**headers, "Content-Type": "application/json"}, content=body
        )
    return client.build_request(method, url, headers=headers)


async def _drained(response: httpx.Response) -> None:
    """Read a short body that nobody wants, so that its connection can be used again."""
    if int(response.headers.get("content-length", _WORTH_READING + 1)) <= _WORTH_READING:
        await response.aread()
