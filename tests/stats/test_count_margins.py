"""Non-inferiority from four counts: exactness, inversion, calibration at the margin, power, extremes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from abplatform.stats import Margin, NotComputable, ProportionStats, sequential
from abplatform.stats.sequential.bets import BOLDEST, OCTAVE_WEIGHTS, OCTAVES

RARE = {"planned_units": 200_000, "share": 0.5, "direction": "decrease"}
directions = st.sampled_from(["increase", "decrease"])
base_rates = st.sampled_from([None, 0.001, 0.2, 0.97])
counts = st.tuples(st.integers(0, 3000), st.floats(0, 1)).map(lambda c: (c[0], int(c[0] * c[1] ** 3)))


def log_e(treatment, control, margin, **plan):
    return float(
        sequential.log_margin_e_value(ProportionStats(*treatment), ProportionStats(*control), margin=margin, **plan)
    )


def border_rates(rate, margin, direction):
    """Rates of treatment and control that differ by exactly the margin, the lower of the two being ``rate``."""
    size = float(margin.size)
    if direction == "decrease":
        return (rate * (1 + size) if margin.relative else rate + size), rate
    return rate, (rate / (1 - size) if margin.relative else rate + size)


@given(
    treatment=counts,
    control=counts,
    size=st.sampled_from([0.0, 0.001, 0.05, 0.3]),
    relative=st.booleans(),
    rate=st.floats(0, 0.6),
    share=st.sampled_from([0.1, 0.5, 0.9]),
    direction=directions,
    base_rate=base_rates,
)
def test_one_more_unit_leaves_the_mean_e_value_as_it_is_on_the_border(
    treatment, control, size, relative, rate, share, direction, base_rate
):
    # The martingale property by enumeration of the four things that the next unit can do, from any counts.
    margin = Margin(size, relative=relative)
    rates = border_rates(rate, margin, direction)
    plan = {"planned_units": 5000, "share": share, "direction": direction, "base_rate": base_rate}
    now = log_e(treatment, control, margin, **plan)
    mean = 0.0
    for hit, (arm, chance) in itertools.product((0, 1), enumerate((share, 1 - share))):
        arms = [list(treatment), list(control)]
        arms[arm] = [arms[arm][0] + 1, arms[arm][1] + hit]
        weight = chance * (rates[arm] if hit else 1 - rates[arm])
        mean += weight * math.exp(log_e(*arms, margin, **plan) - now)
    assert mean == pytest.approx(1.0, abs=1e-9)


@given(
    size=st.sampled_from([0.0, 0.02, 0.3]),
    relative=st.booleans(),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    direction=directions,
    base_rate=base_rates,
)
def test_inside_of_the_null_hypothesis_the_mean_e_value_only_falls(size, relative, rates, direction, base_rate):
    # Rates may drift from unit to unit as long as each pair is worse by the margin: one step from the start is enough.
    margin = Margin(size, relative=relative)
    lower, other = sorted(rates)
    treatment, control = border_rates(lower, margin, direction)
    worse = (max(treatment, other), control) if direction == "decrease" else (treatment, max(control, other))
    if max(worse) > 1:
        return
    plan = {"planned_units": 50, "share": 0.3, "direction": direction, "base_rate": base_rate}
    mean = 0.0
    for hit, (arm, chance) in itertools.product((0, 1), enumerate((0.3, 0.7))):
        arms = [(0, 0), (0, 0)]
        arms[arm] = (1, hit)
        mean += chance * (worse[arm] if hit else 1 - worse[arm]) * math.exp(log_e(*arms, margin, **plan))
    assert mean <= 1 + 1e-12


def plain_log_wealth(arms, x, planned, *, relative, direction, share, planned_units, base_rate, alpha=0.05):
    """Independent: the payoffs of the docstring, one component after another, against the border ``x``.

    ``planned`` is the border that the plan wants to exclude, above no difference.
    """
    first, second = arms if direction == "decrease" else arms[::-1]
    w = share if direction == "decrease" else 1 - share
    lift, unknown_rates = 1 - 1 / planned if relative else planned, ((0.5, 0.0), (0.25, 0.5), (0.25, 1.0))
    parts = first[1], first[0] - first[1], second[1], second[0] - second[1]

    def changes(stake, border):
        rate, scale = (centre * border, border) if relative else (centre + border, 1)
        risk, other = stake / (scale * w), stake / (1 - w)
        return -risk * (1 - rate), risk * rate, other * (1 - centre), -other * centre

    logs = []
    for weight, rate in unknown_rates if base_rate is None else ((1.0, base_rate),):
        centre = rate / planned if relative else max(rate - planned, 0)
        if base_rate is not None:
            tuned = (lift if relative else lift / rate) * w * (1 - w) / (1 - rate)
            centre = rate if direction == "decrease" else centre
        elif relative and rate == 0:
            tuned = lift * w * (1 - w)
        else:
            tuned = -3.6 * math.log(alpha) / planned_units / (lift * rate if relative else lift)
        worst = -min(changes(1.0, planned))
        for octave, part in zip(OCTAVES, OCTAVE_WEIGHTS, strict=True):
            steps = changes(1 / (2.0**-octave / tuned + worst / BOLDEST), x)
            if min(steps) > -1:
                gained = sum(n * math.log1p(step) for n, step in zip(parts, steps, strict=True))
                logs.append(math.log(weight * part) + gained)
    return special.logsumexp(logs) if logs else -math.inf


def plain_bound(arms, size, *, span, relative, direction="decrease", **plan):
    """The same by Brent's method: where the wealth falls to ``1 / alpha``, between two borders."""
    planned = size
    if relative:
        planned = 1 + size if direction == "decrease" else 1 / (1 - size)

    def beyond(x):
        log = plain_log_wealth(arms, x, planned, relative=relative, direction=direction, **plan)
        return max(log, -1e6) + math.log(0.05)

    root = optimize.brentq(beyond, *span, xtol=1e-14)
    if relative:
        return (root if direction == "decrease" else 1 / root) - 1
    return root if direction == "decrease" else -root


