"""Beta-binomial inference on two conversion rates by fixed quadrature: exact to rounding, nothing random.

Each rate has a beta prior and so a beta posterior, independent of the other's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.bayes.advantage import chance_and_loss
from abplatform.stats.bayes.priors import BetaPrior
from abplatform.stats.bayes.quantiles import Contrast, central_quantiles
from abplatform.stats.bayes.rates import RatePair
from abplatform.stats.margins import Margin
from abplatform.stats.results import (
    Comparison,
    Interval,
    RelativeInterval,
    SetKind,
    kind_code,
    named_kinds,
    named_reasons,
)
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import Direction, FloatArray, instance_of, known_direction, probability


@np.errstate(all="ignore")
def compare_conversions(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    prior: BetaPrior | None = None,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
    margin: Margin | None = None,
) -> Comparison:
    """Return the joint posterior of two rates, summarised.

    Args:
        treatment: units and conversions of the treatment, any shape.
        control: units and conversions of the control.
        prior: prior of each of the two rates, uniform if absent.
        alpha: credible intervals are central, of probability ``1 - alpha``; scalar or one per cell.
        direction: which way is better; decides what "win", "loss" and "worse" mean.
        margin: if given, also the probability that the treatment is worse by more than that.

    Returns:
        A ``Comparison`` of kind ``credible``. The absolute estimate is the difference of the posterior means,
        the relative one their ratio less 1. Cells without units, and those where nobody or everybody converted
        in both arms, carry a reason: all they could show is the prior. So does the relative lift where
        nobody in control converted.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> cell = compare_conversions(ProportionStats(1000, 120), ProportionStats(1000, 100)).cell()
    >>> round(cell.chance_to_win, 4), round(cell.expected_loss, 6)
    (0.9232, 0.000485)
    """
    known_direction(direction)
    level = probability("alpha", alpha)
    if margin is not None:
        instance_of("margin", margin, Margin, "Margin(0.001)")
    size = np.zeros(()) if margin is None else margin.size
    pair = RatePair.of(treatment, control, BetaPrior() if prior is None else prior, alpha=level, margin=size)
    first, second = pair.treatment, pair.control
    better, lesser = (first, second) if direction == "increase" else (second, first)
    (lower, upper), lift_bounds = _intervals(pair, pair.pick(level))
    win, loss = chance_and_loss(better, lesser)
    missing = np.full(pair.reasons.shape, np.nan)
    return Comparison(
        method="beta_binomial",
        interval_kind="credible",
        absolute=Interval(*map(pair.spread, (first.mean - second.mean, lower, upper))),
        relative=_lift(pair, lift_bounds),
        p_value=missing,
        chance_to_win=pair.spread(win),
        expected_loss=pair.spread(loss),
        probability_worse_than_margin=missing if margin is None else _worse_than(pair, margin, direction),
        not_computable=named_reasons(pair.reasons),
        warnings=np.zeros(pair.reasons.shape, dtype=np.int64),
    )


def _intervals(pair: RatePair, level: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return central quantiles of all differences, and of the log ratios where there is a lift, solved together."""
    lift, cells = pair.with_lift, pair.with_lift.size
    first, second = pair.treatment, pair.control
    relative = np.arange(cells + np.count_nonzero(lift)) >= cells
    contrast = Contrast(first.then(first.take(lift)), second.then(second.take(lift)), relative)
    tails = central_quantiles(contrast, np.concatenate([level, level[lift]]))
    return [tail[:cells] for tail in tails], [tail[cells:] for tail in tails]


def _lift(pair: RatePair, bounds: list[FloatArray]) -> RelativeInterval:
    why, first, second = pair.lift_reasons, pair.treatment, pair.control
    logs = (np.log(first.mean / second.mean)[pair.with_lift], *bounds)
    estimate, lower, upper = (pair.spread_lift(np.expm1(log)) for log in logs)
    return RelativeInterval(
        estimate=estimate,
        lower=lower,
        upper=upper,
        kind=named_kinds(np.where(why == 0, kind_code(SetKind.BOUNDED), kind_code(SetKind.UNDEFINED))),
        excludes_zero=(lower > 0) | (upper < 0),
        not_computable=named_reasons(why),
        cautions=np.zeros(why.shape, dtype=np.int64),
    )


def _worse_than(pair: RatePair, margin: Margin, direction: Direction) -> FloatArray:
    """Return the probability of harm beyond the margin, always as a lower tail of better less lesser."""
    size, increase = pair.pick(margin.size), direction == "increase"
    at = -size
    if margin.relative:
        # A fall by the whole rate or more cannot happen.
        at = np.log1p(-np.minimum(size, 1.0)) if increase else -np.log1p(size)
    better, lesser = (pair.treatment, pair.control) if increase else (pair.control, pair.treatment)
    return pair.spread(Contrast(better, lesser, np.full(size.shape, margin.relative)).cdf(at))
