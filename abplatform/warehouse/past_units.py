"""What all units did before a time: where the edges of a behaviour lie, and which class each unit has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from abplatform.domain.aggregates import LakeState
from abplatform.domain.behaviour import PastNumbers, PastRequest, quantile_ranks, units_needed
from abplatform.warehouse.behaviours import class_of, units_before
from abplatform.warehouse.cells import plain
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.ordered import NEVER
from abplatform.warehouse.queries import COLUMNS_OF_CONVERSIONS
from abplatform.warehouse.workspace import OpenWorkspace, Workspace


def past_numbers(lake: Lake, request: PastRequest, open_workspace: OpenWorkspace) -> PastNumbers:
    """Where the edges of a behaviour of the kind ``rfm`` lie that are quantiles, of units with an activity.

    What lies between two numbers is not invented: an edge is a number that a unit had.

    Args:
        lake: holds the events.
        request: what is asked for.
        open_workspace: where the engine computes.

    Raises:
        SnapshotExpired, Unavailable: see `reduction.reduce_events`.
    """
    behaviour = request.behaviour
    with _open(lake, request, open_workspace) as (workspace, units):
        values = workspace.keep("values", units.filter(units.frequency > 0).select(*behaviour.quantiles))
        count = int(workspace.rows(values.aggregate(units=values.count()))[0]["units"])
        if count < units_needed(behaviour):
            return PastNumbers(units=count, edges={})
        found = {
            name: _at_ranks(workspace, values[name], quantile_ranks(groups, count))
            for name, groups in behaviour.quantiles.items()
        }
    return PastNumbers(units=count, edges=found)


def past_classes(lake: Lake, request: PastRequest, open_workspace: OpenWorkspace) -> pa.Table:
    """The class of every unit that did something: ``unit, class``, and the columns of `behaviours.NUMBERS`.

    Args:
        lake, request, open_workspace: see `past_numbers`.

    Returns:
        Classes as JSON texts; a time is null for units without an activity.

    Raises:
        SnapshotExpired, Unavailable: see `reduction.reduce_events`.
    """
    with _open(lake, request, open_workspace) as (workspace, units):
        numbers = {name: units[name] for name in units.columns if name != "unit"}
        shown = {
            name: value.nullif(NEVER) if name in {"recency", "age"} else value
            for name, value in numbers.items()
            if name != "text"
        }
        return workspace.arrow(units.select("unit", **{"class": class_of(request.behaviour, numbers)}, **shown))


@contextmanager
def _open(lake: Lake, request: PastRequest, open_workspace: OpenWorkspace) -> Iterator[tuple[Workspace, ir.Table]]:
    state = LakeState(exposures=None, conversions=request.state)
    paths = [file.path for file in lake.files_of(request.project, "conversion", state)]
    with open_workspace() as workspace:
        conversions = workspace.read(paths, COLUMNS_OF_CONVERSIONS)
        units = units_before(conversions, request.behaviour, request.time, unit_type=request.unit_type)
        yield workspace, units


def _at_ranks(workspace: Workspace, column: ir.Column, ranks: list[int]) -> tuple[timedelta | int | Decimal, ...]:
    """The numbers at some places of their order."""
    name = column.get_name()
    ranked = column.as_table().select(name, rank=ibis.row_number().over(ibis.window(order_by=name)))
    rows = workspace.rows(ranked.filter(ranked["rank"].isin(ranks)))
    found = {int(row["rank"]): _number(name, row[name]) for row in rows}
    return tuple(found[rank] for rank in ranks)


def _number(name: str, value: Decimal | int) -> timedelta | int | Decimal:
    if name == "recency":
        return timedelta(microseconds=int(value))
    return int(value) if name == "frequency" else plain(Decimal(value))
