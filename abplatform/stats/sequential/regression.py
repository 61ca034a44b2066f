"""Regression adjustment that may be watched, exact for normal residuals (Lindon, Ham, Tingley and Bojinov, 2022).

A regression of the outcome on a constant, the treatment and covariates from before the exposure gives the effect's t
statistic with nu degrees of freedom. Let ``zeta`` be the sum of squares that the treatment has left once the other
columns are regressed out (``(residual sd / standard error)^2``; ``n_t n_c / n`` without covariates). With the effect,
counted in residual standard deviations, drawn from ``normal(0, rho^2)``, and with all other parameters removed by
invariance, the likelihood ratio of the t statistics so far is

    e = (1 + tau)^(-1/2) ((1 + t^2 / nu) / (1 + t^2 / (nu (1 + tau))))^((nu + 1) / 2),    tau = zeta rho^2

(their univariate mixture: a Bayes factor under a normal prior of the standardised effect and the right-Haar prior of
the rest). It is a test martingale from the first residual degree of freedom on, whatever the covariates and the
residual variance are. For large nu it becomes the e-value of the asymptotic sequence with ``n rho^2`` for tau.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.adjust.adjusted import finite_or_nan
from abplatform.stats.adjust.cuped import cuped
from abplatform.stats.adjust.slopes import ArmMoments, arm_moments, solver
from abplatform.stats.effects import compare_at, difference
from abplatform.stats.lifts import RelativeMethod
from abplatform.stats.reference import welch_freedom
from abplatform.stats.results import Caution, Comparison
from abplatform.stats.sequential.asymptotic import tune_rho2
from abplatform.stats.sufficient.centred import CONSTANT
from abplatform.stats.sufficient.estimates import EstimateStats
from abplatform.stats.sufficient.joint import JointStats, aligned
from abplatform.stats.validation import FloatArray, non_negative, positive, probability, same_grid

METHOD = "anytime_valid_regression"
ROBUST_METHOD = "anytime_valid_regression_robust"


@np.errstate(all="ignore")
def log_t_e_value(t: ArrayLike, freedom: ArrayLike, intrinsic: ArrayLike) -> FloatArray:
    """Return the log e-value against "no effect" of a t statistic.

    Args:
        t: estimate over standard error; NaN stays NaN.
        freedom: residual degrees of freedom nu, at least 0 (at 0 nothing is known, and the log is 0 or less).
        intrinsic: tau above, at least 0.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> round(float(log_t_e_value(3.0, 20, 8.0)), 4)
    2.2905
    """
    nu, tau = non_negative("freedom", freedom), non_negative("intrinsic", intrinsic)
    statistic = np.asarray(t, dtype=np.float64)
    same_grid(t=statistic, freedom=nu, intrinsic=tau)
    x = np.square(statistic) / nu
    # The two logarithms of the formula in one, which keeps the digits of small t; x / x where x is infinite.
    gain = np.where(np.isinf(x), tau, x * tau / (1 + tau + x))
    return np.asarray((nu + 1) / 2 * np.log1p(gain) - np.log1p(tau) / 2)


@np.errstate(all="ignore")
def t_critical_value(freedom: ArrayLike, intrinsic: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the t statistic at which the e-value is ``1 / alpha``; infinite where no t statistic is enough.

    >>> round(float(t_critical_value(20, 8.0, 0.05)), 4)
    3.3779
    """
    nu, tau = non_negative("freedom", freedom), non_negative("intrinsic", intrinsic)
    rate = probability("alpha", alpha)
    same_grid(freedom=nu, intrinsic=tau, alpha=rate)
    gain = np.expm1((np.log1p(tau) - 2 * np.log(rate)) / (nu + 1))
    square = nu * gain * (1 + tau) / (tau - gain)
    return np.where((gain < tau) & (nu > 0), np.sqrt(square), np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """A regression on the treatment and covariates: adjusted arms, and what else the t statistic needs.

    The difference of the adjusted means is the least-squares coefficient of the treatment; their variances add up to
    its squared standard error. ``design`` is zeta.
    """

    treatment: EstimateStats
    control: EstimateStats
    freedom: FloatArray
    design: FloatArray


@np.errstate(all="ignore")
def regress(treatment: JointStats, control: JointStats) -> Regression:
    """Regress the outcome on the treatment and the covariates, with common slopes and one residual variance.

    Covariates that are constant or explained by others are left out.

    Args:
        treatment: joint statistics of the treatment, any grid.
        control: those of the control, with the same covariates.

    Raises:
        ValueError: naming the argument that does not fit; a ratio of two outcomes has no linear model.
    """
    first, second = aligned(treatment, control)
    if first.ratio:
        raise ValueError("treatment must not be a ratio metric: adjust it and use the asymptotic sequence")
    one, two = arm_moments(first), arm_moments(second)
    same_grid(treatment=one.estimate, control=two.estimate)
    slopes = solver(one.xx + two.xx, one.constant & two.constant, indicators=first.indicators)
    slopes = slopes.only_where(one.n + two.n >= slopes.rank + 3)
    gap = one.centre - two.centre
    apart = np.vecdot(gap, _times(slopes.inverse, gap))
    theta = _times(slopes.inverse, one.xy + two.xy)
    variance, freedom = _residual_variance(one, two, theta, slopes.rank)
    cautions = np.where(slopes.left_out, Caution.COVARIATE_DROPPED.value, 0)
    shared = _shared_variance(one, two, theta) - variance * apart * (one.n / (one.n + two.n)) * (
        two.n / (one.n + two.n)
    )

    def arm(own: ArmMoments, other: ArmMoments, step: FloatArray) -> EstimateStats:
        part = other.n / (own.n + other.n)
        return EstimateStats(
            own.n,
            finite_or_nan(own.estimate - part * np.vecdot(theta, step)),
            finite_or_nan(variance * (1 / own.n + part * apart)),
            # Below 0 by chance only; the difference does not depend on it.
            shared_variance=finite_or_nan(np.maximum(shared, 0.0)),
            freedom=freedom,
            cautions=cautions | own.cautions,
        )

    both = np.minimum(one.n, two.n) > 0
    design = np.where(both, 1 / (1 / one.n + 1 / two.n + apart), 0.0)
    return Regression(arm(one, two, gap), arm(two, one, -gap), freedom, design)


def _residual_variance(
    one: ArmMoments, two: ArmMoments, theta: FloatArray, slopes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the variance of the residuals and its degrees of freedom; NaN where there are none."""
    freedom = np.maximum(one.n + two.n - 2 - slopes, 0.0)
    within, fitted = one.yy + two.yy, np.vecdot(theta, _times(one.xx + two.xx, theta))
    # Errors of the slopes cancel in this form; what a perfect fit leaves is rounding.
    residual = within - 2 * np.vecdot(theta, one.xy + two.xy) + fitted
    rounding = one.rounding + two.rounding + CONSTANT * (within + fitted)
    left = np.where(residual <= rounding, 0.0, residual)
    return np.where(freedom > 0, left / freedom, np.nan), freedom


def _shared_variance(one: ArmMoments, two: ArmMoments, theta: FloatArray) -> FloatArray:
    """Return the variance of ``theta' mean(x)``: both adjusted means are read at the mean of all units."""
    units, gap = one.n + two.n, one.centre - two.centre
    between = np.square(np.vecdot(theta, gap)) * (one.n / units) * two.n
    return np.asarray((np.vecdot(theta, _times(one.xx + two.xx, theta)) + between) / np.square(units))


def _times(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    return np.asarray((matrix @ vector[..., None])[..., 0])


@np.errstate(all="ignore")
def compare_regression(
    treatment: JointStats,
    control: JointStats,
    *,
    planned_units: ArrayLike,
    share: ArrayLike = 0.5,
    alpha: ArrayLike = 0.05,
    robust: bool = False,
    relative: RelativeMethod = "fieller",
) -> Comparison:
    """Compare two arms at one of any number of looks, adjusted for covariates.

    For normal residuals of one variance it is exact at every sample size, also where a handful of clusters or
    accounts is all there is. For other residuals of one variance it becomes exact as the sample grows. Arms of unequal
    size whose residuals differ in variance need ``robust``.

    Args:
        treatment: joint statistics of the treatment, any grid; covariates that the treatment cannot have changed.
        control: those of the control, with the same covariates, broadcast against treatment.
        planned_units: units of both arms at which the interval shall be narrowest; fixed before the start.
        share: planned share of the treatment among them; like ``planned_units`` it only tunes.
        alpha: two-sided error rate over all looks together.
        robust: take the standard error of ``adjust.cuped`` with a pooled slope, which allows each arm a residual
            variance of its own, and Satterthwaite's degrees of freedom; then asymptotic in the smaller arm.
        relative: ``fieller`` (at the same critical value), or ``delta`` for parity.

    Returns:
        A ``Comparison`` with ``interval_kind`` ``confidence_sequence``; bounds are infinite while no data could
        exclude anything yet. No residual variance ends in ``ZERO_VARIANCE``, an arm of one unit in ``ONE_UNIT``.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> before = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    >>> control = JointStats.of([1.1, 1.9, 3.2, 3.8, 5.1, 6.1], before)
    >>> treatment = JointStats.of([1.8, 3.1, 4.2, 4.9, 6.0, 6.8], before)
    >>> cell = compare_regression(treatment, control, planned_units=12).cell()
    >>> round(cell.absolute.estimate, 3), round(cell.absolute.lower, 3), round(cell.p_value, 5)
    (0.933, 0.561, 0.00066)
    """
    rate = probability("alpha", alpha)
    planned, part = positive("planned_units", planned_units), probability("share", share)
    plan = {"planned_units": planned, "share": part, "alpha": rate}
    same_grid(**plan)
    rho2 = tune_rho2(planned * part * (1 - part), rate)
    fit = regress(treatment, control)
    first, second = cuped(treatment, control, theta="pooled") if robust else (fit.treatment, fit.control)
    diff = difference(first, second)
    same_grid(treatment=diff.estimate, **plan)
    welch = welch_freedom(diff, first, second, np.ones(())) if robust else None
    freedom = fit.freedom if welch is None else np.nan_to_num(welch)
    intrinsic = fit.design * rho2
    log_e = log_t_e_value(diff.z, freedom, intrinsic)
    return compare_at(
        diff,
        t_critical_value(freedom, intrinsic, rate),
        p_value=np.exp(np.minimum(-log_e, 0.0)),
        method=ROBUST_METHOD if robust else METHOD,
        interval_kind="confidence_sequence",
        relative=relative,
    )
