"""Simulated experiments: populations against closed forms, schedules, stopping, bounded memory, known error rates."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from abplatform.stats import sequential
from abplatform.stats.group_sequential import Spending, compare, efficacy_bounds
from abplatform.stats.simulate import (
    Bayesian,
    Bernoulli,
    Fixed,
    GroupSequential,
    LogNormal,
    NaivePeeking,
    Normal,
    Outcomes,
    Sequential,
    Trial,
    draws,
    equally_spaced,
    every,
    guard_passed,
    mean_of_runs,
    share_of_runs,
    simulate,
    trials,
)

RNG = np.random.default_rng
POPULATIONS = [
    Bernoulli(0.3),
    Normal(2.0, 3.0),
    LogNormal(5.0, 0.8),
    LogNormal(5.0, 0.8, nonzero=0.2),
    LogNormal(5.0, 1.0, nonzero=0.2, cap=12.0),
]


def squares(stats):
    """Sum of squared deviations, of rates too."""
    return stats.n * stats.estimate * (1 - stats.estimate) if hasattr(stats, "successes") else stats.m2


def unit_variance(population):
    """Variance of one unit, from scipy's distributions."""
    if isinstance(population, Bernoulli):
        return population.rate * (1 - population.rate)
    if isinstance(population, Normal):
        return population.sd**2
    amounts = reference.lognorm(population.sigma, scale=population.average * np.exp(-(population.sigma**2) / 2))
    cap = population.cap or np.inf
    second = amounts.expect(lambda x: np.minimum(x, cap) ** 2)
    return population.nonzero * second - population.mean**2


@pytest.mark.parametrize("population", POPULATIONS, ids=repr)
def test_mean_and_spread_of_the_statistics_are_those_of_the_distribution(population):
    runs, units = 4000, 50
    watched = population.watch(np.full((runs, 2), units), RNG(1))
    last = watched.stats.estimate[:, -1]
    variance = unit_variance(population)
    error = np.sqrt(variance / (2 * units))
    assert last.mean() == pytest.approx(population.mean, abs=4 * error / np.sqrt(runs))
    # Standard error of a standard deviation where the kurtosis is at most 4: sqrt(3 / 4 / runs) of it.
    assert last.std() == pytest.approx(error, rel=4 * np.sqrt(0.75 / runs))
    # n p (1 - p) / (n - 1) is unbiased too.
    within = squares(watched.stats)[:, -1] / (2 * units - 1)
    assert within.mean() == pytest.approx(variance, abs=4 * within.std() / np.sqrt(runs))


@pytest.mark.parametrize("population", POPULATIONS[2:], ids=repr)
def test_mean_of_capped_amounts_is_the_integral(population):
    amounts = reference.lognorm(population.sigma, scale=population.average * np.exp(-(population.sigma**2) / 2))
    integral = amounts.expect(lambda x: np.minimum(x, population.cap or np.inf))
    assert population.mean == pytest.approx(population.nonzero * integral, rel=1e-7)
    assert population.quantile(0.99) == pytest.approx(amounts.ppf(0.99), rel=1e-12)


def test_normal_moments_at_each_look_follow_normal_and_chi_square():
    watched = Normal(1e6, 2.0).watch(np.tile([1, 2, 5], (20_000, 1)), RNG(2))
    n = watched.stats.n[0]
    np.testing.assert_array_equal(n, [1, 3, 8])
    assert (watched.stats.m2[:, 0] <= 1e-6).all()
    for look in (1, 2):
        z = (watched.stats.mean[:, look] - 1e6) * np.sqrt(n[look]) / 2
        assert reference.kstest(z, "norm").pvalue > 1e-4
        assert reference.kstest(watched.stats.m2[:, look] / 4, "chi2", args=(n[look] - 1,)).pvalue > 1e-4
    # Increments are independent: the looks' means correlate as sqrt(3 / 8).
    seen = np.corrcoef(watched.stats.mean[:, 1], watched.stats.mean[:, 2])[0, 1]
    assert seen == pytest.approx(np.sqrt(3 / 8), abs=4 / np.sqrt(20_000))


@pytest.mark.parametrize("population", POPULATIONS, ids=repr)
def test_no_units_are_no_statistics(population):
    watched = population.watch(np.array([[0, 3, 0]]), RNG(3))
    assert watched.stats.n.tolist() == [[0, 3, 3]]
    assert np.isnan(watched.stats.estimate[0, 0])
    assert watched.stats.estimate[0, 1] == watched.stats.estimate[0, 2]
    assert watched.nonzero[0, 0] == 0


