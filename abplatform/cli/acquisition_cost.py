"""``abplatform acquisition-cost``."""

from __future__ import annotations

import csv
import shutil
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abplatform.cli.formats import choose_format
from abplatform.cli.readout import write_readout
from abplatform.cli.session import open_existing_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.acquisition import COST_METHODS

if TYPE_CHECKING:
    from abplatform.domain.acquisition import AcquisitionCosts

_FORMATS = {".txt": "text", ".json": "json", ".html": "html", ".htm": "html"}
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
@click.option("--format", "format_", type=click.Choice(["text", "json", "html"]))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, not to stdout.")
def command(
    key: str,
    *,
    by: str,
    metric: str,
    costs: Path,
    method: str,
    phase: int | None,
    format_: str | None,
    output: Path | None,
) -> None:
    """Say what one more customer costs in the experiment KEY, by channel and variant.

    Nothing is recorded.
    """
    from abplatform.services.price_acquisition import Pricing

    chosen = choose_format(format_, output, _FORMATS, default="text")
    pricing = Pricing(by=by, metric=metric, costs=_read_costs(costs), method=method, phase=phase)
    with open_existing_platform() as platform:
        found = platform.explorer.acquisition_cost(DEFAULT_PROJECT, key, pricing=pricing)
    if output is None:
        click.echo(_render(found, chosen, to_terminal=sys.stdout.isatty()), nl=False)
    else:
        write_readout(output, _render(found, chosen, to_terminal=False))
        click.echo(f"wrote {output}", err=True)


def _read_costs(path: Path) -> dict[str, Decimal]:
    costs: dict[str, Decimal] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise click.UsageError(f"{path} must have the columns channel and cost; it lacks {', '.join(missing)}")
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


def _render(found: AcquisitionCosts, format_: str, *, to_terminal: bool) -> str:
    from abplatform.readout.acquisition import as_html, as_json, as_text
    from abplatform.readout.text import PLAIN_WIDTH

    if format_ == "json":
        return as_json(found)
    if format_ == "html":
        return as_html(found)
    width = shutil.get_terminal_size().columns if to_terminal else PLAIN_WIDTH
    return as_text(found, width=width, colour=to_terminal)
