"""``abplatform behaviours``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from abplatform.cli.behaviours_report import print_behaviours, print_exported, print_recency
from abplatform.cli.formats import choose_format
from abplatform.cli.invocation import program
from abplatform.cli.output import TABLE_ENDINGS, open_output, table_writer
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_existing_platform, open_platform
from abplatform.cli.termination import end_when_told
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow import RecordBatch

    from abplatform.bootstrap import Platform
    from abplatform.domain.audit import Actor
    from abplatform.services.export_classes import ExportRequest

_FIND_SHARE = 0.5


def _of_project(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--project", metavar="KEY", default=DEFAULT_PROJECT, show_default=True, help="Whose.")(function)


@click.group("behaviours")
def command() -> None:
    """Segments from what units did: define them, show them, export the class of each unit."""


@command.command("list")
@_of_project
def list_(project: str) -> None:
    """List the behaviours of a project in their newest versions."""
    with open_existing_platform() as platform, platform.uow.reading() as work:
        work.projects.get(project)
        found = work.behaviours.all(project)
    print_behaviours(found)
    if not found:
        click.echo(f"the project has no behaviours; to define one: {program()} behaviours make FILE.json", err=True)


@command.command("show")
@click.argument("name", metavar="KEY[@VERSION]")
@_of_project
def show(name: str, project: str) -> None:
    """Print all that a version of a behaviour says, the newest by default, as JSON."""
    from abplatform.services.choose_dimension import find_version

    with open_existing_platform() as platform, platform.uow.reading() as work:
        stored = find_version(work, project, name)
    click.echo(json.dumps(msgspec.to_builtins(stored), indent=2, ensure_ascii=False))
    print_recency(stored.behaviour)


@command.command("make")
@click.argument("file", metavar="FILE.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_of_project
def make(file: Path, project: str) -> None:
    """Make the behaviour that FILE.json defines or, where there is one of its key, the next version of that.

    Quantiles become edges by what units did until now. The file says what the HTTP API takes.
    """
    from abplatform.services.make_behaviour import make_behaviour
    from abplatform.services.read_behaviour import read_behaviour

    behaviour = read_behaviour(file)
    with open_platform() as platform, progress_bar("reading events", 1.0):
        stored = make_behaviour(platform.past, project, behaviour, now=platform.now())
    click.echo(f"made version {stored.version} of {visible(stored.key)}")


@command.command("export")
@click.argument("name", metavar="KEY[@VERSION]")
@click.option(
    "--units",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The product's table with raw ids: CSV, gzipped or not, or Parquet.",
)
@click.option("--column", default="unit_id", show_default=True, metavar="NAME", help="Which column has the ids.")
@click.option("--unit-type", metavar="TYPE", help="What they identify; the project's units by default.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "parquet"]),
    help="By default what the name of --output ends in (.csv, .parquet, .pq).",
)
@click.option("--as-of", metavar="TIME", help="Only what was done before it counts (RFC 3339); now by default.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail.")
@click.option("--actor", metavar="NAME", help="Who does it, for the audit trail; the user of this process by default.")
@_of_project
def export(
    name: str, *, output: Path, format_: str | None, reason: str | None, actor: str | None, **options: Any
) -> None:
    """Write the class of each unit whose raw id a table has, with the numbers that the class rests on.

    Ids become pseudonyms in memory, and are kept nowhere. The audit trail says who did it before the first is written.
    """
    from abplatform.services.record import name_actor

    chosen = choose_format(format_, output, TABLE_ENDINGS, default="csv")
    if output.exists() and output.samefile(options["path"]):
        raise click.BadParameter("must be another file than the one that is read", param_hint="--output")
    _export(name, output, chosen, name_actor(actor, reason=reason), **options)


def _export(name: str, output: Path, format_: str, actor: Actor, *, project: str, **options: Any) -> None:
    from abplatform.services.export_classes import Exported, describe_export, export_classes, find_classes
    from abplatform.services.record import Trail, on_record

    title, exported = visible(options["path"].name), Exported()
    with end_when_told(), open_existing_platform() as platform, progress_bar(title, 1.0) as progress:
        request, unit_type = _plan(platform, name, project=project, output=output, **options)
        classes = find_classes(platform.past, project, request)
        rows = export_classes(
            request,
            classes,
            unit_type,
            secret=platform.pseudonym_key,
            exported=exported,
            progress=lambda share: progress(_FIND_SHARE + (1 - _FIND_SHARE) * share),
        )
        trail = Trail(uow=platform.uow, project=project, actor=actor, clock=platform.now)
        # The file has its name before the trail says that it was written.
        with on_record(trail, "export-behaviour", describe_export(request, unit_type)) as outcome:
            _write(request, format_, rows)
            outcome.update(rows=exported.rows)
    print_exported(request, exported)


def _plan(
    platform: Platform, name: str, *, project: str, unit_type: str | None, as_of: str | None, **table: Any
) -> tuple[ExportRequest, str]:
    """What is to be written, and of which type the ids are."""
    from abplatform.services.choose_dimension import find_version
    from abplatform.services.doubt_types import doubt_types
    from abplatform.services.export_classes import ExportRequest, check_export
    from abplatform.services.pseudonymise import find_unit_type

    now = platform.now()
    with platform.uow.reading() as work:
        stored = find_version(work, project, name)
    own, type_ = (find_unit_type(platform.uow, project, each) for each in (None, unit_type))
    request = ExportRequest(
        **table,
        unit_type=None if type_ == own else type_,
        stored=stored,
        time=now if as_of is None else _read_time(as_of),
    )
    check_export(request, now=now)
    for doubt in doubt_types(platform.uow, project, [type_]):
        click.echo(f"Warning: {doubt}", err=True)
    return request, type_


def _write(request: ExportRequest, format_: str, rows: Iterator[RecordBatch]) -> None:
    with (
        open_output(request.output) as stream,
        table_writer(stream, format_, request.schema, distinct=(request.column,)) as write,
    ):
        for batch in rows:
            write(batch)


def _read_time(text: str) -> datetime:
    from abplatform.domain.events import BadEvent, read_timestamp

    try:
        return read_timestamp(text, "--as-of")
    except BadEvent as error:
        raise click.UsageError(str(error)) from None