def test_units_that_are_not_zero_are_counted():
    watched = LogNormal(nonzero=0.1).watch(np.full((200, 1), 1000), RNG(4))
    assert watched.nonzero.mean() == pytest.approx(100, abs=4 * np.sqrt(90 / 200))
    assert (Normal().watch(np.full((2, 1), 7), RNG(4)).nonzero == 7).all()
    rates = Bernoulli(0.9).watch(np.full((200, 1), 1000), RNG(4))
    np.testing.assert_array_equal(rates.nonzero, rates.stats.n - rates.stats.successes)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 12))
def test_sums_do_not_depend_on_how_draws_are_cut_into_chunks(counts, chunk):
    cells = np.array(counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draws, "CHUNK", chunk)
        asked = []
        source = iter(range(1, 10_000))

        def draw(size):
            asked.append(size)
            return np.array([next(source) for _ in range(size)], dtype=float)

        totals, second = draws.drawn_sums(cells, draw)
    assert max(asked, default=0) <= 2 * chunk
    edges = np.cumsum(cells)
    for cell, end in enumerate(edges):
        values = np.arange(end - cells[cell] + 1, end + 1, dtype=float)
        assert totals[cell] == values.sum()
        assert second[cell] == (values**2).sum()


@given(st.integers(1, 5000), st.integers(1, 200))
def test_schedules_increase_and_end_at_the_planned_size(planned, size):
    if size <= planned:
        for schedule in (equally_spaced(planned, size), every(planned, size)):
            assert schedule[-1] == planned
            assert (np.diff(schedule, prepend=0) > 0).all()
        assert equally_spaced(planned, size).size == size
        assert every(planned, size).size == -(-planned // size)


@settings(max_examples=20)
@given(st.floats(0.05, 0.95), st.integers(1, 2**32))
def test_arms_share_the_arrivals(share, seed):
    looks = Trial(Normal(), Normal(), equally_spaced(1000, 5), share).draw(400, RNG(seed))
    both = looks.treatment.stats.n + looks.control.stats.n
    np.testing.assert_array_equal(both, np.broadcast_to([200, 400, 600, 800, 1000], (400, 5)))
    slack = 5 * np.sqrt(share * (1 - share) / 400_000)
    assert looks.treatment.stats.n[:, -1].mean() / 1000 == pytest.approx(share, abs=slack)


def test_a_schedule_may_be_any_whole_numbers_and_is_kept_as_a_copy():
    given = [100, 200]
    trial = Trial(Normal(), Normal(), given)
    given[1] = 0
    assert trial.schedule.tolist() == [100, 200]
    assert not trial.schedule.flags.writeable
    assert simulate(trial, Fixed(), repetitions=3, rng=RNG(0)).look.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="schedule"):
        Trial(Normal(), Normal(), [100.5, 200.0])


def test_blocks_bound_memory_and_draws():
    skewed = LogNormal()
    assert Trial(skewed, skewed, equally_spaced(10_000, 10)).block == trials.DRAWS // 10_000
    assert Trial(Normal(), Normal(), equally_spaced(10**9, 100)).block == trials.CELLS // 100
    assert Trial(skewed, skewed, equally_spaced(10**9, 1)).block == 1


def test_equal_states_give_equal_outcomes_and_every_repetition_is_reported():
    trial = Trial(LogNormal(), LogNormal().lifted(0.1), equally_spaced(2000, 4))
    seen = []
    one, two = (simulate(trial, NaivePeeking(), repetitions=5000, rng=RNG(5), report=seen.append) for _ in range(2))
    np.testing.assert_array_equal(one.estimate, two.estimate)
    assert seen == [2000, 4000, 5000] * 2
    assert one.look.size == one.sign.size == one.lower.size == 5000


def test_stopping_is_the_first_verdict_else_the_last_look():
    class Scripted:
        """Says what was written for it, with the number of the look as the estimate."""

        def __call__(self, looks):
            result = NaivePeeking()(looks)
            sign = np.array([[0, 1, -1], [0, 0, 0], [-1, 0, 1], [0, 0, 1]], dtype=np.int8)
            estimate = np.broadcast_to([1.0, 2.0, 3.0], sign.shape)
            return replace(result, sign=sign, estimate=estimate, lower=estimate - 2, upper=estimate + 1)

    control = Normal(10.0)
    outcomes = simulate(
        Trial(control, control.lifted(0.1), equally_spaced(30, 3)), Scripted(), repetitions=4, rng=RNG(0)
    )
    assert outcomes.look.tolist() == [1, 2, 0, 2]
    assert outcomes.sign.tolist() == [1, 0, -1, 1]
    assert (outcomes.decided.value, outcomes.right.value, outcomes.wrong_sign.value) == (0.75, 0.5, 0.25)
    assert (outcomes.better.value, outcomes.worse.value) == (0.5, 0.25)
    assert outcomes.units.value == (20 + 30 + 10 + 30) / 4
    # The true effect is 1; intervals are [0, 3], [1, 4], [-1, 2] and [1, 4].
    assert outcomes.coverage.value == 1.0
    assert outcomes.mean_estimate.value == (2 + 3 + 1 + 3) / 4
    assert outcomes.mean_winning_estimate.value == 2.5
    assert outcomes.decided_by_look.tolist() == [0.25, 0.5, 0.75]


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_a_share_is_never_without_error(hits):
    measured = share_of_runs(np.array(hits))
    assert measured.value == np.mean(hits)
    assert 0 < measured.error <= 0.5 / np.sqrt(len(hits))


