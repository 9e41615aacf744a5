"""What a reviewer broke: a local disk that is full at the wrong moment, colleagues who are faster, names used twice."""

from contextlib import suppress

import pytest

from aerofs.content.operations import Operation
from aerofs.errors import AerofsError, NoSpaceError
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
