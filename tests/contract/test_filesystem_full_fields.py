"""Fields with a maximum, with room for one, and Required ones: the table of what every operation does there.

`few` admits two files and holds two, `single` and `passport` admit one and hold one, `contract` and `passport` are
Required. What stands beside (`b.txt`) is looked for in every case.
"""

import os
from collections.abc import Awaitable, Callable

import pytest
import trio

from aerofs import errors
from aerofs.errors import AerofsError, DeniedError
from aerofs.sandbox import Fault
from tests.contract.conftest import Drive, Office, queued, until

Files = dict[str, bytes]
FULL: dict[str, Files] = {
    "few": {"a.txt": b"old", "b.txt": b"other"},
    "single": {"a.txt": b"old"},
    "contract": {"a.txt": b"old"},
    "passport": {"a.txt": b"old"},
}
X = "invoice/1/scan/x.txt"


def filled(office: Office, field: str) -> None:
    for name, data in FULL[field].items():
        office.add(f"invoice/1/{field}/{name}", data)
    office.add(X, b"from elsewhere")


def held(office: Office, field: str) -> Files:
    found = office.stored(f"1/{field}")
    names = [place.rpartition("/")[2] for place, _ in found]
    assert len(set(names)) == len(names), names
    return {place.rpartition("/")[2]: data for place, data in found}


def instead(field: str, **changes: bytes | None) -> Files:
    """What the field held at first, with changes; None: gone."""
    found = {**FULL[field], **{f"{name}.txt": data for name, data in changes.items() if data is not None}}
    return {
        name: data for name, data in found.items() if changes.get(name.removesuffix(".txt"), b"") is not None
    }


# -- what is done ------------------------------------------------------------------------------------------------------


def new(drive: Drive, path: str) -> Awaitable[object]:
    """`cp` from another disk, or from another field: the kernel makes a new file of both."""
    return drive.write(f"{path}/c.txt", b"new")


def overwrite(drive: Drive, path: str) -> Awaitable[object]:
    return drive.write(f"{path}/a.txt", b"new")


async def by_temporary(drive: Drive, path: str) -> None:
    await drive.write(f"{path}/a.txt.part", b"new")
    await drive.rename(f"{path}/a.txt.part", f"{path}/a.txt")


async def with_backup(drive: Drive, path: str) -> None:
    await drive.rename(f"{path}/a.txt", f"{path}/a.txt~")
    await drive.write(f"{path}/a.txt", b"new")
    await drive.remove(f"{path}/a.txt~")


def rename(drive: Drive, path: str) -> Awaitable[object]:
    return drive.rename(f"{path}/a.txt", f"{path}/c.txt")


def rename_into(drive: Drive, path: str) -> Awaitable[object]:
    return drive.rename(X, f"{path}/x.txt")


def rename_over(drive: Drive, path: str) -> Awaitable[object]:
    return drive.rename(X, f"{path}/a.txt")


def rename_out(drive: Drive, path: str) -> Awaitable[object]:
    return drive.rename(f"{path}/a.txt", "invoice/2/scan/a.txt")


def remove(drive: Drive, path: str) -> Awaitable[object]:
    return drive.remove(f"{path}/a.txt")


Act = Callable[[Drive, str], Awaitable[object]]
Outcome = type[AerofsError] | dict[str, bytes | None]
QUOTA, REFUSED = errors.QuotaError, errors.RefusedError
NEW: dict[str, bytes | None] = {"a": b"new"}
MOVED: dict[str, bytes | None] = {"a": b"from elsewhere"}
GONE: dict[str, bytes | None] = {"a": None}

