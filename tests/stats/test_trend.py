"""Trends over days since exposure: moments, the slope, its calibration under correlated days, and its patterns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.regression.linear_model import OLS

from abplatform.stats import MeanStats, NotComputable, fixed
from abplatform.stats.trend import DailyStats, TrendPattern, check_effect_trend, check_trend, slope_weights

DAYS = 7


def correlated_days(rng, shape, habit=1.0, noise=1.0):
    """Units with a level of their own: days of one unit are correlated."""
    return habit * rng.normal(size=(*shape, 1)) + noise * rng.normal(size=(*shape, DAYS))


values = st.lists(st.lists(st.floats(-100, 100), min_size=3, max_size=3), min_size=1, max_size=8)


def same(left, right):
    np.testing.assert_array_equal(left.n, right.n)
    np.testing.assert_allclose(left.mean, right.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(left.m2, right.m2, rtol=1e-9, atol=1e-7)


@settings(max_examples=50)
@given(values, values, values)
def test_merging_is_the_same_as_reducing_at_once_in_any_order(a, b, c):
    parts = [DailyStats.of(part) for part in (a, b, c)]
    whole = DailyStats.of([*a, *b, *c])
    same((parts[0] + parts[1]) + parts[2], whole)
    same(parts[0] + (parts[1] + parts[2]), whole)
    same(parts[2] + parts[0] + parts[1], whole)


def test_moments_equal_numpys_covariance_and_keep_digits_at_a_large_level():
    raw = 1e9 + np.random.default_rng(0).normal(size=(500, DAYS))
    arm = DailyStats.of(raw[:200]) + DailyStats.of(raw[200:])
    np.testing.assert_allclose(arm.m2 / 499, np.cov(raw - 1e9, rowvar=False), rtol=1e-6, atol=1e-6)


def test_an_empty_arm_adds_nothing():
    arm = DailyStats.of(np.random.default_rng(0).normal(size=(4, 3)))
    same(arm + DailyStats(0, np.zeros(3), np.zeros((3, 3))), arm)
    same(DailyStats(0, np.zeros(3), np.zeros((3, 3))) + arm, arm)


@settings(max_examples=50)
@given(values, st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_a_contrast_has_the_moments_of_the_units_own_contrasts(raw, weights):
    got, own = DailyStats.of(raw).contrast(weights), MeanStats.of(np.asarray(raw) @ weights)
    assert float(got.mean) == pytest.approx(float(own.mean), rel=1e-9, abs=1e-9)
    assert float(got.m2) == pytest.approx(float(own.m2), rel=1e-6, abs=1e-6)


def test_each_day_by_itself_is_an_ordinary_mean():
    raw = np.random.default_rng(0).normal(size=(50, DAYS))
    day = DailyStats.of(raw).daily()
    np.testing.assert_allclose(day.variance, raw.var(axis=0, ddof=1) / 50, rtol=1e-10)


def test_weights_give_the_least_squares_slope():
    days, effects = np.array([0.0, 1, 2, 5, 9]), np.array([3.0, 2, 2.5, 1, 0.2])
    expected = np.polyfit(days, effects, 1)[0]
    assert slope_weights(days) @ effects == pytest.approx(expected, rel=1e-12)


def test_trend_is_welchs_test_of_the_units_own_regression_slopes():
    rng = np.random.default_rng(4)
    raw = [correlated_days(rng, (size,)) for size in (40, 60)]
    raw[0] += -0.1 * np.arange(DAYS)
    design = np.column_stack([np.ones(DAYS), np.arange(DAYS)])
    own = [np.array([OLS(unit, design).fit().params[1] for unit in arm]) for arm in raw]
    expected = reference.ttest_ind(*own, equal_var=False)
    got = check_trend(*(DailyStats.of(arm) for arm in raw))
    assert float(got.p_value) == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (float(got.slope.lower), float(got.slope.upper)) == pytest.approx(tuple(interval), rel=1e-9)


def simulated(rng, runs, units, drift=0.0, **parts):
    """Arms of many experiments at once, from the law of the moments' raw values."""
    treatment = correlated_days(rng, (runs, units), **parts) + drift * np.arange(DAYS)
    return DailyStats.of(treatment), DailyStats.of(correlated_days(rng, (runs, units), **parts))


@pytest.mark.parametrize("habit", [0.0, 3.0])
def test_no_trend_is_found_in_five_of_a_hundred_whatever_the_correlation_of_days(habit):
    runs = 4000
    got = check_trend(*simulated(np.random.default_rng(5), runs, 30, habit=habit))
    assert (got.p_value < 0.05).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_days_taken_for_independent_are_wrong_where_units_have_habits():
    # Why not a regression of daily effects on days: it would find next to nothing here, and the truth is plain.
    rng = np.random.default_rng(6)
    treatment, control = simulated(rng, 500, 100, drift=-0.1, habit=3.0)
    naive = fixed.compare(treatment.daily(), control.daily())
    weights, day_variance = (
        slope_weights(range(DAYS)),
        np.square(naive.absolute.upper - naive.absolute.estimate) / 1.97**2,
    )
    z = naive.absolute.estimate @ weights / np.sqrt(day_variance @ np.square(weights))
    assert (np.abs(z) > 1.96).mean() < 0.4
    assert (check_trend(treatment, control).p_value < 0.05).mean() > 0.9


