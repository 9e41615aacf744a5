"""The power fails at every request of every operation, and when all is done: the right bytes, once, nothing to decide.

The platform keeps what it got; the disk keeps what was synced. What stands in the end is what the operation means.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from aerofs.errors import AerofsError
from aerofs.sandbox import Fault, Variants
from tests.contract.conftest import Drive, Office, queued, until
from tests.contract.power import KINDS, Power
from tests.contract.test_filesystem_crashes import STORIES, A, B, Story, _plain

Act = Callable[[Drive], Awaitable[object]]


async def _unlinked_while_saved(drive: Drive) -> None:
    """The removal comes while the save is under way; `rm` is through when it returns."""
    await drive.find(A)
    async with trio.open_nursery() as nursery:
        with drive.office.sandbox.hold("save") as hold:
            nursery.start_soon(drive.write, A, b"new")
            await hold.arrived()
            nursery.start_soon(drive.remove, A)
            await until(lambda: any(work.row.cancelled for work in drive.filesystem._uploads))


async def _saved_and_removed(drive: Drive) -> None:
    await drive.write(A, b"new")
    await drive.remove(A)


async def _saved_and_renamed(drive: Drive) -> None:
    await drive.write(A, b"new")
    await drive.rename(A, B)


async def _written_on(drive: Drive) -> None:
    """A shell's `{ a; b; } > x`: one handle is saved, written again, and the second part never saved."""
    handle = await drive.open(A, os.O_WRONLY | os.O_CREAT)
    await drive.filesystem.write(handle, 0, b"one")
    await drive.filesystem.flush(handle)
    await drive.filesystem.write(handle, 0, b"tw")


CASES = {
    name: STORIES[name]
    for name in (
        "a new file",
        "an overwritten file",
        "two versions",
        "the only file of a field for one",
        "a file of a full field",
        "silent saves",
        "a rename in a field",
        "a rename over a file",
        "a move",
        "a silent move",
        "a move over a file",
        "a move over a file of a full field",
        "a temporary file renamed over the original",
        "a move of a new version",
        "a version that somebody else replaced",
    )
} | {
    "a file unlinked while it is saved": Story(
        [("1/scan/a.txt", b"old")], _unlinked_while_saved, [], between=[("1/scan/a.txt", b"new")]
    ),
    "a save and a removal": Story([], _saved_and_removed, [], between=[("1/scan/a.txt", b"new")]),
    "a save and a rename": Story(
        [], _saved_and_renamed, [("1/scan/b.txt", b"new")], between=[("1/scan/a.txt", b"new")]
    ),
    "a file that is written on": Story([], _written_on, [("1/scan/a.txt", b"one")]),
}


@asynccontextmanager
async def _acted(office: Office, story: Story, power: Power, kind: str, after: int) -> AsyncIterator[bool]:
    """Do it until that many requests were made; False where it needs fewer, and the power fails at the end."""
    async with office.mounted("alive") as drive, trio.open_nursery() as nursery:
        for document in office.documents:
            for path in {name.rpartition("/")[0] for name, _ in (*story.before, *story.after)}:
                if path.startswith(document):
                    await drive.names(f"invoice/{path}")
        done = trio.Event()

        async def act() -> None:
            with suppress(AerofsError):
                await story.act(drive)
                await drive.drained()
            done.set()

        def lose() -> None:
            power.lose(office.disk / "dead", kind)

        drive.network.cut(after, answered=True, crashed=lose)
        nursery.start_soon(act)
        await until(lambda: done.is_set() or drive.network.reached.is_set())
        nursery.cancel_scope.cancel()
        if done.is_set():
            lose()
        yield not done.is_set()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
