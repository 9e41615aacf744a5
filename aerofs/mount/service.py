"""A composed filesystem in service: its kernel, control socket and signals, from the mount to the last upload."""

import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pyfuse3
import trio

from aerofs import mountpoint
from aerofs.control import ControlServer, socket_path
from aerofs.errors import ConfigError, ProtocolError
from aerofs.filesystem import Filesystem
from aerofs.fuse import Handlers, KernelCaches
from aerofs.platform import Platform
from aerofs.settings import Settings

log = logging.getLogger(__name__)

MAXIMUM_TASKS = 1000
"""Requests of the kernel that are served at once; own limits stand before the platform."""
DRAIN_AT_END = 600.0
"""Seconds given to uploads after the unmount, as long as the platform answers."""
PROBE_PAUSE = 5.0


class Service:
    """One mount, while it is there."""

    def __init__(
        self,
        settings: Settings,
        filesystem: Filesystem,
        platform: Platform,
        kernel: KernelCaches,
        background: trio.Nursery,
    ) -> None:
        self._settings = settings
        self._kernel = kernel
        self._filesystem = filesystem
        self._platform = platform
        self._background = background
        self._announced = False
        self._in_session = False
        self._told = False
        self._hurried = trio.Event()
        # Found out before the mount is there: resolving a path through our own mount would wait for ourselves.
        self._socket = socket_path(settings.mountpoint)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Mount, answer until the kernel's loop ends, then finish what is under way."""
        async with self._mounted():
            await self._background.start(self._heed_signals)
            self._background.start_soon(watch_reachability, self._platform, self._filesystem)
            handlers: dict[str, Any] = {
                "status": self._status,
                "drain": self._drain,
                "refresh": self._refresh,
                "retry": self._retry,
                "discard": self._discard,
                "content": self._content,
            }
            control = ControlServer(self._socket, handlers)
            await self._background.start(control.serve)
            async with trio.open_nursery() as serving:
                serving.start_soon(pyfuse3.main, 1, MAXIMUM_TASKS)
                serving.start_soon(self._announce, ready)
        # Detached before the uploads are finished: nobody may wait for a mount that does not answer any more.
        log.info("%s: unmounted", self._settings.mountpoint)
        await self._finish()

    @asynccontextmanager
    async def _mounted(self) -> AsyncIterator[None]:
        options = set(pyfuse3.default_options)
        options |= {f"fsname={_fsname(self._settings)}", "subtype=aerofs", "nosuid", "nodev", "noatime"}
        if self._settings.allow_other:
            options.add("allow_other")
        if self._settings.read_only:
            options.add("ro")
        handlers = Handlers(self._filesystem, negative_timeout=min(2.0, self._settings.negative_ttl))
        # A crashed mount refuses every write up to this moment; the directory below it would take them.
        mountpoint.clear(self._settings.mountpoint)
        try:
            pyfuse3.init(handlers, str(self._settings.mountpoint), options)
        except RuntimeError as error:
            raise ConfigError(
                f"{self._settings.mountpoint} cannot be mounted: {error} (is fuse3 installed, may you use /dev/fuse?)"
            ) from error
        ended, self._in_session = False, True
        try:
            yield
            ended = True
        finally:
            self._in_session = False
            self._kernel.end()
            # After a crash the mount point stays taken: a write must not land in the directory below.
            pyfuse3.close(unmount=ended or not self._announced)

    async def _announce(self, ready: Callable[[], None]) -> None:
        """The mount answers when a stat of it comes back: then say so."""
        await trio.to_thread.run_sync(os.stat, self._settings.mountpoint)
        log.info("%s: mounted %s", self._settings.mountpoint, self._settings.url)
        self._announced = True
        ready()

    async def _heed_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The first signal unmounts, and what is under way is finished; a second one leaves it to the journal.

        A terminal that goes away sends SIGHUP, sometimes twice, and hurries nobody; `nohup` keeps it off.
        """
        heeded = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            heeded.append(signal.SIGHUP)
        with trio.open_signal_receiver(*heeded) as signals:
            task_status.started()
            async for received in signals:
                name = signal.Signals(received).name
                if self._told and received == signal.SIGHUP:
                    continue
                if self._told:
                    log.info("%s again: ending now, the journal keeps what is left", name)
                    self._hurried.set()
                    continue
                log.info("%s: unmounting", name)
                self._told = True
                self._background.start_soon(self._hurry_in_time)
                if self._in_session:  # afterwards pyfuse3 would crash
                    pyfuse3.terminate()

    async def _hurry_in_time(self) -> None:
        """A program whose close() waits for its upload must not keep an ending mount for ever."""
        with trio.move_on_after(DRAIN_AT_END):
            await self._hurried.wait()
        self._filesystem.hurry()

    async def _finish(self) -> None:
        """Bring up what is under way; what cannot go now stays in the journal for the next mount."""
        await self._filesystem.settle()
        with trio.move_on_after(DRAIN_AT_END), trio.CancelScope() as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_when_away, waiting)
                nursery.start_soon(self._stop_when_hurried, waiting)
                await self._filesystem.drain()
                nursery.cancel_scope.cancel()
        left = [save for save in self._filesystem.saves() if save["state"] != "local"]
        if left:
            log.info("%d saves stay in the journal for the next mount", len(left))

    async def _stop_when_hurried(self, waiting: trio.CancelScope) -> None:
        await self._hurried.wait()
        waiting.cancel()

    async def _stop_when_away(self, waiting: trio.CancelScope) -> None:
        while True:
            if not self._platform.reachable or self._filesystem.only_failures_left():
                waiting.cancel()
            await trio.sleep(0.2)

    # -- the control socket --------------------------------------------------------------------------------------

    async def _status(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "mountpoint": str(self._settings.mountpoint),
            "url": self._settings.url,
            "environment": self._settings.environment,
            "pid": os.getpid(),
            "mounted": self._in_session,
            "reachable": self._platform.reachable,
            "requests": dict(self._platform.requests),
            "saves": self._filesystem.saves(),
            "conflicts": self._filesystem.waiting.conflicts(),
            "spool": self._filesystem.spool(),
            "statistics": {**self._filesystem.statistics(), **self._platform.statistics()},
        }

    async def _drain(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Lines of progress while everything is brought up, at the end what is left."""
        done = trio.Event()
        timeout = request.get("timeout")
        deadline = trio.current_time() + (float("inf") if timeout is None else float(timeout))

        async def drain() -> None:
            await self._filesystem.drain()
            done.set()

        self._background.start_soon(drain)
        sizes: dict[int, int] = {}
        while not done.is_set() and trio.current_time() < deadline:
            yield self._progress(sizes)
            with trio.move_on_after(0.25):
                await done.wait()
        yield self._progress(sizes) | {"saves": self._left()}

    def _left(self) -> list[dict[str, Any]]:
        return [save for save in self._filesystem.saves() if save["state"] in ("queued", "uploading", "held")]

    def _progress(self, sizes: dict[int, int]) -> dict[str, Any]:
        """How far a drain has come. `sizes`: of every save that it has waited for so far."""
        left = [save for save in self._left() if save["goes_on"]]
        sizes.update((save["id"], save["size"]) for save in left)
        return {
            "remaining": len(left),
            "total": len(sizes),
            "bytes": sum(save["size"] - save["sent"] for save in left),
            "total_bytes": sum(sizes.values()),
            "reachable": self._platform.reachable,
        }

    async def _retry(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._filesystem.waiting.retry(request.get("save"))

    async def _discard(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._filesystem.waiting.discard(_number(request))

    async def _content(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._filesystem.waiting.content(_number(request))

    async def _refresh(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        self._filesystem.refresh()
        return {}


async def watch_reachability(platform: Platform, filesystem: Filesystem) -> None:
    """While the platform is away, ask for it every `PROBE_PAUSE` seconds; when it is back, try what waits.

    So what waits is tried again within that pause. A platform that answers everybody with errors is not away: there the
    first operation that succeeds brings the others (`Uploads`).
    """
    known = platform.outages
    while True:
        await trio.sleep(PROBE_PAUSE)
        # (Any other request may have found out that it is back.)
        if (platform.reachable or await platform.probe()) and platform.outages != known:
            known = platform.outages
            filesystem.retry()


def _number(request: Mapping[str, Any]) -> int:
    number = request.get("save")
    if not isinstance(number, int):
        raise ProtocolError("which save is meant?")
    return number


def _fsname(settings: Settings) -> str:
    """What `mount` and `df` show; a comma would end the option."""
    return settings.url.replace(",", "%2C")
