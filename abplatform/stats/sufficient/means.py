"""One number per unit: means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.results import NotComputable
from abplatform.stats.sufficient.centred import (
    CONSTANT,
    centre,
    centred_from_sums,
    checked_squares,
    empty_is_zero,
    merged_moment,
    share_of,
)
from abplatform.stats.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    finite_values,
    non_negative,
    same_grid,
    whole_counts,
)


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

    fixed_method: ClassVar[str] = "welch_t"
    estimand: ClassVar[tuple[str, ...]] = ()
    shared_variance: ClassVar[float] = 0.0
    missing: ClassVar[NotComputable] = NotComputable.NO_UNITS

    n: IntArray
    mean: FloatArray
    m2: FloatArray

    def __init__(self, n: ArrayLike, mean: ArrayLike, m2: ArrayLike) -> None:
        object.__setattr__(self, "n", whole_counts("n", n))
        object.__setattr__(self, "mean", finite_values("mean", mean))
        same_grid(n=self.n, mean=self.mean)
        object.__setattr__(self, "m2", checked_squares("m2", m2, self.n, self.mean))
        same_grid(n=self.n, mean=self.mean, m2=self.m2)
        empty_is_zero(self.n, mean=self.mean, m2=self.m2)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def of(cls, values: ArrayLike) -> Self:
        """Reduce raw values, one per unit along the last axis (two passes, exact to rounding)."""
        raw = np.atleast_1d(finite_values("values", values))
        mean, apart = centre(raw)
        return cls(raw.shape[-1], mean, np.square(apart).sum(axis=-1))

    @classmethod
    def from_sums(cls, n: ArrayLike, total: ArrayLike, sum_squares: ArrayLike) -> Self:
        """Build from raw sums.

        ``sum_squares - total**2 / n`` cancels when the mean is large against the standard deviation; then
        let the engine centre instead. A rest below rounding counts as no variation.
        """
        units, sums = whole_counts("n", n), finite_values("total", total)
        squares = non_negative("sum_squares", sum_squares)
        same_grid(n=units, total=sums, sum_squares=squares)
        empty_is_zero(units, total=sums, sum_squares=squares)
        mean = sums / np.maximum(units, 1)
        with np.errstate(over="ignore"):
            between = mean * sums
        return cls(units, mean, centred_from_sums("sum_squares", squares, between, squares))

    @np.errstate(over="ignore", invalid="ignore")
    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units."""
        n = self.n + other.n
        share = share_of(other.n, n)
        delta = other.mean - self.mean
        m2 = merged_moment(self.m2, other.m2, self.n * share, np.square(delta))
        return type(self)(n, np.where(self.n > 0, self.mean + delta * share, other.mean), m2)

    @property
    def estimate(self) -> FloatArray:
        """The mean; NaN without units."""
        return self.mean if self.n.all() else np.where(self.n > 0, self.mean, np.nan)

    @property
    @np.errstate(all="ignore")
    def unit_variance(self) -> FloatArray:
        """Unbiased variance of the units (divisor n - 1); NaN below two units, 0 for constants."""
        varies, several = self.m2 > self.n * np.square(CONSTANT * self.mean), self.n > 1
        spread = self.m2 / (self.n - 1)
        if varies.all() and several.all():
            return spread
        return np.where(several, np.where(varies, spread, 0.0), np.nan)

    @property
    def variance(self) -> FloatArray:
        """Variance of the mean; NaN below two units."""
        return self.unit_variance / np.maximum(self.n, 1)

    @property
    def degenerate(self) -> BoolArray:
        """True where there are fewer than two units or no variation."""
        return ~(self.variance > 0)

    @property
    def freedom(self) -> FloatArray:
        """Degrees of freedom of ``variance``, n - 1."""
        return np.asarray(self.n - 1.0)

    @property
    def cautions(self) -> int:
        """No warning that two moments could give."""
        return 0