TABLE: list[tuple[Act, dict[str, Outcome]]] = [
    (new, {"few": QUOTA, "single": QUOTA, "contract": {"c": b"new"}, "passport": QUOTA}),
    (overwrite, {"few": NEW, "single": NEW, "contract": NEW, "passport": NEW}),
    (by_temporary, {"few": NEW, "single": NEW, "contract": NEW, "passport": NEW}),
    (with_backup, {"few": NEW, "single": NEW, "contract": NEW, "passport": NEW}),
    (rename, {field: {"a": None, "c": b"old"} for field in FULL}),
    (rename_into, {"few": QUOTA, "single": QUOTA, "contract": {"x": b"from elsewhere"}, "passport": QUOTA}),
    (rename_over, {"few": MOVED, "single": MOVED, "contract": MOVED, "passport": MOVED}),
    (rename_out, {"few": GONE, "single": GONE, "contract": REFUSED, "passport": REFUSED}),
    (remove, {"few": GONE, "single": GONE, "contract": REFUSED, "passport": REFUSED}),
]
ROWS = [
    pytest.param(act, field, outcome, id=f"{act.__name__}-{field}")
    for act, outcomes in TABLE
    for field, outcome in outcomes.items()
]


@pytest.mark.parametrize(("act", "field", "outcome"), ROWS)
async def test_the_table(office: Office, act: Act, field: str, outcome: Outcome) -> None:
    filled(office, field)
    path = f"invoice/1/{field}"
    async with office.mounted() as drive:
        for each in (path, "invoice/1/scan", "invoice/2/scan"):
            await drive.names(each)
        if isinstance(outcome, dict):
            await act(drive, path)
            await drive.drained()
            expected = instead(field, **outcome)
        else:
            office.take_requests()
            with pytest.raises(outcome):
                await act(drive, path)
            if outcome is QUOTA:
                assert office.take_requests() == {}  # known before anything is sent
            await drive.drained()
            expected = FULL[field]
            assert office.stored("1/scan") == [("1/scan/x.txt", b"from elsewhere")]
            assert office.stored("2/scan") == []
        assert held(office, field) == expected
        assert await drive.names(path) == sorted(expected)
        for name, data in expected.items():
            assert await drive.read(f"{path}/{name}") == data
        drive.assert_nothing_left()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FULL)
