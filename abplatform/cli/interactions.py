"""``abplatform interactions``."""

from __future__ import annotations

from pathlib import Path

import click

from abplatform.cli.reports import choose_report_format, report_options, write_report
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT


@click.command("interactions")
@click.argument("key")
@click.option("--with", "other", metavar="KEY", help="One other experiment; all at the same time by default.")
@click.option("--phase", type=click.IntRange(min=1), help="Another phase of the experiment than the current one.")
@report_options
def command(key: str, *, other: str | None, phase: int | None, format_: str | None, output: Path | None) -> None:
    """Search for experiments at the same time that change the effect of the experiment KEY.

    Nothing is recorded.
    """
    from abplatform.readout.interactions import report_interactions
    from abplatform.services.read_interactions import Crossing

    chosen = choose_report_format(format_, output)
    with open_existing_platform() as platform:
        crossing = Crossing(other=other, phase=phase)
        found = platform.explorer.interactions(DEFAULT_PROJECT, key, crossing=crossing)
    write_report(found, report_interactions, chosen, output)
