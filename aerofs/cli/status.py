"""`aerofs status`: what the running mounts do, for a person as tables, for a program as JSON."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aerofs import control, mountpoint
from aerofs.errors import AerofsError, NotFoundError

_WIDE = 10_000
_STATES = {"held": "red", "queued": "yellow", "uploading": "green", "local": "dim"}


def status(
    *,
    place: Annotated[Path | None, typer.Argument(metavar="[MOUNTPOINT]", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of mounts, as JSON.")] = False,
) -> None:
    """Show the mount at MOUNTPOINT, or all that run: the platform, the requests, the saves on their way."""
    found = everything() if place is None else [one(place)]
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = plain_console()
    if not found:
        console.print("no aerofs mount is running")
    for mount in found:
        _show(mount, console)


def one(place: Path) -> dict[str, Any]:
    """The status of the mount at `place`.

    Raises:
        NotFoundError: There is none, or it crashed.
    """
    mounted = mountpoint.mounted_at(place)
    try:
        return _asked(
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


def everything() -> list[dict[str, Any]]:
    """Every mount that we may see: the running ones, then those that crashed (`crashed` is true there)."""
    found = [_asked(path) for path in control.running_mounts()]
    found += [
        {
            "mountpoint": str(mount.mountpoint),
            "url": mount.source,
            "environment": None,
            "pid": None,
            "reachable": False,
            "crashed": True,
            "requests": {},
            "saves": [],
            "statistics": {},
        }
        for mount in mountpoint.mounts()
        if mount.fstype == mountpoint.FSTYPE and mountpoint.is_dead(mount.mountpoint)
    ]
    return found


def _asked(path: Path) -> dict[str, Any]:
    answer = control.call(path, "status")
    if not isinstance(answer, dict):
        raise AerofsError(f"the mount behind {path} gave no status")
    return answer


def plain_console(*, stderr: bool = False) -> Console:
    """A console that adds no colours of its own, and cuts nothing off where no person watches."""
    watched = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if watched else _WIDE)


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 -- decimal units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def table_of(saves: list[dict[str, Any]]) -> Table:
    """The saves that are not on the platform yet. Names are shown as they are, never as markup."""
    table = Table(
        "id", "state", "size", "tries", "path", "error", box=None, pad_edge=False, header_style="dim"
    )
    for save in saves:
        state = str(save.get("state"))
        table.add_row(
            str(save.get("id")),
            Text(state, style=_STATES.get(state, "")),
            size(float(save.get("size") or 0)),
            str(save.get("tries") or 0),
            Text(str(save.get("path"))),
            Text(str(save.get("error") or "")),
        )
    return table


def _show(mount: dict[str, Any], console: Console) -> None:
    if mount.get("crashed"):
        state = Text("crashed (mounting there again recovers it)", style="red")
    elif mount.get("reachable"):
        state = Text("reachable", style="green")
    else:
        state = Text("the platform cannot be reached", style="red")
    console.print(Text(str(mount.get("mountpoint")), style="bold"))
    console.print(Text.assemble("  ", str(mount.get("url")), "  ", state))
    if mount.get("crashed"):
        return
    console.print(Text(f"  environment {mount.get('environment')}, process {mount.get('pid')}"))
    requests = mount.get("requests") or {}
    console.print(
        Text("  requests: " + (", ".join(f"{kind} {count}" for kind, count in requests.items()) or "none"))
    )
    saves = mount.get("saves") or []
    if saves:
        console.print(table_of(saves))
    else:
        console.print("  every save is on the platform")
