"""What one more customer costs: the cost of each channel by what its units did, in each variant.

The field names are the public format (``POST /experiments/{key}/results/acquisition-cost``). What a channel cost is
shared equally over its units of all variants: an experiment decides what units meet, not what brought them. Cost per
acquisition is then the cost of a unit over the rate at which units are won.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from abplatform.domain.arm_cell import ArmCell
from abplatform.domain.arms import Comparand
from abplatform.domain.breakdown import SliceResult
from abplatform.domain.experiment import ExperimentDefinition, MetricUse
from abplatform.domain.inference import compare_all
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Interval
from abplatform.domain.scoring import exact_text
from abplatform.stats import EffectCell, ProportionStats, fixed, sequential
from abplatform.stats.results import optional

CostMethod = Literal["sequential", "fixed"]
COST_METHODS: tuple[CostMethod, ...] = ("sequential", "fixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCost:
    """What an acquisition costs in one variant.

    Attributes:
        units: whose window has closed; ``open_units`` others, which cost as much.
        acquisitions: units that were won.
        rate: share of the units that were won.
        cost: per acquisition, 0 where nothing was paid; else the estimate is null where nobody was won, and the upper
            bound where the rate may be 0.
    """

    variant: str
    units: int
    open_units: int
    acquisitions: int
    rate: Interval
    cost: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRatio:
    """Cost per acquisition of a treatment as a share of the control's: below 1 it is cheaper."""

    variant: str
    control: str
    ratio: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCost:
    """One channel, or several taken as one.

    Attributes:
        channel: name of the slice, as costs name it.
        cost: exact, as decimal text.
        units: of all variants, those with open windows included.
        cost_per_unit: ``cost`` over ``units``.
    """

    channel: str
    cost: str
    units: int
    cost_per_unit: float
    variants: tuple[VariantCost, ...]
    ratios: tuple[CostRatio, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costless:
    """A channel whose cost was not given: it is in no number here."""

    channel: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionCosts:
    """Cost per acquisition by channel and variant.

    Attributes:
        by: the dimension that tells channels apart.
        method: of the intervals: ``sequential`` ones hold however often one looks, ``fixed`` ones at one look.
        alpha: their error rate, each for itself.
        total: the channels with a cost as one.
        without_cost: the other channels, those with the most units first.
    """

    experiment: str
    phase: int
    by: str
    metric: str
    method: str
    alpha: float
    computed_at: datetime
    data_through: datetime | None
    channels: tuple[ChannelCost, ...]
    total: ChannelCost
    without_cost: tuple[Costless, ...]


TOTAL = "(total)"


@dataclass(frozen=True, slots=True)
class Arm:
    """Units of a variant in a channel, or in several."""

    units: int
    open_units: int
    acquisitions: int

    def __add__(self, other: Arm) -> Arm:
        """Both together."""
        return Arm(self.units + other.units, self.open_units + other.open_units, self.acquisitions + other.acquisitions)


Arms = Mapping[str, Arm]
"""By variant."""


def count_arms(slice_: SliceResult) -> Arms:
    """The units of a slice, of a metric that is a rate."""
    return {each.variant: Arm(each.units, each.open_units, int(Decimal(each.sum))) for each in slice_.variants}


def name_channel(slice_: str) -> str:
    """How costs name a slice: texts without the quotes that they have as JSON.

    >>> name_channel('"douyin"'), name_channel("7"), name_channel("(none)")
    ('douyin', '7', '(none)')
    """
    try:
        value = json.loads(slice_)
    except ValueError:
        return slice_
    return value if isinstance(value, str) else slice_


def price_channels(
    definition: ExperimentDefinition,
    metric: Metric,
    channels: Mapping[str, Arms],
    costs: Mapping[str, Decimal],
    *,
    method: CostMethod,
) -> tuple[ChannelCost, ...]:
    """Cost per acquisition of each channel that has a cost, and last of all of them as one.

    Args:
        definition: plan and variants.
        metric: a rate.
        channels: units by channel.
        costs: at least 0, by channel; all of them are in ``channels``.
        method: of the intervals.
    """
    rows = [(channel, cost, channels[channel]) for channel, cost in costs.items()]
    together = {key: _add([arms[key] for *_, arms in rows]) for key in _variants(definition)}
    rows.append((TOTAL, sum(costs.values(), Decimal(0)), together))
    ratios = _ratios(definition, metric, [arms for *_, arms in rows], method)
    return tuple(
        _price(definition, channel, cost, arms, method=method, ratios=ratio)
        for (channel, cost, arms), ratio in zip(rows, ratios, strict=True)
    )


def _variants(definition: ExperimentDefinition) -> tuple[str, ...]:
    return tuple(variant.key for variant in definition.variants)


def _add(arms: Sequence[Arm]) -> Arm:
    return sum(arms, Arm(0, 0, 0))


def _price(
    definition: ExperimentDefinition,
    channel: str,
    cost: Decimal,
    arms: Arms,
    *,
    method: CostMethod,
    ratios: tuple[CostRatio, ...],
) -> ChannelCost:
    units = sum(arm.units + arm.open_units for arm in arms.values())
    each = float(cost / units)
    variants = _variants(definition)
    rates = _rates([arms[key] for key in variants], definition.plan.alpha, method)
    return ChannelCost(
        channel=channel,
        cost=exact_text(cost),
        units=units,
        cost_per_unit=each,
        variants=tuple(
            VariantCost(
                variant=key,
                units=arms[key].units,
                open_units=arms[key].open_units,
                acquisitions=arms[key].acquisitions,
                rate=rate,
                cost=Interval(
                    estimate=_over(each, rate.estimate), lower=_over(each, rate.upper), upper=_over(each, rate.lower)
                ),
            )
            for key, rate in zip(variants, rates, strict=True)
        ),
        ratios=ratios,
    )


def _rates(arms: Sequence[Arm], alpha: float, method: CostMethod) -> list[Interval]:
    counts = ProportionStats([arm.units for arm in arms], [arm.acquisitions for arm in arms])
    find = sequential.rate_interval if method == "sequential" else fixed.wilson_interval
    found = find(counts, alpha=alpha)
    bounds = zip(found.estimate, found.lower, found.upper, strict=True)
    return [Interval(estimate=optional(rate), lower=optional(low), upper=optional(high)) for rate, low, high in bounds]


def _over(cost: float, rate: float | None) -> float | None:
    """What an acquisition costs at a rate; None where that is without bound, or not known."""
    if rate is None or (rate == 0 and cost > 0):
        return None
    return cost / rate if cost else 0.0


def _ratios(
    definition: ExperimentDefinition, metric: Metric, channels: Sequence[Arms], method: CostMethod
) -> list[tuple[CostRatio, ...]]:
    """Costs of a unit are the same in all variants, so that costs per acquisition are as the rates, upside down."""
    # By the counts themselves: what CUPED adjusts for is not known of channels together.
    plain = replace(definition, plan=replace(definition.plan, cuped=False))
    rows = [_comparand(definition, metric, arms) for arms in channels]
    lines = compare_all(plain, rows, method=method, earlier={})
    return [
        tuple(
            CostRatio(
                variant=row.treatments[line.treatment].variant,
                control=definition.control,
                ratio=_invert(line.cell.relative),
            )
            for line in lines
            if line.row is row
        )
        for row in rows
    ]


def _comparand(definition: ExperimentDefinition, metric: Metric, arms: Arms) -> Comparand:
    return Comparand(
        use=MetricUse(metric=metric.key),
        metric=metric,
        control=_cell(metric, definition.control, arms),
        treatments=tuple(_cell(metric, key, arms) for key in definition.treatments),
    )


def _cell(metric: Metric, variant: str, arms: Arms) -> ArmCell:
    arm = arms[variant]
    rate = arm.acquisitions / arm.units if arm.units else 0.0
    return ArmCell(
        name=metric.key,
        variant=variant,
        units=arm.units,
        open_units=arm.open_units,
        nonzero=arm.acquisitions,
        total=Decimal(arm.acquisitions),
        mean=rate,
        m2=arm.units * rate * (1 - rate),
    )


def _invert(lift: EffectCell) -> Interval:
    if lift.estimate is None:
        return Interval(estimate=None, lower=None, upper=None)
    return Interval(
        estimate=_reciprocal(lift.estimate), lower=_reciprocal(lift.upper) or 0.0, upper=_reciprocal(lift.lower)
    )


def _reciprocal(lift: float | None) -> float | None:
    """The cost that goes with a lift of the rate; None where that falls to 0, or without bound."""
    return None if lift is None or lift <= -1 else 1 / (1 + lift)
