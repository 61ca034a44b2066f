"""Critical values of group sequential tests, from the information there was at each look so far.

A spending function fixes how much error may be used by which share of the planned information; the bound at each
look follows from the *actual* fractions up to it, so that looks need no schedule (Lan and DeMets, 1983). Fractions
must not depend on the observed effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.group_sequential.recursion import LEAST_STEP
from abplatform.stats.group_sequential.solver import schedule_bounds
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending, share_spent
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, non_negative, probability, same_grid

Sides = Literal[1, 2]
MOST_FRACTION = 10.0
"""No plan is over-run tenfold; such a number is something else."""


@dataclass(frozen=True, slots=True, eq=False)
class EfficacyBounds:
    """Bounds by look, along the last axis.

    Args:
        critical: reject where z (two-sided: its magnitude) exceeds it; infinite where nothing is spent.
        nominal: the same as a p-value of a single look, one- or two-sided like the test.
        spent: error spent up to and with each look, over both sides of a two-sided test.
    """

    critical: FloatArray
    nominal: FloatArray
    spent: FloatArray


def efficacy_bounds(
    fractions: ArrayLike,
    *,
    alpha: ArrayLike = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    sides: Sides = 2,
    final: bool = False,
) -> EfficacyBounds:
    """Return critical values at every look so far, of tests that err with probability ``alpha`` over all looks.

    Assumes estimates from accumulating independent units (Jennison and Turnbull, 1999, eq. 3.1), and few or many
    looks at any time that does not depend on the effects seen. A look with no more information than the one before
    spends nothing and has its bound again. Beyond a fraction of 1 what is left is spent once, at the first such look;
    later ones have infinite bounds.

    Args:
        fractions: information (units, or 1 / variance of the estimate) over the planned, looks along the last axis;
            at least 0 and not decreasing. 0 means no information yet.
        alpha: error rate over all looks between 0 and 1, two-sided for two sides; broadcast to the leading axes.
        spending: the spending function.
        sides: 2, each side at ``alpha / 2``, or 1.
        final: the last look is the end of the test, whatever its information: it spends all that is left.

    Returns:
        ``EfficacyBounds`` of the shape of ``fractions``.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> efficacy_bounds([0.2, 0.4, 0.6, 0.8, 1.0]).critical.round(3).tolist()
    [4.877, 3.357, 2.68, 2.29, 2.031]
    >>> efficacy_bounds([0.2, 0.4, 0.6, 0.8, 1.0], spending=Spending("pocock")).critical.round(3).tolist()
    [2.438, 2.427, 2.41, 2.397, 2.386]
    """
    times, level = checked_schedules(fractions, alpha, sides)
    rows, side = times.reshape(-1, times.shape[-1]), level.ravel() / sides
    critical = schedule_bounds(rows, side, new_looks(rows), spending=spending, sides=sides, final=final)
    critical = critical.reshape(times.shape)
    return EfficacyBounds(critical, sides * special.ndtr(-critical), _spent(times, level, spending, sides, final))


def critical_values(
    fractions: ArrayLike,
    *,
    alpha: ArrayLike = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    sides: Sides = 2,
    final: bool = False,
) -> FloatArray:
    """Return the critical value at the last look only, once for each distinct schedule; as `efficacy_bounds`.

    >>> round(float(critical_values([0.3, 0.55])), 4)
    2.8079
    """
    times, level = checked_schedules(fractions, alpha, sides)
    keyed = np.concatenate([times, level[..., None]], axis=-1).reshape(-1, times.shape[-1] + 1)
    distinct, place = distinct_rows(keyed)
    rows = distinct[:, :-1]
    found = schedule_bounds(rows, distinct[:, -1] / sides, new_looks(rows), spending=spending, sides=sides, final=final)
    return np.asarray(found[place, -1].reshape(level.shape))


def checked_schedules(fractions: ArrayLike, alpha: ArrayLike, sides: int) -> tuple[FloatArray, FloatArray]:
    """Return fractions (..., K) and levels (...), broadcast."""
    checked_sides(sides)
    times, level = checked_fractions(fractions), probability("alpha", alpha)
    grid = same_grid(fractions=times[..., 0], alpha=level)
    return np.broadcast_to(times, (*grid, times.shape[-1])), np.broadcast_to(level, grid)


def checked_sides(sides: int) -> None:
    """Refuse anything but 1 and 2."""
    if sides not in {1, 2}:
        raise ValueError(f"sides must be 1 or 2, not {sides!r}")


def checked_fractions(fractions: ArrayLike) -> FloatArray:
    """Return fractions, at least 0 and not decreasing along the last axis, the looks."""
    times = non_negative("fractions", fractions)
    if times.ndim == 0 or times.shape[-1] == 0:
        raise ValueError("fractions must have the looks along their last axis")
    if (np.diff(times) < 0).any():
        raise ValueError("fractions must not decrease from look to look")
    if (times > MOST_FRACTION).any():
        raise ValueError("fractions must be shares of the plan, of which all is 1: not percent, not units")
    return times


def distinct_rows(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the distinct rows of a table and the place of each row among them."""
    if rows.shape[0] <= 1:
        return rows, np.zeros(rows.shape[0], dtype=np.int64)
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    return distinct, place.reshape(-1)


def new_looks(fractions: FloatArray) -> BoolArray:
    """Tell where there is more information than at the last look that had any."""
    new = np.zeros(fractions.shape, dtype=np.bool_)
    seen = np.zeros(fractions.shape[:-1])
    for look in range(fractions.shape[-1]):
        now = fractions[..., look]
        new[..., look] = now - seen > LEAST_STEP * now
        seen = np.where(new[..., look], now, seen)
    return new


def _spent(times: FloatArray, level: FloatArray, spending: Spending, sides: int, final: bool) -> FloatArray:
    with np.errstate(divide="ignore"):
        spent = sides * share_spent(np.minimum(times, 1.0), (level / sides)[..., None], spending)
    if final:
        spent[..., -1] = np.where(times[..., -1] > 0, level, 0.0)
    return spent
