"""Cost per acquisition as people read it: text for a terminal, JSON, and a page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import msgspec
from rich.console import Console
from rich.text import Text

from abplatform.domain.acquisition import TOTAL, AcquisitionCosts, ChannelCost, VariantCost
from abplatform.domain.scorecard import Interval
from abplatform.readout import numbers
from abplatform.readout.grids import Column, print_grid
from abplatform.readout.page import render_page
from abplatform.readout.text import PLAIN_WIDTH

_INTERVALS = {"sequential": "confidence sequence", "fixed": "confidence interval"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One channel in one variant, as finished texts; ``difference`` to the control's cost is empty for itself."""

    channel: str
    spent: str
    units: str
    per_unit: str
    variant: str
    acquired: str
    rate: str
    cost: str
    bounds: str
    difference: str
    difference_bounds: str


def as_json(costs: AcquisitionCosts) -> str:
    """The document of the API, indented, with a line break at its end."""
    return msgspec.json.format(msgspec.json.encode(costs), indent=2).decode() + "\n"


def as_text(costs: AcquisitionCosts, *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """Write cost per acquisition as a table.

    Args:
        costs: what was found.
        width: columns of the terminal.
        colour: whether to style it with ANSI codes.
    """
    page = io.StringIO()
    console = Console(
        file=page, width=width, force_terminal=colour, no_color=not colour, highlight=False, legacy_windows=False
    )
    console.print(Text(_title(costs), style="bold"))
    for line in _facts(costs):
        console.print(Text(line, style="dim"))
    print_grid(console, "By channel", _columns(costs))
    console.print()
    for line in _notes(costs):
        console.print(Text(f" - {line}"))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()).strip("\n") + "\n"


def as_html(costs: AcquisitionCosts) -> str:
    """Write cost per acquisition as one page that needs nothing else."""
    return render_page(
        "acquisition.html.j2",
        title=_title(costs),
        facts=_facts(costs),
        rows=tuple(_rows(costs)),
        interval=_interval(costs),
        notes=_notes(costs),
    )


def _title(costs: AcquisitionCosts) -> str:
    return (
        f"Cost per {numbers.visible(costs.metric)} by {numbers.visible(costs.by)}: {numbers.visible(costs.experiment)}"
    )


def _interval(costs: AcquisitionCosts) -> str:
    return f"{100 * (1 - costs.alpha):g}% {_INTERVALS.get(costs.method, 'interval')}"


def _facts(costs: AcquisitionCosts) -> tuple[str, ...]:
    through = costs.data_through
    seen = f"{through:%Y-%m-%d %H:%M:%S} UTC" if through else "no data yet"
    return (f"Phase {costs.phase}. Computed {costs.computed_at:%Y-%m-%d %H:%M:%S} UTC, data through {seen}.",)


def _notes(costs: AcquisitionCosts) -> tuple[str, ...]:
    notes = ["What a channel cost is shared equally over its units of all variants. Exploratory: it decides nothing."]
    waiting = sum(variant.open_units for variant in costs.total.variants)
    if waiting:
        notes.append(
            f"{numbers.plural(waiting, 'unit')} cost as much as the others, and may still convert: rates are of those "
            "whose window has closed."
        )
    if costs.without_cost:
        listed = ", ".join(
            f"{numbers.visible(each.channel)} ({numbers.plural(each.units, 'unit')})" for each in costs.without_cost
        )
        notes.append(f"Without a cost, and in no number here: {listed}.")
    return tuple(notes)


def _rows(costs: AcquisitionCosts) -> Iterator[CostRow]:
    for channel in (*costs.channels, costs.total):
        ratios = {each.variant: each.ratio for each in channel.ratios}
        for variant in channel.variants:
            yield _row(channel, variant, ratios.get(variant.variant))


def _row(channel: ChannelCost, variant: VariantCost, ratio: Interval | None) -> CostRow:
    waiting = f" (+{numbers.count(variant.open_units)} open)" if variant.open_units else ""
    return CostRow(
        channel="all with a cost" if channel.channel == TOTAL else numbers.visible(channel.channel),
        spent=_money(Decimal(channel.cost)),
        units=f"{numbers.count(variant.units)}{waiting}",
        per_unit=numbers.amount(channel.cost_per_unit),
        variant=numbers.visible(variant.variant),
        acquired=numbers.count(variant.acquisitions),
        rate=numbers.rate(variant.rate.estimate),
        cost=numbers.amount(variant.cost.estimate),
        bounds=_bounds(variant.cost) if variant.units else "",
        difference="" if ratio is None else numbers.lift(_less_one(ratio.estimate)),
        difference_bounds="" if ratio is None or ratio.lower is None else _difference_bounds(ratio),
    )


def _difference_bounds(ratio: Interval) -> str:
    return numbers.bounds(
        Interval(estimate=None, lower=_less_one(ratio.lower), upper=_less_one(ratio.upper)), kind="lift"
    )


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _money(cost: Decimal) -> str:
    """Exact, with two places at least."""
    return f"{cost:,.2f}" if cost == round(cost, 2) else f"{cost:,f}"


def _bounds(interval: Interval) -> str:
    low = numbers.amount(interval.lower or 0.0)
    return f"[{low}, {numbers.UNBOUNDED if interval.upper is None else numbers.amount(interval.upper)}]"


def _columns(costs: AcquisitionCosts) -> list[Column]:
    rows = tuple(_rows(costs))

    def texts(title: str, read: Callable[[CostRow], str], *, key: bool = False, second: bool = False) -> Column:
        return Column(title=title, cells=tuple(Text(read(row)) for row in rows), key=key, right=not key, second=second)

    return [
        texts("Channel", lambda row: row.channel, key=True),
        texts("Variant", lambda row: row.variant, key=True),
        texts("Cost", lambda row: row.spent, second=True),
        texts("Per unit", lambda row: row.per_unit, second=True),
        texts("Units", lambda row: row.units, second=True),
        texts("Acquired", lambda row: row.acquired, second=True),
        texts("Rate", lambda row: row.rate, second=True),
        texts("Per acquisition", lambda row: row.cost),
        texts(_interval(costs), lambda row: row.bounds),
        texts("Against control", lambda row: row.difference),
        texts(_interval(costs), lambda row: row.difference_bounds),
    ]
