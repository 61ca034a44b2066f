"""Asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv:2103.06476).

At n analysed units of both arms, with ``u = n rho^2 + 1``, the interval ``estimate +- se z`` with

    z = sqrt(u / (n rho^2) * ln(u / alpha^2))

covers the true difference at *all* looks at once with probability at least ``1 - alpha``, in the limit of
large samples (Theorem 2.2 there). ``rho`` says where the sequence is tightest and never affects validity as
long as it was fixed beforehand. One-sided bounds use the half-normal mixture,

    z = sqrt(2 u / (n rho^2) * ln(1 + sqrt(u) / (2 alpha))),

within two percent of the two-sided bound at ``2 alpha``, and exact where that shortcut is not: a path may
cross on both sides, so half of a two-sided error is not a one-sided one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.effects import RelativeMethod, compare_at, difference
from abplatform.stats.margins import Margin, judge_margin, margin_contrast
from abplatform.stats.results import Comparison, NonInferiority
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import Direction, FloatArray, positive, probability

METHOD = "asymptotic_confidence_sequence"


def tune_rho2(planned_units: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the rho^2 whose two-sided interval is narrowest at ``planned_units``.

    The width is minimal where ``ln(u / alpha^2) = u - 1``, so ``u = -W(-alpha^2 / e)`` on the lower branch
    of Lambert's function (appendix on tuning in arXiv:2103.06476); there the critical value is ``sqrt(u)``.

    Args:
        planned_units: analysed units of both arms at which the plan decides, above 0.
        alpha: two-sided error rate; for a one-sided sequence twice its rate.

    >>> round(float(tune_rho2(10_000, 0.05) * 10_000), 4)
    8.212
    """
    planned, rate = positive("planned_units", planned_units), probability("alpha", alpha)
    u = -special.lambertw(-np.square(rate) / np.e, k=-1).real
    return np.asarray((u - 1) / planned)


