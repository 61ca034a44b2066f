"""Power of the exact test of a margin on rates: enumeration of all counts, simulation of the test itself, inverses."""

import numpy as np
import pytest
from scipy import stats as reference

from abplatform.stats import Margin, MeanStats, ProportionStats, fixed, sequential
from abplatform.stats.power import (
    Baseline,
    CountTest,
    FixedTest,
    Goal,
    Requirement,
    SequenceTest,
    Split,
    Traffic,
    Unplannable,
    achieved_power,
    assurance,
    calendar,
    critical_counts,
    detectable_size,
    plan_family,
    required_units,
)
from abplatform.stats.power.critical_counts import CountDesign, claim_chance

COMPLAINT = Baseline.rate(0.001)
HARMLESS = Goal.non_inferiority(Margin(0.001), direction="decrease")


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


def design(n_t, n_c, *, margin=0.3, relative=False, direction="decrease", alpha=0.05, base_rate=None):
    return CountDesign(n_t, n_c, n_t / (n_t + n_c), margin, relative, direction, alpha, base_rate)


def judged(treatment, control, plan):
    """The verdicts of the test as an experiment asks for them."""
    return sequential.count_non_inferiority(
        treatment,
        control,
        margin=Margin(plan.margin, relative=plan.relative),
        share=plan.share,
        planned_units=plan.treatment_units + plan.control_units,
        alpha=plan.alpha,
        direction=plan.direction,
        base_rate=plan.base_rate,
    ).non_inferior


@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize(("margin", "relative"), [(0.3, False), (0.7, True), (0.0, False)])
@pytest.mark.parametrize("arms", [(60, 60), (20, 90), (75, 25)])
@pytest.mark.parametrize("base_rate", [None, 0.4])
def test_power_is_the_enumeration_of_all_counts(direction, margin, relative, arms, base_rate):
    plan = design(*arms, margin=margin, relative=relative, direction=direction, base_rate=base_rate)
    treatment, control = np.arange(arms[0] + 1)[:, None], np.arange(arms[1] + 1)
    verdicts = judged(ProportionStats(arms[0], treatment), ProportionStats(arms[1], control), plan)
    for rates in ((0.4, 0.4), (0.5, 0.3), (0.2, 0.6), (0.02, 0.02), (0.0, 0.3), (1.0, 0.97)):
        mass = reference.binom.pmf(treatment, arms[0], rates[0]) * reference.binom.pmf(control, arms[1], rates[1])
        assert claim_chance(plan, *rates) == pytest.approx(float((mass * verdicts).sum()), abs=1e-11)


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_critical_counts_are_the_last_that_claim(direction):
    # Thousands of counts, so that every stride is used; each answer is checked on both of its sides.
    plan = design(20_000, 30_000, margin=0.02, direction=direction)
    control = np.arange(5000, 6500)
    critical = critical_counts.critical_counts(plan, control, (-1, 20_000))
    assert plan.claims(control, critical).all()
    assert not plan.claims(control, critical + 1).any()
    assert (np.diff(critical) >= 0).all()
    within = critical_counts.critical_counts(plan, control, (3400, 3600))
    np.testing.assert_array_equal(within, np.clip(critical, 3400, 3600))


@pytest.mark.parametrize("n", [40_000, 300_000])
def test_blocks_of_counts_are_within_what_is_stated(monkeypatch, n):
    plan = design(n, n, margin=2.6 / np.sqrt(n), direction="increase")
    one_by_one = claim_chance.__wrapped__(plan, 0.4, 0.4)
    monkeypatch.setattr(critical_counts, "MOST_COUNTS", 300)
    in_blocks = claim_chance.__wrapped__(plan, 0.4, 0.4)
    assert 0.2 < one_by_one < 0.95
    # At the usual width blocks begin at 128 standard deviations, here at 19: the error is in inverse proportion.
    assert in_blocks == pytest.approx(one_by_one, abs=0.002 * 128 / 19)
    assert in_blocks != one_by_one