@pytest.mark.parametrize(("relative", "size"), [(False, 0.001), (True, 0.5)])
@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize("base_rate", [0.001, None])
def test_e_value_and_bound_equal_a_plain_mixture_of_products(relative, size, direction, base_rate):
    arms = (30_000, 28), (20_000, 22)
    plan = {"planned_units": 50_000, "share": 0.6, "base_rate": base_rate, "direction": direction}
    margin = Margin(size, relative=relative)
    planned = size
    if relative:
        planned = 1 + size if direction == "decrease" else 1 / (1 - size)
    got = sequential.count_non_inferiority(*(ProportionStats(*arm) for arm in arms), margin=margin, **plan)
    expected = plain_log_wealth(arms, planned, planned, relative=relative, **plan)
    assert log_e(*arms, margin, **plan) == pytest.approx(expected, abs=1e-9)
    assert float(got.p_value) == pytest.approx(min(1, math.exp(-expected)))
    span = (planned / 4, 4 * planned) if relative else (0, 4 * planned)
    assert float(got.bound) == pytest.approx(plain_bound(arms, size, span=span, relative=relative, **plan), rel=1e-6)


@given(
    treatment=counts,
    control=counts,
    size=st.sampled_from([0.0, 0.001, 0.05, 0.3]),
    relative=st.booleans(),
    direction=directions,
    base_rate=base_rates,
)
def test_bound_excludes_the_limit_exactly_when_p_is_below_alpha(
    treatment, control, size, relative, direction, base_rate
):
    got = sequential.count_non_inferiority(
        ProportionStats(*treatment),
        ProportionStats(*control),
        margin=Margin(size, relative=relative),
        share=0.4,
        planned_units=3000,
        direction=direction,
        base_rate=base_rate,
    )
    if min(treatment[0], control[0]) == 0:
        assert got.not_computable.item() == NotComputable.NO_UNITS
        assert np.isnan(got.p_value)
        assert not got.non_inferior
    elif abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        safe = got.bound < got.limit if direction == "decrease" else got.bound > got.limit
        assert bool(safe) == bool(got.p_value < 0.05) == bool(got.non_inferior)


