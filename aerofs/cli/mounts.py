"""Every mount that a command can speak of: those that run, and directories of those that do not and hold something."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from aerofs import control, mountpoint, settings
from aerofs.content import conflicts, inspection
from aerofs.content.decisions import shown
from aerofs.content.inspection import Inspection
from aerofs.errors import AerofsError, DeadlineError, NotFoundError
from aerofs.mountpoint import Mounted

_GONE = {"error": "its bytes are gone from this disk"}

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
    def unseen(self) -> bool:
        """It runs and cannot be asked, and where its state is kept is not known."""
        return self.socket is None and self.status["state_dir"] is None and not self.status["crashed"]

    @property
    def troubles(self) -> list[str]:
        """What keeps the saves, or some of them, from being seen; a sentence each."""
        return [str(trouble) for trouble in self.status.get("troubles") or []]


def find(place: Path | None = None, *, state_dir: Path | None = None) -> list[Found]:
    """The mount at `place`, running or not; without it every one that runs, or has left something.

    Raises:
        NotFoundError: There is none at `place`.
        DeniedError: It is another user's.
    """
    if place is None:
        running, stuck = _running()
        return [*running, *_not_running(_mounted(but=running), stuck, _inspections(state_dir, but=running))]
    where = str(mountpoint.true_place(place))
    silent: dict[str, AerofsError] = {}
    try:
        return [_running_at(place)]
    except NotFoundError as error:
        sentence: AerofsError = error
    except DeadlineError as error:
        sentence = silent[where] = error
    mounted = {at: mount for at, mount in _mounted().items() if at == where}
    left = [each for each in _inspections(state_dir) if each.owner and each.owner.mountpoint == where]
    found = list(_not_running(mounted, silent, left))
    if not found:
        raise sentence
    return found


def _mounted(*, but: Iterable[Found] = ()) -> dict[str, Mounted]:
    """The mounts of this user in the kernel's table, for root everyone's, by their places."""
    user, others = os.geteuid(), {found.place for found in but}
    return {
        str(mount.mountpoint): mount
        for mount in mountpoint.mounts()
        if mount.fstype == mountpoint.FSTYPE and (user == 0 or mount.owner in (None, user))
        if str(mount.mountpoint) not in others
    }


def _running() -> tuple[list[Found], dict[str, AerofsError]]:
    """Every mount that answers, and why others do not, by their places. One that ends at this moment hides no other."""
    places = {
        control.socket_path(mount.mountpoint, uid=mount.owner): place for place, mount in _mounted().items()
    }
    running: list[Found] = []
    silent: dict[str, AerofsError] = {}
    for path in control.running_mounts():
        try:
            running.append(asked(path))
        except NotFoundError:
            continue
        except AerofsError as error:
            if path in places:
                silent[places[path]] = error
            else:
                told = {"mounted": True, "state_dir": str(path), "troubles": [str(error)]}
                running.append(Found(_bare(None, None) | told))
    return running, silent


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
        raise NotFoundError(
            f"the aerofs at {place} cannot be asked; another user may have mounted it"
        ) from None


def _not_running(
    mounted: Mapping[str, Mounted], silent: Mapping[str, AerofsError], left: Iterable[Inspection]
) -> Iterator[Found]:
    """Mounts that do not answer, and what was left, by a crash or in the journal.

    Args:
        mounted: What stands in the kernel's table.
        silent: Why those of it that were asked gave no answer.
        left: State directories, also of what is not mounted.
    """
    crashed = {
        place
        for place, mount in mounted.items()
        if place not in silent and mountpoint.is_dead(mount.mountpoint)
    }
    seen: set[str] = set()
    for each in left:
        place = each.owner.mountpoint if each.owner else ""
        # One that nobody holds is not that of a living mount.
        stands = place in mounted and place not in seen and (each.held or place in crashed)
        if stands:
            seen.add(place)
        if not (each.rows or each.troubles or stands):
            continue
        status = _status_of(each) | (_standing(place, crashed, silent) if stands else {})
        status["troubles"] = [*each.troubles, *status["troubles"]]
        yield Found(status, directory=None if each.held else each.directory)
    for place in mounted.keys() - seen:
        yield Found(_bare(place, mounted[place].source) | _standing(place, crashed, silent))


def _standing(place: str, crashed: Collection[str], silent: Mapping[str, AerofsError]) -> dict[str, Any]:
    """What there is to say of a mount that stands and does not answer; nothing more where it has no socket."""
    if place in crashed:
        return {"mounted": True, "crashed": True, "troubles": []}
    return {"mounted": True, "troubles": [str(silent[place])] if place in silent else []}


def _inspections(state_dir: Path | None, *, but: Iterable[Found] = ()) -> Iterator[Inspection]:
    """What the state directories hold, but for those of these mounts."""
    pids = {found.status.get("pid") for found in but} - {None}
    found = inspection.inspect_all(settings.default_state_dir())
    if state_dir is not None:
        directory = Path(os.path.abspath(state_dir))  # noqa: PTH100 -- as the settings take it
        if _may_exist(directory) and directory not in [each.directory for each in found]:
            found.append(inspection.inspect(directory))
    yield from (each for each in found if not (each.held and each.pid in pids))


def _may_exist(directory: Path) -> bool:
    try:
        directory.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        pass  # looking into it tells the same
    return True


def _status_of(left: Inspection) -> dict[str, Any]:
    owner = left.owner
    status = _bare(owner.mountpoint if owner else None, owner.url if owner else None)
    return status | {
        "environment": owner.environment if owner else None,
        "pid": left.pid,
        "state_dir": str(left.directory),
        "saves": [shown(row) | ({} if left.has_bytes(row) else _GONE) for row in left.rows],
        "conflicts": [each.to_json() for each in conflicts.recorded(left.directory)],
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
