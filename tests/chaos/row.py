"""What a requirement asked, and what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the report.

    Attributes:
        id: of the requirement.
        asked: what must hold, with its limits.
        measured: what was seen.
        holds: whether it does.
    """

    id: str
    asked: str
    measured: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.id:5} {'ok  ' if self.holds else 'MISS'}  {self.asked}: {self.measured}"


# One subject: measures, and gives a row for each requirement.
Measure = Callable[[], Iterator[Row]]


def progress(text: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"      ... {text}", file=sys.stderr, flush=True)
