"""Planning group sequential tests: power, sample size, and what looking costs.

Sizes are measured against the fixed test of the same error rates, ``(z_{alpha/2} + z_beta)^2``. Power counts
rejections in the right direction only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.group_sequential.bounds import Sides, checked_sides, efficacy_bounds
from abplatform.stats.group_sequential.futility import Boundaries, Futility, futility_bounds, increasing_fractions
from abplatform.stats.group_sequential.recursion import Crossing, crossing_probabilities
from abplatform.stats.group_sequential.roots import increasing_root
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending
from abplatform.stats.validation import FloatArray, IntArray, finite_values, positive, probability


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """A schedule of looks and how its errors are spent.

    Args:
        fractions: information fractions of the looks (K,), above 0 and increasing; the last look ends the test.
        alpha: error rate over all looks, two-sided for two sides.
        spending: how alpha is spent.
        sides: 2 or 1.
        power: probability to find the planned effect, between ``alpha / sides`` and 1.
        futility: how ``1 - power`` is spent on giving up, if the test may; its ``beta`` must be ``1 - power``.

    Raises:
        ValueError: naming the field that does not fit.
    """

    fractions: FloatArray
    alpha: float = 0.05
    spending: Spending = OBRIEN_FLEMING
    sides: Sides = 2
    power: float = 0.8
    futility: Futility | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", increasing_fractions(self.fractions))
        checked_sides(self.sides)
        probability("alpha", self.alpha)
        probability("power", self.power)
        if self.power <= self.alpha / self.sides:
            raise ValueError("power must be above the error rate of its side")
        if self.futility is not None and not np.isclose(self.futility.beta, 1 - self.power, rtol=0, atol=1e-12):
            raise ValueError("futility must spend a beta of 1 - power")

    @property
    def fixed_drift(self) -> float:
        """Expected z that gives a single look this power, in the right direction."""
        return float(-special.ndtri(self.alpha / self.sides) + special.ndtri(self.power))


def boundaries(design: Design) -> Boundaries:
    """Return the bounds of a design; ``futility`` is minus infinity without futility stops."""
    return _boundaries(design, required_drift(design) if design.futility else 0.0)


def required_drift(design: Design) -> float:
    """Return the expected z at the last look that gives the design its power.

    With the estimate's variance V at the planned size, the effect that is found with this power is
    ``drift sqrt(V)``. Fractions are taken relative to the last look.

    >>> round(required_drift(Design(np.arange(1, 6) / 5)), 4)
    2.836
    """
    aim = special.ndtri(design.power)
    fixed = _bounds_without_futility(design)

    def gap(drift: FloatArray, _: IntArray) -> FloatArray:
        bounds = fixed if design.futility is None else _boundaries(design, float(drift[0]))
        return np.asarray(special.ndtri(_cross(design, bounds, drift).upper.sum(axis=-1))) - aim

    start = design.fixed_drift
    return float(increasing_root(gap, np.array([1.05 * start]), low=0.5 * start, high=4 * start)[0])


def inflation(design: Design) -> float:
    """Return how many times the units of a fixed test the design needs at most, for the same power.

    >>> five = np.arange(1, 6) / 5
    >>> round(inflation(Design(five)), 3), round(inflation(Design(five, spending=Spending("pocock"))), 3)
    (1.025, 1.213)
    """
    return (required_drift(design) / design.fixed_drift) ** 2


def power_at(design: Design, drift: ArrayLike) -> FloatArray:
    """Return the probability of rejecting upwards at some look, for any expected z at the last look.

    >>> power_at(Design(np.arange(1, 6) / 5), [0.0, 2.836]).round(3).tolist()
    [0.025, 0.8]
    """
    return np.asarray(_cross(design, boundaries(design), finite_values("drift", drift)).upper.sum(axis=-1))


def expected_share(design: Design, drift: ArrayLike) -> FloatArray:
    """Return the expected share of the planned units that is used until the test stops.

    Multiply by `inflation` for the expected size against a fixed test.

    >>> design = Design(np.arange(1, 6) / 5)
    >>> expected_share(design, [0.0, required_drift(design)]).round(3).tolist()
    [0.993, 0.804]
    """
    found = _cross(design, boundaries(design), finite_values("drift", drift))
    times = design.fractions / design.fractions[-1]
    # Units beyond the look are saved by those that stop there.
    return np.asarray(1 - (found.upper + found.lower) @ (1 - times))


def detectable_effect(design: Design, standard_error: ArrayLike) -> FloatArray:
    """Return the effect that the design finds with its power.

    Args:
        design: the looks and their errors.
        standard_error: of the estimate at the last look, above 0, in the units of the metric; any shape.

    >>> round(float(detectable_effect(Design(np.arange(1, 6) / 5), 0.1)), 4)
    0.2836
    """
    return np.asarray(required_drift(design) * positive("standard_error", standard_error))


def _bounds_without_futility(design: Design) -> Boundaries:
    spending, sides = design.spending, design.sides
    critical = efficacy_bounds(design.fractions, alpha=design.alpha, spending=spending, sides=sides, final=True)
    return Boundaries(critical.critical, np.full(design.fractions.shape, -np.inf))


def _boundaries(design: Design, drift: float) -> Boundaries:
    if design.futility is None:
        return _bounds_without_futility(design)
    return futility_bounds(
        design.fractions,
        design.futility,
        drift=drift / np.sqrt(design.fractions[-1]),
        alpha=design.alpha,
        spending=design.spending,
        sides=design.sides,
        final=True,
    )


def _cross(design: Design, bounds: Boundaries, drift: FloatArray) -> Crossing:
    lower = np.maximum(bounds.futility, -bounds.efficacy) if design.sides == 2 else bounds.futility
    return crossing_probabilities(design.fractions / design.fractions[-1], lower, bounds.efficacy, drift=drift)
