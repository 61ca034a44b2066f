"""Power of watched methods, Bayesian rules and harm alarms: published inflation, simulation by the engine itself."""

import numpy as np
import pytest
from scipy import integrate
from scipy import stats as reference

from abplatform.stats import Margin, MeanStats, ProportionStats, bayes, sequential
from abplatform.stats.group_sequential.recursion import crossing_probabilities
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, POCOCK, Spending
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
    alarm_power,
    alarm_units,
    assurance,
    required_units,
)
from abplatform.stats.power.bayes import loss_advantage
from abplatform.stats.power.watched import Boundaries, crossing_power, stopping_share

# A metric whose tests are normal: so many units that the t test is one.
PAST = Baseline.normal(10.0, 10.0)
SMALL = Goal.superiority(0.02)


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


def price(test, power=0.8):
    """Units for the same power, as a multiple of the fixed test's."""
    fixed = required_units(PAST, SMALL, test=FixedTest(test.alpha), power=power)
    return float(required_units(PAST, SMALL, test=test, power=power).total / fixed.total)


def walks(rng, runs, looks):
    """Standardised scores at equally spaced looks, and their shares of the information."""
    share = np.arange(1, looks + 1) / looks
    return rng.normal(size=(runs, looks)).cumsum(axis=1) / np.sqrt(looks), share


@pytest.mark.parametrize(
    ("test", "power", "published"),
    [
        # rpact, getSampleSizeMeans / getDesignCharacteristics: inflation of asOF and asP, K = 5, two-sided .05.
        (GroupSequentialTest(looks=5), 0.8, 1.0247),
        (GroupSequentialTest(looks=5, spending=POCOCK), 0.8, 1.2126),
        (GroupSequentialTest(looks=1), 0.8, 1.0),
        (GroupSequentialTest(looks=1, spending=POCOCK), 0.9, 1.0),
    ],
)
def test_price_of_group_sequential_looks_is_the_published_inflation(test, power, published):
    assert price(test, power) == pytest.approx(published, abs=2e-4)


def test_price_of_looks_agrees_with_pococks_and_obriens_own_tables():
    # Jennison and Turnbull (1999), table 2.4 (Pocock's bounds 2.413, R_P = 1.229 at K = 5, power .8) and table 2.5
    # (O'Brien-Fleming's 2.040 sqrt(5 / k), R_B = 1.028): the boundaries themselves, on our curve of power.
    share = np.arange(1, 6) / 5
    for bounds, published in ((np.full(5, 2.413), 1.229), (2.040 / np.sqrt(share), 1.028)):
        plan = Boundaries(tuple(share), tuple(-bounds), tuple(bounds))
        drift = np.sqrt(published) * (1.959964 + 0.841621)
        assert float(crossing_power(plan, np.asarray(drift))) == pytest.approx(0.8, abs=6e-4)


def test_price_of_an_always_valid_sequence_is_about_1_7():
    # The figure; more looks are cheaper, and fewer dearer.
    prices = [price(SequenceTest(looks=looks)) for looks in (14, 30, 100)]
    assert prices[0] > prices[1] > prices[2]
    assert prices[1:] == pytest.approx([1.72, 1.675], abs=0.005)


def test_a_single_look_of_a_sequence_is_a_normal_test_at_its_own_bound():
    # Closed form: Phi(drift - sqrt(u)), u the tuned intrinsic time plus 1.
    bound = float(np.sqrt(1 + sequential.tune_rho2(1.0, 0.05)))
    plan = achieved_power(PAST, SMALL, test=SequenceTest(looks=1), units=5_000_000)
    drift = 0.02 / np.sqrt(4 * 100 / 5e6)
    assert float(plan.power) == pytest.approx(reference.norm.sf(bound - drift), abs=1e-10)


