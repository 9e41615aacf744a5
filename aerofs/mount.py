"""The life of a mount: everything is composed here, by constructor; one nursery holds all background tasks.

Start: state directory, platform (is it there, is it aero, is the token good), recovery, kernel, control socket, ready.
End, however it comes (umount, SIGTERM, SIGINT): the kernel's loop returns, uploads get a bounded time, what
is left stays in the journal. After a crash nothing is unmounted: writes must not land in the directory below.
"""

import hashlib
import logging
import os
import resource
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import platformdirs
import pyfuse3
import trio

from aerofs.content.origin import Download
from aerofs.content.reader import Reader
from aerofs.content.steps import Performer
from aerofs.content.store import Store
from aerofs.content.uploads import Uploads
from aerofs.control import ControlServer, socket_path
from aerofs.errors import (
    AerofsError,
    ConfigError,
    DeniedError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
)
from aerofs.filesystem import Filesystem
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.attributes import Attributor
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.files import Files
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.moves import Moves
from aerofs.filesystem.recovery import Recovery
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.unlinking import Unlinking
from aerofs.filesystem.versions import Versions
from aerofs.fuse import Handlers, KernelCaches
from aerofs.model import Attachment, AttachmentId, FieldRef
from aerofs.namespace.catalog import Catalog
from aerofs.platform import Platform
from aerofs.settings import Settings

log = logging.getLogger(__name__)

MAXIMUM_TASKS = 1000
"""Requests of the kernel that are served at once; own limits stand before the platform."""
DRAIN_AT_END = 600.0
"""Seconds given to uploads after the unmount, as long as the platform answers."""
PROBE_PAUSE = 5.0


