"""Roots of power curves, many at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from abplatform.stats.validation import FloatArray

Curve = Callable[[FloatArray], FloatArray]

_STEPS = 200
_PRECISION = 1e-13
_LEAST = 1e-300


@np.errstate(all="ignore")
def solve_power(curve: Curve, power: FloatArray, *, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return, per cell, the least x from ``low`` to ``high`` with ``curve(x) >= power``; NaN where there is none.

    The curve must not fall. Steps of the Illinois rule on the probit scale, where power is nearly a line in the
    root of the units and in the effect; each third one a bisection, since flat parts would stall it. The result
    is the upper end of a bracket within 1e-13 of itself, so that it has the power asked for.

    Args:
        curve: power of every cell at its x; NaN where there is none.
        power: wanted, between 0 and 1.
        low: where to begin; returned where it is enough.
        high: where to give up.
    """
    target = special.ndtri(power)

    def gap(x: FloatArray) -> FloatArray:
        return np.asarray(special.ndtri(np.clip(curve(x), _LEAST, 1 - 1e-16)) - target)

    low, high, target = np.broadcast_arrays(low, high, target)
    low, high, low_gap, high_gap = _bracket(gap, low, high)
    reached, begins = high_gap >= 0, low_gap >= 0
    for step in range(1, _STEPS):
        narrow = np.abs(high - low) <= _PRECISION * np.abs(high)
        if (narrow | begins | ~reached).all():
            break
        middle = (low + high) / 2
        if step % 3:
            guess = high - high_gap * (high - low) / (high_gap - low_gap)
            # Never quite at an end: the bracket has to shrink from both sides.
            nudge = _PRECISION / 4 * np.abs(high)
            middle = np.where(np.isfinite(guess), np.clip(guess, low + nudge, high - nudge), middle)
        found = gap(middle)
        enough = found >= 0
        # The end that stays counts half, so that it moves soon (Dowell and Jarratt, 1971).
        low_gap, high_gap = np.where(enough, low_gap / 2, found), np.where(enough, found, high_gap / 2)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(begins, low, np.where(reached, high, np.nan))


def _bracket(gap: Curve, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return neighbours on a doubling grid between which the gap changes its sign; the end where it does not."""
    left, left_gap = low, gap(low)
    right = np.minimum(2 * low, high)
    right_gap = gap(right)
    while ((right_gap < 0) & (right < high)).any():
        on = (right_gap < 0) & (right < high)
        left, left_gap = np.where(on, right, left), np.where(on, right_gap, left_gap)
        right = np.where(on, np.minimum(2 * right, high), right)
        right_gap = np.where(on, gap(right), right_gap)
    return left, right, left_gap, right_gap
