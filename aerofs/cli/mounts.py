"""Every mount that a command can speak of: those that run, and directories of those that do not and hold something."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from aerofs import control, mountpoint, settings
from aerofs.content import conflicts, inspection
from aerofs.content.decisions import shown
from aerofs.content.inspection import Inspection
from aerofs.errors import AerofsError, NotFoundError

StateDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="AEROFS_STATE_DIR",
        show_default=False,
        show_envvar=False,
        help="A state directory besides the usual ones.",
    ),
]


@dataclass(frozen=True, slots=True)
class Found:
    """A mount, as it is or as it was left.

    Attributes:
        status: As `aerofs status --json` shows it.
        socket: Where it answers; None: it does not run.
        directory: Its state directory, where it is not held by anybody.
    """

    status: dict[str, Any]
    socket: Path | None = None
    directory: Path | None = None

    @property
    def place(self) -> str:
        """The mount point; of a directory that does not tell, the directory."""
        return str(self.status["mountpoint"] or self.status["state_dir"])

    @property
    def saves(self) -> list[dict[str, Any]]:
        """What is not on the platform yet."""
        return [save for save in self.status.get("saves") or [] if isinstance(save, dict)]

    @property
    def troubles(self) -> list[str]:
        """What keeps the saves, or some of them, from being seen; a sentence each."""
        return [str(trouble) for trouble in self.status.get("troubles") or []]


def find(place: Path | None = None, *, state_dir: Path | None = None) -> list[Found]:
    """The mount at `place`, running or not; without it every one that runs, or has left something.

    Raises:
        NotFoundError: There is none at `place`.
    """
    if place is None:
        running = list(_running())
        return [*running, *_not_running(running, state_dir)]
    try:
        return [_running_at(place)]
    except NotFoundError as error:
        where = str(mountpoint.true_place(place))
        left = [found for found in _not_running([], state_dir) if found.status["mountpoint"] == where]
        if not left:
            raise error from None
        return left


def _running() -> Iterator[Found]:
    """Every mount that runs. One that ends at this moment, or is stuck, hides no other."""
    for path in control.running_mounts():
        try:
            yield asked(path)
        except NotFoundError:
            continue
        except AerofsError as error:
            yield Found(
                _bare(None, None) | {"mounted": True, "state_dir": str(path), "troubles": [str(error)]}
            )


def asked(path: Path) -> Found:
    """A running mount, by its socket."""
    answer = control.call(path, "status")
    if not isinstance(answer, dict):
        raise AerofsError(f"the mount behind {path} gave no status")
    return Found(_bare(None, None) | {"mounted": True} | answer, socket=path)


def _running_at(place: Path) -> Found:
    mounted = mountpoint.mounted_at(place)
    try:
        return asked(
            control.socket_path(mountpoint.true_place(place), uid=mounted.owner if mounted else None)
        )
    except NotFoundError:
        if mounted is None or mounted.fstype != mountpoint.FSTYPE:
            raise NotFoundError(f"no aerofs is mounted at {place}") from None
        if mountpoint.is_dead(place):
            raise NotFoundError(f"the aerofs at {place} crashed; mounting there again recovers it") from None
        raise NotFoundError(
            f"the aerofs at {place} cannot be asked; another user may have mounted it"
        ) from None


def _not_running(running: list[Found], state_dir: Path | None) -> Iterator[Found]:
    """What was left, by a crash or in the journal; a crashed mount point without a directory of ours, too."""
    pids = {found.status.get("pid") for found in running}
    dead = {
        str(mount.mountpoint): mount
        for mount in mountpoint.mounts()
        if mount.fstype == mountpoint.FSTYPE and mountpoint.is_dead(mount.mountpoint)
    }
    for left in _inspections(state_dir):
        owner = left.owner
        crashed = owner is not None and dead.pop(owner.mountpoint, None) is not None
        if (left.held and left.pid in pids) or not (left.rows or left.troubles or crashed):
            continue
        yield Found(_status_of(left, crashed=crashed), directory=None if left.held else left.directory)
    for place, mount in dead.items():
        yield Found(_bare(place, mount.source) | {"crashed": True, "mounted": True})


def _inspections(state_dir: Path | None) -> Iterator[Inspection]:
    found = inspection.inspect_all(settings.default_state_dir())
    yield from found
    if state_dir is None:
        return
    directory = Path(os.path.abspath(state_dir))  # noqa: PTH100 -- as the settings take it
    if directory.exists() and directory not in [each.directory for each in found]:
        yield inspection.inspect(directory)


def _status_of(left: Inspection, *, crashed: bool) -> dict[str, Any]:
    owner = left.owner
    status = _bare(owner.mountpoint if owner else None, owner.url if owner else None)
    return status | {
        "environment": owner.environment if owner else None,
        "pid": left.pid,
        "mounted": crashed,
        "crashed": crashed,
        "state_dir": str(left.directory),
        "saves": [shown(row) for row in left.rows],
        "conflicts": [each.to_json() for each in conflicts.recorded(left.directory)],
        "troubles": list(left.troubles),
    }


def _bare(place: str | None, url: str | None) -> dict[str, Any]:
    return {
        "mountpoint": place,
        "url": url,
        "environment": None,
        "pid": None,
        "mounted": False,
        "crashed": False,
        "state_dir": None,
        "reachable": False,
        "requests": {},
        "saves": [],
        "conflicts": [],
        "troubles": [],
        "spool": None,
        "statistics": {},
    }
