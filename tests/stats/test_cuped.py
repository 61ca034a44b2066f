"""CUPED: equality with regressions on raw data, variances, coverage, missing covariates, ratios, degenerate cells."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from abplatform.stats import NotComputable, RatioStats, adjust, bayes, effects, fixed, sequential
from abplatform.stats.adjust.adjusted import Common, own_and_shared
from abplatform.stats.results import Caution
from abplatform.stats.sufficient.joint import JointStats

MODES = ["pooled", "per_arm"]


def arms(y, x, treated, d=None):
    """Joint statistics of treatment and control from one table of units."""
    return tuple(JointStats.of(y[rows], x[rows], d=None if d is None else d[rows]) for rows in (treated, ~treated))


def experiment(seed, n_t=300, n_c=700, k=3, noise=1.0):
    """Skewed covariates whose slopes, and whose noise, differ between the arms."""
    rng = np.random.default_rng(seed)
    treated = np.arange(n_t + n_c) < n_t
    x = rng.gamma(2, 3, (n_t + n_c, k))
    y = 5 + x @ np.linspace(1, -0.5, k) + treated * (0.7 + 0.3 * x[:, 0])
    return y + noise * rng.normal(size=n_t + n_c) * (1 + treated), x, treated


def ancova_design(x, treated):
    return sm.add_constant(np.column_stack([treated, x]))


def lin_design(x, treated):
    centred = x - x.mean(axis=0)
    return sm.add_constant(np.column_stack([treated, centred, treated[:, None] * centred]))


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


@pytest.mark.parametrize("k", [1, 4])
def test_pooled_difference_equals_the_analysis_of_covariance_on_raw_data(k):
    # statsmodels OLS of y on treatment and covariates.
    y, x, treated = experiment(1, k=k)
    fit = sm.OLS(y, ancova_design(x, treated)).fit()
    got = effects.difference(*adjust.cuped(*arms(y, x, treated), theta="pooled"))
    assert float(got.estimate) == pytest.approx(fit.params[1], rel=1e-10)


@pytest.mark.parametrize("k", [1, 4])
def test_per_arm_difference_and_arms_equal_lins_interacted_regression_on_raw_data(k):
    # statsmodels OLS with all interactions, covariates centred at the mean of both arms (Lin, 2013).
    y, x, treated = experiment(2, k=k)
    fit = sm.OLS(y, lin_design(x, treated)).fit()
    adjusted = adjust.cuped(*arms(y, x, treated), theta="per_arm")
    assert float(effects.difference(*adjusted).estimate) == pytest.approx(fit.params[1], rel=1e-10)
    assert float(adjusted.control.estimate) == pytest.approx(fit.params[0], rel=1e-10)


def test_pooled_variance_is_the_sandwich_with_one_residual_variance_per_arm():
    # (Z'Z)^-1 Z' diag(s_a^2) Z (Z'Z)^-1 on raw data, s_a^2 the squares of arm a over n_a less its leverages.
    y, x, treated = experiment(3)
    design = ancova_design(x, treated)
    bread = np.linalg.inv(design.T @ design)
    residual, leverage = y - design @ bread @ design.T @ y, np.einsum("ij,jk,ik->i", design, bread, design)
    spread = np.empty(y.size)
    for rows in (treated, ~treated):
        spread[rows] = np.square(residual[rows]).sum() / (1 - leverage[rows]).sum()
    expected = (bread @ (design.T * spread) @ design @ bread)[1, 1]
    adjusted = adjust.cuped(*arms(y, x, treated), theta="pooled")
    assert float(effects.difference(*adjusted).variance) == pytest.approx(expected, rel=1e-9)
    # The degrees of freedom of both arms are those of the regression together.
    assert float(adjusted.treatment.freedom + adjusted.control.freedom) == pytest.approx(1000 - 2 - 3, rel=1e-12)


def superpopulation_term(x, slopes):
    """Negi and Wooldridge (2021): (theta_t - theta_c)' Cov(x) (theta_t - theta_c) / N."""
    return slopes @ np.cov(x.T) @ slopes / len(x)


