"""Anytime-valid regression adjustment: the published formula, the regression itself, calibration from few units on."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize
from scipy import stats as reference

from abplatform.stats import Caution, NotComputable, SetKind, adjust, sequential
from abplatform.stats.sequential.regression import METHOD, ROBUST_METHOD, regress
from abplatform.stats.sufficient.joint import JointStats

freedoms = st.integers(1, 10**6)
intrinsics = st.floats(1e-3, 1e4)
PLAN = {"planned_units": 200}


def draw(rng, n, *, effect=0.0, covariates=1, scale=1.0):
    """An arm whose outcome the covariates explain to one half."""
    x = rng.normal(size=(n, covariates))
    y = 3.0 + effect + scale * (x.sum(axis=1) / math.sqrt(max(covariates, 1)) + rng.normal(size=n))
    return y, x


def ols(first, second):
    """The same regression by an independent implementation."""
    (y_t, x_t), (y_c, x_c) = first, second
    x = np.concatenate([x_t, x_c])
    column = np.r_[np.ones(len(y_t)), np.zeros(len(y_c))]
    return sm.OLS(np.r_[y_t, y_c], np.column_stack([column, np.ones(len(column)), x])).fit()


@pytest.mark.parametrize(("t", "nu", "zeta", "rho2"), [(2.3, 7, 4.0, 0.5), (0.4, 3, 30.0, 0.1), (-3.1, 40, 12.0, 0.4)])
def test_e_value_is_the_ratio_of_noncentral_t_densities_averaged_over_the_prior(t, nu, zeta, rho2):
    # Independent: adaptive quadrature over the standardised effect; t is the maximal invariant.
    prior = reference.norm(0, math.sqrt(rho2))
    top = integrate.quad(
        lambda effect: prior.pdf(effect) * reference.nct.pdf(t, nu, effect * math.sqrt(zeta)), -8, 8, limit=200
    )[0]
    expected = math.log(top / reference.t.pdf(t, nu))
    assert float(sequential.log_t_e_value(t, nu, zeta * rho2)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("t", "nu", "z2", "phi"), [(2.0, 28, 7.5, 1.0), (5.5, 11, 3.0, 25.0)])
def test_e_value_is_the_published_formula(t, nu, z2, phi):
    # Lindon et al. (2022), the univariate mixture in the form of their R package avlm: r = phi / (phi + z^2).
    r = phi / (phi + z2)
    published = 0.5 * math.log(r) + 0.5 * (nu + 1) * (math.log(1 + t**2 / nu) - math.log(1 + r * t**2 / nu))
    assert float(sequential.log_t_e_value(t, nu, z2 / phi)) == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(("nu", "tau"), [(1, 0.3), (2, 5.0), (30, 8.0)])
def test_e_value_has_mean_one_without_an_effect(nu, tau):
    mean = (
        2
        * integrate.quad(
            lambda t: math.exp(float(sequential.log_t_e_value(t, nu, tau))) * reference.t.pdf(t, nu),
            0,
            np.inf,
            limit=500,
        )[0]
    )
    assert mean == pytest.approx(1, abs=1e-5)


@given(freedoms, intrinsics, st.sampled_from([0.001, 0.05, 0.3]))
def test_critical_value_is_where_the_e_value_reaches_one_over_alpha(nu, tau, alpha):
    critical = float(sequential.t_critical_value(nu, tau, alpha))
    # The largest e-value that any t statistic could reach.
    largest = float(sequential.log_t_e_value(np.inf, nu, tau))
    if math.isinf(critical):
        assert largest <= -math.log(alpha) + 1e-9
    elif critical < 1e100:
        assert float(sequential.log_t_e_value(critical, nu, tau)) == pytest.approx(-math.log(alpha), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("t", [0.0, 1.7, -4.0])
def test_with_many_degrees_of_freedom_it_is_the_asymptotic_sequence(t):
    n, rho2 = 50_000.0, float(sequential.tune_rho2(30_000, 0.05))
    nu = 1e6
    assert float(sequential.log_t_e_value(t, nu, n * rho2)) == pytest.approx(
        float(sequential.log_e_value(t, n, rho2)), abs=normal_gap(t, nu) + 1e-12
    )
    normal = float(sequential.critical_value(n, rho2, 0.05))
    assert float(sequential.t_critical_value(nu, n * rho2, 0.05)) == pytest.approx(
        normal, abs=critical_gap(normal, nu, n * rho2)
    )


def normal_gap(t, nu):
    """Bound of the log e-values' difference between t and normal, to first order in 1 / nu.

    With x = t^2 / nu the log is (nu + 1) / 2 (ln(1 + x) - ln(1 + x / (1 + tau))) - ln(1 + tau) / 2; its series begins
    with the normal one, t^2 / 2 tau / (1 + tau), then has t^2 / (2 nu) and -t^4 / (4 nu), each times at most 1 and of
    opposite signs.
    """
    return max(t**2 / 2, t**4 / 4) / nu


def critical_gap(z, nu, tau):
    """The same for critical values: the gap over the slope of the log e-value, z tau / (1 + tau)."""
    return normal_gap(z, nu) / z * (1 + 1 / tau)


def test_without_covariates_and_with_many_units_the_comparison_is_that_of_the_asymptotic_sequence():
    rng = np.random.default_rng(1)
    arms = [JointStats.of(rng.normal(mean, 2, 40_000)) for mean in (5.05, 5.0)]
    adjusted = sequential.compare_regression(*arms, planned_units=80_000).cell()
    plain = sequential.compare(*(arm.outcome for arm in arms), planned_units=80_000).cell()
    # Arms of one size have one standard error, pooled or not: all that differs is t with nu degrees of freedom.
    t = np.subtract(*(arm.outcome.mean for arm in arms)) / math.sqrt(sum(arm.outcome.variance for arm in arms))
    nu, rho2 = 79_998, float(sequential.tune_rho2(80_000, 0.05))
    assert adjusted.p_value < 1
    assert adjusted.p_value == pytest.approx(plain.p_value, rel=1.1 * normal_gap(t, nu))
    z = float(sequential.critical_value(80_000, rho2, 0.05))
    for got, expected in ((adjusted.absolute, plain.absolute), (adjusted.relative, plain.relative)):
        assert got.estimate == pytest.approx(expected.estimate, rel=1e-9)
        # Bounds move by the half width per critical value; Fieller's, nearly symmetric, by less than twice that.
        slack = (expected.upper - expected.lower) * critical_gap(z, nu, 80_000 * rho2) / z
        assert got.lower == pytest.approx(expected.lower, abs=slack)
        assert got.upper == pytest.approx(expected.upper, abs=slack)


@pytest.mark.parametrize("covariates", [0, 1, 3])
@pytest.mark.parametrize(("n_t", "n_c"), [(5, 9), (80, 20)])
def test_estimate_error_and_design_are_those_of_least_squares(covariates, n_t, n_c):
    # statsmodels OLS on the raw rows, columns treatment, constant, covariates.
    rng = np.random.default_rng(n_t + covariates)
    raw = draw(rng, n_t, effect=1.0, covariates=covariates), draw(rng, n_c, covariates=covariates)
    fit = ols(*raw)
    got = regress(*(JointStats.of(*arm) for arm in raw))
    assert float(got.treatment.estimate - got.control.estimate) == pytest.approx(fit.params[0], rel=1e-9)
    assert float(got.treatment.variance + got.control.variance) == pytest.approx(fit.bse[0] ** 2, rel=1e-9)
    assert float(got.freedom) == fit.df_resid
    assert float(got.design) == pytest.approx(1 / fit.normalized_cov_params[0, 0], rel=1e-9)
    plan = {"planned_units": 100, "share": 0.5, "alpha": 0.1}
    cell = sequential.compare_regression(*(JointStats.of(*arm) for arm in raw), **plan).cell()
    tau = float(got.design * sequential.tune_rho2(25, 0.1))
    half = fit.bse[0] * float(sequential.t_critical_value(fit.df_resid, tau, 0.1))
    assert cell.absolute.upper - cell.absolute.estimate == pytest.approx(half, rel=1e-9)
    assert cell.p_value == pytest.approx(
        min(1, math.exp(-float(sequential.log_t_e_value(fit.tvalues[0], fit.df_resid, tau)))), rel=1e-8
    )
    assert (cell.method, cell.interval_kind) == (METHOD, "confidence_sequence")


def test_relative_interval_is_fieller_with_the_covariance_of_least_squares():
    # The adjusted control mean is the prediction at the mean of all units; covariances from statsmodels.
    rng = np.random.default_rng(11)
    raw = draw(rng, 60, effect=1.0, covariates=2), draw(rng, 40, covariates=2)
    fit = ols(*raw)
    joint = [JointStats.of(*arm) for arm in raw]
    x = np.concatenate([raw[0][1], raw[1][1]])
    point = np.r_[0, 1, x.mean(axis=0)]
    covariance = fit.cov_params()
    theta = fit.params[2:]
    bottom, effect = float(point @ fit.params), float(fit.params[0])
    moving = float(theta @ np.cov(x.T, bias=True) @ theta) / len(x)
    v_bottom, v_both = float(point @ covariance @ point) + moving, float(covariance[0] @ point)
    got = sequential.compare_regression(*joint, planned_units=100).cell()
    critical = float(sequential.t_critical_value(96, regress(*joint).design * sequential.tune_rho2(25, 0.05), 0.05))

    def edge(lift):
        variance = covariance[0, 0] - 2 * lift * v_both + lift**2 * v_bottom
        return (effect - lift * bottom) ** 2 - critical**2 * variance

    assert got.relative_kind == SetKind.BOUNDED
    assert got.relative.estimate == pytest.approx(effect / bottom, rel=1e-9)
    assert got.relative.lower == pytest.approx(optimize.brentq(edge, -0.9, effect / bottom), rel=1e-6)
    assert got.relative.upper == pytest.approx(optimize.brentq(edge, effect / bottom, 3), rel=1e-6)


def watched_regressions(seed, *, runs, looks, covariates, share=0.5):
    """A/A arms that grow one unit at a time, as joint statistics with the looks along the last axis."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(runs, looks, covariates))
    y = rng.normal(size=(runs, looks)) + 2 * x.sum(axis=-1)
    treated = rng.random((runs, looks)) < share
    rows = np.concatenate([y[..., None], x], axis=-1)
    arms = []
    for member in (treated, ~treated):
        n = member.cumsum(axis=1)
        total = np.where(member[..., None], rows, 0).cumsum(axis=1)
        mean = total / np.maximum(n, 1)[..., None]
        raw = np.where(member[..., None, None], rows[..., :, None] * rows[..., None, :], 0).cumsum(axis=1)
        cross = raw - n[..., None, None] * mean[..., :, None] * mean[..., None, :]
        # One unit has no deviations; what is left of them is rounding.
        arms.append(JointStats(n, mean, np.where(n[..., None, None] > 1, cross, 0.0)))
    return arms


