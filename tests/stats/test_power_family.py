"""Planning a decision over several metrics, and the calendar: joint power by simulation, bottlenecks, days."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from abplatform.stats import Margin, MeanStats, fixed, sequential
from abplatform.stats.group_sequential import efficacy_bounds
from abplatform.stats.power import (
    Baseline,
    FixedTest,
    Goal,
    GroupSequentialTest,
    LossRule,
    Requirement,
    SequenceTest,
    Split,
    Traffic,
    Unplannable,
    calendar,
    plan_family,
    required_units,
)
from abplatform.stats.power.evidence import Evidence


def claim(drift):
    """Superiority that is expected at this z."""
    cell = np.asarray(drift)
    return Evidence("superiority", cell, np.asarray(np.inf), np.asarray(np.inf), np.asarray(1.0), np.asarray(1.0))


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


def primary(name="revenue", mde=0.15, test=None, **more):
    past = more.pop("baseline", Baseline.normal(10.0, 1.0))
    return Requirement(
        metric=name, role="primary", baseline=past, goal=Goal.superiority(mde), test=test or FixedTest(), **more
    )


def guardrail(name, margin=0.15, test=None, **more):
    past = more.pop("baseline", Baseline.normal(10.0, 1.0))
    goal = Goal.non_inferiority(Margin(margin), direction="increase")
    return Requirement(metric=name, role="guardrail", baseline=past, goal=goal, test=test or FixedTest(), **more)


def shipped(rng, runs, n, correlation, margin):
    """How often a treatment ships: primary better by .15, three guardrails unharmed and shown so, fixed tests."""
    root = np.linalg.cholesky(np.full((4, 4), correlation) + (1 - correlation) * np.eye(4))
    # Sufficient statistics of n normal units; the means are correlated over the metrics.
    arms = []
    for shift in (0.15, 0.0):
        means = 10 + rng.normal(size=(runs, 4)) @ root.T / np.sqrt(n)
        means[:, 0] += shift
        arms.append(MeanStats(n, means, rng.chisquare(n - 1, (runs, 4))))
    result = fixed.compare(*arms)
    better = (result.p_value[:, 0] < 0.05) & (result.absolute.estimate[:, 0] > 0)
    safe = fixed.non_inferiority(*arms, margin=Margin(margin), direction="increase").non_inferior[:, 1:]
    return (better & safe.all(axis=1)).mean()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_three_guardrails_planned_at_80_percent_ship_together_at_least_that_often(correlation):
    runs = 20_000
    # Margins sized so that every test needs the same units: the hardest case, in which none has power to spare.
    margin = 0.15 * (1.6448536 + 1.6448536) / (1.9599640 + 1.6448536)
    tests = [primary(), *(guardrail(name, margin) for name in "abc")]
    plan = plan_family(tests, power=0.8)
    needed = [row.needed.total for row in plan.metrics]
    assert max(needed) - min(needed) <= 4
    assert plan.power_each == pytest.approx(0.95)
    joint = shipped(np.random.default_rng(1), runs, plan.units[0], correlation, margin)
    assert joint >= 0.80 - slack(0.8, runs)
    assert plan.joint_power == pytest.approx(0.8, abs=2e-3)
    if correlation == 0:
        # Independent: .95^4. Without the split of beta they would ship in .8^4 = .41 of cases.
        assert joint == pytest.approx(0.95**4, abs=slack(0.81, runs) + 2e-3)


def test_always_valid_decision_with_three_guardrails_ships_at_least_as_often_as_planned():
    # Every method of the plan watched at 20 looks: the primary's two-sided and the guardrails' one-sided sequence.
    rng, runs, looks = np.random.default_rng(2), 4000, 20
    test = SequenceTest(looks=looks)
    plan = plan_family([primary(test=test), *(guardrail(name, 0.14, test) for name in "abc")], power=0.8)
    n = plan.units[0]
    share = np.arange(1, looks + 1) / looks
    noise = rng.normal(size=(4, runs, looks)).cumsum(axis=-1) / np.sqrt(looks)
    drift = np.array([0.15, 0.14, 0.14, 0.14])[:, None, None] / np.sqrt(2 / n)
    z = (noise + drift * share) / np.sqrt(share)
    units = 2 * n * share
    two = sequential.tune_rho2(2 * n, 0.05)
    one = sequential.tune_rho2(2 * n, 0.10)
    better = (sequential.p_value(z[0], units, two) < 0.05) & (z[0] > 0)
    safe = (sequential.one_sided_p_value(z[1:], units, one) < 0.05).all(axis=0)
    # The decision reads one look: what an earlier one said does not count.
    joint = (better & safe).any(axis=-1).mean()
    assert joint >= 0.80 - slack(0.8, runs)
    assert joint >= plan.joint_power - slack(0.8, runs)


@pytest.mark.parametrize("drift", [0.0, 2.0, 3.0, 4.5])
def test_power_at_the_last_look_is_that_of_its_bound_alone(drift):
    # Closed form: the last z is normal around the drift, whatever the looks before it said.
    evidence = claim(drift)
    sequence = SequenceTest(looks=20).at_last_look()
    bound = float(sequential.critical_value(1.0, sequential.tune_rho2(1.0, 0.05), 0.05))
    assert float(sequence.power(evidence)) == pytest.approx(float(norm.sf(bound - drift)), rel=1e-9)
    staged = GroupSequentialTest(looks=5).at_last_look()
    last = float(efficacy_bounds([0.2, 0.4, 0.6, 0.8, 1.0]).critical[-1])
    assert float(staged.power(evidence)) == pytest.approx(float(norm.sf(last - drift)), rel=1e-6)


def test_futility_stops_before_the_last_look_cost_it_power():
    evidence = claim(3.0)
    free, stopped = (GroupSequentialTest(looks=2, futility=bounds).at_last_look() for bounds in ((), (1.0,)))
    assert float(stopped.power(evidence)) < float(free.power(evidence)) - 0.01


def test_alpha_is_split_over_primaries_and_arms_only():
    tests = [primary("a"), primary("b"), guardrail("c"), guardrail("d")]
    plan = plan_family(tests, weights=(1, 1, 1))
    alphas = {(row.metric, row.treatment): row.alpha for row in plan.metrics}
    assert alphas == {
        **{(name, arm): 0.05 / 4 for name in "ab" for arm in (1, 2)},
        **{(name, arm): 0.05 for name in "cd" for arm in (1, 2)},
    }
    assert plan.power_each == pytest.approx(1 - 0.2 / 3)


def test_the_largest_need_is_the_bottleneck_and_everyone_gets_it():
    tests = [primary(mde=0.2), guardrail("speed", 0.05), guardrail("errors", 0.5)]
    plan = plan_family(tests, weights=(2, 1, 1))
    assert plan.bottleneck == ("speed", 1)
    alone = required_units(
        Baseline.normal(10.0, 1.0),
        Goal.non_inferiority(Margin(0.05), direction="increase"),
        test=FixedTest(),
        power=plan.power_each,
        split=Split((2, 1, 1)),
    ).cell()
    assert (plan.units, plan.total) == (alone.units, alone.total)
    assert all(row.planned.power >= plan.power_each for row in plan.metrics)
    # The others have power to spare.
    assert plan.joint_power > 0.93


def test_a_decision_without_guardrails_is_its_primary():
    plan = plan_family([primary()])
    alone = required_units(Baseline.normal(10.0, 1.0), Goal.superiority(0.15), test=FixedTest()).cell()
    assert plan.units == alone.units
    assert plan.joint_power == pytest.approx(alone.power)


def test_a_metric_that_cannot_be_planned_is_named_and_stops_the_plan():
    broken = guardrail("empty", baseline=Baseline.of(MeanStats(0, 0, 0)))
    plan = plan_family([primary(), broken], traffic=Traffic(100))
    assert plan.bottleneck == ("empty", 1)
    assert plan.not_plannable is Unplannable.NO_MEAN
    assert (plan.units, plan.total, plan.joint_power, plan.duration) == (None, None, None, None)
    # What the others need is still said.
    assert plan.metrics[0].needed.total > 0


def test_bayesian_primary_keeps_its_rule_in_a_family():
    rule = LossRule(0.02, 0.001)
    plan = plan_family([primary(test=rule, mde=0.1), guardrail("speed", 0.1)])
    assert plan.metrics[0].needed.method == "normal_normal"
    assert plan.metrics[0].needed.power >= 0.9


def test_the_longest_window_closes_the_plan():
    plan = plan_family([primary(window=3), guardrail("debt", window=28)], traffic=Traffic(500, share=0.5))
    days = np.ceil(plan.total / 250)
    assert float(plan.duration.enrolment_days) == days
    assert float(plan.duration.days) == days + 28


@pytest.mark.parametrize(
    ("units", "forecast", "share", "window", "days"),
    [
        # By hand: the day at whose end the units have come, and the window of the last of them.
        (1000, 100, 1.0, 0, 10),
        (1001, 100, 1.0, 0, 11),
        (1, 100, 1.0, 7, 8),
        (3000, 10_000, 0.3, 0, 1),
        (999.99, [400, 300, 300, 0, 5], 1.0, 2, 5),
        (1001, [400, 300, 300, 0, 5], 1.0, 2, 7),
        (500, [400, 300, 300, 0, 5], 0.5, 0, 3),
    ],
)
def test_days_are_those_counted_by_hand(units, forecast, share, window, days):
    when = calendar(units, Traffic(forecast, share=share), window=window)
    assert float(when.days) == days
    assert float(when.enrolment_days) == days - window
    assert when.not_plannable.item() is None


@pytest.mark.parametrize("forecast", [0, [], [0, 0], [100, 100]])
def test_units_that_never_come_are_a_typed_answer(forecast):
    if forecast == []:
        with pytest.raises(ValueError, match="new_units"):
            Traffic(forecast)
        return
    when = calendar(1000, Traffic(forecast), window=5)
    assert np.isnan(when.days)
    assert when.not_plannable.item() is Unplannable.NOT_REACHED
    assert when.available == np.sum(forecast)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=40),
    st.integers(1, 5000),
    st.integers(0, 30),
    st.sampled_from([1.0, 0.5, 0.1]),
)
def test_calendar_is_the_day_by_day_count(daily, units, window, share):
    # Independent: walk through the days.
    arrived, expected = 0.0, np.nan
    for day, count in enumerate(daily, start=1):
        arrived += count * share
        if arrived >= units - 1e-9:
            expected = day + window
            break
    when = calendar(units, Traffic(daily, share=share), window=window)
    np.testing.assert_equal(float(when.days), expected)


def test_looks_come_in_order_and_end_with_the_plan():
    when = calendar([7000, 900], Traffic(1000), window=[7, 0], looks=(0.25, 0.5, 1.0))
    assert when.look_days.tolist() == [[9, 11, 14], [1, 1, 1]]
    assert when.days.tolist() == [14, 1]
    # A metric without a plan has no days, and does not disturb the other.
    assert np.isnan(calendar([np.nan, 900], Traffic(1000)).days).tolist() == [True, False]


def test_looks_that_come_before_the_forecast_ends_have_days_even_if_the_plan_has_none():
    when = calendar(1000, Traffic([300, 300]), looks=2)
    np.testing.assert_array_equal(when.look_days, [2.0, np.nan])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: plan_family([guardrail("a")]), "requirements"),
        (lambda: plan_family([primary("a"), guardrail("a")]), "requirements"),
        (lambda: plan_family([primary()], alpha=0.0), "alpha"),
        (lambda: plan_family([primary()], power=0.04), "power"),
        (lambda: plan_family([primary()], power=1.0), "power"),
        (lambda: plan_family([primary()], weights=(1, 0)), "weights"),
        (lambda: primary(baseline=Baseline.rate([0.1, 0.2])), "baseline"),
        (lambda: primary(window=-1), "window"),
        (lambda: primary(window=0.5), "window"),
        (
            lambda: Requirement(
                metric="a",
                role="primary",
                baseline=Baseline.rate(0.1),
                goal=Goal.non_inferiority(Margin(0.1), direction="increase"),
                test=FixedTest(),
            ),
            "goal",
        ),
        (
            lambda: Requirement(
                metric="a", role="other", baseline=Baseline.rate(0.1), goal=Goal.superiority(0.1), test=FixedTest()
            ),
            "role",
        ),
        (lambda: Traffic(-1), "new_units"),
        (lambda: Traffic([[1, 2]]), "new_units"),
        (lambda: Traffic(np.nan), "new_units"),
        (lambda: Traffic(10, share=0), "share"),
        (lambda: Traffic(10, share=1.5), "share"),
        (lambda: calendar(0, Traffic(10)), "units"),
        (lambda: calendar(np.inf, Traffic(10)), "units"),
        (lambda: calendar(10, Traffic(10), window=-1), "window"),
        (lambda: calendar(10, Traffic(10), looks=(0.5,)), "looks"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()
