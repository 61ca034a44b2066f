"""First-exit probabilities: published constants, independent quadrature, conservation, many and close looks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from abplatform.stats import sequential
from abplatform.stats.group_sequential import crossing_probabilities

INF = np.inf


def error_of(bounds):
    """Two-sided error of symmetric bounds at equally spaced looks."""
    bounds = np.asarray(bounds, dtype=float)
    found = crossing_probabilities(np.arange(1, bounds.size + 1), -bounds, bounds)
    return float((found.upper + found.lower).sum())


@pytest.mark.parametrize(
    ("looks", "published"), [(1, 0.05), (2, 0.083), (5, 0.142), (10, 0.193), (20, 0.248), (100, 0.374)]
)
def test_error_of_naive_peeking_is_the_published_table(looks, published):
    # Armitage, McPherson and Rowe (1969), table 2, at nominal 5%.
    assert error_of([special.ndtri(0.975)] * looks) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(("looks", "constant"), [(2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)])
def test_pocock_constants_of_jennison_and_turnbull_table_2_1_err_at_5_percent(looks, constant):
    assert error_of([constant + 5e-4] * looks) < 0.05 < error_of([constant - 5e-4] * looks)


@pytest.mark.parametrize(("looks", "constant"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040), (10, 2.087)])
def test_obrien_fleming_constants_of_jennison_and_turnbull_table_2_3_err_at_5_percent(looks, constant):
    shape = np.sqrt(looks / np.arange(1, looks + 1))
    assert error_of((constant + 5e-4) * shape) < 0.05 < error_of((constant - 5e-4) * shape)


@pytest.mark.parametrize(
    ("looks", "constant", "inflation"),
    [
        (2, 2.178, 1.110),
        (5, 2.413, 1.229),
        (2, -1.977, 1.008),
        (5, -2.040, 1.028),
        (10, -2.087, 1.040),
    ],
)
def test_power_is_80_percent_at_the_published_inflation(looks, constant, inflation):
    # Jennison and Turnbull (1999), tables 2.2 (Pocock) and 2.4 (O'Brien-Fleming, marked by the sign here).
    times = np.arange(1, looks + 1) / looks
    bounds = np.full(looks, constant) if constant > 0 else -constant / np.sqrt(times)
    fixed = special.ndtri(0.975) + special.ndtri(0.8)
    drift = fixed * np.sqrt(inflation + np.array([-1e-3, 1e-3]))
    power = crossing_probabilities(times, -bounds, bounds, drift=drift).upper.sum(axis=-1)
    assert power[0] < 0.8 < power[1]


@pytest.mark.parametrize("drift", [0.0, 1.3, -2.0])
@pytest.mark.parametrize("times", [(0.3, 1.0), (0.01, 1.0), (0.9999, 1.0), (0.5, 0.50001)])
@pytest.mark.parametrize("lower", [-2.4, -INF])
def test_two_looks_equal_adaptive_quadrature(times, lower, drift):
    first, second = times
    upper = np.array([2.7, 2.1])
    step, mean = np.sqrt(second - first), drift * np.sqrt(first)

    def integrand(z):
        ahead = (upper[1] * np.sqrt(second) - z * np.sqrt(first) - drift * step**2) / step
        return np.exp(-((z - mean) ** 2) / 2) / np.sqrt(2 * np.pi) * special.ndtr(-ahead)

    middle = upper[1] * np.sqrt(second / first)
    marks = np.unique(
        np.clip([max(lower, mean - 9), middle - 0.1, middle, middle + 0.1, mean, 2.7], max(lower, -12), 2.7)
    )
    expected = sum(integrate.quad(integrand, a, b, epsabs=1e-13, limit=200)[0] for a, b in pairwise(marks))
    found = crossing_probabilities(times, [lower, lower], upper, drift=drift)
    assert float(found.upper[0]) == pytest.approx(special.ndtr(mean - 2.7), abs=1e-13)
    assert float(found.upper[1]) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("times", [(0.2, 0.5, 1.0), (0.2, 0.21, 1.0), (0.3, 0.9, 0.95)])
def test_three_looks_equal_nested_gauss_kronrod(times):
    first, second, third = times
    bounds, drift = np.array([2.8, 2.3, 2.0]), 1.7
    one, two = second - first, third - second

    def density(y, x):
        return (
            np.exp(-((x - drift * first) ** 2) / (2 * first) - (y - x - drift * one) ** 2 / (2 * one))
            / (2 * np.pi * np.sqrt(first * one))
            * special.ndtr((y + drift * two - bounds[2] * np.sqrt(third)) / np.sqrt(two))
        )

    edges = bounds * np.sqrt(times)
    expected = integrate.dblquad(density, -edges[0], edges[0], -edges[1], edges[1], epsabs=1e-11, epsrel=1e-11)[0]
    found = crossing_probabilities(times, -bounds, bounds, drift=drift)
    assert float(found.upper[2]) == pytest.approx(expected, abs=1e-10)


schedules = st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=8).map(np.cumsum)


@given(schedules, st.integers(0, 2**32 - 1), st.floats(-12, 12))
@settings(max_examples=60, deadline=None)
def test_every_path_ends_somewhere(times, seed, drift):
    rng = np.random.default_rng(seed)
    upper, lower = rng.uniform(-1, 8, times.size), -rng.uniform(1, 8, times.size)
    upper[-1] = lower[-1] = 0.3
    found = crossing_probabilities(times, lower, upper, drift=drift / np.sqrt(times[-1]))
    assert float((found.upper + found.lower).sum()) == pytest.approx(1, abs=1e-11)


@given(schedules, st.floats(0.1, 5), st.floats(-4, 4))
@settings(max_examples=40, deadline=None)
def test_mirrored_bounds_and_drift_swap_the_sides_and_the_unit_of_information_is_free(times, bound, drift):
    upper = bound + np.linspace(1, 0, times.size)
    lower = np.where(np.arange(times.size) % 2, -1.0, -INF)
    there = crossing_probabilities(times, lower, upper, drift=drift)
    back = crossing_probabilities(7 * times, -upper, -lower, drift=-drift / np.sqrt(7))
    np.testing.assert_allclose(there.upper, back.lower, rtol=0, atol=1e-12)
    np.testing.assert_allclose(there.lower, back.upper, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gap", [1e-6, 1e-4, 0.1])
def test_looks_without_bounds_change_nothing_however_close(gap):
    some = crossing_probabilities([0.5, 1.0], [-2.5, -2], [2.5, 2], drift=[0, 3.0])
    more = crossing_probabilities(
        [0.5 - gap, 0.5, 0.5 + gap, 1.0], [-INF, -2.5, -INF, -2], [INF, 2.5, INF, 2], drift=[0, 3.0]
    )
    np.testing.assert_allclose(more.upper[:, [1, 3]], some.upper, rtol=0, atol=1e-12)
    np.testing.assert_allclose(more.lower[:, [1, 3]], some.lower, rtol=0, atol=1e-12)


def test_two_hundred_wide_looks_lose_no_path():
    times, wide = np.arange(1, 201) / 200, np.full(200, 8.0)
    upper, lower = np.append(wide[1:], 1.0), np.append(-wide[1:], 1.0)
    drifts = np.array([0.0, 3.0, 25.0])
    found = crossing_probabilities(times, lower, upper, drift=drifts)
    np.testing.assert_allclose((found.upper + found.lower).sum(axis=-1), 1, rtol=0, atol=1e-11)
    assert float(found.upper[0, -1]) == pytest.approx(special.ndtr(-1.0), abs=1e-11)


def test_many_drifts_at_once_equal_each_alone():
    times, upper = np.arange(1, 6) / 5, np.array([4.9, 3.4, 2.7, 2.3, 2.0])
    drifts = np.array([[-30.0, -3.0, 0.0], [2.8, 6.5, 40.0]])
    together = crossing_probabilities(times, np.full(5, -INF), upper, drift=drifts)
    assert together.upper.shape == (2, 3, 5)
    for place, drift in np.ndenumerate(drifts):
        alone = crossing_probabilities(times, np.full(5, -INF), upper, drift=drift)
        np.testing.assert_allclose(together.upper[place], alone.upper, rtol=0, atol=1e-12)


def test_power_of_a_confidence_sequence_equals_a_simulation():
    n = np.arange(1, 101) * 200.0
    bounds = sequential.critical_value(n, sequential.tune_rho2(n[-1], 0.05), 0.05)
    drift, runs = 3.6, 20_000
    power = float(crossing_probabilities(n / n[-1], -bounds, bounds, drift=drift).upper.sum())
    steps = np.random.default_rng(5).normal(drift / 100, 0.1, size=(runs, 100))
    z = steps.cumsum(axis=1) / np.sqrt(n / n[-1])
    first = np.argmax(np.abs(z) > bounds, axis=1)
    seen = (z[np.arange(runs), first] > bounds[first]).mean()
    assert seen == pytest.approx(power, abs=4 * np.sqrt(power * (1 - power) / runs))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([], [], []), "information"),
        ((1.0, [1], [1]), "information"),
        (([1, 1], [-1, -1], [1, 1]), "information"),
        (([0, 1], [-1, -1], [1, 1]), "information"),
        (([1, np.nan], [-1, -1], [1, 1]), "information"),
        (([1, 2], [-1], [1, 1]), "lower"),
        (([1, 2], [-1, -1], [1, np.nan]), "upper"),
        (([1, 2], [-1, 2], [1, 1]), "lower"),
    ],
)
def test_bad_looks_are_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=name):
        crossing_probabilities(*arguments)


def test_a_drift_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="drift"):
        crossing_probabilities([1], [-1], [1], drift=np.nan)
