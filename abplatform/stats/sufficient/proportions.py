"""Units that did it or did not: rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.results import Caution, NotComputable
from abplatform.stats.sufficient.centred import share_of
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, finite_values, same_grid, whole_counts

FEW_EVENTS = 5
"""Below this many successes or failures in an arm the normal approximation of a rate is poor."""


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

    fixed_method: ClassVar[str] = "unpooled_z"
    estimand: ClassVar[tuple[str, ...]] = ()
    shared_variance: ClassVar[float] = 0.0
    missing: ClassVar[NotComputable] = NotComputable.NO_UNITS

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
        return np.where(self.n > 0, share_of(self.successes, self.n), np.nan)

    @property
    def variance(self) -> FloatArray:
        """Variance of the rate, p (1 - p) / n; NaN without units."""
        failures = share_of(self.n - self.successes, self.n)
        return self.estimate * failures / np.maximum(self.n, 1)

    @property
    def rarer_outcome(self) -> IntArray:
        """Count of the rarer outcome: a rate of 99.9% is as skewed as one of 0.1%."""
        return np.asarray(np.minimum(self.successes, self.n - self.successes))

    @property
    def degenerate(self) -> BoolArray:
        """True where there are fewer than two units, or all or none did it."""
        return np.asarray((self.n < 2) | (self.rarer_outcome == 0))

    @property
    def freedom(self) -> None:
        """None: the variance follows from the rate, so that tests are normal."""
        return

    @property
    def cautions(self) -> NDArray[np.int64]:
        """``FEW_EVENTS`` where the normal approximation is poor."""
        return np.where(self.rarer_outcome < FEW_EVENTS, Caution.FEW_EVENTS.value, 0)
