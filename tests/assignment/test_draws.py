"""The draws as random numbers: uniform, independent of each other, and still while coverage grows.

Ids and salts are fixed, so nothing here varies between runs. Thresholds: 1e-3 for each family of tests, split over its
members (Bonferroni), and over both tails, since numbers that are too even are suspect as well. Draws as random as they
should be fail a family with that probability once, when its salts are chosen, and never again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from abplatform.assignment import (
    BUCKETS,
    bucket,
    coverage_slots,
    decode_snapshot,
    evaluate,
    join_slots,
    variant_ranges,
)
from abplatform.domain.slots import Ranges, free_slots, take_slots
from tests.assignment.documents import a_rule, a_snapshot

UNITS = 100_000
FAMILY_ALPHA = 1e-3
SALTS = [f"{number:032x}" for number in range(10)] + ["", "利率"]
PAIRS = list(combinations(SALTS, 2))
COVERAGES = [0.01, 0.1, 0.5]
RAMP = [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.99, 1.0]
SHAPES: dict[str, Callable[[int], str]] = {
    "sequential": lambda number: f"user-{number}",
    "zero-padded": lambda number: f"{number:012d}",
    "hexadecimal": lambda number: f"{number:024x}",
    "phone": lambda number: f"+86138{7919 * number % 100_000_000:08d}",
    "uuid": lambda number: str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
    "mail": lambda number: f"{number}@example.com",
}

Draws = NDArray[np.int64]


@cache
def buckets(salt: str, units: int = UNITS, shape: str = "sequential") -> Draws:
    name = SHAPES[shape]
    return np.fromiter((bucket(salt, name(number)) for number in range(units)), dtype=np.int64, count=units)


def assert_plausible(p_value: float, tests: int) -> None:
    """Refuse a fit that is too bad and one that is too good."""
    tail = FAMILY_ALPHA / tests / 2
    assert tail < p_value < 1 - tail


def assert_share(hits: int, trials: int, share: float, tests: int) -> None:
    assert stats.binomtest(hits, trials, share).pvalue > FAMILY_ALPHA / tests


def uniformity(draws: Draws, bins: int) -> float:
    return float(stats.chisquare(np.bincount(draws * bins // BUCKETS, minlength=bins)).pvalue)


def independence(one: Draws, other: Draws, cells: int = 20) -> float:
    """Pearson's chi-square of the table of both draws, each cut into so many cells."""
    table = np.bincount((one * cells // BUCKETS) * cells + other * cells // BUCKETS, minlength=cells * cells)
    return float(stats.chi2_contingency(table.reshape(cells, cells), correction=False).pvalue)


def inside(draws: Draws, slots: Ranges) -> NDArray[np.bool_]:
    return np.any([(low <= draws) & (draws < high) for low, high in slots], axis=0)


@pytest.mark.parametrize("salt", SALTS)
def test_buckets_of_sequential_ids_are_uniform_over_a_thousand_bins(salt: str) -> None:
    assert_plausible(uniformity(buckets(salt), 1_000), len(SALTS))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "sequential"])
def test_buckets_are_uniform_whatever_ids_look_like(shape: str) -> None:
    draws = buckets("shapes", UNITS // 2, shape)
    assert_plausible(uniformity(draws, 1_000), len(SHAPES) - 1)


def test_draws_of_experiments_are_independent() -> None:
    for one, other in PAIRS:
        assert_plausible(independence(buckets(one), buckets(other)), len(PAIRS))


def test_variants_of_experiments_are_independent() -> None:
    """Two cells are the variants of a 50/50 experiment. The table with one degree of freedom has no "too good"."""
    for one, other in PAIRS:
        assert independence(buckets(one), buckets(other), cells=2) > FAMILY_ALPHA / len(PAIRS)


def test_neighbouring_ids_have_independent_buckets() -> None:
    draws = buckets("neighbours", UNITS + 1)
    assert_plausible(independence(draws[:-1], draws[1:]), 1)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_variant_draw_does_not_depend_on_who_is_covered(coverage: float) -> None:
    layer, variant = buckets("layer-salt", 4 * UNITS), buckets("variant-salt", 4 * UNITS)
    covered = variant[inside(layer, coverage_slots(coverage))]
    tests = 3 * len(COVERAGES)
    assert_share(len(covered), len(layer), coverage, tests)
    assert_share(int((covered < 500_000).sum()), len(covered), 0.5, tests)
    assert_plausible(uniformity(covered, 100), tests)


def test_slot_and_variant_are_independent_within_an_experiment() -> None:
    """The slots that a ramp appends hold the same mixture of variants as those before."""
    layer, variant = buckets("layer-salt", 4 * UNITS), buckets("variant-salt", 4 * UNITS)
    assert_plausible(independence(layer, variant), 1)


@pytest.mark.parametrize("weights", [[1, 1], [1, 2, 7], [99, 1], [0.1, 0.2, 0.3, 0.4], [1] * 10])
def test_shares_agree_with_weights(weights: list[float]) -> None:
    bounds = [high for _, high in variant_ranges(weights)]
    found = np.bincount(np.searchsorted(bounds, buckets(SALTS[0]), side="right"), minlength=len(weights))
    expected = np.array(weights) / np.sum(weights) * UNITS
    assert float(stats.chisquare(found, expected).pvalue) > FAMILY_ALPHA / 5


def test_ramp_from_one_percent_to_all_moves_nobody() -> None:
    units = [f"user-{number}" for number in range(5_000)]
    before: dict[str, str | None] = {}
    for coverage in RAMP:
        layer = {"salt": "layer-salt", "slots": coverage_slots(coverage)}
        snapshot = decode_snapshot(a_snapshot({"e": a_rule(layer=layer)}))
        evaluations = {unit: evaluate(snapshot, "e", unit) for unit in units}
        after = {unit: evaluation.variant for unit, evaluation in evaluations.items() if evaluation.in_experiment}
        assert before.items() <= after.items()
        assert len(after) > len(before)
        before = after
    assert set(before) == set(units)


def ramped_together(experiments: int, steps: int) -> list[Ranges]:
    """The slots of experiments that fill one layer in turns, so that each holds a piece per step."""
    held: list[Ranges] = [() for _ in range(experiments)]
    for _ in range(steps):
        for index, own in enumerate(held):
            free = free_slots([slot for slots in held for slot in slots])
            held[index] = (*own, *take_slots(free, BUCKETS // experiments // steps))
    return held


@pytest.mark.parametrize(("experiments", "steps"), [(2, 1), (2, 5), (20, 4)])
def test_experiments_of_one_layer_share_no_unit_and_together_hold_all(experiments: int, steps: int) -> None:
    held = ramped_together(experiments, steps)
    members = np.stack([inside(buckets("layer-salt"), slots) for slots in held])
    assert (members.sum(axis=0) == 1).all()
    assert_plausible(float(stats.chisquare(members.sum(axis=1)).pvalue), 3)


def test_evaluation_puts_a_unit_into_one_experiment_of_a_layer() -> None:
    rules = {
        f"e-{index}": a_rule(salt=f"variant-salt-{index}", layer={"salt": "layer-salt", "slots": join_slots(slots)})
        for index, slots in enumerate(ramped_together(20, 4))
    }
    snapshot = decode_snapshot(a_snapshot(rules))
    for number in range(2_000):
        unit = f"user-{number}"
        assert sum(evaluate(snapshot, key, unit).in_experiment for key in rules) == 1
