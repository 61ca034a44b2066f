"""The conversions that the metrics of a request read, and what each of them is good for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Filter, Measure, Metric, Step
from abplatform.warehouse.filters import meets
from abplatform.warehouse.times import moment

_VALUE = "decimal(20, 6)"
_NUMBERLESS = {"conversion", "count"}


@dataclass(slots=True)
class Reading:
    """Columns of the conversions that a request reads; metrics that ask the same share one.

    Attributes:
        matches: names of columns that say whether a conversion meets a condition (``m0``), by event and condition.
        values: names of columns of numbers (``value``, ``v1``), by property; None for the event's own value.
    """

    matches: dict[tuple[str, str], str] = field(default_factory=dict)
    values: dict[str | None, str] = field(default_factory=dict)
    _filters: list[tuple[str, Filter]] = field(default_factory=list)

    def match(self, part: Measure | Step) -> str:
        """The column that says whether a conversion is one of a metric's."""
        return self.matches[_name(part)]

    def number(self, measure: Measure) -> str:
        """The column with the numbers of a metric."""
        return self.values[measure.value]

    def add(self, part: Measure | Step) -> None:
        """Read what a part of a metric needs."""
        if _name(part) not in self.matches:
            self.matches[_name(part)] = f"m{len(self.matches)}"
            self._filters.append((part.event, part.where))
        if isinstance(part, Measure) and part.aggregation not in _NUMBERLESS:
            self.values.setdefault(part.value, f"v{len(self.values)}" if part.value is not None else "value")

    def columns(self, conversions: ir.Table) -> dict[str, ir.Value]:
        """The columns, from the rows of the lake."""
        found: dict[str, ir.Value] = {
            column: (conversions.event == event) & meets(conversions.properties, where)
            if where
            else conversions.event == event
            for column, (event, where) in zip(self.matches.values(), self._filters, strict=True)
        }
        for name, column in self.values.items():
            found[column] = conversions.value if name is None else conversions.properties.get(name).try_cast(_VALUE)
        return found


def find_reading(request: AggregationRequest) -> Reading:
    """What the metrics of a request read."""
    reading = Reading()
    for metric in request.metrics:
        for part in parts_of(metric):
            reading.add(part)
    return reading


def parts_of(metric: Metric) -> Iterator[Measure | Step]:
    """Everything of a metric that reads events."""
    if metric.kind == "funnel":
        yield from metric.steps
        return
    yield metric.measure
    if metric.below is not None:
        yield metric.below
    if metric.start is not None:
        yield metric.start


def wanted_conversions(conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    """The conversions that may matter: ``unit, timestamp``, and the columns of `find_reading`.

    Args:
        conversions: all of the project.
        request: what is asked for.
    """
    wanted = _inside_time(conversions, request)
    return wanted.select("timestamp", unit=whose(wanted, request.unit_type), **find_reading(request).columns(wanted))


def _inside_time(conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    events = sorted(set().union(*(metric.events for metric in request.metrics)))
    wanted = conversions.filter(conversions.event.isin(events))
    if request.since is not None:
        # Nobody was exposed before: files of earlier days need not be read.
        lookbacks = [metric.cuped_lookback for metric in request.metrics if request.adjusts(metric)]
        wanted = wanted.filter(wanted.timestamp >= moment(request.since - max(lookbacks, default=timedelta(0))))
    if request.until is not None:
        wanted = wanted.filter(wanted.timestamp < moment(request.until))
    return wanted


def whose(conversions: ir.Table, unit_type: str | None) -> ir.StringValue:
    """The unit that a conversion belongs to: of another type than the project's own, if one is named."""
    if unit_type is None:
        return conversions.unit
    return ibis.coalesce(conversions.units.get(unit_type), conversions.unit)


def _name(part: Measure | Step) -> tuple[str, str]:
    return part.event, json.dumps(part.where, sort_keys=True, default=list)
