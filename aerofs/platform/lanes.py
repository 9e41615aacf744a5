"""Lanes: metadata, downloads and uploads each have connections of their own, so that none starves another.

The only module that makes httpx clients, and where every httpx exception becomes one of ours. It knows no
API.
"""

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import trio

from aerofs import __version__
from aerofs.errors import ConfigError, DeadlineError, ProtocolError, UnavailableError
from aerofs.platform.address import Address, is_loopback
from aerofs.settings import Settings

_KEEPALIVE = 4.0
"""Seconds that an idle connection is kept: below what servers keep them for, so that a POST seldom meets a
closed one."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@contextmanager
def foreign_errors_translated(what: str) -> Iterator[None]:
    """Turn every httpx exception into ours; what was certainly not sent is marked so."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise DeadlineError(f"{what}: no connection within the bound", unsent=True) from error
    except httpx.PoolTimeout as error:
        raise UnavailableError(f"{what}: no free connection", unsent=True) from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        raise UnavailableError(f"{what}: {_reason(error)}", unsent=True) from error
    except httpx.TimeoutException as error:
        raise DeadlineError(f"{what}: no byte within the bound") from error
    except (
        httpx.LocalProtocolError,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
        httpx.DecodingError,
    ) as error:
        raise ProtocolError(f"{what}: {type(error).__name__}") from error
    except httpx.HTTPError as error:
        raise UnavailableError(f"{what}: the connection broke ({type(error).__name__})") from error


def _reason(error: httpx.HTTPError) -> str:
    """Return why no connection was made, from the exceptions below httpx's, one for each address tried."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message} (see ca_file)"
        if isinstance(cause, OSError) and cause.strerror:
            return f"cannot connect: {cause.strerror}"
    return "cannot connect"


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions
    below = error.__cause__ or error.__context__
    if below is not None:
        yield from _causes(below)


@dataclass(frozen=True, slots=True)
class Lane:
    """One kind of traffic: a client with its own connections, and as many places as it may have."""

    name: str
    client: httpx.AsyncClient
    places: trio.CapacityLimiter

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. A task may hold several."""
        holder = object()
        await self.places.acquire_on_behalf_of(holder)
        try:
            yield
        finally:
            self.places.release_on_behalf_of(holder)

    def statistics(self) -> dict[str, int]:
        """Return the places in use, waited for, and in all."""
        seen = self.places.statistics()
        return {
            "in_use": seen.borrowed_tokens,
            "waiting": seen.tasks_waiting,
            "places": int(seen.total_tokens),
        }


@dataclass(frozen=True, slots=True)
class Lanes:
    """The three lanes of a platform."""

    metadata: Lane
    downloads: Lane
    uploads: Lane

    @classmethod
    def of(
        cls, settings: Settings, address: Address, *, transport: httpx.AsyncBaseTransport | None
    ) -> "Lanes":
        """Make the lanes that the settings ask for.

        Raises:
            ConfigError: The file of certificates, or a proxy of the environment, cannot be used.
        """
        quieten_loggers()
        trust = True if transport is not None else _trust(settings)
        stall = httpx.Timeout(settings.stall_deadline, connect=settings.connect_deadline, pool=None)
        # a metadata call is bounded as a whole, by the exchange
        whole = httpx.Timeout(None, connect=settings.connect_deadline)

        def lane(name: str, places: int, timeout: httpx.Timeout) -> Lane:
            client = _client(places, timeout, address, trust=trust, transport=transport)
            return Lane(name, client, trio.CapacityLimiter(places))

        try:
            return cls(
                metadata=lane("metadata", settings.metadata_lane, whole),
                downloads=lane("downloads", settings.download_lane, stall),
                uploads=lane("uploads", settings.upload_lane, stall),
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            # httpx reads the proxies here; a URL of theirs may hold a password, so it is not shown
            raise ConfigError(
                "a proxy of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) cannot be used: "
                f"{type(error).__name__}",
            ) from None

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in (self.metadata, self.downloads, self.uploads):
            await lane.client.aclose()

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return the statistics of each lane by its name."""
        return {lane.name: lane.statistics() for lane in (self.metadata, self.downloads, self.uploads)}


def quieten_loggers() -> None:
    """Keep httpx from logging URLs, signed ones among them, and httpcore from logging headers."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _client(
    places: int,
    timeout: httpx.Timeout,
    address: Address,
    *,
    trust: ssl.SSLContext | bool,
    transport: httpx.AsyncBaseTransport | None,
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"User-Agent": f"aerofs/{__version__}"},
        timeout=timeout,
        verify=trust,
        limits=httpx.Limits(
            max_connections=places, max_keepalive_connections=places, keepalive_expiry=_KEEPALIVE
        ),
        transport=transport,
        mounts=_unproxied(address) if transport is None else None,
        follow_redirects=False,  # by the exchange: each hop decides anew who may see the token
    )


def _trust(settings: Settings) -> ssl.SSLContext:
    """Return the system's trust store, and the certificates of `ca_file` beside it."""
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"ca_file {settings.ca_file} cannot be used: {error.strerror or error}"
            ) from None
    return context


def _unproxied(address: Address) -> dict[str, None]:
    """Return httpx's way of saying that no proxy of the environment stands before this machine."""
    host = address.origin.host
    own = [f"[{host}]" if ":" in host else host] if is_loopback(host) else []
    return {f"all://{each}": None for each in (*_LOOPBACK, *own)}
