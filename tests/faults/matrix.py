"""One cell of the fault matrix: an act, a request that fails, and everything that must hold all the while.

A cell that breaks a promise raises; of the others the `Outcome` is what is told in the docs.
"""

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import trio

from aerofs.errors import AerofsError
from aerofs.namespace.generations import HORIZON
from tests.contract.conftest import Drive
from tests.faults.acts import Act
from tests.faults.lab import Gate, Lab, kind_of, neighbours, shown
from tests.faults.strikes import EVERYTHING, Strike

OUTAGE = 120.0
"""Seconds of a failure that lasts: longer than the bound of every call."""
BOUNDS = {"save": 61.0, "rename": 10.5, "unlink": 35.5, "read": 65.0, "look": 125.0}
"""Seconds that an act may take, by family. A look is a call for each part of the path, each with its own deadline."""
UNCLEAR = ("EIO", "ETIMEDOUT")
"""What a call says that does not know what became of its request."""


@dataclass(frozen=True)
class Cell:
    """An act, the kind of request that fails, how, and whether it goes on failing."""

    act: Act
    kind: str
    strike: Strike
    lasts: bool

    def __str__(self) -> str:
        return f"{self.act.name} / {self.kind} / {self.strike.words} / {'lasting' if self.lasts else 'once'}"


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        said: What the call answered: "0" or the name of an errno.
        took: Seconds that it took.
        waits: What `aerofs status` showed right after it: "queued", "held" or nothing.
        stands: In the end: "done", "as before", "both"; "by hand" is done once the user had it tried again.
        requests: Until everything was settled, those besides that only ask whether anybody is there.
    """

    said: str
    took: float
    waits: str
    stands: str
    requests: int


@dataclass
class Watch:
    """What must hold at every moment of a cell; it is looked at before every request, and at the end."""

    lab: Lab
    act: Act
    accepted: bool = field(default=False, init=False)

    def look(self) -> None:
        """Check it now.

        Raises:
            AssertionError: A promise is broken.
        """
        act, stored = self.act, self.lab.stored(self.act)
        for path, data in neighbours(act).items():
            assert (path, data) in stored, f"{path} was touched"
        old, new = set(act.before.values()), set(act.after.values())
        standing = {data for path, data in stored if path not in neighbours(act)}
        assert standing <= old | new, "wrong bytes on the platform"
        if act.family == "unlink":
            return
        kept = standing | self._on_this_disk()
        if act.family == "save":
            assert not old or kept & old or standing & new, (
                "the old version is gone before the new one stands"
            )
            assert not self.accepted or kept & new, "the save is nowhere"
        else:
            assert kept >= new, "bytes are lost"

    def _on_this_disk(self) -> set[bytes]:
        drafts = self.lab.office.disk / "state" / "drafts"
        return {path.read_bytes() for path in drafts.iterdir()}


async def tried(here: Lab, cell: Cell) -> Outcome:
    """Try a cell.

    Raises:
        AssertionError: A promise is broken. (Or a group of such; the note names the cell.)
    """
    try:
        return await _tried(here, cell)
    except Exception as error:
        error.add_note(f"in the cell: {cell}")
        raise


async def _tried(here: Lab, cell: Cell) -> Outcome:
    act, sandbox = cell.act, here.office.sandbox
    async with here.prepared(act) as drive:
        watch = Watch(here, act)
        refusal = await _order(drive, cell, watch.look)
        began = trio.current_time()
        said = await _said(act.does(drive))
        took = trio.current_time() - began
        assert took <= BOUNDS[act.family], f"the call took {took:.0f} s"
        waits = _waits(drive)
        watch.accepted = said == "0" or bool(waits)
        watch.look()
        if act.family == "save" and waits:
            assert act.reads is not None
            assert await drive.read(f"invoice/{act.reads[0]}") == act.reads[1], "not readable while it waits"
        if cell.lasts:
            await trio.sleep_until(began + OUTAGE)
            watch.look()
        else:
            assert [*refusal, *sandbox.faults] == [], "it was not struck"
        refusal.clear()
        sandbox.clear_faults()
        await _settled(drive)
        watch.look()
        stands = await _verdict(here, drive, cell, said=said)
        requests = (
            sandbox.requests.total() - sandbox.requests["other"]
        )  # without those that only ask who is there
        await _fresh_eyes(here, drive, act)
        drive.assert_nothing_left()
    return Outcome(said, took, waits, stands, requests)


async def _order(drive: Drive, cell: Cell, look: Callable[[], None]) -> list[str]:
    """Have the strike strike. Returns the kinds of requests that find no connection, to be changed."""
    fault = cell.strike.ordered(cell.kind, None if cell.lasts else 1)
    refused = [cell.kind] if fault is None else []
    if fault is not None:
        drive.office.sandbox.add_fault(fault)

    def pass_by(request: httpx.Request) -> None:
        look()
        if kind_of(request) in refused or EVERYTHING in refused:
            if not cell.lasts:
                refused.clear()
            raise httpx.ConnectError("refused", request=request)

    await drive.network._wire.aclose()
    drive.network._wire = Gate(pass_by)
    return refused


async def _said(doing: Awaitable[None]) -> str:
    try:
        await doing
    except AerofsError as error:
        return errno.errorcode[error.errno]
    return "0"


def _waits(drive: Drive) -> str:
    states = {
        "queued" if save["state"] == "uploading" else save["state"] for save in drive.filesystem.saves()
    }
    assert len(states) <= 1
    return str(next(iter(states), ""))


async def _settled(drive: Drive) -> None:
    """Everything that goes on by itself is through; a request in the dark may have to run into its deadline."""
    with trio.fail_after(600):
        await drive.platform.probe()
        await drive.filesystem.drain()


async def _verdict(here: Lab, drive: Drive, cell: Cell, *, said: str) -> str:
    """What stands, and whether that is what the call's answer promised."""
    act, stored = cell.act, here.stored(cell.act)
    before, after = shown(act, act.before), shown(act, act.after)
    if _waits(drive) == "held":
        assert said != "0", "the call said yes to what is held"
        assert set(stored) >= set(before), f"held, and what was there is gone: {_names(stored)}"
        drive.filesystem._uploads.retry(held=True)
        await _settled(drive)
        assert here.stored(act) == after, f"tried again by hand: {_names(here.stored(act))}"
        return "by hand"
    if stored == after:
        # Whoever is told that a removal got no answer does not know whether it was carried out.
        unknown = act.family == "unlink" and said in UNCLEAR
        assert said == "0" or unknown or act.family == "save" or before == after, "done, and the call said no"
        return "done"
    if stored == before:
        assert said != "0" or cell.strike.lie, "the call said yes, and nothing was done"
        return "as before"
    assert set(after) <= set(stored) <= {*before, *after}, f"neither done nor as before: {_names(stored)}"
    # What was added could not be taken back, because the platform lets us add and not delete.
    stuck = act.family == "rename" and said != "0" and cell.lasts
    assert cell.strike.lie or stuck, "both versions stand"
    return "both"


def _names(stored: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(path, data[:12]) for path, data in stored]


async def _fresh_eyes(here: Lab, drive: Drive, act: Act) -> None:
    """Whoever looks anew, when nothing is held against answers any more, sees what the platform has."""
    await trio.sleep(HORIZON)
    drive.filesystem.refresh()
    for place in act.fields:
        names = await drive.names(f"invoice/{place}")
        found = sorted([await drive.read(f"invoice/{place}/{name}") for name in names])
        assert found == sorted(data for _, data in here.office.stored(place)), f"shown are {names}"
