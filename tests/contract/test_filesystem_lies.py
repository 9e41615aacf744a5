"""A platform that says what is not so: nothing is lost by believing it, and what can be noticed is."""

import os

import pytest

from aerofs import errors
from aerofs.sandbox import Fault, Variants
from aerofs.sandbox.faults import Action
from tests.contract.conftest import Office, queued, until

OLD, NEW = b"the old version" * 10, b"the new version" * 12


@pytest.mark.parametrize("length", ["whole", "half"])
async def test_a_page_or_half_a_file_is_never_brought_up_as_the_file(office: Office, length: str) -> None:
    office.add("invoice/1/scan/a.txt", OLD)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        office.sandbox.add_fault(Fault("download", "html" if length == "whole" else "shorten", count=None))
        with pytest.raises(errors.UnavailableError):
            await drive.read("invoice/1/scan/a.txt")
        await drive.rename("invoice/1/scan/a.txt", "invoice/1/scan/b.txt")
        assert office.stored() == [("1/scan/a.txt", OLD)]
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/scan/b.txt", OLD)]
        drive.assert_nothing_left()


async def test_a_base_that_is_not_found_and_still_listed_is_deleted_later(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", OLD)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        office.sandbox.add_fault(Fault("delete", "status", status=404))
        await queued(drive, "invoice/1/scan/a.txt", NEW)
        await drive.drained()
        assert office.stored() == [("1/scan/a.txt", NEW)]
        drive.assert_nothing_left()


async def test_a_file_that_is_not_found_and_still_listed_is_not_said_to_be_removed(office: Office) -> None:
    office.add("invoice/1/scan/a.txt", OLD)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        office.sandbox.add_fault(Fault("delete", "status", status=404))
        with pytest.raises(errors.UnavailableError):
            await drive.remove("invoice/1/scan/a.txt")
        assert await drive.names("invoice/1/scan") == ["a.txt"]
        await drive.remove("invoice/1/scan/a.txt")
        assert office.stored() == []
        drive.assert_nothing_left()


@pytest.mark.parametrize(
    "lie", [Fault("save", "pretend", count=None), Fault("save", "status", status=403, count=None)]
)
async def test_what_made_room_comes_back_by_itself_however_it_was_refused(office: Office, lie: Fault) -> None:
    office.add("invoice/1/few/a.txt", OLD)
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        office.sandbox.add_fault(lie)
        await queued(drive, "invoice/1/few/a.txt", NEW)
        assert office.stored() == [("1/few/b.txt", b"other")]
        assert drive.states() == {"a.txt": "queued"}
        office.sandbox.clear_faults()
        await drive.drained()
        assert office.stored() == [("1/few/a.txt", NEW), ("1/few/b.txt", b"other")]
        drive.assert_nothing_left()


async def test_a_replacement_that_was_not_made_replaces_nothing_yet(office: Office) -> None:
    office.add("invoice/1/single/a.txt", OLD)
    async with office.mounted() as drive:
        await drive.find("invoice/1/single/a.txt")
        office.sandbox.add_fault(Fault("save", "pretend"))
        with pytest.raises(errors.ProtocolError):
            await drive.write("invoice/1/single/a.txt", NEW)
        assert drive.states() == {"a.txt": "held"}
        assert office.stored() == [("1/single/a.txt", OLD)]
        drive.filesystem._uploads.retry(held=True)
        await until(lambda: office.stored() == [("1/single/a.txt", NEW)])
        await drive.drained()
        drive.assert_nothing_left()


@pytest.mark.parametrize("platform", [("no-sizes",), ("no-sizes", "no-range")], ids=" ".join)
async def test_a_strangers_file_that_stands_where_ours_may_is_told_by_its_bytes(
    office: Office, platform: tuple[str, ...]
) -> None:
    """Where its length can be proven; else ours waits here and says so, rather than stand there twice."""
    office.sandbox.variants = Variants.named(*platform)
    async with office.mounted() as drive:
        await drive.names("invoice/1/scan")
        office.sandbox.add_fault(Fault("save", "cut"))
        await queued(drive, "invoice/1/scan/a.txt", NEW)
        office.add("invoice/1/scan/a.txt", OLD)
        if platform == ("no-sizes",):
            await drive.drained()
            assert office.stored() == [("1/scan/a.txt", NEW), ("1/scan/a.txt", OLD)]
            drive.assert_nothing_left()
            return
        await until(
            lambda: office.sandbox.requests["download"] >= 2 and drive.states() == {"a.txt": "queued"}
        )
        assert office.stored() == [("1/scan/a.txt", OLD)]


@pytest.mark.parametrize("lie", ["html", "shorten"])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_page_or_half_a_file_is_not_the_file_where_only_the_store_tells_its_length(
    office: Office, lie: Action, after: int
) -> None:
    """Be it the answer to the question for the length, or to the one for the bytes."""
    office.sandbox.variants = Variants.named("no-sizes")
    office.add("invoice/1/scan/a.txt", OLD)
    async with office.mounted() as drive:
        await drive.find("invoice/1/scan/a.txt")
        assert await drive.read("invoice/1/scan/a.txt") == OLD
        assert office.take_requests()["download"] == 2
    async with office.mounted("another disk") as drive:
        office.sandbox.add_fault(Fault("download", lie, after=after))
        handle = await drive.open("invoice/1/scan/a.txt", os.O_RDONLY)
        assert (await drive.find("invoice/1/scan/a.txt")).size == len(OLD)
        assert await drive.filesystem.read(handle, 0, 1 << 20) == OLD
        await drive.close(handle)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_page_is_not_kept_in_the_place_of_what_has_to_go(office: Office, after: int) -> None:
    office.sandbox.variants = Variants.named("no-sizes")
    office.add("invoice/1/few/a.txt", OLD)
    office.add("invoice/1/few/b.txt", b"other")
    async with office.mounted() as drive:
        await drive.find("invoice/1/few/a.txt")
        office.sandbox.add_fault(Fault("download", "html", after=after))
        office.sandbox.add_fault(Fault("save", "status", status=403))
        with pytest.raises(errors.AerofsError):
            await drive.write("invoice/1/few/a.txt", NEW)
        await drive.drained()
        assert office.stored() == [("1/few/a.txt", OLD), ("1/few/b.txt", b"other")]
