"""``abplatform curve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from abplatform.cli.reports import choose_report_format, report_options, write_document
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.horizons import COHORTS, VIEWS
from abplatform.domain.plan import METHODS


class _Days(click.ParamType):
    name = "days"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        days = value.split(",")
        if not all(day.isascii() and day.isdigit() and len(day) <= 6 for day in days):
            self.fail(f"must be whole numbers with commas between, such as 7,30,90, not {value!r}", param, ctx)
        return tuple(int(day) for day in days)


@click.command("curve")
@click.argument("key")
@click.argument("metric")
@click.option("--days", type=_Days(), help="Days since the first exposure, such as 7,30,90.")
@click.option("--view", type=click.Choice(VIEWS), default="cumulative", show_default=True)
@click.option("--cohort", type=click.Choice(COHORTS), default="followed", show_default=True)
@click.option("--method", type=click.Choice(METHODS), help="Another method than the plan's; exploratory.")
@click.option("--phase", type=click.IntRange(min=1), help="Another phase than the current one.")
@report_options
def command(key: str, metric: str, *, format_: str | None, output: Path | None, **question: Any) -> None:
    """Show METRIC of the experiment KEY by days since the first exposure.

    Nothing is recorded.
    """
    from abplatform.readout.curve import as_html, as_text
    from abplatform.services.trace import CurveQuestion

    chosen = choose_report_format(format_, output)
    with open_existing_platform() as platform:
        found = platform.explorer.curve(DEFAULT_PROJECT, key, question=CurveQuestion(metric=metric, **question))
    write_document(found, chosen, output, as_text=as_text, as_html=as_html)
