"""One-sided superiority, superiority by a margin and equivalence, against scipy, statsmodels and scans of the test."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.proportion import proportions_ztest
from statsmodels.stats.weightstats import ttost_ind

from abplatform.stats import (
    EstimateStats,
    Margin,
    MeanStats,
    NotComputable,
    ProportionStats,
    RatioStats,
    SetKind,
    fixed,
)

counts = st.tuples(st.integers(2, 5000), st.floats(0, 1)).map(lambda c: ProportionStats(c[0], int(c[0] * c[1])))
means = st.tuples(st.integers(2, 5000), st.floats(-100, 100, allow_subnormal=False), st.floats(0.01, 1e4)).map(
    lambda c: MeanStats(c[0], c[1], c[2] * c[0])
)
arms = st.one_of(st.tuples(counts, counts), st.tuples(means, means))
rates = st.sampled_from([0.001, 0.05, 0.2])
sides = st.sampled_from(["greater", "less"])
directions = st.sampled_from(["increase", "decrease"])


def raw_arms(seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 3, 40), rng.gamma(2, 2, 55)


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_one_sided_test_of_means_equals_scipys(alternative):
    treatment, control = raw_arms()
    expected = reference.ttest_ind(treatment, control, equal_var=False, alternative=alternative)
    got = fixed.compare(MeanStats.of(treatment), MeanStats.of(control), alpha=0.1, alternative=alternative).cell()
    assert got.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    interval = expected.confidence_interval(0.9)
    low, high = (None if np.isinf(bound) else pytest.approx(bound, rel=1e-10) for bound in interval)
    assert (got.absolute.lower, got.absolute.upper) == (low, high)


@pytest.mark.parametrize(("alternative", "name"), [("greater", "larger"), ("less", "smaller")])
def test_one_sided_pooled_test_of_rates_equals_statsmodels(alternative, name):
    expected = proportions_ztest([70, 40], [500, 450], alternative=name)[1]
    got = fixed.pooled_z_test(ProportionStats(500, 70), ProportionStats(450, 40), alternative=alternative)
    assert float(got) == pytest.approx(expected, rel=1e-12)


def test_finished_estimates_take_their_own_degrees_of_freedom():
    # Satterthwaite by hand: se^2 = 0.05, freedom = 0.05^2 / (0.04^2 / 8 + 0.01^2 / 30).
    pair = EstimateStats(20, 2.0, 0.04, freedom=8), EstimateStats(50, 1.5, 0.01, freedom=30)
    freedom = 0.05**2 / (0.04**2 / 8 + 0.01**2 / 30)
    assert fixed.compare(*pair, alternative="greater").cell().p_value == pytest.approx(
        reference.t.sf(0.5 / np.sqrt(0.05), freedom), rel=1e-10
    )
    normal = EstimateStats(20, 2.0, 0.04), EstimateStats(50, 1.5, 0.01)
    assert fixed.equivalence(*normal, margin=Margin(1.0)).p_value == pytest.approx(
        reference.norm.sf(0.5 / np.sqrt(0.05)), rel=1e-10
    )


@given(arms, sides)
def test_swapping_arms_turns_a_one_sided_p_into_its_rest(pair, alternative):
    there = fixed.compare(*pair, alternative=alternative).cell()
    back = fixed.compare(*pair[::-1], alternative=alternative).cell()
    if there.not_computable is None:
        assert there.p_value + back.p_value == pytest.approx(1, abs=1e-12)
        other = fixed.compare(*pair[::-1], alternative="less" if alternative == "greater" else "greater").cell()
        assert other.p_value == pytest.approx(there.p_value, rel=1e-10, abs=1e-300)


@given(arms, sides)
def test_two_sided_p_is_twice_the_smaller_one_sided_one(pair, alternative):
    one = fixed.compare(*pair, alternative=alternative).cell().p_value
    if one is not None:
        assert fixed.compare(*pair).cell().p_value == pytest.approx(2 * min(one, 1 - one), rel=1e-9, abs=1e-12)


@given(arms, sides, rates, st.sampled_from(["fieller", "delta"]))
def test_one_sided_bounds_exclude_zero_exactly_when_p_is_below_alpha(pair, alternative, alpha, relative):
    result = fixed.compare(*pair, alpha=alpha, alternative=alternative, relative=relative)
    cell = result.cell()
    if cell.not_computable is not None or abs(cell.p_value / alpha - 1) < 1e-9:
        return
    rejects = cell.p_value < alpha
    kept, dropped = (cell.absolute.lower, cell.absolute.upper)[:: 1 if alternative == "greater" else -1]
    assert dropped is None
    assert (kept > 0 if alternative == "greater" else kept < 0) == rejects
    if cell.relative_not_computable is None and relative == "fieller":
        assert bool(result.relative.excludes_zero) == rejects


lifts = np.concatenate([-np.geomspace(1e4, 1e-4, 4000), [0.0], np.geomspace(1e-4, 1e4, 4000)])


@given(st.floats(-12, 12), st.floats(-12, 12), sides, st.sampled_from([0.01, 0.05, 0.3]))
def test_one_sided_lifts_are_those_that_the_one_sided_test_keeps(top, bottom, alternative, alpha):
    # Independent: the test of "treatment - control = x |control|", one x at a time.
    pair = EstimateStats(100, top, 1.0), EstimateStats(100, bottom, 0.5)
    cell = fixed.compare(*pair, alpha=alpha, alternative=alternative).cell()
    weight = 1 + lifts * np.sign(bottom)
    z = (top - weight * bottom) / np.sqrt(1 + 0.5 * weight**2)
    kept = (z if alternative == "greater" else -z) <= reference.norm.isf(alpha)
    if bottom == 0:
        return
    bound = cell.relative.lower if alternative == "greater" else cell.relative.upper
    if cell.relative_kind == SetKind.HALF_LINE:
        expected = lifts >= bound if alternative == "greater" else lifts <= bound
        near = np.abs(lifts - bound) <= 1e-6 * (1 + abs(bound))
        assert ((kept == expected) | near).all()
    elif cell.relative_kind == SetKind.WHOLE_LINE:
        assert kept.all()
        assert cell.warnings == ("RELATIVE_UNBOUNDED",)
    else:
        assert cell.relative_kind == SetKind.DISJOINT
        assert kept[0]
        assert kept[-1]
        assert cell.warnings == ("RELATIVE_DISJOINT",)


def test_a_gap_between_rays_stays_on_the_side_that_the_test_rejects():
    # A control near 0: all lifts are kept but a gap in which the treatment is too high, for "greater" only.
    pair = EstimateStats(100, 9.0, 1.0), EstimateStats(100, 0.3, 0.5)
    above = fixed.compare(*pair, alternative="greater")
    assert (above.cell().relative_kind, bool(above.relative.excludes_zero)) == (SetKind.DISJOINT, True)
    below = fixed.compare(*pair, alternative="less")
    assert (below.cell().relative_kind, bool(below.relative.excludes_zero)) == (SetKind.WHOLE_LINE, False)


def test_margin_of_zero_is_plain_superiority():
    pair = ProportionStats(900, 120), ProportionStats(1000, 100)
    for direction, alternative in (("increase", "greater"), ("decrease", "less")):
        got = fixed.superiority(*pair, margin=Margin(0), direction=direction)
        plain = fixed.compare(*pair, alternative=alternative)
        assert float(got.p_value) == pytest.approx(float(plain.p_value), rel=1e-12)
        bound = plain.absolute.lower if direction == "increase" else plain.absolute.upper
        assert float(got.bound) == pytest.approx(float(bound), rel=1e-12)


def test_superiority_by_a_margin_equals_scipys_shifted_test():
    treatment, control = raw_arms(3)
    shifted = reference.ttest_ind(treatment - 0.7, control, equal_var=False, alternative="greater")
    got = fixed.superiority(MeanStats.of(treatment), MeanStats.of(control), margin=Margin(0.7), direction="increase")
    assert float(got.p_value) == pytest.approx(shifted.pvalue, rel=1e-10)
    assert float(got.limit) == 0.7


def test_superiority_by_a_relative_margin_tests_a_scaled_control():
    # "More than 5% better" is treatment - 1.05 control > 0: scipy's test of a control times 1.05.
    treatment, control = raw_arms(3)
    scaled = reference.ttest_ind(treatment, 1.05 * control, equal_var=False, alternative="greater")
    pair = MeanStats.of(treatment), MeanStats.of(control)
    got = fixed.superiority(*pair, margin=Margin(0.05, relative=True), direction="increase")
    assert float(got.p_value) == pytest.approx(scaled.pvalue, rel=1e-10)
    less = reference.ttest_ind(treatment, 0.95 * control, equal_var=False, alternative="less")
    got = fixed.superiority(*pair, margin=Margin(0.05, relative=True), direction="decrease")
    assert float(got.p_value) == pytest.approx(less.pvalue, rel=1e-10)


@given(arms, st.floats(0, 0.5), directions, st.booleans())
def test_superiority_excludes_its_margin_exactly_when_p_is_below_alpha(pair, size, direction, relative):
    got = fixed.superiority(*pair, margin=Margin(size, relative=relative), direction=direction)
    if np.isfinite(got.bound) and abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        better = got.bound > got.limit if direction == "increase" else got.bound < got.limit
        assert bool(better) == bool(got.p_value < 0.05) == bool(got.superior)


def test_equivalence_of_means_equals_statsmodels_two_one_sided_tests():
    treatment, control = raw_arms(5)
    expected = ttost_ind(treatment, control, -3.0, 4.0, usevar="unequal")
    pair = MeanStats.of(treatment), MeanStats.of(control)
    got = fixed.equivalence(*pair, margin=Margin(3.0), upper_margin=Margin(4.0))
    assert float(got.p_value) == pytest.approx(expected[0], rel=1e-8)
    assert (float(got.lower_limit), float(got.upper_limit)) == (-3.0, 4.0)


def test_equivalence_on_the_relative_scale_tests_two_scaled_controls():
    treatment, control = raw_arms(5)
    low = reference.ttest_ind(treatment, 0.8 * control, equal_var=False, alternative="greater").pvalue
    high = reference.ttest_ind(treatment, 1.25 * control, equal_var=False, alternative="less").pvalue
    margins = {"margin": Margin(0.2, relative=True), "upper_margin": Margin(0.25, relative=True)}
    got = fixed.equivalence(MeanStats.of(treatment), MeanStats.of(control), **margins)
    assert float(got.p_value) == pytest.approx(max(low, high), rel=1e-10)


@given(arms, st.floats(0, 30), st.booleans())
def test_equivalence_is_the_worse_of_two_tests_and_its_bounds_agree(pair, size, relative):
    margin = Margin(size, relative=relative)
    got = fixed.equivalence(*pair, margin=margin)
    low, high = (fixed.non_inferiority(*pair, margin=margin, direction=way) for way in ("increase", "decrease"))
    np.testing.assert_array_equal(got.p_value, np.maximum(low.p_value, high.p_value))
    assert bool(got.equivalent) == bool(low.non_inferior and high.non_inferior)
    if np.isfinite([got.lower, got.upper]).all() and abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        within = got.lower > got.lower_limit and got.upper < got.upper_limit
        assert bool(within) == bool(got.equivalent)


@given(arms, st.floats(0.01, 5))
def test_equivalence_does_not_depend_on_the_order_of_arms(pair, size):
    there, back = (fixed.equivalence(*order, margin=Margin(size)) for order in (pair, pair[::-1]))
    np.testing.assert_allclose(there.p_value, back.p_value, rtol=1e-9)
    np.testing.assert_allclose(there.lower, -back.upper, rtol=1e-9)


@given(means, means, st.floats(1e-3, 1e3), st.floats(0.01, 5), sides)
def test_rescaling_leaves_p_of_every_hypothesis_unchanged(treatment, control, factor, size, alternative):
    pair = treatment, control
    scaled = [MeanStats(arm.n, arm.mean * factor, arm.m2 * factor**2) for arm in pair]
    for test in (fixed.equivalence, partial(fixed.superiority, direction="increase")):
        plain = test(*pair, margin=Margin(size)).p_value
        np.testing.assert_allclose(test(*scaled, margin=Margin(size * factor)).p_value, plain, rtol=1e-7, atol=1e-300)
        # Fieller's contrast needs no scale at all.
        share = Margin(size, relative=True)
        np.testing.assert_allclose(
            test(*scaled, margin=share).p_value, test(*pair, margin=share).p_value, rtol=1e-7, atol=1e-300
        )
    one = [fixed.compare(*arms, alternative=alternative).p_value for arms in (pair, scaled)]
    np.testing.assert_allclose(one[0], one[1], rtol=1e-7, atol=1e-300)


def test_equivalence_errs_at_most_alpha_on_the_edge_of_its_margin():
    # True effect equal to the margin, far from the other one: the error is that of one t test.
    rng = np.random.default_rng(2)
    runs, n = 40_000, 60
    treatment = MeanStats(n, rng.normal(1, 1 / np.sqrt(n), runs), rng.chisquare(n - 1, runs))
    control = MeanStats(n, rng.normal(0, 1 / np.sqrt(n), runs), rng.chisquare(n - 1, runs))
    wrong = fixed.equivalence(treatment, control, margin=Margin(1)).equivalent.mean()
    assert wrong == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_degenerate_cells_carry_their_reason_under_every_hypothesis():
    treatment = MeanStats([0, 1, 9, 9], [0, 2, 2, 2], [0, 0, 0, 5])
    control = MeanStats([9, 9, 9, 9], [1, 1, 1, 0], [1, 1, 0, 5])
    expected = [NotComputable.NO_UNITS, NotComputable.ONE_UNIT, NotComputable.ZERO_VARIANCE]
    relative = Margin(0.1, relative=True)
    for got in (
        fixed.equivalence(treatment, control, margin=relative),
        fixed.superiority(treatment, control, margin=relative, direction="increase"),
    ):
        assert got.not_computable.tolist() == [*expected, NotComputable.ZERO_CONTROL]
        assert np.isnan(got.p_value).all()
    assert not fixed.equivalence(treatment, control, margin=relative).equivalent.any()
    one = fixed.compare(treatment, control, alternative="less")
    assert one.not_computable.tolist() == [*expected, None]
    assert np.isnan(one.p_value[:3]).all()
    assert [one.cell(i).relative_kind for i in range(4)] == [SetKind.UNDEFINED] * 4


def test_one_grid_answers_like_its_cells():
    treatment, control = ProportionStats([[100], [300]], [[20], [31]]), ProportionStats([200, 80], [30, 2])
    grid = fixed.compare(treatment, control, alternative="greater", alpha=[0.05, 0.01])
    assert grid.shape == (2, 2)
    for i, j in np.ndindex(2, 2):
        single = fixed.compare(
            ProportionStats(treatment.n[i, 0], treatment.successes[i, 0]),
            ProportionStats(control.n[j], control.successes[j]),
            alternative="greater",
            alpha=[0.05, 0.01][j],
        )
        assert grid.cell(i, j) == single.cell()
    assert fixed.equivalence(treatment, control, margin=Margin([0.1, 0.2])).equivalent.shape == (2, 2)


def test_clustered_ratios_take_the_same_hypotheses():
    pair = (
        RatioStats(120, 3.0, 6.0, m2_y=400.0, m2_d=300.0, c_yd=200.0),
        RatioStats(200, 2.9, 6.0, m2_y=600.0, m2_d=700.0, c_yd=250.0),
    )
    z = 0.1 / 6 / np.sqrt(float(pair[0].variance) + float(pair[1].variance))
    # Some 250 degrees of freedom: nearly normal.
    assert fixed.compare(*pair, alternative="greater").p_value == pytest.approx(reference.norm.sf(z), rel=0.01)
    assert fixed.superiority(*pair, margin=Margin(0.01), direction="increase").method == "cluster_t"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a, b: fixed.compare(a, b, alternative="both"), "alternative"),
        (lambda a, b: fixed.compare(a, b, alternative="greater", alpha=0.5), "alpha"),
        (lambda a, b: fixed.non_inferiority(a, b, margin=Margin(0.1), alpha=0.6, direction="increase"), "alpha"),
        (lambda a, b: fixed.pooled_z_test(a, b, alternative="larger"), "alternative"),
        (lambda a, b: fixed.superiority(a, b, margin=Margin(0.1), direction="up"), "direction"),
        (lambda a, b: fixed.superiority(a, b, margin=Margin(0.1), alpha=np.nan, direction="increase"), "alpha"),
        (lambda a, b: fixed.equivalence(a, b, margin=Margin(-0.1)), "size"),
        (
            lambda a, b: fixed.equivalence(a, b, margin=Margin(0.1), upper_margin=Margin(0.1, relative=True)),
            "upper_margin",
        ),
        (lambda a, b: fixed.equivalence(a, MeanStats(2, 0, 1), margin=Margin(0.1)), "control"),
        (lambda a, b: fixed.equivalence(a, b, margin=0.1), "margin must be Margin"),
        (lambda a, b: fixed.equivalence(a, b, margin=Margin(0.1), upper_margin=0.1), "upper_margin must be Margin"),
        (
            lambda a, b: fixed.equivalence(
                ProportionStats([9, 9], 3), b, margin=Margin(0.1), upper_margin=Margin([0.1, 0.2, 0.3])
            ),
            "upper_margin",
        ),
        (
            lambda a, b: fixed.superiority(
                ProportionStats([9, 9], 3), b, margin=Margin([0.1, 0.2, 0.3]), direction="increase"
            ),
            "margin",
        ),
        (
            lambda a, b: fixed.superiority(
                ProportionStats([9, 9], 3), b, margin=Margin(0), alpha=[0.1, 0.2, 0.3], direction="increase"
            ),
            "alpha",
        ),
        (lambda a, b: fixed.pooled_z_test(MeanStats(2, 0, 1), MeanStats(2, 0, 1)), "treatment must be ProportionStats"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3), ProportionStats(10, 4))
