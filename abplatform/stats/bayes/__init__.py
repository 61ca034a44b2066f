"""Bayesian inference: chance to win, expected loss, credible intervals, probability of harm.

``compare`` (normal-normal) serves every kind of metric with a prior on the effect itself; the plan's prior is
this one. ``compare_conversions`` (beta-binomial) is the exact alternative for rates, with a prior on each rate. Beside
them: where an effect lies against a region of practical equivalence, which of several variants is best, when to stop,
and priors fitted to past experiments.
"""

from abplatform.stats.bayes.beta_binomial import compare_conversions
from abplatform.stats.bayes.history import FitMethod, FittedPrior, fit_prior
from abplatform.stats.bayes.normal import compare
from abplatform.stats.bayes.priors import BetaPrior, NormalPrior
from abplatform.stats.bayes.ranking import Ranking, rank_variants
from abplatform.stats.bayes.region import Region, RegionProbability, locate_effect
from abplatform.stats.bayes.stopping import GuardrailVerdict, Stop, StopReason, judge_guardrail, should_stop

__all__ = [
    "BetaPrior",
    "FitMethod",
    "FittedPrior",
    "GuardrailVerdict",
    "NormalPrior",
    "Ranking",
    "Region",
    "RegionProbability",
    "Stop",
    "StopReason",
    "compare",
    "compare_conversions",
    "fit_prior",
    "judge_guardrail",
    "locate_effect",
    "rank_variants",
    "should_stop",
]
