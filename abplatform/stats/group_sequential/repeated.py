"""Repeated p-values: the smallest error rate at which the repeated interval of a look leaves out no effect.

They answer to the bounds exactly as a p-value to its quantile: p falls below alpha when z passes the critical value
at alpha (Jennison and Turnbull, 1989, sec. 5).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.group_sequential.bounds import Sides, checked_fractions, checked_sides, distinct_rows, new_looks
from abplatform.stats.group_sequential.roots import increasing_root
from abplatform.stats.group_sequential.solver import schedule_bounds
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending
from abplatform.stats.validation import FloatArray, IntArray, same_grid

Curve = Callable[[FloatArray, IntArray], FloatArray]
"""Bounds at the last look from probits of one-sided levels and the schedule of each."""

_FURTHEST = 35.0
# Probits between which the bound is a polynomial for all practical purposes.
_EDGES = {1: np.array([-3.0, -1.5, 0.0, 2.0, 4.5, 9.0]), 2: np.array([0.0, 0.1, 0.3, 0.8, 2.0, 4.5, 9.0])}
_NODES = 26
_CROWD = 60
"""From this many cells with one schedule on, a table of its bounds pays."""


def repeated_p_values(
    z: ArrayLike,
    fractions: ArrayLike,
    *,
    spending: Spending = OBRIEN_FLEMING,
    sides: Sides = 2,
    final: bool = False,
) -> FloatArray:
    """Return p-values that hold at this look and all others together.

    Args:
        z: estimate over its standard error, any shape; NaN stays NaN. One-sided tests reject large ones.
        fractions: as for `efficacy_bounds`; the last look is the one of ``z``.
        spending: the spending function.
        sides: 2 or 1.
        final: as for `efficacy_bounds`.

    Returns:
        P-values of the shape that ``z`` and the leading axes of ``fractions`` broadcast to. 1 where nothing is left
        to spend; one-sided ones above .9986 are given as 1, those below 1e-268 as that.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> repeated_p_values([2.0310, 2.0311], [0.2, 0.4, 0.6, 0.8, 1.0]).round(5).tolist()
    [0.05, 0.04999]
    """
    checked_sides(sides)
    times, standard = checked_fractions(fractions), np.asarray(z, dtype=np.float64)
    grid = same_grid(z=standard, fractions=times[..., 0])
    cells = np.broadcast_to(times, (*grid, times.shape[-1])).reshape(-1, times.shape[-1])
    rows, place = distinct_rows(cells)
    score = np.broadcast_to(np.abs(standard) if sides == 2 else standard, grid).ravel()
    probit = _probits(
        np.nan_to_num(score, nan=0.0, posinf=1e9, neginf=-1e9), rows, place, spending=spending, sides=sides, final=final
    )
    p_value = sides * special.ndtr(-probit)
    p_value = np.where(probit <= _EDGES[sides][0], 1.0, p_value)
    return np.where(np.isnan(score), np.nan, p_value).reshape(grid)


def _probits(
    score: FloatArray, rows: FloatArray, place: IntArray, *, spending: Spending, sides: int, final: bool
) -> FloatArray:
    """Return the probits of the levels whose bounds are the scores."""
    new = new_looks(rows)

    def exact(probit: FloatArray, which: IntArray) -> FloatArray:
        level = special.ndtr(-probit)
        return schedule_bounds(rows[which], level, new[which], spending=spending, sides=sides, final=final)[:, -1]

    low = float(_EDGES[sides][0])
    probit = np.empty(score.shape)
    alone = np.ones(score.shape, dtype=np.bool_)
    for row in np.flatnonzero(np.bincount(place) >= _CROWD):
        crowd = np.flatnonzero(place == row)
        tabled, found = _from_table(score[crowd], int(row), exact, _EDGES[sides])
        probit[crowd[tabled]], alone[crowd[tabled]] = found, False
    rest = np.flatnonzero(alone)
    if rest.size:
        shrink = np.sqrt(np.clip(rows[place[rest], -1], 1e-4, 1.0))
        probit[rest] = increasing_root(
            lambda u, open_: exact(u, place[rest[open_]]) - score[rest[open_]],
            score[rest] * shrink,
            low=low,
            high=_FURTHEST,
        )
    return probit


def _from_table(score: FloatArray, row: int, exact: Curve, edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return which scores a table of one schedule's bounds can serve, and their probits."""
    unit = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    probits = middle[:, None] + half[:, None] * unit
    bounds = exact(np.concatenate([probits.ravel(), edges]), np.full(probits.size + edges.size, row))
    at_nodes, at_edges = bounds[: probits.size].reshape(probits.shape), bounds[probits.size :]
    usable = int(np.argmin(np.append(np.isfinite(at_nodes).all(axis=1) & np.isfinite(at_edges[1:]), False)))
    served = score < at_edges[usable]
    panel = np.clip(np.searchsorted(at_edges[1:usable], score[served], side="right"), 0, None)
    weights = np.array([chebyshev.chebfit(unit, values, _NODES - 1) for values in at_nodes[:usable]])
    coefficients = weights[panel].T

    def gap(probit: FloatArray, open_: IntArray) -> FloatArray:
        within = (probit - middle[panel[open_]]) / half[panel[open_]]
        return np.asarray(chebyshev.chebval(within, coefficients[:, open_], tensor=False) - score[served][open_])

    return served, increasing_root(gap, middle[panel], low=float(edges[0]), high=float(edges[-1]))
