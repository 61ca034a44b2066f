"""``abplatform project``."""

from __future__ import annotations

import click

from abplatform.cli.session import open_existing_platform, open_platform
from abplatform.domain.access import DEFAULT_PROJECT, Project


@click.group("project")
def command() -> None:
    """Show and change what holds for the whole project."""


@command.command("show")
def show() -> None:
    """Print the project, one field per line."""
    with open_existing_platform() as platform, platform.uow.reading() as work:
        project = work.projects.get(DEFAULT_PROJECT)
    _print(project)


@command.command("set")
@click.option("--time-zone", help="IANA name, such as Asia/Shanghai: whose days count in metrics of calendar days.")
@click.option("--name", help="For people.")
def change(time_zone: str | None, name: str | None) -> None:
    """Change the time zone or the name, and print the project."""
    from abplatform.services.edit_project import edit_project

    given = {"time_zone": time_zone, "name": name}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("say what to change: --time-zone or --name")
    with open_platform() as platform, platform.uow.begin() as work:
        work.projects.ensure(DEFAULT_PROJECT, now=platform.now())
        project = edit_project(work, DEFAULT_PROJECT, changes)
    _print(project)


def _print(project: Project) -> None:
    for field in ("key", "name", "unit_type", "time_zone"):
        click.echo(f"{field}: {getattr(project, field)}")
