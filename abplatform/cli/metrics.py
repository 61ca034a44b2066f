"""``abplatform metrics``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import click

from abplatform.cli.invocation import program
from abplatform.cli.metrics_report import print_checks, print_installed, print_metrics
from abplatform.cli.progress import counting_bar, progress_bar
from abplatform.cli.session import open_existing_platform, open_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.templates import LANGUAGES, SETS, Language, choose_set, choose_templates

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.domain.metric import Metric


def _of_project(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--project", metavar="KEY", default=DEFAULT_PROJECT, show_default=True, help="Whose metrics.")(
        function
    )


def _in_format(function: Callable[..., Any]) -> Callable[..., Any]:
    formats = click.Choice(["text", "json"])
    return click.option("--format", "format_", type=formats, default="text", show_default=True)(function)


@click.group("metrics")
def command() -> None:
    """Install metrics from templates, list them, check that their events arrive."""


@command.command("install")
@click.argument("set_", metavar="SET", type=click.Choice(list(SETS)))
@click.option("--only", "keys", metavar="KEY", multiple=True, help="Only this template of the set; may be repeated.")
@click.option("--lang", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of names, descriptions.")
@click.option("--prefix", default="", help="Of the keys of the metrics.")
@_of_project
def install(set_: str, *, keys: tuple[str, ...], lang: str, prefix: str, project: str) -> None:
    """Make metrics of the templates of SET, all or none; doing it again changes nothing."""
    from abplatform.services.install import install_templates

    templates = choose_set(set_)
    if keys:
        templates = choose_templates(keys, templates, path="--only")
    with open_platform() as platform, platform.uow.begin() as work:
        language = cast("Language", lang)
        done = install_templates(work, project, templates, now=platform.now(), language=language, prefix=prefix)
    print_installed(done)
    click.echo(f"which of their events arrive: {program()} metrics check", err=True)


@command.command("list")
@_of_project
@_in_format
def list_(project: str, format_: str) -> None:
    """List the metrics of a project; as JSON with all that they say."""
    with open_existing_platform() as platform:
        metrics = _read_metrics(platform, project)
    print_metrics(metrics, as_json=format_ == "json")


@command.command("check")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far back to look.")
@click.option("--only", "keys", metavar="KEY", multiple=True, help="Only this metric; may be repeated.")
@_of_project
@_in_format
def check(days: int, *, keys: tuple[str, ...], project: str, format_: str) -> int:
    """Say which events and properties that metrics read have not come in lately.

    A property that is read as a number and never was one is named too. The exit status is 1 if anything is missing.
    """
    from abplatform.services.check_metrics import check_metrics

    with open_existing_platform() as platform:
        metrics = _read_metrics(platform, project, keys)
        with counting_bar(f"sealing {project}", platform.inbox.pending(project)) as count:
            platform.seal(project, progress=count)
        since = platform.now() - timedelta(days=days)
        with progress_bar("reading events", 1.0) as progress:
            memory = platform.settings.engine_memory
            checks = check_metrics(platform.lake, project, metrics, since=since, memory_limit=memory, progress=progress)
    sound = print_checks(checks, days=days, as_json=format_ == "json")
    return 0 if sound else 1


def _read_metrics(platform: Platform, project: str, keys: tuple[str, ...] = ()) -> tuple[Metric, ...]:
    """The metrics of a project, or some of them.

    Raises:
        NotFound: there is no such project, or no such metric.
    """
    with platform.uow.reading() as work:
        work.projects.get(project)
        found = [work.metrics.get(project, key) for key in dict.fromkeys(keys)] or work.metrics.all(project)
    if not found:
        click.echo(f"the project has no metrics; to begin with some: {program()} metrics install SET", err=True)
    return tuple(stored.metric for stored in found)