@pytest.mark.parametrize(("covariates", "share"), [(0, 0.5), (1, 0.5), (1, 0.9)])
def test_watched_from_the_first_units_on_it_errs_at_most_alpha_where_the_asymptotic_sequence_does_not(
    covariates, share
):
    # 1,000 A/A tests of 60 normal units, a look at every unit, planned for 20: small samples are where the looks are.
    runs, looks, planned = 1000, 60, 20
    arms = watched_regressions(20261125, runs=runs, looks=looks, covariates=covariates, share=share)
    exact = sequential.compare_regression(*arms, planned_units=planned, share=share).p_value
    wrong = (exact < 0.05).any(axis=1).mean()
    assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert wrong > 0.005
    asymptotic = sequential.compare(*adjust.cuped(*arms, theta="pooled"), planned_units=planned).p_value
    assert (asymptotic < 0.05).any(axis=1).mean() > 0.08


def test_running_interval_covers_the_effect_at_all_looks_and_never_widens():
    runs = 400
    arms = watched_regressions(3, runs=runs, looks=60, covariates=1)
    shifted = JointStats(
        arms[0].n, arms[0].mean + np.where(arms[0].n > 0, 1, 0)[..., None] * np.array([0.7, 0.0]), arms[0].cross
    )
    got = sequential.compare_regression(shifted, arms[1], planned_units=60)
    low, high = sequential.running_intersection(got.absolute.lower, got.absolute.upper)
    # Unbounded looks restrict nothing.
    assert (low[:, 1:] >= low[:, :-1]).sum() + np.isnan(low[:, :-1]).sum() == low[:, 1:].size
    assert (high[:, 1:] <= high[:, :-1]).sum() + np.isnan(high[:, :-1]).sum() == high[:, 1:].size
    missed = ((low[:, -1] > 0.7) | (high[:, -1] < 0.7)).mean()
    assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_covariates_that_explain_half_the_variance_shorten_the_interval_by_the_root_of_two():
    rng = np.random.default_rng(6)
    raw = [draw(rng, 20_000) for _ in range(2)]
    adjusted = sequential.compare_regression(*(JointStats.of(*arm) for arm in raw), planned_units=40_000).cell()
    plain = sequential.compare_regression(*(JointStats.of(arm[0]) for arm in raw), planned_units=40_000).cell()
    widths = [cell.absolute.upper - cell.absolute.lower for cell in (plain, adjusted)]
    assert widths[0] / widths[1] == pytest.approx(math.sqrt(2), rel=0.02)


