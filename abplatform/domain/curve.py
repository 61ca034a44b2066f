"""The curve of a metric over the days since the first exposure.

The field names are the public format (``GET /experiments/{key}/results/curve``). Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import stats_of
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.horizons import Cohort, Horizons, View
from abplatform.domain.metric import Metric
from abplatform.domain.plan import Method
from abplatform.domain.scorecard import ComparisonResult, Interval, IntervalKind, MetricResult, VariantResult
from abplatform.domain.scoring import exact_text, score_metrics
from abplatform.stats.levels import level_interval, level_sequence
from abplatform.stats.results import optional

FEW_FOLLOWED = "FEW_FOLLOWED"
_LEAST_FOLLOWED = 1 / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveVariant:
    """One variant at one horizon.

    Attributes:
        units: followed until the horizon: these are analysed.
        open_units, open_share: units that have not been followed for so long yet, and their share.
        sum: exact sum of their values, as decimal text; ``denominator_sum`` that below the line of a ratio.
        value: per exposed unit (rate, mean) or the ratio, with the variant's own interval; without bounds where nothing
            varies.
        uncapped_mean: of a capped metric: per unit, of the values as they are.
    """

    variant: str
    units: int
    open_units: int
    open_share: float | None
    sum: str
    denominator_sum: str | None
    value: Interval
    uncapped_mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveComparison:
    """One treatment against the control at one horizon.

    Attributes:
        absolute, relative, interval_kind, p_value, variance_reduction, not_computable, warnings: as in a scorecard, at
            the phase's alpha, for this horizon alone.
        adjusted_p_value: over all horizons and treatments of the curve (false discovery rate).
    """

    variant: str
    control: str
    absolute: Interval
    relative: Interval
    interval_kind: IntervalKind
    p_value: float | None
    adjusted_p_value: float | None
    variance_reduction: float | None
    not_computable: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """All variants at one horizon.

    Attributes:
        from_day, day: what happened from when to when after the first exposure counts: ``from_day <= delay < day``.
        units: of all variants, followed until then.
        followed_share: share of all units that they are; null without units.
        warnings: ``FEW_FOLLOWED`` where they are less than half: those who came early, who may be others than those who
            came late.
    """

    from_day: int
    day: int
    units: int
    followed_share: float | None
    warnings: tuple[str, ...]
    variants: tuple[CurveVariant, ...]
    comparisons: tuple[CurveComparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric by days since the first exposure.

    Attributes:
        view: ``cumulative`` (everything until a horizon) or ``daily`` (what came between one horizon and the next).
        cohort: whose values: ``followed`` (at each horizon all units followed until then) or ``same`` (at all horizons
            those followed until the last).
        calendar: whether days are those of the project's calendar, as the metric has them.
        cap: the most that a unit counts for at any point, as decimal text; null where there is none.
        method: of the comparisons, see `Timeseries.method`; ``interval_kind``: of the variants' own intervals.
        alpha: error rate of each interval by itself.
        points: the earliest horizon first.
    """

    experiment: str
    phase: int
    metric: str
    kind: str
    direction: str
    view: View
    cohort: Cohort
    calendar: bool
    cap: str | None
    method: str
    interval_kind: IntervalKind
    alpha: float
    computed_at: datetime
    data_through: datetime | None
    points: tuple[CurvePoint, ...]


def score_curve(
    definition: ExperimentDefinition,
    metrics: Sequence[Metric],
    aggregation: Aggregation,
    *,
    horizons: Horizons,
    method: Method,
) -> tuple[CurvePoint, ...]:
    """Judge every point of a curve.

    Args:
        definition: see `horizons.definition_of_curve`.
        metrics: see `horizons.metrics_of_curve`.
        aggregation: reduced cells of these.
        horizons: of the curve.
        method: any but ``group_sequential``, whose bounds are of its looks.
    """
    cells = {(cell.name, cell.variant): cell for cell in aggregation.cells}
    results = score_metrics(definition, metrics, aggregation, method=method)
    return tuple(
        _point(
            span,
            result,
            {
                variant.variant: _level(definition, metric, cells[metric.key, variant.variant], method)
                for variant in result.variants
            },
        )
        for span, metric, result in zip(horizons.spans, metrics, results, strict=True)
    )


def until_last_followed(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """The points until the last one to which a unit has been followed, and at least the first one."""
    followed = [index for index, point in enumerate(points) if point.units]
    return tuple(points[: max(followed, default=0) + 1])


def text_of_cap(metric: Metric) -> str | None:
    """The most that a unit counts for, as decimal text."""
    return None if metric.cap is None or metric.cap.value is None else exact_text(metric.cap.value)


def kind_of_levels(method: Method) -> IntervalKind:
    """Of the variants' own intervals: no prior is on them, so that a Bayesian plan has none of its own."""
    return "confidence_sequence" if method == "sequential" else "fixed"


def _level(definition: ExperimentDefinition, metric: Metric, cell: ArmCell, method: Method) -> Interval:
    arm, alpha = stats_of(metric, cell)([[cell]]), definition.plan.alpha
    if kind_of_levels(method) == "fixed":
        found = level_interval(arm, alpha=alpha)
    else:
        weights = {variant.key: float(variant.weight) for variant in definition.variants}
        planned = definition.plan.planned_members * weights[cell.variant] / sum(weights.values())
        found = level_sequence(arm, planned_units=planned, alpha=alpha)
    estimate, lower, upper = (optional(float(each[0, 0])) for each in (found.estimate, found.lower, found.upper))
    return Interval(estimate=estimate, lower=lower, upper=upper)


def _point(span: tuple[int, int], result: MetricResult, levels: Mapping[str, Interval]) -> CurvePoint:
    units = sum(variant.units for variant in result.variants)
    everybody = units + sum(variant.open_units for variant in result.variants)
    share = units / everybody if everybody else None
    return CurvePoint(
        from_day=span[0],
        day=span[1],
        units=units,
        followed_share=share,
        warnings=(FEW_FOLLOWED,) if share is not None and share < _LEAST_FOLLOWED else (),
        variants=tuple(_variant(variant, levels[variant.variant]) for variant in result.variants),
        comparisons=tuple(_comparison(each) for each in result.comparisons),
    )


def _variant(result: VariantResult, level: Interval) -> CurveVariant:
    return CurveVariant(
        variant=result.variant,
        units=result.units,
        open_units=result.open_units,
        open_share=result.open_share,
        sum=result.sum,
        denominator_sum=result.denominator_sum,
        value=level if result.units else Interval(estimate=None, lower=None, upper=None),
        uncapped_mean=result.uncapped_mean,
    )


def _comparison(result: ComparisonResult) -> CurveComparison:
    return CurveComparison(
        variant=result.variant,
        control=result.control,
        absolute=result.absolute,
        relative=result.relative,
        interval_kind=result.interval_kind,
        p_value=result.p_value,
        adjusted_p_value=result.adjusted_p_value,
        variance_reduction=result.variance_reduction,
        not_computable=result.not_computable,
        warnings=result.warnings,
    )
