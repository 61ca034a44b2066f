"""A scorecard as text for a terminal or a file."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from abplatform.domain.scorecard import Scorecard
from abplatform.readout import wording
from abplatform.readout.numbers import count, lift, visible
from abplatform.readout.rows import Row, Table, build_tables

PLAIN_WIDTH = 150
_BANNER_STYLES = {"ship": "bold green", "roll_back": "bold red", "invalid": "bold red"}
_TONES = {"good": "green", "bad": "red", "flat": "dim", "none": ""}


def as_text(
    scorecard: Scorecard, looks: Sequence[Scorecard] = (), *, width: int = PLAIN_WIDTH, colour: bool = False
) -> str:
    """Write a scorecard for people: decision first, then health, then one table per role.

    Args:
        scorecard: the look to show.
        looks: the looks of the same phase; shown where there are several.
        width: columns of the terminal.
        colour: whether to style it with ANSI codes; plain text by default.
    """
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=colour, no_color=not colour, highlight=False, legacy_windows=False
    )
    _print_head(console, scorecard)
    for table in build_tables(scorecard):
        _print_table(console, table)
    if len(looks) > 1:
        _print_looks(console, looks)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()).strip("\n") + "\n"


def _print_head(console: Console, scorecard: Scorecard) -> None:
    name, key = visible(scorecard.name), visible(scorecard.experiment)
    console.print(Text(name if name == key else f"{name} ({key})", style="bold"))
    for line in _pack(scorecard, console.width):
        console.print(Text(line, style="dim"))
    console.print()
    style = _BANNER_STYLES.get(scorecard.decision.recommendation, "bold yellow")
    console.print(Text(wording.headline(scorecard), style=style))
    _print_points(console, scorecard.decision.reasons)
    console.print()
    health = scorecard.health
    word = Text("Health: ok" if health.ok else "Health: NOT OK", style="green" if health.ok else "bold red")
    console.print(word + Text(f" - {wording.health_summary(health)}", style=""))
    _print_points(console, wording.health_notes(health))


def _pack(scorecard: Scorecard, width: int) -> list[str]:
    lines = [""]
    for name, value in wording.facts(scorecard):
        fact = f"{name}: {value}"
        joined = f"{lines[-1]}   {fact}" if lines[-1] else fact
        if len(joined) > width:
            lines.append(fact)
        else:
            lines[-1] = joined
    return lines


def _print_points(console: Console, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        point = Grid.grid(padding=(0, 1))
        point.add_row(Text(" -"), Text(visible(sentence)))
        console.print(point)


def _print_table(console: Console, table: Table) -> None:
    grid = Grid(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(table.title, style="bold"),
        title_justify="left",
        show_edge=False,
    )
    for name in ("Metric", "Arm"):
        grid.add_column(name, overflow="fold")
    for name in ("Units", "Mean or rate", "Relative", table.interval, "Absolute", table.interval, table.evidence):
        grid.add_column(name, justify="right", overflow="fold")
    grid.add_column("Verdict", overflow="fold")
    previous = ""
    for row in table.rows:
        if previous and row.metric != previous:
            grid.add_section()
        grid.add_row(*_cells(row, repeated=row.metric == previous))
        previous = row.metric
    console.print()
    console.print(grid)
    notes = [f"{row.metric}, {row.arm}: {note}" for row in table.rows for note in row.notes]
    if notes:
        console.print(Padding(Text("Notes", style="bold"), (1, 0, 0, 0)))
        _print_points(console, notes)


def _cells(row: Row, *, repeated: bool) -> list[Text]:
    verdict = Text("control", style="dim") if row.control else Text(row.verdict, style=_TONES[row.tone])
    texts = [
        "" if repeated else row.metric,
        row.arm,
        row.units,
        row.value,
        row.relative,
        row.relative_bounds,
        row.absolute,
        row.absolute_bounds,
        row.evidence,
    ]
    return [*(Text(text) for text in texts), verdict]


def _print_looks(console: Console, looks: Sequence[Scorecard]) -> None:
    grid = Grid(
        box=box.SIMPLE_HEAD, pad_edge=False, title=Text("Looks", style="bold"), title_justify="left", show_edge=False
    )
    for name in ("Look", "Computed", "Units", "Relative lift of the first primary", "Recommendation"):
        grid.add_column(name)
    for look in looks:
        first = next((metric for metric in look.metrics if metric.role == "primary"), None)
        effects = [] if first is None else first.comparisons
        grid.add_row(
            Text(str(look.look)),
            Text(f"{look.computed_at:%Y-%m-%d %H:%M:%S}"),
            Text("" if first is None else count(sum(result.units for result in first.variants))),
            Text(", ".join(f"{visible(each.variant)} {lift(each.relative.estimate)}" for each in effects)),
            Text(wording.headline(look)),
        )
    console.print()
    console.print(grid)
