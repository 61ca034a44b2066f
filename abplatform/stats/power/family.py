"""Planning a decision over several metrics and treatments, not a single test.

Ship needs at least one superior primary metric *and* every guardrail non-inferior. Errors of the first kind: any
superior primary can ship something useless, so alpha is split over primaries x treatments; a guardrail only
ever vetoes, and is tested at alpha itself. Errors of the second kind: each of the G guardrails can veto something
good, so that joint power at least ``1 - beta`` needs each of the G + 1 tests at ``1 - beta / (G + 1)``; by
Boole's inequality, whatever their correlation (Schultzberg, Ankargren and Franberg, arXiv:2402.11609, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.duration import Duration, Traffic, calendar
from abplatform.stats.power.goal import Goal, Split
from abplatform.stats.power.planned import PlannedTest, check_test
from abplatform.stats.power.results import SizingCell, Unplannable
from abplatform.stats.power.solve import achieved_power, required_units
from abplatform.stats.validation import instance_of, positive, probability, whole_counts

Role = Literal["primary", "guardrail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One metric of the decision.

    Args:
        metric: its name.
        role: ``primary`` (superiority) or ``guardrail`` (non-inferiority).
        baseline: its past, a single cell.
        goal: what it shall show.
        test: how it is judged; the family sets its alpha. Experiments judge guardrails on rates by ``CountTest``, on
            other metrics by ``SequenceTest``, whatever the method of the primary.
        window: whole days until a unit's outcome is complete.

    Raises:
        ValueError: naming the argument that does not fit.
    """

    metric: str
    role: Role
    baseline: Baseline
    goal: Goal
    test: PlannedTest
    window: int = 0

    def __post_init__(self) -> None:
        instance_of("baseline", self.baseline, Baseline, "Baseline.rate(0.1)")
        instance_of("goal", self.goal, Goal, "Goal.superiority(0.05, relative=True)")
        check_test(self.test)
        if self.role not in get_args(Role):
            raise ValueError(f"role must be 'primary' or 'guardrail', not {self.role!r}")
        if (self.role == "primary") != (self.goal.kind == "superiority"):
            raise ValueError(f"goal of a {self.role} must not be {self.goal.kind}")
        if self.baseline.shape or self.goal.effect.shape or self.goal.margin.shape:
            raise ValueError("baseline and goal must be of a single metric")
        whole_counts("window", self.window)


@dataclass(frozen=True, slots=True)
class PlannedMetric:
    """A metric in a comparison: what it would need alone, and its power at the plan's units."""

    metric: str
    role: Role
    treatment: int
    alpha: float
    needed: SizingCell
    planned: SizingCell | None


@dataclass(frozen=True, slots=True)
class FamilyPlan:
    """Units that serve every metric and treatment.

    Attributes:
        units: whole units of every arm, or ``None`` where some metric cannot be planned.
        total: their sum.
        joint_power: a lower bound of the chance that a treatment ships when one of its primaries has its effect
            and its guardrails have theirs; the smallest over treatments and primaries.
        power_each: power that each test was planned with, ``1 - beta / (G + 1)``.
        bottleneck: the metric, and the position of the treatment, that ask for the most units (or cannot
            be planned).
        metrics: every metric in every comparison.
        duration: calendar days, where there is a forecast.
        not_plannable: why there is no plan.
    """

    units: tuple[int, ...] | None
    total: int | None
    joint_power: float | None
    power_each: float
    bottleneck: tuple[str, int]
    metrics: tuple[PlannedMetric, ...]
    duration: Duration | None
    not_plannable: Unplannable | None


