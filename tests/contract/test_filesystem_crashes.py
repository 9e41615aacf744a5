"""The process dies at every request of every operation, before it is sent and after it was carried out.

What the disk held at that moment is mounted again. In the end each operation was carried out, exactly once.
"""

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio

from aerofs.errors import AerofsError
from aerofs.sandbox import Variants
from tests.contract.conftest import Drive, Office, until

Files = list[tuple[str, bytes]]
A = "invoice/1/scan/a.txt"
B = "invoice/1/scan/b.txt"


@dataclass(frozen=True)
class Story:
    """What stands before, what is done, and what is to stand in the end.

    Attributes:
        lookups: Paths that programs had looked at before.
        variants: What the platform does in its own way.
        between: What is as good, because the process died before the call that comes after that.
    """

    before: Files
    act: Callable[[Drive], Awaitable[object]]
    after: Files
    lookups: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    between: Files | None = None


async def _rewrite_queued(drive: Drive) -> None:
    """Two versions, the first of which may still be on its way."""
    await drive.write(A, b"one")
    await drive.write(A, b"two")


async def _by_temporary(drive: Drive) -> None:
    """What sed -i does."""
    handle = await drive.open("invoice/1/scan/sedAbCdEf", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    await drive.filesystem.write(handle, 0, b"new")
    await drive.filesystem.fsync(handle)
    await drive.close(handle)
    await drive.rename("invoice/1/scan/sedAbCdEf", A)


async def _beside_a_stranger(drive: Drive) -> None:
    platform = drive.office.sandbox.platform
    handle = await drive.open(A, os.O_RDWR)
    await drive.filesystem.write(handle, 0, b"our")
    await drive.filesystem.fsync(handle)
    (base,) = platform.attachments("invoice", drive.office.documents["1"], "scan")
    platform.remove_attachment(base.id)
    drive.office.add(A, b"theirs")
    await drive.close(handle)


async def _moved_while_saved(drive: Drive) -> None:
    await drive.write(A, b"new")
    await drive.rename(A, "invoice/2/scan/a.txt")


STORIES = {
    "a new file": Story([], lambda drive: drive.write(A, b"new"), [("1/scan/a.txt", b"new")]),
    "an overwritten file": Story(
        [("1/scan/a.txt", b"old")], lambda drive: drive.write(A, b"new"), [("1/scan/a.txt", b"new")]
    ),
    "the same bytes again": Story(
        [("1/scan/a.txt", b"same")], lambda drive: drive.write(A, b"same"), [("1/scan/a.txt", b"same")]
    ),
    "a twin": Story(
        [("1/scan/a.txt", b"old"), ("1/scan/a.txt", b"new")],
        lambda drive: drive.write(A, b"new"),
        [("1/scan/a.txt", b"new"), ("1/scan/a.txt", b"new")],
    ),
    "two versions": Story(
        [], _rewrite_queued, [("1/scan/a.txt", b"two")], between=[("1/scan/a.txt", b"one")]
    ),
    "the only file of a field for one": Story(
        [("1/single/a.txt", b"old")],
        lambda drive: drive.write("invoice/1/single/a.txt", b"new"),
        [("1/single/a.txt", b"new")],
    ),
    "a file of a full field": Story(
        [("1/few/a.txt", b"old"), ("1/few/b.txt", b"other")],
        lambda drive: drive.write("invoice/1/few/a.txt", b"new"),
        [("1/few/a.txt", b"new"), ("1/few/b.txt", b"other")],
    ),
    "a required file": Story(
        [("1/contract/a.txt", b"old")],
        lambda drive: drive.write("invoice/1/contract/a.txt", b"new"),
        [("1/contract/a.txt", b"new")],
    ),
    "silent saves": Story(
        [("1/scan/a.txt", b"old")],
        lambda drive: drive.write(A, b"new"),
        [("1/scan/a.txt", b"new")],
        variants=("save-answers-field", "no-sizes"),
    ),
    "a rename in a field": Story(
        [("1/scan/a.txt", b"old")], lambda drive: drive.rename(A, B), [("1/scan/b.txt", b"old")]
    ),
    "a rename over a file": Story(
        [("1/scan/a.txt", b"one"), ("1/scan/b.txt", b"two")],
        lambda drive: drive.rename(A, B),
        [("1/scan/b.txt", b"one")],
    ),
    "a move": Story(
        [("1/scan/a.txt", b"old")],
        lambda drive: drive.rename(A, "invoice/2/scan/a.txt"),
        [("2/scan/a.txt", b"old")],
    ),
    "a silent move": Story(
        [("1/scan/a.txt", b"old")],
        lambda drive: drive.rename(A, "invoice/2/scan/a.txt"),
        [("2/scan/a.txt", b"old")],
        variants=("silent-copy",),
    ),
    "a move over a file": Story(
        [("1/scan/a.txt", b"one"), ("2/scan/a.txt", b"two")],
        lambda drive: drive.rename(A, "invoice/2/scan/a.txt"),
        [("2/scan/a.txt", b"one")],
    ),
    "a move over a file of a full field": Story(
        [("1/scan/a.txt", b"one"), ("2/few/a.txt", b"two"), ("2/few/b.txt", b"other")],
        lambda drive: drive.rename(A, "invoice/2/few/a.txt"),
        [("2/few/a.txt", b"one"), ("2/few/b.txt", b"other")],
    ),
    "a move over the only file of a field for one": Story(
        [("1/scan/a.txt", b"one"), ("2/single/a.txt", b"two")],
        lambda drive: drive.rename(A, "invoice/2/single/a.txt"),
        [("2/single/a.txt", b"one")],
    ),
    "a temporary file renamed over the original": Story(
        [("1/scan/a.txt", b"old")], _by_temporary, [("1/scan/a.txt", b"new")]
    ),
    "a move of a new version": Story(
        [("1/scan/a.txt", b"old")],
        _moved_while_saved,
        [("2/scan/a.txt", b"new")],
        between=[("1/scan/a.txt", b"new")],
    ),
    "a removal": Story(
        [("1/scan/a.txt", b"old")], lambda drive: drive.remove(A), [], between=[("1/scan/a.txt", b"old")]
    ),
    "a version that somebody else replaced": Story(
        [("1/scan/a.txt", b"old")],
        _beside_a_stranger,
        [("1/scan/a (conflict).txt", b"our"), ("1/scan/a.txt", b"theirs")],
        between=[("1/scan/a.txt", b"old")],
    ),
}


SEEN_ASIDE = ("a version that somebody else replaced",)
"""What ours is called there is not certain from the start; elsewhere each listing shows each file once, by its name."""


def _plain(files: Files) -> Files:
    """Without host and date."""
    return [(re.sub(r"\(conflict [^)]*\)", "(conflict)", name), data) for name, data in files]


async def died(office: Office, story: Story, after: int, *, answered: bool) -> bool:
    """Do it until that many requests were made. False where it needs fewer."""
    async with office.mounted("alive") as drive, trio.open_nursery() as nursery:
        for document in office.documents:
            for path in {name.rpartition("/")[0] for name, _ in (*story.before, *story.after)}:
                if path.startswith(document):
                    await drive.names(f"invoice/{path}")
        done = trio.Event()

        async def act() -> None:
            try:
                await story.act(drive)
                await drive.drained()
            except AerofsError:
                pytest.fail("the platform was there all the time")
            done.set()

        drive.network.cut(after, answered=answered, crashed=lambda: office.copy_disk("alive", "dead"))
        nursery.start_soon(act)
        await until(lambda: done.is_set() or drive.network.reached.is_set())
        nursery.cancel_scope.cancel()
        return not done.is_set()
    raise AssertionError


async def _listings_until_drained(drive: Drive, story: Story) -> list[list[str]]:
    """Every different listing that a program can see, from the mount to the end of all work."""
    places = sorted({path.rpartition("/")[0] for path, _ in (*story.before, *story.after)})
    listings: list[list[str]] = []
    over = trio.Event()

    async def look() -> None:
        while not over.is_set():
            listing = [
                f"{place}/{name}" for place in places for name in await drive.names(f"invoice/{place}")
            ]
            if listing not in listings[-1:]:
                listings.append(listing)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await until(lambda: listings)
        await drive.drained()
        over.set()
    return listings


@pytest.mark.parametrize("answered", [False, True], ids=["unsent", "answered"])
@pytest.mark.parametrize("name", STORIES)
async def test_a_death_at_any_request_leaves_the_work_done_once(
    office: Office, name: str, *, answered: bool
) -> None:
    story = STORIES[name]
    if story.variants:
        office.sandbox.variants = Variants.named(*story.variants)
    for after in range(20):
        office.start_over(story.before)
        if not await died(office, story, after, answered=answered):
            assert _plain(office.stored()) == story.after
            return
        async with office.mounted("dead") as drive:
            listings = await _listings_until_drained(drive, story) if name not in SEEN_ASIDE else []
            await drive.drained()
            found = office.stored()
            if name not in SEEN_ASIDE:
                assert len(listings) == 1, f"died at request {after + 1}"
                assert {path for path, _ in found} <= {*listings[0]}
                assert len(found) == len(listings[0])
            assert _plain(found) in (story.after, story.between), f"died at request {after + 1}"
            for path, data in found:
                if sum(other == path for other, _ in found) == 1:
                    assert await drive.read(f"invoice/{path}") == data
            drive.assert_nothing_left()
    pytest.fail("it never came to an end")
