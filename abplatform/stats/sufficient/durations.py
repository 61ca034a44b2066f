"""Times to an event, some of them cut short: life tables on a grid of times.

The survival curve is Kaplan and Meier's (1958), its variance Greenwood's (1926). A quantile inverts the curve, its
variance the curve at q minus and plus z standard errors, as for ``QuantileStats``: without censoring the two agree.
The interval of one arm inverts the curve's pointwise band (Brookmeyer and Crowley, 1982), here on the log(-log) scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abplatform.stats.results import Caution, Interval, NotComputable
from abplatform.stats.sufficient.curves import attained, cross, from_zero, frozen, pick, rising_cuts
from abplatform.stats.sufficient.inversion import Inversion, invert
from abplatform.stats.sufficient.lifetimes import actuarial_risk, count_lifetimes
from abplatform.stats.validation import FloatArray, IntArray, non_negative, probability, whole_counts


@dataclass(frozen=True, eq=False)
class DurationStats:
    """Units of an arm, followed from a start until an event or until they are lost from sight.

    The estimand is the time by which a share q of *all* units has had the event: those who never have it count
    as infinitely late, so that a quantile may not exist. Assumes that losing sight of a unit (the end of its
    window) says nothing about its time. The curve is linear between the times of the grid, which both arms and all
    merged parts share.

    Args:
        n: units, one entry per cell of the leading axes.
        at_risk: per time of the grid (last axis), units that are still followed and had no event before its
            interval; those lost within the interval may count in part (``from_counts``).
        events: units with their event after the previous time and up to this one.
        cuts: times, not negative, rising strictly.
        q: level between 0 and 1, scalar or one per cell.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> days = DurationStats.from_counts(200, events=[60, 50, 20], censored=[0, 0, 20], cuts=[1, 2, 3], q=0.5)
    >>> round(float(days.estimate), 4), round(float(days.variance) ** 0.5, 4), days.survival.round(3).tolist()
    (1.8, 0.1465, [0.7, 0.45, 0.337])
    """

    fixed_method: ClassVar[str] = "kaplan_meier_z"
    estimand: ClassVar[tuple[str, ...]] = ("q",)
    shared_variance: ClassVar[float] = 0.0
    missing: ClassVar[NotComputable] = NotComputable.NOT_REACHED

    n: IntArray
    at_risk: FloatArray
    events: IntArray
    cuts: FloatArray
    q: FloatArray

    def __init__(self, n: ArrayLike, *, at_risk: ArrayLike, events: ArrayLike, cuts: ArrayLike, q: ArrayLike) -> None:
        units, points = whole_counts("n", n), non_negative("cuts", rising_cuts(cuts))
        risk, ends = np.atleast_1d(non_negative("at_risk", at_risk)), np.atleast_1d(whole_counts("events", events))
        if risk.shape[-1] != points.shape[-1] or ends.shape[-1] != points.shape[-1]:
            raise ValueError("at_risk and events must have one entry per time of cuts along the last axis")
        level = probability("q", q)
        try:
            np.broadcast_shapes(units.shape, level.shape, risk.shape[:-1], ends.shape[:-1], points.shape[:-1])
        except ValueError:
            raise ValueError("n, at_risk, events, cuts and q must have leading axes that broadcast") from None
        _check_table(units, risk, ends)
        fields = {"n": units, "at_risk": risk, "events": ends, "cuts": points, "q": level}
        for name, values in fields.items():
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, times: ArrayLike, finished: ArrayLike, *, q: ArrayLike, cuts: ArrayLike | None = None) -> Self:
        """Reduce raw times, one per unit along the last axis.

        Args:
            times: time to the event, or until which the unit was followed without it; not negative. Infinite for
                units without event that will never have it.
            finished: whether the event happened.
            q: level between 0 and 1.
            cuts: one grid; ``None`` takes the distinct times, which gives the exact Kaplan-Meier curve.

        >>> float(DurationStats.of(np.arange(1, 101), np.ones(100, bool), q=0.5).estimate.round(9))
        50.0
        """
        points = None if cuts is None else rising_cuts(cuts)
        n, risk, events, grid = count_lifetimes(times, finished, points)
        return cls(n, at_risk=risk, events=events, cuts=grid, q=q)

    @classmethod
    def from_counts(
        cls, n: ArrayLike, *, events: ArrayLike, censored: ArrayLike, cuts: ArrayLike, q: ArrayLike
    ) -> Self:
        """Build from counts per interval of the grid.

        Args:
            n: units, one entry per cell of the leading axes.
            events: units with their event after the previous time and up to this one, along the last axis.
            censored: units lost within the same interval; they count as at risk there for a half (Cutler and
                Ederer, 1958). Units followed to the last time, or beyond, are the rest of n.
            cuts, q: as for the class.
        """
        return cls(n, at_risk=actuarial_risk(n, events, censored), events=events, cuts=cuts, q=q)

    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units on the same grid."""
        for name in ("q", "cuts"):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(f"{name} must be the same in both parts")
        return type(self)(
            self.n + other.n,
            at_risk=self.at_risk + other.at_risk,
            events=self.events + other.events,
            cuts=self.cuts,
            q=self.q,
        )

    @cached_property
    @np.errstate(all="ignore")
    def survival(self) -> FloatArray:
        """Share of units without event after each time of the grid (Kaplan and Meier, 1958); NaN without units."""
        hazard = np.where(self.events > 0, self.events / self.at_risk, 0.0)
        curve = np.cumprod(1 - hazard, axis=-1)
        return frozen(np.where(self.n[..., None] > 0, curve, np.nan))

    @cached_property
    @np.errstate(all="ignore")
    def survival_error(self) -> FloatArray:
        """Greenwood's (1926) standard error of ``survival``; NaN once nobody is left."""
        return frozen(self.survival * np.sqrt(self._greenwood))

    @property
    def attained(self) -> FloatArray:
        """The first time of the grid by which a share of q had the event, for display; NaN where it is later."""
        return attained(self.cuts, 1 - self.survival, self.q)

    @property
    def estimate(self) -> FloatArray:
        """The quantile; NaN where it, or its 95% interval, reaches beyond the curve."""
        return self._inversion.estimate

    @cached_property
    def variance(self) -> FloatArray:
        """Variance of the quantile, from the width of Woodruff's interval; NaN below two units."""
        return frozen(np.where(self.n > 1, self._inversion.variance, np.nan))

    @property
    def freedom(self) -> None:
        """None: tests are normal."""
        return

    @property
    def cautions(self) -> NDArray[np.int64]:
        """``COARSE_QUANTILE`` where the grid or a gap in the times shapes the interval."""
        return np.where(self._inversion.rough, Caution.COARSE_QUANTILE.value, 0)

    def interval(self, alpha: ArrayLike = 0.05) -> Interval:
        """Return the quantile of one arm with its interval (Brookmeyer and Crowley, 1982), not symmetric.

        Args:
            alpha: two-sided error rate between 0 and 1.

        Returns:
            Bounds are NaN where the band does not get there.

        >>> bounds = DurationStats.of(np.arange(1, 101), np.ones(100, bool), q=0.5).interval()
        >>> round(float(bounds.lower), 1), round(float(bounds.upper), 1)
        (39.7, 59.4)
        """
        critical = -special.ndtri(probability("alpha", alpha) / 2)
        early, late = self._band(critical)
        lower, upper = (cross(*self._from_zero(side), self.q).value for side in (early, late))
        return Interval(self._inversion.value, lower, upper)

    @cached_property
    @np.errstate(all="ignore")
    def _greenwood(self) -> FloatArray:
        """Squared relative standard error of the survival curve, the running sum of d / (r (r - d))."""
        terms = self.events / self.at_risk / (self.at_risk - self.events)
        sums = np.cumsum(np.where(self.events > 0, terms, 0.0), axis=-1)
        return np.where(np.isfinite(sums), sums, np.nan)

    @np.errstate(all="ignore")
    def _band(self, critical: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Upper and lower band of the share with event, ``1 - S^exp(+-z se / (S |log S|))``.

        Where nobody is left the band keeps its last values: the data end there.
        """
        log = np.log(self.survival)
        factor = np.exp(np.asarray(critical)[..., None] * np.sqrt(self._greenwood) / np.abs(log))
        sides = [-np.expm1(log * factor), -np.expm1(log / factor)]
        # Before the first event the share is 0 without doubt. Later the band may bend back as its error grows.
        early, late = (np.fmax.accumulate(np.where(log == 0, 0.0, side), axis=-1) for side in sides)
        return early, late

    def _from_zero(self, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
        return from_zero(self.cuts, shares, np.zeros_like(self.cuts[..., :1]))

    @cached_property
    def _inversion(self) -> Inversion:
        return invert(*self._from_zero(1 - self.survival), self.q, variance_at=self._variance_at)

    def _variance_at(self, index: IntArray) -> FloatArray:
        return pick(np.square(self.survival_error), np.maximum(index - 1, 0))


def _check_table(n: IntArray, at_risk: FloatArray, events: IntArray) -> None:
    units = n[..., None] * (1 + 1e-12)
    if (at_risk > units).any():
        raise ValueError("at_risk must not exceed n")
    if (events > at_risk).any():
        raise ValueError("events must not exceed at_risk")
    if (at_risk[..., 1:] > (at_risk - events)[..., :-1] + 1e-12 * units).any():
        raise ValueError("at_risk must fall by the events from one time to the next")
