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

    The curve must not fall. Solved for log x on the probit scale, which bends little over many orders of magnitude. The
    result is on the far side of the root: it has the power asked for.

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
    start, end = np.log(low), np.log(high)
    root = np.exp(find_crossing(lacking, start, end))
    return np.where(curve(low) >= power, low, np.where(lacking(end) <= 0, root, np.nan))
