"""``abplatform acquisition-cost``."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from abplatform.cli.reports import choose_report_format, report_options, write_report
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.acquisition import COST_METHODS

_COLUMNS = ("channel", "cost")


@click.command("acquisition-cost")
@click.argument("key")
@click.option("--by", metavar="DIMENSION", required=True, help="What tells channels apart.")
@click.option("--metric", metavar="KEY", required=True, help="What counts as an acquisition: a rate.")
@click.option(
    "--costs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="A CSV file with the columns channel and cost.",
)
@click.option("--method", type=click.Choice(COST_METHODS), default="sequential", show_default=True)
@click.option("--phase", type=click.IntRange(min=1), help="Another phase than the current one.")
@report_options
def command(key: str, *, costs: Path, format_: str | None, output: Path | None, **asked: Any) -> None:
    """Say what one more customer costs in the experiment KEY, by channel and variant.

    Nothing is recorded.
    """
    from abplatform.readout.acquisition import report_acquisition
    from abplatform.services.price_acquisition import Pricing

    chosen = choose_report_format(format_, output)
    pricing = Pricing(costs=_read_costs(costs), **asked)
    with open_existing_platform() as platform:
        found = platform.explorer.acquisition_cost(DEFAULT_PROJECT, key, pricing=pricing)
    write_report(found, report_acquisition, chosen, output)


def _read_costs(path: Path) -> dict[str, Decimal]:
    costs: dict[str, Decimal] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                wanted = "must have the columns channel and cost, with a comma between"
                raise click.UsageError(f"{path} {wanted}; it lacks {', '.join(missing)}")
            for row in rows:
                _add_cost(costs, row["channel"], row["cost"], f"{path}, line {rows.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.UsageError(f"{path} is not a CSV file in UTF-8: {error}") from None
    return costs


def _add_cost(costs: dict[str, Decimal], channel: str | None, cost: str | None, place: str) -> None:
    if not channel:
        raise click.UsageError(f"{place}: channel must not be empty")
    if channel in costs:
        raise click.UsageError(f"{place}: {channel!r} has a cost already")
    try:
        costs[channel] = Decimal((cost or "").strip())
    except InvalidOperation:
        raise click.UsageError(f"{place}: cost must be a number such as 120000.00, not {cost or ''!r}") from None