@pytest.mark.parametrize(
    "test",
    [
        SequenceTest(looks=25),
        GroupSequentialTest(looks=5),
        GroupSequentialTest(looks=(0.2, 0.7, 1.0), spending=Spending("hwang_shih_decani", -4.0)),
    ],
)
@pytest.mark.parametrize("kind", ["superiority", "non_inferiority"])
def test_interpolated_power_and_stopping_are_the_recursions(test, kind):
    plan = test._boundaries(kind)
    drift = np.linspace(-6, plan.upper[-1] + 9, 200)
    exits = crossing_probabilities(plan.fractions, plan.lower, plan.upper, drift=drift)
    exact = exits.upper.sum(axis=-1)
    inside = (drift > -4) & (drift < plan.upper[-1] + 6.5)
    np.testing.assert_allclose(crossing_power(plan, drift)[inside], exact[inside], atol=1e-11)
    # Beyond the nodes the errors stay what the docstring says.
    beyond = drift > plan.upper[-1] + 6.5
    np.testing.assert_allclose(crossing_power(plan, drift)[beyond], exact[beyond], atol=1e-10)
    np.testing.assert_allclose(crossing_power(plan, drift), exact, atol=1e-6)
    share = 1 + (exits.upper + exits.lower) @ (np.array(plan.fractions) - 1)
    np.testing.assert_allclose(stopping_share(plan, drift)[inside], share[inside], atol=1e-11)


@pytest.mark.parametrize("looks", [4, 20])
@pytest.mark.parametrize("kind", ["superiority", "non_inferiority"])
def test_sequence_claims_as_often_and_as_early_as_planned(looks, kind):
    # Whole path through the engine: estimated variances, planned_units, p-values at every look.
    rng, runs = np.random.default_rng(looks), 3000
    goal = Goal.superiority(0.3) if kind == "superiority" else Goal.non_inferiority(Margin(0.3), direction="increase")
    true = 0.3 if kind == "superiority" else 0.0
    plan = required_units(Baseline.normal(2.0, 2.0), goal, test=SequenceTest(looks=looks))
    n = int(plan.units[0]) // looks
    arms = []
    for mean in (2.0 + true, 2.0):
        batches = rng.normal(mean, 2.0, size=(runs, looks, n))
        counts = n * np.arange(1, looks + 1)
        means = batches.sum(axis=-1).cumsum(axis=-1) / counts
        squares = np.square(batches).sum(axis=-1).cumsum(axis=-1)
        arms.append(MeanStats(counts, means, squares - counts * np.square(means)))
    if kind == "superiority":
        result = sequential.compare(*arms, planned_units=2 * n * looks)
        claims = (result.p_value < 0.05) & (result.absolute.estimate > 0)
        wrong = (result.p_value < 0.05) & (result.absolute.estimate < 0)
    else:
        claims = sequential.non_inferiority(
            *arms, margin=Margin(0.3), planned_units=2 * n * looks, direction="increase"
        ).non_inferior
        wrong = np.zeros_like(claims)
    first = np.where((claims | wrong).any(axis=1), (claims | wrong).argmax(axis=1), looks - 1)
    # Rounding down to whole batches costs less than one look in a thousand units.
    assert claims.any(axis=1).mean() == pytest.approx(float(plan.power), abs=slack(0.8, runs) + 0.01)
    stopped = float(plan.expected_total / plan.total)
    # The guard of 500 units comes before what would be the first looks here.
    assert ((first + 1) / looks).mean() <= stopped + 4 * 0.3 / np.sqrt(runs) + 0.01


@pytest.mark.parametrize("spending", [OBRIEN_FLEMING, POCOCK])
def test_group_sequential_plan_rejects_as_often_and_as_early_as_planned(spending):
    rng, runs, looks = np.random.default_rng(9), 40_000, 5
    test = GroupSequentialTest(looks=looks, spending=spending)
    plan = required_units(PAST, SMALL, test=test)
    drift = 0.02 / np.sqrt(400 / float(plan.total))
    noise, share = walks(rng, runs, looks)
    z = (noise + drift * share) / np.sqrt(share)
    bounds = np.array(test._boundaries("superiority").upper)
    crossed = np.abs(z) > bounds
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), looks - 1)
    right = crossed.any(axis=1) & (z[np.arange(runs), first] > 0)
    assert right.mean() == pytest.approx(0.8, abs=slack(0.8, runs))
    stopped = share[first]
    expected = float(plan.expected_total / plan.total)
    assert stopped.mean() == pytest.approx(expected, abs=4 * stopped.std() / np.sqrt(runs))
    # And without an effect it errs as often as it may, half of it on either side.
    null = np.abs(noise / np.sqrt(share)) > bounds
    assert null.any(axis=1).mean() == pytest.approx(0.05, abs=slack(0.05, runs))


