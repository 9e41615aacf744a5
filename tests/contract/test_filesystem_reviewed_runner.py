"""What a reviewer broke: a local disk that is full at the wrong moment, colleagues who are faster, names used twice."""

from contextlib import suppress

import httpx
import pytest
from trio.testing import MockClock

from aerofs.content.operations import Operation
from aerofs.errors import AerofsError, DeniedError, NoSpaceError, QuotaError
from aerofs.sandbox import Access
from tests.contract.conftest import Drive, Office, later, until

X, Y = "invoice/1/scan/x.txt", "invoice/1/scan/y.txt"


async def saved_while_away(drive: Drive) -> None:
    """Both files were read; the first was saved while the platform is away."""
    await drive.read(X)
    await drive.read(Y)
    drive.network.away = True
    with suppress(AerofsError):
        await drive.write(X, b"newx")


async def no_space(*_given: object, **_named: object) -> Operation:
    raise NoSpaceError("the journal: the local disk is full")


async def test_a_rename_that_could_not_be_journalled_has_not_happened(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.add(X, b"oldx")
    office.add(Y, b"oldy")
    async with office.mounted() as drive:
        await saved_while_away(drive)
        with monkeypatch.context() as full:
            full.setattr(drive.store.journal, "record", no_space)
            with pytest.raises(NoSpaceError):
                await drive.rename(X, Y)
        assert await drive.names("invoice/1/scan") == ["x.txt", "y.txt"]
        assert drive.states() == {"x.txt": "queued"}
        await drive.back()
        assert office.stored("1/scan") == [("1/scan/x.txt", b"newx"), ("1/scan/y.txt", b"oldy")]
        assert await drive.read(X) == b"newx"
        assert await drive.read(Y) == b"oldy"
        drive.assert_nothing_left()


async def test_a_removal_that_could_not_be_journalled_has_not_happened(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.add(X, b"oldx")
    office.add(Y, b"oldy")
    async with office.mounted() as drive:
        await saved_while_away(drive)
        with monkeypatch.context() as full:
            full.setattr(drive.store.journal, "step", no_space)
            with pytest.raises(NoSpaceError):
                await drive.remove(X)
        assert await drive.names("invoice/1/scan") == ["x.txt", "y.txt"]
        assert drive.states() == {"x.txt": "queued"}
        await drive.back()
        assert office.stored("1/scan") == [("1/scan/x.txt", b"newx"), ("1/scan/y.txt", b"oldy")]
        drive.assert_nothing_left()


async def test_a_colleague_who_replaces_what_was_to_make_room_keeps_the_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = office.add("invoice/1/few/a.txt", b"old")
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        asked = drive.network.handle_async_request

        async def faster(request: httpx.Request) -> httpx.Response:
            if request.method == "DELETE" and ("1/few/a.txt", b"old") in office.stored("1/few"):
                office.sandbox.platform.remove_attachment(base)
                office.add("invoice/1/few/a.txt", b"theirs")
            return await asked(request)

        monkeypatch.setattr(drive.network, "handle_async_request", faster)
        with pytest.raises(QuotaError):
            await drive.write("invoice/1/few/a.txt", b"new")
        assert drive.states() == {"a.txt": "held"}
        theirs = [("1/few/a.txt", b"theirs"), ("1/few/b.txt", b"other")]
        assert office.stored("1/few") == theirs
        assert [file.suffix for file in drive.store.drafts.iterdir()] == [".draft"]
        (save,) = drive.filesystem.saves()
        await drive.filesystem.waiting.discard(save["id"])
        assert office.stored("1/few") == theirs
        assert await drive.read("invoice/1/few/a.txt") == b"theirs"
        drive.assert_nothing_left()


async def test_of_two_put_aside_from_one_name_the_later_is_what_a_new_file_replaces(office: Office) -> None:
    first = office.add(X, b"first")
    async with office.mounted() as drive:
        await drive.rename(X, f"{X}~")
        office.sandbox.platform.remove_attachment(first)
        office.add(X, b"second")
        drive.filesystem.refresh()
        await drive.rename(X, "invoice/1/scan/x.bak~")
        await drive.remove(f"{X}~")
        await drive.write(X, b"new")
        await drive.drained()
        assert office.stored("1/scan") == [("1/scan/x.txt", b"new")]
        assert await drive.names("invoice/1/scan") == ["x.bak~", "x.txt"]
        assert await drive.read("invoice/1/scan/x.bak~") == b"second"


async def two_put_aside(office: Office, drive: Drive) -> None:
    """Ours was put aside while its save was refused; a colleague's appeared under the name, and was put aside, too."""
    office.sandbox.tokens[office.sandbox.token] = Access(read_only=True)
    with pytest.raises(DeniedError):
        await drive.write(X, b"first")
    await drive.rename(X, f"{X}~")
    office.sandbox.tokens[office.sandbox.token] = Access()
    office.add(X, b"second")
    drive.filesystem.refresh()
    await drive.rename(X, "invoice/1/scan/x.bak~")


async def test_a_new_file_replaces_all_that_was_put_aside_from_its_name(
    office: Office, clock: MockClock
) -> None:
    async with office.mounted(close_wait=5) as drive:
        await two_put_aside(office, drive)
        await drive.write(X, b"new")
        for _ in range(3):
            await later(clock, 61)
        await until(lambda: not {"queued", "held", "uploading"} & set(drive.states().values()))
        assert office.stored("1/scan") == [("1/scan/x.txt", b"new")]
        assert await drive.names("invoice/1/scan") == ["x.bak~", "x.txt", "x.txt~"]
        assert await drive.read(X) == b"new"
        assert await drive.read(f"{X}~") == b"first"
        assert await drive.read("invoice/1/scan/x.bak~") == b"second"
        for name in ("x.bak~", "x.txt", "x.txt~"):
            await drive.remove(f"invoice/1/scan/{name}")
        await drive.drained()
        drive.assert_nothing_left()


async def test_of_two_put_aside_whose_saves_wait_a_new_file_replaces_the_later(
    office: Office, clock: MockClock
) -> None:
    """A row comes after one other at most: the earlier one is back after a while, and nothing is lost."""
    async with office.mounted(close_wait=5) as drive:
        await two_put_aside(office, drive)
        await drive.rename("invoice/1/scan/x.bak~", X)
        office.sandbox.tokens[office.sandbox.token] = Access(read_only=True)
        with pytest.raises(DeniedError):
            await drive.write(X, b"2nd")
        await drive.rename(X, "invoice/1/scan/x.bak~")
        office.sandbox.tokens[office.sandbox.token] = Access()
        await drive.write(X, b"new")
        for _ in range(3):
            await later(clock, 61)
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: len(office.stored("1/scan")) > 1)
        assert office.stored("1/scan") == [("1/scan/x.txt", b"first"), ("1/scan/x.txt", b"new")]
        assert await drive.read("invoice/1/scan/x.bak~") == b"2nd"