@given(treatment=counts, control=counts, direction=directions, base_rate=base_rates, relative=st.booleans())
def test_bounds_widen_as_alpha_falls(treatment, control, direction, base_rate, relative):
    # The bets are tuned to alpha only where there is no base rate, so take one where they must be the same.
    if base_rate is None or min(treatment[0], control[0]) == 0:
        return
    arms = ProportionStats(*treatment), ProportionStats(*control)
    plan = {"margin": Margin(0.05, relative=relative), "share": 0.5, "planned_units": 3000, "base_rate": base_rate}
    bound = sequential.count_non_inferiority(*arms, alpha=[0.2, 0.05, 0.001], direction=direction, **plan).bound
    steps = np.diff(np.nan_to_num(bound, nan=1e9 if direction == "decrease" else -1e9))
    # Bounds at a step of the e-value are equal but for rounding.
    assert ((steps >= -1e-9) if direction == "decrease" else (steps <= 1e-9)).all()


@given(
    treatment=counts,
    control=counts,
    size=st.sampled_from([0.001, 0.05]),
    base_rate=st.floats(0.06, 0.9),
    relative=st.just(False),
)
def test_fewer_successes_is_more_failures(treatment, control, size, base_rate, relative):
    # An absolute margin on a fall of successes is the same margin on a rise of failures.
    plan = {"share": 0.3, "planned_units": 3000}
    successes = log_e(treatment, control, Margin(size), direction="increase", base_rate=base_rate, **plan)
    failures = [(n, n - k) for n, k in (treatment, control)]
    other = log_e(*failures, Margin(size), direction="decrease", base_rate=1 - base_rate, **plan)
    assert other == pytest.approx(successes, rel=1e-9, abs=1e-9)


@given(treatment=counts, control=counts, share=st.sampled_from([0.1, 0.5, 0.9]), direction=directions)
def test_without_a_margin_it_agrees_with_harm_alarms(treatment, control, share, direction):
    plan = {"share": share, "planned_units": 3000, "direction": direction}
    absolute, relative = (log_e(treatment, control, Margin(0.0, relative=kind), **plan) for kind in (False, True))
    assert absolute == pytest.approx(relative, abs=1e-9)
    good, bad = (treatment[1], control[1]) if direction == "increase" else (control[1], treatment[1])
    first_share = share if direction == "increase" else 1 - share
    better = math.exp(min(-absolute, 0.0))
    worse = float(sequential.harm_p_value(bad, good, share=1 - first_share))
    # Both look at the share of converted units: one side of it, or the other.
    assert max(better, worse) == 1.0
    alike = float(sequential.harm_p_value(good, bad, share=first_share))
    if alike < 1e-4:
        assert better < 0.05
    if better < 1e-4:
        assert alike < 0.05


def rare_event_paths(rates, share, events, runs, seed):
    """Counts just before and just after every event: the looks at which evidence against harm can peak."""
    rng = np.random.default_rng(seed)
    treatment, control = rates
    chance = share * treatment + (1 - share) * control
    quiet = rng.geometric(chance, size=(runs, events)) - 1
    quiet_treated = rng.binomial(quiet, share * (1 - treatment) / (1 - chance)).cumsum(axis=1)
    quiet = quiet.cumsum(axis=1)
    hits = (rng.random((runs, events)) < share * treatment / chance).cumsum(axis=1)
    before = np.concatenate([np.zeros((runs, 1), dtype=int), hits[:, :-1]], axis=1)
    at = np.arange(1, events + 1)
    looks = []
    for hit, total in ((before, at - 1), (hits, at)):
        looks.append(
            (
                ProportionStats(quiet_treated + hit, hit),
                ProportionStats(quiet - quiet_treated + total - hit, total - hit),
            )
        )
    return looks


