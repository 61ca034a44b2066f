"""Non-inferiority margins, absolute or relative to control, and the one-sided test against them.

A margin says how much worse a guardrail may get. The null hypothesis is that the treatment is worse by the
margin or more; only its rejection protects the user, missing data never does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.effects import Difference, lift_ratio, spread
from abplatform.stats.lifts import lift_set
from abplatform.stats.results import (
    IntervalKind,
    NonInferiority,
    NotComputable,
    named_reasons,
    reason_code,
)
from abplatform.stats.validation import Direction, FloatArray, instance_of, known_direction, non_negative, same_grid


@dataclass(frozen=True, slots=True, eq=False)
class Margin:
    """How much worse is still acceptable.

    Args:
        size: at least 0; 0 asks for superiority. Scalar or one per cell.
        relative: whether ``size`` is a share of the magnitude of the control mean (0.01 is 1%).

    Raises:
        ValueError: naming ``size`` when it is negative or not finite.
    """

    size: FloatArray
    relative: bool

    def __init__(self, size: ArrayLike, *, relative: bool = False) -> None:
        object.__setattr__(self, "size", non_negative("size", size))
        object.__setattr__(self, "relative", relative)


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Distance of the data from the margin, positive on the safe side.

    ``control_weight`` is the factor k in ``treatment - k control``, whose variance this is; 1 for an
    absolute margin.
    """

    estimate: FloatArray
    standard_error: FloatArray
    control_weight: FloatArray


@np.errstate(all="ignore")
def margin_contrast(diff: Difference, margin: Margin, direction: Direction) -> Contrast:
    """Return ``good * (treatment - control) + margin`` and its standard error, good being +1 or -1.

    A relative margin m is ``m |control|``, so that its noise belongs to the contrast: the weight of control
    becomes ``1 - good * sign(control) * m``.
    """
    known_direction(direction)
    instance_of("margin", margin, Margin, "Margin(0.001)")
    grid = same_grid(treatment=diff.estimate, margin=margin.size)
    good = 1.0 if direction == "increase" else -1.0
    if margin.relative:
        weight = 1.0 - good * np.sign(diff.control) * margin.size
        estimate = good * (diff.treatment - weight * diff.control)
    else:
        weight = np.ones(grid)
        estimate = good * diff.estimate + margin.size
    # What both arms share cancels only where the weight is 1.
    shared = np.square(1.0 - weight) * diff.shared_variance
    variance = diff.treatment_variance + np.square(weight) * diff.control_variance + shared
    return Contrast(np.asarray(estimate), np.where(diff.testable & (variance > 0), np.sqrt(variance), np.nan), weight)


@np.errstate(all="ignore")
def judge_margin(  # noqa: PLR0913 - the parts of one answer
    diff: Difference,
    contrast: Contrast,
    *,
    margin: Margin,
    direction: Direction,
    critical: FloatArray,
    p_value: FloatArray,
    alpha: FloatArray,
    method: str,
    interval_kind: IntervalKind,
) -> NonInferiority:
    """Assemble the answer of a one-sided test from its critical value and p-value."""
    increase = direction == "increase"
    reasons = diff.reasons
    if margin.relative:
        zero = (reasons == 0) & (diff.control == 0)
        reasons = np.where(zero, reason_code(NotComputable.ZERO_CONTROL), reasons).astype(np.int8)
        lower, upper, _ = lift_set(lift_ratio(diff), critical)
        bound = lower if increase else upper
    else:
        half = critical * contrast.standard_error
        bound = diff.estimate - half if increase else diff.estimate + half
    # A relative margin of 100% leaves the treatment alone, which may have no variation of its own.
    still = (reasons == 0) & ~np.isfinite(contrast.standard_error)
    reasons = np.where(still, reason_code(NotComputable.ZERO_VARIANCE), reasons).astype(np.int8)
    # The parts may have fewer axes than the margin or the error rate.
    grid = np.broadcast_shapes(bound.shape, p_value.shape, alpha.shape)
    usable = spread(reasons == 0, grid)
    p_value, bound = np.where(usable, p_value, np.nan), np.where(usable, bound, np.nan)
    return NonInferiority(
        method=method,
        interval_kind=interval_kind,
        bound=bound,
        limit=spread(-margin.size if increase else margin.size, grid),
        p_value=p_value,
        non_inferior=np.isfinite(bound) & (p_value < alpha),
        not_computable=spread(named_reasons(reasons), grid),
    )
