"""Units for a power, power at units, and what units can detect: one power curve, read in three directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import expected_evidence
from abplatform.stats.power.goal import Goal, Split
from abplatform.stats.power.planned import PlannedTest, check_test
from abplatform.stats.power.results import Sizing, Unplannable, first_reason
from abplatform.stats.power.roots import solve_power
from abplatform.stats.results import Caution, Objects
from abplatform.stats.sufficient.proportions import FEW_EVENTS
from abplatform.stats.validation import FloatArray, finite_values, instance_of, positive, same_grid

MOST_UNITS = 1e15
"""No plan asks for more units of all arms than this."""
EQUAL = Split()
_MOST_SIZE = 1e6
"""Largest detectable size looked for, in standard errors."""


@np.errstate(all="ignore")
def required_units(
    baseline: Baseline, goal: Goal, *, test: PlannedTest, power: ArrayLike = 0.8, split: Split = EQUAL
) -> Sizing:
    """Return the fewest units at which a test makes its claim with the wanted power.

    Power is the probability that the claim is made *in the right direction*: a significant effect of the wrong
    sign does not count. Units are rounded up arm by arm, and the power achieved with them is at least the
    wanted one.

    Args:
        baseline: the metric's past; any shape.
        goal: what shall be shown and the true effect; broadcast against the metrics.
        test: ``FixedTest``, ``SequenceTest``, ``CountTest``, ``GroupSequentialTest`` or ``LossRule``.
        power: wanted, above the test's alpha and below 1; broadcast.
        split: weights of the arms.

    Returns:
        A ``Sizing``; a metric whose history has a single unit or no variation, or whose effect cannot be, is NaN and
        says why (``Unplannable``).

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats.power import Baseline, FixedTest, Goal
    >>> plan = required_units(Baseline.rate(0.10), Goal.superiority(0.01), test=FixedTest()).cell()
    >>> plan.units, plan.total, round(plan.power, 4)
    ((14749, 14749), 29498, 0.8)
    """
    _check(baseline, goal, test, split)
    wanted = _wanted(power, test)
    shape = _grid(baseline, goal, wanted)
    least = np.broadcast_to(_least_total(baseline, test, split), shape)

    def at_root(root: FloatArray) -> FloatArray:
        return _power(baseline, goal, test, split.units(np.square(root)), split)

    root = solve_power(at_root, wanted, low=np.sqrt(least), high=np.full(shape, np.sqrt(MOST_UNITS)))
    arms = split.whole_units(np.square(root))
    # Rounding errors of the solver may leave the power an ulp short; one more unit per arm mends it.
    arms = np.where((_power(baseline, goal, test, arms, split) < wanted)[..., None], arms + 1, arms)
    return _sizing(baseline, goal, test, arms=arms, split=split)


@np.errstate(all="ignore")
def achieved_power(
    baseline: Baseline, goal: Goal, *, test: PlannedTest, units: ArrayLike, split: Split = EQUAL
) -> Sizing:
    """Return the power of a test at given units of *all* arms together, divided as the weights say.

    Args:
        baseline: the metric's past; any shape.
        goal: what shall be shown and the true effect.
        test: the test.
        units: planned units of all arms, at least 2 in each of the two compared; broadcast.
        split: weights of the arms.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats.power import Baseline, FixedTest, Goal
    >>> goal = Goal.superiority(0.05, relative=True)
    >>> plan = achieved_power(Baseline.normal(10.0, 3.0), goal, test=FixedTest(), units=1132).cell()
    >>> round(plan.power, 3), round(plan.absolute, 3)
    (0.8, 0.5)
    """
    _check(baseline, goal, test, split)
    total = _given_units(units, split)
    shape = np.broadcast_shapes(_grid(baseline, goal, total))
    return _sizing(baseline, goal, test, arms=split.units(np.broadcast_to(total, shape)), split=split)


@np.errstate(all="ignore")
def detectable_size(
    baseline: Baseline,
    goal: Goal,
    *,
    test: PlannedTest,
    units: ArrayLike,
    power: ArrayLike = 0.8,
    split: Split = EQUAL,
) -> Sizing:
    """Return the minimum detectable effect, or the smallest margin that can be shown, at given units.

    Args:
        baseline: the metric's past; any shape.
        goal: kind, direction and scale of the answer; its own effect (superiority) or margin is ignored, the true
            effect of the other kinds is used.
        test: the test.
        units: planned units of all arms; broadcast.
        power: wanted, above the test's alpha and below 1; broadcast.
        split: weights of the arms.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats.power import Baseline, FixedTest, Goal
    >>> plan = detectable_size(Baseline.rate(0.10), Goal.superiority(1.0), test=FixedTest(), units=29_498).cell()
    >>> round(plan.absolute, 4), round(plan.relative, 3)
    (0.01, 0.1)
    """
    _check(baseline, goal, test, split)
    wanted, total = _wanted(power, test), _given_units(units, split)
    shape = np.broadcast_shapes(_grid(baseline, goal, wanted), total.shape)
    arms = split.units(np.broadcast_to(total, shape))
    floor = np.maximum(-goal.effect, 0.0) if goal.kind != "superiority" else np.zeros(())
    if goal.kind == "equivalence":
        floor = np.abs(goal.effect)
    unit = _standard_error(baseline, goal, arms, split)

    def at_size(extra: FloatArray) -> FloatArray:
        return _power(baseline, goal.with_size(floor + extra), test, arms, split)

    most = np.maximum(_largest(baseline, goal, unit) - floor, 0.0)
    extra = solve_power(at_size, wanted, low=1e-9 * unit, high=most)
    return _sizing(baseline, goal.with_size(floor + extra), test, arms=arms, split=split)


def _check(baseline: Baseline, goal: Goal, test: PlannedTest, split: Split) -> None:
    instance_of("baseline", baseline, Baseline, "Baseline.rate(0.1)")
    instance_of("goal", goal, Goal, "Goal.superiority(0.05, relative=True)")
    check_test(test)
    instance_of("split", split, Split, "Split((2, 1))")


def _power(baseline: Baseline, goal: Goal, test: PlannedTest, arms: FloatArray, split: Split) -> FloatArray:
    """Return the power with these units; 0 where the test gives no verdict on so few."""
    power = test.power(expected_evidence(baseline, goal, arms, split))
    silent = _smaller_arm(arms, split) < test.least_units(baseline) * (1 - 1e-9)
    return np.where(silent & ~np.isnan(power), 0.0, power)


def _least_total(baseline: Baseline, test: PlannedTest, split: Split) -> FloatArray:
    """Return the units of all arms at which the smaller of the two has its least units."""
    return test.least_units(baseline) / min(split.shares[split.treatment], split.shares[split.control])


def _smaller_arm(arms: FloatArray, split: Split) -> FloatArray:
    return np.minimum(arms[..., split.treatment], arms[..., split.control])


def _standard_error(baseline: Baseline, goal: Goal, arms: FloatArray, split: Split) -> FloatArray:
    """Return the standard error without any effect, on the goal's scale."""
    control = baseline.unit_variance / arms[..., split.control]
    error = np.sqrt(baseline.unit_variance * baseline.treatment_ratio / arms[..., split.treatment] + control)
    return np.asarray(error / np.abs(baseline.mean) if goal.relative else error)


