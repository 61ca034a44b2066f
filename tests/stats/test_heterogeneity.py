"""Do effects of groups differ? Against SciPy's Welch test of means, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from abplatform.stats import MeanStats, ProportionStats, RatioStats
from abplatform.stats.heterogeneity import check_heterogeneity
from abplatform.stats.results import NotComputable


def still(groups: int) -> MeanStats:
    """A control that does not vary: what is left is an analysis of variance of the treatments' means."""
    return MeanStats(np.full(groups, 10**6), np.zeros(groups), np.zeros(groups))


def test_of_means_it_is_welchs_analysis_of_variance() -> None:
    rng = np.random.default_rng(5)
    samples = [rng.normal(0.1 * number, 1 + number, size) for number, size in enumerate((8, 15, 40, 25))]
    parts = [MeanStats.of(sample) for sample in samples]
    arms = MeanStats(*(np.array([getattr(part, name) for part in parts]) for name in ("n", "mean", "m2")))
    found = check_heterogeneity(arms, still(4))
    expected = stats.f_oneway(*samples, equal_var=False)
    assert float(found.statistic) == pytest.approx(expected.statistic, rel=1e-12)
    assert float(found.p_value) == pytest.approx(expected.pvalue, rel=1e-10)


def test_of_rates_it_is_cochrans_q() -> None:
    hits, n = np.array([120, 150, 90]), np.array([1000, 1100, 900])
    base, m = np.array([100, 90, 85]), np.array([1000, 1000, 950])
    found = check_heterogeneity(ProportionStats(n, hits), ProportionStats(m, base))
    p, q = hits / n, base / m
    weight = 1 / (p * (1 - p) / (n - 1) + q * (1 - q) / (m - 1))
    effect = (weight * (p - q)).sum() / weight.sum()
    statistic = (weight * (p - q - effect) ** 2).sum()
    assert float(found.effect) == pytest.approx(effect, rel=1e-3)
    assert float(found.p_value) == pytest.approx(stats.chi2.sf(statistic, 2), rel=5e-3)
    assert float(found.share) == pytest.approx(max(0, 1 - 2 / statistic), abs=1e-2)


def test_groups_that_are_too_small_are_left_out() -> None:
    whole = check_heterogeneity(ProportionStats([100, 100], [10, 30]), ProportionStats([100, 100], [9, 8]))
    filled = check_heterogeneity(
        ProportionStats([100, 100, 0, 1], [10, 30, 0, 1]), ProportionStats([100] * 4, [9, 8, 9, 9])
    )
    assert int(filled.groups) == 2
    assert float(filled.p_value) == float(whole.p_value)


def test_one_group_has_nothing_to_differ_from() -> None:
    found = check_heterogeneity(ProportionStats([100, 1], [10, 1]), ProportionStats([100, 1], [9, 0]))
    assert found.not_computable.item() is NotComputable.TOO_FEW_GROUPS
    assert np.isnan(found.p_value)


def test_equal_effects_are_rejected_as_often_as_promised() -> None:
    rng, repetitions = np.random.default_rng(11), 4000
    rates = np.array([0.05, 0.1, 0.2, 0.4])
    n = np.array([400, 300, 200, 250])
    treatment = ProportionStats(np.broadcast_to(n, (repetitions, 4)), rng.binomial(n, rates + 0.02, (repetitions, 4)))
    control = ProportionStats(np.broadcast_to(n, (repetitions, 4)), rng.binomial(n, rates, (repetitions, 4)))
    share = float((check_heterogeneity(treatment, control).p_value < 0.05).mean())
    assert share == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / repetitions) ** 0.5 + 0.005)


def test_arms_of_several_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="control must be ProportionStats"):
        check_heterogeneity(
            ProportionStats([10, 10], [1, 2]), RatioStats([10, 10], 1.0, 1.0, m2_y=1.0, m2_d=0.0, c_yd=0.0)
        )
    with pytest.raises(ValueError, match="treatment must have the groups along an axis"):
        check_heterogeneity(ProportionStats(10, 1), ProportionStats(10, 1))
