"""Planning as a whole: directions that invert each other, monotonicity, invariances, cells without a plan, refusals."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from abplatform.stats import Caution, EstimateStats, Margin, MeanStats, ProportionStats, RatioStats
from abplatform.stats.effects import difference
from abplatform.stats.margins import margin_contrast
from abplatform.stats.power import (
    Baseline,
    FixedTest,
    Goal,
    GroupSequentialTest,
    LossRule,
    SequenceTest,
    Split,
    Unplannable,
    achieved_power,
    design_effect,
    detectable_size,
    required_units,
)
from abplatform.stats.power.evidence import expected_evidence
from abplatform.stats.power.roots import solve_power

TESTS = [
    FixedTest(),
    FixedTest(one_sided=True),
    SequenceTest(looks=20),
    GroupSequentialTest(looks=4),
    LossRule(0.05, 0.002),
]
tests = st.sampled_from(TESTS)
pasts = st.one_of(
    st.floats(0.02, 0.7).map(Baseline.rate),
    st.tuples(st.floats(0.5, 100), st.floats(0.3, 3)).map(lambda c: Baseline.normal(c[0], c[0] * c[1])),
)
splits = st.sampled_from([Split(), Split((1, 3)), Split((2, 1, 1), treatment=2)])
lifts = st.floats(0.01, 0.2)
powers = st.sampled_from([0.5, 0.8, 0.95])


def lift(size):
    return Goal.superiority(size, relative=True)


@settings(max_examples=30, deadline=None)
@given(pasts, lifts, tests, powers, splits)
def test_detectable_effect_of_the_required_units_is_the_effect(past, size, test, power, split):
    plan = required_units(past, lift(size), test=test, power=power, split=split)
    back = detectable_size(past, lift(size), test=test, units=plan.total, power=power, split=split)
    # Rounded up to whole units the plan finds a little less than was asked for; least sizes of a test, much less.
    assert float(back.relative) <= size * (1 + 1e-9)
    if plan.units.min() > 1.01 * float(test.least_units(past)):
        assert float(back.relative) == pytest.approx(size, rel=1.5 / plan.units.min() + 1e-9)


@settings(max_examples=30, deadline=None)
@given(pasts, tests, powers, st.integers(10_000, 10**7), splits)
def test_required_units_of_the_detectable_effect_are_the_units(past, test, power, total, split):
    # A rule with a generous threshold takes whatever looks better: half of the time without any effect.
    assume(power > 0.5 or not isinstance(test, LossRule))
    found = detectable_size(past, lift(0.1), test=test, units=total, power=power, split=split)
    if found.not_plannable.item() is None:
        plan = required_units(past, lift(found.relative), test=test, power=power, split=split)
        assert total * (1 - 1e-9) <= float(plan.total) <= total + len(split.weights)


@settings(max_examples=30, deadline=None)
@given(pasts, lifts, tests, powers, splits)
def test_whole_units_have_at_least_the_power_asked_for(past, size, test, power, split):
    plan = required_units(past, lift(size), test=test, power=power, split=split)
    assert float(plan.power) >= power
    assert (plan.units == np.floor(plan.units)).all()
    assert float(plan.total) == plan.units.sum()
    again = achieved_power(past, lift(size), test=test, units=plan.total, split=split)
    assert float(again.power) >= power - 1e-4


@settings(max_examples=30, deadline=None)
@given(pasts, lifts, tests, st.integers(1000, 10**6), st.floats(1.01, 3))
def test_power_grows_with_units_and_effect_and_falls_with_variance(past, size, test, total, factor):
    def power(past=past, size=size, total=total):
        return float(achieved_power(past, lift(size), test=test, units=total).power)

    assert power(total=total * factor) >= power() - 1e-12
    if not past.binary:
        wider = Baseline.normal(past.mean, np.sqrt(past.unit_variance) * factor)
        assert power(past=wider) <= power() + 1e-12
    if not past.binary or float(past.mean) * (1 + size * factor) < 1:
        assert power(size=size * factor) >= power() - 1e-12


@settings(max_examples=30, deadline=None)
@given(pasts, lifts, st.sampled_from(TESTS[:4]), st.floats(0.001, 0.04))
def test_a_stricter_alpha_and_a_higher_power_ask_for_more(past, size, test, alpha):
    total = float(required_units(past, lift(size), test=test).total)
    assert float(required_units(past, lift(size), test=test.at_level(alpha)).total) >= total
    assert float(required_units(past, lift(size), test=test, power=0.9).total) >= total


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 50), st.floats(0.1, 5), lifts, tests, st.floats(1e-3, 1e3))
def test_the_unit_of_measurement_does_not_matter(mean, sd, size, test, factor):
    plain, scaled = (
        required_units(Baseline.normal(mean * k, sd * k), lift(size), test=test).cell() for k in (1.0, factor)
    )
    assert scaled.total == pytest.approx(plain.total, abs=2)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 50), st.floats(0.1, 5), lifts, tests)
def test_direction_is_a_matter_of_sign_for_means(mean, sd, size, test):
    goals = (Goal.superiority(size, relative=True, direction=way) for way in ("increase", "decrease"))
    up, down = (required_units(Baseline.normal(mean, sd), goal, test=test).cell() for goal in goals)
    assert up.units == down.units


@settings(max_examples=30, deadline=None)
@given(st.floats(0.02, 0.98), st.floats(0.001, 0.015), tests)
def test_failures_instead_of_successes_need_the_same_units(rate, size, test):
    if isinstance(test, LossRule):
        test = LossRule(0.01, 0.0004, relative=False)
    up = required_units(Baseline.rate(rate), Goal.superiority(size), test=test).cell()
    down = required_units(Baseline.rate(1 - rate), Goal.superiority(size, direction="decrease"), test=test).cell()
    assert up.total == pytest.approx(down.total, abs=2)


def test_equal_arms_with_equal_variances_are_the_best_split():
    past = Baseline.normal(10.0, 3.0)
    totals = [
        float(required_units(past, lift(0.02), test=FixedTest(), split=Split((weight, 1 - weight))).total)
        for weight in (0.2, 0.4, 0.5, 0.6, 0.8)
    ]
    assert totals[0] > totals[1] > totals[2] < totals[3] < totals[4]
    # n_pair = V / (w (1 - w)): 1 / (.2 * .8) against 4.
    assert totals[0] / totals[2] == pytest.approx(0.25 / 0.16, rel=1e-3)


def test_other_arms_take_their_part_of_the_total_and_no_power():
    past, goal = Baseline.normal(10.0, 3.0), lift(0.02)
    pair = required_units(past, goal, test=FixedTest())
    three = required_units(past, goal, test=FixedTest(), split=Split((1, 1, 1), treatment=2))
    assert three.units.shape == (3,)
    np.testing.assert_array_equal(three.units, [pair.units[0]] * 3)
    assert float(three.power) == pytest.approx(float(pair.power), rel=1e-12)


@pytest.mark.parametrize(
    ("history", "unit_variance"),
    [
        (MeanStats.of([1.0, 2.0, 6.0]), 7.0),
        (ProportionStats(200, 50), 0.1875),
        (EstimateStats(50, 2.0, 0.08, freedom=24.0), 4.0),
        (RatioStats.of([2, 0, 3], [4, 2, 4]), None),
    ],
)
def test_history_of_every_kind_gives_its_unit_variance(history, unit_variance):
    past = Baseline.of(history)
    expected = float(history.variance * history.n) if unit_variance is None else unit_variance
    assert float(past.unit_variance) == pytest.approx(expected)
    assert float(past.mean) == float(history.estimate)
    assert past.binary == isinstance(history, ProportionStats)


def test_degrees_of_freedom_scale_with_the_units_of_history():
    # n - 1 stays n - 1; half of n stays half of n; rates and normal estimates have none.
    assert float(Baseline.of(MeanStats(11, 0, 10.0)).freedom_share) == 1.0
    assert float(Baseline.of(EstimateStats(50, 2.0, 0.08, freedom=24.0)).freedom_share) == 0.5
    assert np.isinf(Baseline.of(EstimateStats(50, 2.0, 0.08)).freedom_share)
    assert np.isinf(Baseline.rate(0.1).freedom_share)


def test_design_effect_is_the_textbook_one():
    # Donner and Klar (2000): 1 + (m - 1) rho; 20 per cluster at .05 is 1.95. Unequal sizes: Eldridge et al. (2006).
    assert float(design_effect(20, 0.05)) == pytest.approx(1.95)
    assert float(design_effect(20, 0.05, size_variation=0.6)) == pytest.approx(1 + ((1 + 0.36) * 20 - 1) * 0.05)
    assert float(design_effect(1, 0.4)) == 1.0


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-20, 20).filter(lambda mean: abs(mean) > 0.1),
    st.floats(0.1, 5),
    st.floats(0.01, 0.5),
    st.booleans(),
    st.sampled_from(["increase", "decrease"]),
    st.tuples(st.integers(5, 500), st.integers(5, 500)),
)
def test_expected_evidence_is_that_of_the_tests_own_contrast(mean, sd, size, relative, direction, arms):
    # Arms that lie exactly where the plan expects them, given to the contrast that the engine tests.
    margin, scale = Margin(size, relative=relative), abs(mean) if relative else 1.0
    effect = -size / 3
    sign = 1 if direction == "increase" else -1
    control = EstimateStats(arms[0], mean, sd**2 / arms[0], freedom=arms[0] - 1)
    treatment = EstimateStats(arms[1], mean + sign * effect * scale, sd**2 / arms[1], freedom=arms[1] - 1)
    contrast = margin_contrast(difference(treatment, control), margin, direction)
    goal = Goal.non_inferiority(margin, effect=effect, direction=direction)
    expected = expected_evidence(Baseline.normal(mean, sd), goal, np.array(arms, dtype=float), Split())
    assert float(expected.near) == pytest.approx(float(contrast.estimate / contrast.standard_error), rel=1e-9)
    assert float(expected.standard_error) == pytest.approx(float(contrast.standard_error), rel=1e-9)


HISTORY = MeanStats([0, 1, 50, 50, 50], [0, 3, 5, 0, 5], [0, 0, 0, 200, 200])


@pytest.mark.parametrize("test", TESTS)
def test_cells_without_a_plan_say_why_and_do_not_disturb_the_others(test):
    if isinstance(test, SequenceTest | GroupSequentialTest):
        test = test.at_level(0.01)
    plan = required_units(Baseline.of(HISTORY), lift(0.1), test=test)
    reasons = [Unplannable.NO_MEAN, Unplannable.NO_VARIANCE, Unplannable.NO_VARIANCE, Unplannable.ZERO_CONTROL, None]
    assert plan.not_plannable.tolist() == reasons
    assert np.isnan(plan.total[:4]).all()
    assert np.isnan(plan.units[:4]).all()
    alone = required_units(Baseline.of(MeanStats(50, 5, 200)), lift(0.1), test=test)
    assert float(plan.total[4]) == float(alone.total)
    cell = plan.cell(3)
    assert (cell.units, cell.total, cell.power, cell.absolute) == (None, None, None, None)


def test_reasons_are_members_and_not_bare_strings():
    plan = required_units(Baseline.of(HISTORY), lift(0.1), test=FixedTest())
    assert plan.cell(0).not_plannable is Unplannable.NO_MEAN


def test_a_rate_cannot_leave_its_range():
    past = Baseline.rate([0.95, 0.5])
    plan = required_units(past, Goal.superiority(0.1), test=FixedTest())
    assert plan.not_plannable.tolist() == [Unplannable.IMPOSSIBLE_RATE, None]
    # With 20 units nothing that a rate of 95% could rise to is found with power .8.
    found = detectable_size(past, Goal.superiority(0.1), test=FixedTest(), units=20)
    assert found.not_plannable.tolist() == [Unplannable.NOT_REACHED, None]
    assert 0.5 < float(found.absolute[1]) + 0.5 < 1


def test_a_rate_may_fall_to_nothing():
    goal = Goal.superiority(0.02, direction="decrease")
    plan = required_units(Baseline.rate(0.02), goal, test=FixedTest()).cell()
    # Only the control varies: n = p (1 - p) (z / p)^2 = (1 - p) / p z^2.
    assert plan.units[0] == np.ceil(0.98 / 0.02 * (1.959964 + 0.841621) ** 2)


def test_effects_beyond_any_sample_are_not_reached():
    plan = required_units(Baseline.normal(1.0, 1.0), lift(1e-9), test=FixedTest()).cell()
    assert (plan.total, plan.not_plannable) == (None, Unplannable.NOT_REACHED)


def test_sizes_near_the_largest_are_still_exact():
    # Normal closed form: n = 2 (z + z)^2 / d^2 per arm.
    plan = required_units(Baseline.normal(1.0, 1.0), lift(1e-6), test=FixedTest()).cell()
    assert plan.units[0] == pytest.approx(2 * (1.9599639845 + 0.8416212336) ** 2 / 1e-12, rel=1e-9)


def test_huge_effects_need_the_least_a_variance_needs():
    plan = required_units(Baseline.normal(1.0, 1.0), lift(1e6), test=FixedTest()).cell()
    assert plan.units == (2, 2)
    assert plan.power == pytest.approx(1.0, abs=1e-12)


def test_the_guard_is_the_least_size_of_a_sequence():
    test = SequenceTest()
    assert required_units(Baseline.normal(1.0, 1.0), lift(1.0), test=test).cell().units == (500, 500)
    # 100 non-zero units at 4% are 2,500; of the rarer outcome at 96%, too.
    for rate in (0.04, 0.96):
        plan = required_units(Baseline.rate(rate), Goal.superiority(0.039), test=test)
        assert plan.units.tolist() == [2500.0, 2500.0]
        assert float(plan.expected_total) == pytest.approx(5000.0)
    # Below it there is no verdict, and so no power.
    assert float(achieved_power(Baseline.normal(1.0, 1.0), lift(1.0), test=test, units=998).power) == 0.0
    none = detectable_size(Baseline.normal(1.0, 1.0), lift(1.0), test=test, units=998)
    assert none.not_plannable.item() == Unplannable.NOT_REACHED


def test_plans_on_few_events_warn():
    plan = achieved_power(Baseline.rate(0.001), lift(0.5), test=FixedTest(), units=[4000, 20_000])
    assert plan.cautions.tolist() == [Caution.FEW_EVENTS.value, 0]
    assert plan.cell(0).cautions == ("FEW_EVENTS",)


def test_a_grid_is_the_same_as_its_cells():
    rates, sizes = np.linspace(0.05, 0.5, 4)[:, None], np.array([0.02, 0.05, 0.1])
    whole = required_units(Baseline.rate(rates), lift(sizes), test=FixedTest())
    assert whole.total.shape == (4, 3)
    assert whole.units.shape == (4, 3, 2)
    for i, j in np.ndindex(4, 3):
        single = required_units(Baseline.rate(rates[i, 0]), lift(sizes[j]), test=FixedTest())
        assert float(single.total) == float(whole.total[i, j])


def test_solver_returns_the_end_where_that_is_enough_and_nan_where_nothing_is():
    from scipy.special import ndtr

    shift = np.array([-50.0, 3.0, 500.0])
    x = solve_power(lambda x: ndtr(x - shift), np.full(3, 0.5), low=np.ones(3), high=np.full(3, 100.0))
    assert x[0] == 1.0
    assert x[1] == pytest.approx(3.0, rel=1e-12)
    assert np.isnan(x[2])


GOAL = lift(0.1)
PAST = Baseline.rate(0.1)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: required_units(PAST, GOAL, test=FixedTest(), power=1.0), "power"),
        (lambda: required_units(PAST, GOAL, test=FixedTest(), power=0.05), "power"),
        (lambda: required_units(PAST, GOAL, test=FixedTest(), power=np.nan), "power"),
        (lambda: detectable_size(PAST, GOAL, test=FixedTest(), units=100, power=0.01), "power"),
        (lambda: achieved_power(PAST, GOAL, test=FixedTest(), units=3), "units"),
        (lambda: achieved_power(PAST, GOAL, test=FixedTest(), units=-5), "units"),
        (lambda: achieved_power(PAST, GOAL, test=FixedTest(), units=np.inf), "units"),
        (lambda: Goal.superiority(0), "effect"),
        (lambda: Goal.superiority(-0.1), "effect"),
        (lambda: Goal.superiority(0.1, direction="up"), "direction"),
        (lambda: Goal.non_inferiority(Margin(0.0), direction="increase"), "margin"),
        (lambda: Goal.non_inferiority(Margin(0.1), effect=-0.1, direction="increase"), "margin"),
        (lambda: Goal.equivalence(Margin(0.1), effect=0.1, direction="increase"), "margin"),
        (lambda: Goal.non_inferiority(Margin(-0.1), direction="increase"), "size"),
        (lambda: Split((1.0, 0.0)), "weights"),
        (lambda: Split((1.0,)), "weights"),
        (lambda: Split((1.0, 1.0), treatment=2), "treatment"),
        (lambda: Split((1.0, 1.0), treatment=0), "treatment"),
        (lambda: Split((1.0, 1.0), control=5), "control"),
        (lambda: FixedTest(0.0), "alpha"),
        (lambda: SequenceTest(0.5), "alpha"),
        (lambda: SequenceTest(looks=0), "looks"),
        (lambda: SequenceTest(looks=[0.5, 0.9]), "looks"),
        (lambda: GroupSequentialTest(1.0), "alpha"),
        (lambda: GroupSequentialTest(looks=[0.5, 0.4, 1.0]), "looks"),
        (lambda: GroupSequentialTest(looks=3, futility=[0.0]), "futility"),
        (lambda: LossRule(0.0, 0.1), "prior_scale"),
        (lambda: LossRule(0.1, 0.0), "loss_threshold"),
        (lambda: Baseline.rate(0.0), "rate"),
        (lambda: Baseline.normal(1.0, 0.0), "sd"),
        (lambda: Baseline.normal(np.nan, 1.0), "mean"),
        (lambda: Baseline.normal(1.0, 1.0, treatment_sd=-1), "treatment_sd"),
        (lambda: Baseline.of(HISTORY, variance_factor=0.0), "variance_factor"),
        (lambda: Baseline.of(HISTORY, clustering=0.0), "clustering"),
        (lambda: Baseline.of(HISTORY, units_per_cluster=0.0), "units_per_cluster"),
        (lambda: design_effect(0, 0.1), "cluster_size"),
        (lambda: design_effect(5, 1.1), "correlation"),
        (
            lambda: required_units(
                PAST, Goal.non_inferiority(Margin(0.1), direction="increase"), test=LossRule(0.1, 0.01)
            ),
            "goal",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_a_margin_is_found_though_power_falls_again_beyond_it():
    # The noise of a control that is weighed by 1 - m grows with a large m: power peaks at a margin of about 200%.
    baseline, goal = Baseline.normal(10.0, 50.0), Goal.non_inferiority(Margin(0.1, relative=True), direction="increase")
    found = detectable_size(baseline, goal, test=FixedTest(), power=0.8, units=200).cell()
    assert found.power == pytest.approx(0.8, abs=1e-9)
    assert found.relative == pytest.approx(1.3087, abs=1e-3)
