"""How many values lie at or below cut points: what quantiles are made of.

Two passes: the cut points are values of all variants pooled, close together around the wanted quantile; then the values
of each variant are counted between them. Up to 200 distinct values are all cut points, and nothing is lost.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.arm_cell import BelowCuts, Lifetimes
from abplatform.domain.metric import Metric
from abplatform.stats.sufficient.quantiles import cut_levels
from abplatform.warehouse.cells import Cuts, Place, Row
from abplatform.warehouse.ordered import MICROSECONDS, NEVER
from abplatform.warehouse.slicing import slice_columns
from abplatform.warehouse.unit_values import MONEY
from abplatform.warehouse.wanted import find_reading
from abplatform.warehouse.windows import bound_columns, find_bounds, is_closed, is_inside
from abplatform.warehouse.workspace import Workspace

ALL_CUTS = 200
"""Up to so many distinct values, each is a cut point."""


def has_cuts(metric: Metric) -> bool:
    """Whether a metric is computed from the order of values."""
    return metric.kind in {"quantile", "time_to"}


def count_cuts(
    workspace: Workspace, units: ir.Table, wanted: ir.Table, request: AggregationRequest, position: int
) -> Mapping[str | None, Cuts]:
    """Choose the cut points of one metric, and count: all units, and by the slices of each dimension.

    Args:
        workspace: where to compute.
        units: the analysed ones with their values (`unit_values.add_values`) and slices (`slicing.add_slices`).
        wanted: conversions; see `wanted.wanted_conversions`.
        request: what is asked for.
        position: of the metric in the request.

    Returns:
        By column of the dimension; None for all units.
    """
    metric = request.metrics[position]
    closed = units.filter(is_closed(units["first"], metric, request))
    name = "cluster" if request.clustered else "number" if "number" in closed.columns else "unit"
    members = closed.mutate(member=closed[name])
    items = workspace.keep(f"items{position}", _items(members, wanted, request, position))
    cuts = _find_cuts(workspace, items, metric)
    binned = workspace.keep(f"binned{position}", _add_bins(items, metric, cuts))
    alone = metric.over == "units" and not request.clustered
    return {
        slice_: _count(workspace, _sliced(members, slice_), _sliced(binned, slice_), metric, cuts, alone=alone)
        for slice_ in (None, *slice_columns(request))
    }


def _count(
    workspace: Workspace, members: ir.Table, binned: ir.Table, metric: Metric, cuts: Sequence[Any], *, alone: bool
) -> Cuts:
    """Of one dimension; ``alone`` is whether each member has one value."""
    number = members.count() if alone else members.member.nunique()
    rows = workspace.rows(members.group_by(["variant", "slice"]).aggregate(members=number))
    places = {_place(row): int(row["members"]) for row in rows}
    if _is_followed(metric):
        return Cuts(lifetimes=_lifetimes(workspace, binned, cuts, places))
    shown = [float(cut) / (MICROSECONDS if metric.kind == "time_to" else 1) for cut in cuts]
    found = workspace.rows(_sum_alone(binned) if alone else _sum_together(binned))
    bins: Mapping[Place, dict[int, Row]] = defaultdict(dict)
    for row in found:
        bins[_place(row)][int(row["bin"])] = row
    sizes = _count_sizes(workspace, binned, bins, alone=alone)
    return Cuts(
        below={place: _make_below(shown, each, bins[place], sizes.get(place)) for place, each in places.items()}
    )


def _sliced(table: ir.Table, slice_: str | None) -> ir.Table:
    return table.mutate(slice=ibis.null("string") if slice_ is None else table[slice_])


def _items(members: ir.Table, wanted: ir.Table, request: AggregationRequest, position: int) -> ir.Table:
    """What is ordered: ``member, variant``, slices, ``value`` and of times ``followed``."""
    metric, keys = request.metrics[position], ["member", "variant", *slice_columns(request)]
    if metric.kind == "time_to":
        return members.select(*keys, value=members[f"t{position}"], followed=members[f"f{position}"])
    if metric.over == "units":
        return members.select(*keys, value=members[f"y{position}"])
    bounds, reading = find_bounds(request), find_reading(request)
    delayed = bound_columns(members["first"], request, bounds)
    joined = members.select(*keys, "unit", "first", **delayed).join(
        wanted.filter(wanted[reading.match(metric.measure)]), "unit"
    )
    number = joined[reading.number(metric.measure)]
    events = joined.filter(is_inside(joined, metric, bounds), number.notnull())
    return events.select(*keys, value=events[reading.number(metric.measure)].cast(MONEY))


def _find_cuts(workspace: Workspace, items: ir.Table, metric: Metric) -> list[Any]:
    """Values of all variants pooled, rising: every one where they are few, else those of ranks around the quantile.

    The largest is always there, since a curve ends with it.
    """
    real = items.filter(items.value < NEVER) if metric.kind == "time_to" else items
    size = workspace.rows(items.aggregate(items=items.count(), values=items.value.nunique()))[0]
    if int(size["values"]) <= ALL_CUTS:
        rows = workspace.rows(real.select("value").distinct())
    else:
        levels = cut_levels(q=metric.quantile, n=ALL_CUTS)
        ranks = sorted({max(0, math.ceil(level * int(size["items"])) - 1) for level in levels.tolist()})
        ranked = items.select("value", rank=ibis.row_number().over(ibis.window(order_by=items.value)))
        rows = workspace.rows(ranked.filter(ranked["rank"].isin(ranks)).select("value").distinct())
        rows += workspace.rows(real.aggregate(value=real.value.max()))
    found = sorted({row["value"] for row in rows} - {NEVER if metric.kind == "time_to" else None, None})
    # Two amounts may be one double.
    return list({float(value): value for value in found}.values())


def _is_followed(metric: Metric) -> bool:
    """Whether a time counts as long as its unit has been followed."""
    return metric.kind == "time_to" and metric.window is None


def _add_bins(items: ir.Table, metric: Metric, cuts: Sequence[Any]) -> ir.Table:
    """Items with ``bin``, and of times that are followed whether they are ``done``."""
    if not _is_followed(metric):
        return items.mutate(bin=_bin(items.value, cuts))
    done = items.value < NEVER
    return items.mutate(done=done, bin=_bin(ibis.ifelse(done, items.value, items.followed), cuts))


def _sum_alone(binned: ir.Table) -> ir.Table:
    """Values by bin, where each member has one."""
    number = binned.count()
    return binned.group_by(["variant", "slice", "bin"]).aggregate(values=number, squares=number, products=number)


def _sum_together(binned: ir.Table) -> ir.Table:
    """Values by bin; by how much the squares of the members' values up to it grow, and their products with all."""
    keys = ["member", "variant", "slice"]
    counted = binned.group_by([*keys, "bin"]).aggregate(count=lambda each: each.count())
    until_now = ibis.cumulative_window(group_by=keys, order_by="bin")
    run = counted.mutate(
        now=counted["count"].sum().over(until_now).cast("float64"),
        all=counted["count"].sum().over(ibis.window(group_by=keys)).cast("float64"),
    )
    before = run.now - run["count"]
    return run.group_by(["variant", "slice", "bin"]).aggregate(
        values=run["count"].sum(),
        squares=(run.now * run.now - before * before).sum(),
        products=(run["count"] * run["all"]).sum(),
    )


