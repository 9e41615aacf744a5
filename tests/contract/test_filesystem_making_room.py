"""What has to make room in a full field, goes where that is refused, and stands again where it stood."""

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from trio.testing import wait_all_tasks_blocked

from aerofs.content.operations import OPERATION, Operation, Secured
from aerofs.errors import AerofsError, DeniedError, NoSpaceError, QuotaError
from aerofs.model import AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, queued, until

FIELD = "invoice/1/few"
OLD, OTHER = f"{FIELD}/a.txt", f"{FIELD}/b.txt"
ELSEWHERE = "invoice/1/scan/a.txt"


@pytest.fixture
def full(office: Office) -> Office:
    office.add(OLD, b"old")
    office.add(OTHER, b"other")
    return office


def refuse(office: Office, kind: str, *, count: int | None = None, done: bool = False) -> None:
    office.sandbox.add_fault(Fault(kind, "status", status=403, count=count, done=done))


async def test_a_save_for_which_nothing_may_make_room_is_discarded_like_any_other(full: Office) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        refuse(full, "delete")
        with pytest.raises(DeniedError):
            await drive.write(OLD, b"new")
        (save,) = drive.filesystem.saves()
        assert save["state"] == "held"
        assert await drive.shown(FIELD) == {"a.txt": b"new", "b.txt": b"other"}
        await drive.filesystem.waiting.discard(save["id"])
        assert await drive.shown(FIELD) == {"a.txt": b"old", "b.txt": b"other"}
        drive.assert_nothing_left()


async def test_such_a_save_is_tried_again_from_the_start(full: Office) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        refuse(full, "delete", count=1)
        with pytest.raises(DeniedError):
            await drive.write(OLD, b"new")
        (save,) = drive.filesystem.saves()
        await drive.filesystem.waiting.retry(save["id"])
        await drive.drained()
        assert full.stored() == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_a_rename_for_which_nothing_may_make_room_leaves_the_names_as_they_were(full: Office) -> None:
    async with full.mounted() as drive:
        assert await drive.shown(FIELD) == {"a.txt": b"old", "b.txt": b"other"}
        refuse(full, "delete")
        with pytest.raises(DeniedError):
            await drive.rename(OLD, OTHER)
        assert await drive.shown(FIELD) == {"a.txt": b"old", "b.txt": b"other"}
        drive.assert_nothing_left()


async def test_what_was_deleted_though_that_was_refused_stands_again(full: Office) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        refuse(full, "delete", count=1, done=True)
        with pytest.raises(DeniedError):
            await drive.write(OLD, b"new")
        assert full.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
        assert await drive.shown(FIELD) == {"a.txt": b"new", "b.txt": b"other"}
        (save,) = drive.filesystem.saves()
        await drive.filesystem.waiting.discard(save["id"])
        assert await drive.shown(FIELD) == {"a.txt": b"old", "b.txt": b"other"}
        drive.assert_nothing_left()


