"""When the window of a metric opens and closes for each unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric, Window
from abplatform.warehouse.calendar import day_begins
from abplatform.warehouse.times import moment, shifted

_NO_DELAY = timedelta(0)
# Where nothing says when exposures were.
_FIRST_DAY = date(1990, 1, 1)
_AHEAD = timedelta(days=1)

Bound = tuple[timedelta, bool]
"""A delay after the first exposure, and whether it is of calendar days."""


def find_bounds(request: AggregationRequest) -> Mapping[Bound, str]:
    """Names of columns for all times that windows and look-backs of a request need, by what they are.

    Bounds are computed once per unit: to add an interval to a time costs more than all else about a conversion.
    """
    bounds: set[Bound] = set()
    for metric in request.metrics:
        if metric.window is not None:
            bounds |= {_start(metric.window), _end(metric.window)}
        if request.adjusts(metric):
            bounds.add((-metric.cuped_lookback, False))
    bounds -= {(_NO_DELAY, False)}
    return {(_NO_DELAY, False): "first"} | {bound: f"bound{index}" for index, bound in enumerate(sorted(bounds))}


def bound_columns(
    first: ir.TimestampValue, request: AggregationRequest, bounds: Mapping[Bound, str]
) -> dict[str, ir.TimestampValue]:
    """The columns of `find_bounds` but the first exposure itself."""
    return {name: _at(first, bound, request) for bound, name in bounds.items() if name != "first"}


def add_bounds(units: ir.Table, events: ir.Table, request: AggregationRequest) -> ir.Table:
    """Conversions with the ``number`` and the columns of `find_bounds` of their units.

    Args:
        units: ``number, unit, first``.
        events: conversions by ``unit``, or where that has been looked up by ``number``.
        request: what is asked for.
    """
    key = "number" if "number" in events.columns else "unit"
    delayed = bound_columns(units["first"], request, find_bounds(request))
    return units.select(*dict.fromkeys(("number", key)), "first", **delayed).join(events, key)


def is_inside(joined: ir.Table, metric: Metric, bounds: Mapping[Bound, str]) -> ir.BooleanValue:
    """Whether a conversion lies in the window of a metric.

    Args:
        joined: conversions with the columns of `find_bounds` of their units.
        metric: whose window.
        bounds: see `find_bounds`.
    """
    if metric.window is None:
        return joined.timestamp >= joined["first"]
    start, end = joined[bounds[_start(metric.window)]], joined[bounds[_end(metric.window)]]
    inside = (joined.timestamp >= start) & (joined.timestamp < end)
    # The day of the exposure begins before it.
    return inside & (joined.timestamp >= joined["first"]) if _begins_before(metric.window) else inside


def is_before(joined: ir.Table, metric: Metric, bounds: Mapping[Bound, str]) -> ir.BooleanValue:
    """Whether a conversion lies in the look-back of a metric."""
    start = joined[bounds[-metric.cuped_lookback, False]]
    return (joined.timestamp >= start) & (joined.timestamp < joined["first"])


def closing_time(first: ir.TimestampValue, metric: Metric, request: AggregationRequest) -> ir.TimestampValue:
    """When a unit begins to count for a metric."""
    if metric.window is None or not metric.window.calendar:
        return shifted(first, metric.closes_after) if metric.closes_after else first
    end = _at(first, _end(metric.window), request)
    return ibis.greatest(end, shifted(first, metric.minimum_age)) if metric.minimum_age else end


def is_closed(first: ir.TimestampValue, metric: Metric, request: AggregationRequest) -> ir.BooleanValue:
    """Whether a unit counts for a metric by now: its window has closed, and it is old enough."""
    cutoff = find_cutoff(request)
    if metric.window is not None and metric.window.calendar:
        return closing_time(first, metric, request) <= moment(cutoff)
    return first <= moment(cutoff - metric.closes_after) if metric.closes_after else ibis.literal(True)


def exposed_between(request: AggregationRequest) -> tuple[date, date]:
    """First and last day (in UTC) on which units may have been exposed."""
    return request.exposed_between or (_FIRST_DAY, (request.as_of + _AHEAD).date())


def find_cutoff(request: AggregationRequest) -> datetime:
    """Up to when events are known, and count."""
    return request.as_of if request.until is None else min(request.as_of, request.until)


def _start(window: Window) -> Bound:
    return window.start, window.calendar


def _end(window: Window) -> Bound:
    return window.end, window.calendar


def _begins_before(window: Window) -> bool:
    return window.calendar and not window.start


def _at(first: ir.TimestampValue, bound: Bound, request: AggregationRequest) -> ir.TimestampValue:
    delay, calendar = bound
    if calendar:
        return day_begins(first, request.time_zone, delay.days, between=exposed_between(request))
    return shifted(first, delay)
