"""What all drafts together may take on the local disk."""

import os
from pathlib import Path

import pytest

from aerofs.content.draft import Draft
from aerofs.content.spool import Spool
from aerofs.errors import NoSpaceError


def _never(_: int) -> bool:
    raise AssertionError("the limit is no full disk: nothing cached has to go for it")


def a_spool(drafts: Path, limit: int | None = 100) -> Spool:
    return Spool(drafts, limit=limit, make_room=_never)


async def test_drafts_share_the_limit_and_the_one_that_goes_beyond_is_refused(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    one, two = Draft.empty(tmp_path, spool=spool), Draft.empty(tmp_path, spool=spool)
    await one.write(0, b"x" * 60)
    await two.write(0, b"x" * 40)
    await two.write(0, b"y" * 40)  # in place: nothing grows
    assert (spool.used(), spool.left()) == (100, 0)
    with pytest.raises(NoSpaceError, match="may take 100 bytes"):
        await two.write(40, b"x")
    assert isinstance(two.refusal, NoSpaceError)
    assert two.size == 40
    assert one.refusal is None
    two.discard()
    await one.write(60, b"x" * 40)
    assert spool.used() == 100
    one.close()


async def test_what_is_gone_from_the_disk_counts_no_more_however_it_went(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    for _ in range(20):
        draft = Draft.empty(tmp_path, spool=spool)
        await draft.write(0, b"x" * 90)
        draft.close()
        os.rename(draft.path, tmp_path.parent / "blob")  # noqa: PTH104  it became a blob
    assert spool.used() == 0


async def test_truncating_beyond_the_limit_copying_and_cloning_are_refused_too(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    base = tmp_path.parent / "base"
    base.write_bytes(b"x" * 60)
    draft = await Draft.copy_of(base, tmp_path, spool=spool)
    with pytest.raises(NoSpaceError):
        await Draft.copy_of(base, tmp_path, spool=spool)
    assert spool.used() == 60
    frozen = draft.freeze()
    with pytest.raises(NoSpaceError):
        await draft.write(0, b"y")
    assert frozen.read_bytes() == b"x" * 60
    draft.close()
    other = Draft.empty(tmp_path, spool=spool)
    with pytest.raises(NoSpaceError):
        await other.truncate(41)
    other.close()


async def test_what_lies_there_from_before_counts_and_without_a_limit_nothing_is_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "old.draft").write_bytes(b"x" * 90)
    draft = Draft.empty(tmp_path, spool=a_spool(tmp_path))
    with pytest.raises(NoSpaceError):
        await draft.write(0, b"x" * 11)
    draft.close()
    free = a_spool(tmp_path, limit=None)
    assert free.left() is None
    free.admit(1 << 60)


def test_drafts_whose_directory_is_gone_take_nothing(tmp_path: Path) -> None:
    spool = a_spool(tmp_path / "drafts", limit=None)
    assert spool.used() == 0
