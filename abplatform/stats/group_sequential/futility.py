"""Futility bounds by beta spending: when to give up, because a benefit as large as planned would have shown.

The chance of giving up under the planned effect is spent like an error (Pampallona, Tsiatis and Kim, 2001). Bounds are
non-binding by default: the efficacy bounds ignore them, so that going on in spite of them costs no false alarms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.group_sequential.bounds import Sides, checked_fractions, efficacy_bounds
from abplatform.stats.group_sequential.recursion import FURTHEST, LEAST_STEP, REACH, Paths, advance, below, start
from abplatform.stats.group_sequential.solver import bound_above, newly_spent
from abplatform.stats.group_sequential.spending import OBRIEN_FLEMING, Spending, spend
from abplatform.stats.validation import FloatArray, finite_values, probability

_LARGEST_DRIFT = 20.0
"""Beyond it nothing is left to plan, and paths under no effect leave double precision."""


@dataclass(frozen=True, slots=True)
class Futility:
    """How the chance of missing the planned effect may be used up.

    Args:
        beta: chance of missing it over all looks, between 0 and 1.
        spending: the function that spends it.
        binding: the efficacy bounds count on giving up at these bounds, which lowers them; one-sided tests only.

    Raises:
        ValueError: naming ``beta``.
    """

    beta: float = 0.2
    spending: Spending = OBRIEN_FLEMING
    binding: bool = False

    def __post_init__(self) -> None:
        probability("beta", self.beta)


@dataclass(frozen=True, slots=True, eq=False)
class Boundaries:
    """Bounds by look: reject above ``efficacy`` (two-sided: beyond it on both sides), give up at or below ``futility``.

    Positive z is the direction of benefit. ``futility`` is minus infinity where no beta is spent.
    """

    efficacy: FloatArray
    futility: FloatArray


def futility_bounds(
    fractions: ArrayLike,
    futility: Futility,
    *,
    drift: float,
    alpha: float = 0.05,
    spending: Spending = OBRIEN_FLEMING,
    sides: Sides = 2,
    final: bool = False,
) -> Boundaries:
    """Return the bounds of a test that also stops for futility.

    Args:
        fractions: information fractions of the looks (K,), above 0 and increasing.
        futility: how beta is spent.
        drift: expected z of the planned effect at a fraction of 1, above 0 and at most 20; `design.required_drift`
            gives it (2.8 for a power of 80%).
        alpha: error rate over all looks, two-sided for two sides.
        spending: how alpha is spent.
        sides: 2 or 1; binding bounds need 1.
        final: the last look ends the test, whatever its information.

    Returns:
        ``Boundaries``. At a look that ends the test (``final``, or a fraction of at least 1) both bounds are the same.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> bounds = futility_bounds([0.5, 1.0], Futility(0.2), drift=2.85, alpha=0.025, sides=1)
    >>> bounds.efficacy.round(3).tolist(), bounds.futility.round(3).tolist()
    ([2.963, 1.969], [0.539, 1.969])
    """
    times = increasing_fractions(fractions)
    effect = finite_values("drift", drift)
    if effect.ndim or not 0 < effect <= _LARGEST_DRIFT:
        raise ValueError(f"drift must be one number above 0 and at most {_LARGEST_DRIFT:g}")
    if futility.binding and sides == 2:
        raise ValueError("futility must not be binding for two-sided tests")
    critical = efficacy_bounds(times, alpha=alpha, spending=spending, sides=sides, final=final)
    lost = spend(times, futility.beta, futility.spending)
    increments = newly_spent(critical.spent) if futility.binding else None
    upper, lower = _pass(times, critical.critical, increments, lost, float(effect), sides)
    if final or times[-1] >= 1:
        lower[-1] = upper[-1]
    return Boundaries(upper, lower)


def increasing_fractions(fractions: ArrayLike) -> FloatArray:
    """Return the fractions of one schedule, refusing looks without new information."""
    times = checked_fractions(fractions)
    if times.ndim != 1:
        raise ValueError("fractions must have one axis, the looks")
    if (np.diff(times, prepend=0.0) <= LEAST_STEP * times).any():
        raise ValueError("fractions must be above 0 and increase from look to look")
    return times


def _pass(
    times: FloatArray, critical: FloatArray, increments: FloatArray | None, lost: FloatArray, drift: float, sides: int
) -> tuple[FloatArray, FloatArray]:
    """Follow paths under the planned effect and place each look's bounds; ``increments`` make them binding."""
    paths, given_up = start(drift=drift), 0.0
    upper, lower = critical.copy(), np.empty(times.shape)
    none = np.zeros(())
    for look, now in enumerate(times):
        if increments is not None:
            unaffected = Paths(paths.information, paths.nodes, paths.tilted(none), 0.0)
            found = bound_above(unaffected, now, increments[look])
            # So few paths may be left that all of them together have less error than may be spent.
            upper[look] = found if np.isfinite(found) else critical[look]
        # Two-sided: further down the test has already stopped for harm.
        floor = -upper[look] if sides == 2 else -np.inf
        lower[look] = min(max(_bound_below(paths, now, lost[look] - given_up), floor), upper[look])
        if lower[look] >= upper[look]:
            # Nobody goes on from here.
            lower[look:] = upper[look:]
            break
        given_up += float(below(paths, paths.mass, np.asarray(drift), now, lower[look]))
        if look + 1 < times.size:
            middle = drift * np.sqrt(now)
            # Binding bounds need the paths under no effect as well.
            reach = np.minimum([min(0.0, middle) - REACH, middle + REACH], FURTHEST)
            low, high = np.clip([lower[look], upper[look]], *reach)
            paths = advance(paths, now, times[look + 1], low, high)
    return upper, lower


def _bound_below(paths: Paths, information: FloatArray, target: float) -> float:
    """Return the z bound below which a share of all paths falls at the next look."""
    mirrored = Paths(paths.information, -paths.nodes[..., ::-1], paths.mass[..., ::-1], -paths.drift)
    return -float(bound_above(mirrored, information, np.asarray(target)))
