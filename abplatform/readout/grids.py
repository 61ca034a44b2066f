"""Tables for a terminal of any width: a number, a verdict and a word are never broken.

A table that is too wide becomes two, one below the other, and where even those do not fit, one block of lines per row.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP = 2
_NAME_WIDTH = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of finished texts.

    Attributes:
        key: names the row; stands in each part of a divided table, cut in its middle where it is very long.
        right: whether to align to the right.
        wraps: whether its cells may continue on the next line, between words.
        second: belongs into the second part of a divided table.
    """

    title: str
    cells: tuple[Text, ...]
    key: bool = False
    right: bool = False
    wraps: bool = False
    second: bool = False

    @property
    def needed(self) -> int:
        """The least width at which nothing breaks but between words of the title."""
        texts = [word for line in self._lines() for word in line.split()] if self.wraps else self._lines()
        return max(cell_len(text) for text in ["", *self.title.split(), *texts])

    @property
    def natural(self) -> int:
        """The width at which nothing breaks at all."""
        return max(cell_len(text) for text in [self.title, *self._lines()])

    def _lines(self) -> list[str]:
        return [line for cell in self.cells for line in cell.plain.splitlines()]


def draw_text(draw: Callable[[Console], None], *, width: int, colour: bool) -> str:
    """What somebody draws on a console, as text without blanks at the ends of lines.

    Args:
        draw: prints on the console that it is given.
        width: columns of the terminal.
        colour: whether to style it with ANSI codes.
    """
    page = io.StringIO()
    draw(
        Console(
            file=page, width=width, force_terminal=colour, no_color=not colour, highlight=False, legacy_windows=False
        )
    )
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()).strip("\n") + "\n"


def print_grid(console: Console, title: str, columns: Sequence[Column]) -> None:
    """Print a table under its title, in the widest form that fits the console.

    Args:
        console: where to print.
        title: what the table shows.
        columns: in the order of the undivided table; empty ones are left out.
    """
    shown = [column for column in columns if column.key or any(cell.plain for cell in column.cells)]
    parts = next((form for form in _forms(shown) if all(_fits(part, console.width) for part in form)), None)
    console.print()
    console.print(Text(title, style="bold"))
    if parts is None:
        _print_blocks(console, shown)
        return
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(_table(part, console.width))


def _forms(columns: Sequence[Column]) -> tuple[list[list[Column]], ...]:
    cut = [_cut(column) if column.key else column for column in columns]
    halves = [[column for column in cut if column.key or column.second is second] for second in (False, True)]
    return [cut], halves


def _cut(column: Column) -> Column:
    return replace(column, cells=tuple(Text(_shorten(cell.plain), style=cell.style) for cell in column.cells))


def _shorten(name: str) -> str:
    """The name, its middle left out where it is very long: beginnings are often alike.

    >>> _shorten("a_very_long_metric_name_of_the_week_before")
    'a_very_long_metri…eek_before'
    """
    if cell_len(name) <= _NAME_WIDTH:
        return name
    tail = _NAME_WIDTH // 3 + 1
    head = set_cell_size(name, _NAME_WIDTH - tail - 1).rstrip()
    return f"{head}…{set_cell_size(name[::-1], tail)[::-1].lstrip()}"


def _fits(columns: Sequence[Column], width: int) -> bool:
    return sum(column.needed for column in columns) + _GAP * (len(columns) - 1) <= width


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Natural widths, less what must be saved, first where most can be."""
    widths = [column.natural for column in columns]
    over = sum(widths) + _GAP * (len(columns) - 1) - width
    for index in sorted(range(len(columns)), key=lambda each: columns[each].needed - columns[each].natural):
        saved = max(0, min(over, columns[index].natural - columns[index].needed))
        widths[index] -= saved
        over -= saved
    return widths


def _table(columns: Sequence[Column], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for column, columns_width in zip(columns, _widths(columns, width), strict=True):
        table.add_column(column.title, justify="right" if column.right else "left", width=columns_width)
    grouped = sum(column.key for column in columns) > 1
    previous = None
    for first, *others in zip(*(column.cells for column in columns), strict=True):
        repeated = grouped and first.plain == previous
        if grouped and previous is not None and not repeated:
            table.add_section()
        table.add_row(Text("") if repeated else first, *others)
        previous = first.plain
    return table


def _print_blocks(console: Console, columns: Sequence[Column]) -> None:
    keys = [column for column in columns if column.key]
    values = sorted((column for column in columns if not column.key), key=lambda column: column.second)
    for index in range(len(keys[0].cells)):
        console.print(Text(", ".join(column.cells[index].plain for column in keys), style="underline"))
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column()
        block.add_column(no_wrap=True)
        for column in values:
            if column.cells[index].plain:
                block.add_row(Text(column.title, style="dim"), column.cells[index])
        console.print(Padding(block, (0, 0, 0, 2)))
