"""Whether the effect of a treatment differs between slices of units, and the search for where it does.

The field names are the public format (``GET /experiments/{key}/results/differences``). Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from abplatform.domain.adjustment import adjust_grid
from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_stats import stats_of
from abplatform.domain.arms import Comparand, Grid, comparands
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.metric import Metric
from abplatform.stats import ArmStats
from abplatform.stats.heterogeneity import Heterogeneity, check_heterogeneity
from abplatform.stats.multiplicity import benjamini_hochberg
from abplatform.stats.results import NotComputable, optional


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Whether the effect of a treatment on a metric differs between the slices of a dimension.

    Attributes:
        dimension, metric, variant: what is asked about.
        slices: how many are large enough to be compared.
        p_value: of equal effects in all slices.
        adjusted_p_value: over all that was asked at once (false discovery rate).
        found: whether it differs, at the plan's alpha after the adjustment.
        share: of the variation between the slices' effects that is not chance.
        not_computable: why there are no numbers, or null.
    """

    dimension: str
    metric: str
    variant: str
    slices: int
    p_value: float | None
    adjusted_p_value: float | None
    found: bool
    share: float | None
    not_computable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What a search for effects that differ has found, the surest first.

    Attributes:
        alpha: of those that are ``found``, at most this share is expected to be false.
        differences: one per dimension, metric and treatment.
    """

    experiment: str
    phase: int
    alpha: float
    computed_at: datetime
    data_through: datetime | None
    differences: tuple[Difference, ...]


def find_differences(
    definition: ExperimentDefinition, metrics: Sequence[Metric], aggregation: Aggregation
) -> tuple[Difference, ...]:
    """Search all dimensions and metrics for effects that differ: of those found, a share of alpha should be false.

    Effects are absolute ones, and adjusted by CUPED where those of the slices are.

    Args:
        definition: plan and variants.
        metrics: definitions of the metrics that it uses.
        aggregation: reduced cells, with slices of all dimensions to search.
    """
    found = [each for dimension in aggregation.slices for each in _compare(definition, metrics, aggregation, dimension)]
    p_values = np.array([np.nan if each.p_value is None else each.p_value for each in found])
    adjusted = benjamini_hochberg(p_values) if found else p_values
    alpha = definition.plan.alpha
    return tuple(
        replace(each, adjusted_p_value=optional(p), found=bool(p < alpha))
        for each, p in zip(found, adjusted, strict=True)
    )


def slices_of(aggregation: Aggregation, dimension: str) -> list[str]:
    """Names of the slices of a dimension, as the engine has ordered them."""
    return list(dict.fromkeys(cell.slice for cell in aggregation.slices[dimension] if cell.slice is not None))


def _compare(
    definition: ExperimentDefinition, metrics: Sequence[Metric], aggregation: Aggregation, dimension: str
) -> Iterator[Difference]:
    """The effects on each metric in the slices of one dimension."""
    sliced = replace(aggregation, cells=aggregation.slices[dimension])
    names = slices_of(aggregation, dimension)
    slices = [comparands(definition, metrics, sliced, slice_=name) for name in names]
    for position, row in enumerate(comparands(definition, metrics, aggregation)):
        rows = [each[position] for each in slices]
        found = check_heterogeneity(*_arms(definition, rows), axis=0) if rows else None
        for treatment, variant in enumerate(definition.treatments):
            yield _difference(found, treatment, dimension=dimension, metric=row.metric.key, variant=variant)


def _arms(definition: ExperimentDefinition, rows: Sequence[Comparand]) -> tuple[ArmStats, ArmStats]:
    """Treatments and control of one metric in all slices, of shape (slices, treatments) and one that fits it."""
    first = rows[0]
    reduce = stats_of(first.metric, *(cell for row in rows for cell in (row.control, *row.treatments)))
    treatment, control = reduce([row.treatments for row in rows]), reduce([[row.control] for row in rows])
    if not definition.plan.cuped or first.use.role == "guardrail" or not first.metric.has_covariate:
        return treatment, control
    grid = Grid(
        rows=tuple(rows),
        direction=first.metric.direction,
        treatment=treatment,
        control=control,
        baseline=control.estimate,
    )
    adjusted = adjust_grid(grid)
    if np.isnan(adjusted.variance_reduction).all():  # in no slice does the past tell units apart
        return treatment, control
    return adjusted.grid.treatment, adjusted.grid.control


def _difference(
    found: Heterogeneity | None, treatment: int, *, dimension: str, metric: str, variant: str
) -> Difference:
    reason = NotComputable.TOO_FEW_GROUPS if found is None else found.not_computable[treatment]
    return Difference(
        dimension=dimension,
        metric=metric,
        variant=variant,
        slices=0 if found is None else int(found.groups[treatment]),
        p_value=None if found is None else optional(found.p_value[treatment]),
        adjusted_p_value=None,
        found=False,
        share=None if found is None else optional(found.share[treatment]),
        not_computable=None if reason is None else str(reason),
    )
