"""Slots of a layer: never given twice, the lowest first."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.assignment import join_slots
from abplatform.domain.slots import Ranges, count_slots, free_slots, take_slots, wanted_slots


@st.composite
def held(draw: st.DrawFn) -> Ranges:
    """Ranges that do not overlap, in any order."""
    ends = sorted(draw(st.sets(st.integers(0, 1_000_000), max_size=12)))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    return tuple(draw(st.permutations(pairs)))


@given(held(), st.integers(0, 1_000_000))
def test_what_is_taken_was_free_and_is_as_much_as_was_asked_for(taken: Ranges, count: int) -> None:
    free = free_slots(taken)
    assert count_slots(free) == 1_000_000 - count_slots(taken)
    if count > count_slots(free):
        with pytest.raises(ValueError, match=f"count: {count_slots(free)} slots are free"):
            take_slots(free, count)
        return
    got = take_slots(free, count)
    assert count_slots(got) == count
    everything = join_slots((*taken, *got))
    assert count_slots(everything) == count_slots(taken) + count, "nothing is in both"
    if got:  # the lowest first: below the last one, nothing is free any more
        assert not [low for low, _ in free_slots(everything) if low < got[-1][1]]


@given(held())
def test_joining_keeps_every_slot(ranges: Ranges) -> None:
    joined = join_slots(ranges)
    assert count_slots(joined) == count_slots(ranges)
    assert list(joined) == sorted(joined)
    assert all(before[1] < after[0] for before, after in pairwise(joined))


@pytest.mark.parametrize(
    # A share of a million, to the nearest integer, a half upwards: worked out by hand.
    ("coverage", "slots"),
    [(1, 1_000_000), (0.25, 250_000), (1 / 3, 333_333), (2 / 3, 666_667), (1e-6, 1), (4e-7, 0)],
)
def test_coverage_is_a_share_of_a_million_slots(coverage: float, slots: int) -> None:
    assert wanted_slots(coverage) == slots
