"""One-sided and two-sided: p-values, critical values, and the bound that a one-sided answer leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.effects import Difference, lift_ratio
from abplatform.stats.lifts import RelativeMethod
from abplatform.stats.reference import lower_quantile, lower_tail
from abplatform.stats.results import Caution, Comparison, Interval, RelativeInterval, SetKind
from abplatform.stats.validation import FloatArray, probability

Alternative = Literal["two_sided", "greater", "less"]
"""What a test looks for: any difference, a treatment above the control, or one below it."""


def tail_rate(alpha: ArrayLike, alternative: str) -> FloatArray:
    """Return the checked error rate of each tail that the alternative uses.

    Raises:
        ValueError: naming ``alternative`` where it is unknown, ``alpha`` outside its range: between 0 and 1 for
            two sides, below 0.5 for one.
    """
    if alternative not in get_args(Alternative):
        raise ValueError(f"alternative must be 'two_sided', 'greater' or 'less', not {alternative!r}")
    if alternative == "two_sided":
        return np.asarray(probability("alpha", alpha) / 2)
    return probability("alpha", alpha, below=0.5)


def critical_value(tail: FloatArray, freedom: FloatArray | None) -> FloatArray:
    """Return the statistic that a tail of probability ``tail`` begins with."""
    return np.asarray(-lower_quantile(tail, freedom))


def tail_p_value(statistic: FloatArray, freedom: FloatArray | None, alternative: Alternative) -> FloatArray:
    """Return the p-value of a statistic whose positive values speak for ``greater``."""
    if alternative == "two_sided":
        return np.asarray(np.minimum(2 * lower_tail(-np.abs(statistic), freedom), 1.0))
    return lower_tail(-statistic if alternative == "greater" else statistic, freedom)


def open_side(result: Comparison, diff: Difference, alternative: Alternative, relative: RelativeMethod) -> Comparison:
    """Drop the bounds that a one-sided alternative leaves out from a comparison at its critical value.

    ``greater`` keeps the lower bounds, ``less`` the upper ones. The set of lifts is the one-sided test's own:
    a bounded two-sided set becomes a half line; a gap between two rays (``disjoint``) stays only where the gap is
    on the side that this test can reject.
    """
    if alternative == "two_sided":
        return result
    sign = 1.0 if alternative == "greater" else -1.0
    lift = _one_sided_lift(result.relative, diff, sign, relative)
    return replace(
        result,
        absolute=_one_bound(result.absolute, sign),
        relative=lift,
        warnings=np.asarray(diff.cautions | lift.cautions),
    )


def _one_bound(interval: Interval, sign: float) -> Interval:
    nothing = np.full(interval.estimate.shape, np.nan)
    return Interval(
        interval.estimate,
        interval.lower if sign > 0 else nothing,
        interval.upper if sign < 0 else nothing,
    )


@np.errstate(all="ignore")
def _one_sided_lift(
    lift: RelativeInterval, diff: Difference, sign: float, relative: RelativeMethod
) -> RelativeInterval:
    ratio = lift_ratio(diff)
    kept = lift.lower if sign > 0 else lift.upper
    # The gap holds the lifts x for which top - x bottom is too large in size; its sign there is this one.
    gap = sign * (ratio.top * ratio.bottom_variance - ratio.bottom * ratio.covariance) > 0
    kind = np.array(lift.kind)
    kind[np.isfinite(kept)] = SetKind.HALF_LINE
    kind[(lift.kind == SetKind.HALF_LINE) & ~np.isfinite(kept)] = SetKind.WHOLE_LINE
    kind[(lift.kind == SetKind.DISJOINT) & ~gap] = SetKind.WHOLE_LINE
    ahead = sign * ratio.top > 0 if relative == "fieller" else sign * kept > 0
    nothing = np.full(kept.shape, np.nan)
    return replace(
        lift,
        lower=kept if sign > 0 else nothing,
        upper=kept if sign < 0 else nothing,
        kind=kind,
        excludes_zero=lift.excludes_zero & ahead,
        # Half a line is what was asked for, and no warning.
        cautions=np.where(
            kind == SetKind.DISJOINT,
            Caution.RELATIVE_DISJOINT.value,
            np.where(kind == SetKind.WHOLE_LINE, Caution.RELATIVE_UNBOUNDED.value, 0),
        ),
    )
