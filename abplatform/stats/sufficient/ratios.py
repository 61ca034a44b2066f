"""Two numbers per cluster (or unit): ratios of sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.results import Caution, NotComputable
from abplatform.stats.sufficient.centred import (
    CONSTANT,
    centre,
    checked_squares,
    empty_is_zero,
    merged_moment,
    share_of,
)
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, finite_values, same_grid, whole_counts

FEW_CLUSTERS = 40
"""Below this many clusters in an arm delta-method intervals tend to be too short (Cameron and Miller, 2015)."""


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

    fixed_method: ClassVar[str] = "cluster_t"
    estimand: ClassVar[tuple[str, ...]] = ()
    shared_variance: ClassVar[float] = 0.0
    missing: ClassVar[NotComputable] = NotComputable.ZERO_DENOMINATOR

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
            "m2_y": checked_squares("m2_y", m2_y, self.n, means["mean_y"]),
            "m2_d": checked_squares("m2_d", m2_d, self.n, means["mean_d"]),
            "c_yd": finite_values("c_yd", c_yd),
        }
        same_grid(n=self.n, **moments)
        empty_is_zero(self.n, **moments)
        for name, values in moments.items():
            object.__setattr__(self, name, values)
        size_y, size_d = np.sqrt(self.m2_y), np.sqrt(self.m2_d)
        root = np.sqrt(self.n)
        # Engines that do not centre leave rounding of the size of the means in all three moments.
        rounding = 1e-12 * (size_y + root * np.abs(self.mean_y)) * (size_d + root * np.abs(self.mean_d))
        if (np.abs(self.c_yd) > size_y * size_d * (1 + 1e-9) + rounding).any():
            raise ValueError("c_yd exceeds sqrt(m2_y * m2_d)")

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def of(cls, y: ArrayLike, d: ArrayLike) -> Self:
        """Reduce raw pairs, one per cluster along the last axis."""
        top, bottom = np.atleast_1d(finite_values("y", y)), np.atleast_1d(finite_values("d", d))
        if top.shape != bottom.shape:
            raise ValueError("y and d must have the same shape")
        (mean_y, apart_y), (mean_d, apart_d) = centre(top), centre(bottom)
        products = np.square(apart_y), np.square(apart_d), apart_y * apart_d
        m2_y, m2_d, c_yd = (product.sum(axis=-1) for product in products)
        return cls(top.shape[-1], mean_y, mean_d, m2_y=m2_y, m2_d=m2_d, c_yd=c_yd)

    @np.errstate(over="ignore", invalid="ignore")
    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of clusters."""
        n = self.n + other.n
        share = share_of(other.n, n)
        weight = self.n * share
        step_y, step_d = other.mean_y - self.mean_y, other.mean_d - self.mean_d
        return type(self)(
            n,
            np.where(self.n > 0, self.mean_y + step_y * share, other.mean_y),
            np.where(self.n > 0, self.mean_d + step_d * share, other.mean_d),
            m2_y=merged_moment(self.m2_y, other.m2_y, weight, np.square(step_y)),
            m2_d=merged_moment(self.m2_d, other.m2_d, weight, np.square(step_d)),
            c_yd=merged_moment(self.c_yd, other.c_yd, weight, step_y * step_d),
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
        residual, rounding = self.residual_moment(self.estimate)
        # Proportional y and d leave only rounding, of either sign.
        residual = np.where(residual <= rounding, 0.0, residual)
        variance = residual / np.maximum(self.n - 1, 1) / (np.maximum(self.n, 1) * np.square(self.mean_d))
        return np.where(self.n > 1, variance, np.nan)

    @np.errstate(all="ignore")
    def residual_moment(self, ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the sum of squared deviations of ``y - R d`` at a ratio R, and how much of it could be rounding."""
        spread = np.square(ratio) * self.m2_d
        moment = self.m2_y - 2 * ratio * self.c_yd + spread
        means = np.square(CONSTANT * self.mean_y) + np.square(ratio * CONSTANT * self.mean_d)
        return moment, CONSTANT * (self.m2_y + spread) + self.n * means

    @property
    def degenerate(self) -> BoolArray:
        """True where there are fewer than two clusters, no denominator or no variation."""
        return ~(self.variance > 0)

    @property
    def freedom(self) -> FloatArray:
        """Degrees of freedom of ``variance``, clusters - 1."""
        return np.asarray(self.n - 1.0)

    @property
    def cautions(self) -> NDArray[np.int64]:
        """``FEW_CLUSTERS`` where delta-method intervals tend to be too short."""
        return np.where(self.n < FEW_CLUSTERS, Caution.FEW_CLUSTERS.value, 0)
