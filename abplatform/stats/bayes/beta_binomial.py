"""Beta-binomial inference on two conversion rates by fixed quadrature: exact to rounding, nothing random.

Each rate has a beta prior and so a beta posterior. Every answer is an expectation over one rate of a closed
form in the other, taken over the *narrower* posterior, where the other's distribution function is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.bayes.quadrature import Beta, JointGrid, chance_above, expected_excess, solve_increasing
from abplatform.stats.effects import Difference, difference
from abplatform.stats.margins import Margin
from abplatform.stats.results import (
    Codes,
    Comparison,
    Interval,
    NotComputable,
    RelativeInterval,
    SetKind,
    kind_code,
    named_kinds,
    named_reasons,
    reason_code,
)
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import BoolArray, Direction, FloatArray, finite_values, known_direction, probability


@dataclass(frozen=True, slots=True, eq=False)
class BetaPrior:
    """Prior of each rate, beta(successes, failures); the default is uniform, both 0.5 is Jeffreys'.

    Raises:
        ValueError: naming the parameter that is below 0.5; such priors pile up at 0 and 1 beyond the
            reach of the quadrature.
    """

    successes: FloatArray
    failures: FloatArray

    def __init__(self, successes: ArrayLike = 1.0, failures: ArrayLike = 1.0) -> None:
        for name, values in (("successes", successes), ("failures", failures)):
            given = finite_values(name, values)
            if (given < 0.5).any():
                raise ValueError(f"{name} must be at least 0.5")
            object.__setattr__(self, name, given)


@np.errstate(all="ignore")
def compare_conversions(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    prior: BetaPrior | None = None,
    alpha: float = 0.05,
    direction: Direction = "increase",
    margin: Margin | None = None,
) -> Comparison:
    """Return the joint posterior of two rates, summarised.

    Args:
        treatment: units and conversions of the treatment, any shape.
        control: units and conversions of the control.
        prior: prior of each of the two rates, uniform if absent.
        alpha: credible intervals are central, of probability ``1 - alpha``.
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
    level = float(probability("alpha", alpha))
    for name, arm in (("treatment", treatment), ("control", control)):
        if not isinstance(arm, ProportionStats):
            raise ValueError(f"{name} must be ProportionStats")
    diff = difference(treatment, control)
    reasons = _reasons(treatment, control, diff)
    shape, usable = reasons.shape, reasons == 0
    first, second = (_posterior(arm, prior or BetaPrior(), usable) for arm in (treatment, control))
    better, lesser = (first, second) if direction == "increase" else (second, first)

    def grid(values: FloatArray) -> FloatArray:
        full = np.full(shape, np.nan)
        full[usable] = values
        return full

    missing = np.full(shape, np.nan)
    return Comparison(
        method="beta_binomial",
        interval_kind="credible",
        absolute=Interval(grid(first.mean - second.mean), *map(grid, _difference_interval(first, second, level))),
        relative=_relative(first, second, level=level, reasons=reasons, no_control=diff.control == 0),
        p_value=missing,
        chance_to_win=grid(chance_above(better, lesser)),
        expected_loss=grid(expected_excess(lesser, better)),
        probability_worse_than_margin=missing
        if margin is None
        else grid(_worse_than(better, lesser, margin=margin, direction=direction, usable=usable)),
        not_computable=named_reasons(reasons),
        warnings=np.zeros(shape, dtype=np.int64),
    )


def _reasons(treatment: ProportionStats, control: ProportionStats, diff: Difference) -> Codes:
    """Return why a cell shows nothing but the prior; two arms without variance that differ are fine."""
    both = treatment + control
    told_apart = (both.successes > 0) & (both.successes < both.n)
    zero_variance = diff.reasons == reason_code(NotComputable.ZERO_VARIANCE)
    return np.where(zero_variance & told_apart, 0, diff.reasons).astype(np.int8)


def _posterior(arm: ProportionStats, prior: BetaPrior, usable: BoolArray) -> Beta:
    successes = prior.successes + arm.successes
    failures = prior.failures + (arm.n - arm.successes)
    return Beta(*(np.broadcast_to(part, usable.shape)[usable] for part in (successes, failures)))


def _difference_interval(first: Beta, second: Beta, level: float) -> list[FloatArray]:
    """Return central quantiles of ``first - second``."""
    cdf = JointGrid(first, second, first.sd <= second.sd).difference_cdf
    ends = [special.expit(end) for arm in (first, second) for end in arm.support()]
    bracket = ends[0] - ends[3], ends[1] - ends[2]
    centre, spread = first.mean - second.mean, np.hypot(first.sd, second.sd)
    return [
        solve_increasing(cdf, tail, bracket=bracket, centre=centre, spread=spread)
        for tail in (level / 2, 1 - level / 2)
    ]


def _relative(first: Beta, second: Beta, *, level: float, reasons: Codes, no_control: BoolArray) -> RelativeInterval:
    """Return the lift with central quantiles of ``first / second - 1``, solved on the log scale."""
    why = np.where((reasons == 0) & no_control, reason_code(NotComputable.ZERO_CONTROL), reasons).astype(np.int8)
    kept = (why == 0)[reasons == 0]
    first, second = first.take(kept), second.take(kept)
    cdf = JointGrid(first, second, first.sd / first.mean <= second.sd / second.mean).log_ratio_cdf
    ends = [special.log_expit(end) for arm in (first, second) for end in arm.support()]
    centre = np.log(first.mean) - np.log(second.mean)
    spread = np.hypot(first.sd / first.mean, second.sd / second.mean)
    bracket = ends[0] - ends[3], ends[1] - ends[2]
    bounds = [
        solve_increasing(cdf, tail, bracket=bracket, centre=centre, spread=spread)
        for tail in (level / 2, 1 - level / 2)
    ]

    def grid(values: FloatArray) -> FloatArray:
        full = np.full(why.shape, np.nan)
        full[why == 0] = values
        return full

    lower, upper = (grid(np.expm1(bound)) for bound in bounds)
    return RelativeInterval(
        estimate=grid(np.expm1(centre)),
        lower=lower,
        upper=upper,
        kind=named_kinds(np.where(why == 0, kind_code(SetKind.BOUNDED), kind_code(SetKind.UNDEFINED))),
        excludes_zero=(lower > 0) | (upper < 0),
        not_computable=named_reasons(why),
    )


def _worse_than(better: Beta, lesser: Beta, *, margin: Margin, direction: Direction, usable: BoolArray) -> FloatArray:
    """Return the probability of harm beyond the margin, always as a lower tail of ``better - lesser``."""
    size = np.broadcast_to(margin.size, usable.shape)[usable]
    if not margin.relative:
        return JointGrid(better, lesser, better.sd <= lesser.sd).difference_cdf(-size)
    grid = JointGrid(better, lesser, better.sd / better.mean <= lesser.sd / lesser.mean)
    if direction == "decrease":
        return grid.log_ratio_cdf(-np.log1p(size))
    # A fall by the whole rate or more cannot happen.
    return np.where(size < 1, grid.log_ratio_cdf(np.log1p(-np.minimum(size, 0.999999))), 0.0)
