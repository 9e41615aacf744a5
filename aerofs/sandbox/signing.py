"""URLs that carry their own permission for a limited time, as object stores hand them out."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode


class Signer:
    """Signs and checks paths. Times are those of the system's clock, so that signatures survive a restart."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def signed(self, path: str, *, life: float) -> str:
        """The path, percent-encoded, with a query that makes it good for `life` seconds."""
        expires = f"{time.time() + life:.3f}"
        raw = quote(path)
        return f"{raw}?{urlencode({'expires': expires, 'signature': self._signature(raw, expires)})}"

    def refusal(self, raw_path: str, query: Mapping[str, str]) -> str | None:
        """Why this path, as it stood in the request, is not permitted; None where it is."""
        expires = query.get("expires", "")
        signature = query.get("signature", "")
        if not hmac.compare_digest(signature.encode(), self._signature(raw_path, expires).encode()):
            return "The request signature does not match"
        return None if time.time() < float(expires) else "Request has expired"

    def _signature(self, raw_path: str, expires: str) -> str:
        return hmac.new(self._secret, f"GET {raw_path} {expires}".encode(), hashlib.sha256).hexdigest()
