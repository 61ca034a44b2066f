"""Tables that the commands print: styled for a terminal, plain for a file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

_PLAIN_WIDTH = 150


def print_table(title: str, *columns: tuple[str, Sequence[str]]) -> None:
    """Print a table whose first column names the rows, all others being numbers.

    Args:
        title: of the table.
        columns: title and cells of each.
    """
    from rich.console import Console
    from rich.text import Text

    from abplatform.readout.grids import Column, print_grid

    watched = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if watched else _PLAIN_WIDTH
    console = Console(width=width, no_color=not watched, highlight=False, legacy_windows=False)
    (first, names), *others = columns
    grid = [Column(title=first, cells=tuple(map(Text, names)), key=True)]
    grid += [Column(title=name, cells=tuple(map(Text, cells)), right=True) for name, cells in others]
    print_grid(console, title, grid)