@pytest.mark.parametrize("act", [overwrite, by_temporary, rename, rename_over])
async def test_what_the_platform_refuses_leaves_the_field_as_it_was(
    office: Office, act: Act, field: str
) -> None:
    filled(office, field)
    path = f"invoice/1/{field}"
    async with office.mounted() as drive:
        for each in (path, "invoice/1/scan"):
            for name in await drive.names(each):
                await drive.read(f"{each}/{name}")
        office.sandbox.add_fault(Fault("save", "status", status=403))
        office.sandbox.add_fault(Fault("copy", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await act(drive, path)
        await drive.drained()
        assert held(office, field) == FULL[field]
        assert office.stored("1/scan") == [("1/scan/x.txt", b"from elsewhere")]
        drive.filesystem.refresh()
        if act is overwrite:
            assert await drive.read(f"{path}/a.txt") == b"new"  # held: kept here, under its name
            assert drive.states() == {"a.txt": "held"}
            drive.filesystem._uploads.retry(held=True)
            await until(lambda: not drive.filesystem.saves())
            assert held(office, field) == instead(field, a=b"new")
        elif act is by_temporary:
            assert await drive.read(f"{path}/a.txt") == b"old"
            assert await drive.read(f"{path}/a.txt.part") == b"new"
            assert drive.states() == {"a.txt.part": "local"}
            await drive.remove(f"{path}/a.txt.part")
        else:
            assert await drive.names(path) == sorted(FULL[field])
            assert await drive.read(X) == b"from elsewhere"
            assert drive.filesystem.saves() == []
        assert await drive.names(path) == sorted(FULL[field])
        drive.assert_nothing_left()


async def test_what_was_put_back_is_not_seen_beside_the_save_that_is_held(office: Office) -> None:
    filled(office, "few")
    path = "invoice/1/few"
    async with office.mounted() as drive:
        for name in await drive.names(path):
            await drive.read(f"{path}/{name}")
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await drive.write(f"{path}/a.txt", b"new, and longer")
        await drive.drained()
        assert held(office, "few") == FULL["few"]
        for _ in range(2):
            assert await drive.names(path) == ["a.txt", "b.txt"]
            assert await drive.read(f"{path}/a.txt") == b"new, and longer"
            drive.filesystem.refresh()
        await drive.remove(f"{path}/a.txt")
        await drive.drained()
        assert held(office, "few") == {"b.txt": b"other"}
        drive.assert_nothing_left()


async def test_without_the_room_on_this_disk_nothing_is_deleted_to_make_room(office: Office) -> None:
    filled(office, "few")
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/few/a.txt", os.O_WRONLY | os.O_TRUNC)
        await drive.filesystem.write(handle, 0, b"new")
        office.sandbox.add_fault(Fault("download", "status", status=403, count=None))
        with pytest.raises(AerofsError):
            await drive.close(handle)
        assert held(office, "few") == FULL["few"]
        office.sandbox.clear_faults()
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: not drive.filesystem.saves())
        assert held(office, "few") == instead("few", a=b"new")
        drive.assert_nothing_left()


@pytest.mark.parametrize("newer", [False, True], ids=["moved", "and saved"])
async def test_where_a_colleague_replaced_the_target_the_file_that_was_moved_makes_room(
    office: Office, *, newer: bool
) -> None:
    path = "invoice/1/few"
    old = office.add(f"{path}/a.txt", b"old")
    office.add(f"{path}/b.txt", b"other")
    async with office.mounted() as drive:
        for name in await drive.names(path):
            await drive.read(f"{path}/{name}")
        drive.network.away = True
        await drive.rename(f"{path}/b.txt", f"{path}/a.txt")
        if newer:
            await queued(drive, f"{path}/a.txt", b"newer")
        office.sandbox.platform.remove_attachment(old)
        office.add(f"{path}/a.txt", b"theirs")
        await drive.back()
        found = held(office, "few")
        (ours,) = (name for name in found if name.startswith("a (conflict "))
        assert found == {"a.txt": b"theirs", ours: b"newer" if newer else b"other"}
        assert drive.filesystem.saves() == []


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("source", [X, "invoice/1/few/b.txt"])
async def test_what_was_renamed_over_in_vain_while_it_was_written_is_saved_in_its_place(
    office: Office, source: str, *, saved: bool
) -> None:
    filled(office, "few")
    path = "invoice/1/few/a.txt"
    async with office.mounted() as drive:
        for each in (path, source):
            await drive.read(each)
        handle = await drive.open(path, os.O_WRONLY)
        if saved:
            await drive.filesystem.write(handle, 0, b"once")
            await drive.filesystem.flush(handle)
        await drive.filesystem.write(handle, 0, b"new")
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(errors.DeniedError):
            await drive.rename(source, path)
        assert await drive.read(source) == (b"from elsewhere" if source == X else b"other")
        await drive.close(handle)
        await drive.drained()
        assert held(office, "few") == {"a.txt": b"newe" if saved else b"new", "b.txt": b"other"}
        assert await drive.names("invoice/1/few") == ["a.txt", "b.txt"]
        drive.assert_nothing_left()


async def test_the_last_file_of_a_required_field_that_is_written_and_renamed_stays(office: Office) -> None:
    filled(office, "contract")
    there = "invoice/1/copies/a.txt"
    async with office.mounted() as drive:
        handle = await drive.open("invoice/1/contract/a.txt", os.O_WRONLY | os.O_TRUNC)
        await drive.filesystem.write(handle, 0, b"new")
        await drive.rename("invoice/1/contract/a.txt", there)
        with pytest.raises(errors.RefusedError):
            await drive.close(handle)
        await drive.drained()
        assert office.stored("1/contract", "1/copies") == [("1/contract/a.txt", b"old")]
        assert drive.states() == {"a.txt": "held"}
        assert await drive.read(there) == b"new"
        await drive.rename(there, "invoice/1/contract/a.txt")
        await drive.drained()
        assert office.stored("1/contract", "1/copies") == [("1/contract/a.txt", b"new")]
        drive.assert_nothing_left()


# -- death on the way --------------------------------------------------------------------------------------------------


async def _dies(office: Office, act: Act, after: int, *, answered: bool) -> bool:
    """Do it, with the first save refused, until that many requests were made. False where it needs fewer."""
    async with office.mounted("alive") as drive, trio.open_nursery() as nursery:
        for each in ("invoice/1/few", "invoice/1/scan"):
            for name in await drive.names(each):
                await drive.read(f"{each}/{name}")
        done = trio.Event()

        async def refused() -> None:
            with pytest.raises(errors.DeniedError):
                await act(drive, "invoice/1/few")
            await drive.drained()
            done.set()

        office.sandbox.add_fault(Fault("save", "status", status=403))
        drive.network.cut(after, answered=answered, crashed=lambda: office.copy_disk("alive", "dead"))
        nursery.start_soon(refused)
        await until(lambda: done.is_set() or drive.network.reached.is_set())
        nursery.cancel_scope.cancel()
        return not done.is_set()
    raise AssertionError


@pytest.mark.parametrize("answered", [False, True], ids=["unsent", "answered"])
@pytest.mark.parametrize("act", [overwrite, rename_over])
async def test_a_death_at_any_request_of_a_take_back_loses_neither(
    office: Office, act: Act, *, answered: bool
) -> None:
    ours = b"new" if act is overwrite else b"from elsewhere"
    steps = 0
    for after in range(20):
        office.start_over(())
        office.sandbox.clear_faults()
        filled(office, "few")
        if not await _dies(office, act, after, answered=answered):
            assert held(office, "few") == FULL["few"]
            break
        steps += 1
        office.sandbox.clear_faults()
        async with office.mounted("dead") as drive:
            await drive.drained()
            found = held(office, "few")
            assert found["b.txt"] == b"other", f"died at request {after + 1}"
            if drive.filesystem.saves():  # it died after it had learnt of the refusal
                assert found["a.txt"] == b"old", f"died at request {after + 1}"
                assert await drive.read("invoice/1/few/a.txt") == ours
                drive.filesystem._uploads.retry(held=True)
                await until(lambda: not drive.filesystem.saves())
            assert held(office, "few") == {"a.txt": ours, "b.txt": b"other"}, f"died at request {after + 1}"
            drive.assert_nothing_left()
    # A list, the deletion that makes room, the save that is refused, and the save that puts back.
    assert steps >= 4


@pytest.mark.parametrize("field", ["few", "single"])
async def test_a_rename_over_a_file_in_a_full_field_whose_source_may_not_go(
    office: Office, field: str
) -> None:
    target, source = f"invoice/1/{field}/a.txt", "invoice/2/scan/s.txt"
    office.add(target, b"old")
    if field == "few":
        office.add("invoice/1/few/b.txt", b"other")
    office.add(source, b"source")
    async with office.mounted() as drive:
        await drive.find(target)
        await drive.find(source)
        office.sandbox.add_fault(Fault("delete", "status", status=403, path="=scan", count=None))
        with pytest.raises(DeniedError):
            await drive.rename(source, target)
        office.sandbox.clear_faults()
        assert office.stored("2/scan") == [("2/scan/s.txt", b"source")]
        if field == "few":
            assert drive.states() == {}
            assert await drive.shown("invoice/1/few") == {"a.txt": b"old", "b.txt": b"other"}
            drive.assert_nothing_left()
        else:
            assert drive.states() == {"a.txt": "held"}
            assert await drive.shown("invoice/1/single") == {"a.txt": b"source"}
