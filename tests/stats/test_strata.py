"""Post-stratification: closed forms, regressions on indicators, coverage, small strata, refusals."""

import dataclasses

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from abplatform.stats import (
    EstimateStats,
    MeanStats,
    NotComputable,
    ProportionStats,
    RatioStats,
    adjust,
    bayes,
    effects,
    fixed,
    sequential,
)
from abplatform.stats.adjust.collapse import collapsed
from abplatform.stats.results import Caution
from abplatform.stats.sufficient.joint import JointStats


def slack(rate, runs):
    return 4 * np.sqrt(rate * (1 - rate) / runs)


def by_stratum(values, stratum, count, reduce=MeanStats):
    """Statistics by stratum, of one or several values per unit."""
    parts = [reduce.of(*(each[stratum == s] for each in values)) for s in range(count)]
    names = [field.name for field in dataclasses.fields(reduce)]
    return reduce(**{name: np.stack([getattr(part, name) for part in parts]) for name in names})


def experiment(seed, n=900, strata=4):
    rng = np.random.default_rng(seed)
    stratum, treated = rng.integers(0, strata, n), rng.random(n) < 0.4
    y = 3 + 2 * stratum + treated * (0.5 + 0.4 * stratum) + rng.normal(size=n) * (1 + treated)
    return y, stratum, treated


def test_estimates_and_variance_are_the_closed_form():
    n_t, n_c = np.array([30, 70]), np.array([50, 50])
    m_t, m_c, s2_t, s2_c = np.array([5.0, 9]), np.array([4.0, 7]), np.array([2.0, 3]), np.array([1.0, 4])
    adjusted = adjust.post_stratify(MeanStats(n_t, m_t, s2_t * (n_t - 1)), MeanStats(n_c, m_c, s2_c * (n_c - 1)))
    # Shares .4 and .6; Miratrix, Sekhon and Yu (2013) given the shares, and the sample of shares: effects 1 and 2.
    p = np.array([0.4, 0.6])
    assert float(adjusted.treatment.estimate) == pytest.approx(0.4 * 5 + 0.6 * 9)
    assert float(adjusted.control.estimate) == pytest.approx(0.4 * 4 + 0.6 * 7)
    noise = s2_t / n_t + s2_c / n_c
    given_shares, between = (p**2 * noise).sum(), (p * (np.array([1, 2]) - 1.6) ** 2).sum()
    # The means' own noise is part of what lies between the strata's effects: sum p (1 - p) noise, on average.
    expected = given_shares + (between - (p * (1 - p) * noise).sum()) / 200
    assert float(effects.difference(*adjusted).variance) == pytest.approx(expected, rel=1e-12)


def test_difference_equals_the_regression_on_indicators_with_interactions():
    # statsmodels OLS, indicators centred at the shares of both arms (Lin, 2013; Miratrix, Sekhon and Yu, 2013).
    y, stratum, treated = experiment(1)
    indicators = (stratum[:, None] == np.arange(1, 4)).astype(float)
    centred = indicators - indicators.mean(axis=0)
    design = sm.add_constant(np.column_stack([treated, centred, treated[:, None] * centred]))
    fit = sm.OLS(y, design).fit(cov_type="HC2")
    adjusted = adjust.post_stratify(*(by_stratum([y[r]], stratum[r], 4) for r in (treated, ~treated)))
    diff = effects.difference(*adjusted)
    assert float(diff.estimate) == pytest.approx(fit.params[1], rel=1e-10)
    assert float(adjusted.control.estimate) == pytest.approx(fit.params[0], rel=1e-10)
    # Within strata HC2 is s^2 / n exactly, so that it is the variance given the shares.
    effect = np.concatenate([[0], fit.params[-3:]])[stratum]
    p = np.bincount(stratum) / y.size
    noise = sum(
        y[(stratum == s) & r].var(ddof=1) / ((stratum == s) & r).sum() * p[s] * (1 - p[s])
        for s in range(4)
        for r in (treated, ~treated)
    )
    expected = fit.bse[1] ** 2 + (effect.var() - noise) / y.size
    assert float(diff.variance) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("theta", ["pooled", "per_arm"])
