"""What had to make room in a full field, and what of a colleague's may come between two saves of ours."""

import json
import os
from contextlib import suppress

import pytest

from aerofs.content.operations import OPERATION, Operation, Secured
from aerofs.errors import AerofsError, DeniedError, UnavailableError
from aerofs.model import AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, until

OLD = "invoice/1/few/a.txt"
OTHER = "invoice/1/few/b.txt"
ELSEWHERE = "invoice/1/scan/a.txt"


@pytest.fixture
def full(office: Office) -> Office:
    office.add(OLD, b"old")
    office.add(OTHER, b"other")
    return office


async def shown(drive: Drive, field: str = "invoice/1/few") -> dict[str, bytes]:
    return {name: await drive.read(f"{field}/{name}") for name in await drive.names(field)}


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
        assert await shown(drive) == {"a.txt": b"new", "b.txt": b"other"}
        await drive.filesystem.waiting.discard(save["id"])
        assert await shown(drive) == {"a.txt": b"old", "b.txt": b"other"}
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
        assert await shown(drive) == {"a.txt": b"old", "b.txt": b"other"}
        refuse(full, "delete")
        with pytest.raises(DeniedError):
            await drive.rename(OLD, OTHER)
        assert await shown(drive) == {"a.txt": b"old", "b.txt": b"other"}
        drive.assert_nothing_left()


async def test_what_was_deleted_though_that_was_refused_stands_again(full: Office) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        refuse(full, "delete", count=1, done=True)
        with pytest.raises(DeniedError):
            await drive.write(OLD, b"new")
        assert full.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
        assert await shown(drive) == {"a.txt": b"new", "b.txt": b"other"}
        (save,) = drive.filesystem.saves()
        await drive.filesystem.waiting.discard(save["id"])
        assert await shown(drive) == {"a.txt": b"old", "b.txt": b"other"}
        drive.assert_nothing_left()


@pytest.mark.parametrize("refused", [False, True])
async def test_what_made_room_stands_again_where_it_stood_though_the_save_went_elsewhere(
    full: Office, *, refused: bool
) -> None:
    async with full.mounted() as drive:
        assert await drive.read(OLD) == b"old"
        refuse(full, "save", count=2)  # neither the new nor the old one
        with pytest.raises(UnavailableError):
            await drive.write(OLD, b"new")
        assert full.stored() == [("1/few/b.txt", b"other")]
        full.sandbox.clear_faults()
        if refused:
            refuse(full, "save", count=1)
        await drive.rename(OLD, ELSEWHERE)
        if refused:
            await until(lambda: drive.states() == {"a.txt": "held"})
            assert full.stored() == [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")]
            assert await shown(drive, "invoice/1/scan") == {"a.txt": b"new"}
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


@pytest.mark.parametrize("again", [False, True])
async def test_a_colleague_who_replaces_a_save_of_ours_before_it_is_through_is_not_taken_for_a_bystander(
    office: Office, *, again: bool
) -> None:
    path = "invoice/1/scan/a.txt"
    async with office.mounted(document_ttl=0.1) as drive:
        office.add(path, b"base")
        assert await drive.read(path) == b"base"
        office.sandbox.add_fault(Fault("delete", "status", status=503, count=None))
        with pytest.raises(UnavailableError):
            await drive.write(path, b"ours")
        for each in office.sandbox.platform.attachments("invoice", office.documents["1"], "scan"):
            if each.data == b"ours":
                office.sandbox.platform.remove_attachment(each.id)
        office.add(path, b"theirs")
        drive.filesystem.refresh()
        await drive.names("invoice/1/scan")
        data = b"ours"
        if again:
            data = b"OURS"
            handle = await drive.open(path, os.O_WRONLY)
            await drive.filesystem.write(handle, 0, data)
        office.sandbox.clear_faults()
        if again:
            with suppress(AerofsError):
                await drive.close(handle)
        drive.filesystem.retry()
        await drive.drained()
        (conflict,) = drive.filesystem.waiting.conflicts()
        beside = conflict["ours"]
        assert office.stored() == sorted([("1/scan/a.txt", b"theirs"), (f"1/scan/{beside}", data)])


async def test_what_waited_under_a_name_is_back_where_the_rename_over_it_is_refused_in_time(
    office: Office,
) -> None:
    source, target = "invoice/1/scan/a.txt", "invoice/1/scan/b.txt"
    renamed = office.add(source, b"ex")
    office.add(target, b"why")
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        assert await drive.read(target) == b"why"
        office.sandbox.add_fault(Fault("save", "status", count=None))
        with pytest.raises(UnavailableError):
            await drive.write(target, b"why, newer")
        office.sandbox.platform.remove_attachment(renamed)
        office.sandbox.clear_faults()
        with pytest.raises(AerofsError):
            await drive.rename(source, target)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"why, newer")]
        assert await shown(drive, "invoice/1/scan") == {"b.txt": b"why, newer"}
        drive.assert_nothing_left()
