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

from abplatform.stats.effects import compare_at, difference
from abplatform.stats.lifts import RelativeMethod
from abplatform.stats.margins import Margin, judge_margin, margin_contrast
from abplatform.stats.results import Comparison, NonInferiority
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import (
    Direction,
    FloatArray,
    finite_values,
    non_negative,
    positive,
    probability,
    same_grid,
)

METHOD = "asymptotic_confidence_sequence"

_TINY_RATE = 1e-100
"""Squares of smaller rates may underflow."""


@np.errstate(all="ignore")
def tune_rho2(planned_units: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the rho^2 whose two-sided interval is narrowest at ``planned_units``.

    The width is minimal where ``ln(u / alpha^2) = u - 1``, so ``u = -W(-alpha^2 / e)`` on the lower branch
    of Lambert's function (appendix on tuning in arXiv:2103.06476); there the critical value is ``sqrt(u)``.

    Args:
        planned_units: analysed units of both arms at which the plan decides, above 0.
        alpha: two-sided error rate; for a one-sided sequence twice its rate.

    Raises:
        ValueError: naming the argument that does not fit; ``planned_units`` too where no float is large enough.

    >>> round(float(tune_rho2(10_000, 0.05) * 10_000), 4)
    8.212
    """
    planned, rate = positive("planned_units", planned_units), probability("alpha", alpha)
    same_grid(planned_units=planned, alpha=rate)
    rho2 = np.asarray(_tuned_intrinsic(rate) / planned)
    if not np.isfinite(rho2).all():
        raise ValueError("planned_units must not be as close to 0 as that")
    return rho2


def _tuned_intrinsic(rate: FloatArray) -> FloatArray:
    """Return the ``n rho^2 = u - 1`` of the narrowest interval."""
    u = -special.lambertw(-np.square(rate) / np.e, k=-1).real
    if (rate < _TINY_RATE).any():
        # The same function of the logarithm, which the branch cut puts on the branch below for large values only.
        logarithm = 2 * np.log(rate) - 1
        u = np.where(rate < _TINY_RATE, -special.wrightomega(logarithm - np.pi * 1j).real, u)
    # At rates near 1 nothing is left of u - 1, whose series begins with this.
    return np.asarray(np.maximum(u - 1, 2 * np.sqrt(-np.log(rate))))


@np.errstate(all="ignore")
def critical_value(n: ArrayLike, rho2: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the two-sided critical value z at n units; infinite at 0 units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> round(float(critical_value(10_000, tune_rho2(10_000, 0.05), 0.05)), 4)
    3.0351
    """
    rate = probability("alpha", alpha)
    intrinsic = _intrinsic(n, rho2)
    same_grid(n=intrinsic, alpha=rate)
    return _critical_value(intrinsic, rate)


def _intrinsic(n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the checked intrinsic time ``n rho^2``."""
    units, squared = non_negative("n", n), positive("rho2", rho2)
    same_grid(n=units, rho2=squared)
    return finite_values("n times rho2", units * squared)


def _critical_value(intrinsic: FloatArray, rate: FloatArray) -> FloatArray:
    log_odds = np.log1p(intrinsic) - 2 * np.log(rate)
    return np.asarray(np.sqrt((1 + 1 / intrinsic) * log_odds))


@np.errstate(all="ignore")
def one_sided_critical_value(n: ArrayLike, rho2: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the critical value of a one-sided bound at n units; infinite at 0 units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> rho2 = tune_rho2(10_000, 0.10)
    >>> round(float(one_sided_critical_value(10_000, rho2, 0.05)), 4)
    2.7785
    """
    rate = probability("alpha", alpha)
    intrinsic = _intrinsic(n, rho2)
    same_grid(n=intrinsic, alpha=rate)
    log_odds = np.log1p(intrinsic) / 2 - np.log(2 * rate)
    return np.asarray(np.sqrt(2 * (1 + 1 / intrinsic) * np.logaddexp(0.0, log_odds)))


@np.errstate(all="ignore")
def log_e_value(z: ArrayLike, n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the logarithm of the e-value against no difference, ``z^2 n rho^2 / (2 u) - ln(u) / 2``.

    The e-value is the mixture likelihood ratio whose threshold ``1 / alpha`` is the interval above.

    Args:
        z: estimate in standard errors; NaN stays NaN.
        n: analysed units of both arms, at least 0; without units the log is 0.
        rho2: as tuned, above 0.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> round(float(log_e_value(3.0351, 10_000, tune_rho2(10_000, 0.05))), 4)  # the logarithm of 1 / 0.05
    2.9957
    """
    intrinsic, standard = _intrinsic(n, rho2), np.asarray(z, dtype=np.float64)
    same_grid(z=standard, n=intrinsic)
    return _log_e_value(standard, intrinsic)


def _log_e_value(z: FloatArray, intrinsic: FloatArray) -> FloatArray:
    return np.asarray((_evidence(z, intrinsic) - np.log1p(intrinsic)) / 2)


def _evidence(z: FloatArray, intrinsic: FloatArray) -> FloatArray:
    """Return ``z^2 n rho^2 / u``: infinite where the square is, 0 without units."""
    square = np.square(z)
    evidence = square / (1 + 1 / intrinsic)
    infinite = np.isinf(square)
    if not infinite.any():
        return evidence
    return np.where(infinite, np.where(intrinsic > 0, np.inf, 0.0), evidence)


@np.errstate(all="ignore")
def p_value(z: ArrayLike, n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the two-sided always-valid p-value, ``min(1, 1 / e-value)``: below alpha when the interval excludes 0.

    It may be read at any look; the minimum over the looks so far is valid as well. Arguments as ``log_e_value``.

    >>> rho2 = tune_rho2(10_000, 0.05)
    >>> round(float(p_value(3.0351, 10_000, rho2)), 4)
    0.05
    """
    return np.asarray(np.exp(np.minimum(-log_e_value(z, n, rho2), 0.0)))


@np.errstate(all="ignore")
def one_sided_p_value(z: ArrayLike, n: ArrayLike, rho2: ArrayLike) -> FloatArray:
    """Return the one-sided always-valid p-value of an effect above 0; 1 where z is not positive.

    Arguments as ``log_e_value``.

    >>> rho2 = tune_rho2(10_000, 0.10)
    >>> round(float(one_sided_p_value(2.7785, 10_000, rho2)), 4)
    0.05
    """
    intrinsic, standard = _intrinsic(n, rho2), np.asarray(z, dtype=np.float64)
    same_grid(z=standard, n=intrinsic)
    exponent = _evidence(standard, intrinsic) / 2
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
    same_grid(treatment=diff.estimate, planned_units=np.asarray(planned_units), alpha=np.asarray(alpha))
    intrinsic = diff.units * rho2
    return compare_at(
        diff,
        _critical_value(intrinsic, np.asarray(alpha, dtype=np.float64)),
        p_value=np.exp(np.minimum(-_log_e_value(diff.z, intrinsic), 0.0)),
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
    direction: Direction,
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
    same_grid(margin=contrast.estimate, planned_units=np.asarray(planned_units), alpha=rate)
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

    Raises:
        ValueError: naming the argument that does not fit.

    >>> bounds = running_intersection([-3.0, -1.0, -2.0], [3.0, 4.0, 2.0])
    >>> [side.tolist() for side in bounds]
    [[-3.0, -1.0, -1.0], [3.0, 3.0, 2.0]]
    """
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    if low.shape != high.shape:
        raise ValueError("lower and upper must have the same shape")
    if not -low.ndim <= axis < low.ndim:
        raise ValueError(f"lower and upper must have the looks along an axis, here axis {axis}")
    return np.fmax.accumulate(low, axis=axis), np.fmin.accumulate(high, axis=axis)