def test_per_arm_variance_is_that_of_two_regressions_and_of_slopes_that_differ():
    # statsmodels, one OLS per arm with covariates centred at the mean of both: squared errors of the intercepts.
    y, x, treated = experiment(4)
    fits = [sm.OLS(y[rows], sm.add_constant(x[rows] - x.mean(axis=0))).fit() for rows in (treated, ~treated)]
    given_x = sum(fit.bse[0] ** 2 for fit in fits)
    # Estimated slopes inflate the plug-in term on average by tr(Cov(x) Var(slopes)) / N, here s^2 k / (n - 1) / N.
    inflation = sum(fit.scale * 3 / (fit.nobs - 1) for fit in fits) / y.size
    term = superpopulation_term(x, fits[0].params[1:] - fits[1].params[1:])
    got = effects.difference(*adjust.cuped(*arms(y, x, treated), theta="per_arm")).variance
    assert float(got) == pytest.approx(given_x + term - inflation, rel=1e-9)


def test_per_arm_variance_given_the_covariates_agrees_with_hc2_and_hc3():
    # statsmodels HC2 and HC3 of the interacted regression. With errors independent of x, HC2 differs by
    # 2 w C^-1 sum (x - mean) e^2 / n, w the distance between the arms' means: relative to s^2 / n that is
    # 2 sqrt(2 k) |z| / n at most, z standard normal. HC3 is larger by its factor 1 / (1 - h), (k + 1) / n on average.
    rng = np.random.default_rng(5)
    n, k = 2000, 2
    treated, x = np.arange(2 * n) < n, rng.gamma(2, 3, (2 * n, k))
    y = x.sum(axis=1) + 0.5 * treated * x[:, 0] + rng.normal(size=2 * n)
    model = sm.OLS(y, lin_design(x, treated))
    fit, hc3 = model.fit(cov_type="HC2"), model.fit(cov_type="HC3")
    term = superpopulation_term(x, fit.params[-k:])
    got = float(effects.difference(*adjust.cuped(*arms(y, x, treated), theta="per_arm")).variance) - term
    bound = 4 * 2 * np.sqrt(2 * k) / n
    assert got == pytest.approx(fit.bse[1] ** 2, rel=bound)
    assert got == pytest.approx(hc3.bse[1] ** 2, rel=bound + 2 * (k + 1) / n)


def simulated(seed, runs, n_t, n_c, draw):
    """Arms of many experiments at once, one per cell; ``draw(rng, shape, treated)`` gives y and x."""
    rng = np.random.default_rng(seed)
    return tuple(JointStats.of(*draw(rng, (runs, n), treated)) for n, treated in ((n_t, 1.0), (n_c, 0.0)))


def covered(result, truth):
    return float(((result.lower <= truth) & (truth <= result.upper)).mean())


def correlated(rng, shape, treated):
    x = rng.normal(size=shape)
    return 10 + 0.3 * treated + 0.7 * x + np.sqrt(0.51) * rng.normal(size=shape), x


@pytest.mark.parametrize("theta", MODES)
def test_interval_covers_95_percent_at_half_the_variance_at_correlation_seven_tenths(theta):
    # 1 - .7^2 = .51; the slopes' noise adds about 1 / N of it.
    runs = 10_000
    adjusted = adjust.cuped(*simulated(6, runs, 200, 200, correlated), theta=theta)
    result = fixed.compare(*adjusted)
    assert covered(result.absolute, 0.3) == pytest.approx(0.95, abs=slack(0.05, runs))
    assert covered(result.relative, 0.03) == pytest.approx(0.95, abs=slack(0.05, runs))
    assert adjusted.variance_ratio.mean() == pytest.approx(0.51, abs=0.004)


@pytest.mark.parametrize("theta", MODES)
@pytest.mark.parametrize("sizes", [(15, 15), (40, 12)])
def test_interval_covers_95_percent_in_small_arms(theta, sizes):
    runs = 10_000
    result = fixed.compare(*adjust.cuped(*simulated(7, runs, *sizes, correlated), theta=theta))
    assert covered(result.absolute, 0.3) == pytest.approx(0.95, abs=slack(0.05, runs))


