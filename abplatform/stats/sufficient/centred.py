"""Centred moments: how they merge, and what of them is only rounding.

Second moments are kept as sums of squared deviations and merged by the formulas of Chan, Golub and LeVeque
(1979), so that a mean of 1e9 with a standard deviation of 1 over 1e7 units keeps its digits; sums of raw squares
would lose all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.validation import FloatArray, IntArray, finite_values, same_grid

EPS = float(np.finfo(np.float64).eps)
# Identical values such as 0.1 average to 0.1 give or take a few units in the last place. A relative
# standard deviation below this bound is that rounding, not variation.
CONSTANT = 16 * EPS


@np.errstate(all="ignore")
def share_of(part: IntArray, total: IntArray) -> FloatArray:
    """Return part / total as float, 0 where the total is 0."""
    return np.where(total > 0, part / np.maximum(total, 1), 0.0)


@np.errstate(over="ignore", invalid="ignore")
def centre(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return means along the last axis, 0 of nothing, and the deviations from them; what overflows is infinite."""
    mean = values.mean(axis=-1) if values.shape[-1] else np.zeros(values.shape[:-1])
    return mean, values - mean[..., None]


def merged_moment(left: FloatArray, right: FloatArray, weight: FloatArray, product: FloatArray) -> FloatArray:
    """Chan et al. (1979), eq. 2.1b: add two centred moments and what lies between their means."""
    return np.asarray(left + right + weight * product, dtype=np.float64)


def centred_from_sums(name: str, raw: FloatArray, between: FloatArray, scale: FloatArray) -> FloatArray:
    """Turn a raw second moment into a centred one; what is left within rounding of ``scale`` is 0."""
    centred = raw - between
    floor = 8 * EPS * scale
    if (centred < -floor).any():
        raise ValueError(f"{name} is smaller than the sum allows")
    return np.where(centred <= floor, 0.0, centred)


def checked_squares(name: str, values: ArrayLike, n: IntArray, mean: FloatArray) -> FloatArray:
    """Return sums of squares; a negative one within the rounding of raw squares is 0, beyond it an error."""
    given = finite_values(name, values)
    same_grid(**{"n": n, "mean": mean, name: given})
    if (given >= 0).all():
        return given
    with np.errstate(over="ignore"):
        rounding = 8 * EPS * n * np.square(mean)
    if (given < -rounding).any():
        raise ValueError(f"{name} must not be negative")
    squares = np.maximum(given, 0.0)
    squares.setflags(write=False)
    return squares


def empty_is_zero(n: IntArray, **moments: FloatArray) -> None:
    """Refuse sums or moments that are not 0 where there are no units."""
    if n.all():
        return
    for name, values in moments.items():
        if ((n == 0) & (values != 0)).any():
            raise ValueError(f"{name} must be 0 where n is 0")