@pytest.mark.parametrize("share", [0.5, 0.9, 0.1])
@pytest.mark.parametrize("base_rate", [None, 0.001])
@pytest.mark.parametrize(("margin", "harm"), [(Margin(0.001), 0.002), (Margin(0.5, relative=True), 0.0015)])
def test_harm_of_exactly_the_margin_is_declared_safe_in_at_most_alpha_of_experiments(share, base_rate, margin, harm):
    # Complaints at 0.1%, looks before and after each of 150 events from the first on, no guard. Ville: at most .05.
    runs = 600
    plan = {"planned_units": 60_000, "share": share, "direction": "decrease", "base_rate": base_rate}
    wrong = np.zeros(runs, dtype=bool)
    for arms in rare_event_paths((harm, 0.001), share, 150, runs, seed=20261125):
        wrong |= (sequential.log_margin_e_value(*arms, margin=margin, **plan) > -np.log(0.05)).any(axis=1)
    assert wrong.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    # Not by silence.
    assert wrong.any()


@pytest.mark.parametrize(("rate", "size", "relative"), [(0.001, 0.0005, False), (0.3, 0.03, False), (0.1, 0.1, True)])
def test_power_at_the_size_planned_for_a_sequence_is_that_of_a_sequence(rate, size, relative):
    # Fixed, one-sided at 5%, for 80%: (1.645 + .842)^2 = 6.18 units of V / m^2; 1.75 times that for watching.
    runs, looks = 1600, 100
    gap = size * rate if relative else size
    n = 1.75 * 6.18 * rate * (1 - rate) * (2 + 2 * (1 + size) ** 2 if relative else 4) / gap**2
    rng = np.random.default_rng(5)
    units = rng.binomial(int(n / looks), 0.5, size=(runs, looks))
    others = int(n / looks) - units
    arms = [ProportionStats(some.cumsum(axis=1), rng.binomial(some, rate).cumsum(axis=1)) for some in (units, others)]
    plan = {"margin": Margin(size, relative=relative), "planned_units": n, "direction": "decrease"}

    def found(base_rate):
        log_e_values = sequential.log_margin_e_value(*arms, share=0.5, base_rate=base_rate, **plan)
        return (log_e_values > -np.log(0.05)).any(axis=1)

    asymptotic = (sequential.non_inferiority(*arms, **plan).p_value < 0.05).any(axis=1)
    planned, unplanned = found(rate), found(None)
    assert planned.mean() == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / runs))
    # On the same paths.
    gain = planned.astype(float) - asymptotic
    assert gain.mean() > -4 * gain.std() / math.sqrt(runs)
    # The price of not knowing the base rate.
    assert 0.55 < unplanned.mean() < planned.mean()


def test_no_events_prove_an_absolute_margin_in_time_and_say_nothing_about_a_relative_one():
    arms = ProportionStats([1000, 20_000], 0), ProportionStats([1000, 20_000], 0)
    absolute = sequential.count_non_inferiority(*arms, margin=Margin(0.001), **RARE)
    assert absolute.non_inferior.tolist() == [False, True]
    # At least the 3 / n that an arm alone would need at a single look (Hanley and Lippman-Hand, 1983).
    assert (absolute.bound > 3 / np.array([1000, 20_000])).all()
    relative = sequential.count_non_inferiority(*arms, margin=Margin(0.5, relative=True), **RARE)
    assert relative.p_value.tolist() == [1.0, 1.0]
    assert np.isnan(relative.bound).all()
    assert relative.not_computable.tolist() == [None, None]


def test_sixty_complaints_against_none_are_never_safe_and_an_alarm():
    calm, loud = ProportionStats(30_000, 0), ProportionStats(30_000, 60)
    for margin in (Margin(0.0), Margin(0.001), Margin(0.5, relative=True)):
        harmed = sequential.count_non_inferiority(loud, calm, margin=margin, **RARE)
        assert float(harmed.p_value) == 1.0
        assert not harmed.non_inferior
        assert sequential.count_non_inferiority(calm, loud, margin=margin, **RARE).non_inferior
    assert float(sequential.harm_p_value(60, 0, share=0.5)) < 1e-15
    assert float(sequential.harm_p_value(0, 60, share=0.5)) == 1.0


