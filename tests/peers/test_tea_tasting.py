"""The same numbers as tea-tasting, asked in the same run on the same aggregates."""

from __future__ import annotations

import numpy as np
import pytest
import tea_tasting as tt
from tea_tasting.aggr import Aggregates

from abplatform.stats import MeanStats, ProportionStats, RatioStats, fixed

CHANCE = np.random.default_rng(20261125)
SESSIONS = [CHANCE.poisson(3, size) + 1.0 for size in (4000, 3600)]
ORDERS = [
    CHANCE.binomial(many.astype(int), rate).astype(float) for many, rate in zip(SESSIONS, (0.22, 0.2), strict=True)
]


def aggregates(orders: np.ndarray, sessions: np.ndarray) -> Aggregates:
    covariance = float(np.cov(orders, sessions)[0, 1])
    return Aggregates(
        count_=len(orders),
        mean_={"orders": float(orders.mean()), "sessions": float(sessions.mean())},
        var_={"orders": float(orders.var(ddof=1)), "sessions": float(sessions.var(ddof=1))},
        cov_={("orders", "sessions"): covariance},
    )


ARMS = [aggregates(orders, sessions) for orders, sessions in zip(ORDERS, SESSIONS, strict=True)]


def test_welch_t_of_means_equals_tea_tasting() -> None:
    theirs = tt.Mean("orders").analyze_aggregates(ARMS[1], ARMS[0])
    ours = fixed.compare(*(MeanStats.of(orders) for orders in ORDERS)).cell()
    assert ours.absolute.estimate == pytest.approx(theirs.effect_size, rel=1e-12)
    assert ours.absolute.lower == pytest.approx(theirs.effect_size_ci_lower, rel=1e-9)
    assert ours.absolute.upper == pytest.approx(theirs.effect_size_ci_upper, rel=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.relative.estimate == pytest.approx(theirs.rel_effect_size, rel=1e-12)


def test_ratio_of_means_equals_tea_tasting() -> None:
    theirs = tt.RatioOfMeans("orders", "sessions").analyze_aggregates(ARMS[1], ARMS[0])
    ours = fixed.compare(*(RatioStats.of(*pair) for pair in zip(ORDERS, SESSIONS, strict=True))).cell()
    assert ours.absolute.estimate == pytest.approx(theirs.effect_size, rel=1e-12)
    assert ours.absolute.lower == pytest.approx(theirs.effect_size_ci_lower, rel=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)


def test_its_relative_interval_and_fieller_agree_to_second_order() -> None:
    # Theirs is the delta method, ours the set that belongs to the test; they part by terms of 1 / n.
    theirs = tt.Mean("orders").analyze_aggregates(ARMS[1], ARMS[0])
    ours = fixed.compare(*(MeanStats.of(orders) for orders in ORDERS)).cell()
    width = theirs.rel_effect_size_ci_upper - theirs.rel_effect_size_ci_lower
    assert ours.relative.lower == pytest.approx(theirs.rel_effect_size_ci_lower, abs=0.02 * width)
    assert ours.relative.upper == pytest.approx(theirs.rel_effect_size_ci_upper, abs=0.02 * width)


def test_pooled_z_of_rates_equals_tea_tasting() -> None:
    hits = [int((orders > 0).sum()) for orders in ORDERS]
    rates = [
        Aggregates(count_=len(orders), mean_={"any": hit / len(orders)}, var_={"any": 0.0})
        for orders, hit in zip(ORDERS, hits, strict=True)
    ]
    theirs = tt.Proportion("any", method="norm", correction=False).analyze_aggregates(rates[1], rates[0])
    arms = [ProportionStats(len(orders), hit) for orders, hit in zip(ORDERS, hits, strict=True)]
    assert float(fixed.pooled_z_test(*arms)) == pytest.approx(theirs.pvalue, rel=1e-9)
