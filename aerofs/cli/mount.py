"""`aerofs mount`: options to settings, a look at the mount point, then the mount itself."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from aerofs import mountpoint, settings
from aerofs.cli import background, logs, mount_options
from aerofs.errors import ConfigError
from aerofs.settings import Settings

log = logging.getLogger(__name__)

_NOT_SETTINGS = {"places", "options", "config", "profile", "foreground"}


def mount(
    *,
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[URL] MOUNTPOINT", show_default=False)
    ] = None,
    environment: Annotated[
        str | None, typer.Option(metavar="ID", help="The environment (AEROFS_ENVIRONMENT).")
    ] = None,
    token_file: Annotated[str | None, typer.Option(metavar="FILE", help="Holds the token.")] = None,
    token_command: Annotated[str | None, typer.Option(metavar="COMMAND", help="Prints the token.")] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="A profile of the configuration.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The configuration, instead of the usual.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("-o", metavar="KEY=VALUE,…", help="As for mount(8).")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay here; log to the terminal.")
    ] = False,
    read_only: Annotated[bool | None, typer.Option("--read-only", help="Change nothing.")] = None,
    allow_other: Annotated[bool | None, typer.Option("--allow-other", help="Let other users in.")] = None,
    uid: Annotated[str | None, typer.Option(help="Who owns the files.")] = None,
    gid: Annotated[str | None, typer.Option(help="Whose group owns them.")] = None,
    umask: Annotated[
        str | None, typer.Option(metavar="OCTAL", help="Which permissions to take away.")
    ] = None,
    definition_ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Life of the definitions.")
    ] = None,
    listing_ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Life of the list of documents.")
    ] = None,
    document_ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Life of a document's files.")
    ] = None,
    negative_ttl: Annotated[str | None, typer.Option(metavar="TIME", help="Life of 'there is none'.")] = None,
    close_wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long close() waits; 0, inf.")
    ] = None,
    spool_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What waiting saves may take on the disk; 20M, 2GiB.")
    ] = None,
    ca_file: Annotated[str | None, typer.Option(metavar="FILE", help="Trusted authorities, as PEM.")] = None,
    insecure_http: Annotated[
        bool | None, typer.Option("--insecure-http", help="Admit http beyond loopback.")
    ] = None,
    documents_by: Annotated[
        str | None, typer.Option(metavar="external-id|id", help="Names of documents.")
    ] = None,
    state_dir: Annotated[str | None, typer.Option(metavar="DIR", help="For drafts and the journal.")] = None,
    log_file: Annotated[str | None, typer.Option(metavar="FILE", help="For the log.")] = None,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more; twice, everything.")
    ] = 0,
) -> None:
    """Mount the platform at URL (or AEROFS_URL) on MOUNTPOINT.

    The token comes from AEROFS_TOKEN, --token-file or --token-command. Returns once the mount answers.
    TIME is seconds, or like 30s, 5m, 2h. Everything may also stand in a profile, or be AEROFS_<OPTION>.
    """
    given: dict[str, object] = {name: value for name, value in locals().items() if name not in _NOT_SETTINGS}
    named, whence = mount_options.parse(options or [])
    given = (
        named
        | _places(places or [])
        | {name: value for name, value in given.items() if value not in (None, 0)}
    )
    chosen = settings.load(
        given,
        environ=os.environ,
        config=config or (Path(whence["config"]) if "config" in whence else None),
        profile=profile or whence.get("profile"),
    )
    if mountpoint.prepare(chosen.mountpoint, allow_other=chosen.allow_other):
        sys.stderr.write(f"aerofs: a crashed mount at {chosen.mountpoint} is taken over\n")
    if foreground:
        _live(chosen, lambda: sys.stderr.write(f"aerofs: {chosen.mountpoint} is mounted\n"), foreground=True)
    else:
        background.start(lambda ready: _live(chosen, ready, foreground=False))


def _live(chosen: Settings, ready: Callable[[], object], *, foreground: bool) -> None:
    """The whole life of the mount, in the process that serves it."""
    logs.configure(chosen, foreground=foreground)
    from aerofs.mount import run  # noqa: PLC0415 -- heavy, and nothing of it may exist before the fork

    def tell(sentence: str) -> None:
        """To the person who mounts, and to the log where that is another place."""
        sys.stderr.write(f"aerofs: {sentence}\n")
        if logs.in_a_file(chosen, foreground=foreground):
            log.warning("%s", sentence)

    run(chosen, ready=lambda: (ready(), None)[1], tell=tell)


def _places(places: list[str]) -> dict[str, object]:
    match places:
        case []:
            return {}
        case [url, place]:
            return {"url": url, "mountpoint": place}
        case [place] if "://" not in place:
            return {"mountpoint": place}
        case [_]:
            raise ConfigError("the mount point is missing: aerofs mount [URL] MOUNTPOINT")
    raise ConfigError(f"one URL and one mount point are enough, not {len(places)} words: {' '.join(places)}")
