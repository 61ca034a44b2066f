"""E-BH: the definition, its relation to Benjamini-Hochberg, and the false discovery rate under dependence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from abplatform.stats import sequential
from abplatform.stats.multiplicity import benjamini_hochberg, e_benjamini_hochberg

log_e_lists = st.lists(st.floats(-20, 40), min_size=1, max_size=15)


def rejected_by_definition(e_values, alpha):
    """Wang and Ramdas (2022), definition 2: reject the k largest, k = max {k: k e_[k] / m >= 1 / alpha}."""
    m, order = len(e_values), np.argsort(-np.asarray(e_values))
    passing = [k for k in range(1, m + 1) if k * e_values[order[k - 1]] / m >= 1 / alpha]
    rejected = np.zeros(m, dtype=bool)
    rejected[order[: max(passing, default=0)]] = True
    return rejected


@given(log_e_lists, st.sampled_from([0.01, 0.05, 0.3]))
def test_rejections_are_those_of_the_definition(log_e, alpha):
    adjusted = e_benjamini_hochberg(log_e)
    if (np.abs(adjusted + np.log(alpha)) > 1e-9).all():
        np.testing.assert_array_equal(adjusted >= -np.log(alpha), rejected_by_definition(np.exp(log_e), alpha))


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=12))
def test_it_is_benjamini_hochberg_on_reciprocals(p):
    # With e = 1 / p the adjusted p-values are statsmodels'.
    got = np.minimum(np.exp(-e_benjamini_hochberg(-np.log(p))), 1)
    np.testing.assert_allclose(got, multipletests(p, method="fdr_bh")[1], rtol=1e-9)


@given(log_e_lists)
def test_adjusting_keeps_the_order_and_never_adds_evidence(log_e):
    adjusted = e_benjamini_hochberg(log_e)
    assert (adjusted <= max(log_e) + 1e-12).all()
    assert (adjusted >= np.asarray(log_e) - np.log(len(log_e)) - 1e-12).all()
    order = np.argsort(log_e, kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-12).all()
    # The smallest has all others before it.
    assert adjusted[order[0]] == pytest.approx(log_e[order[0]], abs=1e-12)


def test_huge_e_values_do_not_overflow_and_zeros_stay_zero():
    adjusted = e_benjamini_hochberg([1e6, 5e5, -np.inf, np.inf])
    assert adjusted.tolist() == pytest.approx([1e6 + np.log(0.5), 5e5 + np.log(0.75), -np.inf, np.inf])


def test_families_lie_along_the_axis_and_missing_tests_still_count():
    log_e = np.array([[5.0, 2.0], [np.nan, 4.0], [3.0, 1.0]])
    got = e_benjamini_hochberg(log_e, axis=0)
    assert np.isnan(got[1, 0])
    np.testing.assert_allclose(got[[0, 2], 0], e_benjamini_hochberg([5.0, -np.inf, 3.0])[[0, 2]])
    np.testing.assert_allclose(got[:, 1], e_benjamini_hochberg(log_e[:, 1]))


def test_real_numbers_along_an_axis_are_needed():
    for values, axis in ((1.0, -1), ([1.0], 3), ([1.0j], -1)):
        with pytest.raises(ValueError, match="log_e_values"):
            e_benjamini_hochberg(values, axis=axis)


def false_discovery_rate(rejected, real):
    return ((rejected & ~real).sum(axis=-1) / np.maximum(rejected.sum(axis=-1), 1)).mean()


def together(rng, chances, runs):
    """In each run k of m tests, chosen at random, speak together: k has ``chances[k - 1]``, 0 the rest. Gives k of each
    run, and who speaks."""
    m = len(chances)
    k = rng.choice(m + 1, runs, p=[1 - chances.sum(), *chances])
    return k[:, None], np.argsort(rng.random((runs, m)), axis=-1) < k[:, None]


def test_the_worst_dependence_breaks_benjamini_hochberg_but_not_e_bh():
    # All nulls true, so that the false discovery rate is the chance of any discovery.
    runs, m, alpha = 20_000, 20, 0.1
    rng, ranks = np.random.default_rng(3), np.arange(1, m + 1)
    # Benjamini and Yekutieli (2001): k p-values of k alpha / m, valid one by one, err in alpha (1 + 1/2 + ... + 1/m).
    k, speaks = together(rng, alpha / ranks, runs)
    fooled = (benjamini_hochberg(np.where(speaks, k * alpha / m, 1.0)) <= alpha * (1 + 1e-9)).any(axis=-1).mean()
    harmonic = (1 / ranks).sum()
    assert fooled == pytest.approx(alpha * harmonic, abs=4 * np.sqrt(alpha * harmonic / runs))
    # The like for e-values, k of m / (k alpha) with mean 1 each, errs in alpha exactly: no dependence does worse.
    k, speaks = together(rng, np.full(m, alpha / m), runs)
    log_e = np.log(np.where(speaks, m / (np.maximum(k, 1) * alpha), 1e-300))
    # The mean of a run's m e-values is 1 / alpha with chance alpha, else 0: of variance 1 / alpha - 1.
    assert np.exp(log_e).mean() == pytest.approx(1, abs=4 * np.sqrt((1 / alpha - 1) / runs))
    wrong = (e_benjamini_hochberg(log_e) >= -np.log(alpha) - 1e-9).any(axis=-1).mean()
    assert wrong == pytest.approx(alpha, abs=4 * np.sqrt(alpha * (1 - alpha) / runs))


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.8])
def test_false_discoveries_of_stopped_sequences_stay_below_alpha(correlation):
    # 40 null and 10 real effects of one portfolio, correlated, each stopped when it convinces by itself.
    runs, m, looks, alpha = 1500, 50, 20, 0.05
    rng = np.random.default_rng(4)
    real = np.arange(m) < 10
    common = rng.normal(size=(runs, 1, looks))
    sign = np.where(np.arange(m) % 2, np.sign(correlation) or 1, 1)[:, None]
    steps = np.sqrt(abs(correlation)) * sign * common + np.sqrt(1 - abs(correlation)) * rng.normal(
        size=(runs, m, looks)
    )
    n = 100 * np.arange(1, looks + 1)
    z = (steps + np.where(real, 1.0, 0.0)[:, None]).cumsum(axis=-1) / np.sqrt(np.arange(1, looks + 1))
    log_e = sequential.log_e_value(z, n, sequential.tune_rho2(n[-1], alpha))
    # At the first look whose e-value is m / alpha, else at the last. (Stopped at 1 / alpha none would be rejected.)
    crossed = log_e >= np.log(m / alpha)
    stop = np.where(crossed.any(axis=-1), crossed.argmax(axis=-1), looks - 1)
    stopped = np.take_along_axis(log_e, stop[..., None], axis=-1)[..., 0]
    rejected = e_benjamini_hochberg(stopped) >= -np.log(alpha)
    assert false_discovery_rate(rejected, real) <= alpha
    assert rejected[:, real].mean() > 0.2
