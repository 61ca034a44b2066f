"""From units and conversions to each unit's value of every metric, in one pass over the conversions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Measure, Metric
from abplatform.warehouse.ordered import add_ordered, is_ordered
from abplatform.warehouse.slicing import slice_columns
from abplatform.warehouse.wanted import Reading, find_reading
from abplatform.warehouse.windows import bound_columns, find_bounds, is_before, is_closed, is_inside

MONEY = "decimal(38, 6)"
_INSTANT = "timestamp('UTC', 6)"
# Kinds whose values of two sets of events make those of both together.
_MERGEABLE = frozenset({"conversion", "count", "sum"})


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A number per unit.

    Attributes:
        metric: whose it is.
        measure: the events that it is made of.
        before: whether they are those before the first exposure.
    """

    metric: Metric
    measure: Measure
    before: bool = False

    @property
    def mergeable(self) -> bool:
        """Whether the numbers of two sets of events make that of both."""
        return self.measure.aggregation in _MERGEABLE


def value_columns(request: AggregationRequest) -> dict[str, ValueColumn]:
    """All numbers per unit that come from one pass.

    ``y0`` is that of the first metric, ``d0`` what stands below its line, ``b0`` the same as ``y0`` before the first
    exposure. Times and funnels have other columns, see `ordered`.
    """
    columns: dict[str, ValueColumn] = {}
    for position, metric in enumerate(request.metrics):
        if is_ordered(metric):
            continue
        # Of quantiles of events, how many with a value a unit has; the values themselves are no numbers of units.
        measure = replace(metric.measure, aggregation="count") if metric.over == "events" else metric.measure
        columns[f"y{position}"] = ValueColumn(metric, measure)
        if metric.below is not None:
            columns[f"d{position}"] = ValueColumn(metric, metric.below)
        if request.adjusts(metric):
            columns[f"b{position}"] = ValueColumn(metric, metric.measure, before=True)
    return columns


def can_be_kept(request: AggregationRequest) -> bool:
    """Whether what an answer knows of each unit can be gone on from: numbers that can be merged, and nothing else."""
    kept = value_columns(request)
    numbers = all(f"y{position}" in kept for position in range(len(request.metrics)))
    events = any(metric.over == "events" for metric in request.metrics)
    return numbers and not events and all(column.mergeable for column in kept.values())


def add_values(units: ir.Table, wanted: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with their values, as if all windows had closed: see `value_columns` and `ordered`.

    Args:
        units: see `queries.first_exposures`, and a ``number`` that tells them apart. Values that are there already go
            on: those of the wanted conversions come to them.
        wanted: see `wanted.wanted_conversions`.
        request: what is asked for.
    """
    known = value_columns(request)
    columns = [name for name in units.columns if name not in known]
    if known:
        values = _values(units, wanted, request).rename({f"new_{name}": name for name in known})
        joined = units.left_join(values, "number")
        found: dict[str, ir.Value] = {}
        for name, column in known.items():
            value = ibis.coalesce(joined[f"new_{name}"], ibis.literal(0).cast(MONEY))
            found[name] = _together(joined[name], value, column.measure) if name in units.columns else value
        units = joined.select(*columns, **found)
    return add_ordered(units, wanted, request)


def analysed_rows(analysed: ir.Table, request: AggregationRequest) -> ir.Table:
    """One row per unit: ``variant, cluster``, its slices, its values (null while open) and its covariates.

    ``w0`` is the value of a metric whose harm is watched, open or not.

    Args:
        analysed: the units that count, see `add_values`, with their slices (`slicing.add_slices`).
        request: what is asked for.
    """
    columns: dict[str, ir.Value] = {}
    for position, metric in enumerate(request.metrics):
        closed = is_closed(analysed["first"], metric, request)
        for name in (f"{letter}{position}" for letter in "ydbtf"):
            if name in analysed.columns:
                columns[name] = ibis.ifelse(closed, analysed[name], ibis.null(analysed[name].type()))
        if request.watches(metric):
            columns[f"w{position}"] = analysed[f"y{position}"]
    covariates = [f"x{position}" for position in range(len(request.covariates))]
    return analysed.select("variant", "cluster", *slice_columns(request), *covariates, **columns)


def reduced(events: ir.Table, measure: Measure, reading: Reading, counts: ir.BooleanValue | None = None) -> ir.Value:
    """What a measure makes of a unit's events, as an aggregate over them; null where there is nothing to add up.

    Args:
        events: see `wanted.wanted_conversions`.
        measure: what to make of them.
        reading: names their columns.
        counts: which of them; all by default.
    """
    if measure.aggregation == "conversion":
        return (events.count(where=counts) > 0).cast("int64").cast(MONEY)
    if measure.aggregation == "count":
        return events.count(where=counts).cast(MONEY)
    number = events[reading.number(measure)]
    if measure.aggregation == "max":
        return number.max(where=counts).cast(MONEY)
    if measure.aggregation == "last":
        at = ibis.struct({"at": events.timestamp, "event_id": events.event_id, "number": number.cast(MONEY)})
        known = number.notnull() if counts is None else counts & number.notnull()
        return at.max(where=known)["number"]
    return number.sum(where=counts).cast(MONEY)


def _values(units: ir.Table, wanted: ir.Table, request: AggregationRequest) -> ir.Table:
    bounds, reading = find_bounds(request), find_reading(request)
    delayed = bound_columns(units["first"], request, bounds)
    joined = units.select("number", "unit", "first", **delayed).join(wanted, "unit")
    columns: dict[str, ir.Value] = {}
    for name, column in value_columns(request).items():
        inside = is_before if column.before else is_inside
        counts = joined[reading.match(column.measure)] & inside(joined, column.metric, bounds)
        if column.metric.over == "events":
            counts &= joined[reading.number(column.metric.measure)].notnull()
        columns[name] = reduced(joined, column.measure, reading, counts)
    return joined.group_by("number").aggregate(**columns)


def _together(known: ir.DecimalValue, new: ir.DecimalValue, measure: Measure) -> ir.Value:
    return ibis.greatest(known, new) if measure.aggregation == "conversion" else known + new