def test_agrees_with_cuped_on_the_indicators_of_the_strata(theta):
    y, stratum, treated = experiment(2, n=4000)
    indicators = (stratum[:, None] == np.arange(1, 4)).astype(float)
    strata = adjust.post_stratify(*(by_stratum([y[r]], stratum[r], 4) for r in (treated, ~treated)))
    cuped = adjust.cuped(*(JointStats.of(y[r], indicators[r]) for r in (treated, ~treated)), theta=theta)
    # The same estimator for slopes per arm; a pooled one weighs strata a little differently.
    got, expected = effects.difference(*strata), effects.difference(*cuped)
    assert float(got.estimate) == pytest.approx(float(expected.estimate), rel=1e-10 if theta == "per_arm" else 0.03)
    assert float(got.variance) == pytest.approx(float(expected.variance), rel=0.02)


def simulated(seed, runs, sizes, strata, heterogeneity=0.0):
    """Many experiments, strata on the last axis: drawn straight from the distribution of their statistics."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(strata, 3.0))
    base = np.linspace(0, 3, strata)
    effect = 0.3 + heterogeneity * (base - p @ base)
    arms = []
    for size, treated in zip(sizes, (1.0, 0.0), strict=True):
        n = rng.multinomial(size, p, size=runs)
        mean = rng.normal(5 + base + treated * effect, 1 / np.sqrt(np.maximum(n, 1)))
        m2 = np.where(n > 1, rng.chisquare(np.maximum(n - 1, 1)), 0.0)
        arms.append(MeanStats(n, np.where(n > 0, mean, 0.0), m2))
    return *arms, 5 + p @ base


@pytest.mark.parametrize(
    ("sizes", "strata", "heterogeneity"),
    [((200, 200), 4, 0.0), ((300, 100), 4, 1.0), ((100, 100), 20, 0.0), ((60, 60), 20, 0.5), ((20, 20), 10, 0.0)],
)
def test_interval_covers_95_percent_with_few_and_many_strata(sizes, strata, heterogeneity):
    runs = 5000
    *arms, base = simulated(3, runs, sizes, strata, heterogeneity)
    adjusted = adjust.post_stratify(*arms)
    result = fixed.compare(*adjusted)
    for interval, truth in ((result.absolute, 0.3), (result.relative, 0.3 / base)):
        assert ((interval.lower <= truth) & (truth <= interval.upper)).mean() == pytest.approx(
            0.95, abs=slack(0.05, runs)
        )
    assert adjusted.variance_ratio.mean() < 1


def test_variances_are_those_of_the_estimates_when_effects_differ():
    # Against the spread of 20,000 estimates: relative error of a variance sqrt(2 / runs).
    runs = 20_000
    *arms, _ = simulated(4, runs, (200, 100), 5, 0.5)
    diff = effects.difference(*adjust.post_stratify(*arms))
    spread, error = np.cov(diff.estimate, diff.control), 4 * np.sqrt(2 / runs)
    assert diff.variance.mean() == pytest.approx(spread[0, 0], rel=error)
    assert (diff.control_variance + diff.shared_variance).mean() == pytest.approx(spread[1, 1], rel=error)
    size = np.sqrt(spread[0, 0] * spread[1, 1])
    assert diff.control_variance.mean() == pytest.approx(-spread[0, 1], abs=error * size)


def test_rates_are_means_of_zeros_and_ones():
    n_t, k_t, n_c, k_c = np.array([40, 60]), np.array([4, 30]), np.array([70, 50]), np.array([6, 20])
    got = adjust.post_stratify(ProportionStats(n_t, k_t), ProportionStats(n_c, k_c))
    as_means = [MeanStats(n, k / n, k * (1 - k / n)) for n, k in ((n_t, k_t), (n_c, k_c))]
    expected = adjust.post_stratify(*as_means)
    for one, other in zip(got, expected, strict=True):
        assert float(one.estimate) == pytest.approx(float(other.estimate), rel=1e-12)
        assert float(one.variance) == pytest.approx(float(other.variance), rel=1e-12)


def ratio_data(rng, n, treated):
    stratum = rng.integers(0, 3, n)
    d = rng.poisson(2 + stratum) + 1.0
    return d * (2 + 0.2 * treated + stratum) + rng.normal(size=n), d, stratum


def test_ratio_is_of_averaged_totals_with_the_variance_of_linearised_means():
    # Independent: y - R d over mean d as an ordinary outcome, R and mean d from the averaged strata.
    rng = np.random.default_rng(5)
    data = [ratio_data(rng, 300, 1.0), ratio_data(rng, 500, 0.0)]
    count = sum(np.bincount(stratum) for *_, stratum in data)
    p = count / count.sum()
    linear = []
    for y, d, stratum in data:
        top, bottom = (sum(p[s] * v[stratum == s].mean() for s in range(3)) for v in (y, d))
        linear.append((top / bottom + (y - top / bottom * d) / bottom, stratum))
    got = adjust.post_stratify(*(by_stratum([y, d], stratum, 3, RatioStats) for y, d, stratum in data))
    expected = adjust.post_stratify(*(by_stratum([z], stratum, 3) for z, stratum in linear))
    for one, other in zip(got, expected, strict=True):
        assert float(one.estimate) == pytest.approx(float(other.estimate), rel=1e-12)
        assert float(one.variance) == pytest.approx(float(other.variance), rel=1e-9)
        assert float(one.shared_variance) == pytest.approx(float(other.shared_variance), rel=1e-9)


def test_adjusted_ratio_covers_95_percent():
    rng, runs = np.random.default_rng(6), 1000
    data = [ratio_data(rng, runs * 150, treated) for treated in (1.0, 0.0)]
    arms = []
    for y, d, stratum in data:
        cell = np.repeat(np.arange(runs), 150) * 3 + stratum
        n = np.bincount(cell, minlength=3 * runs)
        mean_y, mean_d = (np.bincount(cell, weights=v, minlength=3 * runs) / n for v in (y, d))
        off_y, off_d = y - mean_y[cell], d - mean_d[cell]
        moments = [
            np.bincount(cell, weights=a * b, minlength=3 * runs)
            for a, b in ((off_y, off_y), (off_d, off_d), (off_y, off_d))
        ]
        fields = [each.reshape(runs, 3) for each in (n, mean_y, mean_d, *moments)]
        arms.append(RatioStats(*fields[:3], m2_y=fields[3], m2_d=fields[4], c_yd=fields[5]))
    adjusted = adjust.post_stratify(*arms)
    result = fixed.compare(*adjusted).absolute
    assert ((result.lower <= 0.2) & (result.upper >= 0.2)).mean() == pytest.approx(0.95, abs=slack(0.05, runs))
    assert adjusted.variance_ratio.mean() < 0.5


counts = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8)


@given(counts)
def test_merging_small_strata_loses_nobody_and_leaves_two_units_in_every_stratum(sizes):
    n_t, n_c = np.array(sizes).T
    arms = [MeanStats(n, np.where(n > 0, np.arange(n.size), 0.0), n * 1.0) for n in (n_t, n_c)]
    merged = collapsed(*arms)
    for before, after in zip(arms, merged, strict=True):
        assert int(after.n.sum()) == int(before.n.sum())
        assert float((after.n * after.mean).sum()) == pytest.approx(float((before.n * before.mean).sum()))
    used = merged[0].n + merged[1].n > 0
    if min(n_t.sum(), n_c.sum()) >= 2:
        assert (np.minimum(merged[0].n, merged[1].n)[used] >= 2).all()
    else:
        assert used.sum() <= 1


def test_strata_are_small_by_what_is_expected_of_the_smaller_arm():
    # Of 1,000 units 100 are treated: 40 units promise 4 of them, 60 units 6, however many there happen to be.
    n_t, n_c = np.array([80, 9, 3, 8]), np.array([760, 31, 57, 52])
    merged = collapsed(MeanStats(n_t, 1.0, 0.0), MeanStats(n_c, 1.0, 0.0))
    assert merged[0].n.tolist() == [80, 0, 3, 8, 9]
    n_t, n_c = np.array([80, 1, 9, 10]), np.array([760, 99, 21, 20])
    merged = collapsed(MeanStats(n_t, 1.0, 0.0), MeanStats(n_c, 1.0, 0.0))
    assert merged[1].n.tolist() == [760, 0, 0, 0, 140]


@given(counts, st.integers(0, 100))
def test_an_answer_exists_wherever_the_plain_one_does(sizes, seed):
    rng = np.random.default_rng(seed)
    arms = [MeanStats(n, np.where(n > 0, rng.normal(size=n.size), 0.0), n * 1.0) for n in np.array(sizes).T]
    cell = fixed.compare(*adjust.post_stratify(*arms)).cell()
    plain = fixed.compare(*(MeanStats(a.n.sum(), 0, a.n.sum() * 1.0) for a in arms)).cell()
    assert cell.not_computable == plain.not_computable
    assert "STRATUM_DROPPED" not in cell.warnings


@given(counts, st.integers(0, 100))
def test_swapping_arms_flips_signs(sizes, seed):
    rng = np.random.default_rng(seed)
    arms = [MeanStats(n, np.where(n > 0, rng.normal(size=n.size), 0.0), n * 1.0) for n in np.array(sizes).T]
    there, back = (effects.difference(*adjust.post_stratify(*pair)) for pair in (arms, arms[::-1]))
    np.testing.assert_allclose(there.estimate, -back.estimate, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.variance, back.variance, rtol=1e-9, atol=1e-15)


def test_one_stratum_is_the_plain_comparison():
    arms = MeanStats([50], [3.0], [60.0]), MeanStats([70], [2.5], [80.0])
    expected = fixed.compare(*(MeanStats(a.n[0], a.mean[0], a.m2[0]) for a in arms)).cell()
    adjusted = adjust.post_stratify(*arms)
    cell = fixed.compare(*adjusted).cell()
    assert cell.p_value == pytest.approx(expected.p_value, rel=1e-12)
    assert cell.relative.upper == pytest.approx(expected.relative.upper, rel=1e-12)
    assert float(adjusted.variance_ratio) == pytest.approx(1, rel=1e-12)


def test_strata_lie_on_any_axis_and_cells_are_what_they_are_alone():
    rng = np.random.default_rng(7)
    n = rng.integers(0, 12, (3, 5, 2))
    treatment = MeanStats(n, np.where(n > 0, rng.normal(size=n.shape), 0), n * 1.5)
    control = MeanStats(30, np.arange(5.0)[:, None], 30.0)
    grid = adjust.post_stratify(treatment, control, axis=1)
    for metric, variant in np.ndindex(3, 2):
        cell = MeanStats(*(field[metric, :, variant] for field in (treatment.n, treatment.mean, treatment.m2)))
        alone = adjust.post_stratify(cell, MeanStats(30, np.arange(5.0), 30.0))
        for got, expected in zip(grid, alone, strict=True):
            assert float(got.estimate[metric, variant]) == pytest.approx(float(expected.estimate), rel=1e-10)
            assert float(got.variance[metric, variant]) == pytest.approx(float(expected.variance), rel=1e-10)


def test_cuped_within_strata_is_averaged_and_strata_without_variance_are_said_to_be_left_out():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(2, 3, 80))
    y = x + rng.normal(size=x.shape) * 0.5
    within = adjust.cuped(*(JointStats.of(y[arm], x[arm]) for arm in (0, 1)))
    adjusted = adjust.post_stratify(*within)
    p = 1 / 3
    assert float(adjusted.treatment.estimate) == pytest.approx(float(within.treatment.estimate.mean()))
    effect, noise = within.treatment.estimate - within.control.estimate, effects.difference(*within).variance
    expected = p**2 * noise.sum() + (effect.var() - p * (1 - p) * noise.sum()) / 480
    assert float(effects.difference(*adjusted).variance) == pytest.approx(float(expected), rel=1e-12)
    assert int(adjusted.control.cautions) == 0
    lost = EstimateStats([80, 80, 1], within.control.estimate, [*within.control.variance[:2], np.nan], freedom=79)
    rest = adjust.post_stratify(within.treatment, lost)
    assert float(rest.control.estimate) == pytest.approx(float(within.control.estimate[:2].mean()))
    assert int(rest.control.cautions) == Caution.STRATUM_DROPPED
    assert int(rest.control.n) == 160


def test_estimates_without_degrees_of_freedom_stay_normal():
    arm = EstimateStats([100, 200], [1.0, 2.0], [0.1, 0.2])
    assert adjust.post_stratify(arm, arm).treatment.freedom is None


def test_strata_that_explain_everything_leave_no_variance():
    n = np.array([20, 30, 50])
    arms = MeanStats(n, [0.3, 0.6, 1.2], 0.0), MeanStats(n[::-1], [0.1, 0.4, 1.0], 0.0)
    adjusted = adjust.post_stratify(*arms)
    cell = fixed.compare(*adjusted).cell()
    assert cell.not_computable == NotComputable.ZERO_VARIANCE
    assert cell.absolute.estimate == pytest.approx(0.2)


def test_ratio_without_denominators_says_so():
    arm = RatioStats([30, 30], 1.0, [1.0, -1.0], m2_y=30.0, m2_d=30.0, c_yd=0.0)
    assert fixed.compare(*adjust.post_stratify(arm, arm)).cell().not_computable == NotComputable.ZERO_DENOMINATOR


def test_adjusted_arms_go_into_every_method():
    *arms, _ = simulated(9, 3, (2000, 2000), 4)
    adjusted = adjust.post_stratify(*arms)
    ratio = np.sqrt(adjusted.variance_ratio)
    plain = [MeanStats(*_merged(arm)) for arm in arms]
    for compare in (
        fixed.compare,
        lambda *pair: sequential.compare(*pair, planned_units=4000),
        lambda *pair: bayes.compare(*pair, prior_scale=10.0),
    ):
        width = [result.absolute.upper - result.absolute.lower for result in (compare(*adjusted), compare(*plain))]
        np.testing.assert_allclose(width[0] / width[1], ratio, rtol=1e-3)


def _merged(arm):
    n = arm.n.sum(axis=-1)
    mean = (arm.n * arm.mean).sum(axis=-1) / n
    return n, mean, (arm.m2 + arm.n * (arm.mean - mean[:, None]) ** 2).sum(axis=-1)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: adjust.post_stratify(a, ProportionStats([3, 3], [1, 1])), "control must be MeanStats"),
        (lambda a: adjust.post_stratify(3, a), "treatment must be means"),
        (lambda a: adjust.post_stratify(JointStats.of([1.0, 2]), a), "treatment must be means"),
        (lambda a: adjust.post_stratify(a, a, axis=1), "axis"),
        (lambda a: adjust.post_stratify(a, a, axis=-2), "axis"),
        (lambda a: adjust.post_stratify(MeanStats(3, 1, 1), MeanStats(3, 1, 1)), "axis"),
        (lambda a: adjust.post_stratify(*2 * [MeanStats([], [], [])]), "axis must have at least one"),
        (lambda a: adjust.post_stratify(a, MeanStats([3] * 3, 0, 0)), "shapes do not broadcast: treatment"),
    ],
)
def test_arms_that_do_not_fit_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(MeanStats([3, 3], [1.0, 2.0], [1.0, 1.0]))
