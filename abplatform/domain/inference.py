"""From reduced cells to judged comparisons: the plan's method, its guards, its families, its verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.arms import Comparand, Grid, grids
from abplatform.domain.experiment import Amount, ExperimentDefinition, Role, prior_scale
from abplatform.domain.plan import Method
from abplatform.stats import ArmStats, Comparison, ComparisonCell, Margin, NonInferiority, fixed, sequential
from abplatform.stats.bayes import normal
from abplatform.stats.multiplicity import benjamini_hochberg, bonferroni, holm

WEAK_PRIOR_SCALE = 1.0
"""Prior of an exploratory Bayesian view where the plan names none: lifts of 100% either way are ordinary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailCell:
    """The always-valid one-sided tests of a guardrail.

    Attributes:
        non_inferior: harm beyond the margin is excluded; ``p_value`` of that test.
        harmful: the treatment is worse than the control, by however little. Rates are watched by counts alone, from
            the first event on; sums by an asymptotic sequence, which has to wait for its guard.
        block: why an asymptotic sequence may not speak yet, or None.
        worse_than_margin: posterior probability of harm beyond the margin; of Bayesian results only.
    """

    non_inferior: bool
    harmful: bool
    p_value: float | None
    block: str | None
    worse_than_margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric of one treatment against the control, with everything that a verdict needs.

    Attributes:
        row: the metric and its cells.
        treatment: index of the treatment in ``row.treatments``.
        cell: unadjusted, at the plan's alpha.
        simultaneous: at the level that holds for all primaries and treatments together.
        block: why an asymptotic sequence may not speak of efficacy yet, or None.
        guardrail: of guardrails only.
        adjusted_p_value, holm_p_value: within the family of the role.
    """

    row: Comparand
    treatment: int
    cell: ComparisonCell
    simultaneous: ComparisonCell
    block: str | None
    guardrail: GuardrailCell | None
    adjusted_p_value: float | None = None
    holm_p_value: float | None = None


def compare_all(definition: ExperimentDefinition, rows: Sequence[Comparand], *, method: Method) -> tuple[Line, ...]:
    """Compare every treatment with the control on every metric.

    Args:
        definition: plan, roles, weights.
        rows: the metrics with their cells.
        method: the plan's, or another one to look at.

    Returns:
        Lines in the order of ``rows``, treatments within.
    """
    lines = [line for grid in grids(rows) for line in _compare_grid(definition, grid, method)]
    order = {row.metric.key: position for position, row in enumerate(rows)}
    lines.sort(key=lambda line: (order[line.row.metric.key], line.treatment))
    return _adjust(lines)


def _compare_grid(definition: ExperimentDefinition, grid: Grid, method: Method) -> Iterator[Line]:
    family = max(1, len(definition.uses("primary")) * len(definition.treatments))
    plain = _compare(definition, grid, method, definition.plan.alpha)
    together = _compare(definition, grid, method, definition.plan.alpha / family)
    blocks = sequential.efficacy_guard(grid.counts, grid.rarer)
    guarded = (row for row in grid.rows if row.use.role == "guardrail")
    guardrails = {row.metric.key: _guard(definition, row, method) for row in guarded}
    for index, row in enumerate(grid.rows):
        for treatment in range(len(row.treatments)):
            block = blocks[index, treatment] if method == "sequential" else None
            yield Line(
                row=row,
                treatment=treatment,
                cell=plain.cell(index, treatment),
                simultaneous=together.cell(index, treatment),
                block=None if block is None else str(block),
                guardrail=guardrails[row.metric.key][treatment] if row.use.role == "guardrail" else None,
            )


def _compare(
    definition: ExperimentDefinition, grid: Grid, method: Method, alpha: float, *, margin: Margin | None = None
) -> Comparison:
    if method == "fixed":
        return fixed.compare(grid.treatment, grid.control, alpha=alpha)
    if method == "sequential":
        planned = planned_pair_units(definition)
        return sequential.compare(grid.treatment, grid.control, alpha=alpha, planned_units=planned)
    scale = prior_scale(definition) or WEAK_PRIOR_SCALE
    # The prior speaks of relative lifts; a control without any value has no scale to put it on.
    magnitude = np.abs(grid.control.estimate)
    absolute_scale = scale * np.where(np.isfinite(magnitude) & (magnitude > 0), magnitude, 1.0)
    return normal.compare(
        grid.treatment,
        grid.control,
        prior_scale=absolute_scale,
        alpha=alpha,
        direction=grid.direction,
        margin=margin,
    )


def planned_pair_units(definition: ExperimentDefinition) -> NDArray[np.float64]:
    """Planned analysed units of each treatment together with the control, by the variants' weights."""
    weights = {variant.key: float(variant.weight) for variant in definition.variants}
    pair = np.array([weights[variant] + weights[definition.control] for variant in definition.treatments])
    return np.asarray(definition.plan.planned_units * pair / sum(weights.values()), dtype=np.float64)


