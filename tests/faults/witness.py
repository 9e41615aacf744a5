"""The sandbox, with a record of who was told of which attachment, who added and who removed it.

`python -m tests.faults.witness --data DIR --port N --store-port N --record FILE --callers TOKEN…`. The record: lines of
JSON, in the order in which things happened, each written before the caller hears of it: `added` (with the MD5 of the
bytes), `told` (the first time that an answer to this caller names the attachment), `removed`.
"""

import argparse
import hashlib
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import trio

from aerofs.sandbox import SandboxConfig, api, calls, records, serving
from aerofs.sandbox.access import Access
from aerofs.sandbox.database import AttachmentRow
from tests.faults.diary import Diary

_caller: ContextVar[str] = ContextVar("caller", default="")


class Witness:
    """Stands behind the calls of the sandbox and writes down what they do."""

    def __init__(self, record: Path) -> None:
        self._diary = Diary(record)
        self._told: set[tuple[str, str]] = set()

    def watch(self) -> None:
        """Take the places."""
        for owner, name, watched in (
            (api, "admitted", self._knowing_the_caller),
            (records, "attachment_json", self._telling),
            (calls.Call, "_attachment", self._telling),
            (records.Records, "attach", self._adding),
            (records.Records, "detach", self._removing),
        ):
            setattr(owner, name, watched(getattr(owner, name)))

    def _note(self, what: str, **more: str) -> None:
        self._diary.note(what=what, who=_caller.get(), at=time.monotonic(), **more)

    def _knowing_the_caller(self, admitted: Callable[..., Access]) -> Callable[..., Access]:
        def wrapped(sandbox: Any, exchange: Any, **more: Any) -> Access:
            access = admitted(sandbox, exchange, **more)
            _caller.set(exchange.headers["authorization"].partition(" ")[2])
            return access

        return wrapped

    def _telling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            (row,) = (arg for arg in args if isinstance(arg, AttachmentRow))
            if (_caller.get(), row.id) not in self._told:
                self._told.add((_caller.get(), row.id))
                self._note("told", id=row.id)
            return function(*args, **more)

        return wrapped

    def _adding(self, function: Callable[..., list[AttachmentRow]]) -> Callable[..., list[AttachmentRow]]:
        def wrapped(platform: records.Records, *args: Any, **more: Any) -> list[AttachmentRow]:
            added = function(platform, *args, **more)
            for row in added:
                md5 = hashlib.md5(platform.content(row).read_bytes(), usedforsecurity=False).hexdigest()
                place = f"{row.document}/{row.path}"
                self._note("added", id=row.id, md5=md5, place=place, name=row.name)
            return added

        return wrapped

    def _removing(self, function: Callable[..., None]) -> Callable[..., None]:
        def wrapped(platform: records.Records, row: AttachmentRow) -> None:
            self._note("removed", id=row.id)
            function(platform, row)

        return wrapped


async def _serve(config: SandboxConfig) -> None:
    async with serving(config) as sandbox:
        print(f"URL {sandbox.url}", flush=True)  # noqa: T201  as the sandbox does
        await trio.sleep_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    for name, kind in (("--data", Path), ("--port", int), ("--store-port", int), ("--record", Path)):
        parser.add_argument(name, type=kind, required=True)
    parser.add_argument("--callers", nargs="+", required=True)
    given = parser.parse_args()
    Witness(given.record).watch()
    tokens = {token: Access() for token in given.callers}
    config = SandboxConfig(data_dir=given.data, port=given.port, store_port=given.store_port, tokens=tokens)
    trio.run(_serve, config)


if __name__ == "__main__":
    main()
