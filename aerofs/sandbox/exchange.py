"""One request and its answer, and the origin that takes requests: counting, faults and holds happen here.

Handlers see an `Exchange`; what a fault does to their bodies they never notice. A request whose body was not
read is read to its end before the answer goes out, so that a client in the middle of sending still hears it.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from aerofs.sandbox.faults import Fault, Faults
from aerofs.sandbox.lies import ordered, pretended, retold
from aerofs.sandbox.refusals import Refusal, invalid
from aerofs.sandbox.traffic import Seen, Traffic

if TYPE_CHECKING:
    from aerofs.sandbox.server import Link

log = logging.getLogger(__name__)

LARGEST_JSON = 16 * 1024 * 1024


class DisconnectedError(Exception):
    """The connection is gone, or a fault has cut it."""


class Exchange:
    """A request with its body still to be read, and its answer still to be sent.

    Attributes:
        method: In capitals.
        raw_path: As it was sent, still percent-encoded, without the query.
        query: As it was sent, still percent-encoded.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.raw_path: str = scope["raw_path"].decode("ascii")
        self.query: str = scope["query_string"].decode("ascii")
        self.headers = Headers(scope=scope)
        self.link: Link = scope["state"]["link"]
        self.fault: Fault | None = None
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.on_received: Callable[[int], None] = _ignore
        self.on_sending: Callable[[int], None] = _ignore
        self._received = 0
        self._sent = 0
        self._most: int | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_over = False

    async def body(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it arrives.

        Raises:
            DisconnectedError: it did not arrive whole.
        """
        while not self._body_over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            chunk: bytes = message.get("body", b"")
            self._body_over = not message.get("more_body", False)
            self._received += len(chunk)
            self.on_received(len(chunk))
            if self._strikes("request", self._received):
                await self._interrupt()
            if chunk:
                yield chunk

    async def json(self) -> Any:
        """The body as JSON.

        Raises:
            Refusal: 400 where it is none.
        """
        if self.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise invalid("Header error: Content-Type; must be application/json")
        whole = bytearray()
        async for chunk in self.body():
            whole += chunk
            if len(whole) > LARGEST_JSON:
                raise invalid("Body error: too large")
        try:
            return json.loads(whole)
        except ValueError as error:
            raise invalid(f"Body error: {error}") from error

    async def answer(self, response: Response) -> None:
        """Send a small answer."""
        async for _ in self.body():
            pass
        if self.fault is not None:
            response = retold(self.fault, response)
        await response(self._scope, self._receive, self.send)

    async def send(self, message: Message) -> None:
        """Send a piece of the answer, as ASGI has it.

        Raises:
            DisconnectedError: there is nobody to send it to.
        """
        if self.link.gone:
            raise DisconnectedError
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self.fault is not None and self._strikes("answer", self._sent + len(message["body"])):
            await self._send_up_to_the_fault(message)
        else:
            await self._send_piece(message)

    async def _start(self, message: Message) -> None:
        if self.before_answer is not None:
            await self.before_answer()
        if self.fault is not None and self.fault.action == "drop_answer":
            await self.cut()
        if self.fault is not None and self.fault.action == "half":
            self.fault = Fault(self.fault.kind, "cut", at=_length(message) // 2)
        if self.fault is not None and self.fault.action == "shorten":
            self._most = _length(message) // 2
            headers = [pair for pair in message["headers"] if pair[0] != b"content-length"]
            headers.append((b"content-length", str(self._most).encode()))
            message = {**message, "headers": headers}
        await self._send(message)

    async def _send_up_to_the_fault(self, message: Message) -> None:
        data: bytes = message["body"]
        cut = max(0, (self.fault.at or 0) - self._sent) if self.fault else 0
        if cut:
            await self._send_piece({**message, "body": data[:cut], "more_body": True})
        await self._interrupt()
        await self._send_piece({**message, "body": data[cut:]})

    async def _send_piece(self, message: Message) -> None:
        if self._most is not None:
            message = {**message, "body": message["body"][: max(0, self._most - self._sent)]}
        # Counted first: whoever has received the bytes finds them counted.
        self._sent += len(message["body"])
        self.on_sending(len(message["body"]))
        await self._send(message)

    def _strikes(self, side: str, position: int) -> bool:
        fault = self.fault
        return fault is not None and fault.at is not None and fault.side == side and position >= fault.at

    async def _interrupt(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None and fault.action == "stall":
            await _pause(fault.seconds)
        else:
            await self.cut()

    async def cut(self) -> None:
        """Close the connection.

        Raises:
            DisconnectedError: always.
        """
        await self.link.cut()
        raise DisconnectedError


def _length(message: Message) -> int:
    return int(dict(message["headers"]).get(b"content-length", b"0"))


def _ignore(size: int) -> None:
    """Count nothing."""


async def _pause(seconds: float | None) -> None:
    if seconds is None:
        await trio.sleep_forever()
    else:
        await trio.sleep(seconds)


Handler = Callable[[Exchange], Awaitable[None]]


class Origin:
    """An ASGI application of one address.

    Args:
        name: What the byte counters call it.
        kind_of: The kind of a request; None: it is the sandbox's own, neither counted nor struck by faults.
        handler: Serves it. A `Refusal` that it raises is answered as `refused` says.
    """

    def __init__(
        self,
        name: str,
        *,
        traffic: Traffic,
        faults: Faults,
        kind_of: Callable[[Exchange], str | None],
        handler: Handler,
        refused: Callable[[Refusal], Response],
    ) -> None:
        self._name = name
        self._traffic = traffic
        self._faults = faults
        self._kind_of = kind_of
        self._handler = handler
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, as ASGI has it."""
        exchange = Exchange(scope, receive, send)
        try:
            kind = self._kind_of(exchange)
            if kind is None:
                await self._served(exchange)
            else:
                await self._counted(exchange, kind)
        except DisconnectedError:
            log.debug("%s %s: the connection is gone", exchange.method, exchange.raw_path)

    async def _counted(self, exchange: Exchange, kind: str) -> None:
        traffic = self._traffic
        traffic.begin(Seen(kind, exchange.method, exchange.raw_path))
        target = f"{exchange.raw_path}?{exchange.query}"

        async def hold_answer() -> None:
            await self._faults.pass_holds(kind, target, answered=True)

        def count_in(size: int) -> None:
            traffic.bytes_in[self._name] += size

        def count_out(size: int) -> None:
            traffic.bytes_out[self._name] += size

        exchange.before_answer = hold_answer
        exchange.on_received, exchange.on_sending = count_in, count_out
        try:
            fault = self._faults.take(kind, target)
            await self._faults.pass_holds(kind, target, answered=False)
            await self._struck(exchange, kind, fault)
        finally:
            traffic.end(kind)

    async def _struck(self, exchange: Exchange, kind: str, fault: Fault | None) -> None:
        if fault is None:
            await self._served(exchange)
            return
        match fault.action:
            case "delay":
                await _pause(fault.seconds)
            case "status" | "html" if not fault.done:
                await exchange.answer(ordered(fault))
                return
            case "pretend":
                await exchange.answer(pretended(kind))
                return
            case "stall" if fault.at is None:
                await _pause(fault.seconds)
                await exchange.cut()
            case "cut" if fault.at is None:
                await exchange.cut()
            case _:
                exchange.fault = fault
        await self._served(exchange)

    async def _served(self, exchange: Exchange) -> None:
        try:
            await self._handler(exchange)
        except Refusal as refusal:
            await exchange.answer(self._refused(refusal))
        except DisconnectedError:
            raise
        except Exception:
            log.exception("%s %s failed", exchange.method, exchange.raw_path)
            await exchange.answer(self._refused(Refusal(500, "internal_error", "The sandbox failed")))
