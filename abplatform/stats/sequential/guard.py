"""When an asymptotic confidence sequence may speak of efficacy."""

from __future__ import annotations

from enum import StrEnum
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.effects import spread
from abplatform.stats.validation import BoolArray, same_grid, whole_counts

MIN_UNITS = 500
MIN_NONZERO = 100


class EfficacyBlock(StrEnum):
    """Why no efficacy verdict may be given yet."""

    TOO_FEW_UNITS = "TOO_FEW_UNITS"
    TOO_FEW_NONZERO = "TOO_FEW_NONZERO"


_BLOCKS = np.array([None, *EfficacyBlock], dtype=object)


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
    units, active = whole_counts("n", n), whole_counts("nonzero", nonzero)
    grid = same_grid(n=units, nonzero=active)
    if not -len(grid) <= axis < len(grid) or grid[axis] == 0:
        raise ValueError(f"n must have the arms along an axis, here axis {axis}")
    units, active = spread(units, grid), spread(active, grid)
    if (active > units).any():
        raise ValueError("nonzero must not exceed n")
    codes = np.where(_any_arm(active < MIN_NONZERO, axis), 2, 0)
    codes = np.where(_any_arm(units < MIN_UNITS, axis), 1, codes)
    return np.asarray(_BLOCKS[codes], dtype=object)


def _any_arm(mask: BoolArray, axis: int) -> BoolArray:
    # Arms are few and cells are many: numpy's own reduction over a short axis takes ten times as long.
    return np.asarray(reduce(np.logical_or, np.moveaxis(mask, axis, 0)))
