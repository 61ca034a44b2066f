"""A quantile and its variance from a curve of shares and the curve's variance.

A share at a value has a standard error; the values at which the curve is q minus and plus z of them bound the quantile
(Woodruff, 1952), and the width of that interval over 2 z is the quantile's standard error (Deng, Knoblich and Lu,
2018, who take z = 1.96).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from abplatform.stats.sufficient.curves import Crossing, cross, frozen
from abplatform.stats.validation import BoolArray, FloatArray, IntArray

Z = float(special.ndtri(0.975))
LOPSIDED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """Where a curve of shares reaches q, and how well that is known.

    ``value`` is NaN where the curve does not reach q, ``estimate`` also where it does not reach the ends of the 95%
    interval: one side alone gives too small a variance (95% intervals cover .83 with 30 units and a p90).
    ``rough`` tells that a single step of the grid, or a gap in the values, shapes the interval.
    """

    value: FloatArray
    estimate: FloatArray
    variance: FloatArray
    share_error: FloatArray
    rough: BoolArray


@np.errstate(all="ignore")
def invert(
    cuts: FloatArray, shares: FloatArray, q: FloatArray, *, variance_at: Callable[[IntArray], FloatArray]
) -> Inversion:
    """Invert a curve of shares at q.

    Args:
        cuts, shares: the curve, along the last axis.
        q: level per cell.
        variance_at: variance of the share at one index of the last axis per cell.
    """
    crossing = cross(cuts, shares, q)
    error = _share_error(crossing, q, variance_at)
    lower, upper = (reach(cuts, shares, q + side * Z * error) for side in (-1, 1))
    spread, lopsided = _standard_error(crossing.value, lower, upper)
    estimate = np.where(np.isnan(spread), np.nan, crossing.value)
    rough = (crossing.high - crossing.low > Z * error) | lopsided
    return Inversion(
        value=frozen(crossing.value),
        estimate=frozen(estimate),
        variance=frozen(np.square(spread)),
        share_error=frozen(error),
        rough=rough & ~np.isnan(estimate),
    )


def reach(cuts: FloatArray, shares: FloatArray, level: FloatArray) -> FloatArray:
    """Return the value at a level; a level outside 0 to 1 has none, however far the grid goes."""
    return np.where((level >= 0) & (level <= 1), cross(cuts, shares, level).value, np.nan)


def _share_error(crossing: Crossing, q: FloatArray, variance_at: Callable[[IntArray], FloatArray]) -> FloatArray:
    """Standard error of the share at the crossing.

    Linear between cut points means that an event within the cell counts for the part t of the cell that is below the
    quantile, so that for independent events the variance is (q (1 - q) - t (1 - t) (high - low)) / n: the delta
    method for an interpolated quantile. Clusters and censoring multiply it by a design effect, which is that of the
    cell's two ends.
    """
    low, high = (
        np.where(share * (1 - share) > 0, variance_at(index) / (share * (1 - share)), np.nan)
        for index, share in ((crossing.before, crossing.low), (crossing.at, crossing.high))
    )
    # A share of 0 or 1 has no variance to compare with; then the other end stands for both.
    low, high = np.where(np.isnan(low), high, low), np.where(np.isnan(high), low, high)
    inflation = np.nan_to_num((1 - crossing.part) * low + crossing.part * high)
    plain = q * (1 - q) - crossing.part * (1 - crossing.part) * (crossing.high - crossing.low)
    return np.asarray(np.sqrt(np.maximum(plain, 0.0) * inflation))


def _standard_error(value: FloatArray, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Turn the 95% interval of a quantile into a standard error, and say where its sides differ too much.

    The width over 2 z, unless one side is more than ``LOPSIDED`` times the other: then the quantile lies beside a gap
    in the values, at the edge of a popular amount, say. The estimate falls on either side of the gap by chance, and
    only the longer side over z covers the jump. (At such an edge the plain width calls 49% of equal arms different
    at 5%, the longer side 6%.)
    """
    left, right = value - lower, upper - value
    longer = np.maximum(left, right)
    lopsided = longer > LOPSIDED * np.minimum(left, right)
    return np.where(lopsided, longer / Z, (upper - lower) / (2 * Z)), lopsided
