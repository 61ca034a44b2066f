"""Power and size of tests with one look: other packages, published examples, integrals, simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special
from scipy import stats as reference
from statsmodels.stats.power import NormalIndPower, TTestIndPower, normal_power_het

from abplatform.stats import Margin, MeanStats, ProportionStats, RatioStats, fixed
from abplatform.stats.power import (
    Baseline,
    FixedTest,
    Goal,
    Split,
    achieved_power,
    detectable_size,
    required_units,
)
from abplatform.stats.power.noncentral import claim_probability

ONE_SIDED = FixedTest(one_sided=True)


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


def tail(near, far, critical, freedom):
    return float(claim_probability(*map(np.asarray, (near, far, critical, freedom))))


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 12, 40, 98, 5000, 1e7])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-4, 1e-8])
def test_tail_is_the_noncentral_t_of_scipy(freedom, alpha):
    # Independent: Boost's noncentral t, as a lower tail so that small powers keep their digits.
    critical = -special.stdtrit(freedom, alpha / 2)
    for near in (-2.0, 0.0, 1.0, 2.8, 5.0, 10.0, 40.0):
        expected = special.nctdtr(freedom, -near, -critical)
        assert tail(near, np.inf, critical, freedom) == pytest.approx(expected, rel=1e-7, abs=2e-11)


@pytest.mark.parametrize("near", [50.0, 1e3, 1e5, 1e8])
@pytest.mark.parametrize("freedom", [1, 5, 98, 1e6, np.inf])
def test_tail_far_out_is_exact_and_not_nan(near, freedom):
    critical = 1.96 if np.isinf(freedom) else -special.stdtrit(freedom, 0.025)
    expected = reference.norm.sf(critical - near) if np.isinf(freedom) else special.nctdtr(freedom, -near, -critical)
    assert tail(near, np.inf, critical, freedom) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.9999


@pytest.mark.parametrize(("freedom", "alpha", "near"), [(1, 1e-6, 3e5), (1.5, 1e-8, 1.1e5), (2, 1e-8, 9478.0)])
def test_tail_is_right_where_the_library_is_nan_or_loses_digits(freedom, alpha, near):
    # Independent: an adaptive integral over the normal variable. nctdtr is NaN at the first two.
    critical = -special.stdtrit(freedom, alpha / 2)

    def integrand(z):
        return reference.norm.pdf(z) * reference.chi2.cdf(freedom * ((z + near) / critical) ** 2, freedom)

    expected = integrate.quad(integrand, -9, 9, epsabs=1e-13)[0]
    assert 0.01 < expected < 0.9999
    assert tail(near, np.inf, critical, freedom) == pytest.approx(expected, abs=1e-10)


def test_t_with_very_many_degrees_of_freedom_is_normal_within_the_bound_it_states():
    # The edge between the rules: quantiles differ by (z^3 + z) / (4 freedom), power by phi(0) times that at most.
    z = 1.96
    just_t, normal = (tail(2.0, np.inf, z, freedom) for freedom in (0.99e9, np.inf))
    assert just_t == pytest.approx(normal, abs=0.4 * (z**3 + z) / 4e9 + 1e-12)


@pytest.mark.parametrize("freedom", [2, 6, 30, 400])
@pytest.mark.parametrize(("near", "far"), [(3.0, 3.0), (2.0, 4.5), (6.0, 0.5), (1.0, 1.2)])
def test_two_margins_are_owens_integral(freedom, near, far):
    # Independent: Owen's (1965) Q as an adaptive integral over the chi distribution of the standard error.
    critical = -special.stdtrit(freedom, 0.05)

    def integrand(s):
        room = special.ndtr(near - critical * s) - special.ndtr(critical * s - far)
        return max(room, 0.0) * reference.chi.pdf(s * np.sqrt(freedom), freedom) * np.sqrt(freedom)

    edge = (near + far) / (2 * critical)
    expected = integrate.quad(integrand, 0, edge, points=[min(1.0, 0.99 * edge)], epsabs=1e-13, limit=200)[0]
    assert tail(near, far, critical, freedom) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.1])
@pytest.mark.parametrize("n", [4, 20, 300])
def test_one_sided_t_power_is_that_of_statsmodels(effect, n):
    # At equal sizes and variances Welch's degrees of freedom are those of the pooled test, 2 n - 2.
    plan = achieved_power(Baseline.normal(0.0, 1.0), Goal.superiority(effect), test=ONE_SIDED, units=2 * n)
    expected = TTestIndPower().power(effect, n, 0.05, alternative="larger")
    assert float(plan.power) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("arms", [(4, 10), (20, 50), (300, 40)])
def test_unequal_arms_have_welchs_degrees_of_freedom(arms):
    # Closed form: noncentral t at Satterthwaite's degrees of freedom of the planned variances 1 and 4.
    control, treatment = 1 / arms[0], 4 / arms[1]
    freedom = (control + treatment) ** 2 / (control**2 / (arms[0] - 1) + treatment**2 / (arms[1] - 1))
    expected = special.nctdtr(freedom, -1.3 / np.sqrt(control + treatment), -reference.t.isf(0.025, freedom))
    past = Baseline.normal(0.0, 1.0, treatment_sd=2.0)
    plan = achieved_power(past, Goal.superiority(1.3), test=FixedTest(), units=sum(arms), split=Split(arms))
    assert float(plan.power) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("effect", [0.05, 0.2, 0.8])
def test_two_sided_t_power_is_statsmodels_less_the_wrong_tail(effect):
    # statsmodels adds P(T < -t), a significant harm at a true benefit.
    n = 25
    critical, ncp = reference.t.isf(0.025, 2 * n - 2), effect * np.sqrt(n / 2)
    wrong = special.nctdtr(2 * n - 2, ncp, -critical)
    both = TTestIndPower().power(effect, n, 0.05)
    plan = achieved_power(Baseline.normal(0.0, 1.0), Goal.superiority(effect), test=FixedTest(), units=2 * n)
    assert float(plan.power) == pytest.approx(both - wrong, abs=1e-9)
    assert wrong > 1e-6


@pytest.mark.parametrize(("effect", "n"), [(0.2, 394), (0.5, 64), (0.8, 26)])
def test_size_is_cohens_table(effect, n):
    # Cohen (1988), table 2.4.1: n per group for small, medium, large d at two-sided .05 and power .80 (393, 64, 26;
    # the first rounded down there).
    plan = required_units(Baseline.normal(0.0, 1.0), Goal.superiority(effect), test=FixedTest()).cell()
    assert plan.units == (n, n)
    assert plan.units[0] == np.ceil(TTestIndPower().solve_power(effect, None, 0.05, 0.8))


@pytest.mark.parametrize("rates", [(0.10, 0.11), (0.65, 0.85), (0.5, 0.45)])
def test_rate_power_is_statsmodels_with_the_variances_of_the_alternative(rates):
    control, treatment = rates
    n = 120
    direction = "increase" if treatment > control else "decrease"
    goal = Goal.superiority(abs(treatment - control), direction=direction)
    plan = achieved_power(Baseline.rate(control), goal, test=FixedTest(), units=2 * n)
    sd = np.sqrt(treatment * (1 - treatment) + control * (1 - control))
    expected = normal_power_het(abs(treatment - control), n, 0.05, sd, sd, alternative="two-sided")
    wrong = reference.norm.cdf(-1.959964 - abs(treatment - control) * np.sqrt(n) / sd)
    assert float(plan.power) == pytest.approx(expected - wrong, abs=1e-8)


def test_normal_size_is_that_of_statsmodels():
    # A mean with known variance, that is a normal test: statsmodels' z test with both arms' unit variance.
    history = Baseline.rate(0.5)  # unit variance 1/4 at both arms but for the effect's second order
    effect = 0.004
    expected = NormalIndPower().solve_power(effect / 0.5, None, 0.05, 0.8, alternative="two-sided")
    plan = required_units(history, Goal.superiority(effect), test=FixedTest()).cell()
    assert plan.units[0] == pytest.approx(expected, rel=2 * effect**2 * 4)


# Chow, Shao and Wang, Sample Size Calculations in Clinical Research: sections 3.2.4 and 4.2.4, the numbers of the
# R package TrialSize (TwoSampleMean.Equality, .NIS; TwoSampleProportion.Equality, .NIS), which use normal quantiles.
def test_means_equal_chow_shao_and_wang_but_for_their_normal_quantile():
    past = Baseline.normal(0.0, 0.1)
    equality = required_units(past, Goal.superiority(0.05), test=FixedTest()).cell()
    margin = required_units(past, Goal.non_inferiority(Margin(0.05), direction="increase"), test=FixedTest()).cell()
    # Published 63 and 50; the t test needs the well-known one unit more.
    assert (equality.units, margin.units) == ((64, 64), (51, 51))


def test_equivalence_needs_what_chow_shao_and_wang_state_as_an_upper_bound():
    # Example 3.2.4: alpha .1, power .9, sd .1, true difference .01, margin .05: 107 by z_{beta/2}, a bound.
    goal = Goal.equivalence(Margin(0.05), effect=0.01, direction="increase")
    bound = achieved_power(Baseline.normal(0.0, 0.1), goal, test=FixedTest(0.1), units=214)
    assert float(bound.power) > 0.9
    fewer = required_units(Baseline.normal(0.0, 0.1), goal, test=FixedTest(0.1), power=0.9).cell()
    assert 80 < fewer.units[0] < 107


def test_rates_equal_chow_shao_and_wang():
    # 70 per arm: 65% against 85%. 98 per arm: the same shown to be better by more than 5 points (one-sided).
    past = Baseline.rate(0.65)
    assert required_units(past, Goal.superiority(0.2), test=FixedTest()).cell().units == (70, 70)
    # "Better by more than .05" is a margin of the other sign: an effect of .15 beyond it, at the same variances.
    sd = np.sqrt(0.65 * 0.35 + 0.85 * 0.15)
    n = 98
    assert float(reference.norm.cdf(0.15 * np.sqrt(n) / sd - 1.644854)) >= 0.8
    goal = Goal.non_inferiority(Margin(0.05), effect=0.1, direction="increase")
    plan = required_units(past, goal, test=FixedTest()).cell()
    by_hand = (0.65 * 0.35 + 0.75 * 0.25) * ((1.6448536 + 0.8416212) / 0.15) ** 2
    assert plan.units[0] == np.ceil(by_hand)


def simulated(rng, runs, arms, draw):
    """Statistics of ``runs`` experiments at once."""
    return [MeanStats.of(draw(rng, runs, arm, int(n))) for arm, n in enumerate(arms)]


@pytest.mark.parametrize("n", [10, 60])
def test_welch_test_finds_effects_as_often_as_planned(n):
    # Simulated with the engine's own test; equal variances, then a treatment with twice the sd.
    rng, runs = np.random.default_rng(n), 8000
    for sd in (1.0, 2.0):
        effect = 2.8 * np.sqrt((1 + sd**2) / n)
        goal = Goal.superiority(effect)
        plan = achieved_power(Baseline.normal(5.0, 1.0, treatment_sd=sd), goal, test=FixedTest(), units=2 * n)
        control = MeanStats.of(rng.normal(5.0, 1.0, (runs, n)))
        treatment = MeanStats.of(rng.normal(5.0 + effect, sd, (runs, n)))
        result = fixed.compare(treatment, control)
        found = ((result.p_value < 0.05) & (result.absolute.estimate > 0)).mean()
        assert found == pytest.approx(float(plan.power), abs=slack(0.8, runs) + 0.006)


def test_rates_are_told_apart_as_often_as_planned_with_unequal_arms():
    rng, runs = np.random.default_rng(5), 20_000
    split = Split((3, 1))
    plan = required_units(Baseline.rate(0.12), Goal.superiority(0.02), test=FixedTest(), split=split)
    control, treatment = plan.units.astype(int)
    assert control == pytest.approx(3 * treatment, abs=3)
    arms = [ProportionStats(n, rng.binomial(n, rate, runs)) for n, rate in ((treatment, 0.14), (control, 0.12))]
    result = fixed.compare(*arms)
    found = ((result.p_value < 0.05) & (result.absolute.estimate > 0)).mean()
    assert found == pytest.approx(0.8, abs=slack(0.8, runs) + 0.004)


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_relative_margins_are_shown_as_often_as_planned(direction):
    # Simulated with the engine's own test, whose contrast weighs the control by 1 -+ margin.
    rng, runs = np.random.default_rng(6), 20_000
    goal = Goal.non_inferiority(Margin(0.3, relative=True), direction=direction)
    plan = required_units(Baseline.rate(0.1), goal, test=FixedTest())
    n = int(plan.units[0])
    arms = [ProportionStats(n, rng.binomial(n, 0.1, runs)) for _ in range(2)]
    shown = fixed.non_inferiority(*arms, margin=Margin(0.3, relative=True), direction=direction)
    assert shown.non_inferior.mean() == pytest.approx(0.8, abs=slack(0.8, runs) + 0.005)
    # The noise of the control counts for more where the margin weighs it up.
    assert (n > 1000) == (direction == "decrease")


def test_ratios_are_planned_in_clusters_by_their_delta_variance():
    # From a past experiment of 40,000 households; the planned one is then simulated at its size, without harm.
    rng, runs = np.random.default_rng(7), 4000

    def draw(shape):
        size = 1 + rng.poisson(2.0, shape)
        return RatioStats.of(rng.poisson(size * 2.0 * rng.gamma(4.0, 0.25, shape)), size)

    margin = Margin(0.1, relative=True)
    plan = required_units(
        Baseline.of(draw((40_000,))), Goal.non_inferiority(margin, direction="increase"), test=FixedTest()
    ).cell()
    shown = fixed.non_inferiority(
        *(draw((runs, n)) for n in plan.units), margin=margin, direction="increase"
    ).non_inferior
    # History knows its variance within 2%: half of that of the drift, 2.5, at a density of .28.
    assert shown.mean() == pytest.approx(0.8, abs=slack(0.8, runs) + 0.01 * 2.5 * 0.28)


def test_equivalence_is_shown_as_often_as_planned():
    rng, runs, n = np.random.default_rng(8), 20_000, 30
    goal = Goal.equivalence(Margin(0.9), effect=0.2, direction="increase")
    plan = achieved_power(Baseline.normal(3.0, 1.0), goal, test=FixedTest(), units=2 * n)
    control, treatment = (MeanStats.of(rng.normal(mean, 1.0, (runs, n))) for mean in (3.0, 3.2))
    margin = Margin(0.9)
    sides = [
        fixed.non_inferiority(treatment, control, margin=margin, direction=direction).non_inferior
        for direction in ("increase", "decrease")
    ]
    assert (sides[0] & sides[1]).mean() == pytest.approx(float(plan.power), abs=slack(0.8, runs) + 0.003)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.01, 0.9),
    st.floats(0.01, 0.09),
    st.sampled_from([0.6, 0.8, 0.95]),
    st.sampled_from([(1.0, 1.0), (1.0, 3.0), (9.0, 1.0)]),
)
def test_one_unit_less_in_each_arm_is_too_few(rate, effect, power, weights):
    past, goal, split = Baseline.rate(rate), Goal.superiority(effect), Split(weights)
    plan = required_units(past, goal, test=FixedTest(), power=power, split=split)
    assert float(plan.power) >= power
    assert (plan.units == np.floor(plan.units)).all()
    if plan.units.min() > 2:
        shares = np.array(split.shares)
        # The largest total whose rounded-up arms all stay below the plan's.
        less = ((plan.units - 1) / shares).min() * (1 - 1e-12)
        assert float(achieved_power(past, goal, test=FixedTest(), units=less, split=split).power) < power


def test_cuped_and_clusters_scale_the_size():
    history = MeanStats(5000, 20.0, 5000 * 100.0)
    goal = Goal.superiority(0.4)
    plain, adjusted, clustered = (
        float(required_units(Baseline.of(history, **change), goal, test=FixedTest()).total)
        for change in ({}, {"variance_factor": 0.51}, {"clustering": 1.4, "units_per_cluster": 5})
    )
    # At thousands of degrees of freedom size is proportional to the variance.
    assert adjusted / plain == pytest.approx(0.51, rel=1e-3)
    assert clustered / plain == pytest.approx(1.4, rel=1e-3)


def test_detectable_margin_is_the_one_whose_size_it_is():
    past = Baseline.rate(0.04)
    goal = Goal.non_inferiority(Margin(0.1, relative=True), direction="decrease")
    plan = required_units(past, goal, test=FixedTest(), power=0.9)
    back = detectable_size(past, goal, test=FixedTest(), units=plan.total, power=0.9)
    assert float(back.relative) == pytest.approx(0.1, rel=1e-4)
    assert float(back.absolute) == pytest.approx(0.004, rel=1e-4)
