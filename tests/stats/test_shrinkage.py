"""Shrinkage of a portfolio: conjugate algebra, and what it is for, the winner's curse, by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from abplatform.stats.bayes import NormalPrior, fit_prior
from abplatform.stats.shrinkage import shrink_effects


def portfolio(seed, experiments, *, mean=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.5, 3, experiments)
    truth = rng.normal(mean, scale, experiments)
    return truth, rng.normal(truth, s), s


def test_posterior_is_the_precision_weighted_mean():
    # Gelman et al. (2013), eq. 2.10.
    got = shrink_effects([2.0], [0.5], prior=NormalPrior(1.0, 0.25), alpha=0.1)
    mean, sd = (2 / 0.25 + 1 / 0.0625) / (1 / 0.25 + 1 / 0.0625), (1 / 0.25 + 1 / 0.0625) ** -0.5
    assert got.estimate[0] == pytest.approx(mean)
    assert got.standard_deviation[0] == pytest.approx(sd)
    assert got.upper[0] == pytest.approx(mean + 1.6448536269514722 * sd)


def test_a_fitted_prior_adds_the_error_of_its_mean():
    y, s = np.array([1.0, -1.0, 3.0, 0.5, 2.0]), np.array([0.5, 0.4, 0.9, 0.7, 0.5])
    fitted = fit_prior(y, s, method="reml")
    got = shrink_effects(y, s, prior=fitted)
    plain = shrink_effects(y, s, prior=fitted.prior())
    np.testing.assert_allclose(got.estimate, plain.estimate)
    extra = (1 - got.weight) ** 2 * fitted.mean_standard_error**2
    np.testing.assert_allclose(got.standard_deviation**2, plain.standard_deviation**2 + extra)


def test_without_spread_all_effects_are_the_common_mean():
    y, s = [0.1, 0.12, 0.08], [1.0, 1.0, 2.0]
    got = shrink_effects(y, s, prior=fit_prior(y, s))
    np.testing.assert_allclose(got.estimate, got.estimate[0])
    np.testing.assert_array_equal(got.weight, 0)
    # Its error is that of the fixed-effect mean, 1 / sqrt(2.25).
    np.testing.assert_allclose(got.standard_deviation, 1 / 1.5)


def test_selected_winners_are_overstated_by_naive_estimates_and_not_by_shrunken_ones():
    truth, y, s = portfolio(31, 60_000)
    got = shrink_effects(y, s)
    for winners in (y / s > 1.96, y > np.quantile(y, 0.99), got.estimate > 0.7):
        count = winners.sum()
        # Given the data a true effect has the posterior standard deviation, at most 1.
        error = 1 / np.sqrt(count)
        bias = (got.estimate - truth)[winners].mean()
        assert abs(bias) < 4.5 * error
        assert (y - truth)[winners].mean() > 20 * error


def test_intervals_of_a_large_portfolio_cover_winners_as_well():
    truth, y, s = portfolio(32, 60_000, mean=0.2)
    got = shrink_effects(y, s)
    covered = (got.lower <= truth) & (truth <= got.upper)
    winners = y > np.quantile(y, 0.99)
    assert covered.mean() == pytest.approx(0.95, abs=4.5 * np.sqrt(0.0475 / truth.size))
    assert covered[winners].mean() == pytest.approx(0.95, abs=4.5 * np.sqrt(0.0475 / winners.sum()))
    naive = (np.abs(y - truth) <= 1.96 * s)[winners]
    assert naive.mean() < 0.7


@pytest.mark.parametrize(
    ("y", "s"),
    [
        ([1.2, -0.4, 0.3, 2.2, 0.9], [0.5, 0.8, 0.3, 1.0, 0.6]),
        # Rubin's (1981) eight schools, divided by 10.
        ([2.8, 0.8, -0.3, 0.7, -0.1, 0.1, 1.8, 1.2], [1.5, 1.0, 1.6, 1.1, 0.9, 1.1, 1.0, 1.8]),
    ],
)
def test_integrated_posterior_equals_a_grid_over_mean_and_scale(y, s):
    # Brute force in two dimensions; the scale is cut into equal steps of u = scale / (1 + scale).
    y, s = np.array(y), np.array(s)
    got = shrink_effects(y, s, alpha=0.2)
    u = (np.arange(800) + 0.5) / 800
    tau, mean = u / (1 - u), np.sinh(np.linspace(-7, 7, 1501))[:, None]
    logs = np.log(np.cosh(np.linspace(-7, 7, 1501)))[:, None] - 2 * np.log1p(-u)
    for estimate, error in zip(y, s, strict=True):
        variance = error**2 + tau**2
        logs = logs - 0.5 * np.log(variance) - (estimate - mean) ** 2 / (2 * variance)
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    for i in range(y.size):
        share = tau**2 / (s[i] ** 2 + tau**2)
        centre, sd = share * y[i] + (1 - share) * mean, np.sqrt(share) * s[i]
        expected = (centre * weight).sum()
        assert got.estimate[i] == pytest.approx(expected, abs=1e-3)
        second = ((sd**2 + (centre - expected) ** 2) * weight).sum()
        assert got.standard_deviation[i] == pytest.approx(np.sqrt(second), rel=2e-3)
        assert (special.ndtr((got.lower[i] - centre) / sd) * weight).sum() == pytest.approx(0.1, abs=1e-3)


def test_intervals_of_small_portfolios_cover_where_a_plugged_in_scale_does_not():
    covered, plugged = [], []
    for seed in range(300):
        truth, y, s = portfolio(seed, 10, scale=0.5)
        for found, prior in ((covered, None), (plugged, fit_prior(y, s))):
            got = shrink_effects(y, s, prior=prior)
            found.append(((got.lower <= truth) & (truth <= got.upper)).mean())
    # 300 portfolios of 10 correlated effects: a standard error of about .008.
    assert np.mean(covered) > 0.92
    assert np.mean(plugged) < 0.9


@given(st.floats(-100, 100), st.floats(0.01, 50), st.floats(-10, 10), st.floats(0.01, 50))
def test_estimates_move_towards_the_mean_and_never_beyond(y, s, mean, scale):
    got = shrink_effects(y, s, prior=NormalPrior(mean, scale))
    low, high = min(y, mean), max(y, mean)
    assert low - 1e-9 <= float(got.estimate) <= high + 1e-9
    assert float(got.standard_deviation) <= min(s, scale) * (1 + 1e-12)
    noisier = shrink_effects(y, 2 * s, prior=NormalPrior(mean, scale))
    assert abs(float(noisier.estimate) - mean) <= abs(float(got.estimate) - mean) + 1e-9


def test_priors_may_be_given_for_any_grid():
    got = shrink_effects([[1.0, 2.0], [3.0, 4.0]], [0.5, 1.0], prior=NormalPrior(0, 1), alpha=[[0.05], [0.1]])
    assert got.estimate.shape == got.lower.shape == got.weight.shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: shrink_effects([1.0, np.nan], [1, 1]), "estimates"),
        (lambda: shrink_effects([1.0, 2.0], [1, 0]), "standard_errors"),
        (lambda: shrink_effects([1.0, 2.0], [1, 1, 1]), "estimates"),
        (lambda: shrink_effects([1.0], [1.0]), "estimates"),
        (lambda: shrink_effects([1.0, 2.0], [1, 1], alpha=0), "alpha"),
        (lambda: shrink_effects([1.0, 2.0], [1, 1], prior=NormalPrior(0, 1, relative=True)), "prior"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: shrink_effects([1e200, 1, 2], [1, 1, 1]), "estimates must be at most"),
        (lambda: shrink_effects([1, 1, 2], 5e-324), "estimates must be at most"),
        (lambda: shrink_effects([1, 1, 2], [1, 1, 1e308]), "standard_errors must be at most"),
        (lambda: shrink_effects([1, 1, 2], [1, 1, 1], alpha=[0.1, 0.2]), r"alpha \(2,\)"),
        (lambda: shrink_effects([1, 1, 2], np.ones((2, 3))), "along one axis"),
        (lambda: shrink_effects([1, 1, 2], [1, 1, 1], prior=NormalPrior(0, 1), alpha=[0.1, 0.2]), r"alpha \(2,\)"),
        (lambda: shrink_effects([1, 1, 2], [1, 1, 1], prior=NormalPrior([0, 0], 1)), r"prior \(2,\)"),
        (lambda: shrink_effects([1, 1, 2], [1, 1, 1], prior=0.1), "prior must be NormalPrior"),
    ],
)
def test_what_does_not_fit_or_cannot_be_computed_is_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_estimates_far_beyond_their_errors_keep_their_values():
    estimates = np.array([1e49, -2e49, 3e49])
    np.testing.assert_allclose(shrink_effects(estimates, np.ones(3)).estimate, estimates, rtol=1e-9)
