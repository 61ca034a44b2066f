"""``abplatform simulate-app``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from abplatform.cli.invocation import program
from abplatform.cli.progress import progress_bar
from abplatform.cli.session import open_platform, place, usable_settings
from abplatform.cli.simulated import ELSEWHERE, is_simulated, mark_simulated
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.suggestions import suggest
from abplatform.errors import AlreadyExists, StartRefused

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.cli.stories.story import Story
    from abplatform.settings import Settings


@click.command("simulate-app")
@click.argument("name", metavar="STORY", required=False)
@click.option("--list", "list_stories", is_flag=True, help="Print the stories, one per line, and stop.")
@click.option("--units", type=click.IntRange(2_000, 200_000), help="Customers; each story has its own default.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Equal seeds give equal numbers.")
@click.option("--until-day", type=click.IntRange(1), metavar="D", help="End the story on this day, not on its last.")
def command(*, name: str | None, list_stories: bool, units: int | None, seed: int, until_day: int | None) -> None:
    """Tell STORY, an experiment with simulated customers in whom a truth is planted, and say whether it was found.

    It began some days ago and ends now: definitions, assignment, events and looks are those of the platform, only the
    clock is simulated. Needs a folder without data of yours, and leaves its data there for `readout` and `serve`.
    """
    from abplatform.cli.stories import STORIES
    from abplatform.cli.stories.report import print_list

    if list_stories == (name is not None):
        raise click.UsageError("name a STORY, or --list")
    if name is None:
        print_list(tuple(STORIES.values()))
        return
    if name not in STORIES:
        raise click.UsageError(f"there is no story {name!r}{suggest(name, STORIES)}")
    story = STORIES[name]
    days = story.days if until_day is None else until_day
    if days > story.days:
        raise click.BadParameter(f"{name} ends on day {story.days}", param_hint="--until-day")
    _check_packages(story)
    settings = usable_settings()
    _claim_home(settings)
    _tell(story, settings, units=units or story.units, seed=seed, days=days)


def _check_packages(story: Story) -> None:
    missing = [package for package in story.packages if find_spec(package) is None]
    if missing:
        how = ".venv/bin/pip install -e '.[demo]'"
        raise click.ClickException(f"{story.key} needs {' and '.join(missing)}; run in the checkout: {how}")


def _claim_home(settings: Settings) -> None:
    """Refuse a place where simulated customers would stand beside real ones.

    Raises:
        StartRefused: it is a shared database or lake, or holds data that no story has put there.
    """
    if not settings.keeps_own_lake:
        raise StartRefused(f"stories are told in a folder of their own, not in a shared database or lake: {ELSEWHERE}")
    if (settings.home / "platform.db").exists() and not is_simulated(settings):
        raise StartRefused(f"{settings.home.absolute()} holds other data than stories: {ELSEWHERE}")
    mark_simulated(settings)


def _check_only_stories(platform: Platform, story: Story, settings: Settings) -> None:
    """Refuse to tell a story twice, and in a home that somebody has begun to use for something else."""
    from abplatform.cli.stories import STORIES

    told = {definition.key for each in STORIES.values() for definition in each.define_all(each.units)}
    with platform.uow.reading() as work:
        known = [experiment.key for experiment in work.experiments.all(DEFAULT_PROJECT)]
    if story.key in known:
        raise AlreadyExists(f"{story.key} was told in {place(settings)} already; for another one {ELSEWHERE}")
    others = [key for key in known if key not in told]
    if others:
        raise StartRefused(f"{place(settings)} has another experiment than stories, {others[0]}: {ELSEWHERE}")


def _tell(story: Story, settings: Settings, *, units: int, seed: int, days: int) -> None:
    from abplatform.cli.stories.report import print_look, print_truth
    from abplatform.cli.stories.simulation import Run, tell

    with open_platform(settings) as platform:
        _check_only_stories(platform, story, settings)
        click.echo(story.title)
        click.echo(f"{units:,} simulated customers, seed {seed}; it began {days} days ago and ends now")
        click.echo()
        with progress_bar(story.key, days) as progress:
            looks = list(tell(platform, story, Run(units=units, seed=seed, until_day=days), progress=progress))
        for look in looks:
            print_look(look)
    print_truth(story, looks[-1].scorecard)
    click.echo()
    for definition in story.define_all(units):
        click.echo(f"to read it: {program()} readout {definition.key}")