@pytest.mark.parametrize("theta", MODES)
def test_interval_covers_95_percent_with_skewed_outcomes_and_covariates(theta):
    # Lognormal (skewness 6), effect 10% of everything, so that slopes and noise differ as well.
    def draw(rng, shape, treated):
        x = rng.lognormal(size=shape)
        return (0.8 * x + rng.lognormal(size=shape)) * (1 + 0.1 * treated), x

    runs, control = 5000, 1.8 * np.exp(0.5)
    result = fixed.compare(*adjust.cuped(*simulated(8, runs, 500, 500, draw), theta=theta))
    assert covered(result.absolute, 0.1 * control) == pytest.approx(0.95, abs=slack(0.05, runs))
    assert covered(result.relative, 0.1) == pytest.approx(0.95, abs=slack(0.05, runs))


def sloped(rng, shape, treated):
    x = rng.normal(size=shape)
    return 5 + 0.5 * treated + (1 + 0.3 * treated) * x + rng.normal(size=shape), x


@pytest.mark.parametrize("theta", MODES)
def test_variances_are_those_of_the_estimates_when_slopes_and_shares_differ(theta):
    # All that the methods use, against the spread of 20,000 estimates: relative error of a variance sqrt(2 / runs),
    # and the covariance of the difference with control relative to the product of their standard deviations.
    runs = 20_000
    diff = effects.difference(*adjust.cuped(*simulated(9, runs, 200, 100, sloped), theta=theta))
    spread, error = np.cov(diff.estimate, diff.control), 4 * np.sqrt(2 / runs)
    assert diff.variance.mean() == pytest.approx(spread[0, 0], rel=error)
    assert (diff.control_variance + diff.shared_variance).mean() == pytest.approx(spread[1, 1], rel=error)
    size = np.sqrt(spread[0, 0] * spread[1, 1])
    assert diff.control_variance.mean() == pytest.approx(-spread[0, 1], abs=error * size)


def test_interval_needs_the_superpopulation_term():
    # Slopes 1 and 3.5, noise .5: given x the variance is 2 * .25 / 150, and 2.5^2 / 300 comes with the sample of x.
    def draw(rng, shape, treated):
        x = rng.normal(size=shape)
        return (1 + 2.5 * treated) * x + 0.5 * rng.normal(size=shape), x

    runs, given_x, term = 5000, 2 * 0.25 / 150, 2.5**2 / 300
    result = fixed.compare(*adjust.cuped(*simulated(10, runs, 150, 150, draw), theta="per_arm")).absolute
    assert covered(result, 0) == pytest.approx(0.95, abs=slack(0.05, runs))
    expected = 1 - 2 * special.ndtr(-1.96 * np.sqrt(given_x / (given_x + term)))
    without = (np.abs(result.estimate) < 1.96 * np.sqrt(given_x)).mean()
    assert without == pytest.approx(expected, abs=slack(expected, runs))
    assert expected < 0.6


def test_per_arm_slopes_beat_the_pooled_one_when_slopes_and_shares_differ():
    # Lin (2013): the pooled slope leans to the larger arm, the difference needs the smaller arm's more.
    def draw(rng, shape, treated):
        x = rng.normal(size=shape)
        return (1 - 2 * treated) * x + rng.normal(size=shape), x

    pair = simulated(11, 200, 900, 100, draw)
    pooled, own = (adjust.cuped(*pair, theta=theta).variance_ratio.mean() for theta in MODES)
    assert pooled > 1 > own


@pytest.mark.parametrize(("units", "skew"), [(100, 0.01), (500, 0.005)])
def test_own_slopes_are_the_default_and_cover_skewed_covariates_whose_slopes_differ(units, skew):
    # Slopes 3 and 1 on a lognormal covariate. Residuals about a common slope depend on it, so that the slope's error
    # goes with the difference of its means, which no variance sees. The mean of a lognormal is itself skewed, which
    # costs every interval up to ``skew``.
    def draw(rng, shape, treated):
        x = rng.lognormal(size=shape)
        return (1 + 2 * treated) * x + rng.normal(size=shape), x

    runs, effect = 5000, 2 * np.exp(0.5)
    pair = simulated(30, runs, units, units, draw)
    own, pooled = (fixed.compare(*adjusted) for adjusted in (adjust.cuped(*pair), adjust.cuped(*pair, theta="pooled")))
    assert covered(own.absolute, effect) == pytest.approx(0.95, abs=slack(0.05, runs) + skew)
    assert covered(pooled.absolute, effect) < 0.95 - slack(0.05, runs)


