"""Several tests in one decision: Bonferroni, Holm, Benjamini-Hochberg, and its version for e-values.

Families lie along one axis. A hypothesis that was planned but cannot be computed (NaN) stays NaN and still
counts: dropping it after seeing the data would make the others look better than they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.validation import FloatArray, probability, whole_counts


def bonferroni(p_values: ArrayLike, *, axis: int = -1) -> FloatArray:
    """Return Bonferroni-adjusted p-values, ``min(1, m p)``; they control the family-wise error rate.

    >>> bonferroni([0.01, 0.2, 0.6]).tolist()
    [0.03, 0.6000000000000001, 1.0]
    """
    p = _checked(p_values, axis)
    return np.asarray(np.minimum(p * p.shape[axis], 1.0))


def bonferroni_alpha(alpha: ArrayLike, tests: int) -> FloatArray:
    """Return the error rate of each of ``tests`` simultaneous intervals, ``alpha / tests``.

    >>> float(bonferroni_alpha(0.05, 4))
    0.0125
    """
    count = whole_counts("tests", tests)
    if count.ndim or count < 1:
        raise ValueError("tests must be one number of at least 1")
    return np.asarray(probability("alpha", alpha) / count)


def holm(p_values: ArrayLike, *, axis: int = -1) -> FloatArray:
    """Return Holm's step-down adjusted p-values (Holm, 1979): family-wise error, never above Bonferroni's.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03]).tolist()]
    [0.03, 0.06, 0.06]
    """
    p, order = _ordered(p_values, axis)
    m = p.shape[-1]
    steps = np.maximum.accumulate(p * np.arange(m, 0, -1), axis=-1)
    return _restored(np.minimum(steps, 1.0), order, p_values, axis)


def benjamini_hochberg(p_values: ArrayLike, *, axis: int = -1) -> FloatArray:
    """Return Benjamini and Hochberg's (1995) adjusted p-values: the false discovery rate, for independent or
    positively dependent tests.

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03]).tolist()]
    [0.03, 0.04, 0.04]
    """
    p, order = _ordered(p_values, axis)
    m = p.shape[-1]
    raw = p * m / np.arange(1, m + 1)
    steps = np.minimum.accumulate(raw[..., ::-1], axis=-1)[..., ::-1]
    return _restored(np.minimum(steps, 1.0), order, p_values, axis)


def e_benjamini_hochberg(log_e_values: ArrayLike, *, axis: int = -1) -> FloatArray:
    """Return the logarithms of e-BH-adjusted e-values (Wang and Ramdas, 2022): the false discovery rate under *any*
    dependence.

    With e-values in falling order the adjusted one is ``max over k >= i of k e_(k) / m``; rejecting where it reaches
    ``1 / alpha``, that is where its logarithm is at least ``-log(alpha)``, keeps the expected share of false
    discoveries at most alpha. Nothing is asked of how the tests depend on each other: metrics of one experiment,
    experiments on the same people, each stopped when it liked. ``exp(-adjusted)``, cut at 1, is an adjusted p-value.

    Args:
        log_e_values: logarithms of e-values, so that huge ones fit; ``-inf`` is an e-value of 0, NaN a planned test
            that could not be computed: it stays NaN and counts as 0.
        axis: where the family lies.

    Raises:
        ValueError: naming ``log_e_values`` that are no numbers or have no such axis.

    >>> adjusted = e_benjamini_hochberg([6.0, 4.0, 0.5, -2.0])
    >>> [round(value, 3) for value in adjusted.tolist()]
    [4.614, 3.307, 0.212, -2.0]
    >>> (adjusted >= -np.log(0.05)).tolist()
    [True, True, False, False]
    """
    given = _family("log_e_values", log_e_values, axis)
    log_e = np.where(np.isnan(given), -np.inf, given)
    log_e = np.moveaxis(log_e, axis, -1)
    order = np.argsort(-log_e, axis=-1, kind="stable")
    m = log_e.shape[-1]
    raw = np.take_along_axis(log_e, order, axis=-1) + np.log(np.arange(1, m + 1) / m)
    steps = np.maximum.accumulate(raw[..., ::-1], axis=-1)[..., ::-1]
    return _restored(steps, order, given, axis)


def _checked(p_values: ArrayLike, axis: int) -> FloatArray:
    p = _family("p_values", p_values, axis)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p_values must lie between 0 and 1")
    return p


def _family(name: str, values: ArrayLike, axis: int) -> FloatArray:
    """Return real numbers with the family's axis; NaN and infinity are for the caller to judge."""
    try:
        given = np.asarray(values)
        family = given.real.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers") from None
    if np.iscomplexobj(given):
        raise ValueError(f"{name} must be real numbers")
    if not -family.ndim <= axis < family.ndim:
        raise ValueError(f"{name} must have an axis for the family, here axis {axis}")
    return family


def _ordered(p_values: ArrayLike, axis: int) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.intp]]]:
    """Return sorted p-values, the family last and NaN counted as 1, with their order."""
    p = np.nan_to_num(np.moveaxis(_checked(p_values, axis), axis, -1), nan=1.0)
    order = np.argsort(p, axis=-1, kind="stable")
    return np.take_along_axis(p, order, axis=-1), order


def _restored(
    adjusted: FloatArray,
    order: np.ndarray[tuple[int, ...], np.dtype[np.intp]],
    given: ArrayLike,
    axis: int,
) -> FloatArray:
    """Put adjusted values back in the caller's order and shape; what was NaN is NaN again."""
    back = np.empty_like(adjusted)
    np.put_along_axis(back, order, adjusted, axis=-1)
    return np.where(np.isnan(np.asarray(given, dtype=np.float64)), np.nan, np.moveaxis(back, -1, axis))