@pytest.mark.parametrize(
    ("rate", "goal", "weights", "base_rate"),
    [
        (0.001, HARMLESS, (1, 1), None),
        (0.001, HARMLESS, (9, 1), 0.001),
        (0.02, Goal.non_inferiority(Margin(0.2, relative=True), direction="decrease", effect=-0.05), (1, 3), None),
        (0.3, Goal.non_inferiority(Margin(0.15, relative=True), direction="increase", effect=0.02), (1, 1), 0.3),
        (0.95, Goal.non_inferiority(Margin(0.02), direction="increase"), (2, 1, 1), None),
    ],
)
def test_the_test_itself_claims_as_often_as_planned(rate, goal, weights, base_rate):
    rng, runs, split = np.random.default_rng(11), 20_000, Split(weights)
    test = CountTest(base_rate=base_rate)
    plan = required_units(Baseline.rate(rate), goal, test=test, split=split)
    n_c, n_t = (int(units) for units in plan.units[:2])
    moved = rate + goal.better * float(goal.effect) * (rate if goal.relative else 1)
    arms = [ProportionStats(n, rng.binomial(n, p, runs)) for n, p in ((n_t, moved), (n_c, rate))]
    verdicts = sequential.count_non_inferiority(
        *arms,
        margin=Margin(goal.margin, relative=goal.relative),
        share=weights[1] / (weights[0] + weights[1]),
        planned_units=n_t + n_c,
        direction=goal.direction,
        base_rate=base_rate,
    ).non_inferior
    assert float(plan.power) >= 0.8
    assert verdicts.mean() == pytest.approx(float(plan.power), abs=slack(0.8, runs))


def test_a_complaint_guardrail_is_planned_between_the_tests_that_do_not_judge_it():
    # The fixed test asks for too few, the guard of the sequence for 100 events in each arm.
    plans = {
        test: required_units(COMPLAINT, HARMLESS, test=test).cell()
        for test in (FixedTest(), CountTest(base_rate=0.001), CountTest(), SequenceTest())
    }
    assert [plan.total for plan in plans.values()] == [24_706, 53_922, 63_086, 200_000]
    # Both sizes are simulated above; with this the fixed size is, too.
    rng, runs, n = np.random.default_rng(12), 20_000, 12_353
    arms = [ProportionStats(n, rng.binomial(n, 0.001, runs)) for _ in range(2)]
    short = achieved_power(COMPLAINT, HARMLESS, test=CountTest(), units=2 * n).cell().power
    assert judged(*arms, design(n, n, margin=0.001)).mean() == pytest.approx(short, abs=slack(0.3, runs))
    assert short < 0.3


def test_safety_is_claimed_at_most_at_alpha_where_there_is_none():
    for n, rate, margin, alpha in ((200, 0.02, 0.05, 0.05), (5000, 0.001, 0.002, 0.05), (3000, 0.2, 0.03, 0.01)):
        for base_rate in (None, rate):
            plan = design(n, n, margin=margin, alpha=alpha, base_rate=base_rate)
            assert 0 <= claim_chance(plan, rate + margin, rate) < alpha


@pytest.mark.parametrize(
    ("rate", "margin", "relative", "direction", "power", "weights"),
    [
        (0.002, 0.3, True, "decrease", 0.6, (1.0, 1.0)),
        (0.002, 0.002, False, "decrease", 0.95, (1.0, 3.0)),
        (0.05, 0.3, True, "increase", 0.8, (9.0, 1.0)),
        (0.05, 0.02, False, "increase", 0.95, (1.0, 1.0)),
        (0.4, 0.05, False, "decrease", 0.8, (1.0, 1.0)),
        (0.4, 0.3, True, "increase", 0.95, (1.0, 3.0)),
        (0.97, 0.02, False, "increase", 0.6, (1.0, 1.0)),
        # A margin beyond what can happen is shown in time as well.
        (0.002, 0.02, False, "increase", 0.8, (1.0, 1.0)),
    ],
)
def test_units_power_and_margin_invert_each_other(rate, margin, relative, direction, power, weights):
    past, split, test = Baseline.rate(rate), Split(weights), CountTest()
    goal = Goal.non_inferiority(Margin(margin, relative=relative), direction=direction)
    plan = required_units(past, goal, test=test, power=power, split=split)
    assert float(plan.power) >= power
    assert (plan.units == np.floor(plan.units)).all()
    if weights == (1.0, 1.0):
        less = float(plan.total) - 2
        assert float(achieved_power(past, goal, test=test, units=less).power) < power
    # The largest total whose arms are all within the plan's.
    exactly = (plan.units / np.array(split.shares)).min()
    shown = detectable_size(past, goal, test=test, units=exactly, power=power, split=split)
    assert float(shown.power) >= power
    # Whole counts leave power a little above what was asked for, and the margin a little below.
    size = float(shown.relative if relative else shown.absolute)
    assert margin * 0.97 < size <= margin * (1 + 1e-3)


