"""Cost per acquisition as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from abplatform.domain.acquisition import TOTAL, AcquisitionCosts, ChannelCost, VariantCost
from abplatform.domain.scorecard import Interval
from abplatform.readout import numbers
from abplatform.readout.report import Report, ReportTable, write_seen
from abplatform.readout.wording import INTERVALS

_COLUMNS = (
    "Channel",
    "Variant",
    "Channel's cost",
    "Per unit",
    "Units",
    "Acquired",
    "Rate",
    "Per acquisition",
    "Interval",
    "Against control",
    "Its interval",
)
_SECOND = frozenset({"Channel's cost", "Per unit", "Units", "Acquired", "Rate"})


def report_acquisition(costs: AcquisitionCosts) -> Report:
    """Write cost per acquisition as a report."""
    metric, by, experiment = (numbers.visible(each) for each in (costs.metric, costs.by, costs.experiment))
    return Report(
        kind="Cost per acquisition",
        title=f"Cost per {metric} by {by}: {experiment}",
        facts=(f"Phase {costs.phase}. {write_seen(costs.computed_at, costs.data_through)}",),
        tables=(ReportTable(title="By channel", columns=_COLUMNS, rows=tuple(_rows(costs)), keys=2, second=_SECOND),),
        notes=tuple(_notes(costs)),
    )


def _notes(costs: AcquisitionCosts) -> Iterator[str]:
    kind = INTERVALS["confidence_sequence" if costs.method == "sequential" else "fixed"]
    yield f"Intervals are {100 * (1 - costs.alpha):g}% {kind}s, each for itself."
    yield "What a channel cost is shared equally over its units of all variants. Exploratory: it decides nothing."
    waiting = sum(variant.open_units for variant in costs.total.variants)
    if waiting:
        yield (
            f"{numbers.plural(waiting, 'unit')} cost as much as the others, and may still convert: rates are of those "
            "whose window has closed."
        )
    if costs.without_cost:
        listed = ", ".join(
            f"{numbers.visible(each.channel)} ({numbers.plural(each.units, 'unit')})" for each in costs.without_cost
        )
        yield f"Without a cost, and in no number here: {listed}."


def _rows(costs: AcquisitionCosts) -> Iterator[tuple[str, ...]]:
    for channel in (*costs.channels, costs.total):
        ratios = {each.variant: each.ratio for each in channel.ratios}
        for variant in channel.variants:
            yield _row(channel, variant, ratios.get(variant.variant))


def _row(channel: ChannelCost, variant: VariantCost, ratio: Interval | None) -> tuple[str, ...]:
    waiting = f" (+{numbers.count(variant.open_units)} open)" if variant.open_units else ""
    return (
        "all with a cost" if channel.channel == TOTAL else numbers.visible(channel.channel),
        numbers.visible(variant.variant),
        _money(Decimal(channel.cost)),
        numbers.amount(channel.cost_per_unit),
        f"{numbers.count(variant.units)}{waiting}",
        numbers.count(variant.acquisitions),
        numbers.rate(variant.rate.estimate),
        numbers.amount(variant.cost.estimate),
        _bounds(variant.cost) if variant.units else "",
        "" if ratio is None else numbers.lift(_less_one(ratio.estimate)),
        "" if ratio is None or ratio.lower is None else _difference_bounds(ratio),
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
