"""A scorecard as rows of finished texts: the one table behind text and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from abplatform.domain.metric import RATES, VALUED
from abplatform.domain.scorecard import ComparisonResult, Interval, Margin, MetricResult, Scorecard, VariantResult
from abplatform.readout import numbers
from abplatform.readout.wording import ROLE_TITLES, VERDICTS, explain, interval_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric in one arm.

    Attributes:
        units: analysed units; ``units_note`` tells clusters and units that are not in yet.
        version: of the metric, where it has had more than one.
        margin: how much worse a guardrail may be, signed towards harm.
        relative, absolute: estimate and interval; empty for the control.
        evidence: p-value or chance to win.
        adjusted: p-value that counts how many comparisons there are; of slices only.
        verdict: a word for people; ``tone`` is ``good``, ``warn``, ``bad``, ``flat`` or ``none``.
        exploratory: the verdict never decides.
        notes: warnings about this row.
    """

    metric: str
    arm: str
    control: bool
    units: str
    units_note: str
    value: str
    version: str = ""
    margin: str = ""
    relative: str = ""
    relative_bounds: str = ""
    absolute: str = ""
    absolute_bounds: str = ""
    evidence: str = ""
    adjusted: str = ""
    verdict: str = ""
    tone: str = "none"
    exploratory: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All metrics in one role, or all slices of one metric, whose names then stand where metrics do.

    Attributes:
        evidence: name of the p-values or chances; ``note`` says of guardrails what theirs mean.
    """

    role: str
    title: str
    interval: str
    evidence: str
    rows: tuple[Row, ...]
    first: str = "Metric"
    note: str = ""


_MARGIN_EVIDENCE = "p (within margin)"
_MARGIN_NOTE = f"{_MARGIN_EVIDENCE}: of the non-inferiority test; small means that harm beyond the margin is excluded"
_TONES = {"better": "good", "non_inferior": "good", "worse": "bad", "inconclusive": "flat", "not_computable": "flat"}


def choose_tone(scorecard: Scorecard, comparison: ComparisonResult) -> str:
    """What a verdict looks like: neutral where the data cannot be trusted."""
    return tone_of(comparison, sound=scorecard.health.ok)


def tone_of(comparison: ComparisonResult, *, sound: bool = True) -> str:
    """What a verdict looks like, on sound data or others."""
    if sound and comparison.verdict == "non_inferior" and "WORSE_WITHIN_MARGIN" in comparison.warnings:
        return "warn"
    return _TONES[comparison.verdict] if sound else "flat"


def build_tables(scorecard: Scorecard) -> tuple[Table, ...]:
    """One table per role that has metrics: primaries first, then guardrails, then secondaries."""
    tables = []
    for role, title in ROLE_TITLES.items():
        metrics = tuple(metric for metric in scorecard.metrics if metric.role == role)
        comparisons = [each for metric in metrics for each in metric.comparisons]
        if metrics:
            tables.append(
                Table(
                    role=role,
                    title=title,
                    interval=interval_name(comparisons[0], scorecard.alpha) if comparisons else "interval",
                    evidence=_evidence_name(role, comparisons),
                    rows=tuple(row for metric in metrics for row in build_rows(metric, sound=scorecard.health.ok)),
                    note=_MARGIN_NOTE if role == "guardrail" else "",
                )
            )
    return tuple(tables)


def _evidence_name(role: str, comparisons: Sequence[ComparisonResult]) -> str:
    if role == "guardrail":
        return _MARGIN_EVIDENCE
    return "Chance to win" if any(each.chance_to_win is not None for each in comparisons) else "p"


def build_rows(metric: MetricResult, *, sound: bool = True) -> Iterator[Row]:
    """One row per arm; verdicts on data that are not sound are grey."""
    compared = {each.variant: each for each in metric.comparisons}
    margin = next((write_margin(metric, each.margin) for each in metric.comparisons if each.margin is not None), "")
    for result in metric.variants:
        comparison = compared.get(result.variant)
        row = Row(
            metric=numbers.visible(metric.metric),
            arm=numbers.visible(result.variant),
            control=comparison is None,
            units=numbers.count(result.units),
            units_note=_units_note(result),
            value=write_value(metric, result),
            version=_version(metric),
            margin=margin,
        )
        yield row if comparison is None else _compared(row, metric, comparison, sound=sound)


def _compared(row: Row, metric: MetricResult, comparison: ComparisonResult, *, sound: bool) -> Row:
    return replace(
        row,
        relative=numbers.lift(comparison.relative.estimate),
        relative_bounds=write_bounds(comparison.relative, comparison, kind="lift"),
        absolute=write_difference(metric.kind, comparison.absolute.estimate),
        absolute_bounds=write_bounds(comparison.absolute, comparison, kind=scale_of(metric.kind)),
        evidence=_evidence(comparison),
        verdict=VERDICTS[comparison.verdict],
        tone=tone_of(comparison, sound=sound),
        exploratory=comparison.exploratory,
        notes=(*_notes(comparison), *_step_notes(metric, comparison)),
    )


def _version(metric: MetricResult) -> str:
    """``v2``, or ``v1 of 2`` where there is a newer one; nothing where there is but one."""
    if metric.newer_version is not None:
        return f"v{metric.version} of {metric.newer_version}"
    return "" if metric.version in {None, 1} else f"v{metric.version}"


def scale_of(kind: str) -> str:
    """What differences of a kind of metric are: ``points`` of shares, a ``duration`` or an ``amount``."""
    if kind in RATES:
        return "points"
    return "duration" if kind == "time_to" else "amount"


def write_difference(kind: str, value: float | None) -> str:
    """An absolute difference of two variants, by the kind of metric: in percentage points, a time, or an amount."""
    scale = scale_of(kind)
    if scale == "points":
        return numbers.points(value)
    return numbers.duration(value, signed=True) if scale == "duration" else numbers.amount(value, signed=True)


def write_margin(metric: MetricResult, margin: Margin) -> str:
    """A margin as the plan states it, relative or absolute, signed in the direction of harm."""
    sign = 1 if metric.direction == "decrease" else -1
    if margin.relative is not None:
        return numbers.lift(sign * abs(margin.relative))
    if margin.absolute is None:
        return numbers.NOTHING
    return write_difference(metric.kind, sign * abs(margin.absolute))


def write_lift(comparison: ComparisonResult) -> str:
    """The relative difference with its interval."""
    bounds = write_bounds(comparison.relative, comparison, kind="lift")
    return f"{numbers.lift(comparison.relative.estimate)} {bounds}".rstrip()


def write_value(metric: MetricResult, result: VariantResult) -> str:
    """A variant's rate or mean (or its estimand, where that is neither), as people read it."""
    return write_level(metric.kind, result.value if metric.kind in VALUED else result.mean)