def _largest(baseline: Baseline, goal: Goal, unit: FloatArray) -> FloatArray:
    """Return the largest size that makes sense: a rate can rise to 1 or fall to 0 and no further."""
    if goal.kind == "equivalence" or not baseline.binary:
        return _MOST_SIZE * unit
    increase = goal.direction == "increase"
    if goal.kind == "superiority":
        room = 1 - baseline.mean if increase else baseline.mean
    else:
        # Rates differ by 1 at most, and fall by less than 100%.
        room = baseline.mean if increase and goal.relative else np.ones(())
    # An ulp inside, so that rounding does not take the rate out.
    return np.broadcast_to((room / baseline.mean if goal.relative else room) * (1 - 1e-12), unit.shape)


def _wanted(power: ArrayLike, test: PlannedTest) -> FloatArray:
    wanted = finite_values("power", power)
    if ((wanted <= test.alpha) | (wanted >= 1)).any():
        raise ValueError(f"power must lie strictly between alpha, {test.alpha:g}, and 1")
    return wanted


def _given_units(units: ArrayLike, split: Split) -> FloatArray:
    total = positive("units", units)
    if (split.units(total)[..., [split.treatment, split.control]] < 2).any():
        raise ValueError("units must be at least 2 in each of the two arms")
    return total


def _grid(baseline: Baseline, goal: Goal, other: FloatArray) -> tuple[int, ...]:
    return same_grid(baseline=np.empty(baseline.shape), effect=goal.effect, margin=goal.margin, power=other)


@np.errstate(all="ignore")
def _sizing(baseline: Baseline, goal: Goal, test: PlannedTest, *, arms: FloatArray, split: Split) -> Sizing:
    """Assemble the answer from the units of the arms."""
    evidence = expected_evidence(baseline, goal, arms, split)
    power = _power(baseline, goal, test, arms, split)
    shape = np.broadcast_shapes(power.shape, goal.size.shape)
    reasons = _reasons(baseline, goal, np.broadcast_to(arms.sum(axis=-1) * goal.size, shape))
    planned = reasons == None  # noqa: E711 - elementwise

    def known(values: FloatArray) -> FloatArray:
        return np.where(planned, values, np.nan)

    arms = np.broadcast_to(arms, (*shape, arms.shape[-1]))
    magnitude = evidence.magnitude
    absolute = goal.size * (magnitude if goal.relative else 1.0)
    total = arms.sum(axis=-1)
    return Sizing(
        method=test.method,
        units=np.where(planned[..., None], arms, np.nan),
        total=known(total),
        expected_total=known(np.maximum(total * test.expected_share(evidence), _least_total(baseline, test, split))),
        power=known(power),
        absolute=known(absolute),
        relative=known(np.where(magnitude > 0, absolute / magnitude, np.nan)),
        not_plannable=reasons,
        cautions=np.where(planned, 0 if test.exact else _cautions(baseline, _smaller_arm(arms, split)), 0),
        assumptions=test.assumptions,
    )


def _reasons(baseline: Baseline, goal: Goal, solution: FloatArray) -> Objects:
    """Say why cells have no plan; a solution is NaN where the solver found none."""
    moved = baseline.mean + goal.better * goal.effect * (np.abs(baseline.mean) if goal.relative else 1.0)
    causes = [
        (np.isnan(baseline.mean), Unplannable.NO_MEAN),
        (~(baseline.unit_variance > 0), Unplannable.NO_VARIANCE),
        (np.asarray(goal.relative) & (baseline.mean == 0), Unplannable.ZERO_CONTROL),
        (np.asarray(baseline.binary) & ((moved < 0) | (moved > 1)), Unplannable.IMPOSSIBLE_RATE),
        (np.isnan(solution), Unplannable.NOT_REACHED),
    ]
    return first_reason(solution.shape, causes)


def _cautions(baseline: Baseline, smaller: FloatArray) -> NDArray[np.int64]:
    """Warn where an arm will have too few events for a normal rate."""
    rarer = np.minimum(baseline.mean, 1 - baseline.mean) * smaller
    return np.where(np.asarray(baseline.binary) & (rarer < FEW_EVENTS), Caution.FEW_EVENTS.value, 0)
