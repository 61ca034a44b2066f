"""How many values lie at or below cut points: what quantiles are made of.

Two passes: the cut points are values of all variants pooled, close together around the wanted quantile; then the values
of each variant are counted between them. Up to 200 distinct values are all cut points, and nothing is lost.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.arm_cell import BelowCuts, Lifetimes
from abplatform.domain.metric import Metric
from abplatform.stats.sufficient.quantiles import cut_levels
from abplatform.warehouse.cells import Cuts, Place, Row
from abplatform.warehouse.ordered import MICROSECONDS, NEVER
from abplatform.warehouse.slicing import GROUPS, once_per_dimension, slice_columns, split_by_dimension
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
    binned = once_per_dimension(binned, request)
    alone = metric.over == "units" and not request.clustered

    def ask(table: ir.Table) -> Mapping[str | None, Sequence[Row]]:
        return split_by_dimension(workspace.rows(table), request)

    everyone = once_per_dimension(members.select("member", "variant", *slice_columns(request)), request)
    number = everyone.count() if alone else everyone.member.nunique()
    counted = ask(everyone.group_by(GROUPS).aggregate(members=number))
    if _is_followed(metric):
        ends = ask(binned.group_by([*GROUPS, "done", "bin"]).aggregate(count=binned.count()))
        return {name: Cuts(lifetimes=_lifetimes(rows, ends[name], cuts)) for name, rows in counted.items()}
    bins = ask(_sum_alone(binned) if alone else _sum_together(binned))
    sizes = {} if alone else ask(_sizes(binned))
    shown = [float(cut) / (MICROSECONDS if metric.kind == "time_to" else 1) for cut in cuts]
    return {name: Cuts(below=_below(shown, rows, bins[name], sizes.get(name))) for name, rows in counted.items()}


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
    return binned.group_by([*GROUPS, "bin"]).aggregate(values=number, squares=number, products=number)


def _sum_together(binned: ir.Table) -> ir.Table:
    """Values by bin; by how much the squares of the members' values up to it grow, and their products with all."""
    keys = ["member", *GROUPS]
    counted = binned.group_by([*keys, "bin"]).aggregate(count=lambda each: each.count())
    until_now = ibis.cumulative_window(group_by=keys, order_by="bin")
    run = counted.mutate(
        now=counted["count"].sum().over(until_now).cast("float64"),
        all=counted["count"].sum().over(ibis.window(group_by=keys)).cast("float64"),
    )
    before = run.now - run["count"]
    return run.group_by([*GROUPS, "bin"]).aggregate(
        values=run["count"].sum(),
        squares=(run.now * run.now - before * before).sum(),
        products=(run["count"] * run["all"]).sum(),
    )


def _sizes(binned: ir.Table) -> ir.Table:
    """How many values there are, and the sum of the squares of how many each member has."""
    sizes = binned.group_by(["member", *GROUPS]).aggregate(size=binned.count().cast("float64"))
    return sizes.group_by(GROUPS).aggregate(values=sizes.size.sum(), squares=(sizes.size**2).sum())


def _below(
    cuts: Sequence[float], counted: Sequence[Row], binned: Sequence[Row], sizes: Sequence[Row] | None
) -> dict[Place, BelowCuts]:
    """Of one dimension; without sizes each member has one value."""
    bins: Mapping[Place, dict[int, Row]] = defaultdict(dict)
    for row in binned:
        bins[_place(row)][int(row["bin"])] = row
    if sizes is None:
        totals = {place: sum(float(row["values"]) for row in rows.values()) for place, rows in bins.items()}
        known = {place: (total, total) for place, total in totals.items()}
    else:
        known = {_place(row): (float(row["values"]), float(row["squares"])) for row in sizes}
    places = {_place(row): int(row["members"]) for row in counted}
    return {place: _make_below(cuts, each, bins[place], known.get(place)) for place, each in places.items()}


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


def _lifetimes(counted: Sequence[Row], ends: Sequence[Row], cuts: Sequence[Any]) -> dict[Place, Lifetimes]:
    """Of one dimension."""
    counts = {(_place(row), bool(row["done"]), int(row["bin"])): int(row["count"]) for row in ends}
    bins = range(len(cuts))
    return {
        place: Lifetimes(
            cuts=tuple(float(cut) / MICROSECONDS for cut in cuts),
            finished=tuple(counts.get((place, True, index), 0) for index in bins),
            censored=tuple(counts.get((place, False, index), 0) for index in bins),
        )
        for place in map(_place, counted)
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
