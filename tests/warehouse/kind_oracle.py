"""Every kind of metric once more, by plain loops over facts: what each field of a cell must be.

Written from the docstrings of `abplatform.domain.metric` and `abplatform.domain.arm_cell`; days of time zones are found
by walking through the hours of `zoneinfo`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from abplatform.assignment import compile_condition
from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import Dimension
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.metric import Measure, Metric, Step, Window
from abplatform.domain.property_filter import normalise_filter
from tests.warehouse.oracle import Unit, cluster_of

MILLIONTH = Decimal("0.000001")
TOO_LARGE = Decimal(10) ** 14

Events = Sequence[ConversionFact]


@dataclass(frozen=True)
class Member:
    """An analysed unit, and what one metric makes of it.

    Attributes:
        cluster: its own name where clusters were not randomised.
        value: as if there were no cap; of times to an event seconds, None without one.
        below: what stands below the line.
        before: value before the first exposure.
        depth: steps taken, of a funnel.
        items: single values whose quantile is wanted, or the one number of the unit; of times seconds or None.
        followed: for how many seconds; None where time never began to run.
    """

    variant: str
    slices: Mapping[str, str | None]
    cluster: str
    is_open: bool
    value: Decimal | None
    below: Decimal
    before: Decimal
    depth: int
    items: Sequence[Decimal | None]
    followed: Decimal | None


def expected_members(
    units: Mapping[str, Unit], events: Mapping[str, Events], metric: Metric, request: AggregationRequest
) -> list[Member]:
    """What a metric makes of each analysed unit.

    Args:
        units: see `oracle.expected_units`.
        events: all conversions of each unit, up to the stop.
        metric: the metric.
        request: what was asked for.
    """
    return [
        _member(unit.first, cluster_of(name, unit) if request.clustered else name, events[name], metric, request)
        for name, unit in units.items()
        if unit.analysed
    ]


def _slice(exposure: ExposureFact, dimension: Dimension, zone: str) -> str | None:
    """JSON text of a unit's value of a dimension."""
    if dimension.period is None:
        return exposure.attributes.get(dimension.name)
    day = exposure.timestamp.astimezone(ZoneInfo(zone)).date()
    if dimension.period == "week":
        day -= timedelta(days=day.weekday())
    return json.dumps(str(day.replace(day=1) if dimension.period == "month" else day))


def _member(
    exposure: ExposureFact, cluster: str, events: Events, metric: Metric, request: AggregationRequest
) -> Member:
    first = exposure.timestamp
    start, end = span_of(first, metric.window, request.time_zone)
    inside = [event for event in events if start <= event.timestamp and (end is None or event.timestamp < end)]
    earlier = [event for event in events if first - metric.cuped_lookback <= event.timestamp < first]
    took, followed = time_to(metric, first, inside, cutoff_of(request))
    depth = steps_taken(metric.steps, first, inside)
    value = _value(metric, inside, took, depth)
    return Member(
        variant=exposure.variant,
        slices={each.name: _slice(exposure, each, request.time_zone) for each in request.dimensions},
        cluster=cluster,
        is_open=is_open(first, metric, request),
        value=value,
        below=made_into(metric.below, inside) if metric.below is not None else Decimal(0),
        before=made_into(metric.measure, earlier) if metric.has_covariate else Decimal(0),
        depth=depth,
        items=_items(metric, inside) if metric.over == "events" else [value],
        followed=followed,
    )


def _value(metric: Metric, inside: Events, took: Decimal | None, depth: int) -> Decimal | None:
    if metric.kind == "time_to":
        return took
    if metric.kind == "funnel":
        return Decimal(depth == len(metric.steps))
    if metric.over == "events":
        return Decimal(len(_items(metric, inside)))
    return made_into(metric.measure, inside)


def cutoff_of(request: AggregationRequest) -> datetime:
    """Up to when events are known, and count."""
    return request.as_of if request.until is None else min(request.as_of, request.until)


def is_open(first: datetime, metric: Metric, request: AggregationRequest) -> bool:
    """Whether a unit does not count yet."""
    _, end = span_of(first, metric.window, request.time_zone)
    ends = [each for each in (end, first + metric.minimum_age if metric.minimum_age else None) if each is not None]
    return max(ends) > cutoff_of(request) if ends else False


