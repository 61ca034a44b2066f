"""``abplatform import``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from abplatform.cli.import_report import FaultList, print_report
from abplatform.cli.progress import progress_bar
from abplatform.cli.readout import print_text
from abplatform.cli.session import open_platform, usable_settings
from abplatform.cli.simulated import check_takes_real_data
from abplatform.cli.termination import end_when_told
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.domain.audit import Actor
    from abplatform.services.adopt import ImportReport, ImportRequest, Outcome
    from abplatform.services.read_table.source import Progress

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_OUTCOMES = {"conversions": "conversion", "sums": "sum"}


class _OrderedCommand(click.Command):
    """Remembers the order of ``--conversion`` and ``--sum`` among each other: the first outcome is primary."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["abplatform.order"] = [parameter.name for parameter in order if parameter.name in _OUTCOMES]
        return super().parse_args(ctx, args)


def _columns(*names: str, dest: str, note: str) -> Callable[[Decorated], Decorated]:
    return click.option(*names, dest, multiple=True, metavar="COLUMN", help=f"{note} Repeatable.")


@click.command("import", cls=_OrderedCommand)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--variant", required=True, metavar="COLUMN", help="Which arm a row was in.")
@click.option("--control", required=True, metavar="VALUE", help="The control's value in that column.")
@click.option(
    "--weight", "weights", multiple=True, metavar="VALUE=W", help="Planned weight of an arm; equal if absent."
)
@click.option("--unit", metavar="COLUMN", help="Id of the unit; the row number if absent.")
@click.option("--cluster", metavar="COLUMN", help="What was randomised, where whole groups of units were.")
@_columns("--conversion", dest="conversions", note="An outcome of 0, 1, true or false.")
@_columns("--sum", dest="sums", note="An outcome that is an amount.")
@_columns("--covariate", dest="covariates", note="A number from before the experiment, to check the balance.")
@_columns("--dimension", dest="dimensions", note="An attribute to slice by.")
@_columns("--primary", dest="primaries", note="Outcomes that decide; by default the first one named.")
@_columns("--decrease", dest="decreases", note="An outcome of which less is better, such as bad debt.")
@click.option("--key", help="Key of the experiment; by default the file's name.")
@click.option("--actor", metavar="NAME", help="Who imports, for the audit trail; the user of this process by default.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit trail.")
@click.pass_context
def command(ctx: click.Context, /, file: Path, *, actor: str | None, reason: str | None, **options: object) -> None:
    """Import FILE (CSV, gzipped or not, or Parquet; one row per unit) as a stopped experiment, and show its readout.

    A row that is wrong in any column is left out and counted; the first twenty are named by their numbers on
    stderr. The first row of data is 1.
    """
    from abplatform.services.record import name_actor

    request = _request(file, options, order=ctx.meta["abplatform.order"])
    who = name_actor(actor, reason=reason)
    faults = FaultList()
    settings = usable_settings()
    check_takes_real_data(settings)
    with end_when_told(), open_platform(settings) as platform:
        try:
            with progress_bar(visible(file.name), 1.0) as progress:
                report = adopt(platform, request, on_fault=faults, progress=progress, actor=who)
        finally:
            faults.print()
        print_report(report, file)
        scorecard = platform.results(DEFAULT_PROJECT, request.key)
    click.echo()
    print_text(scorecard)


def adopt(
    platform: Platform,
    request: ImportRequest,
    *,
    on_fault: FaultList,
    progress: Progress,
    actor: Actor | None = None,
) -> ImportReport:
    """Import a table into the default project of a platform; without an actor in the name of this process's user."""
    from abplatform.services.adopt import Target, adopt_table
    from abplatform.services.record import name_actor

    target = Target(
        database=platform.database,
        uow=platform.uow,
        lake=platform.lake,
        project=DEFAULT_PROJECT,
        secret=platform.pseudonym_key,
    )
    who = name_actor(None, reason=None) if actor is None else actor
    return adopt_table(target, request, actor=who, clock=platform.now, on_fault=on_fault, progress=progress)


def _request(file: Path, options: dict[str, object], *, order: list[str]) -> ImportRequest:
    from abplatform.services.adopt import ImportRequest

    texts: dict[str, tuple[str, ...]] = {name: value for name, value in options.items() if isinstance(value, tuple)}
    single: dict[str, str | None] = {name: value for name, value in options.items() if not isinstance(value, tuple)}  # type: ignore[misc]
    return ImportRequest(
        path=file,
        key=single["key"] or key_of_file(file),
        variant=single["variant"] or "",
        control=single["control"] or "",
        outcomes=_outcomes(texts, order),
        weights=_weights(texts["weights"]),
        unit=single["unit"],
        cluster=single["cluster"],
        covariates=texts["covariates"],
        dimensions=texts["dimensions"],
        primaries=texts["primaries"],
        decreases=texts["decreases"],
    )


def _outcomes(texts: dict[str, tuple[str, ...]], order: list[str]) -> tuple[Outcome, ...]:
    from abplatform.services.adopt import Outcome

    columns = {name: iter(texts[name]) for name in _OUTCOMES}
    return tuple(Outcome(column=next(columns[name]), kind=_OUTCOMES[name]) for name in order)  # type: ignore[arg-type]


def _weights(texts: tuple[str, ...]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for variant, weight in map(_weight, texts):
        if variant in weights:
            raise click.BadParameter(f"{variant!r} stands twice", param_hint="--weight")
        weights[variant] = weight
    return weights


def _weight(text: str) -> tuple[str, float]:
    variant, _, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not variant or not 0 < weight < float("inf"):
        raise click.BadParameter(f"{text!r} is not VALUE=W with a positive number W", param_hint="--weight")
    return variant, weight


def key_of_file(file: Path) -> str:
    """The file's name without suffixes as a key.

    >>> key_of_file(Path("My Data.csv.gz"))
    'my-data'
    """
    stem = file.name.lstrip(".").partition(".")[0].lower()
    key = re.sub(r"[^a-z0-9_]+", "-", stem).strip("-_")[:64]
    if not key:
        raise click.UsageError(f"{file.name} gives no key; name one with --key")
    return key
