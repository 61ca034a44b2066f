"""What depends on the order of a unit's events: how far it came in a funnel, how long it took to an event."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric
from abplatform.warehouse.times import moment, shifted
from abplatform.warehouse.wanted import Reading, find_reading
from abplatform.warehouse.windows import bound_columns, find_bounds, find_cutoff, is_inside

NEVER = 2**62
"""Microseconds of a time that has no end."""
MICROSECONDS = 1_000_000
"""In a second."""


def is_ordered(metric: Metric) -> bool:
    """Whether the order of its events matters."""
    return metric.kind in {"funnel", "time_to"}


def add_ordered(units: ir.Table, wanted: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with ``y0`` (whether a unit took all steps) and ``f0`` (how many it took, in order) of funnels.

    And of times ``t0`` (microseconds to the event, `NEVER` without one) and ``f0`` (microseconds for which it was
    looked for, `NEVER` where time never began to run).

    Args:
        units: with a ``number`` that tells them apart.
        wanted: see `wanted.wanted_conversions`.
        request: what is asked for.
    """
    for position, metric in enumerate(request.metrics):
        if metric.kind == "funnel":
            units = _add_funnel(units, _of(units, wanted, request, metric), metric, position, find_reading(request))
        elif metric.kind == "time_to":
            units = _add_time(units, _of(units, wanted, request, metric), request, position)
    return units


def _of(units: ir.Table, wanted: ir.Table, request: AggregationRequest, metric: Metric) -> ir.Table:
    """The conversions in the window of one metric, with the ``number`` and ``first`` of their units."""
    bounds, reading = find_bounds(request), find_reading(request)
    delayed = bound_columns(units["first"], request, bounds)
    parts = metric.steps or [part for part in (metric.measure, metric.start) if part is not None]
    read = ibis.or_(*(wanted[name] for name in dict.fromkeys(reading.match(part) for part in parts)))
    joined = units.select("number", "unit", "first", **delayed).join(wanted.filter(read), "unit")
    return joined.filter(is_inside(joined, metric, bounds)).drop(*delayed)


def _add_funnel(units: ir.Table, events: ir.Table, metric: Metric, position: int, reading: Reading) -> ir.Table:
    """A step is taken by an event that comes after one of the step before, by time, then by step, then by id."""
    taken = [events[reading.match(step)] for step in metric.steps]
    step = ibis.cases(*((each, number) for number, each in enumerate(taken)), else_=len(taken))
    events = events.select(
        "number",
        "first",
        "timestamp",
        "event_id",
        step=step,
        **{f"s{number}": each for number, each in enumerate(taken)},
    )
    before = ibis.window(
        group_by="number", order_by=["timestamp", "step", "event_id"], preceding=(None, 1), following=None
    )
    came = events["first"]
    for number, each in enumerate(metric.steps):
        reached = events[f"s{number}"] & came.notnull()
        if each.within is not None:
            reached &= events.timestamp <= shifted(came, each.within)
        events = events.mutate(reached=ibis.ifelse(reached, events.timestamp, ibis.null("timestamp('UTC', 6)")))
        events = events.mutate(**{f"r{number}": events.reached.notnull(), "latest": events.reached.max().over(before)})
        came = events.latest
    depth = ibis.greatest(*(ibis.ifelse(events[f"r{number}"], number + 1, 0) for number in range(len(metric.steps))))
    found = events.group_by("number").aggregate(depth=depth.max())
    joined = units.left_join(found, "number")
    steps = ibis.coalesce(joined.depth, 0).cast("int64")
    whole = (steps == len(metric.steps)).cast("int64").cast("decimal(38, 6)")
    return joined.select(*units.columns, **{f"y{position}": whole, f"f{position}": steps})


def _add_time(units: ir.Table, events: ir.Table, request: AggregationRequest, position: int) -> ir.Table:
    metric, reading = request.metrics[position], find_reading(request)
    ends = events[reading.match(metric.measure)]
    if metric.start is None:
        begun = units.mutate(began=units["first"])
        found = events.group_by("number").aggregate(ended=events.timestamp.min(where=ends))
    else:
        starts = events.group_by("number").aggregate(
            began=events.timestamp.min(where=events[reading.match(metric.start)])
        )
        begun = units.left_join(starts, "number").select(*units.columns, "began")
        both = events.join(starts, "number")
        after = both[reading.match(metric.measure)] & (both.timestamp >= both.began)
        found = both.group_by("number").aggregate(ended=both.timestamp.min(where=after))
    joined = begun.left_join(found, "number")
    time = ibis.coalesce(joined.ended.delta(joined.began, unit="microsecond"), NEVER)
    followed = ibis.coalesce(moment(find_cutoff(request)).delta(joined.began, unit="microsecond"), NEVER)
    return joined.select(*units.columns, **{f"t{position}": time, f"f{position}": followed})
