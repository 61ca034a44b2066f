"""The page of all results, equal for equal results."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from tests.calibration.claims import Check, Row, Section

HEAD = """\
# Calibration

<!-- Written by `make calibration`: change the simulations in tests/calibration, run it, read the diff. -->

Does every method keep its promise? Each line is a simulation that uses the engine's own functions: what is asked, what
was measured, the Monte Carlo standard error of the measurement, how many repetitions, from which seed (the numbers that
numpy's `default_rng` was given). Shares are shares of repetitions. "Within error" means four standard errors; all other
bounds are meant as they stand. A line that is *reported* promises nothing.

`make calibration` runs everything (about {minutes} minutes on two cores), writes this page and fails if a line does not
hold. The suite runs the same functions with fewer repetitions and other seeds, and fails where a figure is not that of
this page within the errors of both. Equal seeds give an equal page. To try a case of your own: `abplatform simulate`.
"""
MINUTES = 7
_COLUMNS = "| what | asked | measured | error | repetitions | seed | holds |\n|---|---|---|---|---|---|---|\n"


def as_page(results: Mapping[Section, Mapping[Check, list[Row]]]) -> str:
    """Markdown with one table per section."""
    parts = [HEAD.format(minutes=MINUTES)]
    for section, checks in results.items():
        lines = [_line(row) for rows in checks.values() for row in rows]
        note = textwrap.fill(section.note, 120, break_on_hyphens=False)
        parts.append(f"## {section.title}\n\n{note}\n\n{_COLUMNS}" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(row: Row) -> str:
    holds = "-" if row.claim.text == "reported" else "yes" if row.holds else "**no**"
    value, error = f"{row.measured.value:.4f}", f"{row.measured.error:.4f}"
    seed = ", ".join(str(part) for part in row.seed) or "-"
    cells = (row.what, row.claim.text, value, error, f"{row.repetitions:,}", seed, holds)
    return "| " + " | ".join(cells) + " |"
