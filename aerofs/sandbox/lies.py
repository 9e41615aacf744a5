"""What a struck request is answered with: statuses and pages on order, and answers that are not true. Pure."""

import json
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response

from aerofs.sandbox.faults import Fault
from aerofs.sandbox.refusals import Refusal

_MAINTENANCE = "<!doctype html><title>Maintenance</title><h1>We will be back shortly</h1>"
_LISTS: Mapping[str, str] = MappingProxyType(
    {
        "definitions": "documentDefinitions",
        "documents": "documents",
        "list": "attachments",
        "save": "attachments",
        "copy": "attachments",
    }
)


def ordered(fault: Fault) -> Response:
    """The status or the page that a fault orders."""
    if fault.action == "html":
        return HTMLResponse(_MAINTENANCE)
    said = fault.says or f"Status {fault.status} was ordered"
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    return JSONResponse(Refusal(fault.status, "fault", said).body(), fault.status, headers=headers)


def pretended(kind: str) -> Response:
    """Success, where nothing was done and nothing is shown."""
    nothing: dict[str, Any] = {_LISTS[kind]: []} if kind in _LISTS else {}
    return JSONResponse({"status": "ok", **nothing})


def retold(fault: Fault, response: Response) -> Response:
    """What is sent in the place of a small answer, the work being done."""
    if fault.action in ("status", "html"):
        return ordered(fault)
    if fault.action == "misname":
        content = json.loads(bytes(response.body))
        for listed in content.values() if isinstance(content, dict) else (content,):
            if isinstance(listed, list):
                _misname(listed)
        return JSONResponse(content, response.status_code)
    return response


def _misname(items: list[dict[str, Any]]) -> None:
    for item in items:
        item.update({key: secrets.token_hex(12) for key in ("_id", "id") if key in item})
