"""Fixed-horizon inference: one look, at the size that was planned.

Means: Welch's t test (Welch, 1947), which does not assume equal variances. Clustered ratios: the same t with
the delta-method variance and ``clusters - 1`` degrees of freedom per arm. Rates: a z test with the *unpooled*
standard error, the one of its interval, so that the interval excludes 0 exactly when p < alpha; the pooled
test, which can disagree with any interval, is on offer for parity. Looking repeatedly at these p-values
breaks their promise (.142 false alarms at 5 looks): use ``abplatform.stats.sequential`` for that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.effects import Difference, RelativeMethod, compare_at, difference
from abplatform.stats.margins import Margin, judge_margin, margin_contrast
from abplatform.stats.results import Comparison, NonInferiority
from abplatform.stats.sufficient import ArmStats, ProportionStats
from abplatform.stats.validation import Direction, FloatArray, probability


@np.errstate(all="ignore")
def compare(
    treatment: ArmStats,
    control: ArmStats,
    *,
    alpha: ArrayLike = 0.05,
    relative: RelativeMethod = "fieller",
) -> Comparison:
    """Compare two arms once: difference, lift, intervals at ``1 - alpha`` and the two-sided p-value.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class, broadcast against treatment.
        alpha: two-sided error rate between 0 and 1, scalar or one per cell.
        relative: ``fieller``, or ``delta`` for parity with other tools.

    Returns:
        A ``Comparison``; cells without units or variation carry a reason and no bounds.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> result = compare(ProportionStats(1000, 120), ProportionStats(1000, 100)).cell()
    >>> round(result.absolute.estimate, 3), round(result.absolute.lower, 4), round(result.p_value, 4)
    (0.02, -0.0074, 0.1527)
    """
    diff = difference(treatment, control)
    rate = probability("alpha", alpha)
    freedom = _freedom(diff, treatment, control, np.ones(()))
    return compare_at(
        diff,
        -_lower_quantile(rate / 2, freedom),
        p_value=np.minimum(2 * _lower_tail(-np.abs(diff.z), freedom), 1.0),
        method=treatment.fixed_method,
        interval_kind="fixed",
        relative=relative,
    )


@np.errstate(all="ignore")
def non_inferiority(
    treatment: ArmStats,
    control: ArmStats,
    *,
    margin: Margin,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
) -> NonInferiority:
    """Test, one-sided at ``alpha``, that the treatment is not worse than control by the margin or more.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        margin: what is still acceptable, absolute or relative.
        alpha: one-sided error rate between 0 and 1.
        direction: ``increase`` where more is better (harm is a fall), ``decrease`` where less is.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin, ProportionStats
    >>> complaints = ProportionStats(40_000, 41), ProportionStats(40_000, 40)
    >>> test = non_inferiority(*complaints, margin=Margin(0.001), direction="decrease")
    >>> bool(test.non_inferior), round(float(test.bound), 6)
    (True, 0.000395)
    """
    diff = difference(treatment, control)
    rate = probability("alpha", alpha)
    contrast = margin_contrast(diff, margin, direction)
    freedom = _freedom(diff, treatment, control, contrast.control_weight)
    tail = _lower_tail(-contrast.estimate / contrast.standard_error, freedom)
    return judge_margin(
        diff,
        contrast,
        margin=margin,
        direction=direction,
        # A relative bound is Fieller's at the degrees of freedom of the contrast that decides.
        critical=-_lower_quantile(rate, freedom),
        p_value=tail,
        alpha=rate,
        method=treatment.fixed_method,
        interval_kind="fixed",
    )


@np.errstate(all="ignore")
def pooled_z_test(treatment: ProportionStats, control: ProportionStats) -> FloatArray:
    """Return two-sided p-values of the pooled z test of two rates, for parity with other tools.

    The pooled standard error holds under the null hypothesis only, so that this p-value has no interval.
    NaN where an arm has fewer than two units or where nobody, or everybody, did it.

    >>> from abplatform.stats import ProportionStats
    >>> round(float(pooled_z_test(ProportionStats(1000, 120), ProportionStats(1000, 100))), 4)
    0.1529
    """
    diff = difference(treatment, control)
    both = treatment + control
    rate = both.successes / both.n
    rest = (both.n - both.successes) / both.n
    spread = rate * rest * (1 / diff.treatment_n + 1 / diff.control_n)
    usable = (np.minimum(diff.treatment_n, diff.control_n) > 1) & (spread > 0)
    return np.where(usable, 2 * special.ndtr(-np.abs(diff.estimate) / np.sqrt(spread)), np.nan)


@np.errstate(all="ignore")
def _freedom(diff: Difference, treatment: ArmStats, control: ArmStats, control_weight: FloatArray) -> FloatArray | None:
    """Welch-Satterthwaite degrees of freedom of ``treatment - k control``; ``None`` means normal."""
    if treatment.freedom is None or control.freedom is None:
        return None
    first, second = diff.treatment_variance, np.square(control_weight) * diff.control_variance
    # Shares instead of squares, which could overflow.
    share = first / (first + second)
    spread = np.square(share) / treatment.freedom + np.square(1 - share) / control.freedom
    return np.where(diff.testable, 1 / spread, np.nan)


def _lower_tail(z: FloatArray, freedom: FloatArray | None) -> FloatArray:
    return np.asarray(special.ndtr(z) if freedom is None else special.stdtr(freedom, z))


def _lower_quantile(level: FloatArray, freedom: FloatArray | None) -> FloatArray:
    return np.asarray(special.ndtri(level) if freedom is None else special.stdtrit(freedom, level))
