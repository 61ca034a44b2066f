"""What an import says when it is done: rows that went in, rows that were left out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    from abplatform.services.adopt import ImportReport, RowFault

MOST_FAULTS_SHOWN = 20
LARGE_LOSS = 0.01


class FaultList:
    """Takes the rows that are left out, and prints the first of them in the order of the table."""

    def __init__(self) -> None:
        self._count = 0
        # A heap whose first item is the latest row kept: repeated units are found after all other faults.
        self._first: list[tuple[int, str]] = []

    def __call__(self, fault: RowFault) -> None:
        self._count += 1
        where = "" if fault.column is None else f"{fault.column} "
        item = (-fault.row, visible(f"row {fault.row}: {where}{fault.detail}"))
        if len(self._first) < MOST_FAULTS_SHOWN:
            heapq.heappush(self._first, item)
        else:
            heapq.heappushpop(self._first, item)

    def print(self) -> None:
        """Print them on stderr, and how many more there are."""
        for _, line in sorted(self._first, reverse=True):
            click.echo(line, err=True)
        more = self._count - len(self._first)
        if more:
            click.echo(f"... and {more:,} more", err=True)


def split(units: Mapping[str, int]) -> str:
    """Counts by variant in one line.

    >>> split({"a": 1200, "b": 2})
    'a: 1,200, b: 2'
    """
    return ", ".join(f"{variant}: {count:,}" for variant, count in units.items())


def print_report(report: ImportReport, file: Path) -> None:
    """Print what became of a table."""
    rows = sum(report.units.values())
    click.echo(f"imported {rows:,} rows of {visible(file.name)} as {report.experiment.key} ({split(report.units)})")
    if report.refused:
        _print_loss(report, rows + report.refused)
    for column in report.likely_sums:
        click.echo(f"the values of {visible(column)} that were refused are numbers: is it a --sum?")
    for each in report.metrics:
        if each.metric.key != each.wanted:
            became = f"{visible(each.column)} became the metric {each.metric.key}"
            click.echo(f"{became}: {each.wanted} counts something else already")


def _print_loss(report: ImportReport, rows: int) -> None:
    share = report.refused / rows
    shown = f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
    click.echo(f"{report.refused:,} of {rows:,} rows ({shown}) left out{_loss_by_variant(report)}")
    if share > LARGE_LOSS:
        click.echo(
            "Warning: more than 1% of the rows are missing. If what made them bad has to do with the arm or the "
            "outcome, the result is wrong: mend the table and import it again under another --key."
        )


def _loss_by_variant(report: ImportReport) -> str:
    """Nothing where every arm lost the same."""
    unknown = report.refused - sum(report.refused_units.values())
    if not unknown and len(set(report.refused_units.values())) == 1:
        return ""
    return f" ({split({**report.refused_units, **({'arm not known': unknown} if unknown else {})})})"
