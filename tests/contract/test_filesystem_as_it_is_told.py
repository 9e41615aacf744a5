"""Sentences of SEMANTICS.md that name a number or an exception, and that no other test would miss."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from aerofs import errors
from aerofs.content.conflicts import Conflict, Conflicts
from aerofs.content.operations import Operation
from aerofs.content.recognition import could_be_ours
from aerofs.model import Attachment, AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.sandbox import Fault
from tests.contract.conftest import WRITE_NEW, Drive, Office, queued, refused, settled_down, until

A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"
C = "invoice/1/scan/c.txt"
SINGLE = "invoice/1/single/a.txt"
NOREPLACE, EXCHANGE = 1, 2


async def written(drive: Drive, path: str, data: bytes) -> int:
    handle = await drive.open(path, os.O_RDWR)
    await drive.filesystem.write(handle, 0, data)
    return handle


async def test_an_empty_file_that_stays_open_is_not_uploaded_sooner_or_much_later_than_after_two_seconds(
    office: Office,
) -> None:
    async with office.mounted() as drive:
        handle = await drive.open(A, WRITE_NEW)
        await drive.filesystem.flush(handle)
        flushed = trio.current_time()
        await until(office.stored)
        assert 2.0 <= trio.current_time() - flushed < 3.9
        await drive.close(handle)
        await drive.drained()
        drive.assert_nothing_left()


@pytest.mark.parametrize("seen", [False, True], ids=["first seen then", "seen beside ours before"])
async def test_theirs_is_shown_two_seconds_apart_from_what_ours_was_saved_at(
    office: Office, clock: MockClock, *, seen: bool
) -> None:
    """Editors compare times by the second, and the platform tells only the document's, which our save has moved."""
    base = office.add(A, b"old")
    async with office.mounted() as drive:
        handle = await written(drive, A, b"our")
        office.sandbox.platform.remove_attachment(base)
        office.add(A, b"theirs")
        await drive.close(handle)
        await drive.drained()
        ours = (await drive.find(A)).mtime_ns
        if seen:
            (beside,) = [name for name in await drive.names("invoice/1/scan") if name != "a.txt"]
            assert await drive.read(f"invoice/1/scan/{beside}") == b"theirs"
            assert (await drive.find(f"invoice/1/scan/{beside}")).mtime_ns - ours < 2_000_000_000
        await settled_down(clock)
        assert await drive.read(A) == b"theirs"
        assert abs((await drive.find(A)).mtime_ns - ours) >= 2_000_000_000


async def test_a_file_of_the_same_name_that_stood_beside_is_no_conflict(
    office: Office, clock: MockClock
) -> None:
    base = office.add(A, b"old")
    office.add(A, b"beside")
    async with office.mounted() as drive:
        assert len(await drive.names("invoice/1/scan")) == 2
        handle = await written(drive, A, b"our")
        office.sandbox.platform.remove_attachment(base)
        await drive.close(handle)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"beside"), ("1/scan/a.txt", b"our")]
        assert drive.filesystem.waiting.conflicts() == []
        await settled_down(clock)
        assert len(await drive.names("invoice/1/scan")) == 2
        drive.assert_nothing_left()


def test_the_last_hundred_conflicts_are_remembered_also_over_a_remount(tmp_path: Path) -> None:
    kept = Conflicts(tmp_path)
    for number in range(103):
        kept.note(Conflict(A, f"{number} (conflict).txt", float(number)))
    assert [each.at for each in kept] == [float(number) for number in range(3, 103)]
    assert list(Conflicts(tmp_path)) == list(kept)


def test_what_the_platform_composed_in_another_way_may_be_ours_and_another_name_is_not() -> None:
    row = Operation(
        place=FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("scan")),
        path="d/1/scan/é.txt",
        file_name="\N{LATIN SMALL LETTER E WITH ACUTE}.txt",
        title="\N{LATIN SMALL LETTER E WITH ACUTE}.txt",
        size=3,
        content="x.draft",
    )
    decomposed = Attachment(AttachmentId("1"), "e\N{COMBINING ACUTE ACCENT}.txt", size=3)
    assert could_be_ours(row, decomposed)
    assert not could_be_ours(row, replace(decomposed, name="e.txt"))
    assert not could_be_ours(row, replace(decomposed, size=4))
    assert not could_be_ours(replace(row, known=frozenset({decomposed.id})), decomposed)


@pytest.mark.parametrize("beside", [False, True], ids=["the version that was opened", "a sibling"])
async def test_what_stood_before_with_our_name_and_bytes_is_not_taken_for_what_was_sent(
    office: Office, *, beside: bool
) -> None:
    before = [office.add(A, b"old" if beside else b"same")]
    if beside:
        before.append(office.add(A, b"same"))
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        office.sandbox.add_fault(Fault("save", "cut"))
        await queued(drive, A, b"same")
        drive.filesystem.retry()
        await drive.drained()
        standing = office.sandbox.platform.attachments("invoice", office.documents["1"], "scan")
        assert [each.data for each in standing] == [b"same"] * len(before)
        assert {each.id for each in standing} & set(before) == set(before[1:])
        drive.assert_nothing_left()


async def test_a_field_of_one_file_that_holds_another_besides_loses_neither_to_a_save(office: Office) -> None:
    """Its maximum was lowered, or the platform let two in: `replace` would take both."""
    office.add(SINGLE, b"old")
    async with office.mounted() as drive:
        await drive.find(SINGLE)
        office.add("invoice/1/single/b.txt", b"theirs")
        office.take_requests()
        with pytest.raises(errors.QuotaError):
            await drive.write(SINGLE, b"new")
        assert office.stored() == [("1/single/a.txt", b"old"), ("1/single/b.txt", b"theirs")]
        assert "delete" not in office.take_requests()
        assert drive.states() == {"a.txt": "held"}
        assert await drive.read(SINGLE) == b"new"


async def test_a_rename_that_may_replace_nothing_replaces_nothing(office: Office) -> None:
    office.add(A, b"a")
    office.add(B, b"b")
    async with office.mounted() as drive:
        with pytest.raises(errors.ExistsError):
            await drive.rename(A, B, NOREPLACE)
        with pytest.raises(errors.InvalidNameError):
            await drive.rename(A, B, EXCHANGE)
        assert office.stored() == [("1/scan/a.txt", b"a"), ("1/scan/b.txt", b"b")]
        await drive.rename(A, "invoice/1/scan/c.txt", NOREPLACE)
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"b"), ("1/scan/c.txt", b"a")]
        drive.assert_nothing_left()


async def test_a_save_that_is_held_is_tried_when_its_file_is_renamed_also_after_a_crash(
    office: Office,
) -> None:
    office.add(C, b"old")
    async with office.mounted(close_wait=0, rename_wait=0.2) as drive:
        await drive.find(C)
        await refused(drive, A, b"new")
        with office.sandbox.hold("save") as save:
            await drive.write(C, b"first")
            await save.arrived()
            await drive.rename(A, B)  # its turn has not come
            office.copy_disk("state", "crashed")
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new"), ("1/scan/c.txt", b"first")]
        drive.assert_nothing_left()
    office.clear()
    async with office.mounted("crashed") as drive:
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", b"new"), ("1/scan/c.txt", b"first")]
        drive.assert_nothing_left()
