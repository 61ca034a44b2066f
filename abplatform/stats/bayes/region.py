"""Region of practical equivalence: the probability that an effect is too small to matter (Kruschke, 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.bayes.normal import posterior, prior_reasons, standardised
from abplatform.stats.bayes.priors import BetaPrior, NormalPrior
from abplatform.stats.bayes.quantiles import Contrast
from abplatform.stats.bayes.rates import RatePair
from abplatform.stats.effects import difference
from abplatform.stats.results import NotComputable, Objects, named_reasons, reason_code
from abplatform.stats.sufficient import ArmStats, ProportionStats
from abplatform.stats.validation import FloatArray, finite_values, instance_of, same_grid


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Effects between ``lower`` and ``upper`` count as none.

    Args:
        lower: lower end, finite; scalar or one per cell.
        upper: upper end, above ``lower``.
        relative: whether both are lifts (0.01 is 1% of the control's magnitude) instead of absolute differences.

    Raises:
        ValueError: naming the end that is not finite, or ``upper`` where it is not above ``lower``.
    """

    lower: FloatArray
    upper: FloatArray
    relative: bool

    def __init__(self, lower: ArrayLike, upper: ArrayLike, *, relative: bool = False) -> None:
        ends = finite_values("lower", lower), finite_values("upper", upper)
        same_grid(lower=ends[0], upper=ends[1])
        if (ends[1] <= ends[0]).any():
            raise ValueError("upper must be greater than lower")
        object.__setattr__(self, "lower", ends[0])
        object.__setattr__(self, "upper", ends[1])
        object.__setattr__(self, "relative", relative)


@dataclass(frozen=True, slots=True, eq=False)
class RegionProbability:
    """Posterior probabilities that an effect lies below, within and above a region; they sum to 1.

    NaN, with a reason, where there is no posterior.
    """

    below: FloatArray
    within: FloatArray
    above: FloatArray
    not_computable: Objects


@np.errstate(all="ignore")
def locate_effect(
    treatment: ArmStats, control: ArmStats, *, region: Region, prior: NormalPrior | BetaPrior
) -> RegionProbability:
    """Return where the effect of the treatment lies against a region of practical equivalence.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        region: effects that are as good as none, absolute or relative.
        prior: a ``NormalPrior`` of the effect (as in ``bayes.compare``), or a ``BetaPrior`` of each rate, for
            ``ProportionStats`` (as in ``bayes.compare_conversions``, by the same exact quadrature).

    Returns:
        Probabilities over the grid of cells; cells without a posterior carry the reason of the comparison.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> arms = ProportionStats(40_000, 4_020), ProportionStats(40_000, 4_000)
    >>> found = locate_effect(*arms, region=Region(-0.05, 0.05, relative=True), prior=BetaPrior())
    >>> round(float(found.within), 3), round(float(found.above), 3)
    (0.977, 0.019)
    """
    instance_of("region", region, Region, "Region(-0.01, 0.01)")
    if isinstance(prior, BetaPrior):
        if not isinstance(treatment, ProportionStats) or not isinstance(control, ProportionStats):
            raise ValueError("prior must be a NormalPrior unless both arms are ProportionStats")
        return _locate_rates(treatment, control, region, prior)
    instance_of("prior", prior, NormalPrior, "NormalPrior(0, 0.1)")
    diff = difference(treatment, control)
    same_grid(arms=diff.estimate, region=region.lower + region.upper, prior=prior.mean + prior.scale)
    joint, reasons = posterior(diff, prior), prior_reasons(diff, prior)
    if region.relative:
        baseless = (reasons == 0) & (diff.control == 0)
        reasons = np.where(baseless, reason_code(NotComputable.ZERO_CONTROL), reasons).astype(np.int8)
    low, high = (standardised(joint, end, relative=region.relative) for end in (region.lower, region.upper))
    # The difference of two tails on the side where both are small.
    within = np.where(low > 0, special.ndtr(-low) - special.ndtr(-high), special.ndtr(high) - special.ndtr(low))
    parts = special.ndtr(low), np.maximum(within, 0.0), special.ndtr(-high)
    shape = np.broadcast_shapes(reasons.shape, within.shape)
    below, within, above = (np.broadcast_to(np.where(reasons == 0, part, np.nan), shape) for part in parts)
    return RegionProbability(below, within, above, np.broadcast_to(named_reasons(reasons), shape))


def _locate_rates(
    treatment: ProportionStats, control: ProportionStats, region: Region, prior: BetaPrior
) -> RegionProbability:
    pair = RatePair.of(treatment, control, prior, region=region.lower + region.upper)
    contrast = Contrast(pair.treatment, pair.control, np.full(pair.with_lift.shape, region.relative))

    def below(end: FloatArray) -> FloatArray:
        at = pair.pick(end)
        # A rate cannot fall by more than itself.
        return contrast.cdf(np.log1p(np.maximum(at, -1.0)) if region.relative else at)

    low, high = below(region.lower), below(region.upper)
    reasons = pair.lift_reasons if region.relative else pair.reasons
    parts = low, np.maximum(high - low, 0.0), 1 - high
    lower, within, upper = (np.where(reasons == 0, pair.spread(part), np.nan) for part in parts)
    return RegionProbability(lower, within, upper, named_reasons(reasons))
