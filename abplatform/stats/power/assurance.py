"""Assurance: the probability of the claim when the true effect is uncertain, averaged over a prior of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import expected_evidence
from abplatform.stats.power.goal import Goal, Split
from abplatform.stats.power.planned import PlannedTest
from abplatform.stats.power.solve import EQUAL, achieved_power
from abplatform.stats.validation import FloatArray, finite_values, instance_of, positive

_REACH = 8.0
_POINTS, _WEIGHTS = special.roots_legendre(8)
_ERRORS_PER_PANEL, _MOST_PANELS = 2.0, 4000
_BLOCK = 20_000


@np.errstate(all="ignore")
def assurance(
    baseline: Baseline,
    goal: Goal,
    *,
    test: PlannedTest,
    units: ArrayLike,
    prior: tuple[float, float],
    split: Split = EQUAL,
) -> FloatArray:
    """Return the probability of the claim over a normal prior of the true effect (O'Hagan, Stevens and Campbell, 2005).

    Unlike power it does not grow to 1 with the units: the effect may not be there. Superiority counts claims of
    "better", true or not. For a ``LossRule`` with its own prior this is how often the plan will ship.

    Args:
        baseline: the metric's past; any shape.
        goal: kind, margin, scale and direction; its effect is replaced by the prior's.
        test: the test.
        units: planned units of all arms; broadcast.
        prior: mean and standard deviation of the true effect, positive for improvements, on the goal's scale; effects
            that would take a rate below 0 or above 1 count as reaching that edge.
        split: weights of the arms.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats.power import LossRule
    >>> rule = LossRule(prior_scale=0.05, loss_threshold=0.001)
    >>> goal = Goal.superiority(0.05, relative=True)
    >>> round(float(assurance(Baseline.rate(0.2), goal, test=rule, units=40_000, prior=(0.0, 0.05))), 3)
    0.311
    """
    instance_of("goal", goal, Goal, "Goal.superiority(0.05, relative=True)")
    centre, sd = float(finite_values("prior", prior[0])), float(positive("prior", prior[1]))
    still = replace(goal, effect=np.zeros(()))
    plan = achieved_power(baseline, still, test=test, units=units, split=split)
    evidence = expected_evidence(baseline, still, plan.units, split)
    spread = evidence.standard_error / (evidence.magnitude if goal.relative else 1.0)
    total = np.zeros(plan.power.shape)
    effects, weights = _prior_nodes(centre, sd, spread)
    blocks = max(1, effects.size * total.size // _BLOCK)
    for part in np.array_split(np.arange(effects.size), blocks):
        # The effects of a block lie along a new first axis.
        block = effects[part].reshape(-1, *(1,) * total.ndim)
        moved = replace(goal, effect=_possible(baseline, goal, block))
        power = test.power(expected_evidence(baseline, moved, plan.units, split))
        total = total + np.tensordot(weights[part], power, axes=1)
    return np.asarray(total)


def _prior_nodes(centre: float, sd: float, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return effects and weights, dense enough for power curves that rise within a few standard errors."""
    usable = spread[np.isfinite(spread) & (spread > 0)]
    sharp = float(np.max(sd / usable)) if usable.size else 1.0
    panels = int(np.clip(np.ceil(2 * _REACH * max(1.0, sharp / _ERRORS_PER_PANEL)), 1, _MOST_PANELS))
    middles = (2 * np.arange(panels) + 1) / panels - 1
    z = _REACH * (middles[:, None] + _POINTS / panels).ravel()
    weights = np.tile(_WEIGHTS, panels) * np.exp(-np.square(z) / 2)
    return centre + sd * z, weights / weights.sum()


def _possible(baseline: Baseline, goal: Goal, effect: FloatArray) -> FloatArray:
    """Return the effects, held inside what a rate allows."""
    if not baseline.binary:
        return effect
    scale = baseline.mean if goal.relative else np.ones(())
    room = [(1 - baseline.mean) / scale, baseline.mean / scale]
    up, down = room if goal.direction == "increase" else room[::-1]
    # An ulp inside, so that rounding does not take the rate out.
    return np.asarray(np.clip(effect, -down * (1 - 1e-12), up * (1 - 1e-12)))
