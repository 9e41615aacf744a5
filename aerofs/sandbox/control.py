"""The sandbox's own path below `/_sandbox` on the API's origin, for scripts in other processes.

It wants the sandbox's token like the API, is never counted and never struck by faults:

    GET    /_sandbox/stats      counters
    POST   /_sandbox/reset      start counting anew
    GET    /_sandbox/variants   attributes of `Variants`
    PUT    /_sandbox/variants   {"presets": ["short-urls"], "page_cap": 100}: these on the defaults
    GET    /_sandbox/faults     the faults on order
    POST   /_sandbox/faults     {"kind": "save", "action": "status", "status": 429, "count": 3}
    DELETE /_sandbox/faults     forget them
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from aerofs.sandbox.faults import Fault
from aerofs.sandbox.refusals import invalid, not_found, unauthorized
from aerofs.sandbox.variants import Variants

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aerofs.sandbox.exchange import Exchange
    from aerofs.sandbox.state import Sandbox

PREFIX = "/_sandbox/"


class Control:
    """The handler of the control path."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox
        self._handlers: dict[tuple[str, str], Callable[[Exchange], Awaitable[Any]]] = {
            ("GET", "stats"): self._stats,
            ("POST", "reset"): self._reset,
            ("GET", "variants"): self._variants,
            ("PUT", "variants"): self._set_variants,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
        }

    async def __call__(self, exchange: "Exchange") -> None:
        """Answer a request.

        Raises:
            Refusal: 400, 401 or 404.
        """
        if exchange.headers.get("authorization") != f"Bearer {self._sandbox.token}":
            raise unauthorized("Header error: Authorization; the token of the sandbox is required")
        handler = self._handlers.get((exchange.method, exchange.raw_path.removeprefix(PREFIX)))
        if handler is None:
            raise not_found(f"There is no {exchange.method} {exchange.raw_path}")
        await exchange.answer(_told(await handler(exchange)))

    async def _stats(self, _: "Exchange") -> dict[str, Any]:
        return self._sandbox.traffic.to_json()

    async def _reset(self, _: "Exchange") -> dict[str, Any]:
        self._sandbox.reset_counts()
        return {}

    async def _variants(self, _: "Exchange") -> dict[str, Any]:
        return asdict(self._sandbox.variants)

    async def _set_variants(self, exchange: "Exchange") -> dict[str, Any]:
        values = await _object(exchange)
        try:
            presets = values.pop("presets", [])
            self._sandbox.variants = Variants.named(*presets).changed(values)
        except (ValueError, TypeError) as error:
            raise invalid(f"Body error: {error}") from error
        return asdict(self._sandbox.variants)

    async def _faults(self, _: "Exchange") -> dict[str, Any]:
        return {"faults": [fault.to_json() for fault in self._sandbox.faults]}

    async def _add_fault(self, exchange: "Exchange") -> dict[str, Any]:
        try:
            self._sandbox.add_fault(Fault.from_json(await _object(exchange)))
        except (ValueError, TypeError) as error:
            raise invalid(f"Body error: {error}") from error
        return await self._faults(exchange)

    async def _clear_faults(self, _: "Exchange") -> dict[str, Any]:
        self._sandbox.clear_faults()
        return {}


async def _object(exchange: "Exchange") -> dict[str, Any]:
    values = await exchange.json()
    if not isinstance(values, dict):
        raise invalid("Body error: must be an object")
    return values


def _told(payload: dict[str, Any]) -> Response:
    return JSONResponse({"status": "ok", **payload})