def test_robust_errors_are_those_of_cuped_and_matter_for_unequal_arms():
    rng = np.random.default_rng(9)
    arms = [JointStats.of(*draw(rng, n, scale=scale)) for n, scale in ((300, 3.0), (2700, 1.0))]
    robust = sequential.compare_regression(*arms, planned_units=3000, share=0.1, robust=True).cell()
    plain = sequential.compare_regression(*arms, planned_units=3000, share=0.1).cell()
    cuped = sequential.compare(*adjust.cuped(*arms, theta="pooled"), planned_units=3000).cell()
    assert robust.method == ROBUST_METHOD
    assert robust.absolute.estimate == pytest.approx(plain.absolute.estimate, rel=1e-9)
    # The small arm is the noisy one, which a common variance hides.
    assert robust.absolute.upper - robust.absolute.lower > 1.5 * (plain.absolute.upper - plain.absolute.lower)
    assert robust.absolute.upper == pytest.approx(cuped.absolute.upper, rel=0.02)


arms_of_units = st.tuples(st.integers(5, 40), st.integers(0, 2**32 - 1)).map(
    lambda c: draw(np.random.default_rng(c[1]), c[0], covariates=2)
)


@given(arms_of_units, arms_of_units, st.floats(0.01, 100), st.floats(-5, 5))
def test_swapping_flips_signs_and_rescaling_keeps_p(first, second, factor, step):
    def compare(one, two, **plan):
        return sequential.compare_regression(JointStats.of(*one), JointStats.of(*two), **PLAN, **plan)

    there, back = compare(first, second, share=0.3), compare(second, first, share=0.7)
    np.testing.assert_allclose(there.p_value, back.p_value, rtol=1e-6)
    np.testing.assert_allclose(there.absolute.lower, -back.absolute.upper, rtol=1e-6, atol=1e-9)
    # Invariance: units of the outcome and of the covariates, and the origin of the covariates, say nothing.
    moved = [(factor * y, factor * x + step) for y, x in (first, second)]
    np.testing.assert_allclose(compare(*moved, share=0.3).p_value, there.p_value, rtol=1e-5)


