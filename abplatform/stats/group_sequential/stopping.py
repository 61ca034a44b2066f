"""Inference after a group sequential test has stopped, by stage-wise ordering of what could have happened.

An outcome is the more extreme the earlier the test stops for it, and at the same look the larger its z (Tsiatis,
Rosner and Mehta, 1984; Jennison and Turnbull, 1999, sec. 8.4 and 8.5). Ordinary estimates at stopping are too extreme,
since it was the extreme that stopped the test; the median-unbiased one is too large as often as too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.effects import difference
from abplatform.stats.group_sequential.bounds import (
    checked_fractions,
    efficacy_bounds,
    new_looks,
)
from abplatform.stats.group_sequential.recursion import crossing_probabilities
from abplatform.stats.group_sequential.roots import increasing_root
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending
from abplatform.stats.results import Interval, Objects, named_reasons
from abplatform.stats.sufficient import ArmStats
from abplatform.stats.validation import FloatArray, IntArray, probability, same_grid

_FAR = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class StoppedInference:
    """Median-unbiased difference with its interval, and the two-sided p-value; NaN where there is a reason."""

    absolute: Interval
    p_value: FloatArray
    not_computable: Objects


@dataclass(frozen=True, slots=True, eq=False)
class _Ordering:
    """Looks that had new information, with the last one's as unit, and the bounds before the last."""

    information: FloatArray
    bounds: FloatArray

    def tails(self, z: float, drift: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities of outcomes at least as high, and at least as low, as z at the last look."""
        upper, lower = np.append(self.bounds, z), np.append(-self.bounds, z)
        found = crossing_probabilities(self.information, lower, upper, drift=drift)
        return found.upper.sum(axis=-1), found.lower.sum(axis=-1)


@np.errstate(all="ignore")
def at_stopping(
    treatment: ArmStats,
    control: ArmStats,
    *,
    fractions: ArrayLike,
    alpha: ArrayLike = 0.05,
    spending: Spending = OBRIEN_FLEMING,
) -> StoppedInference:
    """Return estimate, interval and p-value for a two-sided test that stopped at the last of its looks.

    The interval has its coverage when the test stops by its bounds, or at its last look; it leaves out 0 when the
    bounds rejected. A test that may end in any other way should report the repeated interval of `compare`. Futility
    stops are taken as non-binding: the ordering knows the efficacy bounds only.

    Args:
        treatment: statistics of the treatment when the test stopped, any shape.
        control: statistics of the control, of the same class.
        fractions: as for `compare`; one schedule, or one per cell.
        alpha: two-sided error rate; the interval has probability ``1 - alpha``.
        spending: the spending function of the plan.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import ProportionStats
    >>> arms = ProportionStats(15_000, 1_740), ProportionStats(15_000, 1_560)
    >>> stopped = at_stopping(*arms, fractions=[0.25, 0.5, 0.75])
    >>> effect = stopped.absolute
    >>> round(float(effect.estimate), 4), round(float(effect.lower), 4), round(float(stopped.p_value), 4)
    (0.0115, 0.0039, 0.0035)
    """
    diff = difference(treatment, control)
    times, level = checked_fractions(fractions), probability("alpha", alpha)
    grid = same_grid(treatment=diff.estimate, fractions=times[..., 0], alpha=level)
    if (times[..., -1] == 0).any() or (times.shape[-1] > 1 and (times[..., -2] >= 1).any()):
        raise ValueError("fractions must end at a look that had data and error left to spend")
    rows = np.broadcast_to(times, (*grid, times.shape[-1])).reshape(-1, times.shape[-1])
    levels, scores = np.broadcast_to(level, grid).ravel(), np.broadcast_to(diff.z, grid).ravel()
    found = np.full((4, scores.size), np.nan)
    for cell in np.flatnonzero(np.isfinite(scores)):
        found[:, cell] = _cell(float(scores[cell]), rows[cell], float(levels[cell]), spending)
    error = np.broadcast_to(diff.standard_error, grid)
    lower, estimate, upper = (np.asarray(part.reshape(grid) * error) for part in found[:3])
    reasons = np.broadcast_to(named_reasons(diff.reasons), grid)
    return StoppedInference(Interval(estimate, lower, upper), found[3].reshape(grid), reasons)


def _cell(z: float, fractions: FloatArray, alpha: float, spending: Spending) -> FloatArray:
    """Return lower bound, median and upper bound in standard errors, and the two-sided p-value."""
    looks = fractions[new_looks(fractions)]
    if looks.size > 1:
        ordering = _Ordering(looks / looks[-1], efficacy_bounds(looks[:-1], alpha=alpha, spending=spending).critical)
    else:
        ordering = _Ordering(np.ones(1), np.empty(0))
    aims = special.ndtri(np.array([alpha / 2, 0.5, 1 - alpha / 2]))

    def gap(drift: FloatArray, which: IntArray) -> FloatArray:
        above, below = ordering.tails(z, drift)
        return np.where(above < 0.5, special.ndtri(above), -special.ndtri(below)) - aims[which]

    far = abs(z) + _FAR
    bounds = increasing_root(gap, z + aims, low=-far, high=far)
    return np.append(bounds, min(2 * float(min(ordering.tails(z, 0.0))), 1.0))
