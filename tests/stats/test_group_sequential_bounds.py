"""Spending functions, efficacy and futility bounds, repeated p-values: tables, peers, and what alpha they spend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from abplatform.stats.group_sequential import (
    OBRIEN_FLEMING,
    POCOCK,
    Futility,
    Spending,
    critical_values,
    crossing_probabilities,
    efficacy_bounds,
    futility_bounds,
    repeated_p_values,
    spend,
)

HSD, POWER = Spending("hwang_shih_decani", -4.0), Spending("power", 3.0)
EVERY = st.sampled_from([OBRIEN_FLEMING, POCOCK, HSD, POWER, Spending("hwang_shih_decani", 0.0)])
schedules = st.lists(st.floats(0.02, 1.0), min_size=1, max_size=6).map(lambda gaps: np.cumsum(gaps) / 3)


def even(looks):
    return np.arange(1, looks + 1) / looks


def exits(times, critical, sides=2, drift=0.0):
    lower = -critical if sides == 2 else np.full(critical.shape, -np.inf)
    found = crossing_probabilities(times, lower, critical, drift=drift)
    return found.upper + (found.lower if sides == 2 else 0)


def test_spending_functions_are_their_closed_forms():
    t, alpha = np.array([0.1, 0.5, 0.9]), 0.025
    z = special.ndtri(1 - alpha / 2)
    np.testing.assert_allclose(spend(t, alpha), 2 - 2 * special.ndtr(z / np.sqrt(t)), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(spend(t, alpha, POCOCK), alpha * np.log(1 + (np.e - 1) * t), rtol=1e-12)
    np.testing.assert_allclose(spend(t, alpha, POWER), alpha * t**3, rtol=1e-12)
    np.testing.assert_allclose(spend(t, alpha, HSD), alpha * (1 - np.exp(4 * t)) / (1 - np.exp(4)), rtol=1e-12)
    np.testing.assert_allclose(spend(t, alpha, Spending("hwang_shih_decani", 0.0)), alpha * t, rtol=1e-12)


@given(EVERY, st.floats(1e-6, 0.5), st.floats(0, 1), st.floats(0, 1))
def test_spending_starts_at_nothing_ends_at_alpha_and_never_falls(spending, alpha, one, other):
    early, late = sorted((one, other))
    assert float(spend(0, alpha, spending)) == 0
    assert float(spend(1, alpha, spending)) == pytest.approx(alpha, rel=1e-12)
    assert float(spend(1.7, alpha, spending)) == pytest.approx(alpha, rel=1e-12)
    assert float(spend(early, alpha, spending)) <= float(spend(late, alpha, spending)) * (1 + 1e-12)


def test_steep_gamma_families_do_not_overflow():
    found = spend([0.5, 1.0], 0.025, Spending("hwang_shih_decani", -900.0))
    np.testing.assert_allclose(found, [0.025 * np.exp(-450), 0.025], rtol=1e-9)


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        # Lan-DeMets bounds for a two-sided alpha of .05, as gsDesign, rpact and ldbounds print them.
        (OBRIEN_FLEMING, [2.963, 1.969]),
        (OBRIEN_FLEMING, [3.710, 2.511, 1.993]),
        (OBRIEN_FLEMING, [4.333, 2.963, 2.359, 2.014]),
        (OBRIEN_FLEMING, [4.877, 3.357, 2.680, 2.290, 2.031]),
        (POCOCK, [2.157, 2.201]),
        (POCOCK, [2.438, 2.427, 2.410, 2.397, 2.386]),
    ],
)
def test_bounds_equal_the_published_tables(spending, published):
    found = efficacy_bounds(even(len(published)), spending=spending).critical
    np.testing.assert_allclose(found, published, rtol=0, atol=5.5e-4)


def test_one_sided_bounds_equal_those_of_seqbounds():
    # README of SeqBounds.jl (grid step 0.05): O'Brien-Fleming type, one-sided .05, four looks.
    found = efficacy_bounds(even(4), alpha=0.05, sides=1).critical
    np.testing.assert_allclose(found, [3.74955, 2.53993, 2.01604, 1.72014], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("sides", "shape", "peer"),
    [
        # spotify-confidence 4.1.0, sequential_bound_solver.bounds(t, .05, rho, 8, sides): a trapezoid rule with steps
        # of 0.05 standard deviations.
        (1, 2.0, [2.87816174, 2.47019115, 2.20090807, 1.98176674, 1.79017206]),
        (2, 1.0, [2.57582930, 2.49193153, 2.41077190, 2.33907903, 2.27544588]),
        (2, 3.0, [3.54008380, 2.97430176, 2.60448267, 2.30631808, 2.04543360]),
    ],
)
def test_power_family_bounds_equal_those_of_spotify_to_its_accuracy(sides, shape, peer):
    found = efficacy_bounds(even(5), spending=Spending("power", shape), sides=sides).critical
    np.testing.assert_allclose(found, peer, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spending", [OBRIEN_FLEMING, POCOCK, HSD])
def test_second_bound_spends_its_share_by_adaptive_quadrature(spending):
    first, second = 0.37, 0.8
    one, two = efficacy_bounds([first, second], spending=spending).critical
    root, step = np.sqrt(first), np.sqrt(second - first)
    tail = integrate.quad(
        lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * special.ndtr((z * root - two * np.sqrt(second)) / step),
        -one,
        one,
        epsabs=1e-14,
    )[0]
    spent = spend([first, second], 0.025, spending)
    assert special.ndtr(-one) == pytest.approx(float(spent[0]), rel=1e-12)
    assert tail == pytest.approx(float(spent[1] - spent[0]), abs=1e-13)


@given(schedules, EVERY, st.sampled_from([1e-8, 0.01, 0.05, 0.3]), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_any_looks_spend_exactly_what_the_function_allows(times, spending, alpha, sides):
    found = efficacy_bounds(times, alpha=alpha, spending=spending, sides=sides)
    spent = sides * spend(times, alpha / sides, spending)
    np.testing.assert_allclose(found.spent, spent, rtol=1e-12)
    np.testing.assert_allclose(exits(times, found.critical, sides).cumsum(), spent, rtol=1e-7, atol=1e-13)
    np.testing.assert_allclose(found.nominal, sides * special.ndtr(-found.critical), rtol=1e-12)


@given(
    st.lists(st.floats(-4, 0), min_size=1, max_size=5).map(lambda powers: np.cumsum(10.0 ** np.array(powers))),
    EVERY,
    st.floats(-250, -1),
    st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_bounds_at_any_level_lie_between_what_a_look_and_what_all_so_far_spend(times, spending, power, sides):
    # First exits at a look are at most the marginal tail there, and that at most all exits so far.
    found = efficacy_bounds(times / times[-1], alpha=10.0**power, spending=spending, sides=sides)
    side = found.spent / sides
    tail = special.ndtr(-found.critical)
    used = np.diff(side, prepend=0)
    seen = tail > 1e-280
    assert (tail[seen] >= used[seen] * (1 - 1e-9)).all()
    assert (tail[seen] <= side[seen] * (1 + 1e-9)).all()
    assert not np.isnan(found.critical).any()


@given(schedules, EVERY)
@settings(max_examples=30, deadline=None)
def test_a_final_look_uses_up_alpha_whatever_its_information(times, spending):
    found = efficacy_bounds(times, spending=spending, final=True)
    total = exits(times, found.critical).sum()
    # A plan that was complete before its last look has spent everything already.
    assert total == pytest.approx(0.05, abs=1e-11)
    assert float(found.spent[-1]) == pytest.approx(0.05, rel=1e-12)


def test_overrunning_spends_what_is_left_once():
    found = efficacy_bounds([0.5, 1.3, 1.4])
    np.testing.assert_allclose(exits(np.array([0.5, 1.3]), found.critical[:2]).sum(), 0.05, rtol=1e-11)
    assert found.critical[2] == np.inf
    assert efficacy_bounds([0.5, 1.0, 1.4], final=True).critical[2] == np.inf
    assert float(repeated_p_values(9.0, [0.5, 1.3, 1.4])) == 1


def test_looks_without_new_information_spend_nothing_and_keep_their_bound():
    plain = efficacy_bounds([0.3, 0.6, 1.0]).critical
    found = efficacy_bounds([0.0, 0.3, 0.3, 0.3 + 1e-12, 0.6, 1.0, 1.0]).critical
    np.testing.assert_allclose(found, [np.inf, *plain[[0, 0, 0, 1, 2, 2]]], rtol=1e-10)


def test_ending_without_new_information_spends_the_rest_on_the_same_data():
    ended = efficacy_bounds([0.4, 0.8, 0.8], final=True)
    straight = efficacy_bounds([0.4, 0.8], final=True)
    assert ended.critical[2] == pytest.approx(straight.critical[1], rel=1e-12)
    assert ended.critical[1] == pytest.approx(efficacy_bounds([0.4, 0.8]).critical[1], rel=1e-12)


def test_bounds_before_any_error_can_be_spent_are_infinite():
    found = efficacy_bounds([0.0005, 0.001, 1.0])
    assert found.critical[:2].tolist() == [np.inf, np.inf]
    assert found.critical[2] == pytest.approx(special.ndtri(0.975), abs=1e-12)
    assert efficacy_bounds([0.0, 0.0]).critical.tolist() == [np.inf, np.inf]


def test_many_schedules_at_once_equal_each_alone():
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 1.1, (80, 4)), axis=1)
    times[::7, :2] = 0.0
    times[::5, 3] = times[::5, 2]
    alpha = rng.choice([0.01, 0.05], 80)
    together = efficacy_bounds(times, alpha=alpha, spending=POCOCK).critical
    for row in range(0, 80, 9):
        alone = efficacy_bounds(times[row], alpha=alpha[row], spending=POCOCK).critical
        np.testing.assert_allclose(together[row], alone, rtol=1e-10)
    last = critical_values(times.reshape(8, 10, 4), alpha=alpha.reshape(8, 10), spending=POCOCK)
    np.testing.assert_allclose(last.ravel(), together[:, -1], rtol=1e-10)


def test_simulated_error_at_random_looks_is_alpha():
    # Looks whose number and times have nothing to do with the effects: 2,000 experiments of one schedule each.
    rng = np.random.default_rng(12)
    wrong, runs = 0, 0
    for _ in range(20):
        times = np.append(np.sort(rng.uniform(0.05, 0.95, rng.integers(1, 6))), rng.uniform(0.97, 1.2))
        critical = efficacy_bounds(times).critical
        steps = rng.normal(0, np.sqrt(np.diff(times, prepend=0)), (2000, times.size))
        z = steps.cumsum(axis=1) / np.sqrt(times)
        wrong, runs = wrong + (np.abs(z) > critical).any(axis=1).sum(), runs + 2000
    # All schedules end at or beyond a fraction of .97, where OBF-type spending has used at least .047.
    assert 0.047 - 4 * np.sqrt(0.05 * 0.95 / runs) < wrong / runs < 0.05 + 4 * np.sqrt(0.05 * 0.95 / runs)


def test_repeated_p_value_at_a_single_look_is_the_ordinary_one():
    z = np.array([-3.0, 0.2, 1.96, 8.0])
    np.testing.assert_allclose(repeated_p_values(z, [1.0]), 2 * special.ndtr(-np.abs(z)), rtol=1e-9)
    one = repeated_p_values(z, [1.0], sides=1)
    np.testing.assert_allclose(one[1:], special.ndtr(-z[1:]), rtol=1e-9)
    assert one[0] == pytest.approx(special.ndtr(3.0), abs=2e-3)


@given(schedules, EVERY, st.floats(-6, 6), st.sampled_from([1, 2]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_bound_at_the_repeated_p_value_is_z_itself(times, spending, z, sides, final):
    p = float(repeated_p_values(z, times, spending=spending, sides=sides, final=final))
    bounded = abs(z) if sides == 2 else z
    if p < 1:
        critical = critical_values(times, alpha=p, spending=spending, sides=sides, final=final)
        assert float(critical) == pytest.approx(bounded, abs=1e-7)
    else:
        highest = 0.99 if sides == 1 else 0.999
        assert bounded < critical_values(times, alpha=highest, spending=spending, sides=sides, final=final) + 1e-6


@pytest.mark.parametrize("spending", [OBRIEN_FLEMING, POCOCK])
@pytest.mark.parametrize("sides", [1, 2])
def test_p_values_from_a_table_equal_those_of_single_cells(spending, sides):
    z = np.append(np.random.default_rng(3).normal(0.5, 2.5, 200), [0.0, 1e-6, 45.0, np.nan])
    times = [0.1, 0.2, 0.5, 0.55, 0.9, 1.0]
    many = repeated_p_values(z, times, spending=spending, sides=sides)
    few = np.array([repeated_p_values(one, times, spending=spending, sides=sides) for one in z[::8]])
    np.testing.assert_allclose(many[::8], few, rtol=1e-8)
    assert np.isnan(many[-1])
    assert 0 < many[-2] < 1e-267


def test_p_values_of_looks_without_information_are_1():
    assert repeated_p_values([5.0, np.nan], [[0.0, 0.0], [0.0, 0.5]])[0] == 1


def test_beta_spending_bounds_spend_beta_and_leave_the_power():
    times, plan = even(4), Futility(0.1, POCOCK)
    drift = 3.6
    bounds = futility_bounds(times, plan, drift=drift, alpha=0.025, sides=1)
    np.testing.assert_allclose(bounds.efficacy, efficacy_bounds(times, alpha=0.025, sides=1).critical)
    given_up = crossing_probabilities(times, bounds.futility, bounds.efficacy, drift=drift).lower
    np.testing.assert_allclose(given_up[:3].cumsum(), spend(times[:3], 0.1, POCOCK), rtol=1e-9)
    # Non-binding: going on regardless costs no alpha; stopping only lowers the error.
    assert exits(times, bounds.efficacy, sides=1).sum() == pytest.approx(0.025, rel=1e-10)


def test_binding_futility_bounds_give_their_error_back():
    times, plan = even(4), Futility(0.1, POCOCK, binding=True)
    bounds = futility_bounds(times, plan, drift=3.4, alpha=0.025, sides=1)
    error = crossing_probabilities(times, bounds.futility, bounds.efficacy).upper
    np.testing.assert_allclose(error.cumsum(), spend(times, 0.025), rtol=1e-9)
    given_up = crossing_probabilities(times, bounds.futility, bounds.efficacy, drift=3.4).lower
    np.testing.assert_allclose(given_up[:3].cumsum(), spend(times[:3], 0.1, POCOCK), rtol=1e-9)
    assert (bounds.efficacy[1:] < efficacy_bounds(times, alpha=0.025, sides=1).critical[1:]).all()


@pytest.mark.parametrize("drift", [5.0, 8.0, 20.0])
@pytest.mark.parametrize("binding", [False, True])
def test_where_both_bounds_meet_early_the_test_is_over(drift, binding):
    # So large an effect shows at the second look at the latest: beta leaves nothing between the bounds there.
    times = np.array([0.3, 0.6, 0.9, 1.0])
    bounds = futility_bounds(times, Futility(0.2, POCOCK, binding), drift=drift, alpha=0.025, sides=1)
    met = int(np.argmax(bounds.futility >= bounds.efficacy))
    assert met < 3
    np.testing.assert_array_equal(bounds.futility[met:], bounds.efficacy[met:])
    assert np.isfinite(bounds.efficacy).all()
    error = crossing_probabilities(times, bounds.futility, bounds.efficacy).upper.sum()
    assert float(error) <= 0.025 * (1 + 1e-9)


def test_two_sided_futility_never_lies_below_the_bound_of_harm():
    bounds = futility_bounds([0.01, 0.5, 1.0], Futility(0.2), drift=2.9)
    assert (bounds.futility >= -bounds.efficacy).all()
    assert bounds.futility[-1] == bounds.efficacy[-1]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Spending("bonferroni"), "kind"),
        (lambda: Spending("power"), "shape"),
        (lambda: Spending("power", 0.0), "shape"),
        (lambda: Spending("pocock", 1.0), "shape"),
        (lambda: Spending("hwang_shih_decani", np.inf), "shape"),
        (lambda: spend(-0.1, 0.05), "information_fraction"),
        (lambda: spend(0.1, 1.0), "alpha"),
        (lambda: efficacy_bounds(0.5), "fractions"),
        (lambda: efficacy_bounds([]), "fractions"),
        (lambda: efficacy_bounds([0.5, 0.4]), "fractions"),
        (lambda: efficacy_bounds([0.5, np.nan]), "fractions"),
        (lambda: efficacy_bounds([-0.5]), "fractions"),
        (lambda: efficacy_bounds([0.5], alpha=0), "alpha"),
        (lambda: efficacy_bounds([[0.5], [0.6]], alpha=[0.1, 0.1, 0.1]), "alpha"),
        (lambda: efficacy_bounds([0.5], sides=3), "sides"),
        (lambda: repeated_p_values([1, 2], [[0.1], [0.2], [0.3]]), "fractions"),
        (lambda: repeated_p_values(1, [0.5], sides=0), "sides"),
        (lambda: Futility(1.0), "beta"),
        (lambda: futility_bounds([0.5, 0.5], Futility(), drift=3), "fractions"),
        (lambda: futility_bounds([[0.5, 0.6]], Futility(), drift=3), "fractions"),
        (lambda: futility_bounds([0.5, 1], Futility(), drift=0), "drift"),
        (lambda: futility_bounds([0.5, 1], Futility(), drift=20.1), "drift"),
        (lambda: futility_bounds([0.5, 1], Futility(binding=True), drift=3), "binding"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
