"""Where a rising curve of shares crosses a level: quantiles from counts below cut points.

Quantiles do not add, counts below fixed cut points do. Between two cut points the share is taken to rise
linearly. Steps instead (the smallest cut point that reaches the level) would make an estimate that jumps: with
whole seconds two equal arms often differ by one full second while each arm's interval has hardly any width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.validation import FloatArray, IntArray, finite_values

# Shares are quotients of counts; below one event in a billion a difference is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """The cell of the grid in which a curve crosses a level, and where in it.

    ``value`` is NaN where the curve does not cross; ``before`` and ``at`` are the cell's ends, ``part`` how far
    from one to the other (0 to 1), ``low`` and ``high`` their shares.
    """

    value: FloatArray
    before: IntArray
    at: IntArray
    part: FloatArray
    low: FloatArray
    high: FloatArray


@np.errstate(all="ignore")
def cross(cuts: FloatArray, shares: FloatArray, level: ArrayLike) -> Crossing:
    """Find the first point at which shares reach a level, linearly between the cut points.

    Args:
        cuts: cut points along the last axis, not falling.
        shares: non-falling shares along the last axis, broadcast against cuts.
        level: one level per cell of the leading axes.

    Returns:
        A ``Crossing``; its value is NaN where the last share is below the level, or the first one above it.

    >>> cross(np.array([0.0, 1.0, 3.0]), np.array([0.1, 0.4, 0.8]), 0.6).value.round(12).tolist()
    2.0
    """
    wanted = np.asarray(level, dtype=np.float64)
    points, curve, _ = np.broadcast_arrays(cuts, shares, wanted[..., None])
    last = curve.shape[-1] - 1
    found = (curve < wanted[..., None] - ROUNDING).sum(axis=-1)
    at = np.minimum(found, last)
    before = np.maximum(at - 1, 0)
    low, high = pick(curve, before), pick(curve, at)
    part = np.where(high > low, np.clip((wanted - low) / (high - low), 0.0, 1.0), 1.0)
    bottom, top = pick(points, before), pick(points, at)
    value = np.clip((1 - part) * bottom + part * top, bottom, top)
    inside = (found <= last) & ~np.isnan(high) & ((at > 0) | (high <= wanted + ROUNDING))
    return Crossing(np.where(inside, value, np.nan), before, at, part, low, high)


def attained(cuts: FloatArray, shares: FloatArray, level: FloatArray) -> FloatArray:
    """Return the smallest cut point whose share reaches the level; NaN where none does.

    >>> float(attained(np.array([0.0, 1.0, 3.0]), np.array([0.1, 0.4, 0.8]), np.array(0.6)))
    3.0
    """
    points, curve, _ = np.broadcast_arrays(cuts, shares, level[..., None])
    found = (curve < level[..., None] - ROUNDING).sum(axis=-1)
    last = curve.shape[-1] - 1
    known = (found <= last) & ~np.isnan(curve[..., -1])
    return np.where(known, pick(points, np.minimum(found, last)), np.nan)


def pick(values: NDArray[Any], index: IntArray) -> NDArray[Any]:
    """Return one entry of the last axis per cell."""
    grid = np.broadcast_to(values, (*index.shape, values.shape[-1]))
    return np.take_along_axis(grid, index[..., None], axis=-1)[..., 0]


def rising_cuts(cuts: ArrayLike) -> FloatArray:
    """Return cut points, refusing a grid that is empty or does not rise along its last axis."""
    points = np.atleast_1d(finite_values("cuts", cuts))
    if points.shape[-1] == 0:
        raise ValueError("cuts must not be empty")
    if (points[..., 1:] <= points[..., :-1]).any():
        raise ValueError("cuts must rise strictly along the last axis")
    return points


def from_zero(cuts: FloatArray, shares: FloatArray, start: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the curve with a share of 0 before its first cut point, at the given start."""
    zero = np.zeros_like(shares[..., :1])
    return np.concatenate([start, cuts], axis=-1), np.concatenate([zero, shares], axis=-1)


def flat_rows(values: NDArray[Any]) -> NDArray[Any]:
    """Return the leading axes as one, even where the last axis is empty."""
    return values.reshape(math.prod(values.shape[:-1]), values.shape[-1])


def frozen(values: FloatArray) -> FloatArray:
    """Return the array, read-only from now on."""
    values.setflags(write=False)
    return values
