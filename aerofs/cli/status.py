"""`aerofs status`: what the mounts do and what was left, for a person as tables, for a program as JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from aerofs.cli import mounts, showing

_CONFLICTS_SHOWN = 5


def status(
    *,
    place: Annotated[Path | None, typer.Argument(metavar="[MOUNTPOINT]", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of mounts, as JSON.")] = False,
    state_dir: mounts.StateDir = None,
) -> None:
    """Show the mount at MOUNTPOINT; or all that run, and what those that do not run have left on this disk.

    The exit code is 1 where MOUNTPOINT is named and does not run.
    """
    found = mounts.find(place, state_dir=state_dir)
    if as_json:
        typer.echo(json.dumps([mount.status for mount in found], indent=2, ensure_ascii=False))
    else:
        console = showing.plain_console()
        if not found:
            console.print("no aerofs mount is running, and nothing waits")
        for mount in found:
            _show(mount, console)
    if place is not None and all(mount.socket is None for mount in found):
        raise typer.Exit(1)


def _show(found: mounts.Found, console: Console) -> None:
    mount = found.status
    console.print(Text(found.place, style="bold"))
    console.print(Text.assemble("  ", str(mount.get("url") or "(unknown)"), "  ", _state(found)))
    if found.socket is not None:
        _show_running(mount, console)
    for trouble in mount.get("troubles") or []:
        console.print(Text(f"  {trouble}", style="red"))
    if found.saves:
        console.print(showing.table_of(found.saves))
    elif found.socket is not None:
        console.print("  every save is on the platform")
    if any(save.get("state") == "held" for save in found.saves):
        console.print(
            Text(
                "  held: 'aerofs saves retry ID' tries again, 'aerofs saves export ID TARGET' copies the bytes, "
                "'aerofs saves discard ID' forgets them"
            )
        )
    _show_conflicts(mount.get("conflicts") or [], console)


def _state(found: mounts.Found) -> Text:
    mount = found.status
    if not mount.get("mounted") and mount.get("pid"):
        return Text(f"unmounted; process {mount.get('pid')} is still at work", style="yellow")
    if found.socket is not None:
        if mount.get("reachable"):
            return Text("reachable", style="green")
        return Text("the platform cannot be reached", style="red")
    if mount.get("crashed"):
        return Text("crashed; mounting there again recovers it", style="red")
    if mount.get("mounted"):
        gone = "" if found.troubles else "; its control socket is gone, and fusermount3 -u unmounts it"
        return Text(f"does not answer{gone}", style="red")
    further = (
        "mounting there again recovers it" if mount.get("mountpoint") else "it does not tell where it was"
    )
    return Text(f"not mounted; {further}", style="yellow")


def _show_running(mount: dict[str, Any], console: Console) -> None:
    console.print(Text(f"  environment {mount.get('environment')}, process {mount.get('pid')}"))
    requests = mount.get("requests") or {}
    counts = ", ".join(f"{kind} {count}" for kind, count in requests.items()) or "none"
    console.print(Text(f"  requests: {counts}"))
    spool = mount.get("spool") or {}
    if spool.get("used") or spool.get("limit"):
        limit = f" of {showing.size(spool['limit'])}" if spool.get("limit") else ""
        console.print(Text(f"  files not yet uploaded take {showing.size(spool.get('used') or 0)}{limit}"))


def _show_conflicts(conflicts: list[dict[str, Any]], console: Console) -> None:
    """The last ones; newest last, where the eye is."""
    if len(conflicts) > _CONFLICTS_SHOWN:
        console.print(Text(f"  {len(conflicts) - _CONFLICTS_SHOWN} earlier conflicts: --json shows them"))
    for each in conflicts[-_CONFLICTS_SHOWN:]:
        console.print(
            Text(
                f"  conflict {showing.moment(float(each['at']))}: {each['path']} is somebody else's newer version, "
                f"ours stands beside it as {each['ours']}",
                style="yellow",
            )
        )
