"""Which of a unit's events count for what: a column for each answer, shared by all that ask the same."""

from __future__ import annotations

from collections.abc import Hashable

import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Measure, Metric, Step
from abplatform.warehouse.wanted import find_reading
from abplatform.warehouse.windows import find_bounds, is_before, is_inside


class Counting:
    """The columns (``c0``, ``c1``, ...) that a request asks for.

    Args:
        events: conversions of units, see `windows.add_bounds`.
        request: what is asked for.
    """

    def __init__(self, events: ir.Table, request: AggregationRequest) -> None:
        self._events = events
        self._bounds = find_bounds(request)
        self._reading = find_reading(request)
        self._names: dict[Hashable, str] = {}
        self._columns: dict[str, ir.BooleanValue] = {}

    def column(self, metric: Metric, part: Measure | Step, *, before: bool = False, valued: bool = False) -> str:
        """Name of the column that says whether an event is one of a metric's.

        Args:
            metric: says when.
            part: says which.
            before: in the look-back before the first exposure, not in the window after it.
            valued: only events that have the number of the metric.
        """
        match = self._reading.match(part)
        number = self._reading.number(metric.measure) if valued else None
        asked = (before, metric.cuped_lookback if before else metric.window, match, number)
        if asked not in self._names:
            inside = (is_before if before else is_inside)(self._events, metric, self._bounds)
            counts = self._events[match] & inside
            self._names[asked] = name = f"c{len(self._names)}"
            self._columns[name] = counts if number is None else counts & self._events[number].notnull()
        return self._names[asked]

    def add(self) -> ir.Table:
        """The events with all columns that were asked for."""
        return self._events.mutate(**self._columns)
