"""Bayesian inference: chance to win, expected loss, credible intervals, probability of harm.

``compare`` (normal-normal) serves every kind of metric with a prior on the effect itself; the plan's prior is
this one. ``compare_conversions`` (beta-binomial) is the exact alternative for rates, with a prior on each rate.
"""

from abplatform.stats.bayes.beta_binomial import BetaPrior, compare_conversions
from abplatform.stats.bayes.normal import compare

__all__ = ["BetaPrior", "compare", "compare_conversions"]
