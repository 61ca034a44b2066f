"""Sufficient statistics of one arm: frozen, additive, vectorised over any grid of cells.

Every field is a numpy array (0-d for a single cell) and all fields of one object broadcast against each
other. ``a + b`` merges disjoint sets of units. Second moments are kept *centred* (sums of squared
deviations) and merged by the formulas of Chan, Golub and LeVeque (1979), so that a mean of 1e9 with a
standard deviation of 1 over 1e7 units keeps its digits; sums of raw squares would lose all of them.

Each class offers what the inference needs, with NaN where it does not exist:

* ``estimate``: the estimand of the arm (mean, rate, ratio),
* ``variance``: the estimated variance *of that estimate* (not of the units),
* ``degenerate``: whether the arm has fewer than two units or no variation at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    finite_values,
    non_negative,
    same_grid,
    whole_counts,
)

_EPS = float(np.finfo(np.float64).eps)
# Identical values such as 0.1 average to 0.1 give or take a few units in the last place. A relative
# standard deviation below this bound is that rounding, not variation.
_CONSTANT = 16 * _EPS


@np.errstate(all="ignore")
def _share(part: IntArray, total: IntArray) -> FloatArray:
    """Return part / total as float, 0 where the total is 0."""
    return np.where(total > 0, part / np.maximum(total, 1), 0.0)


def _merged_moment(left: FloatArray, right: FloatArray, weight: FloatArray, product: FloatArray) -> FloatArray:
    """Chan et al. (1979), eq. 2.1b: add two centred moments and what lies between their means."""
    return np.asarray(left + right + weight * product, dtype=np.float64)


def _centred_from_sums(name: str, raw: FloatArray, between: FloatArray, scale: FloatArray) -> FloatArray:
    """Turn a raw second moment into a centred one; what is left within rounding of ``scale`` is 0."""
    centred = raw - between
    floor = 8 * _EPS * scale
    if (centred < -floor).any():
        raise ValueError(f"{name} is smaller than the sum allows")
    return np.where(centred <= floor, 0.0, centred)


def _squares(name: str, values: ArrayLike, n: IntArray, mean: FloatArray) -> FloatArray:
    """Return sums of squares; a negative one within the rounding of raw squares is 0, beyond it an error."""
    given = finite_values(name, values)
    same_grid(**{"n": n, "mean": mean, name: given})
    with np.errstate(over="ignore"):
        rounding = 8 * _EPS * n * np.square(mean)
    if (given < -rounding).any():
        raise ValueError(f"{name} must not be negative")
    squares = np.maximum(given, 0.0)
    squares.setflags(write=False)
    return squares


def _empty_is_zero(n: IntArray, **moments: FloatArray) -> None:
    """Refuse sums or moments that are not 0 where there are no units."""
    for name, values in moments.items():
        if ((n == 0) & (values != 0)).any():
            raise ValueError(f"{name} must be 0 where n is 0")


@dataclass(frozen=True, slots=True, eq=False)
class MeanStats:
    """Units of an arm and one number per unit.

    Args:
        n: units, whole and not negative.
        mean: mean per unit (0 where ``n`` is 0).
        m2: sum of squared deviations from the mean (0 where ``n`` is 0); negative within rounding is 0.

    Raises:
        ValueError: naming the field that is negative, NaN, infinite or impossible.

    >>> stats = MeanStats.of([1.0, 2.0]) + MeanStats.of([6.0])
    >>> int(stats.n), float(stats.mean), float(stats.m2)
    (3, 3.0, 14.0)
    """

    n: IntArray
    mean: FloatArray
    m2: FloatArray

    def __init__(self, n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> None:
        object.__setattr__(self, "n", whole_counts("n", n))
        object.__setattr__(self, "mean", finite_values("mean", mean))
        same_grid(n=self.n, mean=self.mean)
        object.__setattr__(self, "m2", _squares("m2", m2, self.n, self.mean))
        same_grid(n=self.n, mean=self.mean, m2=self.m2)
        _empty_is_zero(self.n, mean=self.mean, m2=self.m2)

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Reduce raw values, one per unit along the last axis (two passes, exact to rounding)."""
        raw = np.atleast_1d(finite_values("values", values))
        n = raw.shape[-1]
        mean = raw.mean(axis=-1) if n else np.zeros(raw.shape[:-1])
        return cls(n, mean, np.square(raw - mean[..., None]).sum(axis=-1))

    @classmethod
    def from_sums(cls, n: ArrayLike, total: ArrayLike, sum_squares: ArrayLike) -> Self:
        """Build from raw sums.

        ``sum_squares - total**2 / n`` cancels when the mean is large against the standard deviation; then
        let the engine centre instead. A rest below rounding counts as no variation.
        """
        units, sums = whole_counts("n", n), finite_values("total", total)
        squares = non_negative("sum_squares", sum_squares)
        same_grid(n=units, total=sums, sum_squares=squares)
        _empty_is_zero(units, total=sums, sum_squares=squares)
        mean = sums / np.maximum(units, 1)
        return cls(units, mean, _centred_from_sums("sum_squares", squares, mean * sums, squares))

    @np.errstate(over="ignore", invalid="ignore")
    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units."""
        n = self.n + other.n
        share = _share(other.n, n)
        delta = other.mean - self.mean
        m2 = _merged_moment(self.m2, other.m2, self.n * share, np.square(delta))
        return type(self)(n, np.where(self.n > 0, self.mean + delta * share, other.mean), m2)

    @property
    def estimate(self) -> FloatArray:
        """The mean; NaN without units."""
        return np.where(self.n > 0, self.mean, np.nan)

    @property
    @np.errstate(all="ignore")
    def unit_variance(self) -> FloatArray:
        """Unbiased variance of the units (divisor n - 1); NaN below two units, 0 for constants."""
        constant = self.m2 <= self.n * np.square(_CONSTANT * self.mean)
        spread = np.where(constant, 0.0, self.m2 / np.maximum(self.n - 1, 1))
        return np.where(self.n > 1, spread, np.nan)

    @property
    def variance(self) -> FloatArray:
        """Variance of the mean; NaN below two units."""
        return self.unit_variance / np.maximum(self.n, 1)

    @property
    def degenerate(self) -> BoolArray:
        """True where there are fewer than two units or no variation."""
        return ~(self.variance > 0)


@dataclass(frozen=True, slots=True, eq=False)
class ProportionStats:
    """Units of an arm and how many of them did it.

    Args:
        n: units, whole and not negative.
        successes: units with the outcome, 0 to ``n``.

    Raises:
        ValueError: naming the field that is negative, fractional, NaN or too large.

    >>> rate = ProportionStats(10, 2) + ProportionStats(10, 4)
    >>> float(rate.estimate), round(float(rate.variance), 6)
    (0.3, 0.0105)
    """

    n: IntArray
    successes: IntArray

    def __init__(self, n: ArrayLike, successes: ArrayLike) -> None:
        object.__setattr__(self, "n", whole_counts("n", n))
        object.__setattr__(self, "successes", whole_counts("successes", successes))
        same_grid(n=self.n, successes=self.successes)
        if (self.successes > self.n).any():
            raise ValueError("successes must not exceed n")

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Reduce raw 0/1 values, one per unit along the last axis."""
        raw = np.atleast_1d(finite_values("values", values))
        if not np.isin(raw, (0.0, 1.0)).all():
            raise ValueError("values must be 0 or 1")
        return cls(raw.shape[-1], raw.sum(axis=-1))

    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units."""
        return type(self)(self.n + other.n, self.successes + other.successes)

    @property
    def estimate(self) -> FloatArray:
        """The rate; NaN without units."""
        return np.where(self.n > 0, _share(self.successes, self.n), np.nan)

    @property
    def variance(self) -> FloatArray:
        """Variance of the rate, p (1 - p) / n; NaN without units."""
        failures = _share(self.n - self.successes, self.n)
        return self.estimate * failures / np.maximum(self.n, 1)

    @property
    def rarer_outcome(self) -> IntArray:
        """Count of the rarer outcome: a rate of 99.9% is as skewed as one of 0.1%."""
        return np.asarray(np.minimum(self.successes, self.n - self.successes))

    @property
    def degenerate(self) -> BoolArray:
        """True where there are fewer than two units, or all or none did it."""
        return np.asarray((self.n < 2) | (self.rarer_outcome == 0))


@dataclass(frozen=True, slots=True, eq=False)
class RatioStats:
    """Clusters (or units) of an arm, each with a numerator y and a denominator d.

    The estimand is sum(y) / sum(d): for a clustered experiment y is the outcome summed over a cluster and
    d the cluster's size, for a ratio metric y and d are a unit's two sums (revenue and orders). What is
    independent, and so what ``n`` counts, is the cluster.

    Args:
        n: clusters, whole and not negative.
        mean_y, mean_d: means per cluster (0 where ``n`` is 0).
        m2_y, m2_d: sums of squared deviations per cluster.
        c_yd: sum of products of the deviations, within Cauchy-Schwarz.

    Raises:
        ValueError: naming the field that is negative, NaN, infinite or impossible.

    >>> households = RatioStats.of([2, 0, 3], [4, 2, 4])
    >>> float(households.estimate), int(households.n)
    (0.5, 3)
    """

    n: IntArray
    mean_y: FloatArray
    mean_d: FloatArray
    m2_y: FloatArray
    m2_d: FloatArray
    c_yd: FloatArray

    @np.errstate(over="ignore", invalid="ignore")
    def __init__(
        self,
        n: ArrayLike,
        mean_y: ArrayLike,
        mean_d: ArrayLike,
        *,
        m2_y: ArrayLike,
        m2_d: ArrayLike,
        c_yd: ArrayLike,
    ) -> None:
        object.__setattr__(self, "n", whole_counts("n", n))
        means = {"mean_y": finite_values("mean_y", mean_y), "mean_d": finite_values("mean_d", mean_d)}
        same_grid(n=self.n, **means)
        moments = means | {
            "m2_y": _squares("m2_y", m2_y, self.n, means["mean_y"]),
            "m2_d": _squares("m2_d", m2_d, self.n, means["mean_d"]),
            "c_yd": finite_values("c_yd", c_yd),
        }
        same_grid(n=self.n, **moments)
        _empty_is_zero(self.n, **moments)
        for name, values in moments.items():
            object.__setattr__(self, name, values)
        size_y, size_d = np.sqrt(self.m2_y), np.sqrt(self.m2_d)
        root = np.sqrt(self.n)
        # Engines that do not centre leave rounding of the size of the means in all three moments.
        rounding = 1e-12 * (size_y + root * np.abs(self.mean_y)) * (size_d + root * np.abs(self.mean_d))
        if (np.abs(self.c_yd) > size_y * size_d * (1 + 1e-9) + rounding).any():
            raise ValueError("c_yd exceeds sqrt(m2_y * m2_d)")

    @classmethod
    def of(cls, y: ArrayLike, d: ArrayLike) -> Self:
        """Reduce raw pairs, one per cluster along the last axis."""
        top, bottom = np.atleast_1d(finite_values("y", y)), np.atleast_1d(finite_values("d", d))
        if top.shape != bottom.shape:
            raise ValueError("y and d must have the same shape")
        y_stats, d_stats = MeanStats.of(top), MeanStats.of(bottom)
        products = (top - y_stats.mean[..., None]) * (bottom - d_stats.mean[..., None])
        return cls(y_stats.n, y_stats.mean, d_stats.mean, m2_y=y_stats.m2, m2_d=d_stats.m2, c_yd=products.sum(axis=-1))

    @np.errstate(over="ignore", invalid="ignore")
    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of clusters."""
        n = self.n + other.n
        share = _share(other.n, n)
        weight = self.n * share
        step_y, step_d = other.mean_y - self.mean_y, other.mean_d - self.mean_d
        return type(self)(
            n,
            np.where(self.n > 0, self.mean_y + step_y * share, other.mean_y),
            np.where(self.n > 0, self.mean_d + step_d * share, other.mean_d),
            m2_y=_merged_moment(self.m2_y, other.m2_y, weight, np.square(step_y)),
            m2_d=_merged_moment(self.m2_d, other.m2_d, weight, np.square(step_d)),
            c_yd=_merged_moment(self.c_yd, other.c_yd, weight, step_y * step_d),
        )

    @property
    @np.errstate(all="ignore")
    def estimate(self) -> FloatArray:
        """Ratio of sums; NaN without clusters or where the denominators sum to 0."""
        return np.where((self.n > 0) & (self.mean_d != 0), self.mean_y / self.mean_d, np.nan)

    @property
    @np.errstate(all="ignore")
    def variance(self) -> FloatArray:
        """Variance of the ratio by the delta method (Deng, Knoblich and Lu, 2018, eq. 2); NaN below two clusters.

        The residual y - R d of each cluster has mean 0, so that the variance is the residuals' own, divided
        by n times the squared mean of d.
        """
        ratio = self.estimate
        scale = self.m2_y + np.square(ratio) * self.m2_d
        residual = self.m2_y - 2 * ratio * self.c_yd + np.square(ratio) * self.m2_d
        # Proportional y and d leave only rounding, of either sign.
        size = self.n * (np.square(_CONSTANT * self.mean_y) + np.square(ratio * _CONSTANT * self.mean_d))
        residual = np.where(residual <= _CONSTANT * scale + size, 0.0, residual)
        variance = residual / np.maximum(self.n - 1, 1) / (np.maximum(self.n, 1) * np.square(self.mean_d))
        return np.where(self.n > 1, variance, np.nan)

    @property
    def degenerate(self) -> BoolArray:
        """True where there are fewer than two clusters, no denominator or no variation."""
        return ~(self.variance > 0)


ArmStats = MeanStats | ProportionStats | RatioStats
"""What every comparison takes: both arms of the same class."""
