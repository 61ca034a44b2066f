"""The slots of a layer: buckets that experiments hold, so that no unit is in two of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from abplatform.assignment import BUCKETS, coverage_slots, join_slots

Ranges = tuple[tuple[int, int], ...]


def wanted_slots(coverage: float) -> int:
    """How many slots a coverage asks for.

    >>> wanted_slots(0.25)
    250000
    """
    return count_slots(coverage_slots(coverage))


def count_slots(ranges: Iterable[tuple[int, int]]) -> int:
    """How many slots lie in ranges that do not overlap."""
    return sum(high - low for low, high in ranges)


def free_slots(held: Iterable[tuple[int, int]]) -> Ranges:
    """The slots of a layer that nobody holds.

    >>> free_slots([(100, 300)])
    ((0, 100), (300, 1000000))
    """
    ends = [(0, 0), *join_slots(held), (BUCKETS, BUCKETS)]
    gaps = ((before[1], after[0]) for before, after in pairwise(ends))
    return tuple((low, high) for low, high in gaps if low < high)


def take_slots(free: Ranges, count: int) -> Ranges:
    """The lowest ``count`` free slots.

    Raises:
        ValueError: there are fewer.

    >>> take_slots(((0, 100), (300, 1000000)), 150)
    ((0, 100), (300, 350))
    """
    taken: list[tuple[int, int]] = []
    for low, high in free:
        if count > 0:
            taken.append((low, min(high, low + count)))
            count -= high - low
    if count > 0:
        raise ValueError(f"count: {count_slots(free)} slots are free, {count} too few")
    return tuple(taken)