def test_futility_costs_power_and_saves_units_where_there_is_no_effect():
    rng, runs = np.random.default_rng(10), 40_000
    plain = GroupSequentialTest(looks=4, one_sided=True, alpha=0.025)
    stops = GroupSequentialTest(looks=4, one_sided=True, alpha=0.025, futility=(0.0, 0.5, 1.0))
    total = float(required_units(PAST, SMALL, test=plain).total)
    with_stops = achieved_power(PAST, SMALL, test=stops, units=total)
    noise, share = walks(rng, runs, 4)
    z = (noise + 0.02 / np.sqrt(400 / total) * share) / np.sqrt(share)
    upper, low = np.array(stops._boundaries("superiority").upper), np.array([0.0, 0.5, 1.0, -np.inf])
    exits = (z > upper) | (z < low)
    first = np.where(exits.any(axis=1), exits.argmax(axis=1), 3)
    won = z[np.arange(runs), first] > upper[first]
    assert won.mean() == pytest.approx(float(with_stops.power), abs=slack(0.8, runs))
    assert float(with_stops.power) < 0.8 - 0.005
    none = Goal.superiority(1e-9)
    idle, full = (float(achieved_power(PAST, none, test=t, units=total).expected_total) for t in (stops, plain))
    assert idle < 0.75 * full


def test_equivalence_by_sequences_is_a_lower_bound_that_is_close():
    # Simulated: both one-sided sequences have spoken at some look, not necessarily at the same.
    rng, runs, looks = np.random.default_rng(11), 20_000, 20
    goal = Goal.equivalence(Margin(0.03), direction="increase")
    test = SequenceTest(looks=looks)
    plan = required_units(PAST, goal, test=test)
    drift = 0.03 / np.sqrt(400 / float(plan.total))
    noise, share = walks(rng, runs, looks)
    bounds = np.array(test._boundaries("equivalence").upper)
    low = ((noise + drift * share) / np.sqrt(share) > bounds).any(axis=1)
    high = ((drift * share - noise) / np.sqrt(share) > bounds).any(axis=1)
    assert 0.8 - slack(0.8, runs) <= (low & high).mean() <= 0.83


@pytest.mark.parametrize("loss", [0.39, 0.1, 1e-3, 1e-12, 1e-200])
def test_advantage_has_the_loss_it_is_asked_for(loss):
    # Independent: the loss as an integral of the normal tail, relative to its own size.
    a = float(loss_advantage(np.asarray(loss)))
    tail = integrate.quad(lambda x: np.exp(reference.norm.logsf(a + x) - reference.norm.logsf(a)), 0, np.inf)[0]
    assert np.log(tail) + reference.norm.logsf(a) == pytest.approx(np.log(loss), abs=1e-9)


def test_losses_that_any_winner_meets_need_no_advantage():
    np.testing.assert_array_equal(loss_advantage(np.array([0.4, 5.0, np.inf])), 0.0)


@pytest.mark.parametrize("threshold", [0.0005, 0.01])
def test_bayesian_rule_decides_as_often_as_planned(threshold):
    # Simulated through the engine: expected loss below the threshold and a chance to win above one half.
    rng, runs = np.random.default_rng(12), 20_000
    rule = LossRule(0.03, threshold)
    plan = achieved_power(Baseline.rate(0.2), Goal.superiority(0.03, relative=True), test=rule, units=24_000)
    arms = [ProportionStats(12_000, rng.binomial(12_000, rate, runs)) for rate in (0.206, 0.2)]
    result = bayes.compare(*arms, prior_scale=0.03 * 0.2)
    decides = (result.expected_loss / 0.2 < threshold) & (result.chance_to_win > 0.5)
    assert decides.mean() == pytest.approx(float(plan.power), abs=slack(0.7, runs) + 0.003)


def test_generous_threshold_ships_whatever_looks_better():
    rule = LossRule(0.05, 0.9)
    plan = achieved_power(Baseline.rate(0.2), Goal.superiority(0.002), test=rule, units=20_000)
    se = np.sqrt((0.2 * 0.8 + 0.202 * 0.798) / 10_000)
    assert float(plan.power) == pytest.approx(reference.norm.cdf(0.002 / se), abs=1e-12)


def test_assurance_of_a_rule_is_its_closed_form():
    # The rule is d > c with d ~ N(m, tau^2 + se^2) over the prior.
    rule, mean, sd = LossRule(0.5, 0.02, relative=False), 0.1, 0.6
    past = Baseline.normal(5.0, 10.0)
    se = np.sqrt(4 * 100 / 4000)
    w = 0.25 / (0.25 + se**2)
    cut = float(loss_advantage(np.asarray(0.02 / (np.sqrt(w) * se)))) * se / np.sqrt(w)
    expected = reference.norm.cdf((mean - cut) / np.hypot(sd, se))
    got = assurance(past, Goal.superiority(1.0), test=rule, units=4000, prior=(mean, sd))
    assert float(got) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sd", [1e-4, 0.01, 3.0])
