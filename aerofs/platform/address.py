"""Where the API is, what belongs to its origin, and how a URL may be shown.

The token and the environment header go to the API's origin alone (scheme, host and port), so the comparison
has one home here. Nothing here does I/O.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from aerofs.errors import ConfigError, ProtocolError

_PORTS = {"http": 80, "https": 443}
_QUERY_OF_URL = re.compile(r"(https?:[\\/]+[^\s\"'<>?#]+)[?#][^\s\"'<>]*")


def quoted(segment: str) -> str:
    """Return one path segment with everything encoded that is not unreserved.

    A dot segment is encoded too, because clients and servers fold `..` away before anyone looks at it.
    """
    if segment in {".", ".."}:
        return segment.replace(".", "%2E")
    return quote(segment, safe="")


def bare(url: str) -> str:
    """Return a URL as it may be shown: without query and fragment, which carry the signature."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def scrubbed(text: str) -> str:
    """Return a text with the query of every URL in it removed."""
    return _QUERY_OF_URL.sub(r"\1?…", text)


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what decides who may see the token."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an absolute http(s) URL.

        Raises:
            ValueError: Not such a URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {bare(url)}")
        return cls(parts.scheme, parts.hostname.lower(), parts.port or _PORTS[parts.scheme])


@dataclass(frozen=True, slots=True)
class Address:
    """The API of one platform.

    Attributes:
        base: The absolute URL of the API with its prefix, without a trailing slash.
        origin: Who may see the token.
        insecure_http: Plain http is admitted to hosts other than loopback.
    """

    base: str
    origin: Origin
    insecure_http: bool = False

    @classmethod
    def parse(cls, url: str, *, prefix: str, insecure_http: bool) -> Self:
        """Return the address that a user meant, with or without the API's prefix and trailing slashes.

        Raises:
            ConfigError: Not an http(s) URL, one with a password or a query, or plain http to another machine.
        """
        stem = url.strip().rstrip("/")
        try:
            origin, parts = Origin.of(stem), urlsplit(stem)
        except ValueError:
            raise ConfigError(f"{bare(url)!r} is not the http(s) URL of a platform") from None
        if "@" in parts.netloc:
            raise ConfigError("the platform's URL must not carry a user or password: use a token")
        if parts.query or parts.fragment:
            raise ConfigError(f"{bare(url)}: the platform's URL must not carry a query")
        prefix = prefix.strip("/")
        if not stem.endswith("/" + prefix):
            stem = f"{stem}/{prefix}"
        address = cls(base=stem, origin=origin, insecure_http=insecure_http)
        if not address._carried_safely(origin):
            raise ConfigError(
                f"{bare(url)}: plain http shows the token to the network; use https, or set insecure_http",
            )
        return address

    def url(self, path: str, params: Iterable[tuple[str, str]] = ()) -> str:
        """Return the absolute URL of a path below the API, whose segments are quoted already."""
        query = urlencode(list(params), quote_via=quote, safe="")
        return f"{self.base}/{path}" + (f"?{query}" if query else "")

    def owns(self, url: str) -> bool:
        """Tell whether a URL is of the API's own origin, so that it may see the token."""
        try:
            return Origin.of(url) == self.origin
        except ValueError:
            return False

    def resolved(self, url: str, *, against: str) -> str:
        """Return an absolute URL that we are willing to fetch.

        Raises:
            ProtocolError: Not http(s), with a user in it, or plain http to another machine.
        """
        try:
            absolute = urljoin(against, url)
            origin = Origin.of(absolute)
        except ValueError:
            raise ProtocolError(f"the platform sent us to {bare(url)[:200]!r}, not an http(s) URL") from None
        if "@" in urlsplit(absolute).netloc:
            raise ProtocolError(f"the platform sent us to {origin.host} with a user in the URL")
        if not self._carried_safely(origin):
            raise ProtocolError(f"the platform sent us to plain http on {origin.host}")
        return absolute

    def _carried_safely(self, origin: Origin) -> bool:
        return origin.scheme == "https" or self.insecure_http or is_loopback(origin.host)
