"""Third moments beside means: skewness that adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.sufficient.centred import EPS, centre, empty_is_zero, share_of
from abplatform.stats.sufficient.means import MeanStats
from abplatform.stats.validation import FloatArray, IntArray, finite_values, same_grid


@dataclass(frozen=True, slots=True, eq=False)
class SkewStats:
    """Units and their first three centred moments.

    Args:
        base: units, mean and sum of squared deviations.
        m3: sum of cubed deviations from the mean (0 where there are no units).

    Raises:
        ValueError: naming ``m3`` where it is not finite, or larger than ``m2`` allows.

    >>> float(SkewStats.of([0.0, 0.0, 0.0, 4.0]).skewness.round(4))
    1.1547
    """

    base: MeanStats
    m3: FloatArray

    def __init__(self, base: MeanStats, m3: ArrayLike) -> None:
        cubes = finite_values("m3", m3)
        same_grid(n=base.n, mean=base.mean, m2=base.m2, m3=cubes)
        empty_is_zero(base.n, m3=cubes)
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "m3", _checked_cubes(base, cubes))

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Reduce raw values, one per unit along the last axis."""
        base = MeanStats.of(values)
        _, apart = centre(np.atleast_1d(np.asarray(values, dtype=np.float64)))
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(base, (apart**3).sum(axis=-1))

    @classmethod
    def from_sums(cls, n: ArrayLike, total: ArrayLike, sum_squares: ArrayLike, *, sum_cubes: ArrayLike) -> Self:
        """Build from raw sums; the third moment loses digits where the mean is large against the deviations."""
        base, cubes = MeanStats.from_sums(n, total, sum_squares), finite_values("sum_cubes", sum_cubes)
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(base, cubes - 3 * base.mean * base.m2 - base.n * base.mean**3)

    @np.errstate(over="ignore", invalid="ignore")
    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units (Pebay, 2008; the first two moments by Chan et al., 1979).

        ``m3 = m3a + m3b + d^3 na nb (na - nb) / n^2 + 3 d (na m2b - nb m2a) / n`` with d the step of the means.
        """
        left, right = self.base, other.base
        both = left + right
        step = right.mean - left.mean
        first, second = share_of(left.n, both.n), share_of(right.n, both.n)
        between = step**3 * left.n * second * (first - second)
        within = 3 * step * (first * right.m2 - second * left.m2)
        return type(self)(both, self.m3 + other.m3 + between + within)

    @property
    def n(self) -> IntArray:
        """Units."""
        return self.base.n

    @property
    @np.errstate(all="ignore")
    def skewness(self) -> FloatArray:
        """Third standardised moment, sqrt(n) m3 / m2^1.5; NaN without variation."""
        size = np.sqrt(self.base.m2)
        # Stepwise, since m2^1.5 may leave double precision where its quotient does not.
        scaled = self.m3 / self.base.m2 / size * np.sqrt(self.n)
        return np.where(self.base.unit_variance > 0, scaled, np.nan)


@np.errstate(all="ignore")
def _checked_cubes(base: MeanStats, m3: FloatArray) -> FloatArray:
    """Sums of cubes within the power 1.5 of the sums of squares, which they never exceed.

    Engines that do not centre leave rounding of the size of the cubed mean; that much is cut off, more refused.
    """
    limit = base.m2 * np.sqrt(base.m2)
    rounding = 64 * EPS * base.n * (np.abs(base.mean) ** 3 + np.abs(base.mean) * base.m2 / np.maximum(base.n, 1))
    if (np.abs(m3) > limit * (1 + 1e-6) + rounding).any():
        raise ValueError("m3 exceeds m2**1.5")
    cubes = np.asarray(np.clip(m3, -limit, limit))
    cubes.setflags(write=False)
    return cubes
