"""Sample ratio, covariate balance and multiplicity against scipy, statsmodels and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway

from abplatform.stats import MeanStats, NotComputable, balance, multiplicity, srm

ADJUSTMENTS = (multiplicity.bonferroni, multiplicity.holm, multiplicity.benjamini_hochberg)
p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_chi_square_equals_scipy_on_a_grid():
    counts, weights = np.array([[900, 1100, 1000], [30, 20, 25]]), np.array([1, 1, 2])
    got = srm.chi_square_p_value(counts, weights)
    for row, p in zip(counts, got, strict=True):
        assert p == pytest.approx(reference.chisquare(row, row.sum() * weights / 4).pvalue, rel=1e-12)


@pytest.mark.parametrize(("first", "second", "share"), [(1, 9, 0.5), (3, 9, 0.5), (0, 4, 0.9), (17, 40, 0.3)])
def test_exact_test_of_two_arms_is_the_binomial_test(first, second, share):
    expected = reference.binomtest(first, first + second, share).pvalue
    assert srm.exact_p_value([first, second], [share, 1 - share]) == pytest.approx(expected, rel=1e-9)


def test_exact_test_of_three_arms_sums_the_multinomial():
    shares, seen, n = np.array([0.5, 0.3, 0.2]), (1, 2, 6), 9
    law = reference.multinomial(n, shares)
    outcomes = [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
    expected = sum(law.pmf(o) for o in outcomes if law.pmf(o) <= law.pmf(seen) * (1 + 1e-9))
    assert srm.exact_p_value(seen, shares) == pytest.approx(expected, rel=1e-9)


def test_small_experiments_get_the_exact_test_and_large_ones_chi_square():
    assert srm.check_sample_ratio([3, 5], [1, 1]).method == "exact"
    assert srm.check_sample_ratio([300, 500], [1, 1]).method == "chi_square"
    # Fifteen expected in ten arms have too many outcomes to list.
    assert srm.check_sample_ratio([2] * 10, [1] * 10).method == "chi_square"


def test_no_units_are_no_evidence():
    check = srm.check_sample_ratio([0, 0], [1, 1])
    assert (check.p_value, check.sequential_p_value) == (1, 1)
    assert float(srm.chi_square_p_value([0, 0], [1, 1])) == 1


def test_bayes_factor_is_the_product_of_predictive_ratios():
    # Lindon and Malek (2022), eq. 6: each unit multiplies by its predictive over its planned probability.
    weights, prior = np.array([0.5, 0.2, 0.3]), 50 * np.array([0.5, 0.2, 0.3])
    units = np.random.default_rng(0).choice(3, 200, p=[0.4, 0.3, 0.3])
    log_factor, counts = 0.0, np.zeros(3)
    for arm in units:
        predictive = (prior[arm] + counts[arm]) / (prior.sum() + counts.sum())
        log_factor += math.log(predictive / weights[arm])
        counts[arm] += 1
    assert float(srm.log_bayes_factor(counts, weights, concentration=50)) == pytest.approx(log_factor, rel=1e-9)


def test_sequential_test_holds_alpha_over_30_looks_while_chi_square_does_not():
    # Daily looks at 200 units per arm; chi-square at 5% under 30 looks errs in .28 of experiments.
    runs, looks, alpha = 4000, 30, 0.05
    arm = np.random.default_rng(1).binomial(400, 0.5, (runs, looks)).cumsum(axis=1)
    counts = np.stack([arm, 400 * np.arange(1, looks + 1) - arm], axis=-1)
    slack = 4 * np.sqrt(0.28 * 0.72 / runs)
    peeking = (srm.chi_square_p_value(counts, [1, 1]) < alpha).any(axis=1).mean()
    assert peeking == pytest.approx(0.28, abs=slack)
    for concentration in (100.0, srm.CONCENTRATION):
        p = srm.sequential_p_value(counts, [1, 1], concentration=concentration)
        assert (p <= alpha).any(axis=1).mean() <= alpha + 4 * np.sqrt(alpha * (1 - alpha) / runs)


def test_sequential_test_finds_a_one_percent_mismatch_at_the_deciding_level():
    # 51:49 over 100,000 units is 6.3 standard errors: every practitioner's mismatch.
    assert srm.check_sample_ratio([51_000, 49_000], [1, 1]).sequential_p_value < 0.001
    assert srm.check_sample_ratio([50_100, 49_900], [1, 1]).sequential_p_value == 1


def test_running_sequential_p_value_never_rises():
    assert srm.check_sample_ratio([5000, 5000], [1, 1], previous=0.0004).sequential_p_value == 0.0004


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: srm.check_sample_ratio([5, 5], [1, 0]), "weights"),
        (lambda: srm.check_sample_ratio([5, 5], [1, 1, 1]), "weights"),
        (lambda: srm.check_sample_ratio([5, -5], [1, 1]), "counts"),
        (lambda: srm.check_sample_ratio([5], [1]), "counts"),
        (lambda: srm.check_sample_ratio([[5, 5]], [1, 1]), "counts"),
        (lambda: srm.check_sample_ratio([5, 5], [1, np.nan]), "weights"),
        (lambda: srm.check_sample_ratio([5, 5], [1, 1], previous=2), "previous"),
        (lambda: srm.log_bayes_factor([5, 5], [1, 1], concentration=0), "concentration"),
        (lambda: multiplicity.holm([0.5, 1.5]), "p_values"),
        (lambda: multiplicity.bonferroni(0.5), "p_values"),
        *((lambda test=test: test([0.1], axis=3), "p_values") for test in ADJUSTMENTS),
        *((lambda test=test: test([0.1j]), "p_values must be real") for test in ADJUSTMENTS),
        *((lambda test=test: test(["a"]), "p_values must be numbers") for test in ADJUSTMENTS),
        *((lambda test=test: test([[0.1], [0.1, 0.2]]), "p_values must be numbers") for test in ADJUSTMENTS),
        *(
            (lambda tests=tests: multiplicity.bonferroni_alpha(0.05, tests), "tests")
            for tests in (0, -1, "a", 2.5, np.nan, [1, 2])
        ),
        (lambda: balance.check_balance([MeanStats(2, 0, 1)]), "arms"),
        (lambda: balance.check_balance([MeanStats([2, 2], 0, 1), MeanStats([2] * 3, 0, 1)]), "arms"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@settings(max_examples=12, deadline=None)
@given(p_lists)
def test_adjusted_p_values_equal_statsmodels(p):
    for mine, theirs in (
        (multiplicity.bonferroni, "bonferroni"),
        (multiplicity.holm, "holm"),
        (multiplicity.benjamini_hochberg, "fdr_bh"),
    ):
        np.testing.assert_allclose(mine(p), multipletests(p, method=theirs)[1], rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("adjust", [multiplicity.holm, multiplicity.benjamini_hochberg, multiplicity.bonferroni])
def test_families_lie_along_the_axis_and_missing_tests_still_count(adjust):
    p = np.array([[0.01, 0.02], [np.nan, 0.03], [0.04, 0.9]])
    got = adjust(p, axis=0)
    assert np.isnan(got[1, 0])
    np.testing.assert_allclose(got[[0, 2], 0], adjust([0.01, 1.0, 0.04])[[0, 2]])
    np.testing.assert_allclose(got[:, 1], adjust(p[:, 1]))


@pytest.mark.parametrize("arms", [2, 3, 5])
def test_balance_equals_statsmodels_welch_anova(arms):
    rng = np.random.default_rng(arms)
    raw = [rng.normal(1e6, 1 + i, 30 + 7 * i) for i in range(arms)]
    expected = anova_oneway(raw, use_var="unequal", welch_correction=True).pvalue
    got = balance.check_balance([MeanStats.of(values) for values in raw])
    assert float(got.p_value) == pytest.approx(expected, rel=1e-6)


def test_balance_of_two_arms_is_welchs_t_test():
    rng = np.random.default_rng(9)
    a, b = rng.normal(0, 1, 20), rng.normal(0.5, 3, 35)
    expected = reference.ttest_ind(a, b, equal_var=False).pvalue
    assert float(balance.check_balance([MeanStats.of(a), MeanStats.of(b)]).p_value) == pytest.approx(expected)


def test_balance_says_why_a_cell_has_no_answer():
    arms = MeanStats([0, 1, 9, 9], [0, 1, 1, 1], [0, 0, 0, 5]), MeanStats(9, 1.0, 5.0)
    got = balance.check_balance(arms)
    reasons = [NotComputable.NO_UNITS, NotComputable.ONE_UNIT, NotComputable.ZERO_VARIANCE, None]
    assert got.not_computable.tolist() == reasons
    assert np.isnan(got.p_value[:3]).all()
    assert float(got.p_value[3]) == 1
