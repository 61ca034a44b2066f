"""A holdout as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from abplatform.domain.events import HELD_OUT, OPEN
from abplatform.domain.holdout_results import HoldoutResults, PartEstimate
from abplatform.domain.scorecard import MetricResult
from abplatform.readout import numbers
from abplatform.readout.report import Report, ReportTable, write_seen
from abplatform.readout.rows import scale_of, write_bounds, write_difference, write_value
from abplatform.readout.wording import INTERVALS, VERDICTS, explain, health_summary

_WHOLE = (
    "Metric",
    HELD_OUT,
    OPEN,
    "Difference",
    "95% interval",
    "Lift",
    "Its 95% interval",
    "Adjusted p",
    "Verdict",
    "Sum of the parts",
)
_PARTS = ("Experiment", "Metric", "Variant", "Shipped", "Own lift", "Its interval")
_NOTES = (
    "Everything is measured per unit that was checked against the holdout, from its first check on.",
    (
        "The sum of the parts adds up what each experiment had found of its own units. Experiments that reach few of "
        "the units, winners that were lucky, and parts that stand in each other's way make it larger than the whole."
    ),
    "Exploratory: it decides nothing, and nothing is recorded.",
)


def report_holdout(found: HoldoutResults) -> Report:
    """Write a holdout's results as a report."""
    return Report(
        kind="Holdout",
        title=f"What was shipped outside the holdout {numbers.visible(found.holdout)}: {numbers.visible(found.name)}",
        facts=tuple(_facts(found)),
        warnings=tuple(numbers.visible(warning) for warning in found.health.warnings),
        tables=(
            ReportTable(
                title="The whole",
                columns=_WHOLE,
                rows=tuple(_whole(found)),
                second=frozenset({"Lift", "Its 95% interval", "Adjusted p", "Verdict", "Sum of the parts"}),
            ),
            ReportTable(
                title="The parts",
                columns=_PARTS,
                rows=tuple(_parts(found)),
                keys=3,
                empty="Nothing was shipped under this holdout.",
            ),
        ),
        notes=(*_notes(found), *_NOTES),
    )


def _facts(found: HoldoutResults) -> Iterator[str]:
    until = f" to {found.ended_at:%Y-%m-%d %H:%M} UTC" if found.ended_at else ""
    yield (
        f"{numbers.rate(found.share)} of all {numbers.visible(found.unit_type)} are held out, since "
        f"{found.since:%Y-%m-%d %H:%M} UTC{until}."
    )
    yield f"Health: {'ok' if found.health.ok else 'NOT OK'} - {health_summary(found.health)}."
    yield write_seen(found.computed_at, found.data_through)


def _whole(found: HoldoutResults) -> Iterator[tuple[str, ...]]:
    sums = {each.metric: each for each in found.sums}
    for result in found.metrics:
        (comparison,) = result.comparisons
        parts = sums[result.metric]
        measured = numbers.plural(parts.measured, "part")
        yield (
            numbers.visible(result.metric),
            *(write_value(result, variant) if variant.units else numbers.NOTHING for variant in result.variants),
            write_difference(result.kind, comparison.absolute.estimate),
            write_bounds(comparison.absolute, comparison, kind=scale_of(result.kind)),
            numbers.lift(comparison.relative.estimate),
            write_bounds(comparison.relative, comparison, kind="lift"),
            numbers.p_value(comparison.adjusted_p_value),
            VERDICTS[comparison.verdict],
            f"{numbers.lift(parts.relative)} ({measured})" if parts.measured else numbers.NOTHING,
        )


def _parts(found: HoldoutResults) -> Iterator[tuple[str, ...]]:
    for part in found.shipped:
        shipped = (numbers.visible(part.variant), f"{part.shipped_at:%Y-%m-%d}")
        if not part.estimates:
            yield (numbers.visible(part.experiment), numbers.NOTHING, *shipped, numbers.NOTHING, "")
        for estimate in part.estimates:
            yield (numbers.visible(part.experiment), numbers.visible(estimate.metric), *shipped, *_own(estimate))


def _own(estimate: PartEstimate) -> tuple[str, str]:
    return numbers.lift(estimate.relative.estimate), numbers.bounds(estimate.relative, kind="lift")


def _notes(found: HoldoutResults) -> Iterator[str]:
    kind = INTERVALS["confidence_sequence" if found.method == "sequential" else "fixed"]
    yield f"Intervals of the whole are {100 * (1 - found.alpha):g}% {kind}s, each for itself; verdicts hold over all."
    for result in found.metrics:
        yield from _metric_notes(result)


def _metric_notes(result: MetricResult) -> Iterator[str]:
    name = numbers.visible(result.metric)
    waiting = sum(variant.open_units for variant in result.variants)
    if waiting:
        yield f"{name}: {numbers.plural(waiting, 'unit')} still have an open window, and are not in."
    for comparison in result.comparisons:
        for code in (comparison.not_computable, *comparison.warnings):
            if code is not None:
                yield f"{name}: {explain(code)}."
