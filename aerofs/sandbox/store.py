"""The second origin: an object store that knows nothing but signed URLs, with the habits of S3."""

from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from starlette.responses import Response

from aerofs.sandbox.downloads import send_file
from aerofs.sandbox.exchange import Exchange
from aerofs.sandbox.refusals import Refusal
from aerofs.sandbox.state import Sandbox


def store_kind(exchange: Exchange) -> str:
    """The kind of a request to the store."""
    return "download" if exchange.method == "GET" else "other"


def store_refused(refusal: Refusal) -> Response:
    """A refusal as the store words it."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(refusal.error)}</Code><Message>{escape(refusal.description)}</Message></Error>"
    )
    return Response(body, refusal.status, media_type="application/xml")


class Store:
    """The handler of the store's requests."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, exchange: Exchange) -> None:
        """Answer a GET of a signed URL; refuse everything else as S3 does.

        Raises:
            Refusal: 400, 403 or 404.
        """
        if "authorization" in exchange.headers:
            raise Refusal(400, "InvalidArgument", "Only one auth mechanism allowed")
        query = dict(parse_qsl(exchange.query))
        # The method is part of what was signed: also a HEAD of a URL for GET does not match.
        if exchange.method != "GET":
            raise Refusal(403, "SignatureDoesNotMatch", "The request signature does not match")
        why = self._sandbox.signer.refusal(exchange.raw_path, query)
        if why is not None:
            raise Refusal(403, "AccessDenied", why)
        try:
            row = self._sandbox.platform.attachment(exchange.raw_path.rpartition("/")[2])
        except Refusal:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.") from None
        content = self._sandbox.platform.content(row)
        await send_file(exchange, row, content, ranges=not self._sandbox.variants.no_range)