def test_assurance_of_a_test_is_its_closed_form_from_certainty_to_ignorance(sd):
    # Normal test: claims of "better" are d > 1.96 se with d ~ N(m, sd^2 + se^2).
    se = np.sqrt(400 / 10**6)
    expected = reference.norm.sf((1.959964 * se - 0.03) / np.hypot(sd, se))
    got = assurance(PAST, Goal.superiority(1.0), test=FixedTest(), units=10**6, prior=(0.03, sd))
    assert float(got) == pytest.approx(expected, abs=2e-6)


def test_assurance_holds_rates_inside_their_range():
    goal = Goal.superiority(0.5, relative=True)
    got = assurance(Baseline.rate([0.02, 0.97]), goal, test=FixedTest(), units=10_000, prior=(0.0, 2.0))
    assert np.isfinite(got).all()
    assert 0.4 < got[0] < 0.5


def enumerated_alarm(odds, conversions):
    """All sequences of converted units, and whether the alarm has sounded along each (brute force)."""
    sounded = 0.0
    for path in range(2**conversions):
        hits = np.array([path >> bit & 1 for bit in range(conversions)])
        treated = hits.cumsum()
        p = sequential.harm_p_value(treated, np.arange(1, conversions + 1) - treated, share=0.5)
        if (p <= 0.05).any():
            sounded += odds ** hits.sum() * (1 - odds) ** (conversions - hits.sum())
    return sounded


def test_alarm_curve_is_the_enumeration_of_all_paths():
    from abplatform.stats.power.counts import _sounded

    curve = _sounded(0.8, 0.5, 0.05, 11)
    assert curve[11] == pytest.approx(enumerated_alarm(0.8, 11), abs=1e-12)
    assert curve[11] > 0.1


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_alarm_sounds_as_often_as_planned(share):
    rng, runs = np.random.default_rng(13), 1500
    plan = alarm_units(0.003, 0.001, share=share)
    assert plan.power == pytest.approx(0.8, abs=1e-3)
    assert alarm_power(0.003, 0.001, units=plan.units - 1, share=share) < 0.8
    heard = 0
    merged = share * 0.003 + (1 - share) * 0.001
    for _ in range(runs):
        hits = (rng.random(rng.binomial(plan.units, merged)) < share * 0.003 / merged).cumsum()
        heard += (sequential.harm_p_value(hits, np.arange(1, hits.size + 1) - hits, share=share) <= 0.05).any()
    assert heard / runs == pytest.approx(plan.power, abs=slack(0.8, runs))


def test_alarm_without_harm_sounds_at_most_at_alpha():
    assert 0.01 < alarm_power(0.001, 0.001, units=4_000_000) <= 0.05


def test_alarm_for_a_tiny_harm_is_not_planned():
    assert alarm_units(0.00101, 0.001).not_plannable == Unplannable.NOT_REACHED


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: alarm_units(0.001, 0.001), "treatment_rate"),
        (lambda: alarm_units(0.002, 0.0), "control_rate"),
        (lambda: alarm_units(0.002, 0.001, power=0.05), "power"),
        (lambda: alarm_units(0.002, 0.001, share=1.0), "share"),
        (lambda: alarm_units(0.002, 0.001, alpha=0.0), "alpha"),
        (lambda: alarm_power(0.2, 0.1, units=10**9), "units"),
        (lambda: alarm_power(0.2, 0.1, units=0), "units"),
        (lambda: assurance(PAST, SMALL, test=FixedTest(), units=100, prior=(0.0, 0.0)), "prior"),
        (lambda: assurance(PAST, SMALL, test=FixedTest(), units=100, prior=(np.nan, 1.0)), "prior"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def test_unequal_arms_are_planned_alike_by_every_method():
    # The price of a method does not depend on the split.
    split = Split((4, 1))
    fixed = required_units(PAST, SMALL, test=FixedTest(), split=split)
    watched = required_units(PAST, SMALL, test=SequenceTest(), split=split)
    assert float(watched.total / fixed.total) == pytest.approx(price(SequenceTest()), rel=1e-5)