@pytest.mark.parametrize("theta", MODES)
def test_missing_covariates_are_the_regression_with_indicators(theta):
    # statsmodels on zeros for missing values and an indicator for each covariate (Zhao and Ding, 2022).
    y, x, treated = experiment(12, k=2)
    rng = np.random.default_rng(12)
    gone = rng.random(x.shape) < special.expit(x - 8)
    filled = np.column_stack([np.where(gone, 0, x), gone])
    design = ancova_design(filled, treated) if theta == "pooled" else lin_design(filled, treated)
    adjusted = adjust.cuped(*arms(y, np.where(gone, np.nan, x), treated), theta=theta)
    assert float(effects.difference(*adjusted).estimate) == pytest.approx(sm.OLS(y, design).fit().params[1], rel=1e-9)
    assert int(adjusted.treatment.cautions) == 0
    # Whatever stands in for a missing value, the regression is the same.
    shifted = np.column_stack([np.where(gone, -50, x), gone])
    other = adjust.cuped(*arms(y, shifted, treated), theta=theta)
    assert float(other.variance_ratio) == pytest.approx(float(adjusted.variance_ratio), rel=1e-9)


def test_interval_covers_95_percent_when_large_covariates_are_missing():
    def draw(rng, shape, treated):
        x = 1 + rng.normal(size=shape)
        y = 5 + 0.2 * treated + x + 0.5 * rng.normal(size=shape)
        return y, np.where(rng.random(shape) < special.expit(x - 1), np.nan, x)

    runs = 5000
    adjusted = adjust.cuped(*simulated(13, runs, 200, 200, draw))
    result = fixed.compare(*adjusted)
    assert covered(result.absolute, 0.2) == pytest.approx(0.95, abs=slack(0.05, runs))
    error = 4 * result.absolute.estimate.std() / np.sqrt(runs)
    assert result.absolute.estimate.mean() == pytest.approx(0.2, abs=error)
    assert adjusted.variance_ratio.mean() < 0.6


def test_an_arm_without_missing_covariates_may_be_compared_with_one_that_has_some():
    y, x, treated = experiment(14, k=2)
    x[5, 1] = np.nan
    adjusted = adjust.cuped(*arms(y, x, treated), theta="pooled")
    filled = np.column_stack([np.nan_to_num(x), np.isnan(x[:, 1])])
    expected = sm.OLS(y, ancova_design(filled, treated)).fit().params[1]
    assert float(effects.difference(*adjusted).estimate) == pytest.approx(expected, rel=1e-9)
    assert int(adjusted.control.cautions) == 0


def ratio_experiment(seed, runs=None, n=300):
    rng = np.random.default_rng(seed)
    shape = (n,) if runs is None else (runs, n)
    pair = []
    for treated in (1.0, 0.0):
        activity, habit = rng.gamma(4, 1, shape), rng.normal(size=shape)
        d = rng.poisson(activity) + 1.0
        y = d * (2 + 0.2 * treated + 0.5 * habit) + rng.normal(size=shape)
        pair.append((y, np.stack([rng.poisson(activity) * 1.0, habit], axis=-1), d))
    return pair


@pytest.mark.parametrize("theta", MODES)
def test_adjusted_ratio_equals_the_regression_of_linearised_values(theta):
    # Independent: R + (y - R d) / mean(d) per unit, then statsmodels on these values.
    pair = ratio_experiment(15)
    linear = np.concatenate([y.sum() / d.sum() * (1 - d / d.mean()) + y / d.mean() for y, _, d in pair])
    x, treated = np.concatenate([pair[0][1], pair[1][1]]), np.arange(600) < 300
    design = ancova_design(x, treated) if theta == "pooled" else lin_design(x, treated)
    adjusted = adjust.cuped(*(JointStats.of(y, x, d=d) for y, x, d in pair), theta=theta)
    expected = adjust.cuped(*arms(linear, x, treated), theta=theta)
    assert float(effects.difference(*adjusted).estimate) == pytest.approx(sm.OLS(linear, design).fit().params[1])
    for got, wanted in zip(adjusted, expected, strict=True):
        assert float(got.variance) == pytest.approx(float(wanted.variance), rel=1e-9)


