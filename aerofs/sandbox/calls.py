"""One call of the API: who calls, what the call may see, its strict parameters, and the shapes of answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, Response

from aerofs.sandbox.access import Access
from aerofs.sandbox.database import AttachmentRow, DocumentRow
from aerofs.sandbox.definitions import DefinitionSpec, Place, hides
from aerofs.sandbox.exchange import Exchange
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.refusals import forbidden, invalid, not_found, unauthorized
from aerofs.sandbox.rendering import store_of
from aerofs.sandbox.state import Sandbox
from aerofs.sandbox.variants import Variants

FILES = "/api/v2/files"
"""Where downloads lead that stay on the API's host."""
_PLAIN_KEYS = {
    "_id": "id",
    "_fileName": "fileName",
    "_size": "size",
    "type": "mimeType",
    "downloadURL": "downloadUrl",
}


@dataclass(frozen=True)
class Call:
    """A request that has been admitted.

    Attributes:
        parts: The decoded pieces of the path that vary, in order: definition, document.
        variants: Those of the instant in which the call came.
    """

    sandbox: Sandbox
    exchange: Exchange
    access: Access
    variants: Variants
    parts: tuple[str, ...]

    @property
    def platform(self) -> Platform:
        """The data."""
        return self.sandbox.platform

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The fields that this user does not see."""
        return self.access.hidden_fields | frozenset(self.variants.hidden_fields)

    def parameters(self, *required: str, optional: Sequence[str] = ()) -> dict[str, str]:
        """The query parameters, which must be these and no others.

        Raises:
            Refusal: 400.
        """
        found: dict[str, str] = {}
        for key, value in parse_qsl(self.exchange.query, keep_blank_values=True):
            if key not in required and key not in optional:
                raise invalid(f"Query error: {key}; unknown parameter")
            if key in found:
                raise invalid(f"Query error: {key}; given twice")
            found[key] = value
        for key in required:
            if not found.get(key):
                raise invalid(f"Query error: {key}; This parameter is required")
        return found

    # What may be seen and done

    def sees(self, spec: DefinitionSpec) -> bool:
        """Whether the definition exists for this user."""
        return spec.name not in self.access.hidden_definitions

    def definition(self, key: str) -> DefinitionSpec:
        """The definition of this name or id.

        Raises:
            Refusal: 404, also where it is hidden.
        """
        spec = self.platform.definition(key)
        if not self.sees(spec):
            raise not_found(f"There is no document definition {key!r}")
        return spec

    def document(self, spec: DefinitionSpec, key: str) -> DocumentRow:
        """The document of this id or external id.

        Raises:
            Refusal: 404, also where it is hidden.
        """
        row = self.platform.find(spec, key)
        if row.id in self.access.hidden_documents or "*" in self.hidden:
            raise not_found(f"There is no document {key!r} in {spec.name}")
        return row

    def place(self, spec: DefinitionSpec, row: DocumentRow, value_path: str) -> Place:
        """Where a value path leads.

        Raises:
            Refusal: 400, 404, or 403 for a field that is hidden.
        """
        place = spec.place(value_path, row.values(), by_index=self.variants.lines_by_index)
        if hides(self.hidden, place.name):
            raise forbidden(f"You may not view {value_path!r}")
        return place

    def may_change(self, row: DocumentRow, place: Place | None = None) -> None:
        """Refuse a change that this user may not make.

        Raises:
            Refusal: 403.
        """
        access = self.access
        if access.read_only or row.status in access.locked_statuses:
            raise forbidden(f"You may not change document {row.id}")
        if place is not None and place.name in access.read_only_fields:
            raise forbidden(f"You may not change {place.name!r}")

    def may_delete(self, row: DocumentRow, place: Place | None = None) -> None:
        """Refuse a deletion that this user may not make.

        Raises:
            Refusal: 403.
        """
        self.may_change(row, place)
        if not self.access.may_delete:
            raise forbidden(f"You may not delete in document {row.id}")

    # Answers

    def success(self, **payload: Any) -> Response:
        """An answer that is no list."""
        return JSONResponse({"status": self.variants.status_word, **payload})

    def listed(self, key: str, items: list[dict[str, Any]]) -> Response:
        """An answer that is a list."""
        if self.variants.envelope == "bare":
            return JSONResponse(items)
        return self.success(**{self.variants.envelope or key: items})

    def attachments(self, rows: Sequence[AttachmentRow]) -> Response:
        """An answer that lists attachments."""
        return self.listed("attachments", [self._attachment(row) for row in rows])

    def _attachment(self, row: AttachmentRow) -> dict[str, Any]:
        told: dict[str, Any] = {
            "_id": row.id,
            "_fileName": row.name,
            "type": row.type,
            "_size": row.size,
            "store": store_of(row),
            "downloadURL": self.url(row),
        }
        if row.width is not None:
            told |= {"_width": row.width, "_height": row.height}
        if self.variants.no_sizes:
            del told["_size"]
        if self.variants.plain_keys:
            told = {_PLAIN_KEYS.get(key, key): value for key, value in told.items()}
        return told

    def url(self, row: AttachmentRow) -> str:
        """Where the bytes of an attachment are, for a limited time."""
        if self.variants.urls == "store":
            return self.store_url(row)
        path = self.sandbox.signer.signed(f"{FILES}/{row.id}", life=self.sandbox.url_life)
        return path if self.variants.urls == "relative" else self.sandbox.url + path

    def store_url(self, row: AttachmentRow) -> str:
        """The same in the object store."""
        path = f"/{self.sandbox.environment}/{row.id}"
        return self.sandbox.store_url + self.sandbox.signer.signed(path, life=self.sandbox.url_life)


def admitted(sandbox: Sandbox, exchange: Exchange, *, wants_json: bool) -> Access:
    """Who calls, if the headers are as documented.

    Raises:
        Refusal: 401 for an unknown token or another environment, 400 for a missing header.
    """
    headers = exchange.headers
    scheme, _, token = headers.get("authorization", "").partition(" ")
    access = sandbox.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
    if access is None:
        raise unauthorized("Header error: Authorization; a valid Bearer token is required")
    if not headers.get("environment-id"):
        raise invalid("Header error: environment-id; This header is required")
    if headers["environment-id"] != sandbox.environment:
        raise unauthorized("Header error: environment-id; the token is not for this environment")
    if wants_json and "application/json" not in headers.get("accept", ""):
        raise invalid("Header error: Accept; must be application/json")
    return access
