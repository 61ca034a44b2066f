"""From judged comparisons to the public result of a metric: verdicts, warnings, exact sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from abplatform.domain.aggregates import Aggregation
from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arm_stats import estimate_of
from abplatform.domain.arms import Comparand, comparands
from abplatform.domain.experiment import Amount, ExperimentDefinition
from abplatform.domain.inference import Line, compare_all
from abplatform.domain.information import Fractions, analysed_units, information_fraction
from abplatform.domain.metric import VALUED, Metric
from abplatform.domain.plan import AnalysisPlan, Method
from abplatform.domain.scorecard import (
    ComparisonResult,
    FunnelStep,
    Interval,
    Margin,
    MetricResult,
    StepComparison,
    VariantResult,
    Verdict,
)
from abplatform.stats import EffectCell


def score_metrics(
    definition: ExperimentDefinition,
    metrics: Sequence[Metric],
    aggregation: Aggregation,
    *,
    method: Method,
    slice_: str | None = None,
    earlier: Fractions | None = None,
) -> tuple[MetricResult, ...]:
    """Judge every metric of an experiment.

    Args:
        definition: plan, roles, variants.
        metrics: definitions of the metrics that it uses.
        aggregation: reduced cells.
        method: the plan's own, or another one, whose comparisons are marked exploratory.
        slice_: which slice of the cells.
        earlier: information fractions at the looks before; group sequential tests build on them.
    """
    rows = comparands(definition, metrics, aggregation, slice_=slice_)
    lines = compare_all(definition, rows, method=method, earlier=earlier or {})
    return tuple(
        MetricResult(
            metric=row.metric.key,
            kind=row.metric.kind,
            role=row.use.role,
            direction=row.metric.direction,
            always_valid=_always_valid(row, method),
            variants=_variants(definition, row),
            comparisons=tuple(_comparison(definition, line, method) for line in lines if line.row is row),
            version=row.use.version,
        )
        for row in rows
    )


def _always_valid(row: Comparand, method: Method) -> bool:
    return (method == "sequential" or row.use.role == "guardrail") and row.metric.window is not None


def _variants(definition: ExperimentDefinition, row: Comparand) -> tuple[VariantResult, ...]:
    cells = {cell.variant: cell for cell in (row.control, *row.treatments)}
    return tuple(_variant(row.metric, cells[variant.key]) for variant in definition.variants)


def _variant(metric: Metric, cell: ArmCell) -> VariantResult:
    counted = cell.nonzero if metric.kind == "time_to" else cell.units
    return VariantResult(
        variant=cell.variant,
        units=cell.units,
        open_units=cell.open_units,
        sum=exact_text(cell.total),
        mean=cell.mean if counted else None,
        sd=math.sqrt(cell.m2 / (counted - 1)) if counted > 1 else None,
        value=estimate_of(metric, cell) if metric.kind in VALUED else None,
        denominator_sum=None if cell.denominator is None else exact_text(cell.denominator.total),
        clusters=cell.clusters,
        uncapped_mean=float(cell.uncapped.total / cell.units) if cell.uncapped is not None and cell.units else None,
        steps=_steps(metric, cell),
        open_share=_share(cell.open_units, cell.units + cell.open_units),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _steps(metric: Metric, cell: ArmCell) -> tuple[FunnelStep, ...] | None:
    if cell.steps is None:
        return None
    before = (cell.units, *cell.steps)
    return tuple(
        FunnelStep(
            event=step.event,
            units=taken,
            rate=taken / cell.units if cell.units else None,
            rate_of_previous=taken / previous if previous else None,
        )
        for step, taken, previous in zip(metric.steps, cell.steps, before, strict=False)
    )


def exact_text(amount: Decimal) -> str:
    """An exact amount without needless zeros.

    >>> exact_text(Decimal("1001.000000")), exact_text(Decimal("0.350000")), exact_text(Decimal("100"))
    ('1001', '0.35', '100')
    """
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _comparison(definition: ExperimentDefinition, line: Line, method: Method) -> ComparisonResult:
    cell, use = line.cell, line.row.use
    return ComparisonResult(
        variant=line.row.treatments[line.treatment].variant,
        control=definition.control,
        absolute=_interval(cell.absolute),
        relative=_interval(cell.relative),
        interval_kind=cell.interval_kind,
        p_value=cell.p_value,
        adjusted_p_value=line.adjusted_p_value,
        holm_p_value=line.holm_p_value,
        simultaneous=_interval(line.simultaneous.absolute) if use.role == "primary" else None,
        chance_to_win=cell.chance_to_win,
        expected_loss=cell.expected_loss,
        margin=_margin(use.non_inferiority_margin, line.row.metric, line.row.control),
        probability_worse_than_margin=None if line.guardrail is None else line.guardrail.worse_than_margin,
        information_fraction=information_fraction(line.row, definition.plan),
        information_fractions=line.fractions if method == "group_sequential" else None,
        boundary=line.boundary,
        variance_reduction=line.variance_reduction,
        steps=_step_comparisons(line),
        exploratory=method != definition.plan.method,
        verdict=_verdict(line, definition.plan, method),
        not_computable=None if cell.not_computable is None else str(cell.not_computable),
        warnings=_warnings(line, definition.plan, method),
    )


def _step_comparisons(line: Line) -> tuple[StepComparison, ...] | None:
    if not line.steps:
        return None
    return tuple(
        StepComparison(
            event=step.event, absolute=_interval(cell.absolute), relative=_interval(cell.relative), p_value=cell.p_value
        )
        for step, cell in zip(line.row.metric.steps, line.steps, strict=True)
    )


def _interval(effect: EffectCell) -> Interval:
    return Interval(estimate=effect.estimate, lower=effect.lower, upper=effect.upper)


def _margin(amount: Amount | None, metric: Metric, control: ArmCell) -> Margin | None:
    if amount is None:
        return None
    base = estimate_of(metric, control)
    absolute = amount.absolute if amount.relative is None or base is None else amount.relative * abs(base)
    return Margin(relative=amount.relative, absolute=absolute)


def _verdict(line: Line, plan: AnalysisPlan, method: Method) -> Verdict:
    if line.guardrail is not None and line.guardrail.harmful and not line.guardrail.non_inferior:
        return "worse"
    # Counts can show that a guardrail is safe where nobody, or everybody, converted.
    if line.guardrail is not None and line.guardrail.non_inferior:
        return "non_inferior"
    if line.cell.not_computable is not None:
        return "not_computable"
    if line.guardrail is not None:
        return "inconclusive"
    if _wait(line, plan, method) is not None:
        return "inconclusive"
    return _bayesian_verdict(line, plan) if method == "bayesian" else _tested_verdict(line, plan)


def _tested_verdict(line: Line, plan: AnalysisPlan) -> Verdict:
    if line.adjusted_p_value is None or line.adjusted_p_value >= plan.alpha:
        return "inconclusive"
    return "better" if _good(line) > 0 else "worse"


def _bayesian_verdict(line: Line, plan: AnalysisPlan) -> Verdict:
    """Better when choosing it is expected to lose less than the threshold; worse when it hardly can win."""
    cell, base = line.cell, abs(line.row.control.mean)
    if cell.expected_loss is None or cell.chance_to_win is None or not base:
        return "inconclusive"
    if cell.chance_to_win < plan.alpha:
        return "worse"
    small = plan.loss_threshold is not None and cell.expected_loss / base < plan.loss_threshold
    return "better" if small and cell.chance_to_win > 1 / 2 else "inconclusive"


def _good(line: Line) -> float:
    """The estimated effect, positive where it is an improvement."""
    estimate = line.cell.absolute.estimate or 0.0
    return estimate if line.row.metric.direction == "increase" else -estimate


def _wait(line: Line, plan: AnalysisPlan, method: Method) -> str | None:
    """Why no verdict about efficacy may be given yet."""
    if method in {"sequential", "group_sequential"}:
        return line.block
    if method == "fixed":
        return "PLANNED_UNITS_NOT_REACHED" if analysed_units(line.row) < plan.planned_units else None
    return (
        "MINIMUM_UNITS_NOT_REACHED" if analysed_units(line.row) < (plan.minimum_units or plan.planned_units) else None
    )


def _lacks_adjustment(line: Line, plan: AnalysisPlan) -> bool:
    """Whether the plan would adjust, but the data are such that it cannot."""
    asked = plan.cuped and line.guardrail is None and line.row.metric.has_covariate
    return asked and line.variance_reduction is None and line.cell.not_computable is None


def _warnings(line: Line, plan: AnalysisPlan, method: Method) -> tuple[str, ...]:
    found = list(line.cell.warnings)
    if _lacks_adjustment(line, plan):
        found.append("COVARIATE_DROPPED")
    if line.cell.not_computable is None and line.cell.relative_not_computable is not None:
        found.append(f"RELATIVE_{line.cell.relative_not_computable}")
    wait = line.guardrail.block if line.guardrail is not None else _wait(line, plan, method)
    if wait is not None:
        found.append(wait)
    if line.guardrail is not None and line.guardrail.non_inferior and line.guardrail.harmful:
        found.append("WORSE_WITHIN_MARGIN")
    watched = line.guardrail is not None or (method == "sequential" and line.row.use.role == "primary")
    if watched and not _always_valid(line.row, method):
        found.append("NOT_ALWAYS_VALID")
    return tuple(found)
