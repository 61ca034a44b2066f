"""Priors fitted to past experiments, against metafor, statsmodels, direct search, closed forms and simulation."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from statsmodels.stats.meta_analysis import combine_effects

from abplatform.stats.bayes import FitMethod, FittedPrior, fit_prior

# Trials of the BCG vaccine: cases and non-cases, vaccinated and not (Colditz et al., 1994, JAMA 271).
BCG = np.array(
    [
        [4, 119, 11, 128],
        [6, 300, 29, 274],
        [3, 228, 11, 209],
        [62, 13536, 248, 12619],
        [33, 5036, 47, 5761],
        [180, 1361, 372, 1079],
        [8, 2537, 10, 619],
        [505, 87886, 499, 87892],
        [29, 7470, 45, 7232],
        [17, 1699, 65, 1600],
        [186, 50448, 141, 27197],
        [5, 2493, 3, 2338],
        [27, 16886, 29, 17825],
    ]
).T
A, B, C, D = BCG
RISK = np.log(A / (A + B)) - np.log(C / (C + D))
ERROR = np.sqrt(1 / A - 1 / (A + B) + 1 / C - 1 / (C + D))


def simulated_history():
    rng = np.random.default_rng(6)
    s = rng.uniform(0.2, 2, 25)
    return rng.normal(0.4, np.hypot(0.7, s)), s


HISTORIES = [(RISK, ERROR), simulated_history()]


def test_bcg_trials_give_the_population_that_metafor_prints():
    # R's metafor, rma(yi, vi, data = dat.bcg) on log risk ratios, REML: tau^2 0.3132, estimate -0.7145, se 0.1798.
    fitted = fit_prior(RISK, ERROR, method="reml")
    assert fitted.scale**2 == pytest.approx(0.3132, abs=6e-5)
    assert fitted.mean == pytest.approx(-0.7145, abs=6e-5)
    assert fitted.mean_standard_error == pytest.approx(0.1798, abs=6e-5)
    assert (fitted.experiments, fitted.method) == (13, "reml")


@pytest.mark.parametrize(("y", "s"), HISTORIES)
@pytest.mark.parametrize(("method", "name"), [("paule_mandel", "iterated"), ("dersimonian_laird", "chi2")])
def test_moment_estimators_equal_statsmodels(y, s, method, name):
    fitted, other = fit_prior(y, s, method=method), combine_effects(y, s**2, method_re=name)
    assert fitted.scale**2 == pytest.approx(other.tau2, rel=1e-8)
    assert fitted.mean == pytest.approx(other.mean_effect_re, rel=1e-8)
    assert fitted.mean_standard_error == pytest.approx(other.sd_eff_w_re, rel=1e-8)
    np.testing.assert_allclose(fitted.weight(s), other.tau2 / (other.tau2 + s**2), rtol=1e-8)


@pytest.mark.parametrize(("y", "s"), HISTORIES)
def test_maximum_likelihood_is_what_a_search_over_both_parameters_finds(y, s):
    def minus_log_likelihood(parameters):
        mean, tau2 = parameters[0], np.exp(parameters[1])
        return 0.5 * np.sum(np.log(s**2 + tau2) + (y - mean) ** 2 / (s**2 + tau2))

    options = {"xatol": 1e-9, "fatol": 1e-12}
    best = optimize.minimize(minus_log_likelihood, [0.0, 0.0], method="Nelder-Mead", options=options)
    fitted = fit_prior(y, s)
    assert fitted.mean == pytest.approx(best.x[0], abs=1e-6)
    assert fitted.scale**2 == pytest.approx(np.exp(best.x[1]), rel=1e-6)


def test_equal_errors_give_the_closed_forms():
    # With equal variances v: ml (k - 1) / k s^2 - v, all others s^2 - v; around a known 0 the raw second moment.
    y, v = np.array([1.0, 3.0, -2.0, 4.0]), 0.5
    s2 = y.var(ddof=1)
    for method, tau2 in (
        ("ml", 0.75 * s2 - v),
        ("reml", s2 - v),
        ("paule_mandel", s2 - v),
        ("dersimonian_laird", s2 - v),
    ):
        fitted = fit_prior(y, np.full(4, np.sqrt(v)), method=method)
        assert fitted.scale**2 == pytest.approx(tau2, rel=1e-9)
        assert fitted.mean == pytest.approx(1.5)
        around = fit_prior(y, np.full(4, np.sqrt(v)), method=method, mean=0.0)
        assert around.scale**2 == pytest.approx(7.5 - v, rel=1e-9)
        assert (around.mean, around.mean_standard_error) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["ml", "reml", "paule_mandel", "dersimonian_laird"])
def test_estimates_closer_than_their_errors_have_scale_0_and_no_proper_prior(method):
    fitted = fit_prior([0.1, 0.11, 0.09], [1.0, 2.0, 1.5], method=method)
    assert fitted.scale == 0
    np.testing.assert_array_equal(fitted.weight([0.5, 1.0]), [0, 0])
    # The mean is then the fixed-effect one.
    weights = 1 / np.square([1.0, 2.0, 1.5])
    assert fitted.mean == pytest.approx(np.average([0.1, 0.11, 0.09], weights=weights))
    with pytest.raises(ValueError, match="scale is 0"):
        fitted.prior()


def test_a_fitted_prior_recovers_its_population():
    rng = np.random.default_rng(12)
    k = 4000
    s = rng.uniform(0.5, 2, k)
    y = rng.normal(0.3, np.hypot(0.8, s))
    for method in ("ml", "reml", "paule_mandel", "dersimonian_laird"):
        fitted = fit_prior(y, s, method=method)
        # Errors of both: about 1.5 / sqrt(k) and, for tau^2, 2.5 sqrt(2 / k); four of them.
        assert fitted.mean == pytest.approx(0.3, abs=4 * fitted.mean_standard_error)
        assert fitted.scale**2 == pytest.approx(0.64, abs=4 * 2.0 * np.sqrt(2 / k))
        prior = fitted.prior(relative=True)
        assert (float(prior.mean), float(prior.scale), prior.relative) == (fitted.mean, fitted.scale, True)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-10, 10), st.floats(0.1, 5)), min_size=2, max_size=12),
    st.sampled_from([1e-9, 1e7]),
    st.floats(-5, 5),
    st.sampled_from(["ml", "reml", "paule_mandel", "dersimonian_laird"]),
)
def test_units_and_origin_of_the_effects_do_not_matter(history, factor, shift, method):
    y, s = np.array(history).T
    plain = fit_prior(y, s, method=method)
    other = fit_prior((y + shift) * factor, s * factor, method=method)
    tolerance = 1e-5 * (1 + plain.scale)
    assert other.scale / factor == pytest.approx(plain.scale, abs=tolerance)
    assert other.mean / factor == pytest.approx(plain.mean + shift, abs=1e-4 * (1 + abs(plain.mean)))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: fit_prior([1.0], [1.0]), "estimates"),
        (lambda: fit_prior([[1.0, 2.0]], [[1.0, 1.0]]), "estimates"),
        (lambda: fit_prior([1.0, np.nan], [1, 1]), "estimates"),
        (lambda: fit_prior([1.0, 2.0], [1, 0]), "standard_errors"),
        (lambda: fit_prior([1.0, 2.0], [1.0]), "standard_errors"),
        (lambda: fit_prior([1.0, 2.0], [1, 1], method="bayes"), "method"),
        (lambda: fit_prior([1.0, 2.0], [1, 1], mean=np.inf), "mean"),
        (lambda: fit_prior([1.0, 2.0], [1, 1]).weight(0), "standard_errors"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: fit_prior([1e308, 1, 2], [1, 1, 1]), "estimates"),
        (lambda: fit_prior([1e200, 1, 2], [1, 1, 1]), "estimates"),
        (lambda: fit_prior([1, 1, 2], 3 * [5e-324]), "estimates"),
        (lambda: fit_prior([1, 1, 2], [1, 1, 1e308]), "standard_errors"),
        (lambda: fit_prior([1, 1, 2], [1, 1, 5e-324]), "standard_errors"),
        (lambda: fit_prior([1, 1, 2], 3 * [1e308]), "standard_errors"),
        (lambda: fit_prior([1, 1, 2], [1, 1, 1], mean=-1e308), "mean"),
    ],
)
def test_numbers_that_leave_double_precision_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=f"{name} must be at most"):
        call()


@pytest.mark.parametrize("method", get_args(FitMethod))
def test_estimates_at_the_limit_have_the_spread_of_the_estimates(method):
    # Errors are nothing beside them: tau^2 is the variance of the estimates, with the divisor n for ``ml``.
    estimates = np.array([1e49, -2e49, 3e49, 5e48])
    fitted = fit_prior(estimates, np.ones(4), method=method)
    assert fitted.scale == pytest.approx(estimates.std(ddof=method != "ml"), rel=1e-6)


def test_weight_of_huge_errors_and_scales_is_the_limit():
    prior = FittedPrior(mean=0.0, scale=1.0, mean_standard_error=0.1, experiments=5, method="ml")
    assert prior.weight([1e-200, 1.0, 1e308]).tolist() == [1.0, 0.5, 0.0]
    none = FittedPrior(mean=0.0, scale=0.0, mean_standard_error=0.1, experiments=5, method="ml")
    assert none.weight([1e-200, 1e200]).tolist() == [0.0, 0.0]
