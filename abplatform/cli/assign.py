"""``abplatform assign``."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from abplatform.cli.formats import choose_format
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    import pyarrow as pa

    from abplatform.services.assign_units import Assigned, Plan, Table
    from abplatform.services.evaluate_rows import Answer

_SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


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
    with progress_bar(visible(file.name), 1.0) as progress, _destination(output) as stream:
        counts = write_answers(assign_units(plan, table, progress=progress), stream, chosen)
    _summarise(plan, counts)


def _format(asked: str | None, output: Path | None) -> str:
    chosen = choose_format(asked, output, _SUFFIXES, default="csv")
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal; name a file with --output")
    return chosen


def _note_missing(table: Table) -> None:
    for name in table.missing:
        where = visible(table.path.name)
        click.echo(f"{where} has no column {visible(name)!r}, which evaluation reads: it counts as missing", err=True)


@contextmanager
def _destination(output: Path | None) -> Iterator[BinaryIO]:
    """Stdout, or a file that gets its name when it is whole."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as stream:
            yield stream
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


def write_answers(rows: Iterable[Assigned], stream: BinaryIO, format_: str) -> Counter[Answer]:
    """Write answers as ``csv`` or ``parquet``, and tell how many rows got each."""
    counts: Counter[Answer] = Counter()
    with _writer(stream, format_) as write:
        for assigned in rows:
            write(assigned.as_batch())
            counts += assigned.answers.count()
    return counts


@contextmanager
def _writer(stream: BinaryIO, format_: str) -> Iterator[Callable[[pa.RecordBatch], None]]:
    import pyarrow as pa
    from pyarrow import csv, parquet

    from abplatform.services.assign_units import SCHEMA

    if format_ == "parquet":
        # Ids are all different: a dictionary of them would be built for nothing.
        repeated = [name for name in SCHEMA.names if name != "unit_id"]
        with parquet.ParquetWriter(stream, SCHEMA, compression="zstd", use_dictionary=repeated) as writer:
            yield writer.write_batch
    else:
        plain = pa.schema([(field.name, getattr(field.type, "value_type", field.type)) for field in SCHEMA])
        with csv.CSVWriter(stream, plain) as writer:
            yield lambda batch: writer.write_batch(batch.cast(plain))


def _summarise(plan: Plan, counts: Counter[Answer]) -> None:
    """Say on stderr how many units got what: for people who watch, and for logs without ids."""
    click.echo(f"{counts.total():,} rows of {plan.experiment}, phase {plan.rule.phase}", err=True)
    for answer, count in counts.most_common():
        click.echo(f"{count:>14,}  {answer.reason} {visible(answer.variant or '')}".rstrip(), err=True)
