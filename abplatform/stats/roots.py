"""Roots of many functions of one variable at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from abplatform.stats.validation import FloatArray

MAX_STEPS = 200
TOLERANCE = 4 * float(np.finfo(np.float64).eps)


@np.errstate(all="ignore")
def find_crossing(function: Callable[[FloatArray], FloatArray], start: FloatArray, end: FloatArray) -> FloatArray:
    """Return where a function, positive at ``start``, ceases to be so on the way to ``end``; elementwise.

    Chandrupatla's (1997) method: inverse quadratic interpolation where it is safe, bisection elsewhere. The function
    may be 0 at ``end`` as well: only its sign "positive or not" is used to bracket. Where it is not positive at
    ``start``, that is the answer.

    Args:
        function: takes and returns an array of the shape of ``start``.
        start, end: the two sides, same shape.

    >>> find_crossing(lambda x: 2.0 - x * x, np.zeros(1), np.full(1, 9.0)).round(12).tolist()
    [1.414213562373]
    """
    a, b = end, start
    fa, fb = function(a), function(b)
    settled = ~(fb > 0)
    # A root near 0 is wanted to the precision of the search, not to its own.
    reach = np.abs(end - start)
    step = np.full(np.shape(a), 0.5)
    for _ in range(MAX_STEPS):
        x = a + step * (b - a)
        fx = function(x)
        same = (fx > 0) == (fa > 0)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        smallest = TOLERANCE * (np.abs(a) + reach)
        width = np.abs(b - a)
        if (settled | (width <= 2 * smallest)).all():
            break
        step = np.clip(_interpolated(a, b, c, fa, fb, fc), smallest / width, 1 - smallest / width)
    return np.where(settled, start, np.where(fa > 0, b, a))


def _interpolated(
    a: FloatArray, b: FloatArray, c: FloatArray, fa: FloatArray, fb: FloatArray, fc: FloatArray
) -> FloatArray:
    """Return the share of the way from a to b at which to look next."""
    xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
    safe = (np.square(phi) < xi) & (np.square(1 - phi) < 1 - xi)
    inverse = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return np.where(safe & np.isfinite(inverse), inverse, 0.5)
