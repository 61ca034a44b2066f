"""Results by slices, and the search for effects that differ, as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from abplatform.domain.breakdown import Breakdown, MetricBreakdown, SliceResult
from abplatform.domain.differences import Difference, Differences
from abplatform.domain.dimension import MOST_SLICES, REST
from abplatform.domain.scorecard import MetricResult
from abplatform.readout import numbers
from abplatform.readout.forest import Effect, Frame, draw_forest
from abplatform.readout.grids import draw_text
from abplatform.readout.html import CHART_SCRIPTS, embed_chart
from abplatform.readout.page import render_page
from abplatform.readout.plots import Chart
from abplatform.readout.report import Report, ReportTable, print_report_table, write_seen
from abplatform.readout.rows import Row, Table, build_rows, tone_of
from abplatform.readout.text import PLAIN_WIDTH, print_points, print_table
from abplatform.readout.wording import METHODS, explain, interval_name
from abplatform.stats.results import NotComputable

_TITLE = "Does the absolute effect differ?"
_ONE_TEST = (
    "Whether an effect differs is one test of all slices together, of the differences in points, units or time, not of "
    "relative lifts. That one slice is better and another inconclusive "
    "is no difference between them."
)
_FOUND = (
    "Exploratory: the adjusted p-value counts all that was asked. Of the differences found at most a share of "
    "{alpha:g} is expected to be false. They decide nothing."
)
_JUDGED = (
    "Exploratory: verdicts go by the adjusted p-value, which counts all slices and arms of the metric. Of those called "
    "better or worse at most a share of {alpha:g} is expected to be false. They decide nothing."
)
_BAYESIAN = (
    "Exploratory: each slice is judged by its own posterior, whatever the number of slices. They decide nothing."
)


def breakdown_as_text(found: Breakdown, *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """Write a breakdown for a terminal.

    Args:
        found: what to write.
        width: columns of the terminal.
        colour: whether to style it with ANSI codes.
    """

    def draw(console: Console) -> None:
        console.print(Text(_title(found), style="bold"))
        console.print(Text(_facts(found), style="dim"))
        print_report_table(console, _differences_table(found.differences))
        for table in _tables(found):
            print_table(console, table)
        console.print()
        print_points(console, _notes(found))

    return draw_text(draw, width=width, colour=colour)


def breakdown_as_html(found: Breakdown) -> str:
    """Write a breakdown as one page that needs nothing else, with a plot for each metric."""
    parts = [
        (table, _forest(found, metric))
        for table, metric in zip(_tables(found), (each for each in found.metrics if each.slices), strict=True)
    ]
    return render_page(
        "breakdown.html.j2",
        scripts=CHART_SCRIPTS if parts else (),
        title=_title(found),
        facts=_facts(found),
        differences=_differences_table(found.differences),
        parts=parts,
        notes=_notes(found),
        specification=embed_chart,
    )


def report_differences(found: Differences) -> Report:
    """Write what the search has found as a report."""
    return Report(
        kind="Differences",
        title=f"Where the effect differs: {numbers.visible(found.experiment)}",
        facts=(f"Phase {found.phase}. {write_seen(found.computed_at, found.data_through)}",),
        tables=(
            _differences_table(
                found.differences, title="Absolute effects that were compared, the surest first", by_dimension=True
            ),
        ),
        notes=(_FOUND.format(alpha=found.alpha), _ONE_TEST, *_explanations(found.differences)),
    )


def _title(found: Breakdown) -> str:
    return f"Results by {numbers.visible(found.by)}: {numbers.visible(found.experiment)}"


def _facts(found: Breakdown) -> str:
    method = METHODS.get(found.method, found.method)
    seen = write_seen(found.computed_at, found.data_through)
    return f"Phase {found.phase}. Method {method}, alpha {found.alpha:g}. {seen}"


def _tables(found: Breakdown) -> Iterator[Table]:
    """One table per metric that has slices."""
    for metric in found.metrics:
        comparisons = [each for slice_ in metric.slices for each in slice_.comparisons]
        if comparisons:
            rows = _all_rows(metric)
            bayesian = any(each.chance_to_win is not None for each in comparisons)
            yield Table(
                role=metric.metric,
                title=f"{numbers.visible(metric.metric)} ({metric.role})",
                interval=interval_name(comparisons[0], found.alpha),
                evidence="Chance to win" if bayesian else "p",
                rows=_without(_common_notes(rows), rows),
                first="Slice",
            )


def _all_rows(metric: MetricBreakdown) -> tuple[Row, ...]:
    return tuple(row for slice_ in metric.slices for row in _rows(metric, slice_))


def _common_notes(rows: Sequence[Row]) -> list[str]:
    """Notes about all slices and arms, which are said once."""
    compared = [row.notes for row in rows if not row.control]
    return [note for note in (compared or [()])[0] if all(note in notes for notes in compared)]


def _without(said: Sequence[str], rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(replace(row, notes=tuple(note for note in row.notes if note not in said)) for row in rows)


def _rows(metric: MetricBreakdown, slice_: SliceResult) -> Iterator[Row]:
    adjusted = {each.variant: each.adjusted_p_value for each in slice_.comparisons}
    name = numbers.visible(slice_.slice)
    for variant, row in zip(slice_.variants, build_rows(_as_result(metric, slice_)), strict=True):
        p_value = adjusted.get(variant.variant)
        # That all of it is exploratory is said once.
        yield replace(row, metric=name, adjusted="" if p_value is None else numbers.p_value(p_value), exploratory=False)


def _as_result(metric: MetricBreakdown, slice_: SliceResult) -> MetricResult:
    return MetricResult(
        metric=metric.metric,
        kind=metric.kind,
        role=metric.role,
        direction=metric.direction,
        always_valid=False,
        variants=slice_.variants,
        comparisons=slice_.comparisons,
    )


def _forest(found: Breakdown, metric: MetricBreakdown) -> Chart:
    several = len(metric.slices[0].comparisons) > 1
    effects = [
        Effect(
            label=numbers.visible(slice_.slice) + (f": {numbers.visible(each.variant)}" if several else ""),
            metric=_as_result(metric, slice_),
            comparison=each,
            tone=tone_of(each),
        )
        for slice_ in metric.slices
        for each in slice_.comparisons
    ]
    interval = interval_name(effects[0].comparison, found.alpha)
    name = numbers.visible(metric.metric)
    return draw_forest(
        effects,
        Frame(
            name=f"forest-{metric.metric}",
            title=f"{name}: absolute effects by slice",
            caption=f"A dot is the difference to the control of the slice, a bar its {interval}; the dashed line is "
            "no effect. The test above compares these dots. Bars are not adjusted for the number of slices; colours "
            "are.",
            description=f"Difference to the control of {name} in every slice, with intervals",
            rows="Slice and arm" if several else "Slice",
            absolute=True,
        ),
    )


def _differences_table(
    differences: Sequence[Difference], *, title: str = _TITLE, by_dimension: bool = False
) -> ReportTable:
    keys = ("Dimension",) * by_dimension + ("Metric", "Variant")
    return ReportTable(
        title=title,
        columns=(*keys, "Slices", "p", "Adjusted p", "Not chance", "Differs"),
        rows=tuple(_difference_row(each, by_dimension=by_dimension) for each in differences),
        keys=len(keys),
        empty="Nothing was asked.",
    )


def _difference_row(difference: Difference, *, by_dimension: bool) -> tuple[str, ...]:
    dimension = (numbers.visible(difference.dimension),) * by_dimension
    return (
        *dimension,
        numbers.visible(difference.metric),
        numbers.visible(difference.variant),
        numbers.count(difference.slices),
        numbers.p_value(difference.p_value),
        numbers.p_value(difference.adjusted_p_value),
        numbers.NOTHING if difference.share is None else f"{difference.share:.0%}",
        _answer(difference),
    )


def _answer(difference: Difference) -> str:
    if difference.not_computable is None:
        return "yes" if difference.found else "not shown"
    return "nothing to compare" if _is_alone(difference) else numbers.NOTHING


def _is_alone(difference: Difference) -> bool:
    return difference.not_computable == NotComputable.TOO_FEW_GROUPS and difference.slices == 1


def _notes(found: Breakdown) -> tuple[str, ...]:
    notes = [(_BAYESIAN if found.method == "bayesian" else _JUDGED).format(alpha=found.alpha), _ONE_TEST]
    names = {slice_.slice for metric in found.metrics for slice_ in metric.slices}
    if not names:
        notes.append("No unit has come yet.")
    if REST in names:
        notes.append(f"The {MOST_SLICES} largest slices are shown; {REST} is all others as one.")
    if any(metric.role == "guardrail" for metric in found.metrics):
        notes.append("Guardrails are judged by the difference itself: their margins are promises about all units.")
    for metric in found.metrics:
        notes += [f"{numbers.visible(metric.metric)}: {note}." for note in _common_notes(_all_rows(metric))]
    return (*notes, *_explanations(found.differences))


def _explanations(differences: Sequence[Difference]) -> Iterator[str]:
    share = "Not chance: the share of the variation between the slices' effects that chance does not explain."
    if any(each.share is not None for each in differences):
        yield share
    for each in differences:
        if each.not_computable is not None:
            where = ", ".join(numbers.visible(name) for name in (each.dimension, each.metric, each.variant))
            alone = "only one slice is large enough: nothing to compare"
            yield f"{where}: {alone if _is_alone(each) else explain(each.not_computable)}."
