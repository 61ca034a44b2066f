"""Intervals of one arm by itself, against SciPy and statsmodels, and a sequence against how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from abplatform.stats import MeanStats, ProportionStats, RatioStats
from abplatform.stats.levels import level_interval, level_sequence


def test_the_interval_of_a_mean_is_student_s() -> None:
    sample = np.random.default_rng(1).gamma(2, 3, 40)
    found = level_interval(MeanStats.of(sample), alpha=0.1)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.9)
    assert (float(found.lower), float(found.upper)) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_the_interval_of_a_rate_is_wilson_s() -> None:
    found = level_interval(ProportionStats(40, 3))
    assert (float(found.lower), float(found.upper)) == pytest.approx(
        proportion_confint(3, 40, method="wilson"), rel=1e-9
    )


def test_the_interval_of_a_ratio_is_as_wide_as_resampling_finds() -> None:
    """A bootstrap of 4,000 samples of 500 units finds the same standard error, give or take 5%."""
    chance = np.random.default_rng(3)
    below = chance.poisson(3, 500) + 1.0
    above = below * chance.gamma(4, 1, 500)
    found = level_interval(RatioStats.of(above, below), alpha=0.05)
    again = chance.integers(0, 500, (4_000, 500))
    spread = (above[again].sum(1) / below[again].sum(1)).std()
    assert float(found.estimate) == pytest.approx(above.sum() / below.sum(), rel=1e-12)
    assert float(found.upper - found.lower) / (2 * 1.96) == pytest.approx(spread, rel=0.05)


def test_a_sequence_misses_the_mean_at_any_of_many_looks_as_seldom_as_it_says() -> None:
    """2,000 histories of skewed amounts with 20 looks each from 500 units on: at most 5% err, and 5 sigma of chance."""
    chance = np.random.default_rng(4)
    looks = np.arange(500, 10_500, 500)
    missed = 0
    for _ in range(40):
        sums = chance.exponential(1.0, (50, looks[-1])).astype(np.float64)
        totals, squares = np.cumsum(sums, axis=1)[:, looks - 1], np.cumsum(sums**2, axis=1)[:, looks - 1]
        means = totals / looks
        arm = MeanStats(np.broadcast_to(looks, means.shape), means, squares - looks * means**2)
        found = level_sequence(arm, planned_units=5_000)
        missed += int(((found.lower > 1) | (found.upper < 1)).any(axis=1).sum())
    assert missed / 2_000 < 0.05 + 5 * np.sqrt(0.05 * 0.95 / 2_000)
    assert missed > 0, "an interval that never errs is too wide"


def test_where_nothing_varies_or_nothing_is_there_are_no_bounds() -> None:
    for arm in (MeanStats([5, 1, 0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]),):
        for found in (level_interval(arm), level_sequence(arm, planned_units=10)):
            assert np.isnan(found.lower).all()
            assert np.isnan(found.upper).all()
    assert float(level_interval(MeanStats(5, 2.0, 0.0)).estimate) == 2.0


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_alpha_that_is_no_error_rate_is_named(alpha: float) -> None:
    for arm in (MeanStats(5, 2.0, 1.0), ProportionStats(5, 2)):
        with pytest.raises(ValueError, match="alpha"):
            level_interval(arm, alpha=alpha)
        with pytest.raises(ValueError, match="alpha"):
            level_sequence(arm, planned_units=10, alpha=alpha)