class _Origin:
    """Where a reader's bytes come from: URLs by the catalog's list, bytes by the platform."""

    def __init__(self, catalog: Catalog, platform: Platform) -> None:
        self._catalog = catalog
        self._platform = platform

    def download(
        self, url: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[Download]:
        return self._platform.download(url, start=start, stop=stop)

    async def fresh_urls(self, place: FieldRef) -> Mapping[AttachmentId, Attachment]:
        listed = await self._catalog.attachments(place, anew=True)
        return {attachment.id: attachment for attachment in listed}


def run(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Mount, serve until unmounted, finish. Blocks.

    Args:
        settings: The choices for this mount.
        ready: Called once the mount answers.

    Raises:
        AerofsError: What kept the mount from starting, in one sentence.
    """
    try:
        _admit_many_files()
        trio.run(_live, settings, ready, strict_exception_groups=True)
    except ExceptionGroup as group:
        raise _first(group) from group


def _admit_many_files() -> None:
    """A file that waits to be brought up keeps its draft open: the usual soft limit of 1024 is soon reached."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The error that a nursery wrapped; a group of several is told by its first of ours."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        ours = [inner for inner in error.exceptions if isinstance(inner, AerofsError)]
        error = ours[0] if ours else error.exceptions[0]
    return error


async def _live(settings: Settings, ready: Callable[[], None]) -> None:
    with Store(state_directory(settings)) as store:
        async with Platform(settings) as platform, trio.open_nursery() as background:
            kernel = KernelCaches(background)
            filesystem, catalog = compose(settings, store, platform, kernel, background)
            await _introduce(settings, catalog)
            await filesystem.recover()
            mount = _Mount(settings, filesystem, platform, kernel, background)
            await mount.serve(ready)
            await catalog.aclose()
            background.cancel_scope.cancel()


def state_directory(settings: Settings) -> Path:
    """Where journal and drafts of this mount live: one directory per URL, environment and mount point of this user.

    The token is no part of it: tokens are renewed, and what waits in the journal must not be lost sight of then.
    """
    if settings.state_dir is not None:
        return settings.state_dir
    place = (settings.url, settings.environment, str(settings.mountpoint))
    key = hashlib.sha256("\0".join(place).encode()).hexdigest()[:16]
    return platformdirs.user_state_path("aerofs") / key


def compose(
    settings: Settings, store: Store, platform: Platform, kernel: Kernel, nursery: trio.Nursery
) -> tuple[Filesystem, Catalog]:
    """Wire the rooms. Everything but the kernel's edge, so that tests can drive a filesystem without a mount."""
    catalog = Catalog(
        platform,
        definition_ttl=settings.definition_ttl,
        listing_ttl=settings.listing_ttl,
        document_ttl=settings.document_ttl,
        negative_ttl=settings.negative_ttl,
        documents_by=settings.documents_by,
    )
    tree = Tree(catalog, store.journal, kernel, umask=settings.umask)
    reader = Reader(store.blobs, _Origin(catalog, platform), nursery, learned=tree.learned)

    @asynccontextmanager
    async def fetch(place: FieldRef, attachment: Attachment) -> AsyncIterator[Path]:
        handle = reader.open(place, attachment)
        try:
            yield await handle.fetch_all()
        finally:
            handle.close()

    performer = Performer(platform, catalog, store.journal, store.drafts, fetch)
    uploads = Uploads(performer, store.journal, store.blobs, store.drafts, nursery)
    commits = Commits(
        tree, uploads, store.journal, store.blobs, kernel, nursery, close_wait=settings.close_wait
    )
    wait = settings.rename_wait
    versions = Versions(tree, reader, store.drafts, wait=wait)
    asides = Asides(tree, commits, versions, kernel, nursery, wait=wait)
    unlinking = Unlinking(
        tree,
        commits,
        uploads,
        store.journal,
        platform,
        versions,
        asides,
        read_only=settings.read_only,
        wait=wait,
    )
    moves = Moves(
        tree,
        commits,
        uploads,
        store.journal,
        versions,
        asides,
        unlinking,
        kernel,
        read_only=settings.read_only,
        rename_wait=wait,
    )
    files = Files(
        tree,
        commits,
        asides,
        versions,
        reader,
        store.drafts,
        nursery,
        read_only=settings.read_only,
        umask=settings.umask,
        close_wait=settings.close_wait,
    )
    filesystem = Filesystem(
        tree=tree,
        files=files,
        moves=moves,
        unlinking=unlinking,
        commits=commits,
        uploads=uploads,
        recovery=Recovery(tree, commits, uploads, store.journal, store.drafts),
        attributor=Attributor(tree, settings, now_ns=time.time_ns),
        journal=store.journal,
        store=store,
        read_only=settings.read_only,
    )
    return filesystem, catalog


async def _introduce(settings: Settings, catalog: Catalog) -> None:
    """The first request: is the platform there, is it aero, does it know us?

    Raises:
        ConfigError: One sentence on what is wrong, for the person who mounts.
    """
    where = f"{settings.url} (environment {settings.environment})"
    try:
        await catalog.definitions()
    except DeniedError as error:
        raise ConfigError(f"{where} refuses the token: {error}") from error
    except (ProtocolError, NotFoundError) as error:
        raise ConfigError(f"{where} does not answer like an aero platform: {error}") from error
    except UnavailableError as error:
        raise ConfigError(f"{where} cannot be reached: {error}") from error


class _Mount:
    """A composed filesystem and its kernel, control socket and signals."""

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
        # Found out before the mount is there: resolving a path through our own mount would wait for ourselves.
        self._socket = socket_path(settings.mountpoint)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Mount, answer until the kernel's loop ends, then finish what is under way."""
        async with self._mounted():
            await self._background.start(self._heed_signals)
            self._background.start_soon(self._watch_reachability)
            handlers: dict[str, Any] = {
                "status": self._status,
                "drain": self._drain,
                "refresh": self._refresh,
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
        try:
            pyfuse3.init(handlers, str(self._settings.mountpoint), options)
        except RuntimeError as error:
            raise ConfigError(
                f"{self._settings.mountpoint} cannot be mounted: {error} (is fuse3 installed, may you use /dev/fuse?)"
            ) from error
        ended = False
        try:
            yield
            ended = True
        finally:
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
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for received in signals:
                log.info("%s: unmounting", signal.Signals(received).name)
                pyfuse3.terminate()

    async def _watch_reachability(self) -> None:
        """While the platform is away, ask for it; when it is back, try at once what waits."""
        while True:
            await trio.sleep(PROBE_PAUSE)
            if not self._platform.reachable and await self._platform.probe():
                log.info("%s: reachable again", self._settings.url)
                self._filesystem.retry()

    async def _finish(self) -> None:
        """Bring up what is under way; what cannot go now stays in the journal for the next mount."""
        await self._filesystem.settle()
        with trio.move_on_after(DRAIN_AT_END), trio.CancelScope() as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up_when_away, waiting)
                await self._filesystem.drain()
                nursery.cancel_scope.cancel()
        left = [save for save in self._filesystem.saves() if save["state"] != "local"]
        if left:
            log.info("%d saves stay in the journal for the next mount", len(left))

    async def _give_up_when_away(self, waiting: trio.CancelScope) -> None:
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
            "reachable": self._platform.reachable,
            "requests": dict(self._platform.requests),
            "saves": self._filesystem.saves(),
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
        while not done.is_set() and trio.current_time() < deadline:
            left = self._left()
            yield {"remaining": len(left), "bytes": sum(save["size"] for save in left)}
            with trio.move_on_after(0.25):
                await done.wait()
        left = self._left()
        yield {"remaining": len(left), "bytes": sum(save["size"] for save in left), "saves": left}

    def _left(self) -> list[dict[str, Any]]:
        return [save for save in self._filesystem.saves() if save["state"] in ("queued", "uploading", "held")]

    async def _refresh(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        self._filesystem.refresh()
        return {}


def _fsname(settings: Settings) -> str:
    """What `mount` and `df` show; a comma would end the option."""
    return settings.url.replace(",", "%2C")
