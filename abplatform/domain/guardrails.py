"""Is a guardrail safe, is it harmed? Tests that may be read at every look, whatever the plan's method.

Rates are judged by exact e-processes from counts, which need no guard; sums by asymptotic sequences, which have to
wait for theirs. So is everything of clusters: their members do not come one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arms import Comparand, Grid, grids
from abplatform.domain.experiment import Amount, ExperimentDefinition
from abplatform.stats import ArmStats, Comparison, Margin, NonInferiority, ProportionStats, sequential
from abplatform.stats.results import optional


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailCell:
    """The always-valid one-sided tests of a guardrail.

    Attributes:
        non_inferior: harm beyond the margin is excluded; ``p_value`` of that test.
        harmful: the treatment is worse than the control, by however little.
        block: why an asymptotic sequence may not speak yet, or None.
        worse_than_margin: posterior probability of harm beyond the margin; of Bayesian results only.
    """

    non_inferior: bool
    harmful: bool
    p_value: float | None
    block: str | None
    worse_than_margin: float | None


def judge_guardrail(
    definition: ExperimentDefinition, row: Comparand, posterior: Comparison | None
) -> tuple[GuardrailCell, ...]:
    """Judge one guardrail in every treatment.

    Args:
        definition: plan and weights.
        row: the guardrail with its cells.
        posterior: of Bayesian results.
    """
    grid, all_units = next(grids([row])), next(grids([_with_all_units(row)]))
    test = _watch_counts if isinstance(grid.treatment, ProportionStats) else _watch_means
    safe, harm, blocks = test(definition, grid, all_units, as_margin(row.use.non_inferiority_margin))
    return tuple(
        GuardrailCell(
            non_inferior=bool(safe.non_inferior[0, index]) and block is None,
            harmful=bool(harm[0, index] < definition.plan.alpha),
            p_value=optional(safe.p_value[0, index]),
            block=None if block is None else str(block),
            worse_than_margin=None if posterior is None else posterior.cell(0, index).probability_worse_than_margin,
        )
        for index, block in enumerate(blocks)
    )


def _with_all_units(row: Comparand) -> Comparand:
    """The guardrail with what all units have brought so far, as far as an engine gave that.

    Both arms have followed their units equally long, so that harm shows before windows close.
    """
    return replace(row, control=_watched(row.control), treatments=tuple(map(_watched, row.treatments)))


def _watched(cell: ArmCell) -> ArmCell:
    seen = cell.watch
    if seen is None:
        return cell
    now = {field.name: getattr(seen, field.name) for field in fields(seen)}
    return replace(cell, **now, m3=None, uncapped=None, watch=None)


_Tests = tuple[NonInferiority, NDArray[np.float64], NDArray[np.object_]]
"""The test against the margin, p-values of harm (NaN where none can be given yet), and why to wait."""


def _watch_counts(definition: ExperimentDefinition, grid: Grid, all_units: Grid, margin: Margin) -> _Tests:
    treatment, control = _rates(grid)
    now, now_control = _rates(all_units)
    share = planned_shares(definition)
    safe = sequential.count_non_inferiority(
        treatment,
        control,
        margin=margin,
        share=share,
        planned_units=planned_pair_units(definition),
        alpha=definition.plan.alpha,
        direction=grid.direction,
    )
    harm = (
        sequential.harm_p_value(now.successes, now_control.successes, share=share)
        if grid.direction == "decrease"
        # Fewer of a good thing: the control is the arm with too many.
        else sequential.harm_p_value(now_control.successes, now.successes, share=1 - share)
    )
    return safe, harm, np.full(len(definition.treatments), None, dtype=object)


def _watch_means(definition: ExperimentDefinition, grid: Grid, all_units: Grid, margin: Margin) -> _Tests:
    blocks = grid.blocks[0]
    safe = _one_sided(definition, grid, grid.treatment, grid.control, margin)
    harm = _one_sided(definition, all_units, all_units.control, all_units.treatment, Margin(0.0))
    waits = np.array([block is not None for block in all_units.blocks[0]])
    return safe, np.where(waits, np.nan, harm.p_value), blocks


def _rates(grid: Grid) -> tuple[ProportionStats, ProportionStats]:
    if not isinstance(grid.treatment, ProportionStats) or not isinstance(grid.control, ProportionStats):
        raise TypeError("grid must hold rates")
    return grid.treatment, grid.control


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


def as_margin(amount: Amount | None) -> Margin:
    """A margin of the plan as inference takes it."""
    if amount is not None and amount.relative is not None:
        return Margin(amount.relative, relative=True)
    if amount is None or amount.absolute is None:
        raise ValueError("amount must have either relative or absolute")
    return Margin(amount.absolute)


def planned_pair_units(definition: ExperimentDefinition) -> NDArray[np.float64]:
    """Planned analysed units (or clusters) of each treatment together with the control, by the variants' weights."""
    weights = {variant.key: float(variant.weight) for variant in definition.variants}
    pair = np.array([weights[variant] + weights[definition.control] for variant in definition.treatments])
    return np.asarray(definition.plan.planned_members * pair / sum(weights.values()), dtype=np.float64)


def planned_shares(definition: ExperimentDefinition) -> NDArray[np.float64]:
    """Planned share of each treatment among the units of it and the control."""
    weights = {variant.key: float(variant.weight) for variant in definition.variants}
    control = weights[definition.control]
    return np.array([weights[variant] / (weights[variant] + control) for variant in definition.treatments])
