"""``abplatform demo``: the main job from beginning to end, on real and on simulated data."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.demo import insurance, rate_display
from abplatform.cli.demo.definition import RATE_DISPLAY
from abplatform.cli.invocation import program
from abplatform.cli.readout import write_readout
from abplatform.cli.serve import NEW_ADMIN_KEY
from abplatform.cli.session import open_platform, place, usable_settings
from abplatform.cli.simulated import ELSEWHERE, check_takes_real_data
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.errors import StartRefused
from abplatform.settings import Settings

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform


@click.command("demo")
def command() -> None:
    """Import a real field experiment, run a simulated one through the server and the SDK, show the readouts.

    Asks nothing, takes half a minute to two minutes, may be run again, and leaves its data behind for
    `abplatform serve`. Needs a place where no other experiment has started.
    """
    _check_extra()
    settings = usable_settings()
    check_takes_real_data(settings)
    with open_platform(settings) as platform:
        _check_no_others(platform, settings)
        _title("1. A real experiment that already ran: rice insurance in villages of Jiangxi, China")
        insurance.show(platform)
    _title("2. A live experiment: 20,000 simulated customers, the real server, the real SDK")
    outcome = rate_display.run(settings)
    _title("3. The same readout as a page")
    _write_page(settings, outcome.key)
    _say_how_to_go_on(settings, outcome)
    if not outcome.covered:
        raise click.ClickException("the interval does not cover the effect that was planted")


def _check_extra() -> None:
    missing = [name for name in ("abplatform_sdk", "causaldata") if find_spec(name) is None]
    if missing:
        how = ".venv/bin/pip install -e ./sdk -e '.[demo]'"
        raise click.ClickException(f"the demo needs {' and '.join(missing)}; run in the checkout: {how}")


def _check_no_others(platform: Platform, settings: Settings) -> None:
    """Refuse a place where the customers of this demo would stand beside those of somebody's experiments.

    Raises:
        StartRefused: another experiment has started there.
    """
    imported = {request.key for request in insurance.import_requests(Path())}
    again = re.compile(rf"{RATE_DISPLAY}(-\d+)?")
    with platform.uow.reading() as work:
        known = work.experiments.all(DEFAULT_PROJECT)
    started = [each.key for each in known if each.status != "draft"]
    others = [key for key in started if key not in imported and not again.fullmatch(key)]
    if others:
        raise StartRefused(f"{place(settings)} has another experiment than the demo's, {others[0]}: {ELSEWHERE}")


def _title(text: str) -> None:
    click.echo()
    click.echo(text)
    click.echo("=" * len(text))
    click.echo()


def _write_page(settings: Settings, key: str) -> None:
    from abplatform.readout.html import as_html

    with open_platform(settings) as platform:
        page = as_html(platform.results(DEFAULT_PROJECT, key), platform.looks(DEFAULT_PROJECT, key))
    file = settings.home.absolute() / "readouts" / f"{key}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_readout(file, page)
    click.echo(f"wrote {file}")
    click.echo("It draws its charts without a network: open it in a browser, or mail it.")


def _say_how_to_go_on(settings: Settings, outcome: rate_display.Outcome) -> None:
    _title("How to go on")
    name = program()
    lines = [
        (f"{name} serve", f"the server on these data ({settings.home.absolute()})"),
        (f"{name} readout --list", "all experiments"),
        (f"{name} readout {shlex.quote(outcome.key)}", "this one again"),
        (f"{name} import FILE ...", "an experiment of your own; see docs/import.md"),
    ]
    if outcome.admin_key:
        click.echo(f"admin key (shown this once): {outcome.admin_key}")
    else:
        lines.append((NEW_ADMIN_KEY.format(program=name), "another admin key"))
    width = max(len(line) for line, _ in lines)
    for line, note in lines:
        click.echo(f"{line:<{width}}  {note}")
