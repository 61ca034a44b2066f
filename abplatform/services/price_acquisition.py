"""Say what one more customer costs, by channel and variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from abplatform.domain.acquisition import (
    COST_METHODS,
    AcquisitionCosts,
    Arms,
    Costless,
    CostMethod,
    count_arms,
    name_channel,
    price_channels,
)
from abplatform.domain.breakdown import Breakdown
from abplatform.domain.checks import Faults
from abplatform.domain.dimension import REST
from abplatform.domain.phase import judged_definition
from abplatform.errors import NotAnalysable
from abplatform.services.break_down import AggregateSlices, read_breakdown
from abplatform.services.choose import Asked, Question, choose
from abplatform.storage.session import UnitOfWork

MOST_CHANNELS = 1000
LARGEST_COST = Decimal(10) ** 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """What to price.

    Attributes:
        by: the dimension that tells channels apart: one of the experiment's, or another that `read_breakdown` knows.
        metric: that counts an acquisition: of the experiment, and a rate.
        costs: by channel, as `acquisition.name_channel` names it; at least 0, with at most 6 places.
        method: of the intervals: one of `COST_METHODS`.
        phase: any that the experiment has had; the current one by default.
    """

    by: str
    metric: str
    costs: Mapping[str, Decimal]
    method: str = "sequential"
    phase: int | None = None


def price_acquisition(
    uow: UnitOfWork, aggregate: AggregateSlices, project: str, key: str, *, pricing: Pricing, now: datetime
) -> AcquisitionCosts:
    """Cost per acquisition of each channel in each variant. Nothing is recorded, and costs are not kept.

    Args:
        uow: where definitions are kept.
        aggregate: reduces the experiment's events.
        project: key of the project.
        key: key of the experiment.
        pricing: costs, and what they are for.
        now: decides which windows have closed.

    Raises:
        NotFound: without such an experiment.
        NotAnalysable: before the experiment has started, and of clustered ones.
        InvalidInput: naming a part of the request that does not fit: a metric that is no rate, a dimension, a cost, a
            channel by which no unit came.
    """
    method = _check(pricing)
    asked = choose(uow, project, key, Question(metric=pricing.metric, phase=pricing.phase))
    metric = next(each for each in asked.metrics if each.key == pricing.metric)
    faults = Faults()
    rule = f"must be a rate, such as a conversion: one acquisition per unit; {metric.key} is a {metric.kind}"
    faults.check(metric.is_rate, "metric", rule)
    faults.raise_any()
    if asked.experiment.definition.clustered:
        raise NotAnalysable("cost per acquisition of clustered experiments is not supported yet")
    question = Question(method=method, metric=pricing.metric, phase=pricing.phase)
    found = read_breakdown(uow, aggregate, project, key, by=pricing.by, question=question, now=now)
    return _price(asked, pricing, method, found)


def _check(pricing: Pricing) -> CostMethod:
    faults = Faults()
    method = next((each for each in COST_METHODS if each == pricing.method), None)
    faults.check(method is not None, "method", f"must be one of {', '.join(COST_METHODS)}")
    counted = 1 <= len(pricing.costs) <= MOST_CHANNELS
    if faults.check(counted, "costs", f"must name 1 to {MOST_CHANNELS} channels"):
        for channel, cost in pricing.costs.items():
            fits = cost.is_finite() and 0 <= cost <= LARGEST_COST and cost == round(cost, 6)
            faults.check(fits, f"costs.{channel}", "must be from 0 to 10^15, with at most 6 places")
    faults.raise_any()
    return method or "sequential"


def _price(asked: Asked, pricing: Pricing, method: CostMethod, found: Breakdown) -> AcquisitionCosts:
    definition = judged_definition(asked.experiment)
    metric = next(each for each in asked.metrics if each.key == pricing.metric)
    channels = _channels(found, metric.key)
    _check_channels(pricing, channels)
    *priced, total = price_channels(definition, metric, channels, pricing.costs, method=method)
    return AcquisitionCosts(
        experiment=found.experiment,
        phase=found.phase,
        by=pricing.by,
        metric=metric.key,
        method=method,
        alpha=found.alpha,
        computed_at=found.computed_at,
        data_through=found.data_through,
        channels=tuple(priced),
        total=total,
        without_cost=_without_cost(pricing, channels),
    )


def _channels(found: Breakdown, metric: str) -> dict[str, Arms]:
    """The units of each slice, by the name that costs give it; slices of equal names keep those of the breakdown."""
    slices = [slice_ for result in found.metrics if result.metric == metric for slice_ in result.slices]
    seen = Counter(name_channel(slice_.slice) for slice_ in slices)
    names = ((slice_, name_channel(slice_.slice)) for slice_ in slices)
    return {name if seen[name] == 1 else slice_.slice: count_arms(slice_) for slice_, name in names}


def _check_channels(pricing: Pricing, channels: Mapping[str, Arms]) -> None:
    faults = Faults()
    for channel in pricing.costs:
        if channel not in channels:
            hint = faults.suggest(channel, channels)
            rare = f"; of many channels the rare ones are together as {REST!r}" if REST in channels else ""
            faults.add(f"costs.{channel}", f"no unit of the experiment has {pricing.by} {channel!r}{hint}{rare}")
    faults.raise_any()


def _without_cost(pricing: Pricing, channels: Mapping[str, Arms]) -> tuple[Costless, ...]:
    left = [
        Costless(channel=channel, units=sum(arm.units + arm.open_units for arm in arms.values()))
        for channel, arms in channels.items()
        if channel not in pricing.costs
    ]
    return tuple(sorted(left, key=lambda each: (-each.units, each.channel)))