def test_slope_is_covered_95_times_in_100():
    runs = 4000
    got = check_trend(*simulated(np.random.default_rng(7), runs, 30, drift=0.05)).slope
    covered = ((got.lower <= 0.05) & (got.upper >= 0.05)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs))


@pytest.mark.parametrize(
    ("level", "drift", "direction", "pattern"),
    [
        (0.5, -0.1, "increase", TrendPattern.NOVELTY),
        (0.0, 0.1, "increase", TrendPattern.PRIMACY),
        (-0.8, 0.1, "increase", TrendPattern.PRIMACY),
        (-0.5, 0.1, "decrease", TrendPattern.NOVELTY),
        (0.5, -0.1, "decrease", TrendPattern.PRIMACY),
        (0.5, 0.0, "increase", None),
    ],
)
def test_pattern_says_whether_early_days_flatter_or_undersell(level, drift, direction, pattern):
    rng = np.random.default_rng(8)
    treatment = DailyStats.of(correlated_days(rng, (2000,)) + level + drift * np.arange(DAYS))
    control = DailyStats.of(correlated_days(rng, (2000,)))
    got = check_trend(treatment, control, direction=direction, alpha=0.01)
    assert got.pattern.item() == pattern
    assert (float(got.p_value) < 0.01) == (pattern is not None)


@settings(max_examples=30)
@given(values.filter(lambda v: len(v) > 1), values.filter(lambda v: len(v) > 1), st.sampled_from([0.001, 0.05, 0.3]))
def test_interval_excludes_zero_exactly_when_p_is_below_alpha_and_swapping_flips_it(a, b, alpha):
    arms = DailyStats.of(a), DailyStats.of(b)
    got, back = check_trend(*arms, alpha=alpha), check_trend(*arms[::-1], alpha=alpha)
    p = float(got.p_value)
    if not np.isnan(p):
        assert float(back.slope.lower) == pytest.approx(-float(got.slope.upper))
        assert float(back.p_value) == pytest.approx(p, rel=1e-9, abs=1e-300)
        if abs(p / alpha - 1) > 1e-9:
            assert bool((got.slope.lower > 0) | (got.slope.upper < 0)) == (p < alpha)


def test_rescaling_the_metric_or_the_days_keeps_p():
    rng = np.random.default_rng(9)
    raw = [correlated_days(rng, (40,)) for _ in range(2)]
    plain = check_trend(*(DailyStats.of(arm) for arm in raw))
    scaled = check_trend(*(DailyStats.of(1e-6 * arm) for arm in raw), days=24 * np.arange(DAYS))
    assert float(scaled.p_value) == pytest.approx(float(plain.p_value), rel=1e-9)
    assert float(scaled.slope.estimate) == pytest.approx(float(plain.slope.estimate) * 1e-6 / 24, rel=1e-9)


def test_units_with_one_slope_and_arms_without_units_say_so():
    # Constant over their days: no unit has any slope, though units differ.
    flat = DailyStats.of(np.array([[0.1] * DAYS, [7.3] * DAYS, [2.9] * DAYS]))
    assert check_trend(flat, flat).not_computable.item() == NotComputable.ZERO_VARIANCE
    one = DailyStats.of(np.ones((1, DAYS)))
    assert check_trend(one, flat).not_computable.item() == NotComputable.ONE_UNIT
    none = DailyStats(0, np.zeros(DAYS), np.zeros((DAYS, DAYS)))
    got = check_trend(none, flat)
    assert got.not_computable.item() == NotComputable.NO_UNITS
    assert np.isnan(got.p_value)
    assert got.pattern.item() is None


def test_a_given_covariance_gives_the_same_slope_as_the_units():
    rng = np.random.default_rng(10)
    raw = [correlated_days(rng, (5000,)) for _ in range(2)]
    arms = [DailyStats.of(arm) for arm in raw]
    effects = arms[0].mean - arms[1].mean
    covariance = sum(arm.m2 / (arm.n - 1) / arm.n for arm in arms)
    got, expected = check_effect_trend(effects, covariance), check_trend(*arms)
    assert float(got.slope.estimate) == pytest.approx(float(expected.slope.estimate), rel=1e-9)
    # The same statistic, read from the normal instead of t.
    statistic = reference.ttest_ind(*(arm @ slope_weights(range(DAYS)) for arm in raw), equal_var=False).statistic
    assert float(got.p_value) == pytest.approx(2 * reference.norm.sf(abs(statistic)), rel=1e-9)


