"""Who makes room for whom, and for whom it is kept, where a field is full.

Pure: it asks the works of a mount and changes none.
"""

from collections.abc import Collection

from aerofs.content.work import Work


def makers_of_room(work: Work, works: Collection[Work]) -> list[Work]:
    """Those of the works that will take something away from the field of one, and do not wait for it.

    One that had to wait for an earlier operation of its file may come after this one, which found room already.
    """
    behind = _behind(work, works)
    return [
        other
        for other in works
        if other not in behind
        and other.goes_on
        and any(old.place == work.row.place for old in other.row.retire)
    ]


def holders_of_room(work: Work, works: Collection[Work]) -> list[Work]:
    """Those that have taken something away from the field of one, and have yet to fill the room.

    It is not there for one that only adds: it would leave them, and what has to be put back, without any. One that
    takes something away there itself does not wait for it, as they may have to wait for that.
    """
    row = work.row
    if row.cancelled or row.superseded or row.secured or any(old.place == row.place for old in row.retire):
        return []
    holders = [
        each
        for each in works
        if (secured := each.row.secured) and (secured.place or each.row.place) == row.place and each.goes_on
    ]
    behind = _behind(work, works) if holders else set()
    return [each for each in holders if each not in behind]


def _behind(work: Work, works: Collection[Work]) -> set[Work]:
    """It, and every one that can do nothing before it has: in line, or for room that only these could make."""
    behind = {work}
    while more := {
        other
        for other in works
        if other not in behind
        and (other.previous in behind or (other.makers and behind.issuperset(other.makers)))
    }:
        behind |= more
    return behind
