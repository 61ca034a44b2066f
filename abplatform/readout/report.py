"""Reports of tables as people read them: text for a terminal, and a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.text import Text

from abplatform.readout.grids import Column, draw_text, print_grid
from abplatform.readout.page import render_page
from abplatform.readout.text import PLAIN_WIDTH, print_points


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """A table of finished texts.

    Attributes:
        columns: titles; the first ``keys`` name the row, the others are numbers.
        second: titles of the columns that a narrow terminal shows below.
        empty: a sentence in place of a table without rows.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int = 1
    second: frozenset[str] = frozenset()
    empty: str = "Nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One row of a forest plot, in shares of its width: two intervals with their estimates."""

    name: str
    raw: tuple[float, float, float]
    shrunken: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Intervals below each other on one scale, the raw ones above the shrunken ones.

    Attributes:
        zero: where no effect is, in shares of the width.
        low, high: what the ends of the scale are, as texts.
    """

    title: str
    caption: str
    marks: tuple[Mark, ...]
    zero: float
    low: str
    high: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report as finished texts.

    Attributes:
        kind: what it is, in a few words.
        warnings: that come before all numbers.
        notes: that come behind them.
        forest: on pages only.
    """

    kind: str
    title: str
    facts: tuple[str, ...]
    tables: tuple[ReportTable, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    forest: Forest | None = None


def report_as_text(report: Report, *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """Write a report for a terminal.

    Args:
        report: what to write.
        width: columns of the terminal.
        colour: whether to style it with ANSI codes.
    """

    def draw(console: Console) -> None:
        console.print(Text(report.title, style="bold"))
        for line in report.facts:
            console.print(Text(line, style="dim"))
        for line in report.warnings:
            console.print(Text(f" ! {line}"))
        for table in report.tables:
            print_report_table(console, table)
        console.print()
        print_points(console, report.notes)

    return draw_text(draw, width=width, colour=colour)


def report_as_html(report: Report) -> str:
    """Write a report as one page that needs nothing else."""
    return render_page("report.html.j2", report=report)


def write_seen(computed_at: datetime, data_through: datetime | None) -> str:
    """When something was computed, and from what."""
    seen = f"{data_through:%Y-%m-%d %H:%M:%S} UTC" if data_through else "no data yet"
    return f"Computed {computed_at:%Y-%m-%d %H:%M:%S} UTC, data through {seen}."


def print_report_table(console: Console, table: ReportTable) -> None:
    """Print a table, or the sentence that stands for an empty one."""
    if not table.rows:
        console.print()
        console.print(Text(table.title, style="bold"))
        console.print(Text(f"  {table.empty}"))
        return
    columns = [
        Column(
            title=title,
            cells=tuple(Text(row[index]) for row in table.rows),
            key=index < table.keys,
            right=index >= table.keys,
            second=title in table.second,
        )
        for index, title in enumerate(table.columns)
    ]
    print_grid(console, table.title, columns)
