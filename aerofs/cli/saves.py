"""`aerofs saves`: what is not on the platform yet, tried again, forgotten or copied out, with or without a mount."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.text import Text

from aerofs import control
from aerofs.cli import exporting, mounts, showing
from aerofs.content import decisions, inspection
from aerofs.content.decisions import Unmounted
from aerofs.errors import AerofsError, ConfigError, DeadlineError, NotFoundError, RefusedError

_DECISION_BOUND = 60.0
"""Seconds without an answer to a decision after which the mount counts as stuck."""


class ListsByDefault(typer.core.TyperGroup):
    """`aerofs saves`, `aerofs saves --json` and `aerofs saves MOUNTPOINT` are `aerofs saves list …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The rest of the words; `list` goes before them where no command stands."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(help="Show and decide about the saves that are not on the platform yet.")

_Number = Annotated[int, typer.Argument(metavar="ID", min=1, show_default=False)]
_Mount = Annotated[
    Path | None,
    typer.Option("--mount", metavar="MOUNTPOINT", help="Which mount is meant, if several have that id."),
]


@app.command("list")
def show(
    *,
    place: Annotated[Path | None, typer.Argument(metavar="[MOUNTPOINT]", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of saves, as JSON.")] = False,
    state_dir: mounts.StateDir = None,
) -> None:
    """List the saves of the mount at MOUNTPOINT, or of all, also of those that do not run.

    The exit code is 1 where not all could be read.
    """
    found = mounts.find(place, state_dir=state_dir)
    troubles = [trouble for mount in found for trouble in mount.troubles]
    if as_json:
        listed = [save | {"mountpoint": mount.place} for mount in found for save in mount.saves]
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
    else:
        _show(found)
    if troubles:
        raise AerofsError("; ".join(troubles))


def _show(found: list[mounts.Found]) -> None:
    console = showing.plain_console()
    if not any(mount.saves or mount.troubles for mount in found):
        unseen = " and ".join(mount.place for mount in found if mount.unseen)
        told = (
            f"no save is seen to wait, but {unseen} cannot be asked"
            if unseen
            else "every save is on the platform"
        )
        console.print(Text(told))
    for mount in found:
        if mount.saves:
            state = "" if mount.status["mounted"] else "  (not mounted)"
            console.print(Text(mount.place, style="bold") + Text(state, style="yellow"))
            console.print(showing.table_of(mount.saves))


@app.command("retry")
def retry(
    *,
    number: Annotated[int | None, typer.Argument(metavar="ID", min=1, show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every save that waits, of every mount.")] = False,
    mount: _Mount = None,
    state_dir: mounts.StateDir = None,
) -> None:
    """Try a save now; without a running mount, at the next mount."""
    if (number is None) != every:
        raise ConfigError("say which save: an ID or --all")
    console = showing.plain_console()
    found = mounts.find(mount, state_dir=state_dir)
    chosen = found if number is None else [_with(number, found)]
    failed, refused = 0, []
    for each in chosen:
        try:
            retried = _retried(each, number)
        except AerofsError as error:
            refused.append(error)
            continue
        for save in retried:
            console.print(_outcome(save))
            failed += save["state"] == "held"
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise AerofsError("; ".join(map(str, refused)))
    if failed:
        raise AerofsError(f"{showing.saves(failed)} refused again")


def _retried(found: mounts.Found, number: int | None) -> list[dict[str, Any]]:
    if found.socket is not None:
        answer = control.call(found.socket, "retry", silence=_DECISION_BOUND, save=number)
        return list(answer)
    if not (found.saves or found.troubles):
        return []
    with Unmounted(_directory(found)) as state:
        return [decisions.shown(row) | {"state": "later"} for row in state.retry(number)]


def _outcome(save: dict[str, Any]) -> Text:
    later = "was discarded: the next mount takes it back, should it have reached the platform"
    told = {
        "done": "is on the platform",
        "held": f"refused: {save.get('error')}",
        "uploading": "is being uploaded",
        "later": later if save.get("withdrawn") else "will be tried at the next mount",
    }.get(str(save["state"]), f"waits: {save.get('error') or 'its turn has not come yet'}")
    return Text(f"{save['id']} {save['path']}: {told}")


@app.command("discard")
def discard(
    *,
    number: _Number,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    mount: _Mount = None,
    state_dir: mounts.StateDir = None,
) -> None:
    """Forget a save: its bytes are deleted from this disk, and the file shows what the platform has."""
    found = _with(number, mounts.find(mount, state_dir=state_dir))
    if not yes:
        _confirm(number, found)
    console = showing.plain_console()
    if found.socket is not None:
        gone = list(control.call(found.socket, "discard", silence=_DECISION_BOUND, save=number))
    else:
        with Unmounted(_directory(found)) as state:
            gone = [decisions.shown(row) for row in state.discard(number)]
    for save in gone:
        end = "; if it has reached the platform, it is taken back there" if save.get("withdrawn") else ""
        console.print(Text(f"{save['id']} {save['path']}: discarded{end}"))


def _confirm(number: int, found: mounts.Found) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            "discarding deletes bytes that are nowhere else; without a terminal to ask, give --yes"
        )
    save = next(save for save in found.saves if save["id"] == number)
    console = Console(stderr=True, highlight=False)
    console.print(showing.table_of([save]))
    if not typer.confirm("These bytes are nowhere else. Delete them?", err=True):
        raise typer.Abort


@app.command("export")
def export(
    *,
    number: _Number,
    target: Annotated[str, typer.Argument(metavar="TARGET", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Overwrite TARGET.")] = False,
    mount: _Mount = None,
    state_dir: mounts.StateDir = None,
) -> None:
    """Copy the bytes of a save to TARGET: a file, a directory, or - for the standard output."""
    if target.endswith("/") and not Path(target).is_dir():
        raise AerofsError(f"{target} is no directory")
    save = _content(_with(number, mounts.find(mount, state_dir=state_dir)), number)
    try:
        _export(save, target, force=force)
    except NotFoundError:
        # It arrived just now, or it is lost: the journal tells.
        left = mounts.find(mount, state_dir=state_dir)
        if not any(again["id"] == number for found in left for again in found.saves):
            raise NotFoundError(f"save {number} has just arrived on the platform") from None
        raise


def _export(save: dict[str, Any], target: str, *, force: bool) -> None:
    name, file = str(save["path"]).rpartition("/")[2], Path(save["file"])
    sha256, length = save["sha256"], save.get("accepted")
    if target == "-":
        exporting.stream(file, name=name, sha256=sha256, length=length)
        return
    copied = exporting.export(
        file,
        Path(target),
        name=name,
        mtime_ns=save["mtime_ns"],
        sha256=sha256,
        force=force,
        length=length,
    )
    showing.plain_console().print(Text(f"{save['id']} {save['path']}: copied to {copied}"))


def _content(found: mounts.Found, number: int) -> dict[str, Any]:
    if found.socket is not None:
        return dict(control.call(found.socket, "content", save=number))
    # To look disturbs nobody: neither one that holds the directory and does not answer, nor a damaged journal.
    left = inspection.inspect(Path(found.status["state_dir"]))
    row = next((row for row in left.rows if row.id == number), None)
    if row is None:
        raise decisions.unknown(number)
    file = left.file(row)
    if file is None:
        raise decisions.no_bytes(row)
    return decisions.shown(row) | {"file": str(file), "sha256": row.sha256, "accepted": row.accepted}


def _with(number: int, found: list[mounts.Found]) -> mounts.Found:
    """The mount that has a save of that id.

    Raises:
        NotFoundError: None has it.
        AerofsError: None is seen to have it, but not all could be read.
        RefusedError: Several have it.
    """
    having = [mount for mount in found if any(save["id"] == number for save in mount.saves)]
    if not having:
        if troubles := [trouble for mount in found for trouble in mount.troubles]:
            raise AerofsError(f"there is no save {number} in what can be read; {'; '.join(troubles)}")
        raise decisions.unknown(number)
    if len(having) > 1:
        places = " and ".join(mount.place for mount in having)
        raise RefusedError(f"{places} each have a save {number}; say which is meant with --mount MOUNTPOINT")
    return having[0]


def _directory(found: mounts.Found) -> Path:
    """The state directory, to be changed.

    Raises:
        AerofsError: That is for somebody else to do, or for nobody.
    """
    if found.directory is None and (pid := found.status.get("pid")):
        if found.status["mounted"]:
            raise DeadlineError(
                f"{found.place}: process {pid} does not answer, and nothing is decided without it: wait for it, or end "
                f"it (kill -KILL {pid}) and mount there again; 'aerofs saves export' copies the bytes meanwhile"
            )
        raise NotFoundError(f"{found.place}: process {pid} is at work on it; wait for its end")
    if found.troubles or found.directory is None:
        told = "; ".join(found.troubles) or f"{found.place} cannot be asked"
        raise AerofsError(f"{told}; it is not changed before a mount has recovered it")
    return found.directory
