"""What depends on the order of a unit's events: how far it came in a funnel, how long it took to an event."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Measure, Metric, Step
from abplatform.warehouse.times import moment, shifted
from abplatform.warehouse.wanted import find_reading
from abplatform.warehouse.windows import add_bounds, find_bounds, find_cutoff, is_inside

NEVER = 2**62
"""Microseconds of a time that has no end."""
MICROSECONDS = 1_000_000
"""In a second."""
_TIME = "timestamp('UTC', 6)"


def is_ordered(metric: Metric) -> bool:
    """Whether the order of its events matters."""
    return metric.kind in {"funnel", "time_to"}


def reads_again(request: AggregationRequest) -> bool:
    """Whether events are needed once more, when it is known when something before them came."""
    return any(metric.kind == "funnel" or metric.start is not None for metric in request.metrics)


def first_times(events: ir.Table, request: AggregationRequest) -> dict[str, ir.Value]:
    """When each unit's time ended (``e0``), or began (``e0``, of times that run from an event); null for never.

    Aggregates over a unit's events.

    Args:
        events: see `windows.add_bounds`.
        request: what is asked for.
    """
    bounds, reading, found = find_bounds(request), find_reading(request), {}
    for position, metric in enumerate(request.metrics):
        if metric.kind == "time_to":
            match = events[reading.match(metric.start or metric.measure)]
            found[f"e{position}"] = events.timestamp.min(where=match & is_inside(events, metric, bounds))
    return found


def add_ordered(units: ir.Table, events: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with ``y0`` (whether a unit took all steps) and ``f0`` (how many it took, in order) of funnels.

    And of times ``t0`` (microseconds to the event, `NEVER` without one) and ``f0`` (microseconds for which it was
    looked for, `NEVER` where time never began to run).

    Args:
        units: with a ``number`` that tells them apart, and the columns of `first_times`.
        events: conversions, see `windows.add_bounds`.
        request: what is asked for.
    """
    # Events are joined to these: to units with what earlier metrics have added, a query would double with each metric.
    bare = units
    for position, metric in enumerate(request.metrics):
        if metric.kind == "funnel":
            units = _add_funnel(units, _inside(bare, events, request, metric, metric.steps), metric, position)
        elif metric.kind == "time_to":
            units = _add_time(units, _ends(bare, events, request, position), request, position)
    return units.drop(*(name for name in units.columns if name[0] == "e" and name[1:].isdigit()))


def _inside(
    units: ir.Table, events: ir.Table, request: AggregationRequest, metric: Metric, parts: Sequence[Measure | Step]
) -> ir.Table:
    """The conversions in the window of one metric that are good for something: ``number, first, timestamp``.

    And whether each is one of the parts (``m0``, ``m1``, ...).
    """
    reading, bounds = find_reading(request), find_bounds(request)
    names = [reading.match(part) for part in parts]
    read = ibis.or_(*(events[name] for name in dict.fromkeys(names)))
    joined = add_bounds(units, events.filter(read), request)
    inside = joined.filter(is_inside(joined, metric, bounds))
    matches = {f"m{number}": inside[name] for number, name in enumerate(names)}
    return inside.select("number", "first", "timestamp", **matches)


def _add_funnel(units: ir.Table, events: ir.Table, metric: Metric, position: int) -> ir.Table:
    """A step is taken by an event that comes after one of the step before, by time, then by the steps that it fits."""
    order = [events.timestamp, *(ibis.desc(events[f"m{number}"]) for number in range(len(metric.steps)))]
    before = ibis.window(group_by="number", order_by=order, preceding=(None, 1), following=None)
    came = events["first"]
    for number, step in enumerate(metric.steps):
        reached = events[f"m{number}"] & came.notnull()
        if step.within is not None:
            reached &= events.timestamp <= shifted(came, step.within)
        events = events.mutate(**{f"r{number}": reached})
        if number + 1 < len(metric.steps):
            at = ibis.ifelse(events[f"r{number}"], events.timestamp, ibis.null(_TIME))
            events = events.mutate(latest=at.max().over(before))
            came = events.latest
    depth = ibis.greatest(*(ibis.ifelse(events[f"r{number}"], number + 1, 0) for number in range(len(metric.steps))))
    found = events.group_by("number").aggregate(depth=depth.max())
    joined = units.left_join(found, "number")
    steps = ibis.coalesce(joined.depth, 0).cast("int64")
    whole = (steps == len(metric.steps)).cast("int64").cast("decimal(38, 6)")
    return joined.select(*units.columns, **{f"y{position}": whole, f"f{position}": steps})


def _ends(units: ir.Table, events: ir.Table, request: AggregationRequest, position: int) -> ir.Table | None:
    """When times that run from an event ended: ``number, ended``; None where they run from the first exposure."""
    metric, known = request.metrics[position], f"e{position}"
    if metric.start is None:
        return None
    inside = _inside(units, events, request, metric, [metric.measure])
    after = inside.join(units.select("number", known), "number")
    return after.group_by("number").aggregate(ended=after.timestamp.min(where=after.timestamp >= after[known]))


def _add_time(units: ir.Table, ends: ir.Table | None, request: AggregationRequest, position: int) -> ir.Table:
    known = f"e{position}"
    if ends is None:
        joined = units.mutate(began=units["first"], ended=units[known])
    else:
        joined = units.mutate(began=units[known]).left_join(ends, "number")
    time = ibis.coalesce(joined.ended.delta(joined.began, unit="microsecond"), NEVER)
    followed = ibis.coalesce(moment(find_cutoff(request)).delta(joined.began, unit="microsecond"), NEVER)
    return joined.select(*units.columns, **{f"t{position}": time, f"f{position}": followed})
