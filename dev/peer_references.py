"""Write ``references.json``: answers of gbstats and spotify-confidence. Runs in the peers' environment, without ours.

``make references`` calls it; read the diff before it is committed.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
)
from spotify_confidence.analysis.frequentist.sequential_bound_solver import bounds

# One arm each: units, mean, sum of squared deviations. Small and large, near and far, heavy and light.
MEANS: list[Any] = [
    [[400, 10.5, 3600.0], [380, 10.0, 3500.0]],
    [[21307, 1.4226, 6735000.0], [21306, 0.6528, 2900000.0]],
    [[50, -3.0, 90.0], [70, -2.0, 100.0]],
    [[1000000, 100.02, 4.0e8], [250000, 100.0, 1.1e8]],
]
RATES: list[Any] = [[[10000, 1200], [10000, 1000]], [[21307, 267], [21306, 122]], [[5000, 4900], [5000, 4850]]]
# Units, mean_y, mean_d, m2_y, m2_d, c_yd.
RATIOS: list[Any] = [
    [[5000, 12.0, 3.0, 600000.0, 20000.0, 60000.0], [5200, 11.0, 3.1, 580000.0, 21000.0, 58000.0]],
    [[800, 0.4, 2.0, 300.0, 900.0, 200.0], [790, 0.5, 2.1, 310.0, 880.0, 190.0]],
]
# Units, mean_y, mean_x, m2_y, m2_x, c_yx, and the slope.
ADJUSTED: list[Any] = [
    [[1000, 5.2, 4.0, 9000.0, 8000.0, 5600.0], [1010, 5.0, 4.1, 9100.0, 8100.0, 5700.0], 0.7],
    [[300, 1.0, 2.0, 500.0, 600.0, 300.0], [320, 1.1, 2.2, 520.0, 610.0, 310.0], 0.5],
]
# Information fractions, alpha (two-sided), exponent of the power family of spending functions.
BOUNDS: list[Any] = [
    [[0.2, 0.4, 0.6, 0.8, 1.0], 0.05, 2.0],
    [[0.1, 0.35, 0.4, 0.9, 1.0], 0.05, 2.0],
    [[0.25, 0.5, 0.75, 1.0], 0.01, 1.0],
    [[k / 20 for k in range(1, 21)], 0.05, 3.0],
]
TUNING = 20_000


def mean_statistic(n: int, mean: float, m2: float) -> SampleMeanStatistic:
    """Raw sums, as gbstats wants them."""
    return SampleMeanStatistic(n=n, sum=n * mean, sum_squares=m2 + n * mean * mean)


def product(n: int, first: float, second: float, moment: float) -> float:
    """A raw sum of products from a centred one."""
    return moment + n * first * second


def ratio_statistic(arm: list[Any]) -> RatioStatistic:
    """Numerator and denominator with their raw sum of products."""
    n, mean_y, mean_d, m2_y, m2_d, c_yd = arm
    return RatioStatistic(
        n=n,
        m_statistic=mean_statistic(n, mean_y, m2_y),
        d_statistic=mean_statistic(n, mean_d, m2_d),
        m_d_sum_of_products=product(n, mean_y, mean_d, c_yd),
    )


def adjusted_statistic(arm: list[Any], theta: float) -> RegressionAdjustedStatistic:
    """Outcome and covariate at a given slope."""
    n, mean_y, mean_x, m2_y, m2_x, c_yx = arm
    return RegressionAdjustedStatistic(
        n=n,
        post_statistic=mean_statistic(n, mean_y, m2_y),
        pre_statistic=mean_statistic(n, mean_x, m2_x),
        post_pre_sum_of_products=product(n, mean_y, mean_x, c_yx),
        theta=theta,
    )


def frequentist(arms: list[Any], kind: str) -> dict[str, Any]:
    """Welch's t test as gbstats does it: the control first."""
    treatment, control = arms
    result = TwoSidedTTest(control, treatment, FrequentistConfig(difference_type=kind)).compute_result()
    return {"estimate": result.expected, "interval": list(result.ci), "p_value": result.p_value}


def sequential(arms: list[Any]) -> dict[str, Any]:
    """The asymptotic confidence sequence, tuned as gbstats tunes it."""
    treatment, control = arms
    config = SequentialConfig(difference_type="absolute", sequential_tuning_parameter=TUNING)
    test = SequentialTwoSidedTTest(control, treatment, config)
    result = test.compute_result()
    return {"rho2": test.rho**2, "interval": list(result.ci), "p_value": result.p_value}


def bayesian(arms: list[Any], mean: float, scale: float) -> dict[str, Any]:
    """Normal-normal on the absolute effect with a proper prior."""
    treatment, control = arms
    prior = GaussianPrior(mean=mean, variance=scale**2, proper=True)
    config = EffectBayesianConfig(difference_type="absolute", prior_type="absolute", prior_effect=prior)
    result = EffectBayesianABTest(control, treatment, config).compute_result()
    return {
        "prior": [mean, scale],
        "estimate": result.expected,
        "interval": list(result.ci),
        "chance_to_win": float(result.chance_to_win),
        "risk": result.risk[1],
    }


def answers() -> dict[str, Any]:
    """Ask every case."""
    means = [(case, [mean_statistic(*arm) for arm in case]) for case in MEANS]
    rates = [(case, [ProportionStatistic(n=n, sum=hits) for n, hits in case]) for case in RATES]
    ratios = [(case, [ratio_statistic(arm) for arm in case]) for case in RATIOS]
    adjusted = [(case, [adjusted_statistic(arm, case[2]) for arm in case[:2]]) for case in ADJUSTED]

    def both(arms: list[Any]) -> dict[str, Any]:
        return {kind: frequentist(arms, kind) for kind in ("absolute", "relative")}

    return {
        "versions": {name: version(name) for name in ("gbstats", "spotify-confidence")},
        "means": [
            {"arms": case, **both(arms), "sequential": sequential(arms), "bayesian": bayesian(arms, 0.01, 0.3)}
            for case, arms in means
        ],
        "rates": [{"arms": case, **both(arms)} for case, arms in rates],
        "ratios": [{"arms": case, **both(arms)} for case, arms in ratios],
        "adjusted": [{"arms": case[:2], "theta": case[2], **both(arms)} for case, arms in adjusted],
        "bounds": [
            {
                "fractions": fractions,
                "alpha": alpha,
                "exponent": exponent,
                "bounds": bounds(np.array(fractions), alpha, exponent, 8.0, 2).bounds.tolist(),
            }
            for fractions, alpha, exponent in BOUNDS
        ],
    }


def plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    return value.item() if isinstance(value, np.generic) else str(value)


if __name__ == "__main__":
    text = json.dumps(answers(), indent=1, default=plain)
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")
