"""``abplatform pseudonymise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.formats import choose_format
from abplatform.cli.output import TABLE_ENDINGS, open_output, table_writer
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_existing_platform
from abplatform.cli.termination import end_when_told
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import plural, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow import RecordBatch

    from abplatform.domain.audit import Actor
    from abplatform.services.pseudonymise import PseudonymRequest, Survey

_SURVEY_SHARE = 0.4


@click.command("pseudonymise")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--unit", required=True, metavar="COLUMN", help="Which column has the ids.")
@click.option("--unit-type", metavar="TYPE", help="What they identify; the project's units by default.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "parquet"]),
    help="By default what the name of --output ends in (.csv, .parquet, .pq).",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit trail.")
@click.option("--actor", metavar="NAME", help="Who does it, for the audit trail; the user of this process by default.")
def command(
    file: Path,
    *,
    unit: str,
    unit_type: str | None,
    output: Path,
    format_: str | None,
    reason: str,
    actor: str | None,
) -> None:
    """Write FILE (CSV, gzipped or not, or Parquet) with the platform's pseudonyms in place of the ids of a column.

    The audit trail says who did it and why before the first pseudonym is written.
    """
    from abplatform.services.pseudonymise import PseudonymRequest
    from abplatform.services.record import name_actor

    chosen = choose_format(format_, output, TABLE_ENDINGS, default="csv")
    if output.exists() and output.samefile(file):
        raise click.BadParameter("must be another file than the one that is read", param_hint="--output")
    request = PseudonymRequest(path=file, column=unit, unit_type=unit_type, output=output, format=chosen)
    _write(request, name_actor(actor, reason=reason))


def _write(request: PseudonymRequest, actor: Actor) -> None:
    from abplatform.services.doubt_types import doubt_types
    from abplatform.services.pseudonymise import describe_disclosure, find_unit_type, pseudonymise_table, survey_table
    from abplatform.services.record import Trail, on_record

    title = visible(request.path.name)
    with end_when_told(), open_existing_platform() as platform, progress_bar(title, 1.0) as progress:
        unit_type = find_unit_type(platform.uow, DEFAULT_PROJECT, request.unit_type)
        survey = survey_table(request, progress=lambda share: progress(_SURVEY_SHARE * share))
        for doubt in doubt_types(platform.uow, DEFAULT_PROJECT, [unit_type]):
            click.echo(f"Warning: {doubt}", err=True)
        batches = pseudonymise_table(
            request,
            survey,
            unit_type,
            secret=platform.pseudonym_key,
            progress=lambda share: progress(_SURVEY_SHARE + (1 - _SURVEY_SHARE) * share),
        )
        trail = Trail(uow=platform.uow, project=DEFAULT_PROJECT, actor=actor, clock=platform.now)
        details = describe_disclosure(request, survey, unit_type)
        # The file has its name before the trail says that it was written.
        with on_record(trail, "pseudonymise", details) as outcome:
            _write_table(request, survey, batches)
            outcome.update(rows=survey.rows)
    without = f"; {survey.without_id:,} without an id" if survey.without_id else ""
    click.echo(f"wrote {plural(survey.rows, 'row')} to {visible(str(request.output))}{without}", err=True)


def _write_table(request: PseudonymRequest, survey: Survey, batches: Iterator[RecordBatch]) -> None:
    with (
        open_output(request.output) as stream,
        table_writer(stream, request.format, survey.schema, distinct=(request.column,)) as write,
    ):
        for batch in batches:
            write(batch)
