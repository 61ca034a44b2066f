"""``abplatform portfolio``."""

from __future__ import annotations

from pathlib import Path

import click

from abplatform.cli.reports import choose_report_format, report_options, write_report
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT


@click.command("portfolio")
@click.argument("metric")
@report_options
def command(metric: str, *, format_: str | None, output: Path | None) -> None:
    """Show all past experiments on METRIC: what each found, and what of that is likely to be true.

    It rests on the looks that were recorded; nothing is computed from events.
    """
    from abplatform.readout.portfolio import report_portfolio

    chosen = choose_report_format(format_, output)
    with open_existing_platform() as platform:
        found = platform.explorer.portfolio(DEFAULT_PROJECT, metric)
    write_report(found, report_portfolio, chosen, output)