def test_power_grows_with_units_and_margin_but_for_whole_counts():
    units = np.arange(50_000, 80_000, 500)
    power = achieved_power(COMPLAINT, HARMLESS, test=CountTest(), units=units).power
    assert np.diff(power).min() > -0.003
    assert power[-1] > power[0] + 0.1
    margins = Goal.non_inferiority(Margin(np.linspace(0.0008, 0.002, 40)), direction="decrease")
    assert (np.diff(achieved_power(COMPLAINT, margins, test=CountTest(), units=60_000).power) > -1e-12).all()


def test_a_grid_is_the_same_as_its_cells_and_says_what_it_cannot_plan():
    past = Baseline.of(ProportionStats([0, 50, 50, 5000, 5000], [0, 0, 50, 50, 4800]))
    goal = Goal.non_inferiority(Margin(0.2, relative=True), direction="decrease")
    plan = required_units(past, goal, test=CountTest())
    none = [Unplannable.NO_MEAN, Unplannable.NO_VARIANCE, Unplannable.NO_VARIANCE]
    assert plan.not_plannable.tolist() == [*none, None, None]
    for cell, rate in ((3, 0.01), (4, 0.96)):
        assert plan.cell(cell).total == required_units(Baseline.rate(rate), goal, test=CountTest()).cell().total


def test_nothing_within_reach_is_a_typed_answer():
    # No events say nothing about a relative margin; of an absolute one they exclude what the verdict itself does.
    relative, absolute = (
        detectable_size(COMPLAINT, Goal.non_inferiority(margin, direction="increase"), test=CountTest(), units=4).cell()
        for margin in (Margin(0.1, relative=True), Margin(0.01))
    )
    assert relative.not_plannable is Unplannable.NOT_REACHED
    none = ProportionStats(2, 0)
    for size, shown in ((absolute.absolute, True), (absolute.absolute * 0.999, False)):
        assert bool(judged(none, none, design(2, 2, margin=size, direction="increase"))) == shown
    moved = Goal.non_inferiority(Margin(0.01), direction="decrease", effect=0.002)
    assert required_units(COMPLAINT, moved, test=CountTest()).cell().not_plannable is Unplannable.IMPOSSIBLE_RATE


def test_few_events_are_no_caution_for_an_exact_test():
    wide = Goal.non_inferiority(Margin(0.02), direction="decrease")
    plans = [achieved_power(COMPLAINT, wide, test=test, units=1000).cell() for test in (CountTest(), FixedTest())]
    assert [plan.cautions for plan in plans] == [(), ("FEW_EVENTS",)]
    assert plans[0].units == (500, 500)
    assert plans[0].total == 1000


def test_units_that_do_not_divide_count_as_the_whole_ones_that_are_stated():
    plan = achieved_power(COMPLAINT, HARMLESS, test=CountTest(), units=44_945).cell()
    assert plan.units == (22_473, 22_473)
    assert plan.power == claim_chance(design(22_473, 22_473, margin=0.001), 0.001, 0.001)


