"""Results by slices of units, and whether the effect differs between them.

The field names are the public format (``GET /experiments/{key}/results/breakdown``). Nothing here decides: slices are
many, and one of them always looks best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import stats_of
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.metric import Metric
from abplatform.domain.plan import Method
from abplatform.domain.scorecard import ComparisonResult, MetricResult, VariantResult
from abplatform.domain.scoring import score_metrics
from abplatform.stats.heterogeneity import check_heterogeneity
from abplatform.stats.multiplicity import benjamini_hochberg
from abplatform.stats.results import optional


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """One metric in one slice.

    Attributes:
        slice: name of the slice; ``(none)`` for units that have no value of the dimension.
        variants: as in a scorecard.
        comparisons: as in a scorecard, at the plan's alpha; ``adjusted_p_value`` holds over all slices and treatments
            of the metric (false discovery rate), and gives the verdict.
    """

    slice: str
    variants: tuple[VariantResult, ...]
    comparisons: tuple[ComparisonResult, ...]


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
class MetricBreakdown:
    """One metric in all slices of a dimension."""

    metric: str
    kind: str
    role: str
    direction: str
    slices: tuple[SliceResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """All metrics in all slices of a dimension.

    Attributes:
        by: name of the dimension.
        method, alpha: of the comparisons; see `Timeseries.method`.
        differences: one per metric and treatment.
    """

    experiment: str
    phase: int
    by: str
    method: str
    alpha: float
    computed_at: datetime
    data_through: datetime | None
    metrics: tuple[MetricBreakdown, ...]
    differences: tuple[Difference, ...]


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


def break_down(
    definition: ExperimentDefinition,
    metrics: Sequence[Metric],
    aggregation: Aggregation,
    *,
    dimension: str,
    method: Method,
) -> tuple[MetricBreakdown, ...]:
    """Judge every metric in every slice of a dimension.

    Args:
        definition: plan, roles, variants.
        metrics: definitions of the metrics that it uses.
        aggregation: reduced cells, with slices of the dimension.
        dimension: which one.
        method: any but ``group_sequential``, whose bounds are of its looks.
    """
    cells = aggregation.slices[dimension]
    names = list(dict.fromkeys(cell.slice for cell in cells if cell.slice is not None))
    scored = {
        name: score_metrics(definition, metrics, replace(aggregation, cells=cells), method=method, slice_=name)
        for name in names
    }
    results = [[scored[name][position] for name in names] for position in range(len(scored[names[0]]))] if names else []
    return tuple(_metric(definition, names, each) for each in results)


def find_differences(
    definition: ExperimentDefinition, metrics: Sequence[Metric], aggregation: Aggregation
) -> tuple[Difference, ...]:
    """Search all dimensions and metrics for effects that differ: of those found, a share of alpha should be false.

    Args:
        definition: plan and variants.
        metrics: definitions of the metrics that it uses.
        aggregation: reduced cells, with slices of all dimensions to search.
    """
    found = [
        _difference(metric, variant, dimension, _by_place(cells, metric), definition.control)
        for dimension, cells in aggregation.slices.items()
        for metric in _in_order(definition, metrics)
        for variant in definition.treatments
    ]
    p_values = np.array([np.nan if each.p_value is None else each.p_value for each in found])
    adjusted = benjamini_hochberg(p_values) if found else p_values
    alpha = definition.plan.alpha
    return tuple(
        replace(each, adjusted_p_value=optional(p), found=bool(p <= alpha))
        for each, p in zip(found, adjusted, strict=True)
    )


def _metric(definition: ExperimentDefinition, names: Sequence[str], results: Sequence[MetricResult]) -> MetricBreakdown:
    p_values = [[each.p_value for each in result.comparisons] for result in results]
    table = np.array([[np.nan if p is None else p for p in row] for row in p_values], dtype=np.float64)
    adjusted = benjamini_hochberg(table.ravel()).reshape(table.shape)
    return MetricBreakdown(
        metric=results[0].metric,
        kind=results[0].kind,
        role=results[0].role,
        direction=results[0].direction,
        slices=tuple(
            SliceResult(
                slice=name,
                variants=result.variants,
                comparisons=tuple(
                    _in_slice(each, result, optional(p), definition.plan.alpha)
                    for each, p in zip(result.comparisons, row, strict=True)
                ),
            )
            for name, result, row in zip(names, results, adjusted, strict=True)
        ),
    )


def _in_slice(comparison: ComparisonResult, result: MetricResult, p: float | None, alpha: float) -> ComparisonResult:
    """A comparison as one of many: exploratory, and judged by the p-value that counts how many there are."""
    verdict = comparison.verdict
    if comparison.p_value is not None and verdict != "not_computable":
        effect = (comparison.absolute.estimate or 0.0) * (1 if result.direction == "increase" else -1)
        verdict = "inconclusive" if p is None or p >= alpha else "better" if effect > 0 else "worse"
    return replace(
        comparison, simultaneous=None, holm_p_value=None, adjusted_p_value=p, exploratory=True, verdict=verdict
    )


def _in_order(definition: ExperimentDefinition, metrics: Sequence[Metric]) -> Iterator[Metric]:
    by_key = {metric.key: metric for metric in metrics}
    return (by_key[use.metric] for use in definition.metrics)


def _by_place(cells: Sequence[ArmCell], metric: Metric) -> Mapping[tuple[str, str], ArmCell]:
    return {(cell.slice or "", cell.variant): cell for cell in cells if cell.name == metric.key}


def _difference(
    metric: Metric, variant: str, dimension: str, cells: Mapping[tuple[str, str], ArmCell], control: str
) -> Difference:
    slices = list(dict.fromkeys(slice_ for slice_, _ in cells))
    rows = [[cells[slice_, arm] for slice_ in slices] for arm in (variant, control)]
    reduce = stats_of(metric, rows[0][0])
    found = check_heterogeneity(reduce([rows[0]]), reduce([rows[1]]))
    reason = found.not_computable[0]
    return Difference(
        dimension=dimension,
        metric=metric.key,
        variant=variant,
        slices=int(found.groups[0]),
        p_value=optional(found.p_value[0]),
        adjusted_p_value=None,
        found=False,
        share=optional(found.share[0]),
        not_computable=None if reason is None else str(reason),
    )
