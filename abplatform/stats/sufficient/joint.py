"""Several numbers per unit, jointly: an outcome and covariates from before the exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.sufficient.centred import centre, checked_squares, empty_is_zero, merged_moment, share_of
from abplatform.stats.sufficient.means import MeanStats
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import FloatArray, IntArray, finite_values, instance_of, same_grid, whole_counts


@dataclass(frozen=True, slots=True, eq=False)
class JointStats:
    """Units of an arm and the joint moments of several numbers per unit.

    The numbers of a unit are, in this order: the outcome y; for a ratio metric its denominator d; covariates
    *measured before the exposure*; indicators of their missing values. No covariates at all is allowed.

    Args:
        n: units (clusters, where those were randomised), whole and not negative; shape of the grid.
        mean: means per unit, one more axis than the grid (0 where ``n`` is 0).
        cross: sums of products of the deviations from the means, two more axes than the grid, symmetric and
            positive semidefinite within rounding.
        ratio: whether the second number is the denominator of the first.
        indicators: how many of the last numbers say (1) that a covariate is missing; there the covariate is
            0. Either 0, which is the same as indicators that are 0 for every unit, or equal in all that is
            merged or compared.

    Raises:
        ValueError: naming the field that is NaN, infinite, impossible or of another shape.

    >>> arm = JointStats.of([1.0, 2.0, 6.0], [0.0, 2.0, 4.0])
    >>> arm.mean.tolist(), arm.cross.tolist()
    ([3.0, 2.0], [[14.0, 10.0], [10.0, 8.0]])
    """

    n: IntArray
    mean: FloatArray
    cross: FloatArray
    ratio: bool
    indicators: int

    def __init__(
        self, n: ArrayLike, mean: ArrayLike, cross: ArrayLike, *, ratio: bool = False, indicators: int = 0
    ) -> None:
        units, means, products = whole_counts("n", n), finite_values("mean", mean), finite_values("cross", cross)
        least = 2 if ratio else 1
        if means.ndim == 0 or means.shape[-1] < least:
            raise ValueError(f"mean must have a last axis of at least {least}")
        if products.shape[-2:] != 2 * means.shape[-1:]:
            raise ValueError("cross must end in two axes as long as the last axis of mean")
        if not 0 <= indicators <= (means.shape[-1] - least) // 2:
            raise ValueError("indicators must be at most the number of covariates, and not negative")
        same_grid(n=units, mean=means[..., 0], cross=products[..., 0, 0])
        empty_is_zero(units[..., None], mean=means)
        empty_is_zero(units[..., None, None], cross=products)
        object.__setattr__(self, "n", units)
        object.__setattr__(self, "mean", means)
        object.__setattr__(self, "cross", _checked_products(units, means, products))
        object.__setattr__(self, "ratio", bool(ratio))
        object.__setattr__(self, "indicators", int(indicators))

    @classmethod
    def of(cls, y: ArrayLike, covariates: ArrayLike | None = None, *, d: ArrayLike | None = None) -> Self:
        """Reduce raw values, one unit per entry of the last axis of ``y`` (two passes, exact to rounding).

        A covariate that is NaN counts as 0, and if there are any, indicators of missing values are added as
        further covariates, one per covariate (the missingness-indicator method; Zhao and Ding, 2022): units
        stay in the analysis, and the adjusted effect does not depend on what stands in for the missing value.
        A covariate whose mean is large against its standard deviation should have a constant (the same in
        all arms) taken off beforehand, since 0 is then far from all of its values.

        Args:
            y: outcomes, finite.
            covariates: shape of ``y`` for one covariate, or that and a last axis for several; NaN is missing.
            d: denominators of a ratio metric, finite, shape of ``y``.

        Raises:
            ValueError: naming the argument that does not fit.

        >>> JointStats.of([1.0, 2.0, 6.0], [0.0, np.nan, 4.0]).mean.round(3).tolist()
        [3.0, 1.333, 0.333]
        """
        outcome = np.atleast_1d(finite_values("y", y))
        columns = [outcome]
        if d is not None:
            columns.append(np.atleast_1d(finite_values("d", d)))
            if columns[-1].shape != outcome.shape:
                raise ValueError("d must have the shape of y")
        known, missing = _covariate_columns(outcome.shape, covariates)
        values = np.stack([*columns, *known, *missing], axis=-2)
        mean, apart = centre(values)
        with np.errstate(over="ignore", invalid="ignore"):
            cross = apart @ np.swapaxes(apart, -1, -2)
        return cls(outcome.shape[-1], mean, cross, ratio=d is not None, indicators=len(missing))

    @np.errstate(over="ignore", invalid="ignore")
    def __add__(self, other: Self) -> Self:
        """Merge two disjoint sets of units (Chan, Golub and LeVeque, 1979)."""
        left, right = aligned(self, other)
        n = left.n + right.n
        share = share_of(right.n, n)
        step = right.mean - left.mean
        between = step[..., :, None] * step[..., None, :]
        return type(self)(
            n,
            np.where(left.n[..., None] > 0, left.mean + step * share[..., None], right.mean),
            merged_moment(left.cross, right.cross, (left.n * share)[..., None, None], between),
            ratio=left.ratio,
            indicators=left.indicators,
        )

    @property
    def covariates(self) -> int:
        """Number of covariates, indicators included."""
        return int(self.mean.shape[-1]) - (2 if self.ratio else 1)

    @property
    def outcome(self) -> MeanStats | RatioStats:
        """The outcome alone: what is compared without adjustment."""
        if not self.ratio:
            return MeanStats(self.n, self.mean[..., 0], self.cross[..., 0, 0])
        return RatioStats(
            self.n,
            self.mean[..., 0],
            self.mean[..., 1],
            m2_y=self.cross[..., 0, 0],
            m2_d=self.cross[..., 1, 1],
            c_yd=self.cross[..., 0, 1],
        )


def aligned(left: JointStats, right: JointStats) -> tuple[JointStats, JointStats]:
    """Give both the same columns: without missing values there may be no indicators, and then they are 0.

    Raises:
        ValueError: when outcome or covariates are not of the same kind and number.
    """
    for name, stats in (("treatment", left), ("control", right)):
        instance_of(name, stats, JointStats, "JointStats.of(y, x)")
    widest = max(left.indicators, right.indicators)
    first, second = _padded(left, widest), _padded(right, widest)
    if first.ratio != second.ratio:
        raise ValueError("ratio must be the same in what is merged or compared")
    if (first.covariates, first.indicators) != (second.covariates, second.indicators):
        raise ValueError("covariates must be the same in what is merged or compared")
    return first, second


def _padded(stats: JointStats, indicators: int) -> JointStats:
    if stats.indicators or not indicators:
        return stats
    more = (0, indicators)
    grid = [(0, 0)] * (stats.mean.ndim - 1)
    wide = [(0, 0)] * (stats.cross.ndim - 2)
    return JointStats(
        stats.n,
        np.pad(stats.mean, [*grid, more]),
        np.pad(stats.cross, [*wide, more, more]),
        ratio=stats.ratio,
        indicators=indicators,
    )


def _covariate_columns(
    shape: tuple[int, ...], covariates: ArrayLike | None
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return covariates with 0 for NaN, and the indicators of missing values (none where none is missing)."""
    if covariates is None:
        return [], []
    try:
        given = np.atleast_1d(np.asarray(covariates, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("covariates must be numbers, or NaN where missing") from None
    if given.shape == shape:
        given = given[..., None]
    if given.shape[:-1] != shape:
        raise ValueError("covariates must have the shape of y, or that and a last axis")
    absent = np.isnan(given)
    known = finite_values("covariates", np.where(absent, 0.0, given))
    missing = list(np.moveaxis(absent.astype(np.float64), -1, 0)) if absent.any() else []
    return list(np.moveaxis(known, -1, 0)), missing


@np.errstate(all="ignore")
def _checked_products(n: IntArray, mean: FloatArray, cross: FloatArray) -> FloatArray:
    """Return symmetric products whose diagonal is not negative, refusing what no data can have."""
    flipped = np.swapaxes(cross, -1, -2)
    squares = checked_squares("cross", np.diagonal(cross, axis1=-2, axis2=-1), n[..., None], mean)
    size = np.sqrt(squares)
    # Engines that do not centre leave rounding of the size of the means in all moments.
    reach = size + np.sqrt(n)[..., None] * np.abs(mean)
    bound = size[..., :, None] * size[..., None, :]
    slack = 1e-9 * bound + 1e-12 * reach[..., :, None] * reach[..., None, :]
    if (np.abs(cross - flipped) > slack).any():
        raise ValueError("cross must be symmetric")
    # Cauchy-Schwarz is all there is to check for two numbers.
    if (np.abs(cross) > bound + slack).any() or (cross.shape[-1] > 2 and _indefinite(cross, bound, slack)):
        raise ValueError("cross must be positive semidefinite")
    products = (cross + flipped) / 2
    diagonal = np.arange(cross.shape[-1])
    products[..., diagonal, diagonal] = np.broadcast_to(squares, products.shape[:-1])
    products.setflags(write=False)
    return products


def _indefinite(cross: FloatArray, bound: FloatArray, slack: FloatArray) -> bool:
    """Say whether a correlation matrix has an eigenvalue below 0 by more than its rounding."""
    some = bound > 0
    correlation = np.where(some, cross, 0.0) / np.where(some, bound, 1.0)
    # An eigenvalue moves by at most the norm of what is added to the matrix.
    rounding = np.sqrt(np.square(np.where(some, slack, 0.0) / np.where(some, bound, 1.0)).sum(axis=(-1, -2)))
    lowest = np.linalg.eigvalsh(np.clip(correlation, -1.0, 1.0))[..., 0]
    return bool((lowest < -rounding).any())