def test_nothing_to_measure_is_nan():
    assert np.isnan(share_of_runs(np.array([], dtype=bool)).value)
    assert np.isnan(mean_of_runs(np.array([])).value)
    assert np.isnan(mean_of_runs(np.array([1.0])).error)


def test_fixed_method_errs_at_alpha_and_has_the_planned_power():
    # 15.7 / delta^2 units per arm for 80% power at 5% (Lehr's rule with its exact constant 2 * 7.849).
    control, units = Normal(1.0, 1.0), 2 * round(15.698 / 0.1**2)
    for effect, rate in ((0.0, 0.05), (0.1, 0.80)):
        trial = Trial(control, control.lifted(effect), equally_spaced(units, 10))
        outcomes = simulate(trial, Fixed(), repetitions=8000, rng=RNG(6))
        assert outcomes.decided.value == pytest.approx(rate, abs=4 * outcomes.decided.error + 0.002)
        assert (outcomes.look == 9).all()


def test_bayesian_stopping_is_naive_peeking_where_the_prior_is_flat():
    # With a flat prior a chance to win of 97.5% is a two-sided p-value of 5%.
    trial = Trial(Normal(), Normal(), equally_spaced(40_000, 10))
    one = simulate(trial, Bayesian(1e8, 0.975), repetitions=2000, rng=RNG(7))
    two = simulate(trial, NaivePeeking(0.05), repetitions=2000, rng=RNG(7))
    assert (one.sign != two.sign).mean() < 0.005
    assert one.decided.value > 0.15


def test_loss_threshold_decides_as_a_plan_does():
    control = Bernoulli(0.1)
    trial = Trial(control, control.lifted(0.2), equally_spaced(20_000, 10))
    strict, lax = (
        simulate(trial, Bayesian(0.02, loss_threshold=limit), repetitions=500, rng=RNG(8)) for limit in (1e-5, 0.05)
    )
    assert strict.units.value > lax.units.value
    assert strict.right.value < lax.right.value
    # So lax a threshold stops at the first look, for one side or the other: P(lose) < .05 decides "worse".
    assert (lax.look == 0).mean() > 0.8


def test_sequential_method_waits_for_its_guard():
    trial = Trial(Bernoulli(0.01), Bernoulli(0.01).lifted(1.0), equally_spaced(40_000, 40))
    free, guarded = (
        simulate(trial, Sequential(40_000, guard=guard), repetitions=300, rng=RNG(9)) for guard in (False, True)
    )
    assert free.units.value < guarded.units.value
    looks = trial.draw(300, RNG(9))
    rare = np.minimum(looks.treatment.nonzero, looks.control.nonzero)
    np.testing.assert_array_equal(guard_passed(looks), rare >= 100)
    assert trial.schedule[guarded.look.min()] >= 100 / 0.01


def test_sequential_verdicts_are_those_of_the_engine():
    trial = Trial(Bernoulli(0.2), Bernoulli(0.2).lifted(0.1), equally_spaced(10_000, 5))
    looks = trial.draw(50, RNG(10))
    said = Sequential(10_000, 0.1, guard=False)(looks)
    for run in range(50):
        for look in range(5):
            arms = [
                type(arm.stats)(arm.stats.n[run, look], arm.stats.successes[run, look])
                for arm in (looks.treatment, looks.control)
            ]
            cell = sequential.compare(*arms, planned_units=10_000, alpha=0.1).cell()
            assert said.sign[run, look] == (np.sign(cell.absolute.estimate) if cell.p_value < 0.1 else 0)


