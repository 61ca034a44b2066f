"""What depends on the order of a unit's events: how far it came in a funnel, how long it took to an event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Measure, Metric, Step
from abplatform.warehouse.counting import Counting
from abplatform.warehouse.times import between, moment, shifted
from abplatform.warehouse.wanted import find_reading
from abplatform.warehouse.windows import add_bounds, find_bounds, find_cutoff, is_inside

NEVER = 2**62
"""Microseconds of a time that has no end."""
MICROSECONDS = 1_000_000
"""In a second."""
_TIME = "timestamp('UTC', 6)"
_FIRST_TIME = re.compile(r"e[0-9]+(_[a-z]+)?\Z")


def is_ordered(metric: Metric) -> bool:
    """Whether the order of its events matters."""
    return metric.kind in {"funnel", "time_to"}


def reads_again(request: AggregationRequest) -> bool:
    """Whether events are needed once more, when it is known when something before them came."""
    return any(
        metric.start is not None or (metric.kind == "funnel" and not _is_pair(metric)) for metric in request.metrics
    )


def _is_pair(metric: Metric) -> bool:
    """Whether a funnel asks only if something came after something else: first and last times say that."""
    return len(metric.steps) == 2 and all(step.within is None for step in metric.steps)


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """When something first or last happened to a unit, or how often it did.

    Attributes:
        what: ``first``, ``last``, or ``count``.
        which: column that says of which events.
        also: another that must say so too.
        unless: one that must not.
    """

    what: Literal["first", "last", "count"]
    which: str
    also: str | None = None
    unless: str | None = None

    def reduce(self, events: ir.Table) -> ir.Value:
        """The aggregate over a unit's events; of times null for never."""
        counts = events[self.which]
        if self.also is not None:
            counts &= events[self.also]
        if self.unless is not None:
            counts &= ~events[self.unless]
        if self.what == "count":
            return events.count(where=counts)
        return events.timestamp.min(where=counts) if self.what == "first" else events.timestamp.max(where=counts)


def time_columns(counting: Counting, request: AggregationRequest) -> dict[str, TimeColumn]:
    """When each unit's time ended (``e0``), or began (``e0``, of times that run from an event).

    And of funnels of two steps without a limit ``e0`` (when the first one was first taken), ``e0_last`` (when the
    second one last could be), ``e0_alone`` (the same, of events that are not the first step) and ``e0_both`` (how many
    events are both steps).

    Args:
        counting: names the columns of the events.
        request: what is asked for.
    """
    found: dict[str, TimeColumn] = {}
    for position, metric in enumerate(request.metrics):
        name = f"e{position}"
        if metric.kind == "time_to":
            found[name] = TimeColumn("first", counting.column(metric, metric.start or metric.measure))
        elif _is_pair(metric):
            first, second = (counting.column(metric, step) for step in metric.steps)
            found[name] = TimeColumn("first", first)
            found[f"{name}_last"] = TimeColumn("last", second)
            found[f"{name}_alone"] = TimeColumn("last", second, unless=first)
            found[f"{name}_both"] = TimeColumn("count", first, also=second)
    return found


def add_ordered(units: ir.Table, events: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with ``y0`` (whether a unit took all steps) and ``f0`` (how many it took, in order) of funnels.

    And of times ``t0`` (microseconds to the event, `NEVER` without one) and ``f0`` (microseconds for which it was
    looked for, `NEVER` where time never began to run).

    Args:
        units: with a ``number`` that tells them apart, and `time_columns`.
        events: conversions, see `windows.add_bounds`.
        request: what is asked for.
    """
    # Events are joined to these: to units with what earlier metrics have added, a query would double with each metric.
    bare = units
    for position, metric in enumerate(request.metrics):
        if _is_pair(metric):
            units = _set_depth(units, _depth_of_pair(units, position), metric, position)
        elif metric.kind == "funnel":
            units = _add_funnel(units, _inside(bare, events, request, metric, metric.steps), metric, position)
        elif metric.kind == "time_to":
            units = _add_time(units, _ends(bare, events, request, position), request, position)
    return units.drop(*filter(_FIRST_TIME.match, units.columns))


def _depth_of_pair(units: ir.Table, position: int) -> ir.IntegerValue:
    """How many of two steps a unit took, in the order of `_add_funnel`."""
    first, last, alone, both = (units[f"e{position}{rest}"] for rest in ("", "_last", "_alone", "_both"))
    # At the one time that is left where the last second step is no later than the first first one, events that are
    # both steps come before those that are one. One event alone takes one step.
    at_once = (last == first) & ((both != 1) | ibis.coalesce(alone == first, ibis.literal(False)))
    done = ibis.coalesce((last > first) | at_once, ibis.literal(False))
    return ibis.ifelse(done, 2, ibis.ifelse(first.notnull(), 1, 0))


def _set_depth(units: ir.Table, depth: ir.IntegerValue, metric: Metric, position: int) -> ir.Table:
    steps = ibis.coalesce(depth, 0).cast("int64")
    whole = (steps == len(metric.steps)).cast("int64").cast("decimal(38, 6)")
    return units.mutate(**{f"y{position}": whole, f"f{position}": steps})


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
    order = ["timestamp", *(ibis.desc(f"m{number}") for number in range(len(metric.steps)))]
    came = events["first"]
    for number, step in enumerate(metric.steps):
        reached = events[f"m{number}"] & came.notnull()
        if step.within is not None:
            reached &= events.timestamp <= shifted(came, step.within)
        events = events.mutate(**{f"r{number}": reached})
        if number + 1 < len(metric.steps):
            # Each step sorts anew, and must not swap events that are alike: who took this step came later.
            order.append(f"r{number}")
            before = ibis.window(group_by="number", order_by=order, preceding=(None, 1), following=None)
            at = ibis.ifelse(events[f"r{number}"], events.timestamp, ibis.null(_TIME))
            events = events.mutate(latest=at.max().over(before))
            came = events.latest
    depth = ibis.greatest(*(ibis.ifelse(events[f"r{number}"], number + 1, 0) for number in range(len(metric.steps))))
    found = events.group_by("number").aggregate(depth=depth.max())
    joined = units.left_join(found, "number")
    return _set_depth(joined, joined.depth, metric, position).select(*units.columns, f"y{position}", f"f{position}")


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
    time = ibis.coalesce(between(joined.began, joined.ended), NEVER)
    followed = ibis.coalesce(between(joined.began, moment(find_cutoff(request))), NEVER)
    return joined.select(*units.columns, **{f"t{position}": time, f"f{position}": followed})
