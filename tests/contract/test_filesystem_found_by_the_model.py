"""What the state machine of `tests/properties` found, each in as few steps as it takes."""

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from aerofs.content.conflicts import conflict_title
from aerofs.errors import DeniedError
from aerofs.namespace.names import apart
from aerofs.sandbox import Fault, Variants
from aerofs.sandbox.faults import Action
from tests.contract.conftest import DEFINITION, Office, queued

A = "invoice/1/scan/a.txt"
B = "invoice/1/copies/a.txt"


async def test_a_file_renamed_over_a_queued_save_shows_nothing_of_what_that_was_to_replace(
    office: Office,
) -> None:
    office.add(A, b"one")
    office.add(B, b"old")
    async with office.mounted() as drive:
        assert await drive.read(A) == b"one"
        assert await drive.read(B) == b"old"
        drive.network.away = True
        await queued(drive, B, b"new")
        await drive.rename(A, B)
        assert await drive.names("invoice/1/copies") == ["a.txt"]
        await drive.back()
        assert await drive.names("invoice/1/copies") == ["a.txt"]
        assert office.stored() == [("1/copies/a.txt", b"one")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("platform", [(), ("no-sizes",)], ids=" ".join)
@pytest.mark.parametrize("lie", ["html", "shorten"])
async def test_other_bytes_than_the_files_do_not_make_our_own_file_a_strangers(
    office: Office, lie: Action, platform: tuple[str, ...]
) -> None:
    office.sandbox.variants = Variants.named(*platform)
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        office.sandbox.add_fault(Fault("download", lie))
        await queued(drive, A, b"once")
        await drive.drained()
        assert office.take_requests()["save"] == 1
        assert office.stored() == [("1/scan/a.txt", b"once")]
        drive.assert_nothing_left()


async def test_a_file_that_was_moved_on_from_a_held_move_can_be_removed(office: Office) -> None:
    original = office.add(A, b"one")
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.names("invoice/1/scan")
        drive.network.away = True
        await drive.rename(A, B)
        office.sandbox.platform.remove_attachment(original)
        await drive.back()
        assert drive.states() == {"a.txt": "held"}
        await drive.rename(B, "invoice/1/scan/b.txt")
        await drive.remove("invoice/1/scan/b.txt")
        await drive.drained()
        drive.assert_nothing_left()


async def test_a_move_that_is_refused_while_its_file_is_removed_does_not_refuse_the_removal(
    office: Office,
) -> None:
    original = office.add(A, b"one")
    async with office.mounted(rename_wait=0.5) as drive:
        await drive.names("invoice/1/scan")
        with office.sandbox.hold("copy") as hold:
            await drive.rename(A, B)
            await hold.arrived()
            office.sandbox.platform.remove_attachment(original)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drive.remove, B)
                await wait_all_tasks_blocked(0.05)
                hold.release()
        await drive.drained()
        assert office.stored() == []
        drive.assert_nothing_left()


def test_the_time_of_a_conflict_is_no_extension() -> None:
    ours = conflict_title("notes", datetime(2026, 11, 23, 14, 5, tzinfo=UTC))
    assert conflict_title(ours, datetime(2026, 11, 23, 14, 6, tzinfo=UTC)).startswith(f"{ours} (conflict ")
    assert apart("0123456789", ours, {}) == f"{ours} (456789)"


async def test_a_strangers_file_that_goes_while_ours_is_looked_for_holds_no_save(office: Office) -> None:
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        theirs = office.add(A, b"they")
        office.sandbox.add_fault(Fault("save", "drop_answer"))
        await queued(drive, A, b"ours")
        async with trio.open_nursery() as nursery:
            with office.sandbox.hold("download") as hold:
                nursery.start_soon(drive.drained)
                await hold.arrived()
                office.sandbox.platform.remove_attachment(theirs)
        assert office.stored() == [("1/scan/a.txt", b"ours")]
        drive.assert_nothing_left()


async def test_a_version_that_went_while_it_was_put_aside_does_not_hold_up_a_new_one(office: Office) -> None:
    original = office.add(A, b"old")
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        await drive.rename(A, f"{A}~")
        office.sandbox.platform.remove_attachment(original)
        await drive.write(A, b"new")
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        assert office.stored() == [("1/scan/a.txt", b"new")]
        drive.assert_nothing_left()


