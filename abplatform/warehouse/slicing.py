"""Slices of units: a column of text per dimension, JSON as attributes have it."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import MOST_SLICES, REST, Dimension
from abplatform.warehouse.calendar import local_days
from abplatform.warehouse.windows import exposed_between
from abplatform.warehouse.workspace import Workspace

_UNITS = {"day": "D", "week": "W", "month": "M"}


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
    text = day.truncate(_UNITS[dimension.period or "day"]).date().cast("string")
    quote = ibis.literal('"')
    return quote + text + quote
