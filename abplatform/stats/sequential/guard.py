"""When an asymptotic confidence sequence may speak of efficacy."""

from __future__ import annotations

from enum import StrEnum
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.effects import spread
from abplatform.stats.validation import BoolArray, IntArray, same_grid, whole_counts

MIN_UNITS = 500
MIN_NONZERO = 100
MIN_EVEN_CLUSTERS = 200
MIN_EVEN_NONZERO_CLUSTERS = 50
MOST_UNEVEN = 2.5
"""Arms are even where the larger one has at most so many times the clusters of the smaller one."""


class EfficacyBlock(StrEnum):
    """Why no efficacy verdict may be given yet."""

    TOO_FEW_UNITS = "TOO_FEW_UNITS"
    TOO_FEW_NONZERO = "TOO_FEW_NONZERO"
    TOO_FEW_CLUSTERS = "TOO_FEW_CLUSTERS"
    TOO_FEW_NONZERO_CLUSTERS = "TOO_FEW_NONZERO_CLUSTERS"


_OF_UNITS = np.array([None, EfficacyBlock.TOO_FEW_UNITS, EfficacyBlock.TOO_FEW_NONZERO], dtype=object)
_OF_CLUSTERS = np.array([None, EfficacyBlock.TOO_FEW_CLUSTERS, EfficacyBlock.TOO_FEW_NONZERO_CLUSTERS], dtype=object)


def efficacy_guard(n: ArrayLike, nonzero: ArrayLike, *, axis: int = -1) -> NDArray[np.object_]:
    """Return, per comparison, why an efficacy verdict must wait, or ``None`` where it need not.

    Asymptotic sequences trust a normal approximation from the first look on; with unbalanced arms and skewed
    values their early false-alarm rate reaches .07 to .20. They may claim efficacy once every arm has 500
    units and 100 of them are not zero. Alarms about harm do not wait for this.

    Args:
        n: units, the arms along ``axis``.
        nonzero: units whose value is not 0. For a rate pass the count of the *rarer* outcome
            (``ProportionStats.rarer_outcome``): 99.9% is as skewed as 0.1%.
        axis: where the arms lie.

    Raises:
        ValueError: naming the argument that is no count, ``n`` without arms, or ``nonzero`` where it exceeds ``n``.

    >>> efficacy_guard([600, 700], [120, 80]).item()
    <EfficacyBlock.TOO_FEW_NONZERO: 'TOO_FEW_NONZERO'>
    """
    units, active = _counts(n, nonzero, axis)
    return _block(units, active, np.array(MIN_UNITS), np.array(MIN_NONZERO), blocks=_OF_UNITS)


def cluster_guard(n: ArrayLike, nonzero: ArrayLike) -> NDArray[np.object_]:
    """Return, per comparison, why an efficacy verdict about clusters must wait, or ``None`` where it need not.

    What is independent are the clusters, so that they are counted. Skewness of their sums cancels between arms of like
    size: where one has at most 2.5 times the clusters of the other, 200 in each are enough, 50 of them not zero.
    Elsewhere it takes the 500 and 100 that units need. Found by simulation, see the calibration page.

    Args:
        n: clusters, treatment and control along the last axis.
        nonzero: clusters whose sum is not 0. For a rate pass the count of the *rarer* outcome: clusters with a unit
            that did, or with one that did not.

    Raises:
        ValueError: as ``efficacy_guard``.

    >>> cluster_guard([210, 420], [60, 80]).item(), cluster_guard([210, 2000], [60, 80]).item()
    (None, <EfficacyBlock.TOO_FEW_CLUSTERS: 'TOO_FEW_CLUSTERS'>)
    """
    clusters, active = _counts(n, nonzero, -1)
    even = (clusters.max(axis=-1) <= MOST_UNEVEN * clusters.min(axis=-1))[..., None]
    least, least_active = clusters_needed(even), np.where(even, MIN_EVEN_NONZERO_CLUSTERS, MIN_NONZERO)
    return _block(clusters, active, least, least_active, blocks=_OF_CLUSTERS)


def clusters_needed(even: ArrayLike) -> IntArray:
    """Return the least number of clusters in each arm: fewer where arms are even."""
    return np.where(even, MIN_EVEN_CLUSTERS, MIN_UNITS)


def _counts(n: ArrayLike, nonzero: ArrayLike, axis: int) -> tuple[IntArray, IntArray]:
    """Both counts over the whole grid, the arms last."""
    units, active = whole_counts("n", n), whole_counts("nonzero", nonzero)
    grid = same_grid(n=units, nonzero=active)
    if not -len(grid) <= axis < len(grid) or grid[axis] == 0:
        raise ValueError(f"n must have the arms along an axis, here axis {axis}")
    units, active = spread(units, grid), spread(active, grid)
    if (active > units).any():
        raise ValueError("nonzero must not exceed n")
    return np.moveaxis(units, axis, -1), np.moveaxis(active, axis, -1)


def _block(
    units: IntArray, active: IntArray, least: IntArray, least_active: IntArray, *, blocks: NDArray[np.object_]
) -> NDArray[np.object_]:
    codes = np.where(_any_arm(active < least_active), 2, 0)
    codes = np.where(_any_arm(units < least), 1, codes)
    return np.asarray(blocks[codes], dtype=object)


def _any_arm(mask: BoolArray) -> BoolArray:
    # Arms are few and cells are many: numpy's own reduction over a short axis takes ten times as long.
    return np.asarray(reduce(np.logical_or, np.moveaxis(mask, -1, 0)))
