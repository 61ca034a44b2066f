"""``abplatform import-events``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from abplatform.cli.import_report import LARGE_LOSS, FaultList
from abplatform.cli.mapping import Mapping, as_mapping
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_platform, usable_settings
from abplatform.cli.simulated import check_takes_real_data
from abplatform.cli.termination import end_when_told
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import plural, visible

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.domain.audit import Actor
    from abplatform.services.load import EventRequest, LoadReport

_COLUMNS = Mapping("NAME=COLUMN")
_ONLY = {
    "conversion": {"event": "--event", "event_name": "--event-name", "value": "--value", "properties": "--property"},
    "exposure": {
        "experiment": "--experiment",
        "experiment_key": "--experiment-key",
        "variant": "--variant",
        "phase": "--phase",
        "attributes": "--attribute",
    },
}


@click.command("import-events")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--kind", type=click.Choice(["conversion", "exposure"]), default="conversion", show_default=True)
@click.option("--unit", required=True, metavar="COLUMN", help="Id of the unit.")
@click.option("--unit-type", metavar="TYPE", help="What --unit identifies; the project's units by default.")
@click.option(
    "--other-unit",
    "other_units",
    type=Mapping("TYPE=COLUMN"),
    multiple=True,
    help="Id of a unit of another type. Repeatable.",
)
@click.option("--timestamp", required=True, metavar="COLUMN", help="When it happened.")
@click.option("--timezone", metavar="NAME", help="Of times without an offset, such as Asia/Shanghai.")
@click.option("--event-id", metavar="COLUMN", help="Id of the event; made of what the row says if absent.")
@click.option("--event", metavar="COLUMN", help="Conversions: what happened.")
@click.option("--event-name", metavar="NAME", help="Conversions: what happened, the same in all rows.")
@click.option("--value", metavar="COLUMN", help="Conversions: an amount.")
@click.option("--property", "properties", type=_COLUMNS, multiple=True, help="Conversions: a property. Repeatable.")
@click.option("--experiment", metavar="COLUMN", help="Exposures: key of the experiment.")
@click.option("--experiment-key", metavar="KEY", help="Exposures: key of the experiment, the same in all rows.")
@click.option("--variant", metavar="COLUMN", help="Exposures: key of the variant.")
@click.option("--phase", metavar="COLUMN", help="Exposures: number of the phase.")
@click.option("--attribute", "attributes", type=_COLUMNS, multiple=True, help="Exposures: an attribute. Repeatable.")
@click.option(
    "--type",
    "types",
    type=Mapping("NAME=TYPE", ("text", "number", "boolean")),
    multiple=True,
    help="What a property or attribute is; by default text in CSV, and the type of the column in Parquet. Repeatable.",
)
@click.option("--actor", metavar="NAME", help="Who imports, for the audit trail; the user of this process by default.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail.")
@click.option("--check", is_flag=True, help="Only say what would be taken and what left out; nothing is taken.")
def command(file: Path, *, check: bool, **options: Any) -> int:
    """Import the events of FILE (CSV, gzipped or not, or Parquet; one row per event).

    They count as if they had come over HTTP, whatever their age; what is there already counts once. A row that is wrong
    is left out and counted; the first twenty are named by their numbers on stderr, and the exit status is 1.
    """
    from abplatform.services.record import name_actor

    request = _request(file, options)
    actor = name_actor(options["actor"], reason=options["reason"])
    faults = FaultList()
    settings = usable_settings()
    check_takes_real_data(settings)
    with end_when_told(), open_platform(settings) as platform:
        _print_doubts(platform, request)
        try:
            report = _load(platform, request, None if check else actor, faults)
        finally:
            faults.print()
    _print_rows(report, request, checked=check)
    _print_losses(report)
    return 1 if report.refused else 0


def _request(file: Path, options: dict[str, Any]) -> EventRequest:
    from abplatform.services.load import EventRequest, Origin

    kind = options["kind"]
    other = "exposure" if kind == "conversion" else "conversion"
    for name, option in _ONLY[other].items():
        if options[name]:
            raise click.BadParameter(f"goes with --kind {other} only", param_hint=option)
    as_they_are = ("kind", "unit", "unit_type", "timestamp", "timezone", "event_id", "value", "variant", "phase")
    properties = ("properties", "--property") if kind == "conversion" else ("attributes", "--attribute")
    return EventRequest(
        path=file,
        event=Origin(options["event"], options["event_name"]),
        experiment=Origin(options["experiment"], options["experiment_key"]),
        other_units=as_mapping(options["other_units"], "--other-unit"),
        properties=as_mapping(options[properties[0]], properties[1]),
        types=as_mapping(options["types"], "--type"),  # type: ignore[arg-type]
        **{name: options[name] for name in as_they_are},
    )


def _load(platform: Platform, request: EventRequest, actor: Actor | None, faults: FaultList) -> LoadReport:
    """Take the events in the name of an actor; without one only check them."""
    from abplatform.services.load import LoadTarget, check_events, load_events

    target = LoadTarget(
        uow=platform.uow,
        inbox=platform.inbox,
        project=DEFAULT_PROJECT,
        secret=platform.pseudonym_key,
        seal=lambda: platform.seal(DEFAULT_PROJECT),
        oldest=platform.oldest_kept(),
    )
    with progress_bar(visible(request.path.name), 1.0) as progress:
        if actor is None:
            return check_events(target, request, clock=platform.now, on_fault=faults, progress=progress)
        return load_events(target, request, actor=actor, clock=platform.now, on_fault=faults, progress=progress)


def _print_doubts(platform: Platform, request: EventRequest) -> None:
    """Say, once the request fits the table, which types of units may be mistyped."""
    from abplatform.services.doubt_types import doubt_types
    from abplatform.services.load import check_request

    check_request(request)
    named = [each for each in (request.unit_type, *request.other_units) if each is not None]
    for doubt in doubt_types(platform.uow, DEFAULT_PROJECT, named):
        click.echo(f"Warning: {doubt}", err=True)


def _print_rows(report: LoadReport, request: EventRequest, *, checked: bool) -> None:
    rows = f"{plural(report.taken, 'good row')} of {visible(request.path.name)}"
    sealed = report.sealed
    if checked:
        click.echo(f"read {rows}; nothing is taken, and ids are not compared with what is there already")
        return
    conflicts = f", and {sealed.conflicts:,} with the id of another event, which stays" if sealed.conflicts else ""
    if report.new is not None:
        click.echo(f"read {rows}: {sealed.sealed:,} new, {sealed.duplicates:,} there already{conflicts}")
        return
    # A worker has sealed some of them, or this command some of others.
    seen = f"{sealed.sealed:,} are new, {sealed.duplicates:,} had been there already{conflicts}"
    click.echo(f"read {rows}, all on disk; of the events that were sealed here meanwhile {seen}")


def _print_losses(report: LoadReport) -> None:
    for code, count in sorted(report.refused.items()):
        click.echo(f"left out {count:,}: {code}")
    refused = sum(report.refused.values())
    rows = report.taken + refused
    if refused > LARGE_LOSS * rows:
        again = "Mend the table and import it again: what was taken counts once."
        click.echo(f"Warning: {refused:,} of {rows:,} rows are missing. {again}")