def test_adjusted_ratio_covers_95_percent():
    runs = 4000
    pair = [JointStats.of(y, x, d=d) for y, x, d in ratio_experiment(16, runs)]
    adjusted = adjust.cuped(*pair)
    result = fixed.compare(*adjusted)
    assert covered(result.absolute, 0.2) == pytest.approx(0.95, abs=slack(0.05, runs))
    assert adjusted.variance_ratio.mean() < 0.4


def test_adjusted_statistics_of_merged_parts_are_those_of_the_whole():
    y, x, treated = experiment(17)
    whole = adjust.cuped(*arms(y, x, treated))
    thirds = [arms(y[part::3], x[part::3], treated[part::3]) for part in range(3)]
    parts = adjust.cuped(*(first + second + third for first, second, third in zip(*thirds, strict=True)))
    for got, wanted in zip(parts, whole, strict=True):
        assert float(got.estimate) == pytest.approx(float(wanted.estimate), rel=1e-11)
        assert float(got.variance) == pytest.approx(float(wanted.variance), rel=1e-9)


@pytest.mark.parametrize("theta", MODES)
def test_cells_of_a_grid_are_what_they_are_alone(theta):
    rng = np.random.default_rng(18)
    y, x = rng.gamma(2, 1, (4, 2, 60)), rng.normal(size=(4, 2, 60, 2))
    y += x[..., 0]
    control = JointStats.of(y[:, 0], x[:, 0])
    control = JointStats(control.n, control.mean[:, None], control.cross[:, None])
    grid = adjust.cuped(JointStats.of(y, x), control, theta=theta)
    for metric, variant in np.ndindex(4, 2):
        one = JointStats.of(y[metric, variant], x[metric, variant]), JointStats.of(y[metric, 0], x[metric, 0])
        alone = adjust.cuped(*one, theta=theta)
        for got, wanted in zip(grid, alone, strict=True):
            assert float(got.estimate[metric, variant]) == pytest.approx(float(wanted.estimate), rel=1e-12)
            assert float(got.variance[metric, variant]) == pytest.approx(float(wanted.variance), rel=1e-9, abs=1e-15)


units = st.lists(st.tuples(*(3 * [st.floats(-50, 50).map(lambda v: round(v, 3))])), min_size=6, max_size=30)


def from_units(data):
    table = np.array(data)
    return JointStats.of(table[:, 0], table[:, 1:])


@settings(max_examples=60)
@given(units, units, st.sampled_from(MODES))
def test_swapping_arms_flips_the_sign_and_keeps_the_variance(a, b, theta):
    first, second = from_units(a), from_units(b)
    there = effects.difference(*adjust.cuped(first, second, theta=theta))
    back = effects.difference(*adjust.cuped(second, first, theta=theta))
    assert float(there.estimate) == pytest.approx(-float(back.estimate), rel=1e-6, abs=1e-6)
    assert float(there.variance) == pytest.approx(float(back.variance), rel=1e-6, abs=1e-9)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.sampled_from(MODES))
def test_rescaling_outcome_or_mixing_covariates_leaves_p_unchanged(seed, factor, shift, theta):
    y, x, treated = experiment(seed, 40, 60, k=2)
    mixed = x @ np.array([[2.0, 1.0], [-1.0, 3.0]]) * factor + shift
    p = [
        float(fixed.compare(*adjust.cuped(*arms(*data, treated), theta=theta)).p_value)
        for data in ((y, x), (y * factor, x), (y, mixed))
    ]
    assert p[1] == pytest.approx(p[0], rel=1e-6)
    assert p[2] == pytest.approx(p[0], rel=1e-5)


@pytest.mark.parametrize("theta", MODES)
def test_interval_keeps_its_digits_at_mean_1e9(theta):
    y, x, treated = experiment(19, 3000, 7000, k=2)
    plain = effects.difference(*adjust.cuped(*arms(y, x, treated), theta=theta))
    far = effects.difference(*adjust.cuped(*arms(y + 1e9, x + 1e9, treated), theta=theta))
    # Values at 1e9 carry 1e-7; a mean of thousands, less.
    assert float(far.estimate) == pytest.approx(float(plain.estimate), abs=1e-6)
    assert float(far.variance) == pytest.approx(float(plain.variance), rel=1e-6)