@np.errstate(all="ignore")
def critical_value(n: ArrayLike, rho2: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the two-sided critical value z at n units; infinite at 0 units.

    >>> round(float(critical_value(10_000, tune_rho2(10_000, 0.05), 0.05)), 4)
    3.0351
    """
    rate = probability("alpha", alpha)
    intrinsic = np.asarray(n, dtype=np.float64) * positive("rho2", rho2)
    log_odds = np.log1p(intrinsic) - 2 * np.log(rate)
    return np.asarray(np.sqrt((1 + 1 / intrinsic) * log_odds))


@np.errstate(all="ignore")
def one_sided_critical_value(n: ArrayLike, rho2: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the critical value of a one-sided bound at n units; infinite at 0 units.

    >>> rho2 = tune_rho2(10_000, 0.10)
    >>> round(float(one_sided_critical_value(10_000, rho2, 0.05)), 4)
    2.7785
    """
    rate = probability("alpha", alpha)
    intrinsic = np.asarray(n, dtype=np.float64) * positive("rho2", rho2)
    odds = np.sqrt(1 + intrinsic) / (2 * rate)
    return np.asarray(np.sqrt(2 * (1 + 1 / intrinsic) * np.log1p(odds)))


def log_e_value(z: ArrayLike, n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the logarithm of the e-value against no difference, ``z^2 n rho^2 / (2 u) - ln(u) / 2``.

    The e-value is the mixture likelihood ratio whose threshold ``1 / alpha`` is the interval above.
    """
    intrinsic = np.asarray(n, dtype=np.float64) * positive("rho2", rho2)
    shrunk = np.square(np.asarray(z, dtype=np.float64)) * intrinsic / (1 + intrinsic)
    return np.asarray((shrunk - np.log1p(intrinsic)) / 2)


@np.errstate(under="ignore")
def p_value(z: ArrayLike, n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the two-sided always-valid p-value, ``min(1, 1 / e-value)``: below alpha when the interval excludes 0.

    It may be read at any look; the minimum over the looks so far is valid as well.

    >>> rho2 = tune_rho2(10_000, 0.05)
    >>> round(float(p_value(3.0351, 10_000, rho2)), 4)
    0.05
    """
    return np.asarray(np.exp(np.minimum(-log_e_value(z, n, rho2), 0.0)))


@np.errstate(all="ignore")
def one_sided_p_value(z: ArrayLike, n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the one-sided always-valid p-value of an effect above 0; 1 where z is not positive.

    >>> rho2 = tune_rho2(10_000, 0.10)
    >>> round(float(one_sided_p_value(2.7785, 10_000, rho2)), 4)
    0.05
    """
    standard = np.asarray(z, dtype=np.float64)
    intrinsic = np.asarray(n, dtype=np.float64) * positive("rho2", rho2)
    exponent = np.square(standard) * intrinsic / (2 * (1 + intrinsic))
    # sqrt(u) / (2 (exp(x) - 1)), written so that large x underflows instead of overflowing.
    tail = np.sqrt(1 + intrinsic) / 2 * np.exp(-exponent) / -np.expm1(-exponent)
    return np.where(np.isnan(standard), np.nan, np.where(standard > 0, np.minimum(tail, 1.0), 1.0))


@np.errstate(all="ignore")
def compare(
    treatment: ArmStats,
    control: ArmStats,
    *,
    planned_units: ArrayLike,
    alpha: ArrayLike = 0.05,
    relative: RelativeMethod = "fieller",
) -> Comparison:
    """Compare two arms at one of any number of looks.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        planned_units: analysed units of *these two arms* (clusters for ``RatioStats``) at which the interval
            shall be narrowest; fixed before the start. For a plan over more arms pass the pair's share.
        alpha: two-sided error rate over all looks together.
        relative: ``fieller`` (at the same critical value), or ``delta`` for parity.

    Returns:
        A ``Comparison`` with ``interval_kind`` ``confidence_sequence`` and always-valid p-values. An efficacy
        verdict also needs ``efficacy_guard``.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> arms = ProportionStats(10_000, 1_200), ProportionStats(10_000, 1_000)
    >>> result = compare(*arms, planned_units=20_000).cell()
    >>> round(result.absolute.lower, 4), round(result.absolute.upper, 4), round(result.p_value, 5)
    (0.0066, 0.0334, 0.00033)
    """
    diff = difference(treatment, control)
    rho2 = tune_rho2(planned_units, alpha)
    return compare_at(
        diff,
        critical_value(diff.units, rho2, alpha),
        p_value=p_value(diff.z, diff.units, rho2),
        method=METHOD,
        interval_kind="confidence_sequence",
        relative=relative,
    )


@np.errstate(all="ignore")
def non_inferiority(
    treatment: ArmStats,
    control: ArmStats,
    *,
    margin: Margin,
    planned_units: ArrayLike,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
) -> NonInferiority:
    """Test at every look, one-sided at ``alpha`` over all of them, that harm stays below the margin.

    Args:
        treatment: statistics of the treatment, any shape.
        control: statistics of the control, of the same class.
        margin: what is still acceptable, absolute or relative.
        planned_units: as for ``compare``.
        alpha: one-sided error rate over all looks, below 0.5.
        direction: ``increase`` where more is better (harm is a fall), ``decrease`` where less is.

    Raises:
        ValueError: naming the argument that does not fit.
    """
    diff = difference(treatment, control)
    rate = probability("alpha", alpha, below=0.5)
    rho2 = tune_rho2(planned_units, 2 * rate)
    contrast = margin_contrast(diff, margin, direction)
    z = contrast.estimate / contrast.standard_error
    return judge_margin(
        diff,
        contrast,
        margin=margin,
        direction=direction,
        critical=one_sided_critical_value(diff.units, rho2, rate),
        p_value=one_sided_p_value(z, diff.units, rho2),
        alpha=rate,
        method=METHOD,
        interval_kind="confidence_sequence",
    )


def running_intersection(lower: ArrayLike, upper: ArrayLike, *, axis: int = -1) -> tuple[FloatArray, FloatArray]:
    """Intersect each look's interval with all earlier ones; the result covers whenever every look does.

    It never widens. A missing bound (NaN) restricts nothing. Where ``lower > upper`` the looks contradict
    each other: the effect drifted, or the rare error happened; report the latest look instead.

    Args:
        lower: lower bounds with the looks along ``axis``, in order.
        upper: upper bounds, same shape.
        axis: where the looks lie.

    >>> bounds = running_intersection([-3.0, -1.0, -2.0], [3.0, 4.0, 2.0])
    >>> [side.tolist() for side in bounds]
    [[-3.0, -1.0, -1.0], [3.0, 3.0, 2.0]]
    """
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    if low.shape != high.shape:
        raise ValueError("lower and upper must have the same shape")
    return np.fmax.accumulate(low, axis=axis), np.fmin.accumulate(high, axis=axis)
