"""Planning and interim looks: what looking costs, futility, conditional and predictive power."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from abplatform.stats.group_sequential import (
    OBRIEN_FLEMING,
    POCOCK,
    Design,
    Futility,
    Spending,
    boundaries,
    conditional_power,
    crossing_probabilities,
    detectable_effect,
    efficacy_bounds,
    expected_share,
    inflation,
    power_at,
    predictive_power,
    required_drift,
)

FIVE = np.arange(1, 6) / 5


@pytest.mark.parametrize(
    ("spending", "bounds", "expected"),
    [
        (OBRIEN_FLEMING, [4.877, 3.357, 2.680, 2.290, 2.031], 1.025),
        (POCOCK, [2.438, 2.427, 2.410, 2.397, 2.386], 1.213),
    ],
)
def test_inflation_at_80_percent_power_and_five_looks_by_a_multivariate_normal(spending, bounds, expected):
    # Independent: scipy's five-dimensional normal at the published bounds. Rejections downwards hardly occur.
    drift = np.sqrt(expected) * (special.ndtri(0.975) + special.ndtri(0.8))
    correlation = np.sqrt(np.minimum.outer(FIVE, FIVE) / np.maximum.outer(FIVE, FIVE))
    inside = stats.multivariate_normal(drift * np.sqrt(FIVE), correlation, abseps=1e-6, maxpts=10**6, seed=1)
    # Half a unit in the last place of the factor is .0002 of power.
    assert float(1 - inside.cdf(bounds)) == pytest.approx(0.8, abs=3e-4)
    assert inflation(Design(FIVE, spending=spending)) == pytest.approx(expected, abs=5e-4)


def test_one_sided_design_is_the_printed_one_of_gsdesign():
    # gsDesign(k=5, test.type=1), as in that package's test snapshots: Z, exits at the drift, E{N} against fixed.
    design = Design(FIVE, alpha=0.025, sides=1, power=0.9, spending=Spending("hwang_shih_decani", -4.0))
    drift, bounds = required_drift(design), boundaries(design)
    np.testing.assert_allclose(bounds.efficacy, [3.2527, 2.9860, 2.6917, 2.3737, 2.0253], rtol=0, atol=6e-5)
    found = crossing_probabilities(FIVE, bounds.futility, bounds.efficacy, drift=drift).upper
    np.testing.assert_allclose(found, [0.0370, 0.1512, 0.2647, 0.2699, 0.1771], rtol=0, atol=6e-5)
    assert inflation(design) == pytest.approx(1.023, abs=6e-4)
    expected = inflation(design) * expected_share(design, [0.0, drift])
    np.testing.assert_allclose(expected, [1.0197, 0.7366], rtol=0, atol=6e-5)


def test_design_with_futility_is_the_default_one_of_gsdesign():
    # gsDesign(): non-binding beta spending, as its manual prints it.
    third = np.arange(1, 4) / 3
    plan = Futility(0.1, Spending("hwang_shih_decani", -2.0))
    design = Design(third, alpha=0.025, sides=1, power=0.9, spending=Spending("hwang_shih_decani", -4.0), futility=plan)
    bounds = boundaries(design)
    np.testing.assert_allclose(bounds.efficacy, [3.01, 2.55, 2.00], rtol=0, atol=5.5e-3)
    np.testing.assert_allclose(bounds.futility, [-0.24, 0.94, 2.00], rtol=0, atol=5.5e-3)
    assert inflation(design) == pytest.approx(1.070, abs=6e-4)


def test_one_look_costs_nothing():
    design = Design([1.0], alpha=0.01, power=0.9)
    assert inflation(design) == pytest.approx(1, rel=1e-9)
    assert required_drift(design) == pytest.approx(special.ndtri(0.995) + special.ndtri(0.9), rel=1e-9)


@pytest.mark.parametrize("spending", [OBRIEN_FLEMING, POCOCK, Spending("hwang_shih_decani", -2.0)])
@pytest.mark.parametrize("sides", [1, 2])
def test_simulated_power_and_size_are_the_planned_ones(spending, sides):
    times = np.array([0.25, 0.6, 1.0])
    design = Design(times, spending=spending, sides=sides, power=0.9)
    drift, runs = required_drift(design), 40_000
    steps = np.diff(times, prepend=0)
    z = np.random.default_rng(2).normal(drift * steps, np.sqrt(steps), (runs, 3)).cumsum(axis=1) / np.sqrt(times)
    bounds = efficacy_bounds(times, spending=spending, sides=sides).critical
    up, down = z > bounds, (z < -bounds) & (sides == 2)
    stopped = up | down
    first = np.where(stopped.any(axis=1), stopped.argmax(axis=1), 2)
    power = up[np.arange(runs), first].mean()
    assert power == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / runs))
    used = times[first]
    assert used.mean() == pytest.approx(float(expected_share(design, drift)), abs=4 * used.std() / np.sqrt(runs))


def test_wrong_rejections_are_no_power():
    design = Design(FIVE)
    assert float(power_at(design, 0.0)) == pytest.approx(0.025, rel=1e-9)
    assert float(power_at(design, -3.0)) < 1e-6
    assert float(expected_share(design, -2.0)) == pytest.approx(float(expected_share(design, 2.0)), rel=1e-10)


@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize("spending", [OBRIEN_FLEMING, POCOCK])
def test_design_with_futility_has_its_power_and_spends_beta_exactly(binding, spending):
    plan = Futility(0.1, spending, binding)
    design = Design(FIVE, alpha=0.025, sides=1, power=0.9, futility=plan)
    drift, bounds = required_drift(design), boundaries(design)
    found = crossing_probabilities(FIVE, bounds.futility, bounds.efficacy, drift=[0.0, drift])
    assert float(found.upper[1].sum()) == pytest.approx(0.9, abs=1e-9)
    assert float(found.lower[1].sum()) == pytest.approx(0.1, abs=1e-9)
    if binding:
        assert float(found.upper[0].sum()) == pytest.approx(0.025, abs=1e-11)
    else:
        assert float(found.upper[0].sum()) < 0.025
    plain = Design(FIVE, alpha=0.025, sides=1, power=0.9)
    assert inflation(design) > inflation(plain)
    # What futility is for: much less of the plan is used when there is nothing.
    assert float(expected_share(design, 0.0)) < 0.7 < float(expected_share(plain, 0.0))


def test_underrunning_design_is_measured_against_its_own_last_look():
    short = Design(0.8 * FIVE, alpha=0.025, sides=1, futility=Futility(0.2))
    assert float(power_at(short, required_drift(short))) == pytest.approx(0.8, abs=1e-8)


def test_detectable_effect_is_the_drift_in_units_of_the_metric():
    design = Design(FIVE)
    found = detectable_effect(design, [0.1, 2.0])
    np.testing.assert_allclose(found, required_drift(design) * np.array([0.1, 2.0]), rtol=1e-12)


def test_conditional_power_with_one_look_to_come_is_the_formula_of_lan_and_wittes():
    z, t, drift = np.array([-1.0, 0.5, 2.2]), 0.5, 2.8
    c = efficacy_bounds([t, 1.0]).critical[1]
    expected = special.ndtr((z * np.sqrt(t) + drift * (1 - t) - c) / np.sqrt(1 - t))
    np.testing.assert_allclose(conditional_power(z, fractions=[t], drift=drift), expected, rtol=1e-10)
    trend = special.ndtr((z / np.sqrt(t) - c) / np.sqrt(1 - t))
    np.testing.assert_allclose(conditional_power(z, fractions=[t]), trend, rtol=1e-10)


def test_predictive_power_with_one_look_to_come_is_its_closed_form():
    # The score at the end given z at t is normal around z / sqrt(t) with variance (1 - t) / t.
    z, t = np.array([-1.0, 0.5, 2.2]), 0.3
    c = efficacy_bounds([t, 1.0]).critical[1]
    expected = special.ndtr((z / np.sqrt(t) - c) / np.sqrt((1 - t) / t))
    np.testing.assert_allclose(predictive_power(z, fractions=[t]), expected, rtol=1e-9)


@pytest.mark.parametrize("drift", [0.0, 2.9])
def test_conditional_power_averages_to_the_power_of_the_design(drift):
    times = np.array([0.3, 0.6, 0.8, 1.0])
    found = crossing_probabilities(
        times, -efficacy_bounds(times).critical, efficacy_bounds(times).critical, drift=drift
    )
    first = efficacy_bounds(times).critical[0]
    nodes, weights = np.polynomial.legendre.leggauss(60)
    z = first * nodes
    density = np.exp(-0.5 * (z - drift * np.sqrt(0.3)) ** 2) / np.sqrt(2 * np.pi)
    later = conditional_power(z, fractions=[0.3], remaining=times[1:], drift=drift)
    average = float((later * density) @ weights * first)
    assert average == pytest.approx(float(found.upper[1:].sum()), abs=1e-10)


def test_predictive_power_over_several_looks_is_the_average_of_the_conditional():
    z, t, rest = 1.3, 0.4, [0.7, 1.0]

    def weighted(drift):
        away = (drift - z / np.sqrt(t)) * np.sqrt(t)
        density = np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi) * np.sqrt(t)
        return float(conditional_power(z, fractions=[t], remaining=rest, drift=drift)) * density

    expected = integrate.quad(weighted, -11, 15, epsabs=1e-9)[0]
    assert float(predictive_power(z, fractions=[t], remaining=rest)) == pytest.approx(expected, abs=1e-8)


@given(st.floats(-3, 3), st.floats(0, 5), st.floats(0.1, 0.9))
@settings(max_examples=30, deadline=None)
def test_conditional_power_rises_with_z_and_with_the_effect(z, drift, t):
    one, more = conditional_power([z, z + 0.1], fractions=[t], drift=drift)
    assert one <= more
    assert conditional_power(z, fractions=[t], drift=drift + 0.1) >= one


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Design([0.5, 0.5]), "fractions"),
        (lambda: Design([0.0, 1.0]), "fractions"),
        (lambda: Design(FIVE, alpha=0), "alpha"),
        (lambda: Design(FIVE, power=1.0), "power"),
        (lambda: Design(FIVE, power=0.02), "power"),
        (lambda: Design(FIVE, sides=0), "sides"),
        (lambda: Design(FIVE, futility=Futility(0.1)), "futility"),
        (lambda: power_at(Design(FIVE), np.inf), "drift"),
        (lambda: detectable_effect(Design(FIVE), 0), "standard_error"),
        (lambda: conditional_power(np.nan, fractions=[0.5]), "z"),
        (lambda: conditional_power(1, fractions=[0.5], remaining=[0.4]), "remaining"),
        (lambda: conditional_power(1, fractions=[0.5], remaining=[0.6, 0.6]), "fractions"),
        (lambda: predictive_power(1, fractions=[0.0]), "fractions"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
