"""Simulation of whole experiments: data, a peeking schedule, a procedure, and what happens over many repetitions.

It judges with the engine's own functions, so that what it measures is what users get.
"""

from abplatform.stats.simulate.outcomes import Measured, Outcomes, mean_of_runs, share_of_runs, simulate
from abplatform.stats.simulate.populations import Bernoulli, LogNormal, Normal, Population, Watched
from abplatform.stats.simulate.procedures import (
    Bayesian,
    Fixed,
    GroupSequential,
    NaivePeeking,
    Procedure,
    Sequential,
    Verdicts,
    guard_passed,
)
from abplatform.stats.simulate.trials import Looks, Trial, equally_spaced, every

__all__ = [
    "Bayesian",
    "Bernoulli",
    "Fixed",
    "GroupSequential",
    "LogNormal",
    "Looks",
    "Measured",
    "NaivePeeking",
    "Normal",
    "Outcomes",
    "Population",
    "Procedure",
    "Sequential",
    "Trial",
    "Verdicts",
    "Watched",
    "equally_spaced",
    "every",
    "guard_passed",
    "mean_of_runs",
    "share_of_runs",
    "simulate",
]
