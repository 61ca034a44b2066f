"""Interaction of two experiments against regression with interaction terms, closed forms and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from abplatform.stats import Caution, EstimateStats, MeanStats, NotComputable, ProportionStats, QuantileStats, fixed
from abplatform.stats.interaction import CrossedArms, check_interaction, scan_interactions
from abplatform.stats.sufficient.capped import CappedStats

mean = st.tuples(st.integers(2, 500), st.floats(0.5, 100), st.floats(0.01, 1e3)).map(
    lambda c: MeanStats(c[0], c[1], c[2] * c[0])
)
tables = st.tuples(mean, mean, mean, mean).map(lambda arms: CrossedArms(*arms))


def raw_groups(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.gamma(shape, 2, size) for shape, size in ((2, 60), (2.2, 45), (2.5, 70), (4, 50))]


def test_absolute_interaction_is_the_coefficient_of_a_regression():
    groups = raw_groups()
    first, second = np.repeat([0, 1, 0, 1], [len(g) for g in groups]), np.repeat([0, 0, 1, 1], [len(g) for g in groups])
    design = np.column_stack([np.ones(first.size), first, second, first * second])
    # HC2 of a saturated model is the sum of the groups' own variances.
    fit = OLS(np.concatenate(groups), design).fit(cov_type="HC2")
    got = check_interaction(CrossedArms(*(MeanStats.of(group) for group in groups)))
    assert float(got.absolute.estimate) == pytest.approx(fit.params[3], rel=1e-9)
    variances = np.array([group.var(ddof=1) / group.size for group in groups])
    assert fit.bse[3] ** 2 == pytest.approx(variances.sum(), rel=1e-9)
    freedom = variances.sum() ** 2 / (variances**2 / [group.size - 1 for group in groups]).sum()
    t = fit.params[3] / fit.bse[3]
    assert float(got.p_value) == pytest.approx(2 * reference.t.sf(abs(t), freedom), rel=1e-9)
    half = reference.t.isf(0.025, freedom) * fit.bse[3]
    assert float(got.absolute.upper) == pytest.approx(fit.params[3] + half, rel=1e-9)


def test_relative_interaction_of_rates_is_woolfs_formula_for_ratios():
    # Log ratio of ratios: variance is the sum of (1 - p) / x over the four groups.
    hits, n = np.array([100, 130, 120, 190]), 1000
    got = check_interaction(CrossedArms(*(ProportionStats(n, x) for x in hits)), alpha=0.1)
    log = np.log(hits) @ [1, -1, -1, 1]
    se = np.sqrt(((1 - hits / n) / hits).sum())
    half = reference.norm.isf(0.05) * se
    np.testing.assert_allclose(
        [got.relative.estimate, got.relative.lower, got.relative.upper],
        np.expm1([log, log - half, log + half]),
        rtol=1e-10,
    )
    assert float(got.relative_p_value) == pytest.approx(2 * reference.norm.sf(abs(log) / se), rel=1e-10)


def test_scales_disagree_where_effects_multiply():
    # 10% to 12%, to 15% and to 18%: lifts multiply exactly, differences do not add.
    hits = (1_000_000, 1_200_000, 1_500_000, 1_800_000)
    got = check_interaction(CrossedArms(*(ProportionStats(10_000_000, x) for x in hits)))
    assert float(got.relative.estimate) == pytest.approx(0, abs=1e-12)
    assert float(got.relative_p_value) == pytest.approx(1)
    assert float(got.p_value) < 1e-100


@settings(max_examples=60)
@given(tables, st.sampled_from([0.001, 0.05, 0.3]))
def test_intervals_exclude_zero_exactly_when_p_is_below_alpha(arms, alpha):
    got = check_interaction(arms, alpha=alpha)
    for interval, p_value in ((got.absolute, got.p_value), (got.relative, got.relative_p_value)):
        p = float(p_value)
        if np.isfinite([p, interval.upper]).all() and abs(p / alpha - 1) > 1e-9:
            assert bool((interval.lower > 0) | (interval.upper < 0)) == (p < alpha)


@settings(max_examples=60)
@given(tables)
def test_which_experiment_comes_first_does_not_matter_and_swapping_variants_flips_the_sign(arms):
    got = check_interaction(arms)
    turned = check_interaction(CrossedArms(arms.neither, arms.second_only, arms.first_only, arms.both))
    assert float(turned.p_value) == pytest.approx(float(got.p_value), rel=1e-9)
    flipped = check_interaction(CrossedArms(arms.first_only, arms.neither, arms.both, arms.second_only))
    assert float(flipped.absolute.estimate) == pytest.approx(-float(got.absolute.estimate), rel=1e-9, abs=1e-9)
    assert float(flipped.relative.estimate) == pytest.approx(
        1 / (1 + float(got.relative.estimate)) - 1, rel=1e-6, abs=1e-9
    )
    assert float(flipped.relative_p_value) == pytest.approx(float(got.relative_p_value), rel=1e-6)


@settings(max_examples=40)
@given(tables, st.floats(1e-3, 1e3))
def test_rescaling_a_metric_leaves_p_unchanged(arms, factor):
    scaled = CrossedArms(*(MeanStats(arm.n, arm.mean * factor, arm.m2 * factor**2) for arm in arms))
    got, other = check_interaction(arms), check_interaction(scaled)
    assert float(other.p_value) == pytest.approx(float(got.p_value), rel=1e-7, abs=1e-300)
    assert float(other.relative.estimate) == pytest.approx(float(got.relative.estimate), rel=1e-7, abs=1e-9)


def test_interaction_is_the_difference_of_two_effects():
    arms = CrossedArms(*(MeanStats.of(group) for group in raw_groups(3)))
    with_b = fixed.compare(arms.both, arms.second_only).absolute.estimate
    without = fixed.compare(arms.first_only, arms.neither).absolute.estimate
    assert float(check_interaction(arms).absolute.estimate) == pytest.approx(float(with_b - without))


def simulated(rng, runs, n, means):
    return CrossedArms(
        *(MeanStats(n, rng.normal(mu, 2 / np.sqrt(n), runs), 4 * rng.chisquare(n - 1, runs)) for mu in means)
    )


def test_no_interaction_is_found_in_five_of_a_hundred_on_either_scale():
    runs, slack = 20_000, 4 * np.sqrt(0.05 * 0.95 / 20_000)
    adding = check_interaction(simulated(np.random.default_rng(1), runs, 200, (10, 11, 12, 13)))
    assert (adding.p_value < 0.05).mean() == pytest.approx(0.05, abs=slack)
    multiplying = check_interaction(simulated(np.random.default_rng(2), runs, 200, (10, 11, 12, 13.2)))
    assert (multiplying.relative_p_value < 0.05).mean() == pytest.approx(0.05, abs=slack)


def test_shared_variance_cancels_in_differences_and_weighs_on_ratios():
    # Four estimates with a common part of variance 0.04: d log(m) / dm = 1 / m, so it enters as (sum of +-1/m)^2.
    means = np.array([2.0, 3.0, 4.0, 8.0])
    arms = CrossedArms(*(EstimateStats(100, mu, 0.01, shared_variance=0.04) for mu in means))
    got = check_interaction(arms)
    assert float(got.absolute.upper - got.absolute.estimate) == pytest.approx(1.959963984540054 * 0.2, rel=1e-9)
    se = np.sqrt((0.01 / means**2).sum() + 0.04 * ((1 / means) @ [1, -1, -1, 1]) ** 2)
    half = np.log1p(float(got.relative.upper)) - np.log1p(float(got.relative.estimate))
    assert half == pytest.approx(1.959963984540054 * se, rel=1e-9)


def test_degenerate_cells_carry_a_reason():
    first = MeanStats([0, 1, 9, 9, 9], [0, 2, 2, -2, 0], [0, 0, 0, 5, 5])
    rest = MeanStats(9, 1.0, [5, 5, 0, 5, 5])
    got = check_interaction(CrossedArms(first, rest, rest, rest))
    reasons = [NotComputable.NO_UNITS, NotComputable.ONE_UNIT, NotComputable.ZERO_VARIANCE]
    assert got.not_computable.tolist() == [*reasons, None, None]
    assert got.relative_not_computable.tolist() == [*reasons, NotComputable.MIXED_SIGNS, NotComputable.MIXED_SIGNS]
    assert np.isnan(got.p_value[:3]).all()
    assert np.isnan(got.relative_p_value).all()
    assert np.isnan(got.absolute.estimate[:3]).all()
    huge = MeanStats(9, 1e100, 1e220)
    assert check_interaction(CrossedArms(huge, huge, huge, huge)).not_computable.item() == NotComputable.OVERFLOW


def test_losses_have_ratios_too():
    gains = CrossedArms(*(MeanStats(100, mu, 90.0) for mu in (10, 11, 12, 15)))
    losses = CrossedArms(*(MeanStats(100, -mu, 90.0) for mu in (10, 11, 12, 15)))
    assert float(check_interaction(losses).relative.estimate) == pytest.approx(
        float(check_interaction(gains).relative.estimate)
    )


def test_scan_adjusts_over_the_pairs_and_counts_those_that_fail():
    rng = np.random.default_rng(5)
    n = np.full((2, 6), 400)
    n[0, 5] = 0
    groups = [
        MeanStats(n, np.where(n > 0, rng.normal(10 + shift, 0.1, (2, 6)), 0), np.where(n > 0, 1600, 0))
        for shift in (0, 0, 0, 0.6)
    ]
    scan = scan_interactions(CrossedArms(*groups), alpha=0.1)
    for row, adjusted in zip(scan.interaction.p_value, scan.adjusted_p_value, strict=True):
        expected = multipletests(np.nan_to_num(row, nan=1.0), method="fdr_bh")[1]
        np.testing.assert_allclose(adjusted[~np.isnan(row)], expected[~np.isnan(row)])
    assert np.isnan(scan.adjusted_p_value[0, 5])
    np.testing.assert_array_equal(scan.found, scan.adjusted_p_value < 0.1)
    assert scan.found.any()


def test_one_grid_answers_like_its_cells():
    arms = CrossedArms(
        ProportionStats([[500], [400]], [[50], [60]]),
        ProportionStats([500, 600], [55, 70]),
        ProportionStats(450, 60),
        ProportionStats(480, 90),
    )
    grid = check_interaction(arms)
    assert grid.p_value.shape == (2, 2)
    single = check_interaction(
        CrossedArms(
            ProportionStats(400, 60), ProportionStats(500, 55), ProportionStats(450, 60), ProportionStats(480, 90)
        )
    )
    assert float(grid.p_value[1, 0]) == float(single.p_value)
    assert float(grid.relative.upper[1, 0]) == float(single.relative.upper)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: check_interaction(CrossedArms(a, a, a, MeanStats(2, 0, 1))), "arms"),
        (
            lambda a: check_interaction(CrossedArms(a, a, ProportionStats([5, 5], 1), ProportionStats([5] * 3, 1))),
            "arms",
        ),
        (lambda a: check_interaction(CrossedArms(1.0, 1.0, 1.0, 1.0)), "arms"),
        (lambda a: check_interaction(CrossedArms(a, a, a, a), alpha=1), "alpha"),
        (lambda a: check_interaction(CrossedArms(*[ProportionStats([9, 9], 3)] * 4), alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda a: scan_interactions(CrossedArms(a, a, a, a)), "arms"),
        (lambda a: scan_interactions(CrossedArms(a, a, a, a), alpha=0), "alpha"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3))


def test_arms_of_other_caps_or_levels_are_refused():
    values = np.arange(1.0, 30.0)
    capped = [CappedStats.of(values, cap=cap) for cap in (10.0, 10.0, 10.0, 12.0)]
    with pytest.raises(ValueError, match="arms must have the same cap"):
        check_interaction(CrossedArms(*capped))
    assert check_interaction(CrossedArms(*capped[:3], capped[0])).not_computable.item() is None
    levels = [QuantileStats.of(values, q=q, cuts=values) for q in (0.5, 0.5, 0.9, 0.5)]
    with pytest.raises(ValueError, match="arms must have the same q"):
        check_interaction(CrossedArms(*levels))


def test_cautions_of_all_four_arms_are_kept_over_the_whole_grid():
    arms = [EstimateStats([50, 60], 1.0, 0.01, cautions=flag.value) for flag in list(Caution)[2:6]]
    got = check_interaction(CrossedArms(*arms), alpha=[[0.05], [0.01], [0.1]])
    assert got.warnings.dtype == np.int64
    assert got.warnings.tolist() == [[sum(flag.value for flag in list(Caution)[2:6])] * 2] * 3
    means = MeanStats(9, 1.0, 5.0)
    assert check_interaction(CrossedArms(means, means, means, means)).warnings.tolist() == 0
    few = CrossedArms(ProportionStats(100, 3), *[ProportionStats(100, 30)] * 3)
    assert check_interaction(few).warnings.tolist() == Caution.FEW_EVENTS.value
