"""The curve of a metric as people read it: text for a terminal, JSON, and a page with plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from abplatform.domain.curve import Curve, CurveComparison, CurvePoint, CurveVariant
from abplatform.domain.metric import RATES
from abplatform.domain.scorecard import Interval
from abplatform.readout import numbers
from abplatform.readout.curve_charts import build_curve_charts
from abplatform.readout.grids import Column, draw_text, print_grid
from abplatform.readout.html import CHART_SCRIPTS, embed_chart
from abplatform.readout.page import render_page
from abplatform.readout.report import write_seen
from abplatform.readout.text import PLAIN_WIDTH, print_points
from abplatform.readout.wording import INTERVAL_WARNINGS, INTERVALS, VERDICT_WARNINGS, explain

_WHAT = {"conversion": "Rate", "ratio": "Ratio"}
_WHOSE = {
    "followed": "At each day those units count that have been followed for so long: later days rest on those who came "
    "early.",
    "same": "At all days the same units count: those that have been followed until the last one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveRow:
    """One variant at one horizon, as finished texts; differences to the control are empty for itself."""

    days: str
    variant: str
    units: str
    followed: str
    value: str
    value_bounds: str
    relative: str
    relative_bounds: str
    absolute: str
    absolute_bounds: str


def as_text(curve: Curve, *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """Write a curve as a table.

    Args:
        curve: what was found.
        width: columns of the terminal.
        colour: whether to style it with ANSI codes.
    """

    def draw(console: Console) -> None:
        console.print(Text(_title(curve), style="bold"))
        for line in _facts(curve):
            console.print(Text(line, style="dim"))
        print_grid(console, _table_title(curve), _columns(curve))
        console.print()
        print_points(console, _notes(curve))

    return draw_text(draw, width=width, colour=colour)


def as_html(curve: Curve) -> str:
    """Write a curve as one page that needs nothing else."""
    charts = build_curve_charts(curve, what=_what(curve), level=_level(curve), difference=_difference(curve))
    return render_page(
        "curve.html.j2",
        scripts=CHART_SCRIPTS if charts else (),
        title=_title(curve),
        facts=_facts(curve),
        charts=charts,
        table=_table_title(curve),
        rows=tuple(_rows(curve)),
        what=_what(curve),
        level=_level(curve),
        difference=_difference(curve),
        notes=_notes(curve),
        specification=embed_chart,
    )


def _title(curve: Curve) -> str:
    return f"{numbers.visible(curve.metric)} by days since exposure: {numbers.visible(curve.experiment)}"


def _table_title(curve: Curve) -> str:
    return "Between days" if curve.view == "daily" else "Until each day"


def _what(curve: Curve) -> str:
    return _WHAT.get(curve.kind, "Mean per unit")


def _level(curve: Curve) -> str:
    return _interval(curve.alpha, curve.interval_kind)


def _difference(curve: Curve) -> str:
    kinds = [each.interval_kind for point in curve.points for each in point.comparisons]
    return _interval(curve.alpha, kinds[0] if kinds else curve.interval_kind)


def _interval(alpha: float, kind: str) -> str:
    return f"{100 * (1 - alpha):g}% {INTERVALS[kind]}"


def _facts(curve: Curve) -> tuple[str, ...]:
    return (f"Phase {curve.phase}. {write_seen(curve.computed_at, curve.data_through)}",)


def _notes(curve: Curve) -> tuple[str, ...]:
    notes = [_WHOSE[curve.cohort]]
    empty = [point.day for point in curve.points if not point.units]
    if empty:
        notes.append(f"Nobody has been followed for {_span(empty[0])} yet.")
    few = [str(point.day) for point in curve.points if point.warnings and point.units]
    if few:
        verb = "rests" if len(few) == 1 else "rest"
        notes.append(
            f"{_list_days(few)} {verb} on less than half of the units, those who came first. They may "
            "differ from those who came later: where the curve bends there, it may be other people and not more time."
        )
    if curve.cap is not None:
        notes.append(f"A unit counts for at most {curve.cap} at each point.")
    if curve.calendar:
        notes.append("Days are those of the project's calendar; day 1 ends with the day of the first exposure.")
    codes = dict.fromkeys(code for point in curve.points for each in point.comparisons for code in _codes(each))
    notes += [f"{_places(curve, code)}: {INTERVAL_WARNINGS.get(code) or explain(code)}." for code in codes]
    notes.append("Each interval holds for its own day, not for all together. Exploratory: it decides nothing.")
    return tuple(notes)


def _span(days: int) -> str:
    return "a day" if days == 1 else f"{numbers.count(days)} days"


def _codes(comparison: CurveComparison) -> tuple[str, ...]:
    reason = comparison.not_computable
    if reason is not None:
        return (reason,)
    return tuple(code for code in comparison.warnings if code not in VERDICT_WARNINGS)


def _places(curve: Curve, code: str) -> str:
    return _list_days(
        [str(point.day) for point in curve.points if any(code in _codes(each) for each in point.comparisons)]
    )


def _list_days(days: Sequence[str]) -> str:
    return f"{'Day' if len(days) == 1 else 'Days'} {', '.join(days)}"


def _rows(curve: Curve) -> Iterator[CurveRow]:
    for point in curve.points:
        compared = {each.variant: each for each in point.comparisons}
        for variant in point.variants:
            yield _row(curve, point, variant, compared.get(variant.variant))


def _row(curve: Curve, point: CurvePoint, variant: CurveVariant, comparison: CurveComparison | None) -> CurveRow:
    scale = "points" if curve.kind in RATES else "amount"
    relative, absolute = (None, None) if comparison is None else (comparison.relative, comparison.absolute)
    computed = comparison is not None and comparison.not_computable is None
    return CurveRow(
        days=f"{point.from_day} to {point.day}" if curve.view == "daily" else str(point.day),
        variant=numbers.visible(variant.variant),
        units=numbers.count(variant.units),
        followed=numbers.rate(None if variant.open_share is None else 1 - variant.open_share),
        value=write_level(curve, variant.value.estimate),
        value_bounds=_level_bounds(curve, variant),
        relative="" if relative is None else numbers.lift(relative.estimate),
        relative_bounds=_bounds(relative if computed else None, "lift"),
        absolute="" if absolute is None else _signed(absolute.estimate, scale),
        absolute_bounds=_bounds(absolute if computed else None, scale),
    )


def _bounds(interval: Interval | None, kind: str) -> str:
    return "" if interval is None or interval.estimate is None else numbers.bounds(interval, kind=kind)


def write_level(curve: Curve, value: float | None) -> str:
    """What a variant has: a share as a percentage, an amount as it is."""
    return numbers.rate(value) if curve.kind in RATES else numbers.amount(value)


def _level_bounds(curve: Curve, variant: CurveVariant) -> str:
    low, high = variant.value.lower, variant.value.upper
    return "" if low is None or high is None else f"[{write_level(curve, low)}, {write_level(curve, high)}]"


def _signed(value: float | None, scale: str) -> str:
    return numbers.points(value) if scale == "points" else numbers.amount(value, signed=True)


def _columns(curve: Curve) -> list[Column]:
    rows = tuple(_rows(curve))

    def texts(title: str, read: Callable[[CurveRow], str], *, key: bool = False, second: bool = False) -> Column:
        return Column(title=title, cells=tuple(Text(read(row)) for row in rows), key=key, right=not key, second=second)

    return [
        texts("Day", lambda row: row.days, key=True),
        texts("Variant", lambda row: row.variant, key=True),
        texts("Units", lambda row: row.units),
        texts("Followed", lambda row: row.followed),
        texts(_what(curve), lambda row: row.value),
        texts(_level(curve), lambda row: row.value_bounds),
        texts("Relative lift", lambda row: row.relative, second=True),
        texts(_difference(curve), lambda row: row.relative_bounds, second=True),
        texts("Absolute", lambda row: row.absolute, second=True),
        texts(_difference(curve), lambda row: row.absolute_bounds, second=True),
    ]