@pytest.mark.parametrize("spending", [Spending("obrien_fleming"), Spending("pocock")])
def test_group_sequential_verdicts_are_crossings_of_the_engines_bounds(spending):
    trial = Trial(Normal(), Normal().lifted(0.05), equally_spaced(10_000, 5))
    looks = trial.draw(500, RNG(12))
    said = GroupSequential(10_000, 0.05, spending)(looks)
    critical = efficacy_bounds([0.2, 0.4, 0.6, 0.8, 1.0], alpha=0.05, spending=spending).critical
    z = normal_deviates(looks)
    np.testing.assert_array_equal(said.sign, np.sign(z) * (np.abs(z) > critical))
    # Look by look the engine's comparison says the same, and its repeated intervals are these.
    for look in range(5):
        arms = (arm.stats for arm in (looks.treatment, looks.control))
        now = [type(arm)(arm.n[:, look], arm.mean[:, look], arm.m2[:, look]) for arm in arms]
        result = compare(*now, fractions=[0.2, 0.4, 0.6, 0.8, 1.0][: look + 1], spending=spending)
        np.testing.assert_array_equal(result.p_value < 0.05, said.sign[:, look] != 0)
        np.testing.assert_allclose(result.absolute.lower, said.lower[:, look], rtol=1e-9)


def normal_deviates(looks):
    """Of Welch's t statistic, written out."""
    treatment, control = looks.treatment.stats, looks.control.stats
    parts = [arm.m2 / (arm.n - 1) / arm.n for arm in (treatment, control)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (arm.n - 1) for part, arm in zip(parts, (treatment, control), strict=True)
    )
    t = (treatment.mean - control.mean) / np.sqrt(sum(parts))
    return np.sign(t) * reference.norm.isf(reference.t.sf(np.abs(t), freedom))


def test_group_sequential_planned_for_80_percent_has_it():
    # Inflation 1.025 of the O'Brien-Fleming type at five looks over 4 * 7.849 / delta^2 units of a fixed test.
    units = round(1.025 * 4 * 7.849 / 0.1**2)
    trial = Trial(Normal(), Normal().lifted(0.1), equally_spaced(units, 5))
    outcomes = simulate(trial, GroupSequential(units), repetitions=8000, rng=RNG(13))
    assert outcomes.right.value == pytest.approx(0.8, abs=4 * outcomes.right.error + 0.002)
    assert outcomes.units.value < 0.85 * units


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Bernoulli(1.0), "rate"),
        (lambda: Bernoulli(0.6).lifted(0.7), "effect"),
        (lambda: Normal().lifted(-1), "effect"),
        (lambda: Normal().lifted(np.nan), "effect"),
        (lambda: Normal(sd=0), "sd"),
        (lambda: Normal(mean=np.inf), "mean"),
        (lambda: LogNormal(0), "average"),
        (lambda: LogNormal(sigma=-1), "sigma"),
        (lambda: LogNormal(nonzero=1.1), "nonzero"),
        (lambda: LogNormal(cap=0), "cap"),
        (lambda: LogNormal().quantile(1), "level"),
        (lambda: equally_spaced(10, 11), "looks"),
        (lambda: every(10, 0), "step"),
        (lambda: Trial(Normal(), Normal(), np.array([5, 5])), "schedule"),
        (lambda: Trial(Normal(), Normal(), np.array([], dtype=int)), "schedule"),
        (lambda: Trial(Normal(), Normal(), np.array([5]), 1.0), "share"),
        (lambda: Bayesian(0), "prior_scale"),
        (lambda: Bayesian(1, chance=0.5), "chance"),
        (lambda: Bayesian(1, loss_threshold=0), "loss_threshold"),
        (lambda: Bayesian(1, alpha=1), "alpha"),
        (
            lambda: simulate(Trial(Normal(), Normal(), np.array([5])), Fixed(), repetitions=0, rng=RNG(0)),
            "repetitions",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize(
    "procedure", [Sequential(60), GroupSequential(60), Fixed(), NaivePeeking(), Bayesian(1.0)], ids=repr
)
@pytest.mark.parametrize("population", POPULATIONS, ids=repr)
def test_looks_at_no_or_one_unit_give_no_verdict_and_no_warning(procedure, population):
    looks = Trial(population, population, np.array([1, 2, 60])).draw(100, RNG(14))
    said = procedure(looks)
    fewest = np.minimum(looks.treatment.stats.n, looks.control.stats.n)
    assert (fewest[:, 0] == 0).all()
    assert (said.sign[fewest < 2] == 0).all()


def test_outcomes_without_a_computable_interval_count_as_covering():
    trial = Trial(Bernoulli(0.001), Bernoulli(0.001), np.array([2]))
    outcomes: Outcomes = simulate(trial, NaivePeeking(), repetitions=50, rng=RNG(11))
    assert outcomes.decided.value == 0
    assert outcomes.coverage.value == 1
