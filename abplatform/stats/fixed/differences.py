"""Is there a difference? Welch's t for means, the same with delta-method variances for ratios, z for rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.effects import compare_at, difference
from abplatform.stats.fixed.alternatives import Alternative, critical_value, open_side, tail_p_value, tail_rate
from abplatform.stats.fixed.restricted import rates_only
from abplatform.stats.lifts import RelativeMethod
from abplatform.stats.reference import welch_freedom
from abplatform.stats.results import Comparison
from abplatform.stats.sufficient import ArmStats, ProportionStats
from abplatform.stats.validation import FloatArray, same_grid


@np.errstate(all="ignore")
def compare(
    treatment: ArmStats,
    control: ArmStats,
    *,
    alpha: ArrayLike = 0.05,
    relative: RelativeMethod = "fieller",
    alternative: Alternative = "two_sided",
) -> Comparison:
    """Compare two arms once: difference, lift, intervals at ``1 - alpha`` and the p-value.

    The statistic is the difference in standard errors (Welch, 1947), against Student's t with Satterthwaite's
    degrees of freedom, or the normal where the arms name none (rates).

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class, broadcast against treatment.
        alpha: error rate, scalar or one per cell: between 0 and 1 for two sides, below 0.5 for one.
        relative: ``fieller``, or ``delta`` for parity with other tools.
        alternative: ``two_sided``, ``greater`` (the treatment's estimand is above the control's: one lower bound)
            or ``less`` (one upper bound). One-sided superiority of a metric that should rise is ``greater``.

    Returns:
        A ``Comparison``; cells without units or variation carry a reason and no bounds. A one-sided answer has NaN
        in place of the bound that it does not give.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> arms = ProportionStats(1000, 120), ProportionStats(1000, 100)
    >>> result = compare(*arms).cell()
    >>> round(result.absolute.estimate, 3), round(result.absolute.lower, 4), round(result.p_value, 4)
    (0.02, -0.0074, 0.1527)
    >>> result = compare(*arms, alternative="greater").cell()
    >>> round(result.absolute.lower, 4), result.absolute.upper, round(result.p_value, 4)
    (-0.003, None, 0.0764)
    """
    diff = difference(treatment, control)
    tail = tail_rate(alpha, alternative)
    same_grid(treatment=diff.estimate, alpha=tail)
    freedom = welch_freedom(diff, treatment, control, np.ones(()))
    result = compare_at(
        diff,
        critical_value(tail, freedom),
        p_value=tail_p_value(diff.z, freedom, alternative),
        method=treatment.fixed_method,
        interval_kind="fixed",
        relative=relative,
    )
    return open_side(result, diff, alternative, relative)


@np.errstate(all="ignore")
def pooled_z_test(
    treatment: ProportionStats, control: ProportionStats, *, alternative: Alternative = "two_sided"
) -> FloatArray:
    """Return p-values of the pooled z test of two rates (the chi-square test, if two-sided).

    The pooled standard error holds under the null hypothesis only, so that no ``estimate +- z se`` belongs to
    this p-value; the interval that does is ``compare_rates(..., corrected=False)``. NaN where an arm has fewer than
    two units or where nobody, or everybody, did it.

    >>> from abplatform.stats import ProportionStats
    >>> round(float(pooled_z_test(ProportionStats(1000, 120), ProportionStats(1000, 100))), 4)
    0.1529
    """
    tail_rate(0.05, alternative)
    rates_only(treatment=treatment, control=control)
    diff = difference(treatment, control)
    both = treatment + control
    rate = both.successes / both.n
    rest = (both.n - both.successes) / both.n
    spread = rate * rest * (1 / diff.treatment_n + 1 / diff.control_n)
    usable = (np.minimum(diff.treatment_n, diff.control_n) > 1) & (spread > 0)
    return np.where(usable, tail_p_value(diff.estimate / np.sqrt(spread), None, alternative), np.nan)
