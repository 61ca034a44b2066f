"""Exact tests and intervals of rates against scipy, SAS, published examples and sums over all outcomes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from abplatform.stats import MeanStats, NotComputable, ProportionStats, SetKind, fixed
from abplatform.stats.fixed.unconditional import DIFFERENCE, Table, lower_side

tiny = st.tuples(st.integers(1, 40), st.floats(0, 1)).map(lambda c: ProportionStats(c[0], round(c[0] * c[1])))
NAMES = {"two_sided": "two-sided", "greater": "greater", "less": "less"}


def table_of(treatment, control):
    return [[int(arm.successes), int(arm.n - arm.successes)] for arm in (treatment, control)]


def outcomes(n, m):
    """All outcomes of two arms, and the function that gives their probabilities at two rates."""
    x, y = np.arange(n + 1)[:, None], np.arange(m + 1)[None]
    pair = ProportionStats(n, x), ProportionStats(m, y)
    return pair, lambda rate, other: reference.binom.pmf(x, n, rate) * reference.binom.pmf(y, m, other)


@pytest.mark.parametrize(("hits", "units"), [(0, 10), (10, 10), (3, 17), (1, 2000), (0, 1), (1, 1)])
def test_clopper_and_pearson_equals_scipys_exact_interval(hits, units):
    got = fixed.clopper_pearson_interval(ProportionStats(units, hits), alpha=0.1)
    expected = reference.binomtest(hits, units).proportion_ci(0.9, method="exact")
    assert (float(got.lower), float(got.upper)) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_clopper_and_pearson_keeps_the_digits_of_rare_events():
    # No event in n units: the upper bound is 1 - (alpha / 2)^(1 / n), in closed form.
    got = fixed.clopper_pearson_interval(ProportionStats(10**9, 0))
    assert float(got.upper) == pytest.approx(-np.expm1(np.log(0.025) / 1e9), rel=1e-12)


def test_clopper_and_pearson_covers_at_every_rate():
    n = 12
    got = fixed.clopper_pearson_interval(ProportionStats(n, np.arange(n + 1)), alpha=0.1)
    for rate in np.linspace(0.01, 0.99, 99):
        inside = (got.lower <= rate) & (rate <= got.upper)
        assert reference.binom.pmf(np.arange(n + 1), n, rate)[inside].sum() >= 0.9


@settings(max_examples=60)
@given(tiny, tiny, st.sampled_from([*NAMES]))
def test_fishers_test_equals_scipys(treatment, control, alternative):
    got = fixed.fisher_p_value(treatment, control, alternative=alternative)
    expected = reference.fisher_exact(table_of(treatment, control), alternative=NAMES[alternative]).pvalue
    assert float(got) == pytest.approx(expected, rel=1e-8)


def test_fishers_test_keeps_its_digits_in_the_far_tail():
    # All 400 successes in one of two equal arms: 2 / C(800, 400), by exact integers.
    got = fixed.fisher_p_value(ProportionStats(400, 400), ProportionStats(400, 0))
    assert float(got) == pytest.approx(float(2 / math.comb(800, 400)), rel=1e-9)


def test_mid_p_equals_a_published_example():
    # 0 of 16 against 15 of 72: Fagerland, Lydersen and Laake (2017), chapter 4.
    pair = ProportionStats(16, 0), ProportionStats(72, 15)
    assert float(fixed.fisher_p_value(*pair)) == pytest.approx(0.06287, abs=5e-6)
    assert float(fixed.fisher_p_value(*pair, mid_p=True)) == pytest.approx(0.04466, abs=5e-6)


@settings(max_examples=40)
@given(tiny, tiny, st.sampled_from([*NAMES]))
def test_mid_p_has_mean_one_half_given_the_total(treatment, control, alternative):
    # Lancaster (1961): what makes it mid. Sum over all tables with the same margins.
    n, m, total = int(treatment.n), int(control.n), int(treatment.successes + control.successes)
    hits = np.arange(max(0, total - m), min(n, total) + 1)
    if hits.size == 1:
        assert float(fixed.fisher_p_value(treatment, control, mid_p=True)) == 1
        return
    p = fixed.fisher_p_value(
        ProportionStats(n, hits), ProportionStats(m, total - hits), alternative=alternative, mid_p=True
    )
    assert (p * reference.hypergeom.pmf(hits, n + m, total, n)).sum() == pytest.approx(0.5, abs=1e-6)


@settings(max_examples=30)
@given(tiny, tiny)
def test_fishers_p_does_not_depend_on_the_order_of_arms(treatment, control):
    for mid_p in (False, True):
        there = fixed.fisher_p_value(treatment, control, mid_p=mid_p)
        assert float(there) == pytest.approx(float(fixed.fisher_p_value(control, treatment, mid_p=mid_p)), rel=1e-9)
    up = fixed.fisher_p_value(treatment, control, alternative="greater")
    down = fixed.fisher_p_value(control, treatment, alternative="less")
    assert float(up) == pytest.approx(float(down), rel=1e-9)


@pytest.mark.parametrize(
    ("table", "difference", "ratio"),
    [
        ((24, 61, 10, 35), (-0.0992, 0.2949), (0.7663, 3.0005)),
        ((9, 11, 4, 12), (0.0616, 0.7968), (1.0964, 10.8647)),
    ],
)
def test_unconditional_intervals_equal_those_of_sas(table, difference, ratio):
    # PROC FREQ, EXACT RISKDIFF and RELRISK with METHOD=SCORE, as kept in the tests of the R package exact2x2.
    hits, units, control_hits, control_units = table
    got = fixed.compare_exactly(ProportionStats(units, hits), ProportionStats(control_units, control_hits))
    assert (float(got.absolute.lower), float(got.absolute.upper)) == pytest.approx(difference, abs=1e-4)
    assert (float(got.relative.lower), float(got.relative.upper)) == pytest.approx([r - 1 for r in ratio], abs=1e-4)


def test_unconditional_p_value_equals_barnards_test_of_scipy():
    # Both order outcomes by the pooled z and take the worst common rate; scipy's one-sided version is the same test.
    for hits, units, control_hits, control_units in ((9, 11, 4, 12), (7, 15, 2, 14)):
        pair = ProportionStats(units, hits), ProportionStats(control_units, control_hits)
        transposed = np.transpose(table_of(*pair))
        expected = reference.barnard_exact(transposed, alternative="greater", pooled=True, n=64).pvalue
        assert float(fixed.compare_exactly(*pair, alternative="greater").p_value) == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def every_outcome():
    n, m, alpha = 5, 4, 0.1
    pair, chances = outcomes(n, m)
    return fixed.compare_exactly(*pair, alpha=alpha), chances, alpha


def test_unconditional_intervals_cover_at_all_rates(every_outcome):
    result, chances, alpha = every_outcome
    low, high = result.absolute.lower, result.absolute.upper
    low_ratio = result.relative.lower + 1
    high_ratio = np.where(np.isnan(result.relative.upper), np.inf, result.relative.upper + 1)
    for rate in np.linspace(0.02, 0.98, 25):
        for other in np.linspace(0.02, 0.98, 25):
            weights = chances(rate, other)
            assert weights[(low <= rate - other) & (rate - other <= high)].sum() >= 1 - alpha - 1e-9
            assert weights[(low_ratio <= rate / other) & (rate / other <= high_ratio)].sum() >= 1 - alpha - 1e-9


def test_score_interval_does_not_cover_at_all_rates_where_the_exact_one_does(every_outcome):
    _, chances, alpha = every_outcome
    pair, _ = outcomes(5, 4)
    got = fixed.compare_rates(*pair, alpha=alpha).absolute
    worst = min(
        chances(rate, other)[(got.lower <= rate - other) & (rate - other <= got.upper)].sum()
        for rate in np.linspace(0.02, 0.98, 25)
        for other in np.linspace(0.02, 0.98, 25)
    )
    assert worst < 1 - alpha


def test_exact_intervals_exclude_zero_exactly_when_p_is_at_most_alpha(every_outcome):
    result, _, alpha = every_outcome
    excludes = (result.absolute.lower > 0) | (result.absolute.upper < 0)
    np.testing.assert_array_equal(excludes, result.p_value <= alpha)
    np.testing.assert_array_equal(result.relative.excludes_zero, result.p_value <= alpha)
    assert excludes.any()


def test_exact_test_errs_at_most_alpha_under_any_common_rate(every_outcome):
    result, chances, alpha = every_outcome
    for rate in np.linspace(0.01, 0.99, 50):
        assert chances(rate, rate)[result.p_value <= alpha].sum() <= alpha + 1e-9


def test_swapping_arms_flips_the_exact_interval():
    pair = ProportionStats(9, 7), ProportionStats(6, 2)
    there, back = fixed.compare_exactly(*pair), fixed.compare_exactly(*pair[::-1])
    assert float(there.absolute.lower) == pytest.approx(-float(back.absolute.upper), abs=1e-9)
    assert float(there.p_value) == pytest.approx(float(back.p_value))
    assert float(there.relative.lower) == pytest.approx(1 / (1 + float(back.relative.upper)) - 1, abs=1e-6)


def test_one_sided_exact_answer_has_one_bound_at_twice_the_tail():
    pair = ProportionStats(9, 7), ProportionStats(6, 2)
    both, above = fixed.compare_exactly(*pair, alpha=0.1), fixed.compare_exactly(*pair, alternative="greater")
    assert above.absolute.lower == both.absolute.lower
    assert np.isnan(above.absolute.upper)
    assert float(both.p_value) == pytest.approx(2 * float(above.p_value))
    assert fixed.compare_exactly(*pair, alternative="less").p_value > 0.5


def test_bound_of_nothing_against_nothing_is_in_closed_form():
    # 0 of n against 0 of m: no outcome favours a larger difference less, unless the treatment has none at all;
    # at difference d the worst case has a control rate of 0 and probability (1 - d)^n.
    got = fixed.compare_exactly(ProportionStats(10, 0), ProportionStats(10, 0), alpha=0.1)
    upper = float(got.absolute.upper)
    assert (1 - upper) ** 10 == pytest.approx(0.05, rel=1e-4)
    assert (float(got.p_value), got.relative.kind.item()) == (1, SetKind.HALF_LINE)


def test_extreme_tables_have_their_ends_as_bounds():
    got = fixed.compare_exactly(ProportionStats(6, 6), ProportionStats(6, 0))
    assert float(got.absolute.upper) == 1
    assert float(got.absolute.lower) > 0.3
    assert lower_side(Table(0, 3, 3, 3), DIFFERENCE, 0.05)[0] == -1


def test_cells_without_units_say_so():
    got = fixed.compare_exactly(ProportionStats([0, 3], 0), ProportionStats(3, 1))
    assert got.not_computable.tolist() == [NotComputable.NO_UNITS, None]
    assert np.isnan([got.p_value[0], got.absolute.lower[0]]).all()
    assert np.isnan(fixed.fisher_p_value(ProportionStats(0, 0), ProportionStats(3, 1)))
    assert fixed.fisher_p_value(ProportionStats(4, 0), ProportionStats(3, 0)) == 1
    assert fixed.fisher_p_value(ProportionStats([[2], [3]], 1), ProportionStats([5, 6], 2)).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: fixed.compare_exactly(a, MeanStats(2, 0, 1)), "control"),
        (lambda a: fixed.compare_exactly(a, ProportionStats(10_000, 5)), "treatment and control"),
        (lambda a: fixed.compare_exactly(a, a, alpha=0), "alpha"),
        (lambda a: fixed.compare_exactly(a, a, alternative="up"), "alternative"),
        (lambda a: fixed.fisher_p_value(a, a, alternative="up"), "alternative"),
        (lambda a: fixed.fisher_p_value(*[ProportionStats(10**7, 10**6)] * 2), "outcomes"),
        (lambda a: fixed.fisher_p_value(ProportionStats([1, 2], 1), ProportionStats([1, 2, 3], 1)), "treatment"),
        (lambda a: fixed.clopper_pearson_interval(a, alpha=2), "alpha"),
        (lambda a: fixed.clopper_pearson_interval(ProportionStats([9, 9], 3), alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda a: fixed.clopper_pearson_interval(MeanStats(2, 0, 1)), "arm must be ProportionStats"),
        (lambda a: fixed.compare_exactly(ProportionStats([9, 9], 3), a, alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda a: fixed.fisher_p_value(a, MeanStats(2, 0, 1)), "control must be ProportionStats"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3))
