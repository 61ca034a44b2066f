"""The law that a test statistic follows under its null hypothesis: Student's t, or the normal."""

from __future__ import annotations

import numpy as np
from scipy import special

from abplatform.stats.effects import Difference
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import FloatArray


@np.errstate(all="ignore")
def welch_freedom(
    diff: Difference, treatment: ArmStats, control: ArmStats, control_weight: FloatArray
) -> FloatArray | None:
    """Return Welch-Satterthwaite degrees of freedom of ``treatment - k control``; ``None`` means normal."""
    if treatment.freedom is None or control.freedom is None:
        return None
    first, second = diff.treatment_variance, np.square(control_weight) * diff.control_variance
    # Shares instead of squares, which could overflow.
    share = first / (first + second)
    spread = np.square(share) / treatment.freedom + np.square(1 - share) / control.freedom
    return np.where(diff.testable, 1 / spread, np.nan)


def lower_tail(statistic: FloatArray, freedom: FloatArray | None) -> FloatArray:
    """Return the probability of a statistic this low or lower."""
    return np.asarray(special.ndtr(statistic) if freedom is None else special.stdtr(freedom, statistic))


def lower_quantile(level: FloatArray, freedom: FloatArray | None) -> FloatArray:
    """Return the statistic below which a share ``level`` lies."""
    return np.asarray(special.ndtri(level) if freedom is None else special.stdtrit(freedom, level))


@np.errstate(all="ignore")
def normal_score(statistic: FloatArray, freedom: FloatArray | None) -> FloatArray:
    """Return the normal deviate with the tail probability of a t statistic; far out, where that is 0, the statistic."""
    if freedom is None:
        return statistic
    tail = special.stdtr(freedom, -np.abs(statistic))
    return np.asarray(np.where(tail > 0, np.copysign(special.ndtri(tail), statistic), statistic))


@np.errstate(all="ignore")
def critical_statistic(critical: FloatArray, freedom: FloatArray | None) -> FloatArray:
    """Return the t statistic with the tail probability of a critical normal deviate, the inverse of `normal_score`."""
    if freedom is None:
        return critical
    tail = special.ndtr(-np.abs(critical))
    return np.asarray(np.where(tail > 0, np.copysign(special.stdtrit(freedom, tail), critical), critical))
