"""When a Bayesian experiment may end, and what a guardrail's posterior says: pure rules, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.results import Comparison, Objects
from abplatform.stats.validation import (
    BoolArray,
    Direction,
    FloatArray,
    instance_of,
    known_direction,
    non_negative,
    positive,
    probability,
    same_grid,
    whole_counts,
)


class StopReason(StrEnum):
    """Why to stop, or why not yet. The first that applies is given."""

    NOT_COMPUTABLE = "NOT_COMPUTABLE"
    MINIMUM_UNITS_NOT_REACHED = "MINIMUM_UNITS_NOT_REACHED"
    TREATMENT_LOSS_BELOW_THRESHOLD = "TREATMENT_LOSS_BELOW_THRESHOLD"
    CONTROL_LOSS_BELOW_THRESHOLD = "CONTROL_LOSS_BELOW_THRESHOLD"
    LOSS_ABOVE_THRESHOLD = "LOSS_ABOVE_THRESHOLD"


class GuardrailVerdict(StrEnum):
    """What the probability of harm beyond a margin says."""

    NOT_COMPUTABLE = "not_computable"
    NON_INFERIOR = "non_inferior"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, eq=False)
class Stop:
    """Whether to stop, and why, one entry per cell.

    ``treatment_loss`` and ``control_loss`` are what choosing either is expected to cost, on the threshold's scale.
    """

    stop: BoolArray
    reason: Objects
    treatment_loss: FloatArray
    control_loss: FloatArray


@np.errstate(all="ignore")
def should_stop(
    comparison: Comparison,
    *,
    units: ArrayLike,
    minimum_units: ArrayLike,
    loss_threshold: ArrayLike,
    base: ArrayLike = 1.0,
    direction: Direction = "increase",
) -> Stop:
    """Stop when the choice that is likelier to be right is expected to lose less than a threshold (Stucchio, 2015).

    The treatment is chosen when its chance to win is above 1/2 and its expected loss below the threshold; the control
    when that chance is at most 1/2 and the control's own loss ``E[max(0, gain)]`` is below it. Never before the minimum
    of units. The rule bounds the expected loss under the prior, not the rate of false verdicts.

    Args:
        comparison: a Bayesian comparison.
        units: analysed units so far, scalar or one per cell.
        minimum_units: no verdict below it, at least 0.
        loss_threshold: how much may be lost per unit, above 0.
        base: what losses are divided by first, at least 0: the magnitude of the control mean for a threshold that is a
            share of it. Where it is 0 there is no verdict.
        direction: which way is better, as in the comparison.

    Raises:
        ValueError: naming the argument that does not fit; ``comparison`` where it is not Bayesian.

    >>> from abplatform.stats import ProportionStats, bayes
    >>> arms = ProportionStats(10_000, 1_100), ProportionStats(10_000, 1_000)
    >>> now = should_stop(
    ...     bayes.compare_conversions(*arms), units=20_000, minimum_units=5_000, loss_threshold=0.005, base=0.1
    ... )
    >>> bool(now.stop), str(now.reason)
    (True, 'TREATMENT_LOSS_BELOW_THRESHOLD')
    """
    instance_of("comparison", comparison, Comparison, "bayes.compare(treatment, control, prior=prior)")
    if comparison.interval_kind != "credible":
        raise ValueError("comparison must be Bayesian")
    known_direction(direction)
    threshold, scale = positive("loss_threshold", loss_threshold), non_negative("base", base)
    so_far, fewest = whole_counts("units", units), whole_counts("minimum_units", minimum_units)
    asked = {"units": so_far, "minimum_units": fewest, "loss_threshold": threshold, "base": scale}
    same_grid(comparison=comparison.chance_to_win, **asked)
    mean = comparison.absolute.estimate if direction == "increase" else -comparison.absolute.estimate
    win, treatment_loss = comparison.chance_to_win, comparison.expected_loss / scale
    # E[max(0, gain)] is E[gain] + E[max(0, -gain)].
    control_loss = np.maximum(mean / scale + treatment_loss, 0.0)
    rules = [
        (~(np.isfinite(win) & np.isfinite(treatment_loss)), StopReason.NOT_COMPUTABLE),
        (so_far < fewest, StopReason.MINIMUM_UNITS_NOT_REACHED),
        ((win > 0.5) & (treatment_loss < threshold), StopReason.TREATMENT_LOSS_BELOW_THRESHOLD),
        ((win <= 0.5) & (control_loss < threshold), StopReason.CONTROL_LOSS_BELOW_THRESHOLD),
    ]
    masks = np.broadcast_arrays(*(mask for mask, _ in rules))
    index = np.select(masks, range(len(rules)), len(rules))
    reasons = np.array([*(reason for _, reason in rules), StopReason.LOSS_ABOVE_THRESHOLD], dtype=object)
    losses = (np.broadcast_to(loss, index.shape) for loss in (treatment_loss, control_loss))
    return Stop((index == 2) | (index == 3), np.asarray(reasons[index], dtype=object), *losses)


def judge_guardrail(
    probability_worse: ArrayLike, *, safe_below: ArrayLike = 0.05, harmful_above: ArrayLike = 0.95
) -> Objects:
    """Judge a guardrail by the posterior probability that it got worse by more than its margin.

    Args:
        probability_worse: ``probability_worse_than_margin`` of a comparison; NaN where there is none, which is
            never a pass.
        safe_below: up to which probability the guardrail is ``non_inferior``, between 0 and 1.
        harmful_above: from which probability it is ``worse``, at least ``safe_below``.

    Returns:
        An object array of ``GuardrailVerdict``.

    Raises:
        ValueError: naming the threshold that is out of range or order, or probabilities outside [0, 1].

    >>> [str(verdict) for verdict in judge_guardrail([0.01, 0.4, 0.99])]
    ['non_inferior', 'inconclusive', 'worse']
    """
    try:
        worse = np.asarray(probability_worse, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("probability_worse must be numbers, or NaN where there is none") from None
    if ((worse < 0) | (worse > 1)).any():
        raise ValueError("probability_worse must lie between 0 and 1")
    safe, harmful = probability("safe_below", safe_below), probability("harmful_above", harmful_above)
    same_grid(probability_worse=worse, safe_below=safe, harmful_above=harmful)
    if (harmful < safe).any():
        raise ValueError("harmful_above must not be below safe_below")
    index = np.select([np.isnan(worse), worse < safe, worse > harmful], [0, 1, 2], 3)
    return np.asarray(np.array([*GuardrailVerdict], dtype=object)[index], dtype=object)
