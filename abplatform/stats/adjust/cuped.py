"""CUPED: regression on what was measured before the exposure, from additive moments.

The estimate of arm a is ``mean(y_a) - theta_a' (mean(x_a) - mean(x))``, with the mean of x over both arms. At
the true slopes its noise is that of the residuals alone, plus that of ``theta_a' mean(x)``, which is the same
for both arms where their slopes are.

- ``theta="per_arm"``: each arm's own slope (Lin, 2013); the difference is the coefficient of the treatment in a
  regression with all interactions, covariates centred at the mean of both arms.
- ``theta="pooled"``: one slope from the moments within the arms, added (Deng, Xu, Kohavi and Walker, 2013);
  the difference is the coefficient of the analysis of covariance.

Each arm has its own residual variance. Units are a sample of those to come, so that slopes that differ add
``(theta_t - theta_c)' Cov(x) (theta_t - theta_c) / N`` to the difference (Negi and Wooldridge, 2021). A pooled
slope leaves the difference of the slopes in the residuals, which then depend on the covariates: where these are
skewed, its error goes with the difference of their means, a bias of order 1 / n that its variance does not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from abplatform.stats.adjust.adjusted import Adjusted, Common, finite_or_nan, own_and_shared
from abplatform.stats.adjust.slopes import ArmMoments, Solver, arm_moments, solver
from abplatform.stats.results import Caution
from abplatform.stats.sufficient.centred import CONSTANT
from abplatform.stats.sufficient.estimates import EstimateStats
from abplatform.stats.sufficient.joint import JointStats, aligned
from abplatform.stats.validation import BoolArray, FloatArray, same_grid

Theta = Literal["pooled", "per_arm"]


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """One arm's regression: slopes, variance of the arm's estimate given all covariates, and what is left over.

    ``lean`` is the covariance of residual and covariates within the arm; the arm's own slopes leave none.
    """

    theta: FloatArray
    variance: FloatArray
    freedom: FloatArray
    lean: FloatArray
    left_out: BoolArray


@np.errstate(all="ignore")
def cuped(treatment: JointStats, control: JointStats, *, theta: Theta = "per_arm") -> Adjusted:
    """Adjust two arms for their covariates.

    Slope and centre come from the two arms compared; the adjusted mean of a control that is compared with
    several treatments therefore differs a little between them, while each difference is what a regression on
    its two arms gives. A ratio metric is adjusted through its linearised outcome. Without covariates the
    arms are what ``outcome`` says.

    Assumes covariates that the treatment cannot have changed, independent units, and many of them: the
    adjusted difference has a bias of order 1 / n. Variances allow for another noise in each arm, those of
    ``per_arm`` for other slopes as well. Degrees of freedom are ``n - 1`` less the slopes, which two arms share in
    proportion to their moments where theirs is pooled.

    Args:
        treatment: joint statistics of the treatment, any grid.
        control: those of the control, with the same covariates, broadcast against treatment.
        theta: ``per_arm`` for slopes of their own, in large samples never worse than no adjustment; ``pooled``
            for one slope, which spares degrees of freedom where units are few. Where slopes differ, intervals of
            ``pooled`` are too short for skewed covariates, and with unequal shares it can be worse than no
            adjustment.

    Returns:
        ``Adjusted``, which unpacks into two ``EstimateStats``. Covariates that are constant, or explained by
        others, are left out with ``COVARIATE_DROPPED`` (indicators of missing values silently), all of
        them where an arm has fewer units than 2 more than slopes. No residual variance in
        either arm ends in ``ZERO_VARIANCE``.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import fixed
    >>> from abplatform.stats.sufficient.joint import JointStats
    >>> before = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    >>> control = JointStats.of([1.1, 1.9, 3.2, 3.8, 5.1, 6.1], before)
    >>> treatment = JointStats.of([1.8, 3.1, 4.2, 4.9, 6.0, 6.8], before)
    >>> adjusted = cuped(treatment, control)
    >>> cell = fixed.compare(*adjusted).cell()
    >>> round(cell.absolute.estimate, 3), round(cell.p_value, 6), round(float(adjusted.variance_ratio), 4)
    (0.933, 0.000621, 0.0079)
    """
    if theta not in get_args(Theta):
        raise ValueError(f"theta must be 'pooled' or 'per_arm', not {theta!r}")
    first, second = aligned(treatment, control)
    arms = arm_moments(first), arm_moments(second)
    same_grid(treatment=arms[0].estimate + arms[0].yy, control=arms[1].estimate + arms[1].yy)
    fits = _pooled_fits if theta == "pooled" else _own_fits
    return _adjusted(*arms, fits(*arms, first.indicators))


def _pooled_fits(treatment: ArmMoments, control: ArmMoments, indicators: int) -> tuple[_Fit, _Fit]:
    common = solver(treatment.xx + control.xx, treatment.constant & control.constant, indicators=indicators)
    common = common.only_where(np.minimum(treatment.n, control.n) >= common.rank + 2)
    theta = _times(common.inverse, treatment.xy + control.xy)
    pull = _times(common.inverse, treatment.centre - control.centre)

    def fit(arm: ArmMoments) -> _Fit:
        # The share of the slopes that this arm determines: over both arms their number.
        slopes = (common.inverse * arm.xx).sum(axis=(-1, -2))
        return _fit(arm, theta, slopes=slopes, leverage=_form(pull, arm.xx, pull), left_out=common.left_out)

    return fit(treatment), fit(control)


def _own_fits(treatment: ArmMoments, control: ArmMoments, indicators: int) -> tuple[_Fit, _Fit]:
    solvers = [solver(arm.xx, arm.constant, indicators=indicators) for arm in (treatment, control)]
    enough = (treatment.n >= solvers[0].rank + 2) & (control.n >= solvers[1].rank + 2)
    units, gap = treatment.n + control.n, treatment.centre - control.centre

    def fit(arm: ArmMoments, own: Solver, others: FloatArray) -> _Fit:
        own = own.only_where(enough)
        offset = gap * (others / units)[..., None]
        # The noise of both slopes inflates the plug-in variance for slopes that differ; this is its mean.
        inflation = own.rank / (arm.n - 1) / units
        leverage = _form(offset, own.inverse, offset) - inflation
        theta = _times(own.inverse, arm.xy)
        return _fit(arm, theta, slopes=own.rank, leverage=leverage, left_out=own.left_out)

    return fit(treatment, solvers[0], control.n), fit(control, solvers[1], treatment.n)


def _fit(arm: ArmMoments, theta: FloatArray, *, slopes: FloatArray, leverage: FloatArray, left_out: BoolArray) -> _Fit:
    """Return the residual variance over n, with the leverage of the point at which the line is read."""
    fitted = _form(theta, arm.xx, theta)
    residual = arm.yy - 2 * _dot(theta, arm.xy) + fitted
    residual = np.where(residual <= arm.rounding + CONSTANT * (arm.yy + fitted), 0.0, residual)
    freedom = arm.n - 1 - slopes
    return _Fit(
        theta=theta,
        variance=np.where(freedom > 0, residual / freedom * (1 / arm.n + leverage), np.nan),
        freedom=np.maximum(freedom, 0.0),
        lean=(arm.xy - _times(arm.xx, theta)) / (arm.n - 1)[..., None],
        left_out=left_out,
    )


def _adjusted(treatment: ArmMoments, control: ArmMoments, fits: tuple[_Fit, _Fit]) -> Adjusted:
    first, second = fits
    units, gap = np.maximum(treatment.n + control.n, 1.0), treatment.centre - control.centre
    own_t, own_c, shared = own_and_shared(first.variance, second.variance, _common(treatment, control, fits))
    cautions = np.where(first.left_out | second.left_out, Caution.COVARIATE_DROPPED.value, 0)

    def arm(moments: ArmMoments, fit: _Fit, offset: FloatArray, own: FloatArray) -> EstimateStats:
        estimate = moments.estimate - _dot(fit.theta, gap) * offset
        return EstimateStats(
            moments.n,
            finite_or_nan(estimate),
            finite_or_nan(own),
            shared_variance=finite_or_nan(shared),
            freedom=fit.freedom,
            cautions=cautions | moments.cautions,
        )

    return Adjusted(
        arm(treatment, first, control.n / units, own_t),
        arm(control, second, -treatment.n / units, own_c),
        finite_or_nan((own_t + own_c) / (treatment.plain_variance + control.plain_variance)),
    )


def _common(treatment: ArmMoments, control: ArmMoments, fits: tuple[_Fit, _Fit]) -> Common:
    """Return the variances of ``theta' mean(x)``, and its covariances with the residuals' means.

    The mean of both arms moves by ``1 / N`` with each unit, so that all of them are divided by N.
    """
    first, second = fits
    units, gap = treatment.n + control.n, treatment.centre - control.centre
    between = gap[..., :, None] * gap[..., None, :] * (treatment.n / units * control.n)[..., None, None]
    spread = (treatment.xx + control.xx + between) / ((units - 1) * units)[..., None, None]
    apart = first.theta - second.theta
    lean = _dot(first.lean - second.lean, second.theta)
    both = _dot(first.lean, second.theta) + _dot(second.lean, first.theta)
    heterogeneity = _form(apart, spread, apart)
    # Slopes that are equal but for rounding, as they are where covariates predict everything.
    noise = CONSTANT * (treatment.yy + control.yy) + treatment.rounding + control.rounding
    return Common(
        heterogeneity=np.where(heterogeneity * np.square(units) <= noise, 0.0, heterogeneity),
        lean=_form(second.theta, spread, apart) + lean / units,
        covariance=_form(first.theta, spread, second.theta) + both / units,
    )


def _dot(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.asarray((left * right).sum(axis=-1))


def _times(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    return np.asarray((matrix * vector[..., None, :]).sum(axis=-1))


def _form(left: FloatArray, matrix: FloatArray, right: FloatArray) -> FloatArray:
    return _dot(left, _times(matrix, right))