def plan_family(
    requirements: Sequence[Requirement],
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    weights: Sequence[float] = (1.0, 1.0),
    traffic: Traffic | None = None,
) -> FamilyPlan:
    """Return the units at which the decision to ship has the wanted power.

    Args:
        requirements: the metrics, at least one primary; secondary metrics inform and are not planned.
        alpha: of the family of primaries; of each guardrail.
        power: wanted for the decision, between alpha and 1.
        weights: of the arms, the control first.
        traffic: forecast of new units, for the calendar.

    Returns:
        A ``FamilyPlan``. All primaries are planned as if each were the only one with an effect; a second primary that
        is truly without effect can still veto by looking significantly worse, at most at alpha / 2 over the family.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> from abplatform.stats import Margin
    >>> from abplatform.stats.power import CountTest, FixedTest, Goal
    >>> signups = Requirement(
    ...     metric="signup",
    ...     role="primary",
    ...     baseline=Baseline.rate(0.10),
    ...     goal=Goal.superiority(0.01),
    ...     test=FixedTest(),
    ... )
    >>> complaints = Requirement(
    ...     metric="complaint",
    ...     role="guardrail",
    ...     baseline=Baseline.rate(0.001),
    ...     goal=Goal.non_inferiority(Margin(0.001), direction="decrease"),
    ...     test=CountTest(),
    ... )
    >>> plan = plan_family([signups, complaints], traffic=Traffic(2_000))
    >>> plan.units, plan.power_each, plan.bottleneck, float(plan.duration.days)
    ((39517, 39517), 0.9, ('complaint', 1), 40.0)
    """
    _check(requirements, alpha, power, traffic)
    arms = len(Split(weights).weights)
    guardrails = sum(requirement.role == "guardrail" for requirement in requirements)
    primary_alpha = alpha / ((len(requirements) - guardrails) * (arms - 1))
    each = 1 - (1 - power) / (guardrails + 1)
    rows = [
        (requirement, primary_alpha if requirement.role == "primary" else alpha, Split(weights, treatment=arm))
        for arm in range(1, arms)
        for requirement in requirements
    ]
    needed = [
        required_units(row.baseline, row.goal, test=_judged(row, level), power=each, split=split).cell()
        for row, level, split in rows
    ]
    sizes = [np.inf if need.total is None else float(need.total) for need in needed]
    worst = sizes.index(max(sizes))
    total = needed[worst].total
    metrics = tuple(
        PlannedMetric(row.metric, row.role, split.treatment, level, need, _at(row, level, split, total))
        for (row, level, split), need in zip(rows, needed, strict=True)
    )
    return FamilyPlan(
        units=needed[worst].units,
        total=total,
        joint_power=None if total is None else _joint_power(metrics, arms),
        power_each=each,
        bottleneck=(metrics[worst].metric, metrics[worst].treatment),
        metrics=metrics,
        duration=_duration(requirements, total, traffic),
        not_plannable=needed[worst].not_plannable,
    )


def _check(requirements: Sequence[Requirement], alpha: float, power: float, traffic: Traffic | None) -> None:
    for requirement in requirements:
        instance_of("requirements", requirement, Requirement, 'Requirement(metric="signup", ...)')
    if traffic is not None:
        instance_of("traffic", traffic, Traffic, "Traffic(2_000)")
    level = float(probability("alpha", alpha))
    if not level < float(positive("power", power)) < 1:
        raise ValueError(f"power must lie strictly between alpha, {level:g}, and 1")
    if not any(requirement.role == "primary" for requirement in requirements):
        raise ValueError("requirements must hold a primary metric")
    names = [requirement.metric for requirement in requirements]
    if len(set(names)) < len(names):
        raise ValueError("requirements must name each metric once")


def _judged(requirement: Requirement, alpha: float) -> PlannedTest:
    """The test as a decision reads it: all verdicts together at the planned look."""
    return requirement.test.at_level(alpha).at_last_look()


def _at(requirement: Requirement, alpha: float, split: Split, total: int | None) -> SizingCell | None:
    if total is None:
        return None
    test = _judged(requirement, alpha)
    return achieved_power(requirement.baseline, requirement.goal, test=test, units=total, split=split).cell()


def _joint_power(metrics: Sequence[PlannedMetric], arms: int) -> float:
    """Boole: at least 1 less the weakest primary's miss and all guardrails' misses, in the weakest treatment."""
    bounds = []
    for arm in range(1, arms):
        misses: dict[str, list[float]] = {"primary": [], "guardrail": []}
        for row in metrics:
            if row.treatment == arm and row.planned is not None and row.planned.power is not None:
                misses[row.role].append(1 - row.planned.power)
        bounds.append(1 - max(misses["primary"]) - sum(misses["guardrail"]))
    return max(min(bounds), 0.0)


def _duration(requirements: Sequence[Requirement], total: int | None, traffic: Traffic | None) -> Duration | None:
    """All metrics are judged at the same units, so that the longest window closes the plan."""
    if traffic is None or total is None:
        return None
    return calendar(total, traffic, window=max(requirement.window for requirement in requirements))
