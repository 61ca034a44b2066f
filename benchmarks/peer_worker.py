"""Times other packages in their own environment: reads the name of a piece of work, answers its seconds.

Started by `benchmarks.inference` with the interpreter of the peers' environment and a file with the inputs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import SampleMeanStatistic
from spotify_confidence.analysis.frequentist.sequential_bound_solver import bounds

BOUNDS_REPEATS = 20


def pairs(file: str) -> list[tuple[SampleMeanStatistic, SampleMeanStatistic]]:
    """Control and treatment of every comparison as gbstats takes them, made before the clock starts."""
    inputs = np.load(file)
    treatment, control = ([inputs[f"{arm}_{part}"] for part in ("n", "mean", "m2")] for arm in ("treatment", "control"))
    shape = treatment[0].shape
    arms = [[np.broadcast_to(part, shape).ravel().tolist() for part in arm] for arm in (control, treatment)]
    statistics = [
        [
            SampleMeanStatistic(n=int(n), sum=n * mean, sum_squares=m2 + n * mean**2)
            for n, mean, m2 in zip(*arm, strict=True)
        ]
        for arm in arms
    ]
    return list(zip(*statistics, strict=True))


def works(file: str) -> dict[str, Callable[[], Any]]:
    """Every piece of work by its name."""
    arms = pairs(file)
    prior = GaussianPrior(mean=0.0, variance=1.0, proper=True)
    plain = FrequentistConfig(difference_type="relative")
    watched = SequentialConfig(difference_type="relative", sequential_tuning_parameter=100_000)
    believed = EffectBayesianConfig(difference_type="relative", prior_effect=prior)
    fractions = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    return {
        "t test": lambda: [TwoSidedTTest(a, b, plain).compute_result() for a, b in arms],
        "sequential": lambda: [SequentialTwoSidedTTest(a, b, watched).compute_result() for a, b in arms],
        "bayesian": lambda: [EffectBayesianABTest(a, b, believed).compute_result() for a, b in arms],
        "bounds": lambda: [bounds(fractions, 0.05, 2.0, 8.0, 2) for _ in range(BOUNDS_REPEATS)],
    }


if __name__ == "__main__":
    known = works(sys.argv[1])
    for line in sys.stdin:
        work = known[line.strip()]
        start = time.perf_counter()
        work()
        sys.stdout.write(f"{time.perf_counter() - start}\n")
        sys.stdout.flush()
