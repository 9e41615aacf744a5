"""Starting and stopping a sandbox: data, two origins, hypercorn, in that order and back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import trio

from aerofs.sandbox.api import Api, api_refused
from aerofs.sandbox.exchange import Origin
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.server import Listener, serve
from aerofs.sandbox.state import Sandbox, SandboxConfig
from aerofs.sandbox.store import Store, store_kind, store_refused


@asynccontextmanager
async def serving(config: SandboxConfig | None = None) -> AsyncIterator[Sandbox]:
    """A sandbox that serves while the block runs.

    It answers from the first line of the block on. At the end every connection is broken, held and stalled
    requests included, and data that was in memory is gone. An exception of the block comes out as it is, not
    in a group.

    Raises:
        OSError: a port is in use.
    """
    config = config or SandboxConfig()
    with closing(Platform.open(config.data_dir)) as platform:
        if config.sample and not platform.definitions:
            from aerofs.sandbox.sample import fill  # noqa: PLC0415 - its libraries take a second to load

            await trio.to_thread.run_sync(fill, platform)
        api = Listener(config.host, config.port)
        with closing(api.socket):
            store = Listener(config.host, config.store_port)
            with closing(store.socket):
                sandbox = Sandbox(config, platform, url=api.url, store_url=store.url)
                async with _served(sandbox, api, store):
                    yield sandbox


@asynccontextmanager
async def _served(sandbox: Sandbox, api: Listener, store: Listener) -> AsyncIterator[None]:
    calls = Api(sandbox)
    api_origin = Origin(
        "api",
        traffic=sandbox.traffic,
        faults=sandbox.faults,
        kind_of=calls.kind_of,
        handler=calls,
        refused=api_refused,
    )
    store_origin = Origin(
        "store",
        traffic=sandbox.traffic,
        faults=sandbox.faults,
        kind_of=store_kind,
        handler=Store(sandbox),
        refused=store_refused,
    )
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, [(api, api_origin), (store, store_origin)])
        try:
            yield
        except Exception as error:  # noqa: BLE001 - it is raised again, outside of the nursery that would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
