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
    members = closed.mutate(member=closed.cluster if request.clustered else closed.unit)
    items = workspace.keep(f"items{position}", _items(members, wanted, request, position))
    cuts = _find_cuts(workspace, items, metric)
    return {
        slice_: _count(workspace, _sliced(members, slice_), _sliced(items, slice_), metric, cuts)
        for slice_ in (None, *slice_columns(request))
    }


def _count(workspace: Workspace, members: ir.Table, items: ir.Table, metric: Metric, cuts: Sequence[Any]) -> Cuts:
    places = _count_members(workspace, members)
    if metric.kind == "time_to" and metric.window is None:
        return Cuts(lifetimes=_lifetimes(workspace, items, cuts, places))
    shown = [float(cut) / (MICROSECONDS if metric.kind == "time_to" else 1) for cut in cuts]
    return Cuts(below=_below(workspace, items, cuts, places, shown))


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


def _count_members(workspace: Workspace, members: ir.Table) -> Mapping[Place, int]:
    grouped = members.group_by(["variant", "slice"])
    rows = workspace.rows(grouped.aggregate(members=members.member.nunique()))
    return {_place(row): int(row["members"]) for row in rows}


def _below(
    workspace: Workspace, items: ir.Table, cuts: Sequence[Any], places: Mapping[Place, int], shown: Sequence[float]
) -> Mapping[Place, BelowCuts]:
    keys = ["member", "variant", "slice"]
    counted = (
        items.mutate(bin=_bin(items.value, cuts)).group_by([*keys, "bin"]).aggregate(count=lambda each: each.count())
    )
    until_now = ibis.cumulative_window(group_by=keys, order_by="bin")
    run = counted.mutate(
        now=counted["count"].sum().over(until_now).cast("float64"),
        all=counted["count"].sum().over(ibis.window(group_by=keys)).cast("float64"),
    )
    before = run.now - run["count"]
    by_bin = run.group_by(["variant", "slice", "bin"]).aggregate(
        values=run["count"].sum(),
        squares=(run.now * run.now - before * before).sum(),
        products=(run["count"] * run["all"]).sum(),
    )
    sizes = items.group_by(keys).aggregate(size=items.count().cast("float64"))
    by_place = sizes.group_by(["variant", "slice"]).aggregate(values=sizes.size.sum(), squares=(sizes.size**2).sum())
    found: dict[Place, dict[int, Row]] = defaultdict(dict)
    for row in workspace.rows(by_bin):
        found[_place(row)][int(row["bin"])] = row
    whole = {_place(row): row for row in workspace.rows(by_place)}
    return {place: _make_below(shown, members, found[place], whole.get(place)) for place, members in places.items()}


def _make_below(cuts: Sequence[float], members: int, bins: Mapping[int, Row], whole: Row | None) -> BelowCuts:
    values, squares = (float(whole[name]) if whole else 0.0 for name in ("values", "squares"))
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
    workspace: Workspace, items: ir.Table, cuts: Sequence[Any], places: Iterable[Place]
) -> Mapping[Place, Lifetimes]:
    done = items.value < NEVER
    seen = items.select("variant", "slice", done=done, bin=_bin(ibis.ifelse(done, items.value, items.followed), cuts))
    rows = workspace.rows(seen.group_by(["variant", "slice", "done", "bin"]).aggregate(count=seen.count()))
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


def _bin(value: ir.NumericValue, cuts: Sequence[Any]) -> ir.IntegerValue:
    """The first cut point that a value does not exceed; their number where it exceeds all."""
    branches = [(value <= ibis.literal(cut, type=value.type()), index) for index, cut in enumerate(cuts)]
    last = ibis.literal(len(cuts)).cast("int32")
    return ibis.cases(*branches, else_=last).cast("int32") if branches else last


def _place(row: Row) -> Place:
    return row["variant"], row["slice"]
