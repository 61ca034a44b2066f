"""A scorecard as text for a terminal or a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from abplatform.domain.scorecard import Scorecard
from abplatform.readout import wording
from abplatform.readout.grids import Column, draw_text, print_grid
from abplatform.readout.looks import LookRow, build_looks
from abplatform.readout.numbers import visible
from abplatform.readout.pairs import TITLE, Pair, build_pairs
from abplatform.readout.rows import Row, Table, build_tables

PLAIN_WIDTH = 150
_BANNER_STYLES = {"ship": "bold green", "roll_back": "bold red", "invalid": "bold red"}
_TONES = {"good": "green", "warn": "yellow", "bad": "red", "flat": "dim", "none": ""}


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

    def draw(console: Console) -> None:
        _print_head(console, scorecard)
        for table in build_tables(scorecard):
            print_table(console, table)
        _print_pairs(console, scorecard)
        if len(looks) > 1:
            _print_looks(console, looks)

    return draw_text(draw, width=width, colour=colour)


def _print_head(console: Console, scorecard: Scorecard) -> None:
    name, key = visible(scorecard.name), visible(scorecard.experiment)
    console.print(Text(name if name == key else f"{name} ({key})", style="bold"))
    for line in _pack(scorecard, console.width):
        console.print(Text(line, style="dim"))
    console.print()
    stale = wording.staleness(scorecard)
    if stale is not None:
        console.print(Text(stale, style="bold red"))
        console.print()
    style = _BANNER_STYLES.get(scorecard.decision.recommendation, "bold yellow")
    console.print(Text(wording.headline(scorecard), style=style))
    print_points(console, wording.reasons(scorecard))
    taken = wording.decision_taken(scorecard)
    if taken is not None:
        console.print(Text(taken, style="bold"))
    console.print()
    health = scorecard.health
    word = Text("Health: ok" if health.ok else "Health: NOT OK", style="green" if health.ok else "bold red")
    console.print(word + Text(f" - {wording.health_summary(health)}", style=""))
    print_points(console, wording.health_notes(scorecard))


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


def print_points(console: Console, sentences: Sequence[str]) -> None:
    """Print sentences as a list."""
    for sentence in sentences:
        point = Grid.grid(padding=(0, 1))
        point.add_row(Text(" -"), Text(visible(sentence)))
        console.print(point)


def print_table(console: Console, table: Table) -> None:
    """Print a table, and its notes below."""
    print_grid(console, table.title, _columns(table))
    notes = [table.note] if table.note else []
    notes += [f"{row.metric}, {row.arm}: {note}" for row in table.rows for note in row.notes]
    if notes:
        console.print(Padding(Text("Notes", style="bold"), (1, 0, 0, 0)))
        print_points(console, notes)


def _print_pairs(console: Console, scorecard: Scorecard) -> None:
    pairs = build_pairs(scorecard)
    if not pairs.rows:
        return

    def texts(title: str, read: Callable[[Pair], str], *, key: bool = False, second: bool = False) -> Column:
        cells = tuple(Text(read(pair)) for pair in pairs.rows)
        return Column(title=title, cells=cells, key=key, second=second)

    columns = [
        texts("Early sign", lambda pair: pair.early.metric, key=True),
        texts("Arm", lambda pair: pair.arm, key=True),
        texts("Known for", lambda pair: pair.early.known),
        texts("Relative", lambda pair: pair.early.lift),
        texts("Verdict", lambda pair: pair.early.verdict),
        texts("Late outcome", lambda pair: pair.late.metric, second=True),
        texts("Known for", lambda pair: pair.late.known, second=True),
        texts("Relative", lambda pair: pair.late.lift, second=True),
        texts("Verdict", lambda pair: pair.late.verdict, second=True),
    ]
    print_grid(console, TITLE, columns)
    print_points(console, pairs.sentences)


def _columns(table: Table) -> list[Column]:
    def numbers(title: str, read: Callable[[Row], str], *, second: bool = False) -> Column:
        cells = tuple(Text(read(row)) for row in table.rows)
        return Column(title=title, cells=cells, right=True, second=second)

    return [
        Column(title=table.first, cells=tuple(map(_name, table.rows)), key=True),
        Column(title="Arm", cells=tuple(Text(row.arm) for row in table.rows), key=True),
        numbers("Units", _units, second=True),
        numbers("Mean or rate", lambda row: row.value, second=True),
        numbers("Relative", lambda row: row.relative),
        numbers(table.interval, lambda row: row.relative_bounds),
        numbers("Absolute", lambda row: row.absolute, second=True),
        numbers(table.interval, lambda row: row.absolute_bounds, second=True),
        numbers("Margin", lambda row: "" if row.control else row.margin),
        numbers(table.evidence, lambda row: row.evidence),
        numbers("Adjusted p", lambda row: row.adjusted),
        Column(title="Verdict", cells=tuple(_verdict(row) for row in table.rows)),
    ]


def _name(row: Row) -> Text:
    return Text(f"{row.metric} {row.version}".rstrip())


def _units(row: Row) -> str:
    # What is behind the number follows it: clusters, and units that are not in yet.
    return f"{row.units} {row.units_note}".rstrip()


def _verdict(row: Row) -> Text:
    if row.control:
        return Text("control", style="dim")
    return Text(row.verdict + (" (exploratory)" if row.exploratory else ""), style=_TONES[row.tone])


def _print_looks(console: Console, looks: Sequence[Scorecard]) -> None:
    rows = build_looks(looks)

    def column(title: str, read: Callable[[LookRow], str], *, second: bool = False, wraps: bool = False) -> Column:
        return Column(title=title, cells=tuple(Text(read(row)) for row in rows), second=second, wraps=wraps)

    print_grid(
        console,
        "Looks",
        [
            Column(title="Look", cells=tuple(Text(row.look) for row in rows), key=True),
            column("Computed", lambda row: row.computed, second=True),
            column("Units", lambda row: row.units),
            column("Relative lift of the first primary", lambda row: "\n".join(row.lifts)),
            column("Recommendation", lambda row: row.recommendation, second=True, wraps=True),
        ],
    )
