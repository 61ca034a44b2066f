"""``abplatform verify``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_existing_platform
from abplatform.cli.verify_report import print_units, print_variants
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.domain.experiment import Experiment
    from abplatform.warehouse.audit import Audit

_ENGINES = ("duckdb", "postgresql", "spark", "clickhouse", "bigquery")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The table of ``--units``, and how to name its units."""

    path: Path
    column: str
    show_ids: bool


@click.command("verify")
@click.argument("experiment")
@click.option("--phase", type=click.IntRange(min=1), metavar="N", help="Another phase than the current one.")
@click.option(
    "--units",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Draw the raw ids of this table (CSV or Parquet) anew, and compare.",
)
@click.option("--unit-column", default="unit_id", show_default=True, metavar="COLUMN", help="Which column has the ids.")
@click.option("--show-ids", is_flag=True, help="Name disagreeing units by the ids in the table, not by pseudonyms.")
@click.option(
    "--sql", "engine", type=click.Choice(_ENGINES), help="Print the draws as a query for this engine, and stop."
)
def command(
    experiment: str, *, phase: int | None, file: Path | None, unit_column: str, show_ids: bool, engine: str | None
) -> int:
    """Compare the exposures of EXPERIMENT with what was drawn.

    The exit status is 1 if any of them disagrees.
    """
    if engine is not None and file is not None:
        raise click.UsageError("--sql and --units do not go together")
    if show_ids and file is None:
        raise click.UsageError("--show-ids needs --units")
    with open_existing_platform() as platform:
        if engine is not None:
            _print_query(platform, experiment, phase, engine)
            return 0
        table = None if file is None else _Table(path=file, column=unit_column, show_ids=show_ids)
        return 0 if _verify(platform, experiment, phase, table) else 1


def _print_query(platform: Platform, key: str, phase: int | None, engine: str) -> None:
    from abplatform.services.verify import print_query, read_drawing, read_phase

    with platform.uow.reading() as work:
        drawing = read_drawing(work, DEFAULT_PROJECT, read_phase(work, DEFAULT_PROJECT, key, phase=phase))
    click.echo(print_query(drawing, engine), nl=False)


def _verify(platform: Platform, key: str, phase: int | None, table: _Table | None) -> bool:
    """Compare, print, and tell whether all agree."""
    from abplatform.services.verify import read_phase
    from abplatform.warehouse.audit import open_audit

    with platform.uow.reading() as work:
        experiment = read_phase(work, DEFAULT_PROJECT, key, phase=phase)
    platform.seal(DEFAULT_PROJECT)
    clusters, memory = experiment.definition.clustered, platform.settings.engine_memory
    where = (platform.lake, DEFAULT_PROJECT, key, experiment.phase)
    with open_audit(*where, clusters=clusters, memory_limit=memory) as audit:
        agrees = print_variants(experiment, audit.count_by_variant())
        return agrees if table is None else _verify_units(platform, experiment, audit, table) and agrees


def _verify_units(platform: Platform, experiment: Experiment, audit: Audit, table: _Table) -> bool:
    from abplatform.services.verify import compare_units, find_units, read_drawing

    with platform.uow.reading() as work:
        drawing = read_drawing(work, DEFAULT_PROJECT, experiment)
    secret = platform.pseudonym_key
    with progress_bar(visible(table.path.name), 1.0) as progress:
        listed = compare_units(audit, drawing, table.path, table.column, secret=secret, progress=progress)
    names: dict[str, str] = {}
    if table.show_ids:
        wanted = {unit for unit, _, _ in listed.counts.examples}
        names = find_units(drawing, table.path, table.column, wanted, secret=secret)
    return print_units(table.path, listed, names=names)