@pytest.mark.parametrize("theta", MODES)
def test_without_covariates_or_with_constant_ones_arms_are_the_plain_ones(theta):
    y, _, treated = experiment(20)
    plain = JointStats.of(y[treated]).outcome, JointStats.of(y[~treated]).outcome
    expected = fixed.compare(*plain).cell()
    constants = [np.full(y.size, value) for value in (0.1, 1e13 / 3)]
    for x, caution in ((None, ()), *((constant, ("COVARIATE_DROPPED",)) for constant in constants)):
        pair = [JointStats.of(y[rows], None if x is None else x[rows]) for rows in (treated, ~treated)]
        adjusted = adjust.cuped(*pair, theta=theta)
        cell = fixed.compare(*adjusted).cell()
        assert cell.absolute.estimate == pytest.approx(expected.absolute.estimate, rel=1e-14)
        assert cell.p_value == pytest.approx(expected.p_value, rel=1e-12)
        assert cell.relative.upper == pytest.approx(expected.relative.upper, rel=1e-12)
        assert cell.warnings == caution
        assert float(adjusted.variance_ratio) == pytest.approx(1, rel=1e-12)


def test_ratio_without_covariates_is_the_plain_ratio():
    pair = ratio_experiment(21, n=30)
    expected = fixed.compare(*(RatioStats.of(y, d) for y, _, d in pair)).cell()
    cell = fixed.compare(*adjust.cuped(*(JointStats.of(y, d=d) for y, _, d in pair))).cell()
    assert cell.p_value == pytest.approx(expected.p_value, rel=1e-12)
    assert cell.warnings == expected.warnings == ("FEW_CLUSTERS",)
    assert cell.method == "adjusted_t"


@pytest.mark.parametrize("theta", MODES)
def test_redundant_covariates_are_dropped_with_a_caution_and_change_nothing(theta):
    y, x, treated = experiment(22, k=2)
    clean = adjust.cuped(*arms(y, x, treated), theta=theta)
    double = adjust.cuped(*arms(y, np.column_stack([x, x @ [2.0, -1.0], np.ones(y.size)]), treated), theta=theta)
    assert float(double.variance_ratio) == pytest.approx(float(clean.variance_ratio), rel=1e-10)
    assert float(double.treatment.freedom) == pytest.approx(float(clean.treatment.freedom))
    assert int(clean.control.cautions) == 0
    assert int(double.control.cautions) == Caution.COVARIATE_DROPPED


def test_indicators_that_say_the_same_are_dropped_silently():
    y, x, treated = experiment(23, k=2)
    x[::7] = np.nan
    one = np.column_stack([np.nan_to_num(x), np.isnan(x[:, 0])])
    adjusted, expected = (adjust.cuped(*arms(y, each, treated)) for each in (x, one))
    assert float(adjusted.variance_ratio) == pytest.approx(float(expected.variance_ratio), rel=1e-10)
    assert int(adjusted.control.cautions) == 0


def test_covariate_drowned_by_zeros_for_missing_values_is_said():
    # At 1e9 with sd 1 and a zero in every seventh place the covariate says who is missing and nothing else.
    y, x, treated = experiment(24, k=1)
    far = x + 1e9
    far[::7] = np.nan
    assert int(adjust.cuped(*arms(y, far, treated)).control.cautions) == Caution.COVARIATE_DROPPED
    assert int(adjust.cuped(*arms(y, far - 1e9, treated)).control.cautions) == 0


@pytest.mark.parametrize("theta", MODES)
@pytest.mark.parametrize("shift", [0.0, 1e9])
def test_perfect_prediction_leaves_no_variance(theta, shift):
    x = np.random.default_rng(25).gamma(2, 3, (100, 2)) + shift
    y, treated = x @ [2.0, -1.0] + 3, np.arange(100) < 40
    adjusted = adjust.cuped(*arms(y + 0.5 * treated, x, treated), theta=theta)
    cell = fixed.compare(*adjusted).cell()
    assert cell.not_computable == NotComputable.ZERO_VARIANCE
    assert cell.absolute.estimate == pytest.approx(0.5, abs=1e-5)
    assert float(adjusted.variance_ratio) == 0


def test_constant_outcome_has_no_variance():
    x = np.random.default_rng(26).normal(size=(2, 50))
    cell = fixed.compare(*adjust.cuped(*(JointStats.of(np.full(50, 0.1), each) for each in x))).cell()
    assert cell.not_computable == NotComputable.ZERO_VARIANCE


