"""Where power curves reach the power asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from abplatform.stats.roots import find_crossing
from abplatform.stats.validation import FloatArray

Curve = Callable[[FloatArray], FloatArray]

_LEAST = 1e-300


@np.errstate(all="ignore")
def solve_power(curve: Curve, power: FloatArray, *, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return, per cell, the least x from ``low`` to ``high`` with ``curve(x) >= power``; NaN where there is none.

    Solved for log x on the probit scale, which bends little over many orders of magnitude. The result is on the far
    side of the root: it has the power asked for. A curve may fall again after it has been high enough (the margin of a
    test against a share of a noisy control): then a doubling grid finds where it is.

    Args:
        curve: power of every cell at its x; NaN where there is none.
        power: wanted, between 0 and 1.
        low: where to begin, above 0; returned where it is enough.
        high: where to give up.
    """
    target = special.ndtri(power)

    def lacking(log_x: FloatArray) -> FloatArray:
        return np.asarray(target - special.ndtri(np.clip(curve(np.exp(log_x)), _LEAST, 1 - 1e-16)))

    low, high, target = np.broadcast_arrays(low, high, target)
    start = np.log(low)
    end = _enough(lacking, start, np.log(high))
    root = np.exp(find_crossing(lacking, start, end))
    return np.where(curve(low) >= power, low, np.where(lacking(end) <= 0, root, np.nan))


def _enough(lacking: Curve, start: FloatArray, end: FloatArray) -> FloatArray:
    """Return the end where that is enough, else the first point of a doubling grid that is; the end where none is."""
    missing, here = ~(lacking(end) <= 0), start
    while (missing & (here < end)).any():
        here = np.minimum(here + np.log(2.0), end)
        found = missing & (lacking(here) <= 0)
        end, missing = np.where(found, here, end), missing & ~found
    return end
