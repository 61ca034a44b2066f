"""Does the effect change with the days since a unit's first exposure? Novelty that wears off, users who learn.

The same units are seen on every day, so that the daily estimates of one arm are correlated, often strongly; a
regression that takes them for independent is wrong in either direction. What is independent is the unit. The slope of
the effect over the days is a fixed weighted sum of the daily effects,

    slope = sum_k w_k effect_k,    w_k = (day_k - mean) / sum_j (day_j - mean)^2,

and therefore a difference of two means: of the units' own slopes ``sum_k w_k y_ik``. Their variance holds all
correlation between days, whatever its form. ``DailyStats`` keeps the moments of a unit's days, from which the slope
and any other contrast follow as ordinary ``MeanStats``.

Units enter with their whole window only: if late comers were seen on early days alone, a trend could be nothing but
another mix of units.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.fixed import compare
from abplatform.stats.fixed.alternatives import critical_value, tail_p_value, tail_rate
from abplatform.stats.results import Interval, NotComputable, Objects, named_reasons, reason_code
from abplatform.stats.sufficient import MeanStats
from abplatform.stats.sufficient.centred import EPS, empty_is_zero, merged_moment, share_of
from abplatform.stats.validation import (
    Direction,
    FloatArray,
    IntArray,
    finite_values,
    instance_of,
    known_direction,
    same_grid,
    whole_counts,
)


class TrendPattern(StrEnum):
    """What a trend does to the first impression."""

    NOVELTY = "novelty"
    """The effect gets worse from day to day: early days flatter the treatment."""
    PRIMACY = "primacy"
    """The effect gets better from day to day: early days undersell the treatment."""


@dataclass(frozen=True, slots=True, eq=False)
class DailyStats:
    """Units of an arm and one number per unit and day since exposure; all units with all days.

    Args:
        n: units, whole and not negative; any shape.
        mean: mean per unit on each day, the days along the last axis (0 where ``n`` is 0).
        m2: sums of products of the deviations of two days, days along the last two axes.

    Raises:
        ValueError: naming the field that is not finite, has another shape, or cannot be.

    >>> arm = DailyStats.of([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]]) + DailyStats.of([[0.0, 1.0, 5.0]])
    >>> int(arm.n), arm.mean.round(3).tolist()
    (3, [1.0, 1.667, 3.333])
    >>> slopes = arm.contrast(slope_weights([0, 1, 2]))
    >>> round(float(slopes.mean), 4)  # the mean of the units' own slopes 1, 0 and 2.5
    1.1667
    """

    n: IntArray
    mean: FloatArray
    m2: FloatArray

    def __init__(self, n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> None:
        units, means, moments = whole_counts("n", n), finite_values("mean", mean), finite_values("m2", m2)
        if means.shape[:-1] != units.shape or means.ndim == 0:
            raise ValueError("mean must have the shape of n and an axis of days")
        if moments.shape != (*means.shape, means.shape[-1]):
            raise ValueError("m2 must have the shape of n and two axes of days")
        # Engines leave rounding of the size of the means; squares of very small numbers are 0, products are not.
        rounding = 1e-12 * np.sqrt(units)[..., None] * np.abs(means) + 1e-150
        spread = np.sqrt(np.maximum(np.diagonal(moments, axis1=-2, axis2=-1), 0.0)) + rounding
        limit = spread[..., :, None] * spread[..., None, :] * (1 + 1e-9)
        if (np.abs(moments) > limit).any() or (np.abs(moments - moments.mT) > 1e-9 * limit).any():
            raise ValueError("m2 must be a symmetric matrix of moments")
        empty_is_zero(units[..., None], mean=means)
        object.__setattr__(self, "n", units)
        object.__setattr__(self, "mean", means)
        object.__setattr__(self, "m2", moments)

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Reduce raw values, units along the last but one axis, days along the last."""
        raw = np.atleast_2d(finite_values("values", values))
        n = raw.shape[-2]
        mean = raw.mean(axis=-2) if n else np.zeros(raw.shape[:-2] + raw.shape[-1:])
        centred = raw - mean[..., None, :]
        return cls(np.full(mean.shape[:-1], n), mean, centred.mT @ centred)

    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units."""
        n = self.n + other.n
        share = share_of(other.n, n)
        delta = other.mean - self.mean
        products = delta[..., :, None] * delta[..., None, :]
        m2 = merged_moment(self.m2, other.m2, (self.n * share)[..., None, None], products)
        joint = self.mean + delta * share[..., None]
        return type(self)(n, np.where((self.n > 0)[..., None], joint, other.mean), m2)

    def daily(self) -> MeanStats:
        """Return each day by itself, days along the last axis; for the picture, not to be combined."""
        return MeanStats(self.n[..., None], self.mean, np.diagonal(self.m2, axis1=-2, axis2=-1))

    def contrast(self, weights: ArrayLike) -> MeanStats:
        """Return statistics of the units' own weighted sums over the days.

        Args:
            weights: one per day; (1, ..., -1) for early minus late, say.

        Raises:
            ValueError: naming ``weights`` that are not one number per day.
        """
        w = finite_values("weights", weights)
        if w.shape != self.mean.shape[-1:]:
            raise ValueError("weights must hold one number per day")
        moment = np.einsum("i,...ij,j->...", w, self.m2, w)
        # Units that all have the same contrast leave rounding of the size of the parts.
        size = np.einsum("i,...ij,j->...", np.abs(w), np.abs(self.m2), np.abs(w))
        return MeanStats(self.n, self.mean @ w, np.where(moment <= 4 * EPS * w.size * size, 0.0, moment))


@dataclass(frozen=True, slots=True, eq=False)
class Trend:
    """Change of the effect per day, its p-value, and what it does: ``TrendPattern``, or ``None`` without a trend."""

    slope: Interval
    p_value: FloatArray
    pattern: Objects
    not_computable: Objects


@np.errstate(all="ignore")
def slope_weights(days: ArrayLike) -> FloatArray:
    """Return weights whose sum over the days is the least-squares slope.

    Raises:
        ValueError: naming ``days`` that are not one list with at least two different numbers, or lie so close to each
            other that no float holds their weights.

    >>> slope_weights([0, 1, 2]).tolist()
    [-0.5, 0.0, 0.5]
    """
    weights, scale = _near_weights(days)
    return np.ldexp(weights, -scale)


def _near_weights(days: ArrayLike) -> tuple[FloatArray, int]:
    """Return the weights of days counted in units of a power of two, and its exponent.

    That costs no digits, and squares of huge or tiny days, or of their weights, are no floats.
    """
    position = finite_values("days", days)
    if position.ndim != 1 or np.unique(position).size < 2:
        raise ValueError("days must be one list with at least two different numbers")
    scale = int(np.frexp(np.abs(position).max())[1])
    near = np.ldexp(position, -scale)
    centred = near - near.mean()
    weights = centred / np.square(centred).sum()
    if not np.isfinite(np.ldexp(weights, -scale)).all():
        raise ValueError("days must not lie as close to each other as that")
    return np.asarray(weights), scale


def _weights_of(days: ArrayLike | None, count: int) -> tuple[FloatArray, int]:
    """Return the same of ``count`` days, by default 0, 1, 2 ..."""
    weights, scale = _near_weights(np.arange(count) if days is None else days)
    if weights.size != count:
        raise ValueError("days must hold one position per day")
    return weights, scale


def _per_day(slope: Interval, scale: int) -> Interval:
    """Return a slope per unit of the days as they were given."""
    return Interval(*(np.asarray(np.ldexp(part, -scale)) for part in (slope.estimate, slope.lower, slope.upper)))


@np.errstate(all="ignore")
def check_trend(
    treatment: DailyStats,
    control: DailyStats,
    *,
    days: ArrayLike | None = None,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
) -> Trend:
    """Test that the effect is the same on every day since exposure.

    Welch's t test of the units' own slopes: exact for normal slopes, and right for any correlation between days. Its
    power is best for effects that change steadily; a change within the first days only is found better with
    positions that put weight there, such as ``log(1 + day)``. One look; descriptive, never part of a decision rule.

    Args:
        treatment: moments of the treatment's days, any shape.
        control: moments of the control's days, broadcast against treatment.
        days: position of each day; 0, 1, 2 ... by default. The slope is per unit of it.
        alpha: two-sided error rate, scalar or one per cell.
        direction: which way is better; decides what is novelty and what primacy.

    Returns:
        A ``Trend``; cells without two units per arm, or whose units have one slope, carry a reason.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> rng = np.random.default_rng(1)
    >>> habit = rng.normal(size=(2, 2000, 1))  # a unit's days are alike
    >>> noise = rng.normal(size=(2, 2000, 7))
    >>> wearing_off = 0.3 - 0.05 * np.arange(7)
    >>> trend = check_trend(DailyStats.of(habit[0] + noise[0] + wearing_off), DailyStats.of(habit[1] + noise[1]))
    >>> round(float(trend.slope.estimate), 3), str(trend.pattern.item())
    (-0.046, 'novelty')
    """
    known_direction(direction)
    for name, arm in (("treatment", treatment), ("control", control)):
        instance_of(name, arm, DailyStats, "DailyStats.of(values by unit and day)")
    count = treatment.mean.shape[-1]
    if control.mean.shape[-1] != count:
        raise ValueError("control must have the days of treatment")
    weights, scale = _weights_of(days, count)
    result = compare(treatment.contrast(weights), control.contrast(weights), alpha=alpha)
    return Trend(
        slope=_per_day(result.absolute, scale),
        p_value=result.p_value,
        pattern=_patterns(result.absolute, direction),
        not_computable=result.not_computable,
    )


@np.errstate(all="ignore")
def check_effect_trend(
    effects: ArrayLike,
    covariance: ArrayLike,
    *,
    days: ArrayLike | None = None,
    alpha: ArrayLike = 0.05,
    direction: Direction = "increase",
) -> Trend:
    """Test that effects by day are the same, where their covariance is known from elsewhere.

    For daily effects that are no means (ratios, quantiles), whose covariance between days comes from the delta method
    or from resampling units. The slope ``w effects`` has the variance ``w covariance w`` and is taken as normal.

    Args:
        effects: the effect on each day, days along the last axis.
        covariance: its covariance matrix, days along the last two axes. Zeros off the diagonal say that different
            units were seen on each day.
        days, alpha, direction: as for ``check_trend``.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> trend = check_effect_trend([3.0, 2.0, 1.0], np.eye(3) * 0.1)
    >>> float(trend.slope.estimate), round(float(trend.p_value), 6)
    (-1.0, 8e-06)
    """
    known_direction(direction)
    effect, matrix = finite_values("effects", effects), finite_values("covariance", covariance)
    if effect.ndim == 0 or matrix.shape[-2:] != effect.shape[-1:] * 2:
        raise ValueError("covariance must hold a matrix with the days of effects")
    weights, scale = _weights_of(days, effect.shape[-1])
    tail = tail_rate(alpha, "two_sided")
    grid = same_grid(effects=effect[..., 0], covariance=matrix[..., 0, 0], alpha=tail)
    variance = np.einsum("i,...ij,j->...", weights, matrix, weights)
    if (variance < 0).any():
        raise ValueError("covariance must not be negative")
    estimate = effect @ weights
    causes = [
        (variance == 0, NotComputable.ZERO_VARIANCE),
        (~np.isfinite(variance + np.square(estimate)), NotComputable.OVERFLOW),
    ]
    codes = np.select([mask for mask, _ in causes], [reason_code(reason) for _, reason in causes], 0).astype(np.int8)
    error = np.where(codes == 0, np.sqrt(variance), np.nan)
    half = critical_value(tail, None) * error
    slope = Interval(np.broadcast_to(estimate, grid), estimate - half, estimate + half)
    p_value = np.broadcast_to(tail_p_value(estimate / error, None, "two_sided"), grid)
    reasons = np.broadcast_to(named_reasons(codes), grid)
    return Trend(_per_day(slope, scale), p_value, _patterns(slope, direction), reasons)


def _patterns(slope: Interval, direction: Direction) -> Objects:
    """Return what a slope that is not 0 does."""
    rises, falls = slope.lower > 0, slope.upper < 0
    better, worse = (rises, falls) if direction == "increase" else (falls, rises)
    pattern = np.full(rises.shape, None, dtype=object)
    pattern[better], pattern[worse] = TrendPattern.PRIMACY, TrendPattern.NOVELTY
    return pattern
