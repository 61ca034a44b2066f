"""``abplatform assign``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from abplatform.cli.formats import choose_format
from abplatform.cli.output import TABLE_ENDINGS, open_output, table_writer
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    from abplatform.services.assign_units import Assigned, Plan, Table
    from abplatform.services.evaluate_rows import Answer


@click.command("assign")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--experiment", "key", required=True, metavar="KEY", help="Which experiment.")
@click.option("--unit-column", default="unit_id", show_default=True, metavar="COLUMN", help="Which column has the ids.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, not to stdout.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "parquet"]),
    help="By default what the name of --output ends in (.csv, .parquet, .pq); csv for stdout.",
)
@click.option("--phase", type=click.IntRange(min=1), metavar="N", help="As it was in that phase, while it ran.")
def command(
    file: Path, *, key: str, unit_column: str, output: Path | None, format_: str | None, phase: int | None
) -> None:
    """Say for each row of FILE (CSV, gzipped or not, or Parquet) what its unit gets, and why.

    The other columns are the attributes for targeting. Rows keep their order, and repeated ids are answered again.
    """
    chosen = _format(format_, output)
    from abplatform.services.assign_units import assign_units, open_table, plan_assignment

    with open_existing_platform() as platform, platform.uow.reading() as work:
        plan = plan_assignment(work, DEFAULT_PROJECT, key, phase=phase)
    table = open_table(plan, file, unit_column)
    _note_missing(table)
    with progress_bar(visible(file.name), 1.0) as progress, open_output(output) as stream:
        counts = write_answers(assign_units(plan, table, progress=progress), stream, chosen)
    _summarise(plan, counts)


def _format(asked: str | None, output: Path | None) -> str:
    chosen = choose_format(asked, output, TABLE_ENDINGS, default="csv")
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; name a file with --output")
    return chosen


def _note_missing(table: Table) -> None:
    for name in table.missing:
        where = visible(table.path.name)
        click.echo(f"{where} has no column {visible(name)!r}, which evaluation reads: it counts as missing", err=True)


def write_answers(rows: Iterable[Assigned], stream: BinaryIO, format_: str) -> Counter[Answer]:
    """Write answers as ``csv`` or ``parquet``, and tell how many rows got each."""
    from abplatform.services.assign_units import SCHEMA

    counts: Counter[Answer] = Counter()
    with table_writer(stream, format_, SCHEMA, distinct=("unit_id",)) as write:
        for assigned in rows:
            write(assigned.as_batch())
            counts += assigned.answers.count()
    return counts


def _summarise(plan: Plan, counts: Counter[Answer]) -> None:
    """Say on stderr how many units got what: for people who watch, and for logs without ids."""
    click.echo(f"{counts.total():,} rows of {plan.experiment}, phase {plan.rule.phase}", err=True)
    for answer, count in counts.most_common():
        click.echo(f"{count:>14,}  {answer.reason} {visible(answer.variant or '')}".rstrip(), err=True)
