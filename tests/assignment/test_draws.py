"""The draws as random numbers: uniform, independent of each other, and still while coverage grows.

Ids are sequential and salts fixed, so nothing here varies between runs. Thresholds: 1e-3 for each family of tests,
split over its members (Bonferroni), and over both tails, since numbers that are too even are suspect as well.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from abplatform.assignment import bucket, coverage_slots, decode_snapshot, evaluate
from tests.assignment.documents import a_rule, a_snapshot

UNITS = 100_000
FAMILY_ALPHA = 1e-3
SALTS = [f"{number:032x}" for number in range(10)] + ["", "利率"]
COVERAGES = [0.01, 0.1, 0.5]


@cache
def buckets(salt: str, units: int = UNITS) -> np.ndarray:
    return np.fromiter((bucket(salt, f"user-{number}") for number in range(units)), dtype=np.int64, count=units)


def assert_plausible(p_value: float, tests: int) -> None:
    """Refuse a fit that is too bad and one that is too good."""
    tail = FAMILY_ALPHA / tests / 2
    assert tail < p_value < 1 - tail


def assert_share(hits: int, trials: int, share: float, tests: int) -> None:
    assert stats.binomtest(hits, trials, share).pvalue > FAMILY_ALPHA / tests


def uniformity(draws: np.ndarray, bins: int) -> float:
    return float(stats.chisquare(np.bincount(draws * bins // 1_000_000, minlength=bins)).pvalue)


def independence(one: np.ndarray, other: np.ndarray) -> float:
    table, _, _ = np.histogram2d(one, other, bins=20, range=[[0, 1_000_000]] * 2)
    return float(stats.chi2_contingency(table).pvalue)


@pytest.mark.parametrize("salt", SALTS)
def test_buckets_of_sequential_ids_are_uniform_over_a_thousand_bins(salt: str) -> None:
    assert_plausible(uniformity(buckets(salt), 1_000), len(SALTS))


def test_draws_of_experiments_are_independent() -> None:
    draws = [buckets(salt) for salt in SALTS]
    for one, other in pairwise(draws):
        assert_plausible(independence(one, other), len(SALTS) - 1)


def test_neighbouring_ids_have_independent_buckets() -> None:
    draws = buckets("neighbours", UNITS + 1)
    assert_plausible(independence(draws[:-1], draws[1:]), 1)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_variant_draw_does_not_depend_on_who_is_covered(coverage: float) -> None:
    layer, variant = buckets("layer-salt", 4 * UNITS), buckets("variant-salt", 4 * UNITS)
    ((_, end),) = coverage_slots(coverage)
    covered = variant[layer < end]
    tests = 3 * len(COVERAGES)
    assert_share(len(covered), len(layer), coverage, tests)
    assert_share(int((covered < 500_000).sum()), len(covered), 0.5, tests)
    assert_plausible(uniformity(covered, 100), tests)


def test_ramp_from_one_percent_to_all_moves_nobody() -> None:
    units = [f"user-{number}" for number in range(5_000)]
    before: dict[str, str | None] = {}
    for percent in (1, 2, 5, 10, 25, 50, 75, 99, 100):
        layer = {"salt": "layer-salt", "slots": coverage_slots(percent / 100)}
        snapshot = decode_snapshot(a_snapshot({"e": a_rule(layer=layer)}))
        evaluations = {unit: evaluate(snapshot, "e", unit) for unit in units}
        after = {unit: evaluation.variant for unit, evaluation in evaluations.items() if evaluation.in_experiment}
        assert before.items() <= after.items()
        assert len(after) > len(before)
        before = after
    assert set(before) == set(units)