def test_assurance_averages_the_power_over_the_prior():
    # Independent: a plain Riemann sum over the true effect.
    prior, units = (0.0, 0.0003), 60_000
    found = assurance(COMPLAINT, HARMLESS, test=CountTest(), units=units, prior=prior)
    effects = np.linspace(-0.0015, 0.00099, 200)
    weights = reference.norm.pdf(effects, *prior)
    plan = design(units // 2, units // 2, margin=0.001)
    power = np.array([claim_chance(plan, 0.001 - effect, 0.001) for effect in effects])
    assert float(found) == pytest.approx(float(power @ weights / weights.sum()), abs=2e-3)


def test_a_decision_with_a_counted_guardrail_ships_as_often_as_planned():
    # A margin at which the guardrail asks for as much as the primary: neither has power to spare.
    signup, lift = Baseline.rate(0.10), Goal.superiority(0.15, relative=True)
    alone = required_units(signup, lift, test=FixedTest(), power=0.9).cell()
    margin = detectable_size(COMPLAINT, HARMLESS, test=CountTest(), units=alone.total, power=0.9).cell().absolute
    goal = Goal.non_inferiority(Margin(margin), direction="decrease")
    tests = [
        Requirement(metric="signup", role="primary", baseline=signup, goal=lift, test=FixedTest()),
        Requirement(metric="complaint", role="guardrail", baseline=COMPLAINT, goal=goal, test=CountTest()),
    ]
    plan = plan_family(tests)
    assert [row.needed.method for row in plan.metrics] == ["fixed", "count_e_process"]
    assert max(row.needed.total for row in plan.metrics) == alone.total
    rng, runs, n = np.random.default_rng(13), 20_000, plan.units[0]
    signups = [ProportionStats(n, rng.binomial(n, rate, runs)) for rate in (0.115, 0.10)]
    complaints = [ProportionStats(n, rng.binomial(n, 0.001, runs)) for _ in range(2)]
    result = fixed.compare(*signups)
    better = (result.p_value < 0.05) & (result.absolute.estimate > 0)
    joint = (better & judged(*complaints, design(n, n, margin=margin))).mean()
    assert plan.joint_power >= 0.8
    assert joint >= plan.joint_power - slack(0.8, runs)
    # They are independent here: .9 times .9; the normal power of the primary is off by some .004.
    assert joint == pytest.approx(0.81, abs=slack(0.8, runs) + 0.006)


def test_sequences_say_whether_they_are_watched():
    assert SequenceTest(looks=20).assumptions[0] == "20 looks; more of them add power"
    assert SequenceTest().at_last_look().assumptions[0] == "read at the planned size only"
    assert CountTest(0.01).at_last_look() == CountTest(0.01)
    assert CountTest(base_rate=0.2).at_level(0.01) == CountTest(0.01, base_rate=0.2)


@pytest.mark.parametrize("build", [Goal.non_inferiority, Goal.equivalence])
def test_a_margin_asks_which_way_is_better(build):
    with pytest.raises(TypeError, match="direction"):
        build(Margin(0.01))


SIGNUP, LIFT = Baseline.rate(0.1), Goal.superiority(0.05, relative=True)


def requirement(**fields):
    defaults = {"metric": "signup", "role": "primary", "baseline": SIGNUP, "goal": LIFT, "test": FixedTest()}
    return Requirement(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: CountTest(0.5), "alpha"),
        (lambda: CountTest(base_rate=0.0), "base_rate"),
        (lambda: required_units(SIGNUP, LIFT, test=CountTest()), "goal must be non_inferiority"),
        (
            lambda: required_units(SIGNUP, Goal.equivalence(Margin(0.1), direction="increase"), test=CountTest()),
            "goal must be non_inferiority",
        ),
        (lambda: required_units(Baseline.normal(1, 1), HARMLESS, test=CountTest()), "baseline must be a rate"),
        (
            lambda: required_units(Baseline.of(MeanStats(50, 1.0, 60.0)), HARMLESS, test=CountTest()),
            "baseline must be a rate.*SequenceTest",
        ),
        (
            lambda: required_units(Baseline.rate(0.1, variance_factor=0.8), HARMLESS, test=CountTest()),
            "baseline must have no variance_factor",
        ),
        (
            lambda: required_units(
                SIGNUP, Goal.non_inferiority(Margin(1.0, relative=True), direction="increase"), test=CountTest()
            ),
            "margin must be below 100%",
        ),
        (
            lambda: required_units(0.1, LIFT, test=FixedTest()),
            r"baseline must be Baseline, such as Baseline.rate\(0.1\)",
        ),
        (lambda: required_units(SIGNUP, 0.05, test=FixedTest()), r"goal must be Goal, such as Goal.superiority\("),
        (lambda: achieved_power(SIGNUP, LIFT, test="fixed", units=100), r"test must be .* FixedTest\(\).*not str"),
        (
            lambda: detectable_size(SIGNUP, LIFT, test=FixedTest, units=100),
            r"test must be .* FixedTest\(\), not the cl",
        ),
        (lambda: required_units(SIGNUP, LIFT, test=FixedTest(), split=(2, 1)), r"split must be Split, such as Split\("),
        (lambda: assurance(SIGNUP, 0.05, test=FixedTest(), units=100, prior=(0, 1)), "goal must be Goal"),
        (lambda: calendar(1000, 200), r"traffic must be Traffic, such as Traffic\("),
        (lambda: plan_family([requirement()], traffic=2000), r"traffic must be Traffic, such as Traffic\("),
        (lambda: plan_family(["signup"], traffic=Traffic(10)), "requirements must be Requirement"),
        (lambda: requirement(goal=0.05), "goal must be Goal"),
        (lambda: requirement(baseline=0.1), "baseline must be Baseline"),
        (lambda: requirement(test="fixed"), "test must be"),
        (lambda: Goal.non_inferiority(0.001, direction="decrease"), r"margin must be Margin, such as Margin\(0.001\)"),
        (lambda: Goal.equivalence(0.001, direction="decrease"), r"margin must be Margin, such as Margin\(0.001\)"),
        (lambda: Goal.non_inferiority(Margin(0.001), direction="down"), "direction"),
        (lambda: Goal.superiority(-0.1), "effect must be greater than 0"),
    ],
)
def test_bad_arguments_are_refused_by_name_with_what_to_pass(call, words):
    with pytest.raises(ValueError, match=words):
        call()
