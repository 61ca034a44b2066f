"""Intervals of what one arm has by itself, not of a difference: once, or valid however often one looks.

Rates have Wilson's interval and an exact confidence sequence. Everything else (means, capped means, ratios, sums of
clusters) has its estimate, give or take so many standard errors: Student's t (Gosset, 1908) where the arm names degrees
of freedom, else the normal; and the asymptotic confidence sequence of one mean (Waudby-Smith et al., 2024, theorem 2.2)
that comparisons use for a difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.fixed.alternatives import critical_value as fixed_critical_value
from abplatform.stats.fixed.intervals import wilson_interval
from abplatform.stats.results import Interval
from abplatform.stats.sequential.asymptotic import critical_value, tune_rho2
from abplatform.stats.sequential.rates import rate_interval
from abplatform.stats.sufficient import ArmStats, ProportionStats
from abplatform.stats.validation import FloatArray, probability


def level_interval(arm: ArmStats, *, alpha: ArrayLike = 0.05) -> Interval:
    """Return the interval of an arm's own estimate that holds at one look.

    Args:
        arm: statistics of the arm, any shape.
        alpha: two-sided error rate, scalar or one per cell.

    Returns:
        Estimate and bounds; NaN bounds where nothing varies, or nothing is there.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import MeanStats
    >>> interval = level_interval(MeanStats.of([1.0, 2.0, 3.0, 6.0]))
    >>> float(interval.estimate), round(float(interval.lower), 4), round(float(interval.upper), 4)
    (3.0, -0.4374, 6.4374)
    """
    if isinstance(arm, ProportionStats):
        return wilson_interval(arm, alpha=alpha)
    return _around(arm, fixed_critical_value(probability("alpha", alpha) / 2, arm.freedom))


def level_sequence(arm: ArmStats, *, planned_units: ArrayLike, alpha: ArrayLike = 0.05) -> Interval:
    """Return the interval of an arm's own estimate that holds at all looks together.

    Args:
        arm: statistics of the arm, any shape.
        planned_units: units of the arm at which the interval of a mean shall be narrowest; that of a rate needs none.
        alpha: two-sided error rate over all looks, scalar or one per cell.

    Returns:
        Estimate and bounds; NaN bounds where nothing varies, or nothing is there. Of means it is asymptotic: see
        `sequential.efficacy_guard` for how many units it takes.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import MeanStats
    >>> interval = level_sequence(MeanStats(10_000, 3.0, 40_000.0), planned_units=10_000)
    >>> round(float(interval.lower), 4), round(float(interval.upper), 4)
    (2.9393, 3.0607)
    """
    if isinstance(arm, ProportionStats):
        return rate_interval(arm, alpha=alpha)
    return _around(arm, critical_value(arm.n, tune_rho2(planned_units, alpha), alpha))


@np.errstate(all="ignore")
def _around(arm: ArmStats, critical: FloatArray) -> Interval:
    variance = arm.variance + arm.shared_variance
    half = np.where(variance > 0, critical * np.sqrt(variance), np.nan)
    return Interval(arm.estimate, arm.estimate - half, arm.estimate + half)
