"""``abplatform demo``: the main job from beginning to end, on real and on simulated data."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path

import click

from abplatform.cli.demo import insurance, rate_display
from abplatform.cli.readout import write_readout
from abplatform.cli.session import open_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.settings import Settings, read_settings


@click.command("demo")
def command() -> None:
    """Import a real field experiment, run a simulated one through the server and the SDK, show the readouts.

    Asks nothing, takes under two minutes, may be run again, and leaves its data behind for `abplatform serve`.
    """
    _check_extra()
    settings = read_settings()
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
        raise click.ClickException(f"the demo needs {' and '.join(missing)}: pip install 'abplatform[demo]'")


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
    if outcome.admin_key:
        click.echo(f"admin key (shown this once): {outcome.admin_key}")
    click.echo(f"make serve                                  the server on these data ({_shown(settings.home)})")
    click.echo("abplatform readout --list                   all experiments")
    click.echo(f"abplatform readout {shlex.quote(outcome.key):<24} this one again")
    click.echo("abplatform import FILE ...                  an experiment of your own; see docs/import.md")


def _shown(path: Path) -> str:
    return str(path.absolute())
