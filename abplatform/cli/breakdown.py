"""``abplatform breakdown``."""

from __future__ import annotations

from pathlib import Path

import click

from abplatform.cli.reports import choose_report_format, report_options, write_document, write_report
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.plan import METHODS


@click.command("breakdown")
@click.argument("key")
@click.option("--by", metavar="DIMENSION", help="What to slice by; a wrong name is answered with those there are.")
@click.option("--differences", is_flag=True, help="Search all dimensions for effects that differ between slices.")
@click.option("--metric", metavar="KEY", help="Only this metric.")
@click.option("--method", type=click.Choice(METHODS), help="By default the plan's, or one that may be watched.")
@click.option("--phase", type=click.IntRange(min=1), help="Another phase than the current one.")
@report_options
def command(
    key: str,
    *,
    by: str | None,
    differences: bool,
    metric: str | None,
    method: str | None,
    phase: int | None,
    format_: str | None,
    output: Path | None,
) -> None:
    """Show the results of the experiment KEY in slices of its units, or where its effects differ.

    Nothing is recorded, and nothing decided.
    """
    if differences and by is not None:
        raise click.UsageError("--differences searches all dimensions: it has no --by")
    if not differences and by is None:
        raise click.UsageError("name what to slice by with --by, or ask for --differences")
    if differences and (metric is not None or method is not None):
        raise click.UsageError("--differences searches all metrics by one test: it has no --metric and no --method")
    from abplatform.readout import breakdown as readout

    chosen = choose_report_format(format_, output)
    with open_existing_platform() as platform:
        if by is None:
            found = platform.explorer.differences(DEFAULT_PROJECT, key, phase=phase)
            write_report(found, readout.report_differences, chosen, output)
            return
        sliced = platform.explorer.breakdown(DEFAULT_PROJECT, key, by=by, method=method, metric=metric, phase=phase)
    write_document(sliced, chosen, output, as_text=readout.breakdown_as_text, as_html=readout.breakdown_as_html)
