"""Results by slices of units.

The field names are the public format (``GET /experiments/{key}/results/breakdown``). Nothing here decides: slices are
many, and one of them always looks best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.differences import Difference, slices_of
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.metric import Metric
from abplatform.domain.plan import Method
from abplatform.domain.scorecard import ComparisonResult, MetricResult, VariantResult, Verdict
from abplatform.domain.scoring import score_metrics
from abplatform.stats.multiplicity import benjamini_hochberg
from abplatform.stats.results import optional
from abplatform.stats.sequential import EfficacyBlock

_PLANNED = "PLANNED_UNITS_NOT_REACHED"
_WAITS = frozenset({_PLANNED, "MINIMUM_UNITS_NOT_REACHED", *map(str, EfficacyBlock)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """One metric in one slice.

    Attributes:
        slice: name of the slice; ``(none)`` for units that have no value of the dimension.
        variants: as in a scorecard.
        comparisons: as in a scorecard, at the plan's alpha; ``adjusted_p_value`` holds over all slices and treatments
            of the metric (false discovery rate), and gives the verdict: of guardrails that of the difference itself,
            whatever their margin.
    """

    slice: str
    variants: tuple[VariantResult, ...]
    comparisons: tuple[ComparisonResult, ...]


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


def break_down(
    definition: ExperimentDefinition,
    metrics: Sequence[Metric],
    aggregation: Aggregation,
    *,
    dimension: str,
    method: Method,
) -> tuple[MetricBreakdown, ...]:
    """Judge every metric in every slice of a dimension; without any unit there is no slice.

    Args:
        definition: plan, roles, variants.
        metrics: definitions of the metrics that it uses.
        aggregation: reduced cells, with slices of the dimension.
        dimension: which one.
        method: any but ``group_sequential``, whose bounds are of its looks.
    """
    sliced = replace(aggregation, cells=aggregation.slices[dimension])
    names = slices_of(aggregation, dimension)
    whole = score_metrics(definition, metrics, aggregation, method=method)
    scored = [score_metrics(definition, metrics, sliced, method=method, slice_=name) for name in names]
    return tuple(
        _metric(definition, result, {name: each[position] for name, each in zip(names, scored, strict=True)})
        for position, result in enumerate(whole)
    )


def _metric(
    definition: ExperimentDefinition, whole: MetricResult, slices: Mapping[str, MetricResult]
) -> MetricBreakdown:
    p_values = [[each.p_value for each in result.comparisons] for result in slices.values()]
    table = np.array([[np.nan if p is None else p for p in row] for row in p_values], dtype=np.float64)
    adjusted = benjamini_hochberg(table.ravel()).reshape(table.shape) if slices else table
    return MetricBreakdown(
        metric=whole.metric,
        kind=whole.kind,
        role=whole.role,
        direction=whole.direction,
        slices=tuple(
            SliceResult(
                slice=name,
                variants=result.variants,
                comparisons=tuple(
                    _in_slice(each, of_all, result, adjusted_p_value=optional(p), alpha=definition.plan.alpha)
                    for each, of_all, p in zip(result.comparisons, whole.comparisons, row, strict=True)
                ),
            )
            for (name, result), row in zip(slices.items(), adjusted, strict=True)
        ),
    )


def _in_slice(
    comparison: ComparisonResult,
    whole: ComparisonResult,
    result: MetricResult,
    *,
    adjusted_p_value: float | None,
    alpha: float,
) -> ComparisonResult:
    """A comparison as one of many: exploratory, and judged by the p-value that counts how many there are."""
    # A plan counts the units of all slices; and margins are promises about all units.
    own = [code for code in comparison.warnings if code not in {_PLANNED, "WORSE_WITHIN_MARGIN"}]
    shown = replace(
        comparison,
        adjusted_p_value=adjusted_p_value,
        holm_p_value=None,
        simultaneous=None,
        margin=None,
        probability_worse_than_margin=None,
        exploratory=True,
        warnings=(*own, *(code for code in whole.warnings if code == _PLANNED)),
    )
    return replace(shown, verdict=_verdict(shown, result, alpha))


def _verdict(comparison: ComparisonResult, result: MetricResult, alpha: float) -> Verdict:
    if comparison.not_computable is not None:
        return "not_computable"
    if comparison.p_value is None and result.role != "guardrail":  # Bayesian: its posterior has judged it.
        return comparison.verdict
    p = comparison.adjusted_p_value
    if p is None or p >= alpha or not _WAITS.isdisjoint(comparison.warnings):
        return "inconclusive"
    effect = comparison.absolute.estimate or 0.0
    return "better" if (effect > 0) == (result.direction == "increase") else "worse"