async def test_a_file_whose_move_is_held_because_its_source_is_gone_can_be_removed_after_a_crash(
    office: Office,
) -> None:
    original = office.add(A, b"one")
    async with office.mounted("alive", rename_wait=0.2) as drive:
        await drive.names("invoice/1/scan")
        drive.network.away = True
        await drive.rename(A, B)
        office.copy_disk("alive", "dead")
    office.sandbox.platform.remove_attachment(original)
    async with office.mounted("dead") as drive:
        await drive.drained()
        assert drive.states() == {"a.txt": "held"}
        await drive.remove(B)
        await drive.drained()
        drive.assert_nothing_left()


async def test_what_was_written_under_a_local_name_is_saved_though_an_earlier_save_of_the_file_waits(
    office: Office,
) -> None:
    async with office.mounted() as drive:
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(DeniedError):
            await drive.write(A, b"one")
        await drive.rename(A, f"{A}~")
        await drive.write(f"{A}~", b"two")
        await drive.rename(f"{A}~", B)
        await drive.drained()
        assert office.stored() == [("1/copies/a.txt", b"two")]
        drive.assert_nothing_left()


async def test_a_file_put_aside_has_its_local_name_again_after_a_rename_that_was_refused(
    office: Office,
) -> None:
    office.add(A, b"one")
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        await drive.rename(A, f"{A}~")
        office.sandbox.add_fault(Fault("delete", "status", status=403))
        with pytest.raises(DeniedError):
            await drive.rename(f"{A}~", B)
        assert await drive.names("invoice/1/scan") == ["a.txt~"]
        assert await drive.names("invoice/1/copies") == []
        assert office.stored() == [("1/scan/a.txt", b"one")]
        await drive.rename(f"{A}~", A)
        assert await drive.read(A) == b"one"
        drive.assert_nothing_left()


async def test_nothing_is_left_of_a_refused_rename_over_a_save_that_settles_at_that_moment(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "invoice/1/scan/b.txt"
    async with office.mounted() as drive:
        await drive.write(A, b"one")
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(DeniedError):
            await drive.write(other, b"two")
        removed, settled = drive.store.journal.remove, trio.Event()

        async def remove(row: int, **rest: Any) -> None:
            await removed(row, **rest)
            if rest.get("durable"):  # the rename is given up
                with trio.fail_after(5):
                    await settled.wait()
            else:
                settled.set()

        monkeypatch.setattr(drive.store.journal, "remove", remove)
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(DeniedError):
            await drive.rename(A, other)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", b"one"), ("1/scan/b.txt", b"two")]
        drive.assert_nothing_left()


@pytest.mark.parametrize("refused", [False, True], ids=["", "refused"])
async def test_ours_stands_beside_theirs_in_a_full_field_though_a_file_made_room_for_it(
    office: Office, *, refused: bool
) -> None:
    old, new = "invoice/1/few/b.txt", "invoice/1/few/a.txt"
    office.add(old, b"old")
    office.add(new, b"was there")
    async with office.mounted(rename_wait=0.2) as drive:
        await drive.names("invoice/1/few")
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(DeniedError):
            await drive.write(new, b"held")  # what was there made room, and stands again under a new id
        drive.network.away = True
        await drive.rename(old, new)
        await queued(drive, new, b"ours")
        (was_there,) = (
            each.id
            for each in office.sandbox.platform.attachments(DEFINITION, office.documents["1"], "few")
            if each.name == "a.txt"
        )
        office.sandbox.platform.remove_attachment(was_there)
        office.add(new, b"theirs")
        if refused:  # then it stands under its first name again
            office.sandbox.add_fault(Fault("save", "status", status=403, after=1))
        await drive.back()
        assert sorted(data for _, data in office.stored("1/few")) == [b"ours", b"theirs"]
        if refused:
            assert drive.states() == {"a.txt": "held"}
            drive.filesystem._uploads.retry(held=True)
            await wait_all_tasks_blocked(0.05)
            await drive.drained()
        (conflict, ours), (place, data) = office.stored("1/few")
        assert conflict.startswith("1/few/a (conflict ")
        assert (ours, place, data) == (b"ours", "1/few/a.txt", b"theirs")
        assert drive.store.journal.load() == []
        assert list(drive.store.drafts.iterdir()) == []
