"""What a requirement asked, and what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


class Figures(NamedTuple):
    """What became of a scenario's events.

    Attributes:
        scenario: its name.
        faults: how many there were: kills, cuts, failures, restarts.
        acknowledged: events.
        lost, twice, altered: the most that any comparison with the senders' ledger found.
    """

    scenario: str
    faults: int
    acknowledged: int
    lost: int
    twice: int
    altered: int


class Row(NamedTuple):
    """One line of the report.

    Attributes:
        id: of the requirement.
        asked: what must hold, with its limits.
        measured: what was seen.
        holds: whether it does; what could not be measured does not.
        figures: of a scenario, for the table at the end.
    """

    id: str
    asked: str
    measured: str
    holds: bool
    figures: Figures | None = None

    def __str__(self) -> str:
        return f"{self.id:5} {'ok  ' if self.holds else 'MISS'}  {self.asked}: {self.measured}"


# One subject: measures, and gives a row for each requirement.
Measure = Callable[[], Iterator[Row]]


def progress(text: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"      ... {text}", file=sys.stderr, flush=True)


def draw_table(figures: Sequence[Figures]) -> str:
    """The figures of all scenarios, one in a line."""
    heads = ("scenario", "faults", "acknowledged", "lost", "twice", "altered")
    lines = [heads, *((each.scenario, *(f"{number:,}" for number in each[1:])) for each in figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )
