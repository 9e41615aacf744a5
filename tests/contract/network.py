"""The way to the platform: away on request, and cut for good at one request."""

from collections.abc import Callable

import httpx
import trio


class Network(httpx.AsyncBaseTransport):
    """Real requests, unless no connection can be made, or nothing passes any more.

    Attributes:
        away: No connection can be made.
        silent: While it is away, packets are lost: a connection is not refused, but gets no answer.
        attempts: When a connection was tried in vain.
        under_way: Requests that the sandbox is about to answer.
        reached: Set at the request at which it is cut.
    """

    def __init__(self) -> None:
        self._wire = httpx.AsyncHTTPTransport(verify=False)  # plain http; reading trust takes time
        self.away = False
        self.silent = False
        self.attempts: list[float] = []
        self.under_way = 0
        self.reached = trio.Event()
        self._left: int | None = None
        self._answered = False
        self._crashed: Callable[[], None] | None = None

    def cut(self, after: int, *, answered: bool, crashed: Callable[[], None]) -> None:
        """At the request after so many: call `crashed` and let nothing pass any more."""
        self._left, self._answered, self._crashed = after, answered, crashed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            self.attempts.append(trio.current_time())
            if self.silent:
                await trio.sleep(request.extensions["timeout"]["connect"])
                raise httpx.ConnectTimeout("away", request=request)
            raise httpx.ConnectError("away")
        struck = self._left == 0
        if self._left is not None:
            self._left -= 1
        if self._left is not None and (struck or self._left < 0):
            if struck and self._answered:
                await (await self._wire.handle_async_request(request)).aread()
            if struck and self._crashed is not None:
                self._crashed()
                self.reached.set()
            await trio.sleep_forever()
        self.under_way += 1
        try:
            return await self._wire.handle_async_request(request)
        finally:
            self.under_way -= 1

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._wire.aclose()