@given(arms_of_units, arms_of_units, st.sampled_from([0.001, 0.05, 0.2]), st.booleans())
def test_interval_and_fieller_exclude_zero_exactly_when_p_is_below_alpha(first, second, alpha, robust):
    got = sequential.compare_regression(
        JointStats.of(*first), JointStats.of(*second), alpha=alpha, robust=robust, **PLAN
    )
    cell = got.cell()
    if cell.p_value is not None and abs(cell.p_value / alpha - 1) > 1e-6:
        rejects = cell.p_value < alpha
        outside = bool((got.absolute.lower > 0) | (got.absolute.upper < 0))
        assert outside == rejects == bool(got.relative.excludes_zero)


def test_grids_are_cell_by_cell_and_merge_like_their_units():
    rng = np.random.default_rng(4)
    raw = [[draw(rng, 30, covariates=2) for _ in range(3)] for _ in range(2)]
    arms = []
    for cells in raw:
        y, x = (np.stack(part) for part in zip(*cells, strict=True))
        arms.append(JointStats.of(y[:, :10], x[:, :10]) + JointStats.of(y[:, 10:], x[:, 10:]))
    alpha = np.array([[0.05], [0.01]])
    grid = sequential.compare_regression(*arms, alpha=alpha, **PLAN)
    assert grid.shape == (2, 3)
    for j in range(3):
        one = sequential.compare_regression(JointStats.of(*raw[0][j]), JointStats.of(*raw[1][j]), alpha=0.01, **PLAN)
        np.testing.assert_allclose(grid.p_value[1, j], one.p_value, rtol=1e-8)
        np.testing.assert_allclose(grid.absolute.lower[1, j], one.absolute.lower, rtol=1e-8)
        np.testing.assert_allclose(grid.relative.upper[1, j], one.relative.upper, rtol=1e-8)


