"""Roots of increasing functions, many at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from abplatform.stats.validation import FloatArray, IntArray

Function = Callable[[FloatArray, IntArray], FloatArray]
"""Values at some points, and to which of the roots the points belong."""

_ENOUGH = 1e-8
_ROUNDS = 100


@np.errstate(all="ignore")
def increasing_root(function: Function, guess: FloatArray, *, low: float, high: float) -> FloatArray:
    """Return where increasing functions are 0, by the secant method inside a shrinking bracket.

    Meant for functions that a probit scale has made nearly linear with a slope near 1: four to six evaluations then
    give 1e-12. A function that is positive at ``low`` (or negative at ``high``) gives that end.

    Args:
        function: evaluated for those roots only that are not found yet; may be infinite.
        guess: first guesses, one axis; the nearer the fewer evaluations.
        low: lower end of all brackets.
        high: upper end of all brackets.
    """
    root = np.clip(guess, low, high)
    # One beyond the ends: each of them may be tried once, later points lie strictly inside what is known.
    left, right = np.full(guess.shape, low - 1.0), np.full(guess.shape, high + 1.0)
    before, base = left.copy(), np.full(guess.shape, np.nan)
    open_ = np.arange(guess.size)
    for _ in range(_ROUNDS):
        if not open_.size:
            break
        now, level = root[open_], function(root[open_], open_)
        left[open_] = np.where(level <= 0, now, left[open_])
        right[open_] = np.where(level >= 0, now, right[open_])
        slope = (level - base[open_]) / (now - before[open_])
        # The first step takes the slope for 1.
        ahead = np.clip(now - level / np.where(np.isnan(base[open_]), 1.0, slope), low, high)
        inside = (ahead > left[open_]) & (ahead < right[open_])
        middle = np.clip((left[open_] + right[open_]) / 2, low, high)
        root[open_] = np.where(inside, ahead, middle)
        before[open_], base[open_] = now, level
        open_ = open_[np.abs(root[open_] - now) > _ENOUGH * (1 + np.abs(now))]
    return root
