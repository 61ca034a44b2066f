"""Results by day: what looks at the end of each day would have found.

The field names are the public format (``GET /experiments/{key}/results/timeseries``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.metric import Metric
from abplatform.domain.plan import Method
from abplatform.domain.scorecard import ComparisonResult, MetricResult, VariantResult
from abplatform.domain.scoring import score_metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """One metric at the end of one day, in UTC.

    Attributes:
        day: the day.
        variants, comparisons: as in a scorecard.
    """

    day: date
    variants: tuple[VariantResult, ...]
    comparisons: tuple[ComparisonResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """One metric on all days, the first one first.

    Attributes:
        always_valid: whether its intervals hold for all days together, so that the first one without 0 may be believed.
    """

    metric: str
    kind: str
    role: str
    direction: str
    always_valid: bool
    days: tuple[DayResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeseries:
    """Cumulative results by day; nothing of it is recorded, or decides anything.

    Attributes:
        method: that of the plan, if that may be watched; else ``sequential``, or ``fixed`` where clusters were
            randomised and no number of them was planned.
        alpha: of the phase.
        computed_at: when; ``data_through``: latest receipt of an event that it has seen.
        metrics: those that can be taken apart by day: rates, counts and sums.
    """

    experiment: str
    phase: int
    method: str
    alpha: float
    computed_at: datetime
    data_through: datetime | None
    metrics: tuple[MetricSeries, ...]


def score_days(
    definition: ExperimentDefinition, metrics: Sequence[Metric], aggregation: Aggregation, *, method: Method
) -> tuple[MetricSeries, ...]:
    """Judge every metric of an experiment on every day.

    Args:
        definition: plan, roles, variants.
        metrics: definitions of the metrics that it uses.
        aggregation: reduced cells, with days.
        method: any but ``group_sequential``, whose bounds are of its looks.
    """
    days = [
        (each.day, score_metrics(definition, metrics, replace(aggregation, cells=each.cells), method=method))
        for each in aggregation.days
    ]
    return tuple(
        MetricSeries(
            metric=result.metric,
            kind=result.kind,
            role=result.role,
            direction=result.direction,
            always_valid=result.always_valid,
            days=tuple(_day(day, results[position]) for day, results in days),
        )
        for position, result in enumerate(days[-1][1] if days else ())
    )


def _day(day: date, result: MetricResult) -> DayResult:
    return DayResult(day=day, variants=result.variants, comparisons=result.comparisons)