def test_independent_days_are_a_weighted_regression_with_known_variances():
    effects = np.array([3.0, 2.4, 2.5, 1.0])
    got = check_effect_trend(np.stack([effects, effects]), np.diag([0.5] * 4), direction="decrease", alpha=[0.05, 1e-9])
    # Least squares with known variance: se = sqrt(0.5 / sum (day - mean)^2) = sqrt(0.5 / 5).
    z = np.polyfit(range(4), effects, 1)[0] / np.sqrt(0.1)
    np.testing.assert_allclose(got.p_value, 2 * reference.norm.sf(abs(z)), rtol=1e-10)
    assert got.pattern.tolist() == [TrendPattern.PRIMACY, None] if abs(z) > 1.96 else [None, None]
    still = check_effect_trend(effects, np.zeros((4, 4)))
    assert (still.not_computable.item(), still.pattern.item()) == (NotComputable.ZERO_VARIANCE, None)
    assert np.isnan(still.p_value)


def test_one_grid_answers_like_its_cells():
    treatment, control = simulated(np.random.default_rng(11), 3, 20)
    grid = check_trend(treatment, control)
    for i in range(3):
        single = check_trend(*(DailyStats(arm.n[i], arm.mean[i], arm.m2[i]) for arm in (treatment, control)))
        assert float(grid.p_value[i]) == pytest.approx(float(single.p_value), rel=1e-12)


@pytest.mark.parametrize("scale", [1e200, 1e-200, -1e307, 3e-300])
def test_days_of_any_size_have_weights(scale):
    np.testing.assert_allclose(slope_weights(np.array([0.0, 1, 2, 5]) * scale) * scale, slope_weights([0.0, 1, 2, 5]))


@pytest.mark.parametrize("power", [600, -600, 1000])
def test_days_of_any_size_have_trends(power):
    rng = np.random.default_rng(12)
    arms = [DailyStats.of(correlated_days(rng, (40,))) for _ in range(2)]
    effects, covariance = arms[0].mean - arms[1].mean, np.eye(DAYS) * 0.01
    days = np.ldexp(np.arange(DAYS, dtype=float), power)
    for check, data in ((check_trend, arms), (check_effect_trend, (effects, covariance))):
        plain, far = check(*data), check(*data, days=days)
        # A power of two: the same digits.
        assert far.p_value == plain.p_value
        assert far.slope.upper == np.ldexp(plain.slope.upper, -power)


def test_effects_beyond_all_floats_say_so():
    got = check_effect_trend([[1e200, 3.0], [1.0, 3.0]], np.eye(2))
    assert got.not_computable.tolist() == [NotComputable.OVERFLOW, None]
    assert np.isnan(got.p_value[0])


def daily_pair():
    return DailyStats.of([[[1.0, 2.0], [2.0, 5.0]]] * 2)


def daily():
    return DailyStats.of([[1.0, 2.0], [2.0, 5.0]])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: DailyStats(-1, [0.0], [[0.0]]), "n must"),
        (lambda: DailyStats(2, 1.0, [[0.0]]), "mean"),
        (lambda: DailyStats(2, [1.0, np.nan], np.eye(2)), "mean"),
        (lambda: DailyStats(0, [1.0, 2.0], np.zeros((2, 2))), "mean must be 0 where n is 0"),
        (lambda: DailyStats(2, [1.0, 2.0], np.eye(3)), "m2"),
        (lambda: DailyStats(2, [1.0, 2.0], [[1.0, 2.0], [2.0, 1.0]]), "m2"),
        (lambda: DailyStats(2, [1.0, 2.0], [[1.0, 0.5], [-0.5, 1.0]]), "m2"),
        (lambda: daily().contrast([1.0, 2.0, 3.0]), "weights"),
        (lambda: slope_weights([1.0]), "days"),
        (lambda: slope_weights([1.0, 1.0]), "days"),
        (lambda: slope_weights([1e-320, 2e-320]), "days"),
        (lambda: check_trend(daily(), daily(), days=[1.0, 2.0, 3.0]), "days"),
        (lambda: check_trend(*[daily_pair()] * 2, alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda: check_effect_trend([[1.0, 2.0]] * 2, np.eye(2), alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda: check_effect_trend([[1.0, 2.0]] * 2, [np.eye(2)] * 3), "covariance"),
        (lambda: check_trend(daily(), daily(), days=[1.0, np.inf]), "days"),
        (lambda: check_trend(daily(), DailyStats.of(np.ones((3, 3)))), "control"),
        (lambda: check_trend(daily(), daily(), alpha=0), "alpha"),
        (lambda: check_trend(daily(), daily(), direction="up"), "direction"),
        (lambda: check_effect_trend([1.0, 2.0], np.eye(3)), "covariance"),
        (lambda: check_effect_trend([1.0, 2.0], -np.eye(2)), "covariance"),
        (lambda: check_effect_trend([1.0, 2.0], np.eye(2), days=[1.0, 2.0, 3.0]), "days"),
        (lambda: check_effect_trend(1.0, 1.0), "covariance"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
