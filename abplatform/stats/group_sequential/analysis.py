"""Two arms at one look of a group sequential test: repeated confidence intervals and p-values.

The interval ``estimate +- c_k se`` at the critical value of look k covers the true difference at all looks at once
(Jennison and Turnbull, 1989), whether or not the bounds are obeyed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.effects import compare_at, difference
from abplatform.stats.group_sequential.bounds import checked_fractions, critical_values
from abplatform.stats.group_sequential.repeated import repeated_p_values
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending
from abplatform.stats.lifts import RelativeMethod
from abplatform.stats.margins import Margin, judge_margin, margin_contrast
from abplatform.stats.reference import critical_statistic, normal_score, welch_freedom
from abplatform.stats.results import Comparison, NonInferiority
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import BoolArray, Direction, FloatArray, probability, same_grid

METHOD = "group_sequential"


@np.errstate(all="ignore")
def compare(
    treatment: ArmStats,
    control: ArmStats,
    *,
    fractions: ArrayLike,
    alpha: ArrayLike = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    final: bool = False,
    relative: RelativeMethod = "fieller",
) -> Comparison:
    """Compare two arms at the last of the looks so far.

    Assumes a nearly normal estimate of independent units that accumulate from look to look, and fractions that do not
    depend on the effects seen (Lan and DeMets, 1983). Where arms have degrees of freedom, the t statistic is judged by
    the bound of the same tail probability (Jennison and Turnbull, 1999, sec. 3.8): exact at the first look, nearly so
    later.

    Args:
        treatment: statistics of the treatment at this look, any shape.
        control: statistics of the control, of the same class.
        fractions: information fractions of *all* looks so far along the last axis, this one last; analysed units over
            planned units of the two arms, say. One schedule for all cells, or one per cell (leading axes). 0 where a
            cell had no data yet. Fractions do not decrease.
        alpha: two-sided error rate over all looks together.
        spending: the spending function of the plan.
        final: this look ends the test: it spends what is left, whatever its fraction.
        relative: ``fieller`` (at the same critical value), or ``delta`` for parity.

    Returns:
        A ``Comparison`` with ``interval_kind`` ``repeated``. The interval is infinite and p is 1 where nothing is
        spent: before any data, and at looks after the one that reached the planned information.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> arms = ProportionStats(5_000, 600), ProportionStats(5_000, 500)
    >>> result = compare(*arms, fractions=[0.25, 0.5]).cell()
    >>> round(result.absolute.lower, 4), round(result.absolute.upper, 4), round(result.p_value, 4)
    (0.0015, 0.0385, 0.0329)
    """
    diff = difference(treatment, control)
    times, level = checked_fractions(fractions), probability("alpha", alpha)
    same_grid(treatment=diff.estimate, fractions=times[..., 0], alpha=level)
    freedom = welch_freedom(diff, treatment, control, np.ones(()))
    z = normal_score(diff.z, freedom)
    critical = critical_values(times, alpha=level, spending=spending, final=final)
    p_value = repeated_p_values(z, times, spending=spending, final=final)
    return compare_at(
        diff,
        critical_statistic(critical, freedom),
        p_value=_agreeing(p_value, np.abs(z) > critical, level),
        method=METHOD,
        interval_kind="repeated",
        relative=relative,
    )


@np.errstate(all="ignore")
def non_inferiority(
    treatment: ArmStats,
    control: ArmStats,
    *,
    margin: Margin,
    fractions: ArrayLike,
    alpha: ArrayLike = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    final: bool = False,
    direction: Direction,
) -> NonInferiority:
    """Test, one-sided at ``alpha`` over all looks, that the treatment is not worse by the margin or more.

    Args:
        treatment: statistics of the treatment at this look, any shape.
        control: statistics of the control, of the same class.
        margin: what is still acceptable, absolute or relative.
        fractions: as for `compare`.
        alpha: one-sided error rate over all looks together.
        spending: the spending function of the plan.
        final: as for `compare`.
        direction: ``increase`` where more is better (harm is a fall), ``decrease`` where less is.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> complaints = ProportionStats(40_000, 41), ProportionStats(40_000, 40)
    >>> test = non_inferiority(*complaints, margin=Margin(0.001), fractions=[0.5, 1.0], direction="decrease")
    >>> bool(test.non_inferior), round(float(test.bound), 6)
    (True, 0.000399)
    """
    diff = difference(treatment, control)
    times, level = checked_fractions(fractions), probability("alpha", alpha)
    contrast = margin_contrast(diff, margin, direction)
    freedom = welch_freedom(diff, treatment, control, contrast.control_weight)
    z = normal_score(contrast.estimate / contrast.standard_error, freedom)
    same_grid(treatment=z, fractions=times[..., 0], alpha=level)
    critical = critical_values(times, alpha=level, spending=spending, sides=1, final=final)
    p_value = repeated_p_values(z, times, spending=spending, sides=1, final=final)
    return judge_margin(
        diff,
        contrast,
        margin=margin,
        direction=direction,
        critical=critical_statistic(critical, freedom),
        p_value=_agreeing(p_value, z > critical, level),
        alpha=level,
        method=METHOD,
        interval_kind="repeated",
    )


def _agreeing(p_value: FloatArray, rejects: BoolArray, alpha: FloatArray) -> FloatArray:
    """Let rounding of the last digits of p never contradict the bound."""
    below = np.nextafter(alpha, 0.0)
    return np.where(rejects, np.minimum(p_value, below), np.maximum(p_value, alpha))
