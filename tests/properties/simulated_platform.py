"""The platform of the simulation: the sandbox's own application, without a socket, and the way to it."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx
import trio

from aerofs.sandbox import Sandbox
from aerofs.sandbox.api import Api, api_refused
from aerofs.sandbox.exchange import Origin
from aerofs.sandbox.ids import Ids
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.store import Store as ObjectStore
from aerofs.sandbox.store import store_kind, store_refused
from tests.properties.world import Standing, Watch

LONGEST = 300.0
"""Seconds that a request without a limit of its own may take."""
API = "http://127.0.0.1:1"
STORE = "http://127.0.0.1:2"


class _Link:
    """A connection that a fault may cut."""

    def __init__(self) -> None:
        self.gone = False

    async def cut(self) -> None:
        self.gone = True


class _Body(httpx.AsyncByteStream):
    def __init__(self, data: bytes, *, whole: bool) -> None:
        self._data = data
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._data:
            yield self._data
        if not self._whole:
            raise httpx.ReadError("cut")


class _Request:
    """One request on its way through an application: the server's half of it ends whatever the client does."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        target, _, query = request.url.raw_path.partition(b"?")
        self.link = _Link()
        self.scope = {
            "type": "http",
            "method": request.method,
            "raw_path": target,
            "path": request.url.path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "state": {"link": self.link},
        }
        self.over = trio.Event()
        self._body = body
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._answer = bytearray()
        self._complete = False

    async def served(self, app: Origin) -> None:
        try:
            await app(self.scope, self._receive, self._send)
        finally:
            self.over.set()

    async def _receive(self) -> dict[str, Any]:
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        else:
            self._answer += message["body"]
            self._complete = not message.get("more_body", False)

    def response(self) -> httpx.Response:
        if not self._status:
            raise httpx.ReadError("cut")
        stream = _Body(bytes(self._answer), whole=self._complete)
        return httpx.Response(self._status, headers=self._headers, stream=stream)


class Wire(httpx.AsyncBaseTransport):
    """The way from a drive to the sandbox: away on request, and cut for good at one request."""

    def __init__(self, sandbox: Sandbox, nursery: trio.Nursery) -> None:
        calls, store = Api(sandbox), ObjectStore(sandbox)
        traffic, faults = sandbox.traffic, sandbox.faults
        self._origins = {
            API: Origin(
                "api",
                traffic=traffic,
                faults=faults,
                kind_of=calls.kind_of,
                handler=calls,
                refused=api_refused,
            ),
            STORE: Origin(
                "store",
                traffic=traffic,
                faults=faults,
                kind_of=store_kind,
                handler=store,
                refused=store_refused,
            ),
        }
        self._nursery = nursery
        self.away = False
        self.dead = False
        self.scope = trio.CancelScope()
        self._under_way: list[_Request] = []
        self._left: int | None = None
        self._answered = False
        self._died: Callable[[], None] = lambda: None

    def die_at(self, after: int | None, *, answered: bool, died: Callable[[], None]) -> None:
        """At the request after so many, before it is sent or after it was carried out: call `died`, go silent."""
        self._left, self._answered, self._died = after, answered, died

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.dead:
            await trio.sleep_forever()
        if self.away:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError("away")
        struck = self._left == 0
        if self._left is not None:
            self._left -= 1
        if struck and not self._answered:
            await self._die()
        body = b"".join([chunk async for chunk in request.stream])  # type: ignore[union-attr]
        under_way = _Request(request, body)
        origin = self._origins[f"{request.url.scheme}://{request.url.netloc.decode()}"]
        self._under_way = [each for each in self._under_way if not each.over.is_set()]
        self._under_way.append(under_way)
        self._nursery.start_soon(under_way.served, origin)
        limit = request.extensions.get("timeout", {}).get("read")
        with trio.move_on_after(limit if limit is not None else LONGEST):
            await under_way.over.wait()
            if struck and self._answered:  # not called off while the request was under way
                await self._die()
            return under_way.response()
        raise httpx.ReadTimeout("no answer")

    async def arrived(self) -> None:
        """What was sent is served, though nobody waits for the answer any more."""
        for request in self._under_way:
            await request.over.wait()

    async def _die(self) -> None:
        self.dead = True
        self._died()
        self.scope.cancel()
        await trio.sleep_forever()


class WatchedRecords(Platform):
    """The platform's data; tells who watches what came and went, and whether a colleague did it."""

    watch: Watch | None = None
    colleague = False

    def attach(self, document: str, path: str, contents: Any, *, instead_of: Iterable[Any] = ()) -> Any:
        instead_of = list(instead_of)
        added = super().attach(document, path, contents, instead_of=instead_of)
        if self.watch is not None:
            for row in added:
                data = self.content(row).read_bytes()
                self.watch.appeared(self._standing(row, data), colleague=self.colleague)
            for row in instead_of:
                self.watch.vanished(row.id, colleague=self.colleague)
        return added

    def detach(self, row: Any) -> None:
        super().detach(row)
        if self.watch is not None:
            self.watch.vanished(row.id, colleague=self.colleague)

    def _standing(self, row: Any, data: bytes) -> Standing:
        name = next(doc.external_id for doc in self.database.documents("id = ?", (row.document,)))
        return Standing(row.id, f"{name}/{row.path}", row.name, data)


class SameIds(Ids):
    """Ids that are the same in every run."""

    def growing(self) -> str:
        self._last += 1
        return f"{self._last:024x}"
