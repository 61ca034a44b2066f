"""Looks of a group sequential test on real arms: agreement, symmetry, degenerate cells, and inference at stopping."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from abplatform.stats import EstimateStats, Margin, MeanStats, NotComputable, ProportionStats, SetKind, fixed
from abplatform.stats import group_sequential as gs

means = st.tuples(st.integers(2, 5000), st.floats(-100, 100), st.floats(0.01, 1e4)).map(
    lambda c: MeanStats(c[0], c[1], c[2] * c[0])
)
schedules = st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5).map(lambda gaps: np.cumsum(gaps) / 3)
spendings = st.sampled_from([gs.OBRIEN_FLEMING, gs.POCOCK, gs.Spending("power", 2.0)])


def arms(z, error=1.0):
    """A treatment whose estimate is z standard errors away from a control at 0."""
    z = np.asarray(z, dtype=float)
    variance = np.full(z.shape, error**2 / 2)
    return EstimateStats(100, z * error, variance), EstimateStats(100, np.zeros(z.shape), variance)


def test_interval_is_the_estimate_and_the_critical_value_of_the_look():
    pair = ProportionStats(5_000, 600), ProportionStats(5_000, 500)
    cell = gs.compare(*pair, fractions=[0.2, 0.4, 0.6]).cell()
    error = np.sqrt(0.12 * 0.88 / 5_000 + 0.1 * 0.9 / 5_000)
    # 2.6803: third of five O'Brien-Fleming-type bounds, gsDesign and rpact.
    assert cell.absolute.upper - cell.absolute.estimate == pytest.approx(2.6803 * error, rel=1e-4)
    assert (cell.method, cell.interval_kind) == ("group_sequential", "repeated")


def test_a_single_look_at_the_planned_size_is_the_fixed_test():
    pair = ProportionStats([900, 5_000], [99, 600]), ProportionStats(5_000, 500)
    once, plain = gs.compare(*pair, fractions=[1.0]), fixed.compare(*pair)
    np.testing.assert_allclose(once.p_value, plain.p_value, rtol=1e-9)
    np.testing.assert_allclose(once.absolute.lower, plain.absolute.lower, rtol=1e-9)


@given(means, means, schedules, spendings, st.sampled_from([0.001, 0.05, 0.3]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_interval_and_lift_exclude_zero_exactly_when_p_is_below_alpha(a, b, times, spending, alpha, final):
    result = gs.compare(a, b, fractions=times, alpha=alpha, spending=spending, final=final)
    cell = result.cell()
    if cell.absolute.lower is not None:
        assert (cell.absolute.lower > 0 or cell.absolute.upper < 0) == (cell.p_value < alpha)
        if cell.relative_not_computable is None:
            assert bool(result.relative.excludes_zero) == (cell.p_value < alpha)
    else:
        assert cell.p_value == 1


@given(means, means, schedules, st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_swapping_flips_signs_and_rescaling_keeps_p(a, b, times, factor):
    there, back = (gs.compare(*pair, fractions=times).cell() for pair in ((a, b), (b, a)))
    assert there.p_value == pytest.approx(back.p_value, rel=1e-9)
    if there.absolute.lower is not None:
        assert there.absolute.lower == pytest.approx(-back.absolute.upper)
    scaled = [MeanStats(arm.n, arm.mean * factor, arm.m2 * factor**2) for arm in (a, b)]
    assert gs.compare(*scaled, fractions=times).cell().p_value == pytest.approx(there.p_value, rel=1e-6, abs=1e-260)


def test_cells_may_have_their_own_schedules_and_levels():
    pair = MeanStats([[100, 400, 900]], 1.2, [[300, 1200, 2700]]), MeanStats(500, [[1.0], [0.9]], 1500)
    times = np.array([[0.0, 0.0, 0.3], [0.1, 0.2, 0.5], [0.3, 0.9, 1.0]])
    together = gs.compare(*pair, fractions=times, alpha=[[0.05], [0.01]])
    assert together.shape == (2, 3)
    for row in range(2):
        for column in range(3):
            alone = gs.compare(
                MeanStats([100, 400, 900][column], 1.2, [300, 1200, 2700][column]),
                MeanStats(500, [1.0, 0.9][row], 1500),
                fractions=times[column],
                alpha=[0.05, 0.01][row],
            ).cell()
            cell = together.cell(row, column)
            assert cell.absolute.upper == pytest.approx(alone.absolute.upper, rel=1e-10)
            assert cell.p_value == pytest.approx(alone.p_value, rel=1e-8)


def test_degenerate_cells_say_why_and_do_not_warn():
    treatment = MeanStats([0, 1, 5, 5], [0, 1, 1, 1], [0, 0, 0, 2])
    result = gs.compare(treatment, MeanStats(5, [1, 1, 1, 0], [4, 4, 0, 4]), fractions=[0.2, 0.5])
    assert [result.cell(i).not_computable for i in range(4)] == [
        NotComputable.NO_UNITS,
        NotComputable.ONE_UNIT,
        NotComputable.ZERO_VARIANCE,
        None,
    ]
    assert np.isnan(result.p_value[:3]).all()
    assert result.cell(3).relative_not_computable == NotComputable.ZERO_CONTROL
    stopped = gs.at_stopping(treatment, MeanStats(5, [1, 1, 1, 0], [4, 4, 0, 4]), fractions=[0.2, 0.5])
    assert stopped.not_computable.tolist()[:3] == ["NO_UNITS", "ONE_UNIT", "ZERO_VARIANCE"]
    assert np.isnan(stopped.p_value[:3]).all()
    assert np.isfinite(stopped.absolute.estimate[3])


@pytest.mark.parametrize("times", [[0.0], [0.5, 1.0, 1.2]])
def test_where_nothing_is_spent_nothing_is_excluded(times):
    cell = gs.compare(*arms(9.0), fractions=times).cell()
    assert (cell.absolute.lower, cell.absolute.upper, cell.p_value) == (None, None, 1.0)
    assert cell.relative_kind in {SetKind.WHOLE_LINE, SetKind.UNDEFINED}


@given(means, means, schedules, st.floats(0, 5), st.sampled_from(["increase", "decrease"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_margin_is_excluded_by_its_bound_exactly_when_p_is_below_alpha(a, b, times, size, direction, relative):
    got = gs.non_inferiority(a, b, margin=Margin(size, relative=relative), fractions=times, direction=direction)
    if np.isfinite(got.bound) and abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        safe = got.bound > got.limit if direction == "increase" else got.bound < got.limit
        assert bool(safe) == bool(got.p_value < 0.05) == bool(got.non_inferior)


def test_non_inferiority_at_a_single_look_is_the_fixed_one():
    pair = ProportionStats(40_000, 41), ProportionStats(40_000, 40)
    once = gs.non_inferiority(*pair, margin=Margin(0.001), fractions=[1.0], direction="decrease")
    plain = fixed.non_inferiority(*pair, margin=Margin(0.001), direction="decrease")
    assert float(once.bound) == pytest.approx(float(plain.bound), rel=1e-10)
    assert float(once.p_value) == pytest.approx(float(plain.p_value), rel=1e-8)


def test_guardrail_at_its_margin_is_passed_with_probability_alpha_over_five_looks():
    rng = np.random.default_rng(21)
    times, runs = np.arange(1, 6) / 5, 20_000
    # True difference exactly minus the margin of 1: the edge of the null hypothesis.
    steps = rng.normal(-0.2 * 3, np.sqrt(0.2), (runs, 5))
    z = steps.cumsum(axis=1) / np.sqrt(times)
    passed = np.zeros(runs, dtype=bool)
    for look in range(5):
        error = 1 / (3 * np.sqrt(times[look]))
        pair = arms(z[:, look], error)
        passed |= gs.non_inferiority(
            *pair, margin=Margin(1.0), fractions=times[: look + 1], direction="increase"
        ).non_inferior
    assert passed.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


@pytest.mark.parametrize(("spending", "looks"), [(gs.OBRIEN_FLEMING, 5), (gs.POCOCK, 4)])
def test_simulated_error_of_real_arms_over_all_looks_is_alpha(spending, looks):
    # Whole path with estimated variances: Bernoulli .3, 400 units an arm and look.
    rng = np.random.default_rng(4)
    runs, batch = 20_000, 400
    counts = rng.binomial(batch, 0.3, size=(2, looks, runs)).cumsum(axis=1)
    times = np.arange(1, looks + 1) / looks
    wrong = np.zeros(runs, dtype=bool)
    for look in range(looks):
        pair = (ProportionStats(batch * (look + 1), arm[look]) for arm in counts)
        wrong |= gs.compare(*pair, fractions=times[: look + 1], spending=spending).p_value < 0.05
    assert wrong.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_stopping_at_a_bound_has_the_error_spent_so_far_as_its_p_value():
    times = np.array([0.3, 0.55, 0.8, 1.0])
    bounds = gs.efficacy_bounds(times)
    for look in range(4):
        stopped = gs.at_stopping(*arms([bounds.critical[look], -bounds.critical[look]]), fractions=times[: look + 1])
        np.testing.assert_allclose(stopped.p_value, bounds.spent[look], rtol=1e-8)
    # At the last bound all is spent, so that the interval ends at 0.
    assert float(stopped.absolute.lower[0]) == pytest.approx(0, abs=1e-8)
    assert float(stopped.absolute.upper[1]) == pytest.approx(0, abs=1e-8)


def test_stopping_at_the_first_look_is_a_fixed_test():
    stopped = gs.at_stopping(*arms(2.5, 0.4), fractions=[0.5, 0.5])
    width = 0.4 * special.ndtri(0.975)
    found = [float(getattr(stopped.absolute, side)) for side in ("lower", "estimate", "upper")]
    np.testing.assert_allclose(found, [1 - width, 1, 1 + width], rtol=1e-9)
    assert float(stopped.p_value) == pytest.approx(2 * special.ndtr(-2.5), rel=1e-10)


def stop(times, critical, drift, runs, seed):
    """Simulate tests that stop at their bounds: the look (from 0) and z there."""
    rng = np.random.default_rng(seed)
    steps = np.diff(times, prepend=0)
    z = rng.normal(drift * steps, np.sqrt(steps), (runs, times.size)).cumsum(axis=1) / np.sqrt(times)
    crossed = np.abs(z) > critical
    look = np.where(crossed.any(axis=1), crossed.argmax(axis=1), times.size - 1)
    return look, z[np.arange(runs), look]


@pytest.mark.parametrize("drift", [0.0, 2.0, 3.5])
def test_estimate_at_stopping_is_median_unbiased_and_its_interval_covers(drift):
    times, runs = np.array([0.4, 0.7, 1.0]), 40_000
    critical = gs.efficacy_bounds(times, spending=gs.POCOCK).critical
    look, z = stop(times, critical, drift, runs, 8)
    found = np.empty((3, runs))
    for k in range(3):
        # Bounds are smooth in z: tabulate, then interpolate.
        grid = np.linspace(-9, 9, 181)
        stopped = gs.at_stopping(*arms(grid, 1 / np.sqrt(times[k])), fractions=times[: k + 1], spending=gs.POCOCK)
        here = look == k
        for row, side in enumerate((stopped.absolute.lower, stopped.absolute.estimate, stopped.absolute.upper)):
            found[row, here] = np.interp(z[here], grid, side)
    lower, estimate, upper = found
    assert (estimate > drift).mean() == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / runs))
    covered = ((lower < drift) & (drift < upper)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs))
    if drift:
        # The plain estimate is too large at stopping: its median is above the truth for a real effect.
        assert (z / np.sqrt(times[look]) > drift).mean() > 0.5 + 4 * np.sqrt(0.25 / runs)


@given(schedules, st.floats(-6, 6))
@settings(max_examples=25, deadline=None)
def test_inference_at_stopping_is_ordered_mirrored_and_agrees_with_its_p_value(times, z):
    stopped = gs.at_stopping(*arms([z, -z]), fractions=times)
    effect = stopped.absolute
    assert (effect.lower < effect.estimate).all()
    assert (effect.estimate < effect.upper).all()
    assert float(effect.estimate[0]) == pytest.approx(-float(effect.estimate[1]), abs=1e-7)
    assert float(effect.lower[0]) == pytest.approx(-float(effect.upper[1]), abs=1e-7)
    if abs(float(stopped.p_value[0]) / 0.05 - 1) > 1e-6:
        outside = float(effect.lower[0]) > 0 or float(effect.upper[0]) < 0
        assert outside == (float(stopped.p_value[0]) < 0.05)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"fractions": 0.5}, "fractions"),
        ({"fractions": [0.5, 0.4]}, "fractions"),
        ({"fractions": [[0.5], [0.5], [0.5]]}, "fractions"),
        ({"alpha": 1.0}, "alpha"),
    ],
)
@pytest.mark.parametrize("method", [gs.compare, gs.at_stopping])
def test_bad_arguments_are_refused_by_name(method, change, name):
    with pytest.raises(ValueError, match=name):
        method(*arms([1.0, 2.0]), **({"fractions": [0.5]} | change))


def test_margin_must_know_its_direction():
    with pytest.raises(ValueError, match="direction"):
        gs.non_inferiority(*arms(1.0), margin=Margin(1), fractions=[1.0], direction="up")


def test_a_single_look_of_small_arms_is_welchs_t_test():
    arms = MeanStats(6, 1.9, 4.0), MeanStats(8, 0.3, 9.0)
    once, staged = fixed.compare(*arms).cell(), gs.compare(*arms, fractions=[1.0]).cell()
    assert staged.p_value == pytest.approx(once.p_value, rel=1e-6)
    assert staged.absolute.lower == pytest.approx(once.absolute.lower, rel=1e-9)
    assert staged.absolute.upper == pytest.approx(once.absolute.upper, rel=1e-9)


def test_few_clusters_err_no_more_often_than_alpha():
    # Four villages per arm, three looks: with normal bounds .18 of A/A tests find something.
    rng, runs, looks = np.random.default_rng(3), 20_000, np.array([2, 3, 4])
    values = rng.normal(size=(2, runs, 4))
    wrong = np.zeros(runs, dtype=bool)
    for look, n in enumerate(looks, 1):
        arms = [MeanStats.of(arm[:, :n]) for arm in values]
        result = gs.compare(*arms, fractions=looks[:look] / 4)
        wrong |= result.p_value < 0.05
    assert wrong.mean() < 0.06


@pytest.mark.parametrize("fractions", [[0.0, 0.0], [1.0, 1.2]])
def test_a_test_does_not_stop_where_nothing_could_be_spent(fractions):
    arms = ProportionStats(1000, 100), ProportionStats(1000, 150)
    with pytest.raises(ValueError, match="fractions"):
        gs.at_stopping(*arms, fractions=fractions)
