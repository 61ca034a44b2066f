"""Values below a grid of cut points: quantiles of units or of clustered events.

The share F(c) of events at or below a cut point c is a ratio of sums over clusters, with the delta-method
variance of ``RatioStats``. A quantile inverts it, and so does its interval: the values at which F is ``q`` minus and
plus z standard errors (Woodruff, 1952; for clusters Deng, Knoblich and Lu, 2018, on quantile metrics, who use z = 1.96
and divide the width by 2 z to get the standard error of the quantile).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abplatform.stats.results import Caution, Interval, NotComputable
from abplatform.stats.sufficient.centred import share_of
from abplatform.stats.sufficient.clusters import at_cut, count_at_most, reduce_clusters
from abplatform.stats.sufficient.curves import attained, from_zero, frozen, rising_cuts
from abplatform.stats.sufficient.inversion import Inversion, invert, reach
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import FloatArray, IntArray, finite_values, probability, whole_counts


@dataclass(frozen=True, eq=False)
class QuantileStats:
    """Units (or clusters) of an arm and, per cut point, how many of their events lie at or below it.

    The estimand is the q-quantile of events, the share being linear between cut points. On a fine grid that is
    the usual quantile; on a coarse one (whole seconds, yuan) it is the *grouped* quantile, which moves smoothly
    with the shares. Both arms, and all parts that are merged, need the same cut points, chosen without looking
    at the difference: from history or from all arms pooled (``cut_points``).

    Args:
        below: per cut point along the last axis, the ratio of (events at or below it, events) over clusters.
            Fields without that axis need a last axis of length 1.
        q: level between 0 and 1, scalar or one per cell of the leading axes.
        cuts: cut points along the last axis, rising strictly.
        closed: no event lies below the first cut point (a duration's 0, say), so that a quantile may equal it.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> seconds = QuantileStats.from_counts(400, [0, 240, 380, 400], q=0.75, cuts=[0, 1, 2, 3])
    >>> round(float(seconds.estimate), 4), round(float(seconds.variance) ** 0.5, 4), float(seconds.attained)
    (1.4286, 0.0456, 2.0)
    """

    fixed_method: ClassVar[str] = "quantile_t"
    estimand: ClassVar[tuple[str, ...]] = ("q",)
    shared_variance: ClassVar[float] = 0.0
    missing: ClassVar[NotComputable] = NotComputable.NOT_REACHED

    below: RatioStats
    q: FloatArray
    cuts: FloatArray
    closed: bool

    def __init__(self, below: RatioStats, *, q: ArrayLike, cuts: ArrayLike, closed: bool = False) -> None:
        points = rising_cuts(cuts)
        if below.mean_y.shape[-1:] != points.shape[-1:]:
            raise ValueError("below must have one entry per cut point along its last axis")
        _check_shares(below)
        object.__setattr__(self, "below", below)
        object.__setattr__(self, "q", probability("q", q))
        object.__setattr__(self, "cuts", points)
        object.__setattr__(self, "closed", bool(closed))
        try:
            np.broadcast_shapes(self.q.shape, points.shape[:-1], below.mean_y.shape[:-1])
        except ValueError:
            raise ValueError("q, cuts and below must have leading axes that broadcast") from None

    @classmethod
    def of(
        cls,
        values: ArrayLike,
        *,
        q: ArrayLike,
        clusters: ArrayLike | None = None,
        cuts: ArrayLike | None = None,
        closed: bool = False,
    ) -> Self:
        """Reduce raw values along the last axis.

        Args:
            values: one value per event.
            q: level between 0 and 1.
            clusters: label of each event's unit or cluster, along the last axis; ``None`` where every event is a
                unit of its own.
            cuts: one grid; ``None`` takes the distinct values. Arms whose values are discrete need a shared grid,
                otherwise the same share stands for another value in each.
            closed: no value can lie below the first of the cuts; always so for distinct values.

        >>> float(QuantileStats.of(np.arange(1, 101), q=0.9).estimate)
        90.0
        """
        raw = np.atleast_1d(finite_values("values", values))
        if cuts is None and raw.size == 0:
            raise ValueError("cuts must be given where there are no values")
        points = np.unique(raw) if cuts is None else rising_cuts(cuts)
        if points.ndim > 1:
            raise ValueError("cuts must be one grid for raw values")
        closed = closed or cuts is None
        if clusters is None:
            return cls.from_counts(raw.shape[-1], count_at_most(raw, points), q=q, cuts=points, closed=closed)
        return cls(reduce_clusters(raw, np.asarray(clusters), points), q=q, cuts=points, closed=closed)

    @classmethod
    def from_counts(
        cls, n: ArrayLike, at_most: ArrayLike, *, q: ArrayLike, cuts: ArrayLike, closed: bool = False
    ) -> Self:
        """Build from counts of units that have exactly one value each.

        Args:
            n: units, one entry per cell of the leading axes.
            at_most: units at or below each cut point, along the last axis.
            q, cuts, closed: as for the class.
        """
        units, counts = whole_counts("n", n)[..., None], np.atleast_1d(whole_counts("at_most", at_most))
        try:
            excess = (counts > units).any()
        except ValueError:
            raise ValueError("at_most must have the axes of n and one for the cut points") from None
        if excess:
            raise ValueError("at_most must not exceed n")
        shares = share_of(counts, units)
        below = RatioStats(
            units, shares, (units > 0) * 1.0, m2_y=counts * share_of(units - counts, units), m2_d=0.0, c_yd=0.0
        )
        return cls(below, q=q, cuts=cuts, closed=closed)

    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of clusters on the same grid."""
        for name in ("q", "cuts", "closed"):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(f"{name} must be the same in both parts")
        return type(self)(self.below + other.below, q=self.q, cuts=self.cuts, closed=self.closed)

    @property
    def n(self) -> IntArray:
        """Clusters (units)."""
        return np.asarray(self.below.n[..., 0] if self.below.n.ndim else self.below.n)

    @cached_property
    def shares(self) -> FloatArray:
        """Share of events at or below each cut point; NaN without events."""
        return frozen(self.below.estimate)

    @property
    def attained(self) -> FloatArray:
        """The smallest cut point at or below which a share of q lies, for display; NaN beyond the grid."""
        return attained(self.cuts, self.shares, self.q)

    @property
    def estimate(self) -> FloatArray:
        """The quantile; NaN where it, or its 95% interval, reaches beyond the grid."""
        return self._inversion.estimate

    @cached_property
    def variance(self) -> FloatArray:
        """Variance of the quantile, from the width of Woodruff's interval; NaN below two clusters."""
        return frozen(np.where(self.n > 1, self._inversion.variance, np.nan))

    @property
    def freedom(self) -> FloatArray:
        """Degrees of freedom, clusters - 1."""
        return np.asarray(self.n - 1.0)

    @property
    def cautions(self) -> NDArray[np.int64]:
        """``FEW_CLUSTERS``, and ``COARSE_QUANTILE`` where the grid or a gap in the values shapes the interval."""
        few = self.below.cautions[..., 0] if self.below.n.ndim else self.below.cautions
        return np.asarray(few | np.where(self._inversion.rough, Caution.COARSE_QUANTILE.value, 0))

    @np.errstate(all="ignore")
    def interval(self, alpha: ArrayLike = 0.05) -> Interval:
        """Return the quantile of one arm with Woodruff's interval, which need not be symmetric.

        Args:
            alpha: two-sided error rate between 0 and 1.

        Returns:
            Bounds are NaN where the shares do not get there: with 20 units no p90 has an upper bound.

        >>> bounds = QuantileStats.of(np.arange(1, 101), q=0.5).interval()
        >>> round(float(bounds.lower), 2), round(float(bounds.upper), 2)
        (40.03, 59.97)
        """
        rate, inverse = probability("alpha", alpha), self._inversion
        wide = special.stdtrit(self.freedom, rate / 2) * inverse.share_error
        return Interval(inverse.value, reach(*self._curve, self.q + wide), reach(*self._curve, self.q - wide))

    @cached_property
    def _curve(self) -> tuple[FloatArray, FloatArray]:
        """Cut points and shares; a closed grid begins with a share of 0 at its first cut point."""
        return from_zero(self.cuts, self.shares, self.cuts[..., :1]) if self.closed else (self.cuts, self.shares)

    @cached_property
    def _inversion(self) -> Inversion:
        return invert(*self._curve, self.q, variance_at=self._variance_at)

    def _variance_at(self, index: IntArray) -> FloatArray:
        return at_cut(self.below, np.maximum(index - self.closed, 0)).variance


def _check_shares(below: RatioStats) -> None:
    size = 1e-9 * np.atleast_1d(np.abs(below.mean_d))
    if (below.mean_y < -size).any() or (below.mean_y > below.mean_d + size).any():
        raise ValueError("below must count between none and all of the events")
    if (np.diff(below.mean_y, axis=-1) < -size[..., :1]).any():
        raise ValueError("below must not fall from one cut point to the next")


def cut_points(values: ArrayLike, *, q: float, n: int = 200) -> FloatArray:
    """Choose a grid of cut points from a pilot: dense around its q-quantile, wide outside, from end to end.

    An engine needs two passes: this one over a sample of all arms pooled (or, better, over history, so that the
    grid stays the same at every look), and one that counts events at or below each cut point. The grid never
    affects validity, only resolution; values that repeat give fewer cut points than asked for.

    Args:
        values: pilot values, at least one.
        q: level between 0 and 1.
        n: cut points, at least 3.

    >>> grid = cut_points(np.arange(10_001), q=0.9, n=11)
    >>> grid.astype(int).tolist()
    [0, 4392, 7056, 8424, 8928, 9000, 9008, 9064, 9216, 9512, 10000]
    """
    raw = finite_values("values", values).ravel()
    levels = cut_levels(q=q, n=n)
    if raw.size == 0:
        raise ValueError("values must not be empty")
    return np.unique(np.quantile(raw, levels, method="inverted_cdf"))


def cut_levels(*, q: float, n: int = 200) -> FloatArray:
    """The levels whose quantiles are the cut points of `cut_points`, rising from 0 to 1.

    Args:
        q, n: as there.

    >>> cut_levels(q=0.9, n=5).tolist()
    [0.0, 0.7875, 0.9, 0.9125, 1.0]
    """
    level, count = probability("q", q), whole_counts("n", n)
    if level.ndim:
        raise ValueError("q must be one number")
    if count.ndim or count < 3:
        raise ValueError("n must be one number of at least 3")
    # A cube has its slowest steps in the middle: a step there is a tiny share, at the ends a large one.
    offset = np.linspace(-1, 1, int(count)) ** 3
    return np.asarray(np.clip(level + np.where(offset < 0, level, 1 - level) * offset, 0.0, 1.0))