def test_a_billion_units_neither_overflow_nor_lose_the_bound():
    arm = ProportionStats(10**9, 10**6)
    se = math.sqrt(2 * 0.001 * 0.999 / 1e9)
    plan = RARE | {"planned_units": 2 * 10**9}
    for base_rate in (None, 0.001):
        for relative, unit in ((False, se), (True, 1000 * se)):
            got = sequential.count_non_inferiority(
                arm, arm, margin=Margin(5 * unit, relative=relative), base_rate=base_rate, **plan
            )
            span = (relative + unit, relative + 5 * unit)
            expected = plain_bound(
                [(10**9, 10**6)] * 2, 5 * unit, span=span, relative=relative, base_rate=base_rate, **plan
            )
            assert float(got.bound) == pytest.approx(expected, rel=1e-6)
    sure = sequential.count_non_inferiority(
        ProportionStats(10**9, 0), ProportionStats(10**9, 10**9), margin=Margin(0.1), **RARE
    )
    assert float(sure.p_value) == 0.0
    assert float(sure.bound) < -0.9


def test_exactness_costs_less_than_two_percent_of_the_bound_at_the_planned_size():
    arms = ProportionStats(40_000, 4_020), ProportionStats(40_000, 4_000)
    plan = {"margin": Margin(0.008), "planned_units": 80_000, "direction": "decrease"}
    exact = sequential.count_non_inferiority(*arms, share=0.5, base_rate=0.1, **plan)
    normal = sequential.non_inferiority(*arms, **plan)
    assert float(normal.bound) < float(exact.bound) < 1.02 * float(normal.bound)


def test_grids_are_cell_by_cell():
    rng = np.random.default_rng(8)
    n = rng.integers(1, 5000, size=(3, 4))
    arms = [ProportionStats(n, rng.binomial(n, 0.1)) for _ in range(2)]
    size, share, planned = np.array([0.01, 0.05, 0.2])[:, None], np.array([0.2, 0.5, 0.6, 0.9]), np.array(4000.0)
    base = np.array([[0.1], [0.2], [0.3]])
    for relative, rate in itertools.product((False, True), (None, base)):
        margin = Margin(size, relative=relative)
        grid = sequential.count_non_inferiority(
            *arms, margin=margin, share=share, planned_units=planned, base_rate=rate, direction="increase"
        )
        assert grid.bound.shape == grid.p_value.shape == grid.limit.shape == grid.not_computable.shape == (3, 4)
        for i, j in itertools.product(range(3), range(4)):
            cell = sequential.count_non_inferiority(
                *(ProportionStats(arm.n[i, j], arm.successes[i, j]) for arm in arms),
                margin=Margin(size[i, 0], relative=relative),
                share=share[j],
                planned_units=4000,
                base_rate=None if rate is None else rate[i, 0],
                direction="increase",
            )
            np.testing.assert_allclose(grid.p_value[i, j], cell.p_value, rtol=1e-10)
            np.testing.assert_allclose(grid.bound[i, j], cell.bound, rtol=1e-8)


@given(treatment=counts, control=counts, relative=st.booleans(), direction=directions)
def test_p_is_the_reciprocal_of_the_e_value(treatment, control, relative, direction):
    plan = {"share": 0.5, "planned_units": 2000, "direction": direction}
    margin = Margin(0.1, relative=relative)
    if min(treatment[0], control[0]) > 0:
        arms = ProportionStats(*treatment), ProportionStats(*control)
        p_value = float(sequential.count_non_inferiority(*arms, margin=margin, **plan).p_value)
        assert p_value == pytest.approx(min(1.0, math.exp(-log_e(treatment, control, margin, **plan))))


def test_running_bounds_never_widen_and_cover():
    # Simultaneous coverage of the running bound at the truth, 200 looks, unequal shares, rates that drift together.
    rng = np.random.default_rng(2)
    runs, looks, share = 300, 200, 0.3
    control = 0.05 + 0.03 * np.sin(np.arange(looks) / 10)
    units = rng.binomial(100, share, size=(runs, looks))
    arms = [
        ProportionStats(some.cumsum(axis=1), rng.binomial(some, rate).cumsum(axis=1))
        for some, rate in ((units, control + 0.01), (100 - units, control))
    ]
    got = sequential.count_non_inferiority(
        *arms, margin=Margin(0.02), share=share, planned_units=20_000, direction="decrease", base_rate=0.05
    )
    low, high = sequential.running_intersection(np.full(got.bound.shape, -1.0), got.bound)
    assert (np.diff(high, axis=1)[:, 1:] <= 0).all()
    missed = (high[:, -1] < 0.01).mean()
    assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert (low == -1).all()


