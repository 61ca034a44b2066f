"""What an interim look says about the end of the test: conditional and predictive power.

Given z at an information fraction t, the score at later fractions is ``z sqrt(t)`` plus independent normal
increments (the B-value of Lan and Wittes, 1988). The rest of the test is therefore a group sequential test of its own,
with shifted bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.group_sequential.bounds import Sides, efficacy_bounds
from abplatform.stats.group_sequential.futility import increasing_fractions
from abplatform.stats.group_sequential.recursion import crossing_probabilities
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending
from abplatform.stats.validation import FloatArray, finite_values, positive

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_SPREAD = 8.5


def conditional_power(
    z: ArrayLike,
    *,
    fractions: ArrayLike,
    remaining: ArrayLike = (1.0,),
    drift: ArrayLike | None = None,
    alpha: float = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    sides: Sides = 2,
) -> FloatArray:
    """Return the probability that the test will still show a benefit (positive z), given what is seen so far.

    With one look to come this is ``Phi((z sqrt t + drift (1 - t) - c) / sqrt(1 - t))`` (Lan and Wittes, 1988).

    Args:
        z: at this look, positive for benefit, any shape.
        fractions: information fractions of the looks so far (K,), this one last; above 0 and increasing.
        remaining: fractions of the looks to come, increasing; the last one ends the test.
        drift: expected z at a fraction of 1 under the effect that is assumed, any shape; ``None`` for the trend so
            far, ``z / sqrt(t)``.
        alpha: error rate over all looks, two-sided for two sides.
        spending: the spending function of the plan.
        sides: 2 or 1.

    Returns:
        Probabilities of the shape that ``z`` and ``drift`` broadcast to.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> conditional_power([0.5, 1.5, 2.5], fractions=[0.5]).round(3).tolist()
    [0.037, 0.586, 0.987]
    """
    standard = finite_values("z", z)
    seen = increasing_fractions(fractions)
    effect = standard / np.sqrt(seen[-1]) if drift is None else finite_values("drift", drift)
    standard, effect = np.broadcast_arrays(standard, effect)
    rest = _Rest(seen, positive("remaining", remaining), alpha, spending, sides)
    found = [rest.benefit(one, mean) for one, mean in zip(standard.ravel(), effect.ravel(), strict=True)]
    return np.array(found).reshape(standard.shape)


def predictive_power(
    z: ArrayLike,
    *,
    fractions: ArrayLike,
    remaining: ArrayLike = (1.0,),
    alpha: float = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    sides: Sides = 2,
) -> FloatArray:
    """Return the conditional power averaged over what is known of the effect, from a flat prior.

    The drift is normal around ``z / sqrt(t)`` with variance ``1 / t`` (Spiegelhalter, Freedman and Blackburn, 1986;
    Jennison and Turnbull, 1999, ch. 10). Arguments as for `conditional_power`.

    >>> predictive_power([0.5, 1.5, 2.5], fractions=[0.5]).round(3).tolist()
    [0.104, 0.561, 0.941]
    """
    standard = finite_values("z", z)
    seen = increasing_fractions(fractions)
    rest = _Rest(seen, positive("remaining", remaining), alpha, spending, sides)
    away = _SPREAD * _NODES
    weights = _SPREAD * _WEIGHTS * np.exp(-0.5 * np.square(away)) / np.sqrt(2 * np.pi)
    found = [rest.benefit(one, (one + away) / np.sqrt(seen[-1])) @ weights for one in standard.ravel()]
    return np.array(found).reshape(standard.shape)


class _Rest:
    """The looks to come, as a test that starts now."""

    def __init__(self, seen: FloatArray, ahead: FloatArray, alpha: float, spending: Spending, sides: Sides) -> None:
        if ahead.ndim != 1 or not ahead.size or ahead[0] <= seen[-1]:
            raise ValueError("remaining must be fractions of later looks than the last of fractions")
        times = increasing_fractions(np.concatenate([seen, ahead]))
        bounds = efficacy_bounds(times, alpha=alpha, spending=spending, sides=sides, final=True).critical
        self._now, self._ahead = seen[-1], ahead
        self._upper = bounds[seen.size :] * np.sqrt(ahead)
        self._lower = -self._upper if sides == 2 else np.full(ahead.shape, -np.inf)

    def benefit(self, z: float, drift: ArrayLike) -> FloatArray:
        """Return the probability of crossing an upper bound to come, for each drift."""
        step, score = self._ahead - self._now, z * np.sqrt(self._now)
        lower, upper = ((side - score) / np.sqrt(step) for side in (self._lower, self._upper))
        return np.asarray(crossing_probabilities(step, lower, upper, drift=drift).upper.sum(axis=-1))
