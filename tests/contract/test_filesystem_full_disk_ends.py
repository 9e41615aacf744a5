"""The local disk is full at the very end of something: what is accepted keeps its bytes, its row and a name."""

from contextlib import suppress
from dataclasses import replace

import pytest

from aerofs.content.journal import Journal
from aerofs.content.operations import Operation
from aerofs.errors import AerofsError
from aerofs.sandbox import Access, Fault
from tests.contract.conftest import Drive, Office, until
from tests.contract.test_filesystem_decided_before_written import no_space, refused

FIELD = "invoice/1/scan"
A, B, PART = f"{FIELD}/a.txt", f"{FIELD}/b.txt", f"{FIELD}/a.part"
X, Y = A, "invoice/1/copies/a.txt"


async def all_up(drive: Drive) -> None:
    def nothing_waits() -> bool:
        drive.filesystem._uploads.retry(held=True)
        return not list(drive.filesystem._uploads)

    await until(nothing_waits)
    await drive.drained()
    drive.assert_nothing_left()


# -- a removal that the platform refuses -----------------------------------------------------------------------------


@pytest.mark.complains
@pytest.mark.parametrize("base", [b"old", None], ids=["overwritten", "looked for"])
async def test_a_save_outlives_a_refused_removal_that_could_not_be_taken_back(
    office: Office, monkeypatch: pytest.MonkeyPatch, base: bytes | None
) -> None:
    step = Journal.step

    async def full(journal: Journal, operation: Operation, *, durable: bool = False) -> None:
        if durable and not operation.cancelled:
            await no_space()
        await step(journal, operation, durable=durable)

    if base is not None:
        office.add(A, base)
    async with office.mounted("alive") as drive:
        await drive.names(FIELD)
        if base is not None:
            await refused(drive, A, b"new")
        else:
            drive.network.away = True
            with suppress(AerofsError):
                await drive.write(A, b"new")
            (work,) = drive.filesystem._uploads
            work.row = replace(work.row, maybe_sent=True)
            drive.network.away = False
            office.sandbox.add_fault(Fault("list", "status", status=403))
        office.sandbox.tokens[office.sandbox.token] = Access(read_only=True)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "step", full)
            with pytest.raises(AerofsError):
                await drive.remove(A)
        assert await drive.read(A) == b"new"
        office.copy_disk("alive", "dead")
    office.sandbox.tokens[office.sandbox.token] = Access()
    async with office.mounted("dead") as drive:
        assert await drive.names(FIELD) == ["a.txt"]
        assert await drive.read(A) == b"new"
        await all_up(drive)
        assert office.stored() == [("1/scan/a.txt", b"new")]
