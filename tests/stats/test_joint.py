"""Joint moments of outcome and covariates: closed forms, merging, digits, missing covariates, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.stats import MeanStats, RatioStats
from abplatform.stats.sufficient.joint import JointStats

# Events carry six decimal places.
number = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))
covariate = st.one_of(number, st.just(np.nan))
rows = st.lists(st.tuples(number, st.floats(0.5, 50), covariate, covariate), max_size=20)
known_rows = st.lists(st.tuples(number, st.floats(0.5, 50), number, number), max_size=20)


def joint(data):
    table = np.array(data, dtype=float).reshape(-1, 4)
    return JointStats.of(table[:, 0], table[:, 2:], d=table[:, 1])


def assert_same(left, right):
    assert (left.ratio, left.indicators) == (right.ratio, right.indicators)
    np.testing.assert_array_equal(left.n, right.n)
    np.testing.assert_allclose(left.mean, right.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(left.cross, right.cross, rtol=1e-9, atol=1e-5)


def test_moments_equal_numpy_for_a_grid_of_cells():
    raw = np.random.default_rng(1).gamma(2, 3, size=(2, 3, 50, 4))
    stats = JointStats.of(raw[..., 0], raw[..., 2:], d=raw[..., 1])
    for cell in np.ndindex(2, 3):
        np.testing.assert_allclose(stats.mean[cell], raw[cell].mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(stats.cross[cell], 49 * np.cov(raw[cell].T), rtol=1e-12)
    assert (int(stats.n), stats.covariates, stats.ratio) == (50, 2, True)


def test_one_covariate_needs_no_axis_of_its_own():
    y, x = np.random.default_rng(2).normal(size=(2, 5, 30))
    assert_same(JointStats.of(y, x), JointStats.of(y, x[..., None]))


@given(rows, rows, rows)
def test_merging_is_associative_order_free_and_equals_one_pass(first, second, third):
    a, b, c = joint(first), joint(second), joint(third)
    assert_same((a + b) + c, a + (b + c))
    assert_same(a + b, b + a)
    assert_same(a + b + c, joint(first + second + third))


def test_merging_keeps_digits_at_mean_1e9_sd_1_over_ten_million_units():
    # 100 blocks of 100,000 units, y in 1e9 +- 1 and x = y - 1e9 exactly: all three moments are n (closed form).
    x = np.tile([-1.0, 1.0], 50_000)
    block, total = JointStats.of(1e9 + x, x), JointStats.of([], np.zeros((0, 1)))
    for _ in range(100):
        total = total + block
    assert int(total.n) == 10_000_000
    np.testing.assert_allclose(total.mean, [1e9, 0], rtol=1e-15, atol=1e-12)
    np.testing.assert_allclose(total.cross, np.full((2, 2), 1e7), rtol=1e-9)


def test_merging_blocks_with_different_means_adds_what_lies_between_them():
    # Closed form: n/2 of each block, means 2 apart in y and 6 apart in x; between-block part n/4 * step step'.
    n = 1_000_000
    inside = np.array([[2.0, 1.0], [1.0, 5.0]]) * n
    total = JointStats(n, [1e9, 0], inside) + JointStats(n, [1e9 + 2, 6], inside)
    np.testing.assert_allclose(total.cross, 2 * inside + n / 2 * np.array([[4.0, 12.0], [12.0, 36.0]]), rtol=1e-12)


def test_outcome_is_the_plain_statistic_of_the_outcome():
    y, d, x = np.random.default_rng(3).gamma(2, 1, size=(3, 4, 25))
    plain, ratio = JointStats.of(y, x).outcome, JointStats.of(y, x, d=d).outcome
    assert isinstance(plain, MeanStats)
    assert isinstance(ratio, RatioStats)
    for got, expected in ((plain, MeanStats.of(y)), (ratio, RatioStats.of(y, d))):
        np.testing.assert_allclose(got.estimate, expected.estimate, rtol=1e-13)
        np.testing.assert_allclose(got.variance, expected.variance, rtol=1e-11)


def test_missing_covariates_become_zeros_and_one_indicator_per_covariate():
    x = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, np.nan]])
    filled = np.array([[1.0, 0, 0, 1], [0, 2, 1, 0], [3, 0, 0, 1]])
    stats = JointStats.of([5.0, 7, 9], x)
    assert stats.indicators == 2
    assert_same(stats, JointStats(3, *_moments(np.column_stack([[5.0, 7, 9], filled])), indicators=2))


def _moments(table):
    return table.mean(axis=0), (len(table) - 1) * np.cov(table.T)


@given(known_rows, rows)
def test_units_without_missing_covariates_merge_with_units_that_have_some(known, some):
    assert_same(joint(known) + joint(some), joint(known + some))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: JointStats(-1, [0], [[0]]), "n must not"),
        (lambda: JointStats(3, 0, [[0]]), "mean must have a last axis of at least 1"),
        (lambda: JointStats(3, [0], [[0]], ratio=True), "mean must have a last axis of at least 2"),
        (lambda: JointStats(3, [np.nan], [[0]]), "mean must be finite"),
        (lambda: JointStats(3, [0, 0], [[1, np.inf], [np.inf, 1]]), "cross must be finite"),
        (lambda: JointStats(3, [0, 0], [1, 0]), "cross must end in two axes"),
        (lambda: JointStats(3, [0, 0], [[1]]), "cross must end in two axes"),
        (lambda: JointStats(3, [0, 0], [[1, 0.5], [0.4, 1]]), "cross must be symmetric"),
        (lambda: JointStats(3, [0, 0], [[-1, 0], [0, 1]]), "cross must not be negative"),
        (lambda: JointStats(3, [0, 0], [[1, 1.1], [1.1, 1]]), "cross must be positive semidefinite"),
        # Every pair is fine, and still no data have these three correlations (determinant -2.9).
        (lambda: JointStats(9, [0] * 3, [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]), "cross must be positive"),
        (lambda: JointStats(0, [1], [[0]]), "mean must be 0 where n is 0"),
        (lambda: JointStats(0, [0], [[1]]), "cross must be 0 where n is 0"),
        (lambda: JointStats([3, 3], [[0], [0], [0]], np.zeros((3, 1, 1))), "shapes do not broadcast: n"),
        (lambda: JointStats(3, [0, 0], np.eye(2), indicators=1), "indicators"),
        (lambda: JointStats(3, [0, 0], np.eye(2), indicators=-1), "indicators"),
        (lambda: JointStats.of([1, np.nan]), "y must be finite"),
        (lambda: JointStats.of([1, 2], [1, np.inf]), "covariates must be finite"),
        (lambda: JointStats.of([1, 2], ["a", "b"]), "covariates must be numbers"),
        (lambda: JointStats.of([1, 2], [1, 2, 3]), "covariates must have the shape of y"),
        (lambda: JointStats.of([1, 2], d=[1, np.nan]), "d must be finite"),
        (lambda: JointStats.of([1, 2], d=[1]), "d must have the shape"),
        (lambda: JointStats.of([1e200, -1e200]), "cross must be finite"),
        (lambda: JointStats.of([1, 2]) + JointStats.of([1, 2], [1, 2]), "covariates must be the same"),
        (lambda: JointStats.of([1, 2]) + JointStats.of([1, 2], d=[1, 2]), "ratio must be the same"),
    ],
)
def test_impossible_statistics_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=name):
        make()


@given(known_rows.filter(lambda data: len(data) > 1), st.floats(-1e9, 1e9))
def test_moments_of_data_are_never_refused_whatever_their_distance_from_zero(data, shift):
    table = np.array(data) + shift
    # Five numbers, two of them exact multiples of each other: as close to indefinite as data can be.
    stats = JointStats.of(table[:, 0], np.column_stack([table[:, 1:], 3 * table[:, 1]]))
    merged = stats + stats
    assert int(merged.n) == 2 * len(data)


def test_statistics_are_frozen_down_to_their_arrays():
    stats = JointStats.of([1.0, 2.0, 4.0], [1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="read-only"):
        stats.cross[0, 0] = 5
