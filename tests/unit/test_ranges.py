"""The interval set against a plain set of numbers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerofs.content.ranges import Ranges

spans = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: (min(pair), max(pair)))


def numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for start, stop in ranges for number in range(start, stop)}


def test_touching_and_overlapping_ranges_become_one() -> None:
    held = Ranges([(0, 4), (8, 12), (4, 6)])
    assert list(held) == [(0, 6), (8, 12)]
    assert held.add(5, 9) == 2
    assert list(held) == [(0, 12)]
    assert repr(held) == "Ranges([(0, 12)])"


def test_an_empty_range_adds_nothing_and_is_always_covered() -> None:
    held = Ranges()
    assert held.add(5, 5) == 0
    assert len(held) == 0
    assert held.covers(7, 7)


def test_a_negative_start_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot start at -1"):
        Ranges([(-1, 3)])


def test_equality_looks_at_the_bytes_alone() -> None:
    assert Ranges([(0, 2), (2, 4)]) == Ranges([(0, 4)])
    assert Ranges([(0, 2)]) != Ranges([(0, 3)])
    assert Ranges() != object()


def test_clearing_forgets_everything() -> None:
    held = Ranges([(3, 9)])
    held.clear()
    assert held == Ranges()
    assert held.total == 0


@given(st.lists(spans), spans)
def test_it_agrees_with_a_set_of_numbers(ranges: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    held, model = Ranges(), set[int]()
    for start, stop in ranges:
        new = set(range(start, stop)) - model
        assert held.add(start, stop) == len(new)
        model |= new
    start, stop = asked
    assert numbers(list(held)) == model
    assert held.total == len(model)
    assert held.covers(start, stop) == (set(range(start, stop)) <= model)
    assert numbers(list(held.gaps(start, stop))) == set(range(start, stop)) - model
    assert held.next_from(start) == min((number for number in model if number >= start), default=None)
    assert set(range(start, held.end_from(start))) <= model
    assert held.end_from(start) not in model
    if stop not in model:
        assert held.start_until(stop) == max((number + 1 for number in model if number < stop), default=0)


@given(st.lists(spans))
def test_its_ranges_are_sorted_and_apart(ranges: list[tuple[int, int]]) -> None:
    stored = list(Ranges(ranges))
    assert all(start < stop for start, stop in stored)
    assert all(one[1] < other[0] for one, other in pairwise(stored))
