"""``abplatform demo``: the main job from beginning to end, on real and on simulated data."""

from __future__ import annotations

import shlex
from importlib.util import find_spec

import click

from abplatform.cli.demo import insurance, rate_display
from abplatform.cli.invocation import program
from abplatform.cli.readout import write_readout
from abplatform.cli.serve import NEW_ADMIN_KEY
from abplatform.cli.session import open_platform, usable_settings
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.settings import Settings


@click.command("demo")
def command() -> None:
    """Import a real field experiment, run a simulated one through the server and the SDK, show the readouts.

    Asks nothing, takes half a minute to two minutes, may be run again, and leaves its data behind for
    `abplatform serve`.
    """
    _check_extra()
    settings = usable_settings()
    _title("1. A real experiment that already ran: rice insurance in villages of Jiangxi, China")
    with open_platform(settings) as platform:
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
