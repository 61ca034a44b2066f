"""From reduced cells to judged comparisons: the plan's method, its guards, its families, its verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abplatform.domain.adjustment import adjust_grid
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arms import Comparand, Grid, grids
from abplatform.domain.experiment import ExperimentDefinition, Role, prior_scale
from abplatform.domain.guardrails import GuardrailCell, as_margin, judge_guardrail, planned_pair_units
from abplatform.domain.information import Fractions, schedules
from abplatform.domain.plan import AnalysisPlan, Method
from abplatform.stats import (
    Comparison,
    ComparisonCell,
    Margin,
    fixed,
    group_sequential,
    sequential,
)
from abplatform.stats.bayes import normal
from abplatform.stats.multiplicity import benjamini_hochberg, bonferroni, holm
from abplatform.stats.results import optional

WEAK_PRIOR_SCALE = 1.0
"""Prior of an exploratory Bayesian view where the plan names none: lifts of 100% either way are ordinary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric of one treatment against the control, with everything that a verdict needs.

    Attributes:
        row: the metric and its cells.
        treatment: index of the treatment in ``row.treatments``.
        cell: at the plan's alpha, not adjusted for the number of comparisons.
        variance_reduction: of a plan with CUPED: the share of the variance that is gone from ``cell`` and
            ``simultaneous``; None where they are as without it.
        simultaneous: at the level that holds for all primaries and treatments together.
        block: why an asymptotic sequence, or an early look of a group sequential test, may not speak of efficacy yet.
        fractions: information fractions of the looks that tested, up to now.
        boundary: of a group sequential test: |z| that decides at this look, at the level of ``simultaneous``.
        guardrail: of guardrails only.
        steps: of a funnel: each of its steps, at the plan's alpha.
        adjusted_p_value, holm_p_value: within the family of the role.
    """

    row: Comparand
    treatment: int
    cell: ComparisonCell
    simultaneous: ComparisonCell
    block: str | None
    fractions: tuple[float, ...]
    boundary: float | None
    guardrail: GuardrailCell | None
    steps: tuple[ComparisonCell, ...] = ()
    variance_reduction: float | None = None
    adjusted_p_value: float | None = None
    holm_p_value: float | None = None


def compare_all(
    definition: ExperimentDefinition, rows: Sequence[Comparand], *, method: Method, earlier: Fractions
) -> tuple[Line, ...]:
    """Compare every treatment with the control on every metric.

    Args:
        definition: plan, roles, weights.
        rows: the metrics with their cells.
        method: the plan's, or another one to look at.
        earlier: information fractions at the looks before this one; group sequential tests build on them.

    Returns:
        Lines in the order of ``rows``, treatments within.
    """
    lines = [line for grid in grids(rows) for line in _compare_grid(definition, grid, method, earlier)]
    order = {row.metric.key: position for position, row in enumerate(rows)}
    lines.sort(key=lambda line: (order[line.row.metric.key], line.treatment))
    return _adjust(lines)


def _compare_grid(definition: ExperimentDefinition, grid: Grid, method: Method, earlier: Fractions) -> Iterator[Line]:
    family = max(1, len(definition.uses("primary")) * len(definition.treatments))
    alpha = definition.plan.alpha
    both = np.array([alpha, alpha / family])[:, None, None]
    fractions = schedules(definition.plan, grid.rows, earlier)
    effects = _compare_effects(definition, grid, method, both, fractions=fractions)
    boundaries = _boundaries(definition.plan, method, fractions, alpha / family)
    blocks = grid.blocks
    guarded = (row for row in grid.rows if row.use.role == "guardrail")
    guardrails = {
        row.metric.key: judge_guardrail(definition, row, _posterior(definition, row, method)) for row in guarded
    }
    for index, row in enumerate(grid.rows):
        steps = _compare_steps(definition, row, method, fractions[index : index + 1])
        for treatment in range(len(row.treatments)):
            watched = method == "sequential" or (method == "group_sequential" and fractions[index, treatment, -1] < 1)
            block = blocks[index, treatment] if watched else None
            yield Line(
                row=row,
                treatment=treatment,
                cell=effects.cell(0, index, treatment),
                simultaneous=effects.cell(1, index, treatment),
                variance_reduction=effects.variance_reduction(index, treatment),
                block=None if block is None else str(block),
                fractions=tuple(fractions[index, treatment][fractions[index, treatment] > 0].tolist()),
                boundary=boundaries[index][treatment],
                steps=tuple(steps.cell(step, treatment) for step in range(len(row.metric.steps))) if steps else (),
                guardrail=guardrails[row.metric.key][treatment] if row.use.role == "guardrail" else None,
            )


def _compare_steps(
    definition: ExperimentDefinition, row: Comparand, method: Method, fractions: NDArray[np.float64]
) -> Comparison | None:
    """How many took each step of a funnel; None for other metrics, and for clusters, whose steps are not known."""
    if row.control.steps is None or row.control.clusters is not None:
        return None
    steps = range(len(row.metric.steps))
    rows = [
        replace(row, control=_at_step(row.control, step), treatments=_all_at(row.treatments, step)) for step in steps
    ]
    grid = next(grids(rows))
    alpha = definition.plan.alpha
    return _compare(definition, grid, method, alpha, fractions=np.repeat(fractions, len(rows), axis=0))


def _all_at(cells: Sequence[ArmCell], step: int) -> tuple[ArmCell, ...]:
    return tuple(_at_step(cell, step) for cell in cells)


def _at_step(cell: ArmCell, step: int) -> ArmCell:
    return replace(cell, nonzero=cell.steps[step] if cell.steps is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effects:
    """Comparisons of a grid at both levels, as they are and, where the plan says so, adjusted by CUPED."""

    plain: Comparison
    adjusted: Comparison | None = None
    reductions: NDArray[np.float64] | None = None

    def cell(self, level: int, row: int, treatment: int) -> ComparisonCell:
        """One comparison, adjusted if it can be."""
        adjusted = self._adjusted(level, row, treatment)
        return self.plain.cell(level, row, treatment) if adjusted is None else adjusted

    def variance_reduction(self, row: int, treatment: int) -> float | None:
        if self.reductions is None or self._adjusted(0, row, treatment) is None:
            return None
        return float(self.reductions[row, treatment])

    def _adjusted(self, level: int, row: int, treatment: int) -> ComparisonCell | None:
        if self.adjusted is None or self.reductions is None or not math.isfinite(self.reductions[row, treatment]):
            return None
        cell = self.adjusted.cell(level, row, treatment)
        return cell if cell.not_computable is None else None


def _compare_effects(
    definition: ExperimentDefinition, grid: Grid, method: Method, alpha: ArrayLike, *, fractions: ArrayLike
) -> _Effects:
    plain = _compare(definition, grid, method, alpha, fractions=fractions)
    if not definition.plan.cuped:
        return _Effects(plain=plain)
    found = adjust_grid(grid)
    adjusted = _compare(definition, found.grid, method, alpha, fractions=fractions)
    return _Effects(plain=plain, adjusted=adjusted, reductions=found.variance_reduction)


def _compare(
    definition: ExperimentDefinition,
    grid: Grid,
    method: Method,
    alpha: ArrayLike,
    *,
    margin: Margin | None = None,
    fractions: ArrayLike = 1.0,
) -> Comparison:
    if method == "fixed":
        return fixed.compare(grid.treatment, grid.control, alpha=alpha)
    if method == "sequential":
        planned = planned_pair_units(definition)
        return sequential.compare(grid.treatment, grid.control, alpha=alpha, planned_units=planned)
    if method == "group_sequential":
        spending = _spending(definition.plan)
        return group_sequential.compare(
            grid.treatment, grid.control, fractions=fractions, alpha=alpha, spending=spending
        )
    scale = prior_scale(definition) or WEAK_PRIOR_SCALE
    # The prior speaks of relative lifts; a control without any value has no scale to put it on. CUPED changes what the
    # data say, not what was believed before, and that is the same for every treatment: so it is put on the plain mean.
    magnitude = np.abs(grid.baseline)
    absolute_scale = scale * np.where(np.isfinite(magnitude) & (magnitude > 0), magnitude, 1.0)
    return normal.compare(
        grid.treatment,
        grid.control,
        prior_scale=absolute_scale,
        alpha=alpha,
        direction=grid.direction,
        margin=margin,
    )


def _posterior(definition: ExperimentDefinition, row: Comparand, method: Method) -> Comparison | None:
    """What a Bayesian view believes about a guardrail and its margin."""
    if method != "bayesian":
        return None
    margin = as_margin(row.use.non_inferiority_margin)
    return _compare(definition, next(grids([row])), method, definition.plan.alpha, margin=margin)


def _spending(plan: AnalysisPlan) -> group_sequential.Spending:
    return group_sequential.Spending(plan.spending or "obrien_fleming")


def _boundaries(
    plan: AnalysisPlan, method: Method, fractions: NDArray[np.float64], alpha: float
) -> list[list[float | None]]:
    """The |z| that decides at this look, by metric and treatment; None where no bound does."""
    if method != "group_sequential":
        return [[None] * fractions.shape[1] for _ in fractions]
    critical = group_sequential.critical_values(fractions, alpha=alpha, spending=_spending(plan))
    return [[optional(value) for value in row] for row in critical]


def _adjust(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Primaries by Bonferroni (Holm beside it), secondaries by Benjamini-Hochberg; guardrails stand alone."""
    # Bonferroni from the comparisons at the family's level, so that it and the simultaneous intervals are one test
    # (a confidence sequence is tuned to its level).
    bonferroni_p = _family(lines, "primary", [line.simultaneous.p_value for line in lines], bonferroni)
    plain = [line.cell.p_value for line in lines]
    holm_p = _family(lines, "primary", plain, holm)
    secondary_p = _family(lines, "secondary", plain, benjamini_hochberg)
    guardrail_p = {
        index: line.guardrail.p_value
        for index, line in enumerate(lines)
        if line.guardrail and line.guardrail.p_value is not None
    }
    adjusted = bonferroni_p | secondary_p | guardrail_p
    return tuple(
        replace(line, adjusted_p_value=adjusted.get(index), holm_p_value=holm_p.get(index))
        for index, line in enumerate(lines)
    )


def _family(
    lines: Sequence[Line],
    role: Role,
    p_values: Sequence[float | None],
    adjust: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> dict[int, float]:
    members = [index for index, line in enumerate(lines) if line.row.use.role == role]
    if not members:
        return {}
    # A cell without a p-value still counts as a member: the family was fixed before the data.
    found = [p_values[index] for index in members]
    adjusted = adjust(np.array([math.nan if p_value is None else p_value for p_value in found]))
    return {index: float(p) for index, p in zip(members, adjusted, strict=True) if math.isfinite(p)}
