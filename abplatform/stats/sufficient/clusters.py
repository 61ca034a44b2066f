"""Raw values of clusters, reduced to counts below cut points without a table of clusters x cut points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.sufficient.curves import flat_rows, pick
from abplatform.stats.sufficient.ratios import RatioStats
from abplatform.stats.validation import FloatArray, IntArray


def count_at_most(values: FloatArray, cuts: FloatArray) -> IntArray:
    """Count values at or below each cut point, along the last axis of both."""
    rows = flat_rows(np.sort(values, axis=-1))
    counts = np.array([np.searchsorted(row, cuts, side="right") for row in rows], dtype=np.int64)
    return counts.reshape(*values.shape[:-1], cuts.size)


def reduce_clusters(values: FloatArray, labels: NDArray[Any], cuts: FloatArray) -> RatioStats:
    """Return the ratio of (events at or below a cut point, events) over clusters, cut points along the last axis.

    Args:
        values: one per event along the last axis.
        labels: cluster of each event, of one axis, or of the shape of values.
        cuts: one grid, rising.

    Raises:
        ValueError: naming ``clusters`` when the labels do not fit the values.
    """
    if labels.shape not in {values.shape, values.shape[-1:]}:
        raise ValueError("clusters must have one label per value")
    pairs = zip(flat_rows(values), flat_rows(np.broadcast_to(labels, values.shape)), strict=True)
    sums = np.array([_sums(row, mark, cuts) for row, mark in pairs])
    n, y, d, yy, dd, yd = np.moveaxis(sums.reshape(*values.shape[:-1], 6, cuts.size), -2, 0)
    groups = np.maximum(n, 1)
    return RatioStats(
        n[..., :1],
        y / groups,
        (d / groups)[..., :1],
        m2_y=yy - y * (y / groups),
        m2_d=(dd - d * (d / groups))[..., :1],
        c_yd=yd - y * (d / groups),
    )


def at_cut(below: RatioStats, index: IntArray) -> RatioStats:
    """Return the ratio at one cut point per cell; a field without that axis, or of length 1 there, serves all."""

    def one(part: NDArray[Any]) -> NDArray[Any]:
        shared = part.ndim == 0 or part.shape[-1] == 1
        return part.reshape(part.shape[:-1]) if shared else pick(part, index)

    return RatioStats(
        one(below.n),
        one(below.mean_y),
        one(below.mean_d),
        m2_y=one(below.m2_y),
        m2_d=one(below.m2_d),
        c_yd=one(below.c_yd),
    )


def _sums(values: FloatArray, labels: NDArray[Any], cuts: FloatArray) -> FloatArray:
    """Sums of 1, y, d, y^2, d^2 and y d over clusters, per cut point; whole numbers, hence exact.

    Going up through the values, the event that is its cluster's k-th raises that cluster's y from k - 1 to k, so
    y^2 by 2 k - 1, and y d by the cluster's d.
    """
    _, cluster, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    within = np.lexsort((values, cluster))
    rank = np.empty(values.size)
    rank[within] = np.arange(values.size) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    upward = np.argsort(values, kind="stable")
    found = np.searchsorted(values[upward], cuts, side="right")

    def up_to(steps: FloatArray) -> FloatArray:
        return np.concatenate([[0.0], np.cumsum(steps[upward])])[found]

    fixed = np.array([sizes.size, sizes.sum(), np.square(sizes).sum()], dtype=np.float64)
    n, d, dd = np.broadcast_to(fixed[:, None], (3, cuts.size))
    return np.array([n, found, d, up_to(2 * rank - 1), dd, up_to(sizes[cluster].astype(np.float64))])
