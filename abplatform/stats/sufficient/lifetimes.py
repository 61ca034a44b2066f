"""Raw lifetimes and counts, reduced to how many units are at risk in each interval."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.sufficient.curves import flat_rows, rising_cuts
from abplatform.stats.validation import BoolArray, FloatArray, IntArray, whole_counts


def actuarial_risk(n: ArrayLike, events: ArrayLike, censored: ArrayLike) -> FloatArray:
    """Return units at risk per interval, those lost in it counting for a half (Cutler and Ederer, 1958).

    >>> actuarial_risk(100, [10, 20], [4, 6]).tolist()
    [98.0, 83.0]
    """
    units = whole_counts("n", n)[..., None]
    ends, lost = np.atleast_1d(whole_counts("events", events)), np.atleast_1d(whole_counts("censored", censored))
    if ends.shape[-1] != lost.shape[-1]:
        raise ValueError("censored must have one entry per interval, as events have")
    gone = np.cumsum(ends + lost, axis=-1)
    if (gone[..., -1:] > units).any():
        raise ValueError("events and censored must not exceed n together")
    return np.asarray(units - gone + ends + lost / 2, dtype=np.float64)


def count_lifetimes(
    times: ArrayLike, finished: ArrayLike, cuts: FloatArray | None
) -> tuple[int, FloatArray, IntArray, FloatArray]:
    """Return units, units at risk, events and the grid of times, from raw times along the last axis.

    A unit lost exactly at a time of the grid is at risk until then, one lost within an interval for half of it. On
    the grid of all distinct times that is Kaplan and Meier's rule.
    """
    until, ended = _checked(times, finished)
    if cuts is None:
        cuts = rising_cuts(np.unique(until[np.isfinite(until)]))
    if cuts.ndim > 1:
        raise ValueError("cuts must be one grid for raw times")
    pairs = list(zip(flat_rows(until), flat_rows(ended), strict=True))
    events = np.array([_count(row[mark], cuts, side="right") for row, mark in pairs])
    lost = np.array([_count(row[~mark], cuts, side="right") for row, mark in pairs])
    inside = np.array([_count(row[~mark], cuts, side="left") for row, mark in pairs]) - _earlier(lost)
    risk = until.shape[-1] - _earlier(events + lost) - inside / 2
    shape = (*until.shape[:-1], cuts.size)
    return until.shape[-1], risk.reshape(shape), (events - _earlier(events)).reshape(shape), cuts


def _checked(times: ArrayLike, finished: ArrayLike) -> tuple[FloatArray, BoolArray]:
    try:
        until = np.atleast_1d(np.array(times, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("times must be numbers") from None
    ended = np.atleast_1d(np.asarray(finished))
    if ended.shape != until.shape:
        raise ValueError("finished must have the shape of times")
    if not np.isin(ended, (0, 1)).all():
        raise ValueError("finished must be true or false")
    ended = ended.astype(bool)
    if np.isnan(until).any() or (until < 0).any():
        raise ValueError("times must not be negative or missing")
    if np.isinf(until[ended]).any():
        raise ValueError("times must be finite where finished")
    return until, ended


def _count(values: FloatArray, cuts: FloatArray, *, side: Literal["left", "right"]) -> IntArray:
    """Count values below each cut point (``left``), or at and below it (``right``)."""
    return np.searchsorted(np.sort(values), cuts, side=side).astype(np.int64)


def _earlier(counts: IntArray) -> IntArray:
    """Return the counts of the previous cut point, 0 before the first."""
    return np.concatenate([np.zeros_like(counts[..., :1]), counts[..., :-1]], axis=-1)