def as_margin(amount: Amount) -> Margin:
    """A margin of the plan as inference takes it."""
    if amount.relative is not None:
        return Margin(amount.relative, relative=True)
    if amount.absolute is None:
        raise ValueError("amount must have either relative or absolute")
    return Margin(amount.absolute)


def _guard(definition: ExperimentDefinition, row: Comparand, method: Method) -> tuple[GuardrailCell, ...]:
    if row.use.non_inferiority_margin is None:
        raise ValueError("a guardrail must have a margin")
    grid, margin = next(grids([row])), as_margin(row.use.non_inferiority_margin)
    safe = _one_sided(definition, grid, grid.treatment, grid.control, margin)
    blocks = sequential.efficacy_guard(grid.counts, grid.rarer)[0]
    harm = _harm_p_values(definition, row, grid, waits=blocks != None)  # noqa: E711 - element by element
    worse: list[float | None] = [None] * len(row.treatments)
    if method == "bayesian":
        posterior = _compare(definition, grid, method, definition.plan.alpha, margin=margin)
        worse = [posterior.cell(0, index).probability_worse_than_margin for index in range(len(row.treatments))]
    return tuple(
        GuardrailCell(
            non_inferior=bool(safe.non_inferior[0, index]) and block is None,
            harmful=bool(harm[index] < definition.plan.alpha),
            p_value=float(safe.p_value[0, index]) if np.isfinite(safe.p_value[0, index]) else None,
            block=None if block is None else str(block),
            worse_than_margin=worse[index],
        )
        for index, block in enumerate(blocks)
    )


def _harm_p_values(
    definition: ExperimentDefinition, row: Comparand, grid: Grid, *, waits: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Always-valid one-sided p-values of "worse than the control"; NaN where none can be given yet."""
    if row.metric.kind == "conversion":
        good = [[cell.nonzero for cell in row.treatments], [row.control.nonzero] * len(row.treatments)]
        hits, rest = np.array(good)
        share = planned_shares(definition)
        if row.metric.direction == "decrease":
            return sequential.harm_p_value(hits, rest, share=share)
        # Fewer of a good thing: the control is the arm with too many.
        return sequential.harm_p_value(rest, hits, share=1 - share)
    harm = _one_sided(definition, grid, grid.control, grid.treatment, Margin(0.0))
    return np.where(waits, np.nan, harm.p_value[0])


def planned_shares(definition: ExperimentDefinition) -> NDArray[np.float64]:
    """Planned share of each treatment among the units of it and the control."""
    weights = {variant.key: float(variant.weight) for variant in definition.variants}
    control = weights[definition.control]
    return np.array([weights[variant] / (weights[variant] + control) for variant in definition.treatments])


def _one_sided(
    definition: ExperimentDefinition, grid: Grid, better: ArmStats, than: ArmStats, margin: Margin
) -> NonInferiority:
    return sequential.non_inferiority(
        better,
        than,
        margin=margin,
        planned_units=planned_pair_units(definition),
        alpha=definition.plan.alpha,
        direction=grid.direction,
    )


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