async def test_a_loss_of_power_at_any_request_leaves_the_work_done_once(
    office: Office, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    story = CASES[name]
    if story.variants:
        office.sandbox.variants = Variants.named(*story.variants)
    for after in range(20):
        office.start_over(story.before)
        with monkeypatch.context() as patched:
            power = Power(office.disk / "alive", patched)
            async with _acted(office, story, power, kind, after) as struck:
                pass
        when = f"power lost at request {after + 1}" if struck else "power lost at the end"
        async with office.mounted("dead") as drive:
            await drive.drained()
            found = office.stored()
            assert _plain(found) in (story.after, story.between if struck else story.after), when
            for path, data in found:
                if sum(other == path for other, _ in found) == 1:
                    assert await drive.read(f"invoice/{path}") == data, when
            assert drive.filesystem.saves() == [], when
            drive.assert_nothing_left()
        if not struck:
            return
    pytest.fail("it never came to an end")


async def test_a_save_costs_two_syncs(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the draft, with its label and its name, one of the journal; all else waits for the next."""
    monkeypatch.setattr(os, "fdatasync", None)  # nobody uses it
    power = Power(office.disk / "state", monkeypatch)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan")
        for act, cost in (
            (drive.write(A, b"a new file"), ["draft", "commit"]),
            (drive.write(A, b"an overwritten file"), ["draft", "commit"]),
            (drive.write(B, b"another"), ["draft", "commit"]),
        ):
            before, power.syncs[:] = drive.store.journal.syncs, []
            await act
            await drive.drained()
            assert power.syncs == cost
            assert drive.store.journal.syncs == before + 1
        power.syncs.clear()
        await drive.write("invoice/1/picture/a.txt", b"where images are made smaller")
        await drive.drained()
        assert power.syncs == ["draft", "commit", "commit"]  # that it is sent, before it is sent
        power.syncs.clear()
        await drive.rename(A, "invoice/2/scan/a.txt")
        await drive.drained()
        assert power.syncs == ["commit", "commit"]


# -- a file put aside --------------------------------------------------------------------------------------------------

FIELD, BACKUP = A.rpartition("/")[0], f"{B}~"


async def _version_put_aside(drive: Drive) -> None:
    """An editor's backup is the old file itself."""
    drive.office.add(B, b"old b")
    await drive.rename(B, BACKUP)


async def _version_put_aside_and_kept(drive: Drive) -> None:
    """Somebody wrote to the backup in the meantime."""
    drive.office.add(B, b"older")
    handle = await drive.open(B, os.O_RDWR)
    await drive.rename(B, BACKUP)
    await drive.filesystem.write(handle, 0, b"old b")
    await drive.close(handle)


async def _queued_save_put_aside(drive: Drive) -> None:
    drive.office.sandbox.add_fault(Fault("save", "status", status=503, count=None))
    await queued(drive, B, b"old b")
    await drive.rename(B, BACKUP)
    drive.office.sandbox.clear_faults()


ASIDE = {
    "what the platform has": _version_put_aside,
    "what was written since": _version_put_aside_and_kept,
    "a save that waits": _queued_save_put_aside,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ASIDE)
async def test_a_file_put_aside_outlives_the_power(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """The platform has it no more as soon as a new file of its name stands there."""
    with monkeypatch.context() as patched:
        power = Power(tmp_path / "alive", patched)
        async with office.mounted("alive") as drive:
            await ASIDE[name](drive)
            await drive.write(B, b"new b")
            await drive.drained()
            assert office.stored() == [("1/scan/b.txt", b"new b")]
            power.lose(tmp_path / "dead", kind)
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert await drive.names(FIELD) == ["b.txt", "b.txt~"]
        assert await drive.read(BACKUP) == b"old b"
        assert await drive.read(B) == b"new b"
        assert office.stored() == [("1/scan/b.txt", b"new b")]


async def test_a_save_behind_a_backup_costs_three_syncs(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the backup needs none of its own: it is older than that of the save, in the same log."""
    office.add(B, b"old b")
    with monkeypatch.context() as patched:
        power = Power(tmp_path / "state", patched)
        async with office.mounted() as drive:
            for _ in range(2):
                power.syncs.clear()
                await drive.rename(B, BACKUP)
                await drive.write(B, b"new b")
                await drive.drained()
                assert power.syncs == ["draft", "draft", "commit"]
