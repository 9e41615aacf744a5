"""The first origin: which call a request is, who may make it, and its answer as JSON.

The path is taken apart as it was sent: an external id may hold `/` and `%`, which stand in it as `%2F` and
`%25`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from starlette.responses import JSONResponse, RedirectResponse, Response

from aerofs.sandbox import attachments, documents
from aerofs.sandbox.calls import Call, admitted
from aerofs.sandbox.control import PREFIX, Control
from aerofs.sandbox.copying import copy_attachments
from aerofs.sandbox.downloads import send_file
from aerofs.sandbox.exchange import Exchange
from aerofs.sandbox.refusals import Refusal, forbidden, invalid, not_found
from aerofs.sandbox.state import Sandbox
from aerofs.sandbox.traffic import Kind

_HANDLERS: Mapping[str, Callable[[Call], Awaitable[Response]]] = MappingProxyType(
    {
        "definitions": documents.list_definitions,
        "definition": documents.read_definition,
        "documents": documents.list_documents,
        "document": documents.read_document,
        "new_document": documents.new_document,
        "update_document": documents.change_document,
        "delete_document": documents.delete_document,
        "list": attachments.list_attachments,
        "save": attachments.save_attachments,
        "delete": attachments.delete_attachment,
        "copy": copy_attachments,
    }
)
_PATHS: Mapping[tuple[str, ...], Mapping[str, Kind]] = MappingProxyType(
    {
        ("document-definitions",): {"GET": "definitions"},
        ("document-definitions", "*"): {"GET": "definition"},
        ("document-definitions", "*", "documents"): {"GET": "documents"},
        ("document-definitions", "*", "documents", "*"): {
            "GET": "document",
            "POST": "new_document",
            "PUT": "update_document",
            "PATCH": "update_document",
            "DELETE": "delete_document",
        },
        ("document-definitions", "*", "documents", "*", "attachments"): {
            "GET": "list",
            "POST": "save",
            "PUT": "save",
            "DELETE": "delete",
        },
        ("documents", "copyAttachments"): {"POST": "copy", "PUT": "copy"},
        ("files", "*"): {"GET": "download"},
    }
)


@dataclass(frozen=True, slots=True)
class Route:
    """What a path leads to: the kinds by method, and the decoded pieces that vary."""

    kinds: Mapping[str, Kind]
    parts: tuple[str, ...]


def route(raw_path: str) -> Route | None:
    """What a path leads to; None where there is nothing."""
    empty, *pieces = raw_path.split("/")
    if empty or pieces[:2] != ["api", "v2"]:
        return None
    pieces = pieces[2:]
    for pattern, kinds in _PATHS.items():
        if len(pattern) == len(pieces) and all(
            fixed in ("*", piece) for fixed, piece in zip(pattern, pieces, strict=True)
        ):
            parts = (piece for fixed, piece in zip(pattern, pieces, strict=True) if fixed == "*")
            try:
                return Route(kinds, tuple(unquote(part, errors="strict") for part in parts))
            except UnicodeDecodeError:
                return None
    return None


def api_refused(refusal: Refusal) -> Response:
    """A refusal as the API words it."""
    return JSONResponse(refusal.body(), refusal.status)


class Api:
    """The handler of the API's requests, the control path among them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._control = Control(sandbox)

    def kind_of(self, exchange: Exchange) -> Kind | None:
        """The kind of a request; None for the control path."""
        if exchange.raw_path.startswith(PREFIX):
            return None
        found = route(exchange.raw_path)
        kind = "other" if found is None else found.kinds.get(exchange.method, "other")
        if kind == "download" and self._sandbox.variants.urls == "redirect":
            return "redirect"
        if kind == "new_document" and found is not None and found.parts[-1] != "new":
            return "other"
        return kind

    async def __call__(self, exchange: Exchange) -> None:
        """Answer a request.

        Raises:
            Refusal: what is to be answered instead.
        """
        kind = self.kind_of(exchange)
        if kind is None:
            await self._control(exchange)
            return
        found = route(exchange.raw_path)
        access = admitted(self._sandbox, exchange, wants_json=kind not in ("download", "redirect"))
        if found is None:
            raise not_found(f"There is no {exchange.raw_path}")
        if kind == "other":
            raise Refusal(405, "method_not_allowed", f"{exchange.method} is not possible here")
        if any(not part for part in found.parts):
            raise invalid("Path error: an id is empty")
        call = Call(self._sandbox, exchange, access, self._sandbox.variants, found.parts)
        if kind in ("download", "redirect"):
            await self._download(call, kind)
        else:
            await exchange.answer(await _HANDLERS[kind](call))

    async def _download(self, call: Call, kind: str) -> None:
        why = self._sandbox.signer.refusal(call.exchange.raw_path, dict(parse_qsl(call.exchange.query)))
        if why is not None:
            raise forbidden(why)
        row = self._sandbox.platform.attachment(call.parts[0])
        if kind == "redirect":
            await call.exchange.answer(RedirectResponse(call.store_url(row), 302))
            return
        content = self._sandbox.platform.content(row)
        await send_file(call.exchange, row, content, ranges=not call.variants.no_range)