def test_the_mean_of_the_e_values_of_several_guardrails_on_the_same_units_is_an_e_value():
    # Three guardrails, each worse by exactly its margin, dependent through one score per unit.
    rng = np.random.default_rng(14)
    runs, looks, batch = 400, 60, 40
    treated = rng.random((runs, looks, batch)) < 0.5
    score = rng.random((runs, looks, batch))
    rates, margins = np.array([0.02, 0.1, 0.3]), np.array([0.03, 0.04, 0.08])
    hit = score[None] < rates[:, None, None, None] + margins[:, None, None, None] * treated
    arms = [ProportionStats(arm.sum(-1).cumsum(-1), (hit & arm).sum(-1).cumsum(-1)) for arm in (treated, ~treated)]
    log = sequential.log_margin_e_value(
        *arms,
        margin=Margin(margins[:, None, None]),
        share=0.5,
        planned_units=looks * batch,
        direction="decrease",
        base_rate=rates[:, None, None],
    )
    slack = 3 * math.sqrt(0.05 * 0.95 / runs)
    together = np.exp(log).mean(axis=0)
    assert (together.max(axis=-1) >= 20).mean() <= 0.05 + slack
    # And by Bonferroni, over all looks of all three.
    assert (log.max(axis=-1) >= np.log(3 / 0.05)).any(axis=0).mean() <= 0.05 + slack
    assert (log.max(axis=-1) >= np.log(20)).any()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"share": 0.0}, "share"),
        ({"share": [0.5, np.nan]}, "share"),
        ({"planned_units": 0}, "planned_units"),
        ({"alpha": 0.5}, "alpha"),
        ({"direction": "up"}, "direction"),
        ({"base_rate": 0.0}, "base_rate"),
        ({"base_rate": 1.0}, "base_rate"),
        ({"margin": Margin(1.0, relative=True)}, "margin"),
        ({"margin": Margin([0.1, 0.2]), "share": [0.1, 0.2, 0.3]}, "share"),
    ],
)
def test_impossible_arguments_are_refused_by_name(change, name):
    plan = {"margin": Margin(0.01), "share": 0.5, "planned_units": 100, "direction": "increase"} | change
    for function in (sequential.count_non_inferiority, sequential.log_margin_e_value):
        with pytest.raises(ValueError, match=name):
            function(ProportionStats(5, 1), ProportionStats(5, 2), **plan)


def test_a_margin_of_everything_and_degenerate_arms_have_answers():
    for treatment, control in (((1, 0), (1, 0)), ((1, 1), (1, 1)), ((500, 500), (500, 500)), ((3, 0), (9000, 9000))):
        for margin in (Margin(0.0), Margin(1.0), Margin(1.7), Margin(3.0, relative=True)):
            got = sequential.count_non_inferiority(
                ProportionStats(*treatment),
                ProportionStats(*control),
                margin=margin,
                share=0.5,
                planned_units=50,
                direction="decrease",
            )
            assert 0 <= float(got.p_value) <= 1
            assert got.not_computable.item() is None


def test_the_reference_simulation_is_the_sampling_scheme():
    # The paths above: shares of units and events against their expectations, within 4 standard errors.
    (_, _), (treatment, control) = rare_event_paths((0.02, 0.01), 0.3, 400, 200, seed=1)
    units = treatment.n[:, -1].sum() + control.n[:, -1].sum()
    assert treatment.n[:, -1].sum() / units == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / units))
    for arm, rate in ((treatment, 0.02), (control, 0.01)):
        total = arm.n[:, -1].sum()
        assert arm.successes[:, -1].sum() / total == pytest.approx(rate, abs=4 * math.sqrt(rate / total))
    assert stats.binom.cdf(0, 1, 0.02) == pytest.approx(0.98)
