"""``abplatform holdout``."""

from __future__ import annotations

from pathlib import Path

import click

from abplatform.cli.reports import choose_report_format, report_options, write_report
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.holdout import HOLDOUT_METHODS


@click.command("holdout")
@click.argument("key")
@click.option("--metric", "metrics", metavar="KEY", multiple=True, required=True, help="What to measure; repeatable.")
@click.option("--method", type=click.Choice(HOLDOUT_METHODS), default="sequential", show_default=True)
@report_options
def command(key: str, *, metrics: tuple[str, ...], method: str, format_: str | None, output: Path | None) -> None:
    """Say what everything that was shipped did together, against the units that the holdout KEY holds out.

    Nothing is recorded.
    """
    from abplatform.readout.holdout import report_holdout
    from abplatform.services.read_holdout import HoldoutQuestion

    chosen = choose_report_format(format_, output)
    with open_existing_platform() as platform:
        question = HoldoutQuestion(metrics=metrics, method=method)
        found = platform.explorer.holdout_results(DEFAULT_PROJECT, key, question=question)
    write_report(found, report_holdout, chosen, output)