@pytest.mark.parametrize("refused", [False, True])
async def test_what_made_room_stands_again_where_it_stood_though_the_save_went_elsewhere(
    full: Office, *, refused: bool
) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        refuse(full, "save", count=2)  # neither the new nor the old one
        await queued(drive, OLD, b"new")
        assert full.stored() == [("1/few/b.txt", b"other")]
        full.sandbox.clear_faults()
        if refused:
            refuse(full, "save", count=1)
        await drive.rename(OLD, ELSEWHERE)
        if refused:
            await until(lambda: drive.states() == {"a.txt": "held"})
            assert full.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
            assert await drive.shown("invoice/1/scan") == {"a.txt": b"new"}
            (save,) = drive.filesystem.saves()
            await drive.filesystem.waiting.retry(save["id"])
        await drive.drained()
        assert full.stored() == [("1/few/b.txt", b"other"), ("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


def test_a_row_of_an_older_journal_puts_back_where_it_is_to_stand_itself() -> None:
    place = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("few"))
    secured = Secured("y.secured", AttachmentId("a1"), "a.txt")
    row = Operation(
        place=place, path="d/1/few/a.txt", file_name="a.txt", title="a.txt", size=3, secured=secured
    )
    older = json.loads(OPERATION.dump_json(row))
    del older["secured"]["place"]
    assert OPERATION.validate_python(older) == row


async def test_a_colleague_who_replaces_what_was_to_make_room_keeps_the_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = office.add(OLD, b"old")
    office.add(OTHER, b"other")
    async with office.mounted() as drive:
        await drive.find(OLD)
        asked = drive.network.handle_async_request

        async def faster(request: httpx.Request) -> httpx.Response:
            if request.method == "DELETE" and ("1/few/a.txt", b"old") in office.stored("1/few"):
                office.sandbox.platform.remove_attachment(base)
                office.add(OLD, b"theirs")
            return await asked(request)

        monkeypatch.setattr(drive.network, "handle_async_request", faster)
        with pytest.raises(QuotaError):
            await drive.write(OLD, b"new")
        assert drive.states() == {"a.txt": "held"}
        theirs = [("1/few/a.txt", b"theirs"), ("1/few/b.txt", b"other")]
        assert office.stored("1/few") == theirs
        assert [file.suffix for file in drive.store.drafts.iterdir()] == [".draft"]
        (save,) = drive.filesystem.saves()
        await drive.filesystem.waiting.discard(save["id"])
        assert office.stored("1/few") == theirs
        assert await drive.read(OLD) == b"theirs"
        drive.assert_nothing_left()


# -- what made room, and came back without our hearing of it ---------------------------------------------------------


async def _put_back_unheard(office: Office, drive: Drive) -> None:
    """A save that was refused in a full field; the answer to putting the old version back is lost."""
    office.sandbox.add_fault(Fault("save", "status", status=403))
    office.sandbox.add_fault(Fault("save", "drop_answer"))
    await queued(drive, OLD, b"new")
    assert office.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
    office.sandbox.clear_faults()


async def test_a_removal_takes_the_old_version_along_that_was_put_back_unheard(full: Office) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        await _put_back_unheard(full, drive)
        await drive.remove(OLD)
        await drive.drained()
        assert full.stored() == [("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_an_old_version_that_was_put_back_unheard_goes_when_there_is_room_for_both(
    full: Office,
) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        await _put_back_unheard(full, drive)
        full.tidy_up("1/few", b"other")
        await drive.drained()
        assert full.stored() == [("1/few/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_what_cannot_be_moved_into_a_full_field_leaves_nothing_behind(office: Office) -> None:
    office.add(OLD, b"old")
    source = office.add(OTHER, b"other")
    async with office.mounted() as drive:
        await drive.names(FIELD)
        drive.network.away = True
        await drive.rename(OTHER, OLD)
        office.sandbox.platform.remove_attachment(source)
        office.add(OTHER, b"theirs")
        await drive.back()
        (save,) = drive.filesystem.saves()
        assert save["state"] == "held"
        for _ in range(2):
            await drive.filesystem.waiting.retry(save["id"])
            await drive.drained()
        assert list(drive.store.drafts.iterdir()) == []
        assert office.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"theirs")]


@pytest.mark.complains
async def test_nothing_makes_room_that_the_journal_does_not_have(
    full: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with full.mounted() as drive:
        await drive.read(OLD)
        record = drive.store.journal.record

        async def too_full(row: Operation, **given: Any) -> Operation:
            if row.secured is not None:
                raise NoSpaceError("the local disk is full")
            return await record(row, **given)

        async def no_step(_row: Operation, **_given: Any) -> None:
            raise NoSpaceError("the local disk is full")

        monkeypatch.setattr(drive.store.journal, "record", too_full)
        monkeypatch.setattr(drive.store.journal, "step", no_step)
        with suppress(AerofsError):
            await drive.write(OLD, b"new")
        for _ in range(2):
            drive.filesystem.retry()
            await until(lambda: all(save["state"] == "queued" for save in drive.filesystem.saves()))
            await wait_all_tasks_blocked()
        assert full.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
        monkeypatch.undo()
        drive.filesystem.retry()
        await drive.drained()
        assert full.stored() == [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("died", [False, True])
async def test_room_that_was_made_is_kept_for_who_made_it(full: Office, *, died: bool) -> None:
    new = f"{FIELD}/c.txt"
    async with full.mounted(rename_wait=0.1, close_wait=0) as drive:
        await drive.names(FIELD)
        full.sandbox.add_fault(Fault("save", "status", status=503, count=None))
        await drive.rename(OLD, OTHER)
        await until(lambda: full.stored() == [("1/few/a.txt", b"old")])
        await drive.write(new, b"new")
        await wait_all_tasks_blocked()
        full.sandbox.clear_faults()
        if not died:
            drive.filesystem.retry()
            await drive.drained()
        full.copy_disk("state", "dead")
    async with full.mounted("dead") as drive:
        await drive.drained()
        assert full.stored() == [("1/few/b.txt", b"old"), ("1/few/c.txt", b"new")]
        drive.assert_nothing_left()
