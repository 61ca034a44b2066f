"""``abplatform seal``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from abplatform.cli.progress import counting_bar
from abplatform.cli.session import log_to_stderr, open_platform, stop_when_told
from abplatform.readout.numbers import plural

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform


@click.command("seal")
@click.option("--once", is_flag=True, help="Seal what waits now, say what became of it, and end.")
def command(once: bool) -> None:
    """Move events from the inbox into the lake: until stopped, or what waits now.

    `abplatform worker` does the same and looks after the lake besides. Any number of both may run: a lease lets one
    of them act on a project at a time.
    """
    with open_platform() as platform:
        if once:
            _seal_once(platform)
        else:
            _seal_until_stopped(platform)


def _seal_once(platform: Platform) -> None:
    projects = platform.inbox.waiting_projects()
    if not projects:
        click.echo("no events wait to be sealed")
    for project in projects:
        with counting_bar(f"sealing {project}", platform.inbox.pending(project)) as count:
            report = platform.seal(project, progress=count)
        for kind, sealed in report.sealed.items():
            duplicates, conflicts = report.duplicates[kind], report.conflicts[kind]
            click.echo(
                f"{project}: {plural(sealed, kind)} sealed; dropped {plural(duplicates, 'duplicate')}, "
                f"{conflicts:,} with the id of another event"
            )
        left = platform.inbox.pending(project)
        if left:
            click.echo(f"{project}: {left:,} events came meanwhile, or another sealer has them in hand")


def _seal_until_stopped(platform: Platform) -> None:
    log_to_stderr()
    stop = stop_when_told()
    platform.work(stop=stop, tending=False)
