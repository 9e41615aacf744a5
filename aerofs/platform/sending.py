"""Send one request and yield its response: headers, redirects, the token's renewal, the breaker's lessons.

Invariant: the token and the environment header go to the API's origin alone, decided anew on every hop.
What is repeated, and within which bound, is the exchange's affair.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import httpx
import trio

from aerofs.errors import ConfigError, DeadlineError, ProtocolError, UnavailableError
from aerofs.platform.address import Address
from aerofs.platform.answers import Answer
from aerofs.platform.breaker import Breaker
from aerofs.platform.lanes import Lane, foreign_errors_translated
from aerofs.platform.multipart import Form
from aerofs.platform.tally import Tally
from aerofs.platform.tokens import Tokens
from aerofs.platform.wire import Kind

_MOST_HOPS = 5
_LARGEST_ANSWER = 256 * 1024 * 1024
_WORTH_READING = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class Call:
    """What is known of one call while it is tried.

    Attributes:
        kind: What its requests are counted as.
        what: What it is about, for messages.
        begun: When the request now under way to the API was begun; None while none is.
        renewed: The token was renewed for it, which happens once.
        sent: Some request of it may have done something.
    """

    kind: Kind
    what: str
    begun: float | None = None
    renewed: bool = False
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent, whichever host it goes to in the end.

    Attributes:
        headers: Besides those that the API wants.
        form: Makes the body of a save anew for every time that it is sent.
    """

    method: str
    headers: Mapping[str, str]
    body: bytes | None = None
    form: Callable[[], Form] | None = None


class Sender:
    """Sends for one identity. Tasks: any; what they share is in breaker, tokens and tally."""

    def __init__(
        self,
        address: Address,
        *,
        environment: str,
        tokens: Tokens,
        breaker: Breaker,
        tally: Tally,
    ) -> None:
        if not (environment and environment.isascii() and environment.isprintable()):
            raise ConfigError(f"the environment id {environment!r} cannot be carried by a header")
        self._address = address
        self._environment = environment
        self._tokens = tokens
        self._breaker = breaker
        self._tally = tally

    @asynccontextmanager
    async def followed(
        self,
        call: Call,
        lane: Lane,
        message: Message,
        url: str,
    ) -> AsyncIterator[httpx.Response]:
        """Yield the final response: redirects of a GET followed, a refused token renewed once."""
        hops = 0
        while True:
            own = self._address.owns(url)
            token = await self._tokens.current() if own else ""
            headers = {**self._credentials(token), **message.headers} if own else message.headers
            async with self.response(call, lane, message, url, headers=headers) as response:
                location = response.headers.get("location")
                if response.status_code == HTTPStatus.UNAUTHORIZED and own and not call.renewed:
                    await _drained(response)
                    call.renewed = True
                    if await self._tokens.renewed(refused=token) is not None:
                        continue
                elif response.status_code in _REDIRECTS and location and message.method == "GET":
                    await _drained(response)
                    hops += 1
                    if hops > _MOST_HOPS:
                        raise ProtocolError(f"{call.what}: the platform redirects us in circles")
                    url = self._address.resolved(location, against=url)
                    continue
                yield response
                return

    @asynccontextmanager
    async def response(
        self,
        call: Call,
        lane: Lane,
        message: Message,
        url: str,
        *,
        headers: Mapping[str, str],
    ) -> AsyncIterator[httpx.Response]:
        """Send one request with these headers and yield the response, whose body is not read yet."""
        own = self._address.owns(url)
        before, call.sent = call.sent, True
        call.begun = began = trio.current_time() if own else None
        self._tally.requests[call.kind] += 1
        try:
            with foreign_errors_translated(call.what):
                response = await _sent(lane.client, message, url, headers=headers)
        except UnavailableError as error:
            call.begun = None
            call.sent = before if error.unsent else True
            if began is not None:
                self._learn_failure(error, began)
            raise
        call.begun = None
        if own:
            self._breaker.answered()
        try:
            with foreign_errors_translated(call.what):
                yield response
        finally:
            await response.aclose()

    async def answer(self, response: httpx.Response) -> Answer:
        """Read a response whole.

        Raises:
            ProtocolError: It is larger than any answer of the API can be.
        """
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > _LARGEST_ANSWER:
                raise ProtocolError(f"an answer of more than {_LARGEST_ANSWER} bytes")
        self._tally.received(size)
        return Answer(
            response.status_code,
            url=str(response.request.url),
            headers=dict(response.headers),
            body=b"".join(parts),
        )

    def _credentials(self, token: str) -> dict[str, str]:
        """Return the headers of every API call. Source: DOCUMENTED, request basics."""
        return {
            "Authorization": f"Bearer {token}",
            "environment-id": self._environment,
            "Accept": "application/json",
        }

    def _learn_failure(self, error: UnavailableError, began: float) -> None:
        if isinstance(error, DeadlineError):
            self._breaker.overdue(since=began)
        elif error.unsent:
            self._breaker.refused()


async def _sent(
    client: httpx.AsyncClient,
    message: Message,
    url: str,
    *,
    headers: Mapping[str, str],
) -> httpx.Response:
    """Return the head of the response."""
    if message.form is None:
        kind = {} if message.body is None else {"Content-Type": "application/json"}
        request = client.build_request(message.method, url, headers={**headers, **kind}, content=message.body)
        return await client.send(request, stream=True)
    form = message.form()
    told = {"Content-Type": form.content_type, "Content-Length": str(form.size)}
    bare = client.build_request(message.method, url, headers={**headers, **told})
    # given as a stream, not as content: httpx would wrap that into a generator, which outlives a failed request
    request = httpx.Request(
        bare.method,
        bare.url,
        headers=bare.headers,
        stream=form,
        extensions=bare.extensions,
    )
    try:
        return await client.send(request, stream=True)
    finally:
        form.close()


async def _drained(response: httpx.Response) -> None:
    """Read a short body that nobody wants, so that its connection can be used again."""
    if int(response.headers.get("content-length", _WORTH_READING + 1)) <= _WORTH_READING:
        await response.aread()
