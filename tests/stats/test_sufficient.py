"""Sufficient statistics: closed forms, merging, digits, refusals."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.stats import CappedStats, EstimateStats, JointStats, MeanStats, ProportionStats, RatioStats, fixed
from abplatform.stats.sufficient.moments import SkewStats

values = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=0, max_size=30)
# Events carry six decimal places.
pairs = st.lists(
    st.tuples(st.floats(-1e3, 1e3).map(lambda y: round(y, 6)), st.floats(0.5, 50)), min_size=1, max_size=20
)


def fields(stats):
    return [np.asarray(getattr(stats, field.name), dtype=float) for field in dataclasses.fields(stats)]


def assert_same(left, right, *, scale):
    for one, other in zip(fields(left), fields(right), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * scale)


@given(values, values, values)
def test_merging_means_is_associative_order_free_and_equals_one_pass(first, second, third):
    a, b, c = (MeanStats.of(part) for part in (first, second, third))
    scale = 1 + max(map(abs, first + second + third), default=0) ** 2
    assert_same((a + b) + c, a + (b + c), scale=scale)
    assert_same(a + b, b + a, scale=scale)
    assert_same(a + b + c, MeanStats.of(first + second + third), scale=scale)


@given(pairs, pairs)
def test_merging_ratios_is_order_free_and_equals_one_pass(first, second):
    a, b = (RatioStats.of(*zip(*part, strict=True)) for part in (first, second))
    whole = RatioStats.of(*zip(*(first + second), strict=True))
    assert_same(a + b, b + a, scale=1e6)
    assert_same(a + b, whole, scale=1e6)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_merging_proportions_adds_counts_exactly(n, more):
    merged = ProportionStats(n, n // 3) + ProportionStats(more, more // 7)
    assert (int(merged.n), int(merged.successes)) == (n + more, n // 3 + more // 7)


def test_merging_keeps_digits_at_mean_1e9_sd_1_over_ten_million_units():
    # 100 blocks of 100,000 alternating 1e9 - 1, 1e9 + 1: mean 1e9 and m2 = n exactly (closed form).
    block = MeanStats.of(np.tile([1e9 - 1, 1e9 + 1], 50_000))
    total = MeanStats.of([])
    for _ in range(100):
        total = total + block
    assert int(total.n) == 10_000_000
    assert float(total.mean) == pytest.approx(1e9, rel=1e-15)
    assert float(total.unit_variance) == pytest.approx(1e7 / (1e7 - 1), rel=1e-9)


def test_merging_blocks_with_different_means_keeps_digits_at_mean_1e9():
    # Means 1e9 and 1e9 + 2, each of variance 1: total m2 is 2n + 2n * 1 (between-block part), closed form.
    n = 5_000_000
    total = MeanStats(n, 1e9, n) + MeanStats(n, 1e9 + 2, n)
    assert float(total.m2) == pytest.approx(4 * n, rel=1e-12)


def test_merge_weights_do_not_overflow_64_bits():
    big = MeanStats(5 * 10**9, 0.0, 1.0) + MeanStats(5 * 10**9, 1.0, 1.0)
    assert float(big.m2) == pytest.approx(2 + 2.5e9)


def test_statistics_of_raw_values_equal_numpy():
    raw = np.random.default_rng(1).gamma(2, 3, size=(4, 50))
    stats = MeanStats.of(raw)
    np.testing.assert_allclose(stats.estimate, raw.mean(axis=1))
    np.testing.assert_allclose(stats.variance, raw.var(axis=1, ddof=1) / 50)


def test_from_sums_equals_of_and_takes_rounding_for_no_variation():
    raw = np.array([0.1] * 1000)
    stats = MeanStats.from_sums(1000, raw.sum(), np.square(raw).sum())
    assert float(stats.variance) == 0
    raw = np.arange(10.0)
    assert_same(MeanStats.from_sums(10, 45, 285), MeanStats.of(raw), scale=1)


@pytest.mark.parametrize("value", [0.1, 1e9 / 3, -7.7e-5])
def test_constants_have_no_variance_whatever_their_rounding(value):
    stats = MeanStats.of([value] * 997) + MeanStats.of([value] * 501)
    assert float(stats.variance) == 0
    assert bool(stats.degenerate)


def test_delta_variance_equals_cluster_robust_regression():
    # statsmodels OLS on a constant with cluster covariance: factor G / (G - 1), the same estimator.
    import statsmodels.api as sm

    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 9, 60)
    cluster = np.repeat(np.arange(60), sizes)
    y = rng.normal(size=cluster.size) + rng.normal(size=60)[cluster]
    fit = sm.OLS(y, np.ones(y.size)).fit(cov_type="cluster", cov_kwds={"groups": cluster})
    stats = RatioStats.of(np.bincount(cluster, weights=y), sizes)
    assert float(stats.estimate) == pytest.approx(fit.params[0], rel=1e-12)
    assert float(stats.variance) == pytest.approx(fit.bse[0] ** 2, rel=1e-12)


def test_proportional_numerator_and_denominator_have_no_variance():
    d = np.random.default_rng(2).uniform(1, 9, 200)
    assert float(RatioStats.of(0.3 * d, d).variance) == 0


def test_proportion_variance_is_the_closed_form():
    stats = ProportionStats([10, 0, 5], [3, 0, 5])
    np.testing.assert_allclose(stats.estimate, [0.3, np.nan, 1])
    np.testing.assert_allclose(stats.variance, [0.021, np.nan, 0])
    assert stats.degenerate.tolist() == [False, True, True]
    assert stats.rarer_outcome.tolist() == [3, 0, 0]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: MeanStats(-1, 0, 0), "n must not"),
        (lambda: MeanStats(1.5, 0, 0), "n must be whole"),
        (lambda: MeanStats(10**30, 0, 0), "n "),
        (lambda: MeanStats("x", 0, 0), "n must be numbers"),
        (lambda: MeanStats(2, np.nan, 0), "mean"),
        (lambda: MeanStats(2, np.inf, 0), "mean"),
        (lambda: MeanStats(2, 0, -1e-9), "m2"),
        (lambda: MeanStats(0, 1, 0), "mean"),
        (lambda: MeanStats([1, 2], [1, 2, 3], 0), "shapes"),
        (lambda: MeanStats.of([1, np.nan]), "values"),
        (lambda: MeanStats.from_sums(2, 10, 1), "sum_squares"),
        (lambda: ProportionStats(3, 4), "successes"),
        (lambda: ProportionStats(3, -1), "successes"),
        (lambda: ProportionStats(np.nan, 1), "n must be finite"),
        (lambda: ProportionStats.of([0, 2]), "values"),
        (lambda: RatioStats(2, 1, 1, m2_y=1, m2_d=1, c_yd=1.1), "c_yd"),
        (lambda: RatioStats(2, 1, 1, m2_y=-1, m2_d=1, c_yd=0), "m2_y"),
        (lambda: RatioStats.of([1, 2], [1]), "y and d"),
    ],
)
def test_impossible_statistics_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_negative_moment_within_rounding_counts_as_zero():
    assert float(MeanStats(1000, 1e6, -1e-3).m2) == 0


def test_statistics_are_frozen_down_to_their_arrays():
    mine = np.array([1.0, 2.0])
    stats = MeanStats([3, 3], mine, [1.0, 1.0])
    mine[0] = 9
    assert float(stats.mean[0]) == 1
    with pytest.raises(ValueError, match="read-only"):
        stats.mean[0] = 5


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: MeanStats.of([1e200, -1e200]), "m2 must be finite"),
        (lambda: MeanStats.of([1e308, 1e308]), "mean must be finite"),
        (lambda: MeanStats.from_sums(10, 1e200, 1e300), "sum_squares is smaller than the sum allows"),
        (lambda: RatioStats.of([1e200, -1e200], [1, 2]), "m2_y must be finite"),
        (lambda: RatioStats.of([1, 2], [1e308, 1e308]), "mean_d must be finite"),
        (lambda: JointStats.of([1e308, 1e308]), "mean must be finite"),
        (lambda: JointStats.of([1, 2], [1e200, -1e200]), "cross must be finite"),
        (lambda: SkewStats.of([1e200, 0]), "m2 must be finite"),
        (lambda: SkewStats.of([1e120, 0]), "m3 must be finite"),
        (lambda: CappedStats.of([1e308, 1e308]), "mean must be finite"),
    ],
)
def test_numbers_whose_moments_overflow_are_refused_by_name_and_not_by_a_warning(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_one_huge_number_has_a_mean():
    assert float(CappedStats.of([1e308]).estimate) == 1e308
    assert float(MeanStats.of([1e308]).m2) == 0


def test_residual_moment_is_that_of_the_raw_residuals_at_any_ratio():
    # Sum of squared deviations of y - R d, from raw values.
    rng = np.random.default_rng(4)
    y, d = rng.normal(size=50), rng.gamma(2, size=50)
    moment, rounding = RatioStats.of(y, d).residual_moment(np.asarray(0.7))
    assert float(moment) == pytest.approx(np.square(y - 0.7 * d - (y - 0.7 * d).mean()).sum(), rel=1e-12)
    assert 0 < float(rounding) < 1e-12


@pytest.mark.parametrize("cautions", [np.inf, 1.5, -1, "few"])
def test_cautions_that_are_no_flags_are_refused(cautions):
    with pytest.raises(ValueError, match="cautions"):
        EstimateStats(1, 1.0, 1.0, cautions=cautions)


def test_fields_of_finished_estimates_broadcast():
    arm = EstimateStats([[10], [20]], [1.0, 2.0, 3.0], 1.0)
    found = fixed.compare(arm, EstimateStats([[10], [20]], [0.0, 0.0, 0.0], 1.0)).absolute.estimate
    assert found.tolist() == [[1.0, 2.0, 3.0]] * 2
