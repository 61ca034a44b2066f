"""Slices of units: a column of text per dimension, JSON as attributes have it."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import MOST_SLICES, REST, Dimension
from abplatform.warehouse.calendar import local_days
from abplatform.warehouse.cells import Row
from abplatform.warehouse.windows import exposed_between
from abplatform.warehouse.workspace import Workspace

GROUPS = ("by", "variant", "slice")
"""What is counted apart, see `once_per_dimension`."""
_UNITS = {"day": "D", "week": "W", "month": "M"}
_WHOLE = -1


def attribute_columns(request: AggregationRequest) -> dict[str, str]:
    """Names of attributes by the column that holds them, as exposures gave them (``s0``)."""
    return {
        f"s{position}": dimension.name
        for position, dimension in enumerate(request.dimensions)
        if dimension.is_attribute
    }


def slice_columns(request: AggregationRequest) -> list[str]:
    """The columns of all dimensions (``s0``, ``s1``, ...)."""
    return [f"s{position}" for position in range(len(request.dimensions))]


def add_slices(units: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with the columns of periods.

    Those of attributes are there already, and `behaviours` and `crossing` add their own.
    """
    columns = {
        f"s{position}": _period_of(units["first"], dimension, request)
        for position, dimension in enumerate(request.dimensions)
        if dimension.period is not None
    }
    return units.mutate(**columns) if columns else units


def once_per_dimension(units: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with ``by`` and ``slice`` in place of their slices: once as a whole, and once more for each dimension.

    One query counts all of them: each query costs its writing and, on Spark, a job.

    Args:
        units: with the columns of all dimensions.
        request: what is asked for.
    """
    slices = slice_columns(request)
    kept = [name for name in units.columns if name not in slices]
    whole = units.select(*kept, by=ibis.literal(_WHOLE, "int8"), slice=ibis.null("string"))
    each = [units.select(*kept, by=ibis.literal(n, "int8"), slice=units[name]) for n, name in enumerate(slices)]
    return ibis.union(whole, *each, distinct=False) if each else whole


def split_by_dimension(rows: Sequence[Row], request: AggregationRequest) -> dict[str | None, list[Row]]:
    """What was counted of `once_per_dimension`: all units (None), and by the column of each dimension."""
    found: dict[str | None, list[Row]] = {None: []} | {name: [] for name in slice_columns(request)}
    names = list(found)
    for row in rows:
        found[names[int(row["by"]) - _WHOLE]].append(row)
    return found


def pool_rare(workspace: Workspace, units: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with all but the most frequent slices of each dimension as one, see `dimension.REST`.

    Args:
        workspace: where to compute.
        units: with the columns of all dimensions.
        request: what is asked for.
    """
    pooled: dict[str, ir.Value] = {}
    for column in slice_columns(request):
        counts = (
            units.filter(units[column].notnull())
            .group_by(units[column].name("slice"))
            .aggregate(units=lambda each: each.count())
        )
        most = counts.order_by(ibis.desc("units"), "slice").limit(MOST_SLICES + 1)
        kept = [row["slice"] for row in workspace.rows(most)]
        if len(kept) > MOST_SLICES:
            rare = units[column].notnull() & units[column].notin(kept[:MOST_SLICES])
            pooled[column] = ibis.ifelse(rare, REST, units[column])
    return units.mutate(**pooled) if pooled else units


def _period_of(first: ir.TimestampValue, dimension: Dimension, request: AggregationRequest) -> ir.StringValue:
    day = local_days(first, request.time_zone, between=exposed_between(request))
    # DuckDB makes a time of a date whose week is asked for.
    text = day.truncate(_UNITS[dimension.period or "day"]).cast("string").substr(0, 10)
    quote = ibis.literal('"')
    return quote + text + quote
