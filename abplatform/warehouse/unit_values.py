"""From units and conversions to each unit's value of every metric, in one pass over the conversions."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Measure, Metric
from abplatform.warehouse.counting import Counting
from abplatform.warehouse.ordered import add_ordered, is_ordered, reads_again, time_columns
from abplatform.warehouse.slicing import slice_columns
from abplatform.warehouse.wanted import Reading, find_reading
from abplatform.warehouse.windows import add_bounds, is_closed
from abplatform.warehouse.workspace import Workspace

MONEY = "decimal(38, 6)"
_NUMBERED = re.compile(r"[ydbtfx][0-9]+\Z")
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

    @property
    def is_rate(self) -> bool:
        """Whether it is 0 or 1."""
        return self.measure.aggregation == "conversion"

    def counts(self, counting: Counting) -> str:
        """Name of the column that says which events it is made of."""
        return counting.column(self.metric, self.measure, before=self.before, valued=self.metric.over == "events")


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
    # What behaviours read of units from before is not kept, and other experiments are not either.
    others = any(each.behaviour is not None or each.experiment is not None for each in request.dimensions)
    return numbers and not events and not others and all(column.mergeable for column in kept.values())


def add_values(workspace: Workspace, units: ir.Table, wanted: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with their values, as if all windows had closed: see `value_columns` and `ordered`.

    Args:
        workspace: where to compute.
        units: see `queries.first_exposures`, and a ``number`` that tells them apart. Values that are there already go
            on: those of the wanted conversions come to them.
        wanted: see `wanted.wanted_conversions`.
        request: what is asked for.
    """
    known = value_columns(request)
    columns = [name for name in units.columns if name not in known]
    events = wanted
    if reads_again(request):
        events = workspace.keep("events", units.select("number", "unit").join(wanted, "unit").drop("unit"))
    values = _values(units, events, request)
    times = [name for name in values.columns if name not in known and name != "number"]
    joined = units.left_join(values.rename({f"new_{name}": name for name in known}), "number")
    found: dict[str, ir.Value] = {name: joined[name] for name in times}
    for name, column in known.items():
        value = ibis.coalesce(joined[f"new_{name}"], ibis.literal(0).cast(MONEY))
        found[name] = _together(joined[name], value, column.measure) if name in units.columns else value
    return add_ordered(joined.select(*columns, **found), events, request)


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


def needed_columns(analysed: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units without what is no longer needed once it is known which of them count: texts are wide.

    Args:
        analysed: see `analysed_rows`.
        request: what is asked for.
    """
    known = {"number", "first", "variant", "cluster", *slice_columns(request)}
    if "number" not in analysed.columns or any(metric.over == "events" for metric in request.metrics):
        known.add("unit")
    return analysed.select(*(name for name in analysed.columns if name in known or _NUMBERED.match(name)))


def reduced(events: ir.Table, measure: Measure, reading: Reading, counts: ir.BooleanValue | None = None) -> ir.Value:
    """What a measure makes of a unit's events, as an aggregate over them; null where there is nothing to add up.

    Args:
        events: see `wanted.wanted_conversions`.
        measure: what to make of them.
        reading: names their columns.
        counts: which of them; all by default.
    """
    if measure.aggregation == "conversion":
        return _is_any(events.count(where=counts))
    if measure.aggregation == "count":
        return events.count(where=counts).cast(MONEY)
    number = events[reading.number(measure)]
    if measure.aggregation == "max":
        return number.max(where=counts).cast(MONEY)
    if measure.aggregation == "last":
        at = ibis.struct({"at": events.timestamp, "number": number.cast(MONEY)})
        known = number.notnull() if counts is None else counts & number.notnull()
        return at.max(where=known)["number"]
    return number.sum(where=counts).cast(MONEY)


def _values(units: ir.Table, events: ir.Table, request: AggregationRequest) -> ir.Table:
    """What each unit's events are made into; what several metrics ask is computed once."""
    reading, wanted = find_reading(request), value_columns(request)
    counting = Counting(add_bounds(units, events, request), request)
    asked: dict[Hashable, tuple[str, Measure, str]] = {}
    sources: dict[str, str] = {}
    for name, column in wanted.items():
        counts = column.counts(counting)
        # Whether there is any is known from how many there are.
        made = replace(column.measure, aggregation="count") if column.is_rate else column.measure
        number = reading.number(made) if made.aggregation != "count" else None
        sources[name], *_ = asked.setdefault((counts, made.aggregation, number), (f"a{len(asked)}", made, counts))
    times = time_columns(counting, request)
    joined = counting.add()
    made_of = {name: reduced(joined, made, reading, joined[counts]) for name, made, counts in asked.values()}
    found = joined.group_by("number").aggregate(
        **made_of, **{name: column.reduce(joined) for name, column in times.items()}
    )
    rates = {name for name, column in wanted.items() if column.is_rate}
    return found.select(
        "number",
        *times,
        **{name: _is_any(found[source]) if name in rates else found[source] for name, source in sources.items()},
    )


def _is_any(count: ir.NumericValue) -> ir.DecimalValue:
    return (count > 0).cast("int64").cast(MONEY)


def _together(known: ir.DecimalValue, new: ir.DecimalValue, measure: Measure) -> ir.Value:
    return ibis.greatest(known, new) if measure.aggregation == "conversion" else known + new
