"""What a reviewer broke: a local disk that is full at the wrong moment, colleagues who are faster, names used twice."""

from contextlib import suppress

import httpx
import pytest

from aerofs.content.operations import Operation
from aerofs.errors import AerofsError, NoSpaceError, QuotaError
from tests.contract.conftest import Drive, Office

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