def test_before_anything_could_be_excluded_bounds_are_infinite():
    arms = JointStats.of([1.0, 2.0]), JointStats.of([3.0, 5.0])
    got = sequential.compare_regression(*arms, planned_units=100_000)
    assert float(got.absolute.lower) == -np.inf
    cell = got.cell()
    assert cell.absolute.lower is None
    assert cell.relative_kind == SetKind.WHOLE_LINE
    assert 0.5 < cell.p_value <= 1


@pytest.mark.parametrize(
    ("treatment", "control", "reason"),
    [
        ([], [1.0, 2.0], NotComputable.NO_UNITS),
        ([1.0], [1.0, 2.0, 3.0], NotComputable.ONE_UNIT),
        ([2.0, 2.0], [2.0, 2.0], NotComputable.ZERO_VARIANCE),
        ([0.1] * 7, [0.3] * 7, NotComputable.ZERO_VARIANCE),
        ([1e100, -1e100, 3e100], [0.0, 1.0, 2.0], NotComputable.OVERFLOW),
    ],
)
def test_degenerate_arms_say_why(treatment, control, reason):
    arms = JointStats.of(treatment), JointStats.of(control)
    for robust in (False, True):
        cell = sequential.compare_regression(*arms, robust=robust, **PLAN).cell()
        assert cell.not_computable == reason
        assert (cell.p_value, cell.absolute.lower, cell.relative.lower) == (None, None, None)


def test_an_outcome_that_the_covariates_predict_leaves_no_variance():
    x = np.arange(12.0)
    cell = sequential.compare_regression(JointStats.of(3 * x + 1, x), JointStats.of(3 * x, x), **PLAN).cell()
    assert cell.not_computable == NotComputable.ZERO_VARIANCE


def test_a_covariate_twice_counts_once_and_is_said():
    rng = np.random.default_rng(12)
    raw = [draw(rng, 25) for _ in range(2)]
    once = sequential.compare_regression(*(JointStats.of(*arm) for arm in raw), **PLAN)
    twice = sequential.compare_regression(*(JointStats.of(y, np.repeat(x, 2, axis=1)) for y, x in raw), **PLAN)
    assert float(twice.p_value) == pytest.approx(float(once.p_value), rel=1e-9)
    assert twice.cell().warnings == (Caution.COVARIATE_DROPPED.name,)
    assert once.cell().warnings == ()


def test_large_means_keep_their_digits():
    rng = np.random.default_rng(13)
    raw = [draw(rng, 50, effect=0.8 * arm) for arm in (1, 0)]
    near = sequential.compare_regression(*(JointStats.of(*arm) for arm in raw), **PLAN).cell()
    far = sequential.compare_regression(*(JointStats.of(y + 1e8, x) for y, x in raw), **PLAN).cell()
    assert far.p_value == pytest.approx(near.p_value, rel=1e-5)
    assert far.absolute.estimate == pytest.approx(near.absolute.estimate, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda arm: sequential.compare_regression(arm, arm, planned_units=0), "planned_units"),
        (lambda arm: sequential.compare_regression(arm, arm, planned_units=9, share=1.0), "share"),
        (lambda arm: sequential.compare_regression(arm, arm, planned_units=9, alpha=0.0), "alpha"),
        (lambda arm: sequential.compare_regression(arm, arm, planned_units=9, relative="logs"), "relative"),
        (lambda arm: sequential.compare_regression(arm, JointStats.of([1.0, 2.0]), planned_units=9), "covariates"),
        (lambda arm: regress(*[JointStats.of([1.0, 2.0], d=[1.0, 3.0])] * 2), "ratio"),
        (lambda arm: sequential.log_t_e_value(1.0, -1, 1.0), "freedom"),
        (lambda arm: sequential.log_t_e_value(1.0, 5, np.nan), "intrinsic"),
        (lambda arm: sequential.log_t_e_value([1.0, 2.0], [5, 6, 7], 1.0), "freedom"),
        (lambda arm: sequential.t_critical_value([5, 6], 1.0, [0.1, 0.2, 0.3]), "alpha"),
        (lambda arm: sequential.compare_regression(arm, arm, planned_units=[1, 2], share=[0.1, 0.2, 0.3]), "share"),
        (lambda arm: sequential.t_critical_value(5, -1.0, 0.05), "intrinsic"),
        (lambda arm: sequential.t_critical_value(5, 1.0, 1.0), "alpha"),
    ],
)
def test_impossible_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(JointStats.of([1.0, 2.0, 4.0], [0.0, 1.0, 1.0]))
