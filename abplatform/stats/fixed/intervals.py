"""Intervals of one rate, and one for the difference of two that is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.fixed.restricted import rates_only
from abplatform.stats.results import Interval
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray, probability, same_grid


@np.errstate(all="ignore")
def wilson_interval(arm: ProportionStats, *, alpha: ArrayLike = 0.05) -> Interval:
    """Return Wilson's (1927) score interval of one rate: the rates that a z test at their own variance keeps.

    It stays within 0 and 1 and exists at 0 successes. For a one-sided bound pass twice its error rate.

    Args:
        arm: units and successes, any shape.
        alpha: two-sided error rate, scalar or one per cell.

    Returns:
        Rate and bounds; NaN without units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> interval = wilson_interval(ProportionStats(10, 0))
    >>> float(interval.lower), round(float(interval.upper), 4)
    (0.0, 0.2775)
    """
    hits, units, half = _parts(arm, alpha)
    excess = np.square(special.ndtri(half)) / units
    rate, rest = hits / units, (units - hits) / units
    spread = np.sqrt(excess * (rate * rest + excess / 4))
    # Both roots have the product rate^2 / (1 + excess): no difference of nearly equal numbers.
    upper = (rate + excess / 2 + spread) / (1 + excess)
    return _within(rate, np.square(rate) / (1 + excess) / upper, upper)


@np.errstate(all="ignore")
def clopper_pearson_interval(arm: ProportionStats, *, alpha: ArrayLike = 0.05) -> Interval:
    """Return Clopper and Pearson's (1934) exact interval of one rate, from quantiles of beta distributions.

    It covers with at least ``1 - alpha`` at any rate and size, and for that is wider than Wilson's. For a one-sided
    bound pass twice its error rate.

    Args:
        arm: units and successes, any shape.
        alpha: two-sided error rate, scalar or one per cell.

    Returns:
        Rate and bounds; NaN without units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> interval = clopper_pearson_interval(ProportionStats(10, 0))
    >>> float(interval.lower), round(float(interval.upper), 4)
    (0.0, 0.3085)
    """
    hits, units, half = _parts(arm, alpha)
    misses = units - hits
    lower = np.where(hits > 0, special.betaincinv(np.maximum(hits, 1), misses + 1, half), 0.0)
    upper = np.where(misses > 0, special.betainccinv(hits + 1, np.maximum(misses, 1), half), 1.0)
    return _within(hits / units, lower, upper)


@np.errstate(all="ignore")
def newcombe_interval(treatment: ProportionStats, control: ProportionStats, *, alpha: ArrayLike = 0.05) -> Interval:
    """Return Newcombe's (1998, method 10) hybrid interval of the difference of two rates.

    Wilson's bounds of each rate are put together by squares, as if they were standard errors on each side. It needs
    no iteration and covers well; no test belongs to it, for which there is ``compare_rates``.

    Args:
        treatment: units and successes of the treatment, any shape.
        control: units and successes of the control.
        alpha: two-sided error rate, scalar or one per cell.

    Returns:
        Difference and bounds; NaN where an arm has no units.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> interval = newcombe_interval(ProportionStats(70, 56), ProportionStats(80, 48))
    >>> round(float(interval.lower), 4), round(float(interval.upper), 4)
    (0.0524, 0.3339)
    """
    rates_only(treatment=treatment, control=control)
    same_grid(treatment=treatment.estimate, control=control.estimate, alpha=probability("alpha", alpha))
    first, second = wilson_interval(treatment, alpha=alpha), wilson_interval(control, alpha=alpha)
    gap = first.estimate - second.estimate
    return Interval(
        gap,
        gap - np.hypot(first.estimate - first.lower, second.upper - second.estimate),
        gap + np.hypot(first.upper - first.estimate, second.estimate - second.lower),
    )


def _parts(arm: ProportionStats, alpha: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return successes and units as floats (NaN without units), and half the error rate, all checked."""
    rates_only(arm=arm)
    half = np.asarray(probability("alpha", alpha) / 2)
    same_grid(arm=arm.estimate, alpha=half)
    hits, units, half = np.broadcast_arrays(arm.successes.astype(np.float64), arm.n.astype(np.float64), half)
    return hits, np.where(units > 0, units, np.nan), half


def _within(rate: FloatArray, lower: FloatArray, upper: FloatArray) -> Interval:
    """Return an interval whose bounds are exactly 0 or 1 where the rate is, and NaN where there is none."""
    return Interval(
        rate,
        np.where(np.isnan(rate), np.nan, np.where(rate == 0, 0.0, lower)),
        np.where(np.isnan(rate), np.nan, np.where(rate == 1, 1.0, upper)),
    )
