"""The two draws as ranges of buckets: who is in an experiment, and who gets which variant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import isfinite

from .hashing import BUCKETS, bucket_of, salt_prefix
from .model import Draws

Ranges = tuple[tuple[int, int], ...]


def variant_ranges(weights: Sequence[int | float]) -> Ranges:
    """Turn relative weights into contiguous ranges ``[low, high)`` of buckets, in declared order.

    Shares are rounded to millionths by the largest remainder (Hamilton) method: each weight gets the whole
    part of its quota, and the buckets that are left go, one each, to the largest remainders, the earlier
    variant first where remainders tie. Floats count with their exact binary value and all arithmetic is on
    integers, so that every language gets the same ranges. A weight of 0 gives an empty range.

    Raises:
        ValueError: no weights; a weight that is negative, not finite or no number; all weights zero.

    >>> variant_ranges([2, 1])
    ((0, 666667), (666667, 1000000))
    """
    shares = _integer_shares(weights)
    total = sum(shares)
    if total == 0:
        raise ValueError("weights: at least one must be above 0")
    sizes = [share * BUCKETS // total for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: -(shares[index] * BUCKETS % total))
    for index in by_remainder[: BUCKETS - sum(sizes)]:
        sizes[index] += 1
    return _lay_out(sizes)


def coverage_slots(coverage: float) -> Ranges:
    """Return the slots of a layer that an experiment takes alone: ``((0, n),)``, or ``()`` for none.

    ``n`` is the exact value of ``coverage`` times 1,000,000, rounded to the nearest integer, a half upwards.
    A larger coverage only adds slots at the end, so that nobody who is in moves.

    Raises:
        ValueError: ``coverage`` is no number from 0 to 1.

    >>> coverage_slots(0.1)
    ((0, 100000),)
    """
    numerator, denominator = _ratio(coverage, "coverage")
    if numerator > denominator:
        raise ValueError("coverage: must be a number from 0 to 1")
    slots = (2 * numerator * BUCKETS + denominator) // (2 * denominator)
    return ((0, slots),) if slots else ()


def join_slots(slots: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same slots, in order, as few ranges as possible.

    >>> join_slots([(500, 700), (0, 100), (100, 300)])
    ((0, 300), (500, 700))
    """
    joined: list[tuple[int, int]] = []
    for low, high in sorted(slots):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        elif low < high:
            joined.append((low, high))
    return tuple(joined)


def prepare_draws(layer_salt: str, slots: Iterable[tuple[int, int]], variant_salt: str, variants: Ranges) -> Draws:
    """Prepare the two draws of an experiment; ``variants`` are the ranges of its variants."""
    edges = tuple(edge for slot in join_slots(slots) for edge in slot)
    return Draws(
        layer_prefix=salt_prefix(layer_salt),
        edges=None if edges == (0, BUCKETS) else edges,
        variant_prefix=salt_prefix(variant_salt),
        bounds=tuple(high for _, high in variants),
    )


def draw_position(draws: Draws, unit: bytes) -> int | None:
    """Return the position of the variant that both draws give a unit, None outside the slots."""
    if draws.edges is not None and not bisect_right(draws.edges, bucket_of(draws.layer_prefix, unit)) & 1:
        return None
    return variant_position(draws, unit)


def variant_position(draws: Draws, unit: bytes) -> int:
    """Return the position of the variant that the experiment's salt draws, inside the slots or not."""
    # An empty range repeats the bound before it, so that the search steps over its variant.
    return bisect_right(draws.bounds, bucket_of(draws.variant_prefix, unit))


def _integer_shares(weights: Sequence[int | float]) -> list[int]:
    """Scale the weights to integers in the same proportion (denominators are powers of two)."""
    if not weights:
        raise ValueError("weights: at least one is needed")
    ratios = [_ratio(weight, f"weights.{index}") for index, weight in enumerate(weights)]
    scale = max(denominator for _, denominator in ratios)
    return [numerator * (scale // denominator) for numerator, denominator in ratios]


def _ratio(value: object, name: str) -> tuple[int, int]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise ValueError(f"{name}: must be a finite number")
    if value < 0:
        raise ValueError(f"{name}: must not be negative")
    return value.as_integer_ratio()


def _lay_out(sizes: list[int]) -> Ranges:
    ranges = []
    low = 0
    for size in sizes:
        ranges.append((low, low + size))
        low += size
    return tuple(ranges)