def write_level(kind: str, value: float | None) -> str:
    """What units have, by the kind of metric: a share as a percentage, a time, or an amount."""
    if kind in RATES:
        return numbers.rate(value)
    return numbers.duration(value) if kind == "time_to" else numbers.amount(value)


def _step_notes(metric: MetricResult, comparison: ComparisonResult) -> Iterator[str]:
    """How far the units of a funnel came, and what the treatment did to that."""
    steps = {result.variant: result.steps or () for result in metric.variants}
    mine, base = steps.get(comparison.variant, ()), steps.get(comparison.control, ())
    for number, (step, other) in enumerate(zip(mine, base, strict=False)):
        compared = comparison.steps[number] if comparison.steps is not None else None
        lift = "" if compared is None else _step_lift(compared.relative)
        yield (
            f"step {number + 1}, {numbers.visible(step.event)}: {numbers.rate(step.rate)} against "
            f"{numbers.rate(other.rate)}{lift}; of those who took the step before, "
            f"{numbers.rate(step.rate_of_previous)} against {numbers.rate(other.rate_of_previous)}"
        )


def _step_lift(relative: Interval) -> str:
    """Nothing where it has no bounds, as of a step that all units take, or nobody."""
    if relative.estimate is None or (relative.lower is None and relative.upper is None):
        return ""
    return f", {numbers.lift(relative.estimate)} {numbers.bounds(relative, kind='lift')}"


def _units_note(result: VariantResult) -> str:
    notes = []
    if result.clusters is not None:
        notes.append(f"in {numbers.count(result.clusters)} clusters")
    if result.open_units:
        notes.append(f"(+{numbers.count(result.open_units)} open)")
    return " ".join(notes)


def write_bounds(interval: Interval, comparison: ComparisonResult, *, kind: str) -> str:
    """The bounds of a comparison; nothing where nothing could be computed.

    Args:
        interval: which of its intervals.
        comparison: whose.
        kind: see `numbers.bounds`.
    """
    if comparison.not_computable is not None or interval.estimate is None:
        return ""
    return numbers.bounds(interval, kind=kind)


def _evidence(comparison: ComparisonResult) -> str:
    if comparison.margin is not None:
        # The one-sided test that decides about a guardrail, not the difference as such.
        return numbers.p_value(comparison.adjusted_p_value)
    if comparison.chance_to_win is not None:
        return numbers.chance(comparison.chance_to_win)
    return numbers.p_value(comparison.p_value)


def _notes(comparison: ComparisonResult) -> tuple[str, ...]:
    notes = [explain(warning) for warning in comparison.warnings]
    if comparison.not_computable is not None:
        notes.insert(0, f"not computable: {explain(comparison.not_computable)}")
    if comparison.variance_reduction is not None:
        notes.append(f"adjusted by CUPED: {numbers.rate(comparison.variance_reduction)} of the variance removed")
    if comparison.boundary is not None and comparison.information_fraction is not None:
        share = f"{comparison.information_fraction:.0%}"
        notes.append(f"decides beyond {comparison.boundary:.2f} standard errors, with {share} of the planned units")
    return tuple(notes)
