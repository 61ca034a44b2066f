"""``abplatform lake``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from abplatform.cli.lake_report import print_overviews, print_recount, print_tended, table_name
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.errors import Conflict, NotFound
from abplatform.readout.numbers import visible

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.domain.events import EventKind


@click.group("lake")
def command() -> None:
    """Inspect the lake's tables, check their files, tidy them up."""


def _of_project(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--project", metavar="KEY", help="Only the tables of this project.")(function)


@command.command("ls")
@_of_project
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def ls(project: str | None, format_: str) -> None:
    """List the tables: events, files, days, kept states."""
    from abplatform.warehouse.overview import describe

    with open_existing_platform() as platform:
        found = {}
        for key, kind in _tables(platform, project):
            table = platform.lake.find(key, kind)
            if table is not None:
                found[key, kind] = describe(table)
        print_overviews(found, as_json=format_ == "json")


@command.command("verify")
@_of_project
def verify(project: str | None) -> int:
    """Check every file against its manifest.

    Files that nothing names are listed too. The exit status is 1 if anything is wrong, or if another database has gone
    on with the lake.
    """
    from abplatform.warehouse.recount import recount

    sound = True
    with open_existing_platform() as platform:
        for key, kind in _tables(platform, project):
            with progress_bar(table_name(key, kind), 1.0) as progress:
                found = recount(platform.lake, key, kind, now=platform.now(), progress=progress)
            sound = print_recount(key, kind, found) and sound
        sound = _is_held(platform) and sound
    return 0 if sound else 1


@command.command("compact")
@_of_project
def compact(project: str | None) -> None:
    """Do one round of tidying up now.

    The worker does it by itself: retention, compaction, expiry of earlier states, removal of files.
    """
    from abplatform.services.tend import tend_table

    with open_existing_platform() as platform:
        for key, kind in _tables(platform, project):
            done = tend_table(
                platform.database, platform.lake, key, kind, settings=platform.settings, now=platform.now()
            )
            print_tended(key, kind, done)


@command.command("adopt")
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit trail.")
@click.option("--actor", metavar="NAME", help="Who does it, for the audit trail; the user of this process by default.")
def adopt(reason: str, actor: str | None) -> None:
    """Make the lake this database's, where another one has gone on with it.

    Of two databases with one lake, one of them a copy of the other, only one tidies up. This one will: it removes,
    after a day, what only the other one knows. Stop the other one first. The audit trail says who did it and why.
    """
    from abplatform.services.hold_lake import adopt_lake
    from abplatform.services.record import Trail, name_actor, on_record

    who = name_actor(actor, reason=reason)
    with open_existing_platform() as platform:
        trail = Trail(uow=platform.uow, project=DEFAULT_PROJECT, actor=who, clock=platform.now)
        with on_record(trail, "lake-adopt", {"lake": platform.lake.root}):
            adopt_lake(platform.uow, platform.lake, now=platform.now())
        click.echo(f"the lake in {visible(platform.lake.root)} is this database's; no other one may tidy it up")


def _is_held(platform: Platform) -> bool:
    """Whether no other database has gone on with the lake; says so if one has."""
    from abplatform.services.hold_lake import check_lake

    try:
        check_lake(platform.uow, platform.lake)
    except FileNotFoundError:
        return True  # Its tables have been named.
    except Conflict as error:
        click.echo(error.detail)
        return False
    return True


def _tables(platform: Platform, project: str | None) -> Iterator[tuple[str, EventKind]]:
    from abplatform.warehouse.layout import KINDS

    projects = platform.lake.projects()
    if project is not None and project not in projects:
        raise NotFound(f"the lake has no project {project!r}")
    if not projects:
        click.echo("the lake is empty", err=True)
    for key in projects if project is None else (project,):
        for kind in KINDS:
            yield key, kind
