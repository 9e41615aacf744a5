"""How sizes, times and saves look to a person. Names are shown as they are, never as markup."""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000
_STATES = {"held": "red", "queued": "yellow", "uploading": "green", "local": "dim", "done": "green"}
_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


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


def span(seconds: float) -> str:
    """A time as people tell it: in its largest unit."""
    for length, unit in _AGES:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "0 s"


def moment(at: float) -> str:
    """A point in time, as the clock on this wall has it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def saves(count: int) -> str:
    """So many saves."""
    return "1 save" if count == 1 else f"{count} saves"


def table_of(listed: Iterable[Mapping[str, Any]]) -> Table:
    """The saves that are not on the platform yet."""
    table = Table(
        "id", "state", "size", "since", "tries", "next try", "path", "error",
        box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    now = time.time()
    for save in listed:
        since, next_try = save.get("since"), save.get("next_try")
        table.add_row(
            str(save.get("id") or "-"),
            _state(save),
            size(float(save.get("size") or 0)),
            span(now - float(since)) if since else "-",
            str(save.get("tries") or 0),
            f"in {span(float(next_try) - now)}" if next_try else "-",
            Text(str(save.get("path"))),
            Text(_error(save)),
        )
    return table


def _error(save: Mapping[str, Any]) -> str:
    """What went wrong, without the file's name once more."""
    error = str(save.get("error") or "")
    name = str(save.get("path")).rpartition("/")[2]
    return error.partition(f"{name}: ")[2] or error


def _state(save: Mapping[str, Any]) -> Text:
    state = str(save.get("state"))
    text = Text(state, style=_STATES.get(state, ""))
    if save.get("withdrawn"):
        text.append(", to be gone")
    elif save.get("sent") and save.get("size"):
        text.append(f" {100 * int(save['sent']) // int(save['size'])} %")
    return text
