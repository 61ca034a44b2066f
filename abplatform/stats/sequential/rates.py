"""A confidence sequence for one rate, exact at any number of units and however often one looks.

With x successes of n units, the likelihood of a rate p set against its average over a beta prior (here the uniform
one) is a test martingale where p is the true rate,

    B(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x)),

so that it ever reaches 1 / alpha with probability at most alpha (Ville, 1939; Robbins, 1970; Lai, 1976). The rates at
which it has not are an interval around x / n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.results import Interval
from abplatform.stats.roots import find_crossing
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray, probability, same_grid


@np.errstate(all="ignore")
def rate_interval(arm: ProportionStats, *, alpha: ArrayLike = 0.05) -> Interval:
    """Return the interval of one rate that holds at all looks together.

    Args:
        arm: units and successes, any shape.
        alpha: two-sided error rate, scalar or one per cell.

    Returns:
        Rate and bounds; NaN without units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> interval = rate_interval(ProportionStats(10, 0))
    >>> float(interval.lower), round(float(interval.upper), 4)
    (0.0, 0.4169)
    """
    level = probability("alpha", alpha)
    shape = same_grid(n=arm.n, alpha=level)
    units, hits = (np.broadcast_to(np.asarray(each, dtype=np.float64), shape) for each in (arm.n, arm.successes))
    misses = units - hits
    threshold = special.betaln(1 + hits, 1 + misses) + np.log(level)

    def kept(rate: FloatArray) -> FloatArray:
        return np.asarray(special.xlogy(hits, rate) + special.xlog1py(misses, -rate) - threshold)

    rate = hits / units
    centre = np.where(units > 0, rate, 0.5)
    lower = np.where(hits > 0, find_crossing(kept, centre, np.zeros(shape)), 0.0)
    upper = np.where(misses > 0, find_crossing(kept, centre, np.ones(shape)), 1.0)
    return Interval(rate, np.where(units > 0, lower, np.nan), np.where(units > 0, upper, np.nan))
