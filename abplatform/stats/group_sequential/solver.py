"""Bounds that spend a given error at each look, for many schedules of looks at once."""

from __future__ import annotations

import numpy as np
from scipy import special

from abplatform.stats.group_sequential.recursion import FURTHEST, REACH, Paths, advance, start
from abplatform.stats.group_sequential.spending import Spending, share_spent
from abplatform.stats.validation import BoolArray, FloatArray

_LEAST = 1e-285
"""Smaller errors than this count as none; densities that would be needed for them underflow."""

_BATCH = 64
_ROUNDS = 60


@np.errstate(all="ignore")
def bound_above(paths: Paths, information: FloatArray, target: FloatArray) -> FloatArray:
    """Return the z bound that a given share of all paths crosses at the next look.

    Infinite for a share of 0, minus infinity for one that all paths together do not have. Newton's method for the
    probit of the probability, which is nearly linear in the bound: three or four steps.
    """
    step = information - paths.information
    pace = np.sqrt(information / step)
    sources = (paths.nodes + paths.drift * step[..., None]) / np.sqrt(step)[..., None]
    spends = (target > _LEAST) & (paths.mass.sum(axis=-1) > target)
    level = special.ndtri(np.where(spends, target, 0.5))
    # No bound lies above its marginal quantile; far from all paths the probability would underflow.
    edge = (sources[..., -1] + 8.0) / pace
    bound = np.minimum(paths.drift * np.sqrt(information) - level, edge)
    for _ in range(_ROUNDS):
        ahead = sources - (bound * pace)[..., None]
        reached = special.ndtri(np.vecdot(paths.mass, special.ndtr(ahead)))
        density = np.vecdot(paths.mass, np.exp(-0.5 * ahead * ahead)) * pace
        move = np.where(spends, (reached - level) * np.exp(-0.5 * reached * reached) / density, 0.0)
        bound = bound + move
        # The error after a step is of the order of its square.
        if not (np.abs(move) * pace).max() >= 1e-6:
            break
    return np.where(spends, bound, np.where(target > _LEAST, -np.inf, np.inf))


def spending_bounds(information: FloatArray, increments: FloatArray, sides: int) -> FloatArray:
    """Return the upper bounds (..., K) that spend ``increments`` under no effect, at increasing information.

    With two sides the lower bounds mirror them and spend the same; with one there are none.
    """
    paths = start(information.shape[:-1])
    bounds = np.empty(information.shape)
    furthest = _needed_reach(increments)
    last = information.shape[-1] - 1
    for look in range(last + 1):
        now = information[..., look]
        bounds[..., look] = found = bound_above(paths, now, increments[..., look])
        if look < last:
            upper = np.minimum(found, furthest[..., look])
            lower = -upper if sides == 2 else np.minimum(np.full(upper.shape, -REACH), upper - REACH)
            paths = advance(paths, now, information[..., look + 1], lower, upper)
    return bounds


def _needed_reach(increments: FloatArray) -> FloatArray:
    """Return how far out paths must be followed at each look for the least error that is spent later on."""
    spent = np.where(increments > _LEAST, increments, np.inf)
    later = np.minimum.accumulate(spent[..., ::-1], axis=-1)[..., ::-1]
    least = np.concatenate([later[..., 1:], np.full((*later.shape[:-1], 1), np.inf)], axis=-1)
    # Where nothing is spent any more, no path matters.
    return np.minimum(-special.ndtri(np.where(np.isfinite(least), 1e-16 * least, 0.5)), FURTHEST)


def newly_spent(spent: FloatArray) -> FloatArray:
    """Return what each look adds to the error spent; what is only rounding is nothing."""
    increments = np.diff(spent, prepend=0.0)
    return np.where(increments > 1e-14 * spent, increments, 0.0)


def schedule_bounds(
    fractions: FloatArray, level: FloatArray, new: BoolArray, *, spending: Spending, sides: int, final: bool
) -> FloatArray:
    """Return efficacy bounds (R, K) of R schedules.

    Args:
        fractions: information fractions (R, K), not decreasing.
        level: one-sided levels (R,).
        new: where there is more information than at the look before (R, K).
        spending: how the level is spent.
        sides: 1 or 2.
        final: whether the last look spends all that is left.
    """
    bounds = np.empty(fractions.shape)
    for pattern in new[:1] if (new == new[:1]).all() else np.unique(new, axis=0):
        rows = np.flatnonzero((new == pattern).all(axis=1))
        # Schedules of one batch share a grid, as dense as the closest looks among them ask.
        rows = rows[np.argsort(_closeness(fractions[np.ix_(rows, np.flatnonzero(pattern))]), kind="stable")]
        for batch in np.split(rows, range(_BATCH, rows.size, _BATCH)):
            bounds[batch] = _pattern_bounds(
                fractions[batch], level[batch], pattern, spending=spending, sides=sides, final=final
            )
    return bounds


def _closeness(times: FloatArray) -> FloatArray:
    """Return how close the closest looks of each schedule are, in information over increase of information."""
    if times.shape[-1] < 2:
        return np.zeros(times.shape[0])
    return np.asarray((times[:, 1:] / np.diff(times)).max(axis=1))


def _pattern_bounds(
    fractions: FloatArray, level: FloatArray, pattern: BoolArray, *, spending: Spending, sides: int, final: bool
) -> FloatArray:
    """Solve schedules that have their looks without new information at the same places; these repeat the bound."""
    bounds = np.full((fractions.shape[0], pattern.size + 1), np.inf)
    looks = np.flatnonzero(pattern)
    if looks.size:
        times = fractions[:, looks]
        spent = share_spent(np.minimum(times, 1.0), level[:, None], spending)
        bounds[:, looks] = spending_bounds(times, newly_spent(spent), sides)
    # Column -1 stands for "before any information".
    filled = bounds[:, np.maximum.accumulate(np.where(pattern, np.arange(pattern.size), -1))]
    if final and looks.size:
        spent[:, -1] = level
        filled[:, -1] = spending_bounds(times, newly_spent(spent), sides)[:, -1]
    return filled