@pytest.mark.parametrize("theta", MODES)
@pytest.mark.parametrize("n", [2, 3])
def test_arms_with_too_few_units_for_the_slopes_are_not_adjusted(theta, n):
    rng = np.random.default_rng(27)
    treatment, control = (JointStats.of(rng.normal(size=size), rng.normal(size=(size, 2))) for size in (n, 50))
    adjusted = adjust.cuped(treatment, control, theta=theta)
    cell = fixed.compare(*adjusted).cell()
    assert cell.p_value == pytest.approx(fixed.compare(treatment.outcome, control.outcome).cell().p_value, rel=1e-12)
    assert "COVARIATE_DROPPED" in cell.warnings
    # With two units more than slopes there is a residual variance.
    enough = JointStats.of(rng.normal(size=4), rng.normal(size=(4, 2)))
    assert int(adjust.cuped(enough, control, theta=theta).treatment.cautions) == 0


@pytest.mark.parametrize("theta", MODES)
def test_arms_that_cannot_be_tested_say_why(theta):
    full = JointStats.of([1.0, 2, 4, 3, 5], [1.0, 3, 2, 5, 4], d=[1.0, 1, 2, 2, 1])
    empty, one = JointStats.of([], np.zeros(0), d=[]), JointStats.of([1.0], [2.0], d=[1.0])
    nothing = JointStats.of([1.0, 2, 4, 3, 5], [1.0, 3, 2, 5, 4], d=[1.0, -1, 2, -2, 0])
    reasons = [
        fixed.compare(*adjust.cuped(*pair, theta=theta)).cell().not_computable
        for pair in ((empty, full), (full, empty), (empty, empty), (one, full), (nothing, full), (full, nothing))
    ]
    assert reasons == [
        NotComputable.NO_UNITS,
        NotComputable.NO_UNITS,
        NotComputable.NO_UNITS,
        NotComputable.ONE_UNIT,
        NotComputable.ZERO_DENOMINATOR,
        NotComputable.ZERO_DENOMINATOR,
    ]


def test_values_beyond_double_precision_say_so():
    y, x = np.random.default_rng(28).normal(size=(2, 2, 30))
    adjusted = adjust.cuped(*(JointStats.of(y[arm] * 1e120, x[arm]) for arm in (0, 1)))
    assert fixed.compare(*adjusted).cell().not_computable == NotComputable.OVERFLOW


def test_adjusted_arms_go_into_every_method():
    adjusted = adjust.cuped(*simulated(29, 3, 2000, 2000, correlated))
    plain = [each.outcome for each in simulated(29, 3, 2000, 2000, correlated)]
    for compare in (
        fixed.compare,
        lambda *pair: sequential.compare(*pair, planned_units=4000),
        lambda *pair: bayes.compare(*pair, prior_scale=1.0),
    ):
        width = [result.absolute.upper - result.absolute.lower for result in (compare(*adjusted), compare(*plain))]
        np.testing.assert_allclose(width[0] / width[1], np.sqrt(0.51), atol=0.03)


non_negative = st.floats(0, 1e3)


@given(non_negative, non_negative, non_negative, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_splitting_keeps_the_variance_of_the_difference_and_never_goes_below_zero(a, b, hetero, lean, covariance):
    common = Common(np.array(hetero), np.array(lean), np.array(covariance))
    own_t, own_c, shared = own_and_shared(np.array(a), np.array(b), common)
    assert float(own_t + own_c) == pytest.approx(a + b + hetero)
    assert min(own_t, own_c, shared) >= 0
    # The variance of control is kept too, unless it was less than its own part.
    assert float(own_c + shared) == pytest.approx(max(b - lean + covariance, float(own_c)))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: adjust.cuped(a, a, theta="best"), "theta"),
        (lambda a: adjust.cuped(a, JointStats.of([1.0, 2])), "covariates must be the same"),
        (lambda a: adjust.cuped(a, JointStats.of([1.0, 2], [1, 2], d=[1, 1])), "ratio must be the same"),
        (
            lambda a: adjust.cuped(JointStats.of(np.ones((3, 4))), JointStats.of(np.ones((2, 4)))),
            "shapes do not broadcast: treatment",
        ),
    ],
)
def test_arms_that_do_not_fit_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(JointStats.of([1.0, 2, 4], [1.0, 0, 1]))
