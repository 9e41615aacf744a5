"""The life of a mount; one nursery holds all background tasks.

Start: state directory, platform (is it there, is it aero, is the token good), recovery, kernel, control socket, ready.
End, however it comes (umount, SIGTERM, SIGINT, SIGHUP): the kernel's loop returns, uploads get a bounded time, what
is left stays in the journal. After a crash nothing is unmounted: writes must not land in the directory below.
"""

import hashlib
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import trio

from aerofs import mountpoint
from aerofs.content.inspection import Inspection, inspect
from aerofs.content.operations import Operation, State
from aerofs.content.siblings import adopt
from aerofs.content.store import Owner, Store
from aerofs.errors import (
    AerofsError,
    ConfigError,
    DeniedError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
)
from aerofs.fuse import KernelCaches
from aerofs.mount.composition import compose
from aerofs.mount.service import Service
from aerofs.namespace.catalog import Catalog
from aerofs.namespace.familiar import is_local
from aerofs.platform import Platform
from aerofs.settings import Settings, default_state_dir

__all__ = ["compose", "owner", "run", "state_directory"]

_PATIENCE = 10.0
_SILENT = 1.0
_PAUSE = 0.1
"""Seconds for which a mount waits for the end of the last one, of which nothing is said, and between two looks."""


def run(settings: Settings, *, ready: Callable[[], None], tell: Callable[[str], object]) -> None:
    """Mount, serve until unmounted, finish. Blocks.

    Args:
        settings: The choices for this mount.
        ready: Called once the mount answers.
        tell: Called with a sentence for the person who waits for that.

    Raises:
        AerofsError: What kept the mount from starting, in one sentence.
    """
    try:
        _admit_many_files()
        _let_finish(state_directory(settings), tell)
        trio.run(_live, settings, ready, tell, strict_exception_groups=True)
    except ExceptionGroup as group:
        raise _first(group) from group


def _admit_many_files() -> None:
    """A file that waits to be brought up keeps its draft open: the usual soft limit of 1024 is soon reached."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _let_finish(directory: Path, tell: Callable[[str], object]) -> None:
    """A mount that was taken away a moment ago may still bring up what it has; the next one waits a little for it.

    Raises:
        AerofsError: It needs longer.
    """
    begun, told = time.monotonic(), False
    while (left := _finishing(directory)) is not None:
        going = sum(row.state is State.QUEUED for row in left.rows)
        sentence = (
            f"process {left.pid} still finishes the last mount of this drive (saves to bring up: {going})"
        )
        waited = time.monotonic() - begun
        if waited > _PATIENCE:
            raise AerofsError(f"{sentence}; it ends by itself, in 10 minutes at most: mount again then")
        if waited > _SILENT and not told:
            tell(f"{sentence}; waiting for it, {_PATIENCE:g} s at most")
            told = True
        time.sleep(_PAUSE)


def _finishing(directory: Path) -> Inspection | None:
    left = inspect(directory)
    if not left.held or left.visited or left.owner is None:
        return None
    place = Path(left.owner.mountpoint)
    mounted = mountpoint.mounted_at(place)
    if mounted is not None and mounted.fstype == mountpoint.FSTYPE and not mountpoint.is_dead(place):
        return None  # it serves, and is no case for patience
    return left


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The error that a nursery wrapped; a group of several is told by its first of ours."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        ours = [inner for inner in error.exceptions if isinstance(inner, AerofsError)]
        error = ours[0] if ours else error.exceptions[0]
    return error


async def _live(settings: Settings, ready: Callable[[], None], tell: Callable[[str], object]) -> None:
    with Store(state_directory(settings), owner(settings)) as store:
        _adopt_siblings(settings, store, tell)
        async with Platform(settings) as platform, trio.open_nursery() as background:
            kernel = KernelCaches(background)
            filesystem, catalog = compose(settings, store, platform, kernel, background)
            await _introduce(settings, catalog)
            await filesystem.recover()
            mount = Service(settings, filesystem, platform, kernel, background)
            await mount.serve(ready)
            await catalog.aclose()
            background.cancel_scope.cancel()


def _adopt_siblings(settings: Settings, store: Store, tell: Callable[[str], object]) -> None:
    """What waits for other mount points of the same person that are not mounted; a place of one's own has none."""
    root = default_state_dir()
    if store.directory.parent == root:
        adopt(store, owner(settings), root, stays=stays_here, tell=tell)


def stays_here(row: Operation) -> bool:
    """Whether a row belongs to its own mount: that of a name that never leaves this machine."""
    return row.state is State.LOCAL and is_local(row.file_name)


def state_directory(settings: Settings) -> Path:
    """Where journal and drafts of this mount live: one directory per URL, environment and mount point of this user.

    The token is no part of it: tokens are renewed, and what waits in the journal must not be lost sight of then.
    """
    if settings.state_dir is not None:
        return settings.state_dir
    place = (settings.url, settings.environment, str(settings.mountpoint))
    key = hashlib.sha256("\0".join(place).encode()).hexdigest()[:16]
    return default_state_dir() / key


def owner(settings: Settings) -> Owner:
    """Whose state this mount keeps.

    The identity follows from where the token comes from, because tokens are renewed; of one that is given literally, a
    digest is all that is ever written down.
    """
    if settings.token is not None:
        source = f"token:{settings.token.get_secret_value()}"
    else:
        source = f"file:{settings.token_file}" if settings.token_file else f"command:{settings.token_command}"
    identity = hashlib.sha256(f"aerofs\0{os.getuid()}\0{source}".encode()).hexdigest()[:32]
    return Owner(settings.url, settings.environment, str(settings.mountpoint), identity)


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