def _count_sizes(
    workspace: Workspace, binned: ir.Table, bins: Mapping[Place, Mapping[int, Row]], *, alone: bool
) -> Mapping[Place, tuple[float, float]]:
    """How many values there are, and the sum of the squares of how many each member has."""
    if alone:
        totals = {place: sum(float(row["values"]) for row in rows.values()) for place, rows in bins.items()}
        return {place: (total, total) for place, total in totals.items()}
    keys = ["member", "variant", "slice"]
    sizes = binned.group_by(keys).aggregate(size=binned.count().cast("float64"))
    whole = sizes.group_by(["variant", "slice"]).aggregate(values=sizes.size.sum(), squares=(sizes.size**2).sum())
    return {_place(row): (float(row["values"]), float(row["squares"])) for row in workspace.rows(whole)}


def _make_below(
    cuts: Sequence[float], members: int, bins: Mapping[int, Row], sizes: tuple[float, float] | None
) -> BelowCuts:
    values, squares = sizes or (0.0, 0.0)
    mean_y, m2_y, c_yd = [], [], []
    sums = [0.0, 0.0, 0.0]
    for index in range(len(cuts)):
        if index in bins:
            row = bins[index]
            sums = [one + float(row[name]) for one, name in zip(sums, ("values", "squares", "products"), strict=True)]
        mean_y.append(sums[0] / members)
        m2_y.append(max(sums[1] - sums[0] ** 2 / members, 0.0))
        c_yd.append(sums[2] - sums[0] * values / members)
    return BelowCuts(
        cuts=tuple(cuts),
        members=members,
        mean_d=values / members,
        m2_d=max(squares - values**2 / members, 0.0),
        mean_y=tuple(mean_y),
        m2_y=tuple(m2_y),
        c_yd=tuple(c_yd),
    )


def _lifetimes(
    workspace: Workspace, binned: ir.Table, cuts: Sequence[Any], places: Iterable[Place]
) -> Mapping[Place, Lifetimes]:
    rows = workspace.rows(binned.group_by(["variant", "slice", "done", "bin"]).aggregate(count=binned.count()))
    counts = {(_place(row), bool(row["done"]), int(row["bin"])): int(row["count"]) for row in rows}
    bins = range(len(cuts))
    return {
        place: Lifetimes(
            cuts=tuple(float(cut) / MICROSECONDS for cut in cuts),
            finished=tuple(counts.get((place, True, index), 0) for index in bins),
            censored=tuple(counts.get((place, False, index), 0) for index in bins),
        )
        for place in places
    }


def _bin(value: ir.NumericValue, cuts: Sequence[Any], first: int = 0) -> ir.IntegerValue:
    """The first cut point that a value does not exceed; their number where it exceeds all.

    As a tree, since each row of a chain would be compared with a hundred of them.
    """
    if not cuts:
        return ibis.literal(first).cast("int32")
    middle = len(cuts) // 2
    lower, upper = _bin(value, cuts[:middle], first), _bin(value, cuts[middle + 1 :], first + middle + 1)
    return ibis.ifelse(value <= ibis.literal(cuts[middle], type=value.type()), lower, upper)


def _place(row: Row) -> Place:
    return row["variant"], row["slice"]
