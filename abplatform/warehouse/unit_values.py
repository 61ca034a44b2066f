"""From units and conversions to each unit's value of every metric, in one pass over the conversions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.events import scalar_as_json
from abplatform.domain.metric import Metric
from abplatform.warehouse.times import moment, shifted

MONEY = "decimal(38, 6)"
_NO_DELAY = timedelta(0)


def wanted_conversions(conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    """The conversions that may matter: ``unit, timestamp, value``, and ``m0, m1, ...`` (whether each metric reads it).

    Args:
        conversions: all of the project.
        request: what is asked for.
    """
    wanted = _inside_time(conversions, request)
    matches = {f"m{position}": _matches(wanted, metric) for position, metric in enumerate(request.metrics)}
    return wanted.select("timestamp", "value", unit=_whose(wanted, request), **matches)


def add_values(units: ir.Table, wanted: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with ``y0, y1, ...``: their value of each metric, as if all windows had closed.

    Where the metric is adjusted, ``b0`` is the value before the first exposure.

    Args:
        units: see `queries.first_exposures`, and a ``number`` that tells them apart. Values that are there already go
            on: those of the wanted conversions come to them.
        wanted: see `wanted_conversions`.
        request: what is asked for.
    """
    known = value_columns(request)
    values = _values(units, wanted, request).rename({f"new_{name}": name for name in known})
    joined = units.left_join(values, "number")
    columns: dict[str, ir.Value] = {}
    for name, metric in known.items():
        value = ibis.coalesce(joined[f"new_{name}"], ibis.literal(0).cast(MONEY))
        columns[name] = _together(joined[name], value, metric) if name in units.columns else value
    return joined.select(*(name for name in units.columns if name not in known), **columns)


def analysed_rows(units: ir.Table, request: AggregationRequest) -> ir.Table:
    """One row per analysed unit: ``variant, slice, cluster``, its values (null while open) and its covariates.

    Args:
        units: see `add_values`, and ``analysed``.
        request: what is asked for.
    """
    analysed = units.filter(units.analysed)
    columns = {
        name: ibis.ifelse(
            is_closed(analysed["first"], metric, request), analysed[name], ibis.null(analysed[name].type())
        )
        for name, metric in value_columns(request).items()
    }
    covariates = [f"x{position}" for position in range(len(request.covariates))]
    return analysed.select("variant", "slice", "cluster", *covariates, **columns)


def value_columns(request: AggregationRequest) -> dict[str, Metric]:
    """The metric of each column of values: ``y0`` for that of the first metric, ``b0`` for the one before exposure."""
    after = {f"y{position}": metric for position, metric in enumerate(request.metrics)}
    before = {f"b{position}": metric for position, metric in enumerate(request.metrics) if request.adjusts(metric)}
    return after | before


def is_closed(first: ir.TimestampValue, metric: Metric, request: AggregationRequest) -> ir.BooleanValue:
    """Whether the window of a metric has closed for who was first exposed at some time."""
    if metric.window is None:
        return ibis.literal(True)
    cutoff = request.as_of if request.until is None else min(request.as_of, request.until)
    return first <= moment(cutoff - metric.window.end)


def _values(units: ir.Table, wanted: ir.Table, request: AggregationRequest) -> ir.Table:
    # Bounds are computed once per unit: to add an interval to a time costs more than all else about a conversion.
    bounds = _bounds(request)
    delayed = {name: shifted(units["first"], delay) for delay, name in bounds.items() if delay}
    joined = units.select("number", "unit", "first", **delayed).join(wanted, "unit")
    columns: dict[str, ir.Value] = {}
    for name, metric in value_columns(request).items():
        inside = _after(joined, metric, bounds) if name.startswith("y") else _before(joined, metric, bounds)
        columns[name] = _reduced(joined, metric, joined[f"m{name[1:]}"] & inside)
    return joined.group_by("number").aggregate(**columns)


def _inside_time(conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    events = sorted({metric.event for metric in request.metrics})
    wanted = conversions.filter(conversions.event.isin(events))
    if request.since is not None:
        # Nobody was exposed before: files of earlier days need not be read.
        longest = max(
            (metric.cuped_lookback for metric in request.metrics if request.adjusts(metric)), default=_NO_DELAY
        )
        wanted = wanted.filter(wanted.timestamp >= moment(request.since - longest))
    if request.until is not None:
        wanted = wanted.filter(wanted.timestamp < moment(request.until))
    return wanted


def _bounds(request: AggregationRequest) -> Mapping[timedelta, str]:
    """The column that holds the time of the first exposure with a delay, by the delay."""
    delays = {_NO_DELAY}
    for metric in request.metrics:
        if metric.window is not None:
            delays |= {metric.window.start, metric.window.end}
        if request.adjusts(metric):
            delays.add(-metric.cuped_lookback)
    return {delay: f"bound{index}" if delay else "first" for index, delay in enumerate(sorted(delays))}


def _reduced(joined: ir.Table, metric: Metric, counts: ir.BooleanValue) -> ir.Value:
    if metric.kind == "sum":
        return joined.value.sum(where=counts).cast(MONEY)
    return (joined.count(where=counts) > 0).cast("int64").cast(MONEY)


def _together(known: ir.DecimalValue, new: ir.DecimalValue, metric: Metric) -> ir.Value:
    return known + new if metric.kind == "sum" else ibis.greatest(known, new)


def _whose(conversions: ir.Table, request: AggregationRequest) -> ir.StringValue:
    if request.unit_type is None:
        return conversions.unit
    return ibis.coalesce(conversions.units.get(request.unit_type), conversions.unit)


def _matches(conversions: ir.Table, metric: Metric) -> ir.BooleanValue:
    matches = conversions.event == metric.event
    for name, wanted in metric.where.items():
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        matches &= conversions.properties.get(name).isin([scalar_as_json(option) for option in options])
    return matches


def _after(joined: ir.Table, metric: Metric, bounds: Mapping[timedelta, str]) -> ir.BooleanValue:
    if metric.window is None:
        return joined.timestamp >= joined["first"]
    start, end = joined[bounds[metric.window.start]], joined[bounds[metric.window.end]]
    return (joined.timestamp >= start) & (joined.timestamp < end)


def _before(joined: ir.Table, metric: Metric, bounds: Mapping[timedelta, str]) -> ir.BooleanValue:
    return (joined.timestamp >= joined[bounds[-metric.cuped_lookback]]) & (joined.timestamp < joined["first"])
