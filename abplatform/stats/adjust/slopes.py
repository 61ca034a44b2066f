"""Regression of an outcome on covariates, from centred moments, for any grid of cells at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.sufficient.centred import CONSTANT
from abplatform.stats.sufficient.joint import JointStats
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import BoolArray, FloatArray

COLLINEAR = 1e-10
"""A covariate of which the others explain all but this share of the variance adds nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class ArmMoments:
    """Centred moments of one arm's outcome y and covariates x, one or two axes more for these.

    The outcome of a ratio metric is linearised: ``(y - R d) / mean(d)``, whose mean stands for R (Deng,
    Knoblich and Lu, 2018). ``rounding`` is the part of ``yy`` that could be nothing else, ``constant`` marks
    covariates without variation, ``plain_variance`` is that of the estimate without adjustment.
    """

    n: FloatArray
    estimate: FloatArray
    centre: FloatArray
    yy: FloatArray
    xy: FloatArray
    xx: FloatArray
    rounding: FloatArray
    constant: BoolArray
    plain_variance: FloatArray
    cautions: NDArray[np.int64] | int


@np.errstate(all="ignore")
def arm_moments(stats: JointStats) -> ArmMoments:
    """Return what adjustment needs of an arm, with NaN for a ratio without denominators."""
    first = 2 if stats.ratio else 1
    n, centre, xx = stats.n.astype(np.float64), stats.mean[..., first:], stats.cross[..., first:, first:]
    outcome, xy = stats.outcome, stats.cross[..., 0, first:]
    estimate = outcome.estimate
    if isinstance(outcome, RatioStats):
        size = outcome.mean_d
        yy, rounding = (part / np.square(size) for part in outcome.residual_moment(estimate))
        xy = (xy - estimate[..., None] * stats.cross[..., 1, first:]) / size[..., None]
    else:
        yy, rounding = outcome.m2, n * np.square(CONSTANT * outcome.mean)
    squares = np.diagonal(xx, axis1=-2, axis2=-1)
    constant = squares <= n[..., None] * np.square(CONSTANT * centre)
    return ArmMoments(n, estimate, centre, yy, xy, xx, rounding, constant, outcome.variance, outcome.cautions)


@dataclass(frozen=True, slots=True, eq=False)
class Solver:
    """Generalised inverse of the covariates' moments, with zeros for covariates that were left out.

    ``used`` has one entry per covariate; the last ``indicators`` of them are indicators of missing values.
    """

    inverse: FloatArray
    used: BoolArray
    indicators: int

    @property
    def rank(self) -> FloatArray:
        """Number of covariates used."""
        return np.asarray(self.used.sum(axis=-1), dtype=np.float64)

    @property
    def left_out(self) -> BoolArray:
        """True where something other than an indicator is not used."""
        return np.asarray(~self.used[..., : self.used.shape[-1] - self.indicators].all(axis=-1))

    def only_where(self, enough: BoolArray) -> Solver:
        """Use no covariates elsewhere."""
        used = self.used & enough[..., None]
        return Solver(np.where(enough[..., None, None], self.inverse, 0.0), used, self.indicators)


@np.errstate(all="ignore")
def solver(xx: FloatArray, constant: BoolArray, *, indicators: int) -> Solver:
    """Invert covariate moments, leaving out what is constant or explained by covariates before it.

    Gauss-Jordan in place, one pivot per covariate, on the scale of correlations (the sweep operator; Goodnight,
    1979). Indicators of missing values come first: where the known values of a covariate hardly differ
    against their distance from 0, it is the covariate that is redundant. For one covariate this is ``1 / xx``.

    Args:
        xx: sums of products of the covariates' deviations, any grid and two axes.
        constant: covariates without variation.
        indicators: how many of the last covariates are indicators.
    """
    count = xx.shape[-1]
    scale = np.sqrt(np.where(constant, 1.0, np.diagonal(xx, axis1=-2, axis2=-1)))
    outer = scale[..., :, None] * scale[..., None, :]
    work, used = xx / outer, np.zeros(constant.shape, dtype=np.bool_)
    for j in [*range(count - indicators, count), *range(count - indicators)]:
        pivot, column = work[..., j, j], work[..., :, j]
        used[..., j] = ~constant[..., j] & (pivot > COLLINEAR)
        row = work[..., j, :] / pivot[..., None]
        swept = work - column[..., :, None] * row[..., None, :]
        swept[..., :, j] = -column / pivot[..., None]
        swept[..., j, :] = row
        swept[..., j, j] = 1 / pivot
        work = np.where(used[..., j, None, None], swept, work)
    both = used[..., :, None] & used[..., None, :]
    return Solver(np.where(both, work / outer, 0.0), used, indicators)
