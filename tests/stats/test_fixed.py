"""Fixed-horizon tests against scipy and statsmodels, Fieller's set, margins, degenerate cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

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
# A subnormal mean becomes 0 when it is scaled, which is another cell.
means = st.tuples(st.integers(2, 5000), st.floats(-100, 100, allow_subnormal=False), st.floats(0.01, 1e4)).map(
    lambda c: MeanStats(c[0], c[1], c[2] * c[0])
)
arms = st.one_of(st.tuples(counts, counts), st.tuples(means, means))
alphas = st.sampled_from([0.001, 0.05, 0.2])


def raw_arms(seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 3, 40), rng.gamma(2, 2, 55)


def test_means_equal_scipys_welch_test_and_interval():
    treatment, control = raw_arms()
    expected = reference.ttest_ind(treatment, control, equal_var=False)
    got = fixed.compare(MeanStats.of(treatment), MeanStats.of(control), alpha=0.1).cell()
    assert got.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    interval = expected.confidence_interval(0.9)
    assert (got.absolute.lower, got.absolute.upper) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert (got.method, got.interval_kind, got.warnings) == ("welch_t", "fixed", ())


def test_rates_equal_statsmodels_wald_interval_and_its_z_test():
    got = fixed.compare(ProportionStats(500, 70), ProportionStats(450, 40)).cell()
    low, high = confint_proportions_2indep(70, 500, 40, 450, method="wald", compare="diff")
    assert (got.absolute.lower, got.absolute.upper) == pytest.approx((low, high), rel=1e-10)
    z = (70 / 500 - 40 / 450) / np.sqrt(0.14 * 0.86 / 500 + (40 / 450) * (410 / 450) / 450)
    assert got.p_value == pytest.approx(2 * reference.norm.sf(z), rel=1e-12)


def test_pooled_z_equals_statsmodels():
    expected = proportions_ztest([70, 40], [500, 450])[1]
    got = fixed.pooled_z_test(ProportionStats(500, 70), ProportionStats(450, 40))
    assert float(got) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(fixed.pooled_z_test(ProportionStats([10, 1], [0, 1]), ProportionStats([10, 5], [0, 2]))).all()


def test_ratios_use_a_t_with_clusters_less_one_degrees_of_freedom_per_arm():
    treatment = RatioStats(12, 3.0, 6.0, m2_y=40.0, m2_d=30.0, c_yd=20.0)
    control = RatioStats(20, 2.0, 6.0, m2_y=60.0, m2_d=70.0, c_yd=25.0)
    first, second = float(treatment.variance), float(control.variance)
    freedom = (first + second) ** 2 / (first**2 / 11 + second**2 / 19)
    t = (3 / 6 - 2 / 6) / np.sqrt(first + second)
    cell = fixed.compare(treatment, control).cell()
    assert cell.p_value == pytest.approx(2 * reference.t.sf(t, freedom), rel=1e-10)
    assert (cell.method, cell.warnings) == ("cluster_t", ("FEW_CLUSTERS",))


def test_far_tail_p_values_keep_their_digits():
    # z = 30: 2 * Phi(-30) = 9.8134e-198 (closed form); 1 - cdf would give 0.
    n = 10**12
    got = fixed.compare(MeanStats(n, 30 * np.sqrt(2 / n), n), MeanStats(n, 0, n)).cell()
    assert got.p_value == pytest.approx(2 * reference.norm.sf(30), rel=1e-6)


@given(arms, alphas)
def test_interval_excludes_zero_exactly_when_p_is_below_alpha(pair, alpha):
    cell = fixed.compare(*pair, alpha=alpha).cell()
    if cell.not_computable is None and abs(cell.p_value / alpha - 1) > 1e-9:
        excludes = cell.absolute.lower > 0 or cell.absolute.upper < 0
        assert excludes == (cell.p_value < alpha)


@given(arms, alphas)
def test_fieller_excludes_zero_exactly_when_the_absolute_test_rejects(pair, alpha):
    result = fixed.compare(*pair, alpha=alpha)
    cell = result.cell()
    if cell.relative_not_computable is None and abs(cell.p_value / alpha - 1) > 1e-9:
        rejects = cell.p_value < alpha
        assert bool(result.relative.excludes_zero) == rejects
        if cell.relative_kind == SetKind.BOUNDED:
            assert (cell.relative.lower > 0 or cell.relative.upper < 0) == rejects
            assert cell.relative.lower <= cell.relative.estimate <= cell.relative.upper


@given(arms)
def test_swapping_arms_flips_signs_and_keeps_p(pair):
    there, back = fixed.compare(*pair).cell(), fixed.compare(*pair[::-1]).cell()
    assert there.p_value == pytest.approx(back.p_value, rel=1e-12) if there.p_value else back.p_value == there.p_value
    assert there.absolute.estimate == pytest.approx(-back.absolute.estimate)
    if there.not_computable is None:
        assert there.absolute.lower == pytest.approx(-back.absolute.upper)


@given(means, means, st.floats(1e-3, 1e3))
def test_rescaling_a_metric_leaves_p_and_lift_unchanged(treatment, control, factor):
    scaled = [MeanStats(arm.n, arm.mean * factor, arm.m2 * factor**2) for arm in (treatment, control)]
    plain, other = fixed.compare(treatment, control).cell(), fixed.compare(*scaled).cell()
    assert other.p_value == pytest.approx(plain.p_value, rel=1e-8, abs=1e-300)
    assert other.relative_kind == plain.relative_kind
    if plain.relative.lower is not None:
        assert other.relative.lower == pytest.approx(plain.relative.lower, rel=1e-6, abs=1e-6)


def test_fieller_set_is_where_the_ratio_test_does_not_reject():
    # Independent: scan lifts and test treatment - (1 + x) control = 0 directly at the same critical value.
    treatment, control = ProportionStats(400, 60), ProportionStats(300, 30)
    cell = fixed.compare(treatment, control).cell()
    lifts = np.linspace(-0.9, 5, 400_001)
    rest = 0.15 - (1 + lifts) * 0.1
    kept = lifts[np.abs(rest) <= 1.959963984540054 * np.sqrt(0.15 * 0.85 / 400 + (1 + lifts) ** 2 * 0.09 / 300)]
    assert (cell.relative.lower, cell.relative.upper) == pytest.approx((kept[0], kept[-1]), abs=3e-5)


@pytest.mark.parametrize(
    ("treatment", "control", "kind", "excludes"),
    [
        (MeanStats(100, 9, 9900), MeanStats(100, 1, 9900), SetKind.DISJOINT, True),
        (MeanStats(100, 0.5, 9900), MeanStats(100, 1, 9900), SetKind.WHOLE_LINE, False),
        (MeanStats(100, 9, 9900), MeanStats(100, 5, 9900), SetKind.BOUNDED, True),
    ],
)
def test_control_near_zero_makes_the_relative_set_unbounded_and_says_so(treatment, control, kind, excludes):
    result = fixed.compare(treatment, control)
    cell = result.cell()
    assert cell.relative_kind == kind
    assert bool(result.relative.excludes_zero) == excludes
    if kind != SetKind.BOUNDED:
        assert (cell.relative.lower, cell.relative.upper) == (None, None)
        assert cell.warnings == (f"RELATIVE_{'DISJOINT' if kind == SetKind.DISJOINT else 'UNBOUNDED'}",)


def test_fieller_on_the_edge_is_a_half_line():
    # a = control^2 - z^2 var = 0 exactly: 4 - 2^2 * 1.
    from abplatform.stats.lifts import Ratio, fieller

    one = [np.asarray(x, dtype=float) for x in (3.0, 2.0, 2.0, 1.0, -1.0)]
    lower, upper, _ = fieller(Ratio(*one), 2.0)
    # -2 b x + c <= 0 with b = 3 * 2 + 4 = 10 and c = 9 - 8 = 1.
    assert float(lower) == pytest.approx(0.05)
    assert np.isnan(upper)


def test_relative_lift_keeps_the_sign_of_the_difference_for_a_negative_control():
    losses = fixed.compare(MeanStats(400, -8, 400), MeanStats(400, -10, 400)).cell()
    gains = fixed.compare(MeanStats(400, 12, 400), MeanStats(400, 10, 400)).cell()
    assert losses.absolute.estimate > 0
    assert losses.relative.estimate == pytest.approx(0.2)
    assert losses.relative.lower < 0.2 < losses.relative.upper
    assert gains.relative.estimate == pytest.approx(0.2)


def test_delta_method_equals_its_closed_form():
    # se^2 = Vt / c^2 + t^2 Vc / c^4 for independent arms.
    cell = fixed.compare(ProportionStats(1000, 120), ProportionStats(1000, 100), relative="delta").cell()
    se = np.sqrt(0.12 * 0.88 / 1000 / 0.01 + 0.0144 * 0.09 / 1000 / 1e-4)
    assert cell.relative.lower == pytest.approx(0.2 - 1.959963984540054 * se, rel=1e-10)


def test_fieller_covers_the_true_lift_95_times_in_100():
    rng = np.random.default_rng(11)
    runs, n = 20_000, 400
    treatment = MeanStats(n, rng.normal(6, 10 / np.sqrt(n), runs), 100 * rng.chisquare(n - 1, runs))
    control = MeanStats(n, rng.normal(5, 10 / np.sqrt(n), runs), 100 * rng.chisquare(n - 1, runs))
    lift = fixed.compare(treatment, control).relative
    bounded = lift.kind == SetKind.BOUNDED
    assert bounded.all()
    covered = ((lift.lower <= 0.2) & (lift.upper >= 0.2)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / runs))


@pytest.mark.parametrize(
    ("treatment", "control", "reason"),
    [
        (MeanStats(0, 0, 0), MeanStats(9, 1, 1), NotComputable.NO_UNITS),
        (MeanStats(1, 2, 0), MeanStats(9, 1, 1), NotComputable.ONE_UNIT),
        (MeanStats(9, 2, 0), MeanStats(9, 1, 0), NotComputable.ZERO_VARIANCE),
        (ProportionStats(9, 0), ProportionStats(9, 0), NotComputable.ZERO_VARIANCE),
        (ProportionStats(9, 9), ProportionStats(9, 0), NotComputable.ZERO_VARIANCE),
        (ProportionStats(1, 1), ProportionStats(9, 1), NotComputable.ONE_UNIT),
        (RatioStats(9, 1, 0, m2_y=1, m2_d=0, c_yd=0), RatioStats(9, 1, 1, m2_y=1, m2_d=1, c_yd=0), "ZERO_DENOMINATOR"),
        (MeanStats(9, 1e100, 1e220), MeanStats(9, 1e100, 1e220), NotComputable.OVERFLOW),
    ],
)
def test_degenerate_cells_carry_a_reason_and_no_numbers(treatment, control, reason):
    cell = fixed.compare(treatment, control).cell()
    assert cell.not_computable == cell.relative_not_computable == reason
    assert (cell.absolute.lower, cell.absolute.upper, cell.p_value, cell.relative.lower) == (None,) * 4
    assert cell.relative_kind == SetKind.UNDEFINED
    test = fixed.non_inferiority(treatment, control, margin=Margin(0.1), direction="increase")
    assert test.not_computable.item() == reason
    assert not test.non_inferior


def test_all_zero_control_loses_the_lift_but_keeps_the_alarm():
    cell = fixed.compare(ProportionStats(1000, 60), ProportionStats(1000, 0)).cell()
    assert cell.not_computable is None
    assert cell.p_value < 1e-10
    assert cell.relative_not_computable == NotComputable.ZERO_CONTROL
    assert cell.relative.estimate is None
    assert cell.warnings == ("FEW_EVENTS",)


def test_one_grid_answers_like_its_cells():
    treatment = ProportionStats([[100, 0], [300, 40]], [[20, 0], [31, 40]])
    control = ProportionStats([[200], [200]], [[30], [50]])
    grid = fixed.compare(treatment, control)
    assert grid.shape == (2, 2)
    for i, j in np.ndindex(2, 2):
        single = fixed.compare(
            ProportionStats(treatment.n[i, j], treatment.successes[i, j]),
            ProportionStats(control.n[i, 0], control.successes[i, 0]),
        )
        assert grid.cell(i, j) == single.cell()


def test_alpha_may_differ_per_cell():
    grid = fixed.compare(ProportionStats(100, 20), ProportionStats(100, 10), alpha=[0.05, 0.01])
    assert grid.shape == (2,)
    assert grid.cell(1).absolute.lower < grid.cell(0).absolute.lower


def test_non_inferiority_equals_scipys_shifted_one_sided_test():
    treatment, control = raw_arms(3)
    shifted = reference.ttest_ind(treatment + 0.5, control, equal_var=False, alternative="greater")
    got = fixed.non_inferiority(
        MeanStats.of(treatment), MeanStats.of(control), margin=Margin(0.5), alpha=0.1, direction="increase"
    )
    assert float(got.p_value) == pytest.approx(shifted.pvalue, rel=1e-10)
    low = reference.ttest_ind(treatment, control, equal_var=False, alternative="greater").confidence_interval(0.9).low
    assert float(got.bound) == pytest.approx(low, rel=1e-10)


def test_non_inferiority_direction_decides_which_side_is_harm():
    arms = ProportionStats(1000, 150), ProportionStats(1000, 100)
    assert fixed.non_inferiority(*arms, margin=Margin(0.01), direction="increase").non_inferior
    assert not fixed.non_inferiority(*arms, margin=Margin(0.01), direction="decrease").non_inferior


@given(arms, st.floats(0, 0.5), st.sampled_from(["increase", "decrease"]), st.booleans())
def test_margin_is_excluded_by_its_bound_exactly_when_p_is_below_alpha(pair, size, direction, relative):
    got = fixed.non_inferiority(*pair, margin=Margin(size, relative=relative), direction=direction)
    if np.isfinite(got.bound) and abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        safe = got.bound > got.limit if direction == "increase" else got.bound < got.limit
        assert bool(safe) == bool(got.p_value < 0.05) == bool(got.non_inferior)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a, b: fixed.compare(a, MeanStats(2, 0, 1)), "control must be ProportionStats"),
        (lambda a, b: fixed.compare(a, b, alpha=0), "alpha"),
        (lambda a, b: fixed.compare(a, b, alpha=np.nan), "alpha"),
        (lambda a, b: fixed.compare(a, b, relative="log"), "relative"),
        (lambda a, b: fixed.compare(ProportionStats([9, 9], 3), b, alpha=[0.1, 0.2, 0.3]), "alpha"),
        (
            lambda a, b: fixed.non_inferiority(
                ProportionStats([9, 9], 3), b, margin=Margin(1), direction="increase", alpha=[0.1, 0.2, 0.3]
            ),
            "alpha",
        ),
        (
            lambda a, b: fixed.non_inferiority(
                ProportionStats([9, 9], 3), b, margin=Margin([1, 2, 3]), direction="increase"
            ),
            "margin",
        ),
        (lambda a, b: fixed.non_inferiority(a, b, margin=0.1, direction="increase"), "margin must be Margin"),
        (lambda a, b: fixed.compare(ProportionStats([2, 2], 1), ProportionStats([2, 2, 2], 1)), "shapes"),
        (lambda a, b: fixed.non_inferiority(a, b, margin=Margin(-1), direction="increase"), "size"),
        (lambda a, b: fixed.non_inferiority(a, b, margin=Margin(1), direction="up"), "direction"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3), ProportionStats(10, 4))


def test_a_mean_may_have_fewer_axes_than_its_counts():
    arms = MeanStats([3, 3, 4], 0.0, [1.0, 1.0, 2.0]), MeanStats(3, 0.0, 1.0)
    single = [fixed.compare(MeanStats(n, 0.0, m2), arms[1]).cell().absolute.upper for n, m2 in ((3, 1.0), (4, 2.0))]
    assert fixed.compare(*arms).absolute.upper[1:].tolist() == single


def test_a_relative_margin_counts_what_the_arms_share():
    # The p-value and Fieller's bound are one test, whatever the arms have in common.
    arms = EstimateStats(900, 1.1, 0.01, shared_variance=0.04), EstimateStats(900, 1.2, 0.01, shared_variance=0.04)
    found = fixed.non_inferiority(*arms, margin=Margin(0.5, relative=True), direction="increase")
    at_bound = fixed.non_inferiority(*arms, margin=Margin(-found.bound, relative=True), direction="increase")
    assert float(at_bound.p_value) == pytest.approx(0.05, abs=1e-9)


def answers(result):
    return [
        np.shape(getattr(result, name)) for name in result.__slots__ if isinstance(getattr(result, name), np.ndarray)
    ]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(
    "pair",
    [
        (ProportionStats([100, 200], [30, 40]), ProportionStats([100, 200], [31, 42])),
        (MeanStats([100, 200], 3.0, 50.0), MeanStats([100, 200], 3.1, 50.0)),
    ],
)
def test_every_part_of_an_answer_about_a_margin_has_the_shape_of_the_whole_grid(pair, relative):
    margin, alpha = Margin(0.1, relative=relative), [[0.01], [0.05], [0.1]]
    for test in (fixed.non_inferiority, fixed.superiority):
        grid = test(*pair, margin=margin, alpha=alpha, direction="increase")
        assert set(answers(grid)) == {(3, 2)}
        for row, rate in enumerate((0.01, 0.05, 0.1)):
            single = test(*pair, margin=margin, alpha=rate, direction="increase")
            np.testing.assert_array_equal(grid.bound[row], single.bound)
            np.testing.assert_array_equal(grid.p_value[row], single.p_value)
        wide = test(*pair, margin=Margin([[0.1], [0.2]], relative=relative), direction="increase")
        assert set(answers(wide)) == {(2, 2)}
    higher = Margin([[0.1], [0.2], [0.3]], relative=relative)
    for first, second in ((margin, higher), (higher, margin)):
        assert set(answers(fixed.equivalence(*pair, margin=first, upper_margin=second))) == {(3, 2)}
