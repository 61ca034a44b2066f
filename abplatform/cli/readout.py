"""``abplatform readout``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.formats import choose_format
from abplatform.cli.invocation import program
from abplatform.cli.session import open_existing_platform, place
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.plan import METHODS
from abplatform.errors import NotFound

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform
    from abplatform.domain.scorecard import Scorecard

_FORMATS = {".txt": "text", ".json": "json", ".html": "html", ".htm": "html"}


@click.command("readout")
@click.argument("key", required=False)
@click.option("--list", "list_keys", is_flag=True, help="Print the keys of all experiments, one per line, and stop.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "html"]),
    help="By default what the name of --output ends in (.txt, .json, .html); text for stdout.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, not to stdout.")
@click.option("--phase", type=click.IntRange(min=1), help="Another phase than the current one.")
@click.option("--method", type=click.Choice(METHODS), help="Another method than the plan's; labelled exploratory.")
def command(
    key: str | None,
    *,
    list_keys: bool,
    format_: str | None,
    output: Path | None,
    phase: int | None,
    method: str | None,
) -> None:
    """Show the results of the experiment KEY, with everything received so far.

    By the plan's own method this is a look: it is numbered and kept.
    """
    if list_keys == (key is not None):
        raise click.UsageError("name the KEY of an experiment, or --list")
    chosen = choose_format(format_, output, _FORMATS, default="text")
    with open_existing_platform() as platform:
        if key is None:
            _print_keys(platform)
            return
        _check_exists(platform, key)
        scorecard = platform.results_or_last_look(DEFAULT_PROJECT, key, method=method, phase=phase)
        looks = platform.looks(DEFAULT_PROJECT, key, phase=phase) if method is None else ()
    if output is None:
        click.echo(_render(scorecard, looks, chosen, to_terminal=sys.stdout.isatty()), nl=False)
    else:
        write_readout(output, _render(scorecard, looks, chosen, to_terminal=False))
        click.echo(f"wrote {output}", err=True)


def _check_exists(platform: Platform, key: str) -> None:
    with platform.uow.reading() as work:
        if work.experiments.find(DEFAULT_PROJECT, key) is None:
            raise NotFound(
                f"there is no experiment {key!r} in {place(platform.settings)}; see: {program()} readout --list"
            )


def _print_keys(platform: Platform) -> None:
    with platform.uow.reading() as work:
        for experiment in work.experiments.all(DEFAULT_PROJECT):
            click.echo(experiment.key)


def print_text(scorecard: Scorecard, looks: tuple[Scorecard, ...] = ()) -> None:
    """Print a readout on stdout, styled for a terminal and plain for a file."""
    click.echo(_render(scorecard, looks, "text", to_terminal=sys.stdout.isatty()), nl=False)


def _render(scorecard: Scorecard, looks: tuple[Scorecard, ...], format_: str, *, to_terminal: bool) -> str:
    if format_ == "json":
        from abplatform.readout.document import as_json

        return as_json(scorecard)
    if format_ == "html":
        from abplatform.readout.html import as_html

        return as_html(scorecard, looks)
    from abplatform.readout.text import PLAIN_WIDTH, as_text

    width = shutil.get_terminal_size().columns if to_terminal else PLAIN_WIDTH
    return as_text(scorecard, looks, width=width, colour=to_terminal)


def write_readout(path: Path, text: str) -> None:
    """Write a file, whole.

    Raises:
        click.ClickException: if it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
