"""Times with censoring: Kaplan-Meier against statsmodels, quantiles, coverage, degenerate cells, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.duration.survfunc import SurvfuncRight

from abplatform.stats import Caution, NotComputable, bayes, fixed, sequential
from abplatform.stats.sufficient.durations import DurationStats
from abplatform.stats.sufficient.quantiles import QuantileStats

GRID = np.arange(1.0, 15.0)
FIELDS = ("n", "at_risk", "events")
lives = st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=40)
levels = st.sampled_from([0.2, 0.37, 0.5, 0.81])


def of(rows, *, q=0.5, cuts=GRID):
    return DurationStats.of([time for time, _ in rows], [done for _, done in rows], q=q, cuts=cuts)


def patients(seed, size, *, loss=0.3, never=0.1):
    """Weibull times, some infinite, cut by exponential loss and by a window of 6."""
    rng = np.random.default_rng(seed)
    times = np.where(rng.random(size) < never, np.inf, rng.weibull(0.8, size))
    limit = np.minimum(rng.exponential(1 / loss, size), 6.0)
    return np.minimum(times, limit), times <= limit


# The curve


@pytest.mark.parametrize("decimals", [1, 6])
def test_survival_and_its_errors_equal_statsmodels(decimals):
    # One decimal makes ties, between events and of events with losses.
    times, done = patients(1, 200)
    times = np.round(times, decimals)
    peer = SurvfuncRight(times, done)
    stats = DurationStats.of(times, done, q=0.5)
    at = np.searchsorted(stats.cuts, peer.surv_times)
    np.testing.assert_allclose(stats.survival[at], peer.surv_prob, rtol=1e-12)
    np.testing.assert_allclose(stats.survival_error[at], peer.surv_prob_se, rtol=1e-12)
    np.testing.assert_array_equal(stats.at_risk[at], peer.n_risk)


@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=40), levels)
def test_attained_equals_statsmodels(rows, q):
    peer = SurvfuncRight([time for time, _ in rows], [int(done) for _, done in rows])
    # Where a step ends on 1 - q exactly, the quantile is that step here; statsmodels goes on to the next, as SAS does.
    if np.abs(peer.surv_prob - (1 - q)).min(initial=1) > 1e-9:
        np.testing.assert_equal(float(of(rows, q=q, cuts=None).attained), float(peer.quantile(q)))


@pytest.mark.parametrize("q", [0.25, 0.5, 0.7])
def test_the_interval_of_one_arm_equals_statsmodels_up_to_one_step_of_the_curve(q):
    times, done = patients(2, 400)
    lower, upper = SurvfuncRight(times, done).quantile_ci(q, method="cloglog")
    stats = DurationStats.of(times, done, q=q)
    bounds = stats.interval()
    # Between two times the band is linear here and constant there.
    for mine, peer in ((bounds.lower, lower), (bounds.upper, upper)):
        at = np.searchsorted(stats.cuts, float(mine))
        assert peer in stats.cuts[max(at - 2, 0) : at + 2]


def test_a_life_table_counts_losses_for_a_half():
    # Cutler and Ederer (1958): r = entering - lost / 2, S the product of 1 - d / r; by hand.
    stats = DurationStats.from_counts(100, events=[10, 6], censored=[20, 4], cuts=[1, 2], q=0.1)
    assert stats.at_risk.tolist() == [90.0, 68.0]
    np.testing.assert_allclose(stats.survival, [8 / 9, 8 / 9 * 62 / 68], rtol=1e-15)
    greenwood = np.cumsum([10 / (90 * 80), 6 / (68 * 62)])
    np.testing.assert_allclose(stats.survival_error, stats.survival * np.sqrt(greenwood), rtol=1e-12)


def test_a_fine_grid_gives_nearly_the_exact_curve():
    times, done = patients(3, 3000)
    exact = DurationStats.of(times, done, q=0.5)
    binned = DurationStats.of(times, done, q=0.5, cuts=np.linspace(0.03, 6, 200))
    error = float(exact.variance) ** 0.5
    # Within a step of share D the true curve bends from the line by a bridge of at most sqrt(D / 4) / sqrt(n), which
    # is sqrt(D / (4 q (1 - q))) errors: .1 for D near .01. Three of them.
    assert float(binned.estimate) == pytest.approx(float(exact.estimate), abs=0.3 * error)
    assert float(binned.variance) ** 0.5 == pytest.approx(error, rel=0.1)


def test_raw_times_and_counts_per_interval_agree():
    rng = np.random.default_rng(4)
    times, done = rng.uniform(0, 16, size=(2, 300)), rng.random((2, 300)) < 0.6
    edges = np.concatenate([[-1.0], GRID])

    def counted(mask):
        return np.array([np.histogram(row[keep], edges)[0] for row, keep in zip(times, mask, strict=True)])

    table = DurationStats.from_counts([300, 300], events=counted(done), censored=counted(~done), cuts=GRID, q=0.5)
    raw = DurationStats.of(times, done, cuts=GRID, q=0.5)
    np.testing.assert_array_equal(raw.events, table.events)
    np.testing.assert_array_equal(raw.at_risk, table.at_risk)


# Quantiles


def test_without_censoring_it_is_the_quantile_of_the_values():
    # Greenwood's variance is S (1 - S) / n then; quantiles of units divide by n - 1.
    values = np.random.default_rng(5).gamma(2, size=500)
    times = DurationStats.of(values, np.ones(500, dtype=bool), q=0.75)
    plain = QuantileStats.of(values, q=0.75)
    assert float(times.estimate) == pytest.approx(float(plain.estimate), rel=1e-9)
    assert float(times.variance) * 500 / 499 == pytest.approx(float(plain.variance), rel=1e-2)


def test_those_who_never_finish_count_as_infinitely_late():
    # 40% never finish: the 50% quantile of all is the 5/6 quantile of those who do, the 60% one does not exist.
    done = np.arange(1000) < 600
    times = np.where(done, np.arange(1000) + 1.0, np.inf)
    assert float(DurationStats.of(times, done, q=0.5).estimate) == pytest.approx(500, rel=1e-9)
    # Nobody can finish after the window: cut at its end it is the same.
    windowed = DurationStats.of(np.minimum(times, 2000), done, q=0.5)
    assert float(windowed.estimate) == pytest.approx(500, rel=1e-9)
    late = DurationStats.of(times, done, q=0.65)
    assert np.isnan(late.estimate)
    assert np.isnan(late.attained)


@pytest.mark.parametrize(("q", "truth"), [(0.3, 0.7), (0.5, 0.5)])
def test_intervals_of_the_difference_cover_under_censoring(q, truth):
    # All times Weibull with shape .8, 10% never, losses exponential; treatment takes 1.2 times as long, so that the
    # true difference is .2 of the quantile (-log(1 - q / .9))^(1 / .8).
    runs, size = 1000, 250
    rng = np.random.default_rng(6)
    grid = np.concatenate([np.linspace(0.01, 2, 120), np.linspace(2.1, 6, 30)])

    def arms(factor):
        times = factor * np.where(rng.random((runs, size)) < 0.1, np.inf, rng.weibull(0.8, (runs, size)))
        limit = np.minimum(rng.exponential(1 / 0.3, (runs, size)), 6.0)
        return DurationStats.of(np.minimum(times, limit), times <= limit, q=q, cuts=grid)

    result = fixed.compare(arms(1.2), arms(1.0)).absolute
    difference = 0.2 * (-np.log1p(-q / 0.9)) ** (1 / 0.8)
    covered = np.mean((result.lower <= difference) & (difference <= result.upper))
    slack = 3 * np.sqrt(0.05 * 0.95 / runs)
    assert 0.945 - slack < covered < 0.965 + slack


# Merging


@given(lives, lives, lives)
def test_merging_is_associative_order_free_and_equals_one_pass(first, second, third):
    a, b, c = (of(rows) for rows in (first, second, third))
    for name in FIELDS:
        # Counts and halves add exactly.
        whole = getattr(of(first + second + third), name)
        np.testing.assert_array_equal(getattr((a + b) + c, name), whole)
        np.testing.assert_array_equal(getattr(a + (c + b), name), whole)


# Methods and properties


def two_arms(factor=1.0):
    cuts = factor * np.linspace(0.05, 6, 120)
    parts = [patients(seed, 600) for seed in (7, 8)]
    return [DurationStats.of(factor * times, done, q=0.5, cuts=cuts) for times, done in parts]


def test_every_method_takes_durations_as_they_are():
    treatment, control = two_arms()
    difference = float(treatment.estimate - control.estimate)
    error = float(treatment.variance + control.variance) ** 0.5
    once = fixed.compare(treatment, control).cell()
    watched = sequential.compare(treatment, control, planned_units=1200).cell()
    believed = bayes.compare(treatment, control, prior_scale=100.0).cell()
    assert once.absolute.estimate == difference
    assert once.p_value == pytest.approx(2 * reference.norm.sf(abs(difference) / error), rel=1e-9)
    assert watched.absolute.lower < once.absolute.lower
    assert believed.absolute.estimate == pytest.approx(difference, rel=1e-3)


def test_swapping_flips_signs_and_rescaling_keeps_p():
    there, back = (fixed.compare(*pair).cell() for pair in (two_arms(), two_arms()[::-1]))
    assert there.absolute.lower == pytest.approx(-back.absolute.upper)
    assert fixed.compare(*two_arms(3600.0)).cell().p_value == pytest.approx(there.p_value, rel=1e-6)


def test_a_grid_of_cells_equals_its_cells():
    rng = np.random.default_rng(9)
    events, lost = rng.integers(1, 30, size=(2, 3, 14)), rng.integers(0, 20, size=(2, 3, 14))
    q = np.array([[0.05], [0.1]])
    grid = DurationStats.from_counts(np.full((2, 3), 900), events=events, censored=lost, cuts=GRID, q=q)
    for at in np.ndindex(2, 3):
        cell = DurationStats.from_counts(900, events=events[at], censored=lost[at], cuts=GRID, q=q[at[0], 0])
        assert float(grid.estimate[at]) == float(cell.estimate)
        assert float(grid.variance[at]) == float(cell.variance) > 0


# Degenerate cells


def table(n, events, *, q=0.5):
    return DurationStats.from_counts(n, events=events, censored=np.zeros(len(events)), cuts=[1, 2], q=q)


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        (table(0, [0, 0]), NotComputable.NO_UNITS),
        (table(1, [0, 1]), NotComputable.ONE_UNIT),
        (table(100, [0, 0]), NotComputable.NOT_REACHED),
        (table(100, [30, 10]), NotComputable.NOT_REACHED),
        # The median is reached, its 95% interval is not.
        (table(100, [30, 25]), NotComputable.NOT_REACHED),
        (table(100, [0, 100]), NotComputable.ZERO_VARIANCE),
    ],
)
def test_cells_without_inference_say_why(arm, reason):
    for result in (
        fixed.compare(arm, arm),
        sequential.compare(arm, arm, planned_units=100),
        bayes.compare(arm, arm, prior_scale=1.0),
    ):
        cell = result.cell()
        assert cell.not_computable == reason
        assert cell.p_value is cell.chance_to_win is cell.absolute.lower is None


def test_a_curve_without_units_is_missing():
    stats = table(0, [0, 0])
    for values in (stats.survival, stats.survival_error, stats.estimate, stats.variance, stats.attained):
        assert np.isnan(values).all()


def test_one_arms_interval_is_open_where_the_band_does_not_get_there():
    bounds = table(100, [30, 25]).interval()
    assert 1 < float(bounds.lower) < float(bounds.estimate) < 2
    assert np.isnan(bounds.upper)


def test_whole_days_are_flagged_as_coarse_and_minutes_are_not():
    times, done = patients(10, 2000)
    days = DurationStats.of(np.ceil(times), done, q=0.5, cuts=np.arange(1, 7))
    minutes = DurationStats.of(times, done, q=0.5, cuts=np.linspace(0.01, 6, 600))
    assert [int(each.cautions) for each in (days, minutes)] == [Caution.COARSE_QUANTILE, 0]


@settings(deadline=None)
@given(lives, lives, levels)
def test_every_cell_has_a_whole_answer_or_a_reason(first, second, q):
    cell = fixed.compare(of(first, q=q), of(second, q=q)).cell()
    if cell.not_computable is None:
        assert cell.absolute.lower <= cell.absolute.estimate <= cell.absolute.upper
        assert 0 <= cell.p_value <= 1
    else:
        assert cell.p_value is cell.absolute.lower is None


# Refusals


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: DurationStats.of([1, np.nan], [1, 1], q=0.5), "times"),
        (lambda: DurationStats.of([1, -1], [1, 1], q=0.5), "times"),
        (lambda: DurationStats.of(["x"], [1], q=0.5), "times must be numbers"),
        (lambda: DurationStats.of([1, np.inf], [1, 1], q=0.5), "times must be finite where finished"),
        (lambda: DurationStats.of([1, 2], [1], q=0.5), "finished"),
        (lambda: DurationStats.of([1, 2], [1, 2], q=0.5), "finished"),
        (lambda: DurationStats.of([], [], q=0.5), "cuts must not be empty"),
        (lambda: DurationStats.of([1], [1], q=0.5, cuts=[-1, 1]), "cuts must not be negative"),
        (lambda: DurationStats.of([1], [1], q=0.5, cuts=[[1, 2]]), "cuts must be one grid"),
        (lambda: DurationStats.of([1], [1], q=0.5, cuts=[2, 2]), "cuts must rise"),
        (lambda: DurationStats.of([1], [1], q=0), "q must"),
        (lambda: table(100, [60, 50]), "events and censored"),
        (lambda: DurationStats.from_counts(9, events=[1, 2], censored=[1], cuts=[1, 2], q=0.5), "censored"),
        (lambda: DurationStats(9, at_risk=[10], events=[1], cuts=[1], q=0.5), "at_risk must not exceed n"),
        (lambda: DurationStats(9, at_risk=[5], events=[6], cuts=[1], q=0.5), "events must not exceed"),
        (lambda: DurationStats(9, at_risk=[9, 9], events=[1, 1], cuts=[1, 2], q=0.5), "at_risk must fall"),
        (lambda: DurationStats(9, at_risk=[9], events=[1, 1], cuts=[1, 2], q=0.5), "at_risk and events"),
        (lambda: DurationStats([9, 9], at_risk=[[9]] * 3, events=[1], cuts=[1], q=0.5), "leading axes"),
    ],
)
def test_impossible_input_is_refused_by_name(make, name):
    with pytest.raises(ValueError, match=name):
        make()


@pytest.mark.parametrize(("other", "name"), [({"q": 0.6}, "q"), ({"cuts": GRID + 1}, "cuts"), ({"cuts": [1]}, "cuts")])
def test_parts_of_different_quantiles_or_grids_do_not_merge(other, name):
    with pytest.raises(ValueError, match=f"{name} must be the same"):
        of([(1, True)]) + of([(1, True)], **other)


def test_statistics_are_frozen_down_to_their_arrays():
    stats = of([(time, True) for time in range(1, 14)])
    for array in (stats.n, stats.at_risk, stats.events, stats.cuts, stats.survival, stats.estimate, stats.variance):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
