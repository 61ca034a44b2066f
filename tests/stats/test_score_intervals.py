"""Score intervals and tests of rates against published tables, statsmodels, brute force and their own p-values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as reference
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, score_test_proportions_2indep

from abplatform.stats import Margin, MeanStats, NotComputable, ProportionStats, SetKind, fixed
from abplatform.stats.fixed.restricted import Counts, difference_score, rates_given_difference, rates_given_ratio

counts = st.tuples(st.integers(1, 3000), st.floats(0, 1)).map(lambda c: ProportionStats(c[0], int(c[0] * c[1])))
small = st.tuples(st.integers(1, 12), st.floats(0, 1)).map(lambda c: ProportionStats(c[0], round(c[0] * c[1])))
pairs = st.one_of(st.tuples(counts, counts), st.tuples(small, small))
rates = st.sampled_from([0.001, 0.05, 0.2])
alternatives = st.sampled_from(["two_sided", "greater", "less"])

# Newcombe (1998), Statistics in Medicine 17, table II: intervals of x/m - y/n by methods 5 (Mee), 6 (Miettinen and
# Nurminen) and 10 (hybrid of Wilson's).
TABLE_2 = [
    ((56, 70, 48, 80), (0.0533, 0.3377), (0.0528, 0.3382), (0.0524, 0.3339)),
    ((9, 10, 3, 10), (0.1821, 0.8370), (0.1700, 0.8406), (0.1705, 0.8090)),
    ((6, 7, 2, 7), (0.0544, 0.8478), (0.0342, 0.8534), (0.0582, 0.8062)),
    ((5, 56, 0, 29), (-0.0313, 0.1926), (-0.0326, 0.1933), (-0.0381, 0.1926)),
    ((0, 10, 0, 20), (-0.1611, 0.2775), (-0.1658, 0.2844), (-0.1611, 0.2775)),
    ((0, 10, 0, 10), (-0.2775, 0.2775), (-0.2879, 0.2879), (-0.2775, 0.2775)),
    ((10, 10, 0, 20), (0.7225, 1.0000), (0.7156, 1.0000), (0.6791, 1.0000)),
    ((10, 10, 0, 10), (0.6777, 1.0000), (0.6636, 1.0000), (0.6075, 1.0000)),
]


def bounds(interval):
    return float(interval.lower), float(interval.upper)


@pytest.mark.parametrize(("table", "mee", "miettinen_nurminen", "newcombe"), TABLE_2)
def test_intervals_of_the_difference_equal_newcombes_table(table, mee, miettinen_nurminen, newcombe):
    hits, units, control_hits, control_units = table
    pair = ProportionStats(units, hits), ProportionStats(control_units, control_hits)
    assert bounds(fixed.compare_rates(*pair, corrected=False).absolute) == pytest.approx(mee, abs=5.1e-5)
    assert bounds(fixed.compare_rates(*pair).absolute) == pytest.approx(miettinen_nurminen, abs=5.1e-5)
    assert bounds(fixed.newcombe_interval(*pair)) == pytest.approx(newcombe, abs=5.1e-5)


@pytest.mark.parametrize(("corrected", "expected"), [(False, (1.2209, 42.5757)), (True, (1.2086, 43.0330))])
def test_intervals_of_the_ratio_equal_a_published_example(corrected, expected):
    # Perondi et al. (2004), 7 of 34 against 1 of 34; Koopman's and Miettinen and Nurminen's intervals as given by
    # Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables (2017), chapter 4.
    lift = fixed.compare_rates(ProportionStats(34, 7), ProportionStats(34, 1), corrected=corrected).relative
    assert bounds(lift) == pytest.approx([ratio - 1 for ratio in expected], abs=5.1e-5)


TABLES = [(40, 500, 30, 450), (3, 2000, 9, 1000), (17, 20, 9, 30), (1, 8, 2, 9)]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("corrected", [True, False])
def test_ratio_newcombe_and_p_value_equal_statsmodels(table, corrected):
    hits, units, control_hits, control_units = table
    pair = ProportionStats(units, hits), ProportionStats(control_units, control_hits)
    got = fixed.compare_rates(*pair, alpha=0.1, corrected=corrected)
    expected = confint_proportions_2indep(*table, method="score", compare="ratio", alpha=0.1, correction=corrected)
    assert bounds(got.relative) == pytest.approx([bound - 1 for bound in expected], rel=2e-5)
    newcombe = confint_proportions_2indep(*table, method="newcomb", compare="diff", alpha=0.1)
    assert bounds(fixed.newcombe_interval(*pair, alpha=0.1)) == pytest.approx(newcombe, rel=1e-9)
    p_value = score_test_proportions_2indep(*table, correction=corrected, return_results=False)[1]
    assert float(got.p_value) == pytest.approx(p_value, rel=1e-9)


def likelihood_score(table, gap):
    """The score statistic of a difference, from a numerical maximum of the likelihood.

    Not from statsmodels: its cubic has ``count0`` where ``nobs0`` belongs (statsmodels issue 10269), so that its score
    intervals of a difference are not those of Miettinen and Nurminen.
    """
    hits, units, control_hits, control_units = table
    log = reference.binom.logpmf
    found = optimize.minimize_scalar(
        lambda p: -log(hits, units, p + gap) - log(control_hits, control_units, p),
        bounds=(max(0, -gap), min(1, 1 - gap)),
        method="bounded",
        options={"xatol": 1e-12},
    )
    p, total = found.x, units + control_units
    variance = (p + gap) * (1 - p - gap) / units + p * (1 - p) / control_units
    return (hits / units - control_hits / control_units - gap) / np.sqrt(variance * total / (total - 1))


@pytest.mark.parametrize("table", TABLES)
def test_difference_bounds_are_roots_of_the_score_by_numerical_likelihood(table):
    hits, units, control_hits, control_units = table
    got = fixed.compare_rates(ProportionStats(units, hits), ProportionStats(control_units, control_hits), alpha=0.1)
    estimate, z = hits / units - control_hits / control_units, reference.norm.isf(0.05)
    low = optimize.brentq(lambda gap: likelihood_score(table, gap) - z, -0.9999, estimate, xtol=1e-12)
    high = optimize.brentq(lambda gap: likelihood_score(table, gap) + z, estimate, 0.9999, xtol=1e-12)
    assert bounds(got.absolute) == pytest.approx((low, high), rel=1e-6)


def test_wilsons_interval_equals_statsmodels_and_stays_exact_at_the_ends():
    hits, units = np.array([0, 1, 7, 30, 50]), 50
    got = fixed.wilson_interval(ProportionStats(units, hits), alpha=0.01)
    low, high = proportion_confint(hits, units, alpha=0.01, method="wilson")
    np.testing.assert_allclose(got.lower, low, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(got.upper, high, rtol=1e-12)
    assert (got.lower[0], got.upper[-1]) == (0, 1)


def test_wilsons_lower_bound_keeps_its_digits_at_rare_events():
    # One in 10^9: the interval of a Poisson rate, x + z^2/2 -+ z sqrt(x + z^2/4), in the limit.
    z = reference.norm.isf(0.025)
    expected = (1 + z**2 / 2 + np.array([-1, 1]) * z * np.sqrt(1 + z**2 / 4)) / 1e9
    assert bounds(fixed.wilson_interval(ProportionStats(10**9, 1))) == pytest.approx(expected, rel=1e-7)


@given(small, rates)
def test_wilsons_interval_inverts_the_z_test_at_the_hypothetical_variance(arm, alpha):
    n, rate = int(arm.n), float(arm.estimate)
    got = fixed.wilson_interval(arm, alpha=alpha)
    for bound in bounds(got):
        if 0 < bound < 1:
            z = (rate - bound) / np.sqrt(bound * (1 - bound) / n)
            assert abs(z) == pytest.approx(reference.norm.isf(alpha / 2), rel=1e-9)


@given(
    st.tuples(st.integers(1, 10**6), st.floats(0, 1)),
    st.tuples(st.integers(1, 10**6), st.floats(0, 1)),
    st.floats(1e-6, 0.999),
    st.sampled_from([-1, 1]),
    st.floats(0, 5),
)
def test_restricted_rates_maximise_the_likelihood(first, second, size, sign, rarity):
    # Independent: bisection of the score function in extended precision.
    (n, share), (m, other) = first, second
    scale, gap = 10.0**-rarity, sign * size
    hits, control_hits = int(n * share * scale), int(m * other * scale)

    def slope(rate):
        total = np.longdouble(0)
        for x, units, p in ((hits, n, rate + np.longdouble(gap)), (control_hits, m, rate)):
            total += (np.longdouble(x) / p if x else 0) - (np.longdouble(units - x) / (1 - p) if units > x else 0)
        return total

    low, high = np.longdouble(max(0, -gap)), np.longdouble(min(1, 1 - gap))
    with np.errstate(all="ignore"):
        for _ in range(90):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    table = Counts(*(np.array(float(value)) for value in (hits, n, control_hits, m)))
    rate, control_rate = rates_given_difference(table, np.array(gap))
    assert float(control_rate) == pytest.approx(float(low), rel=1e-6, abs=1e-14)
    assert float(rate) == pytest.approx(float(low) + gap, rel=1e-6, abs=1e-14)


@given(small, small, st.floats(0.01, 100))
def test_restricted_rates_of_a_ratio_maximise_the_likelihood(first, second, ratio):
    x, n, y, m = (int(value) for value in (first.successes, first.n, second.successes, second.n))

    def loss(p):
        log = reference.binom.logpmf
        return -(log(x, n, min(ratio * p, 1)) + log(y, m, p))

    found = optimize.minimize_scalar(loss, bounds=(0, min(1, 1 / ratio)), method="bounded", options={"xatol": 1e-9})
    rate, control_rate = rates_given_ratio(Counts.of(first, second), np.array(ratio))
    assert float(rate) == pytest.approx(ratio * float(control_rate))
    assert loss(float(control_rate)) <= found.fun + 1e-9


@settings(max_examples=40)
@given(pairs, rates, alternatives, st.booleans())
def test_both_intervals_exclude_zero_exactly_when_p_is_below_alpha(pair, alpha, alternative, corrected):
    got = fixed.compare_rates(*pair, alpha=alpha, alternative=alternative, corrected=corrected)
    p = float(got.p_value)
    if abs(p / alpha - 1) > 1e-9:
        assert bool((got.absolute.lower > 0) | (got.absolute.upper < 0)) == (p < alpha)
        assert bool(got.relative.excludes_zero) == (p < alpha)


@settings(max_examples=40)
@given(pairs, rates)
def test_swapping_arms_flips_the_difference_and_inverts_the_ratio(pair, alpha):
    there, back = fixed.compare_rates(*pair, alpha=alpha), fixed.compare_rates(*pair[::-1], alpha=alpha)
    assert float(there.p_value) == pytest.approx(float(back.p_value), rel=1e-9)
    assert bounds(there.absolute) == pytest.approx([-bound for bound in bounds(back.absolute)[::-1]], abs=1e-12)
    if there.relative.kind.item() == back.relative.kind.item() == SetKind.BOUNDED and float(back.relative.lower) > -1:
        assert float(there.relative.upper) == pytest.approx(1 / (1 + float(back.relative.lower)) - 1, rel=1e-7)
    up, down = (fixed.compare_rates(*order, alternative="greater").p_value for order in (pair, pair[::-1]))
    if not np.isnan(there.p_value) and 0 < pair[0].successes + pair[1].successes < pair[0].n + pair[1].n:
        assert float(up + down) == pytest.approx(1)


@settings(max_examples=40)
@given(pairs, rates)
def test_counting_failures_mirrors_the_difference(pair, alpha):
    failures = [ProportionStats(arm.n, arm.n - arm.successes) for arm in pair]
    there, back = fixed.compare_rates(*pair, alpha=alpha), fixed.compare_rates(*failures, alpha=alpha)
    assert bounds(there.absolute) == pytest.approx([-bound for bound in bounds(back.absolute)[::-1]], abs=1e-12)


@settings(max_examples=40)
@given(pairs, rates)
def test_every_bound_is_where_its_score_is_critical(pair, alpha):
    table = Counts.of(*pair)
    got = fixed.compare_rates(*pair, alpha=alpha).absolute
    for bound in bounds(got):
        if -1 < bound < 1:
            z = difference_score(table, np.array(bound), table.correction).z
            assert abs(float(z)) == pytest.approx(reference.norm.isf(alpha / 2), rel=1e-5)
    assert got.lower <= got.estimate <= got.upper


def test_scores_fall_as_the_hypothesis_rises_so_that_each_bound_is_the_only_one():
    gaps = np.linspace(-1, 1, 801)
    for n, m in ((3, 5), (7, 7), (10, 4)):
        for x, y in np.ndindex(n + 1, m + 1):
            table = Counts(*(np.full(gaps.shape, float(value)) for value in (x, n, y, m)))
            assert (np.diff(difference_score(table, gaps).z) <= 1e-9).all()


def test_uncorrected_score_test_is_the_pooled_z_test():
    pair = ProportionStats([500, 90], [70, 5]), ProportionStats([450, 80], [40, 9])
    np.testing.assert_allclose(
        fixed.compare_rates(*pair, corrected=False).p_value, fixed.pooled_z_test(*pair), rtol=1e-12
    )


def test_intervals_exist_where_nobody_or_everybody_did_it():
    treatment, control = ProportionStats([10, 10, 10, 10], [0, 3, 10, 0]), ProportionStats(20, [0, 0, 20, 4])
    got = fixed.compare_rates(treatment, control)
    assert got.not_computable.tolist() == [None] * 4
    assert np.isfinite(got.absolute.lower).all()
    assert np.isfinite(got.absolute.upper).all()
    assert (got.p_value[0], got.p_value[2]) == (1, 1)
    cell = got.cell(1)
    assert cell.relative_not_computable == NotComputable.ZERO_CONTROL
    assert (cell.relative.estimate, cell.relative.upper, cell.relative_kind) == (None, None, SetKind.HALF_LINE)
    assert cell.warnings == ("RELATIVE_UNBOUNDED",)
    assert cell.relative.lower > 0
    assert cell.p_value < 0.05
    assert got.cell(3).relative.lower == -1
    # One-sided, a half line is what was asked for.
    assert fixed.compare_rates(treatment, control, alternative="greater").cell(1).warnings == ()
    assert fixed.compare_rates(treatment, control, alternative="less").cell(1).relative_kind == SetKind.WHOLE_LINE
    # Nobody at all is no evidence for either side.
    for alternative in ("greater", "less"):
        assert fixed.compare_rates(treatment, control, alternative=alternative).p_value[0] == 1


def test_a_cell_without_units_says_so():
    cell = fixed.compare_rates(ProportionStats(0, 0), ProportionStats(9, 2)).cell()
    assert cell.not_computable == cell.relative_not_computable == NotComputable.NO_UNITS
    assert (cell.p_value, cell.absolute.lower, cell.relative.lower, cell.relative_kind) == (
        *(None,) * 3,
        SetKind.UNDEFINED,
    )
    for interval in (fixed.wilson_interval, fixed.clopper_pearson_interval):
        assert np.isnan(bounds(interval(ProportionStats(0, 0)))).all()
    assert np.isnan(bounds(fixed.newcombe_interval(ProportionStats(0, 0), ProportionStats(9, 2)))).all()


def test_score_interval_covers_where_the_usual_one_fails():
    # Exact coverage at rates .02 and .01, 100 units each: sum over all outcomes.
    n, rate, control_rate = 100, 0.02, 0.01
    hits = np.arange(n + 1)
    weights = reference.binom.pmf(hits, n, rate)[:, None] * reference.binom.pmf(hits, n, control_rate)
    pair = ProportionStats(n, hits[:15, None]), ProportionStats(n, hits[None, :15])

    def covered(interval):
        inside = (interval.lower <= 0.01) & (interval.upper >= 0.01)
        return (weights[:15, :15] * inside).sum() + weights.sum() - weights[:15, :15].sum()

    assert covered(fixed.compare(*pair).absolute) < 0.93
    assert covered(fixed.compare_rates(*pair).absolute) > 0.945


@pytest.mark.parametrize(("table", "size"), [((20, 500, 18, 450), 0.03), ((45, 60, 70, 80), 0.15)])
def test_non_inferiority_by_scores_equals_statsmodels_and_the_likelihood(table, size):
    hits, units, control_hits, control_units = table
    pair = ProportionStats(units, hits), ProportionStats(control_units, control_hits)
    fall = fixed.rate_non_inferiority(*pair, margin=Margin(size), direction="increase")
    assert float(fall.p_value) == pytest.approx(reference.norm.sf(likelihood_score(table, -size)), rel=1e-6)
    rise = fixed.rate_non_inferiority(*pair, margin=Margin(0.25, relative=True), direction="decrease")
    expected = score_test_proportions_2indep(
        *table, value=1.25, compare="ratio", alternative="smaller", correction=True, return_results=False
    )[1]
    assert float(rise.p_value) == pytest.approx(expected, rel=1e-8)


@settings(max_examples=40)
@given(pairs, st.floats(0, 0.9), st.sampled_from(["increase", "decrease"]), st.booleans())
def test_score_margin_is_excluded_by_its_bound_exactly_when_p_is_below_alpha(pair, size, direction, relative):
    got = fixed.rate_non_inferiority(*pair, margin=Margin(size, relative=relative), direction=direction)
    if np.isfinite(got.bound) and abs(float(got.p_value) / 0.05 - 1) > 1e-6:
        safe = got.bound > got.limit if direction == "increase" else got.bound < got.limit
        assert bool(safe) == bool(got.p_value < 0.05) == bool(got.non_inferior)
    elif not np.isfinite(got.bound):
        assert not got.non_inferior


def test_no_complaints_at_all_are_proof_only_with_enough_units():
    few, many = ProportionStats(400, 0), ProportionStats(40_000, 0)
    assert not fixed.rate_non_inferiority(few, few, margin=Margin(0.001), direction="decrease").non_inferior
    assert fixed.rate_non_inferiority(many, many, margin=Margin(0.001), direction="decrease").non_inferior
    # A share of nothing proves nothing.
    relative = Margin(0.5, relative=True)
    for direction in ("increase", "decrease"):
        test = fixed.rate_non_inferiority(many, many, margin=relative, direction=direction)
        assert (bool(test.non_inferior), float(test.p_value)) == (False, 1)


def test_one_grid_answers_like_its_cells():
    treatment, control = ProportionStats([[100], [3]], [[20], [0]]), ProportionStats([200, 10**6], [30, 17])
    grid = fixed.compare_rates(treatment, control, alpha=[0.05, 0.01])
    assert grid.shape == (2, 2)
    for i, j in np.ndindex(2, 2):
        single = fixed.compare_rates(
            ProportionStats(treatment.n[i, 0], treatment.successes[i, 0]),
            ProportionStats(control.n[j], control.successes[j]),
            alpha=[0.05, 0.01][j],
        ).cell()
        cell = grid.cell(i, j)
        assert (cell.p_value, cell.relative_kind) == (single.p_value, single.relative_kind)
        assert cell.absolute.lower == pytest.approx(single.absolute.lower, rel=1e-12, abs=1e-15)
        assert cell.relative.upper == pytest.approx(single.relative.upper, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: fixed.compare_rates(a, MeanStats(2, 0, 1)), "control must be ProportionStats"),
        (lambda a: fixed.compare_rates(MeanStats(2, 0, 1), a), "treatment must be ProportionStats"),
        (lambda a: fixed.compare_rates(a, a, alpha=1), "alpha"),
        (lambda a: fixed.compare_rates(a, a, alpha=0.5, alternative="less"), "alpha"),
        (lambda a: fixed.compare_rates(a, a, alternative="more"), "alternative"),
        (lambda a: fixed.compare_rates(ProportionStats([1, 2], 1), ProportionStats([1, 2, 3], 1)), "treatment"),
        (lambda a: fixed.rate_non_inferiority(a, a, margin=Margin(1), direction="increase"), "margin"),
        (lambda a: fixed.rate_non_inferiority(a, a, margin=Margin(1, relative=True), direction="increase"), "margin"),
        (lambda a: fixed.rate_non_inferiority(a, a, margin=Margin(0.1), direction="up"), "direction"),
        (lambda a: fixed.compare_rates(ProportionStats([9, 9], 3), a, alpha=[0.1, 0.2, 0.3]), "alpha"),
        (
            lambda a: fixed.rate_non_inferiority(
                ProportionStats([9, 9], 3), a, margin=Margin([0.1, 0.2, 0.3]), direction="increase"
            ),
            "margin",
        ),
        (lambda a: fixed.rate_non_inferiority(a, a, margin=0.1, direction="increase"), "margin must be Margin"),
        (lambda a: fixed.wilson_interval(a, alpha=0), "alpha"),
        (lambda a: fixed.wilson_interval(ProportionStats([9, 9], 3), alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda a: fixed.wilson_interval(MeanStats(2, 0, 1)), "arm must be ProportionStats"),
        (lambda a: fixed.newcombe_interval(ProportionStats([9, 9], 3), a, alpha=[0.1, 0.2, 0.3]), "alpha"),
        (lambda a: fixed.newcombe_interval(a, MeanStats(2, 0, 1)), "control must be ProportionStats"),
        (lambda a: fixed.newcombe_interval(ProportionStats([1, 2], 1), ProportionStats([1, 2, 3], 1)), "treatment"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(ProportionStats(10, 3))


def test_the_form_of_the_set_is_named_like_that_of_every_other_method():
    found = fixed.compare_rates(ProportionStats([120, 3, 0], [12, 1, 0]), ProportionStats([100, 3, 0], [10, 0, 0]))
    assert [type(kind) for kind in found.relative.kind] == [SetKind] * 3
    assert found.relative.kind.tolist() == [SetKind.BOUNDED, SetKind.HALF_LINE, SetKind.UNDEFINED]
