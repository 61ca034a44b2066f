from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import (
    BUCKETS,
    bucket,
    coverage_slots,
    draw_position,
    join_slots,
    prepare_draws,
    variant_ranges,
)

weights = st.lists(
    st.one_of(st.integers(0, 10**20), st.floats(0, allow_nan=False, allow_infinity=False)), min_size=1, max_size=30
).filter(any)


@given(weights)
@settings(derandomize=True, max_examples=500)
def test_ranges_cover_every_bucket_once_in_declared_order(given_weights: list[int | float]) -> None:
    ranges = variant_ranges(given_weights)
    assert len(ranges) == len(given_weights)
    assert (ranges[0][0], ranges[-1][1]) == (0, BUCKETS)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(low <= high for low, high in ranges)


@given(weights)
@settings(derandomize=True, max_examples=500)
def test_each_range_is_its_quota_rounded_down_or_up(given_weights: list[int | float]) -> None:
    total = sum(map(Fraction, given_weights))
    for weight, (low, high) in zip(given_weights, variant_ranges(given_weights), strict=True):
        quota = Fraction(weight) / total * BUCKETS
        assert int(quota) <= high - low <= -int(-quota // 1)


@given(weights, st.integers(1, 10**6))
@settings(derandomize=True)
def test_ranges_depend_on_proportions_alone(given_weights: list[int | float], factor: int) -> None:
    exact = [weight for weight in given_weights if isinstance(weight, int)]
    if any(exact):
        assert variant_ranges([weight * factor for weight in exact]) == variant_ranges(exact)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "weights: at least one is needed"),
        ([0, 0.0], "weights: at least one must be above 0"),
        ([1, -1], "weights.1: must not be negative"),
        ([float("nan"), 1], "weights.0: must be a finite number"),
        ([1, float("inf")], "weights.1: must be a finite number"),
        ([True, 1], "weights.0: must be a finite number"),
        (["1", 1], "weights.0: must be a finite number"),
        ([1, None], "weights.1: must be a finite number"),
    ],
)
def test_ranges_refuse_what_is_no_weight(bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        variant_ranges(bad)


# Expected: coverage times a million, rounded by hand; the halves are exact in binary.
@pytest.mark.parametrize(
    ("coverage", "slots"),
    [
        (0, ()),
        (0.0, ()),
        (1, ((0, 1_000_000),)),
        (0.1, ((0, 100_000),)),
        (0.3, ((0, 300_000),)),
        (1 / 3, ((0, 333_333),)),
        (0.000001, ((0, 1),)),
        (0.0000004, ()),
        (2**-7, ((0, 7813),)),  # 7812.5
        (3 * 2**-7, ((0, 23_438),)),  # 23437.5
        (0.9999999, ((0, 1_000_000),)),
    ],
)
def test_coverage_becomes_slots_from_zero(coverage: float, slots: tuple[tuple[int, int], ...]) -> None:
    assert coverage_slots(coverage) == slots


@given(st.floats(0, 1), st.floats(0, 1))
@settings(derandomize=True)
def test_more_coverage_only_adds_slots(one: float, other: float) -> None:
    smaller, larger = (sum(high for _, high in coverage_slots(coverage)) for coverage in sorted((one, other)))
    assert smaller <= larger


@pytest.mark.parametrize("bad", [-0.1, 1.0000001, 2, float("nan"), float("inf"), True, "1", None])
def test_coverage_refuses_what_is_no_share(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"^coverage: "):
        coverage_slots(bad)


def test_slots_contain_their_lower_end_and_not_their_upper() -> None:
    drawn = bucket("layer", "u-1")
    cases = {
        ((drawn, drawn + 1),): True,
        ((0, drawn),): False,
        ((drawn + 1, BUCKETS),): False,
        ((drawn + 1, BUCKETS), (0, drawn)): False,
        ((drawn - 5, drawn), (drawn, drawn + 5)): True,
        ((drawn, drawn),): False,
        (): False,
    }
    for slots, is_in in cases.items():
        draws = prepare_draws("layer", slots, "variant", ((0, BUCKETS),))
        assert draw_position(draws, b"u-1") == (0 if is_in else None), slots


def test_empty_ranges_are_joined_away() -> None:
    assert join_slots([(7, 7), (0, 3), (3, 3), (9, 12), (9, 9)]) == ((0, 3), (9, 12))
