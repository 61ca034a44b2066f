"""Capped means: one number per unit, no larger than a cap that was fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.results import Caution, NotComputable
from abplatform.stats.sufficient.centred import share_of
from abplatform.stats.sufficient.moments import SkewStats
from abplatform.stats.validation import (
    FloatArray,
    IntArray,
    finite_values,
    positive,
    probability,
    same_grid,
    whole_counts,
)

UNITS_PER_SQUARED_SKEWNESS = 355
"""A mean is nearly normal from this many units times the squared skewness (Kohavi et al., 2014, rule 7)."""


@dataclass(frozen=True, slots=True, eq=False)
class CappedStats:
    """Units of an arm, their values up to a cap, and the uncapped values beside.

    The estimand is the mean of ``min(value, cap)``: less than the plain mean, and far less noisy where a few units
    hold most of the total. It is tested as ``MeanStats`` are. The cap belongs to the metric; taken from the data of
    the test it would depend on the effect.

    Args:
        tested: moments of ``min(value, cap)``.
        uncapped: moments of the values themselves.
        capped: units whose value exceeds the cap, at most n.
        cap: above 0, scalar or one per cell; ``None`` (or infinity in a cell) for a plain mean that warns of
            heavy tails.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> revenue = CappedStats.of([0.0, 0.0, 20.0, 900.0], cap=100.0)
    >>> float(revenue.estimate), float(revenue.uncapped_mean), float(revenue.share_capped)
    (30.0, 230.0, 0.25)
    """

    fixed_method: ClassVar[str] = "welch_t"
    estimand: ClassVar[tuple[str, ...]] = ("cap",)
    shared_variance: ClassVar[float] = 0.0
    missing: ClassVar[NotComputable] = NotComputable.NO_UNITS

    tested: SkewStats
    uncapped: SkewStats
    capped: IntArray
    cap: FloatArray

    def __init__(
        self, tested: SkewStats, uncapped: SkewStats, *, capped: ArrayLike = 0, cap: ArrayLike | None = None
    ) -> None:
        limit, above = _limits(cap), whole_counts("capped", capped)
        same_grid(tested=tested.m3, uncapped=uncapped.m3, capped=above, cap=limit)
        if (tested.n != uncapped.n).any():
            raise ValueError("tested and uncapped must have the same units")
        if (above > tested.n).any():
            raise ValueError("capped must not exceed n")
        if (np.isinf(limit) & (above > 0)).any():
            raise ValueError("capped must be 0 without a cap")
        _check_means(tested, uncapped, limit)
        object.__setattr__(self, "tested", tested)
        object.__setattr__(self, "uncapped", uncapped)
        object.__setattr__(self, "capped", above)
        object.__setattr__(self, "cap", limit)

    @classmethod
    def of(cls, values: ArrayLike, *, cap: ArrayLike | None = None) -> Self:
        """Reduce raw values, one per unit along the last axis.

        Args:
            values: any finite numbers.
            cap: above 0, scalar or one per row of values; ``None`` for no cap.
        """
        raw = np.atleast_1d(finite_values("values", values))
        uncapped = SkewStats.of(raw)
        limit = _limits(cap)
        same_grid(values=raw, cap=limit[..., None])
        above = raw > limit[..., None]
        tested = SkewStats.of(np.minimum(raw, limit[..., None])) if above.any() else uncapped
        return cls(tested, uncapped, capped=above.sum(axis=-1), cap=limit)

    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units under the same cap."""
        if not np.array_equal(self.cap, other.cap):
            raise ValueError("cap must be the same in both parts")
        return type(self)(
            self.tested + other.tested,
            self.uncapped + other.uncapped,
            capped=self.capped + other.capped,
            cap=self.cap,
        )

    @property
    def n(self) -> IntArray:
        """Units."""
        return self.tested.n

    @property
    def estimate(self) -> FloatArray:
        """Mean of the capped values; NaN without units."""
        return self.tested.base.estimate

    @property
    def variance(self) -> FloatArray:
        """Variance of that mean; NaN below two units."""
        return self.tested.base.variance

    @property
    def freedom(self) -> FloatArray:
        """Degrees of freedom of ``variance``, n - 1."""
        return self.tested.base.freedom

    @property
    def skewness(self) -> FloatArray:
        """Skewness of the values that are tested; NaN without variation."""
        return self.tested.skewness

    @property
    def uncapped_mean(self) -> FloatArray:
        """Mean of the values themselves; NaN without units."""
        return self.uncapped.base.estimate

    @property
    def share_capped(self) -> FloatArray:
        """Share of units above the cap; NaN without units."""
        return np.where(self.n > 0, share_of(self.capped, self.n), np.nan)

    @property
    @np.errstate(invalid="ignore", over="ignore")
    def cautions(self) -> NDArray[np.int64]:
        """``HEAVY_TAIL`` where the tested values are too skewed for a normal mean: n < 355 skewness^2."""
        heavy = self.n < UNITS_PER_SQUARED_SKEWNESS * np.square(self.skewness)
        return np.where(heavy, Caution.HEAVY_TAIL.value, 0)


def _limits(cap: ArrayLike | None) -> FloatArray:
    """Return caps, infinite where there is none."""
    try:
        limit = np.array(np.inf if cap is None else cap, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("cap must be numbers") from None
    positive("cap", np.where(limit == np.inf, 1.0, limit))
    limit.setflags(write=False)
    return limit


@np.errstate(over="ignore")
def _check_means(tested: SkewStats, uncapped: SkewStats, cap: FloatArray) -> None:
    mean, plain = tested.base.mean, uncapped.base.mean
    size = 1e-9 * np.abs(mean) + 1e-9 * np.abs(plain)
    if (mean > plain + size).any():
        raise ValueError("tested must not have a larger mean than uncapped")
    if (mean > cap * (1 + 1e-9)).any():
        raise ValueError("tested must not have a mean above cap")


def cap_from_history(values: ArrayLike, *, quantile: float = 0.99) -> float:
    """Return a cap: a quantile of the *non-zero* values before the start of the experiment.

    Most units of a sparse metric have 0; its pooled 99% quantile may be 0 as well, and capping there would leave
    nothing to test.

    Args:
        values: one per unit, from before the start; zeros are left out.
        quantile: between 0 and 1; the smallest value at or below which that share of the non-zero values lies.

    Raises:
        ValueError: naming ``values`` where none is positive enough to give a cap above 0.

    >>> history = np.concatenate([np.zeros(9_900), np.arange(1, 101)])
    >>> cap_from_history(history)
    99.0
    """
    level = probability("quantile", quantile)
    if level.ndim:
        raise ValueError("quantile must be one number")
    spent = finite_values("values", values).ravel()
    spent = spent[spent != 0]
    if spent.size == 0:
        raise ValueError("values must have some that are not 0")
    cap = float(np.quantile(spent, level, method="inverted_cdf"))
    if cap <= 0:
        raise ValueError("values must have a quantile above 0 to be capped")
    return cap