def span_of(first: datetime, window: Window | None, zone: str) -> tuple[datetime, datetime | None]:
    """From when to when (exclusive) events count."""
    if window is None:
        return first, None
    if not window.calendar:
        return first + window.start, first + window.end
    day = local_day(first, zone)
    return max(first, day_start(day + window.start, zone)), day_start(day + window.end, zone)


def local_day(instant: datetime, zone: str) -> date:
    """The last day that has begun."""
    day = instant.astimezone(ZoneInfo(zone)).date()
    following = day + timedelta(days=1)
    return following if day_start(following, zone) <= instant else day


@lru_cache(maxsize=100_000)
def day_start(day: date, zone: str) -> datetime:
    """The first instant at which a clock in the zone shows this day, or a later one: in quarters of an hour."""
    place = ZoneInfo(zone)
    instant = datetime.combine(day, time.min, UTC) - timedelta(hours=15)
    while instant.astimezone(place).date() < day:
        instant += timedelta(minutes=15)
    return instant


def matches(event: ConversionFact, part: Measure | Step) -> bool:
    """Whether an event is one of those that a part of a metric reads."""
    if event.event != part.event:
        return False
    properties = {name: json.loads(text) for name, text in event.properties.items()}
    return not part.where or compile_condition(normalise_filter(part.where))(properties)


def number_of(event: ConversionFact, measure: Measure) -> Decimal | None:
    """The number of an event: its value, or a property that is a number below 10^14, rounded to millionths."""
    if measure.value is None:
        return event.value
    text = event.properties.get(measure.value)
    if text is None or text.startswith('"') or text in {"true", "false"}:
        return None
    number = Decimal(text).quantize(MILLIONTH, rounding=ROUND_HALF_UP)
    return number if abs(number) < TOO_LARGE else None


def made_into(measure: Measure, events: Events) -> Decimal:
    """What events of a unit are made into."""
    taken = [event for event in events if matches(event, measure)]
    if measure.aggregation == "conversion":
        return Decimal(bool(taken))
    if measure.aggregation == "count":
        return Decimal(len(taken))
    dated = [(event.timestamp, number) for event in taken if (number := number_of(event, measure)) is not None]
    numbers = [number for _, number in dated]
    if measure.aggregation == "last":
        return max(dated)[1] if dated else Decimal(0)
    if measure.aggregation == "max":
        return max(numbers, default=Decimal(0))
    return sum(numbers, Decimal(0))


def _items(metric: Metric, events: Events) -> Sequence[Decimal]:
    numbers = (number_of(event, metric.measure) for event in events if matches(event, metric.measure))
    return [number for number in numbers if number is not None]


def time_to(metric: Metric, first: datetime, inside: Events, cutoff: datetime) -> tuple[Decimal | None, Decimal | None]:
    """Seconds to the event, and for how many it was looked for; None for never."""
    if metric.kind != "time_to":
        return None, None
    began: datetime | None = first
    if metric.start is not None:
        began = min((event.timestamp for event in inside if matches(event, metric.start)), default=None)
    if began is None:
        return None, None
    ends = [event.timestamp for event in inside if matches(event, metric.measure) and event.timestamp >= began]
    return _seconds(min(ends) - began) if ends else None, _seconds(cutoff - began)


def _seconds(delay: timedelta) -> Decimal:
    return Decimal(delay // timedelta(microseconds=1)) / 10**6


def steps_taken(steps: Sequence[Step], first: datetime, inside: Events) -> int:
    """The length of the longest chain of events, each after the one before: all chains are tried."""

    def place(event: ConversionFact) -> tuple[datetime, list[bool]]:
        return event.timestamp, [not matches(event, step) for step in steps]

    events = sorted((event for event in inside if any(matches(event, step) for step in steps)), key=place)
    fits = [[matches(event, step) for step in steps] for event in events]

    def climb(index: int, number: int, came: datetime) -> int:
        if number == len(steps):
            return 0
        within = steps[number].within
        return max(
            (
                1 + climb(following + 1, number + 1, events[following].timestamp)
                for following in range(index, len(events))
                if fits[following][number] and (within is None or events[following].timestamp <= came + within)
            ),
            default=0,
        )

    return climb(0, 0, first)
