"""What looks at the end of each day would have found: the same answer, taken apart by the day it became part of it.

A unit's value may change from day to day. Per day the engine adds up by how much everything that moments need has
changed since the day before (units, values, squares, products), and the running totals of those sums are the moments of
each day. A metric with a window changes once per unit, when that closes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations_with_replacement

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric
from abplatform.warehouse.cells import Row
from abplatform.warehouse.progress import Progress
from abplatform.warehouse.times import shifted
from abplatform.warehouse.unit_values import MONEY
from abplatform.warehouse.wanted import Reading, find_reading
from abplatform.warehouse.windows import closing_time, is_closed
from abplatform.warehouse.workspace import Workspace

_MUCH = 1e6
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySums:
    """Rows of changes by ``variant`` and ``day``, see `sum_changes`, and the centres that they were taken from.

    Attributes:
        units: over units: ``y`` and, where the metric is adjusted, ``b``.
        clusters: over clusters: ``y`` and ``d`` (units); nothing where the experiment is not clustered.
    """

    units: Sequence[Row]
    unit_centres: Centres
    clusters: Sequence[Row] = ()
    cluster_centres: Centres = field(default_factory=dict)


Centres = Mapping[str, float]
"""What is taken off numbers before they are squared, by name of the number."""


def can_go_on(request: AggregationRequest) -> bool:
    """Whether what is kept of each unit suffices: what came on which day is kept of none."""
    return not request.daily or all(metric.window is not None or not has_days(metric) for metric in request.metrics)


def has_days(metric: Metric) -> bool:
    """Whether a metric can be taken apart by day: a number per unit that counts from a day on, or grows by events.

    Without a window, but with a minimum age, it does both.
    """
    if metric.window is None and metric.minimum_age:
        return False
    if metric.window is not None:
        return metric.kind in {"conversion", "retention", "count", "sum", "funnel"}
    return metric.kind in {"conversion", "count"} or (metric.measure.aggregation == "sum" and metric.kind == "sum")


def entered_by_day(workspace: Workspace, units: ir.Table) -> dict[str, dict[date, int]]:
    """How many units came in on each day, by variant.

    Args:
        workspace: where to compute.
        units: the analysed ones.
    """
    rows = workspace.rows(units.group_by("variant", day=units["first"].date()).aggregate(units=units.count()))
    found: dict[str, dict[date, int]] = defaultdict(dict)
    for row in rows:
        found[row["variant"]][row["day"]] = int(row["units"])
    return found


def sum_metric(
    workspace: Workspace,
    progress: Progress,
    units: ir.Table,
    request: AggregationRequest,
    *,
    position: int,
    unit_centres: Centres,
    cluster_centres: Centres,
) -> DailySums:
    """The changes of one metric.

    Args:
        workspace: where to compute.
        progress: holds the conversions.
        units: the analysed ones, with their values; see `unit_values.add_values`.
        request: what is asked for.
        position: of the metric in the request.
        unit_centres: of ``y`` and, where the metric is adjusted, ``b``; see `find_centre`.
        cluster_centres: of ``y`` and ``d``; nothing where the experiment is not clustered.
    """
    metric = request.metrics[position]
    steps = _steps_of_window(units, metric, request, position)
    several = not metric.closes_after
    if several:
        later = _later_steps(units, progress.wanted, metric, find_reading(request))
        steps = steps.union(later.select(*steps.columns))
        if metric.cap is not None and metric.cap.value is not None:
            steps = _cap(steps, metric.cap.value)
    steps = workspace.keep(f"steps{position}", steps)
    over_units = _run(steps, "unit") if several else _run_once(steps)
    found = workspace.rows(sum_changes(over_units, unit_centres))
    if not request.clustered:
        return DailySums(units=found, unit_centres=unit_centres)
    clusters = workspace.rows(sum_changes(_run(steps, "cluster"), cluster_centres))
    return DailySums(units=found, unit_centres=unit_centres, clusters=clusters, cluster_centres=cluster_centres)


def find_centre(count: float, total: float, squares: float) -> float:
    """What to take off numbers before they are squared, so that nothing is lost to rounding.

    That is their mean where they differ little from it. Elsewhere it is nothing: the numbers of early days may be far
    smaller than those of the last one.

    Args:
        count: of the numbers on the last day.
        total: their sum.
        squares: sum of squared deviations from the mean of their variant.

    >>> find_centre(4, 4000.0, 0.01), find_centre(4, 40.0, 900.0), find_centre(0, 0.0, 0.0)
    (1000.0, 0.0, 0.0)
    """
    mean = total / count if count else 0.0
    return mean if mean * mean * count > _MUCH * squares else 0.0


def sum_changes(rows: ir.Table, centres: Centres) -> ir.Table:
    """How much all sums changed on each day: ``variant, day, members`` (units, or clusters that have some), and more.

    ``nonzero`` (members whose value is not 0), ``short`` (whose value is not ``d``), ``total``, and of numbers without
    their centres ``sum_y`` per name and ``product_yb`` per pair of names.

    Args:
        rows: see `_run`.
        centres: of the numbers, ``y`` first.
    """
    now, before = rows.d > 0, rows.d_before > 0

    def change(of_now: ir.NumericValue, of_before: ir.NumericValue) -> ir.NumericValue:
        return (ibis.ifelse(now, of_now, 0.0) - ibis.ifelse(before, of_before, 0.0)).sum()

    def number(name: str, suffix: str = "") -> ir.NumericValue:
        return rows[f"{name}{suffix}"].cast("float64") - centres[name]

    columns = {
        "total": (rows.y - rows.y_before).sum(),
        "members": (now.cast("int64") - before.cast("int64")).sum(),
        "nonzero": ((rows.y != 0).cast("int64") - (rows.y_before != 0).cast("int64")).sum(),
        "short": ((rows.y != rows.d).cast("int64") - (rows.y_before != rows.d_before).cast("int64")).sum(),
    }
    for name in centres:
        columns[f"sum_{name}"] = change(number(name), number(name, "_before"))
    for one, other in combinations_with_replacement(centres, 2):
        columns[f"product_{one}{other}"] = change(
            number(one) * number(other), number(one, "_before") * number(other, "_before")
        )
    return rows.group_by("variant", "day").aggregate(**columns)


def days_between(days: Iterable[date], last: date) -> list[date]:
    """All days from the first of some to the last one, without gaps."""
    first = min(days, default=None)
    return [] if first is None else [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _steps_of_window(units: ir.Table, metric: Metric, request: AggregationRequest, position: int) -> ir.Table:
    """What each unit brings when it begins to count: ``unit, cluster, variant, day, y, d, b``.

    Without a window that is at its first exposure, and what it is worth comes later.
    """
    entered = units if not metric.closes_after else units.filter(is_closed(units["first"], metric, request))
    before = ibis.null("float64")
    if request.adjusts(metric):
        before = _capped(entered[f"b{position}"].cast(MONEY), metric).cast("float64")
    common = {"d": ibis.literal(1, "int64"), "b": before}
    if not metric.closes_after:
        nothing = ibis.literal(0).cast(MONEY)
        return entered.select("unit", "cluster", "variant", day=entered["first"].date(), y=nothing, **common)
    # A look at midnight has the windows that close at midnight.
    day = shifted(closing_time(entered["first"], metric, request), -_INSTANT).date()
    value = _capped(entered[f"y{position}"].cast(MONEY), metric)
    return entered.select("unit", "cluster", "variant", day=day, y=value, **common)


def _capped(value: ir.DecimalValue, metric: Metric) -> ir.DecimalValue:
    if metric.cap is None or metric.cap.value is None:
        return value
    least: ir.DecimalValue = ibis.least(value, ibis.literal(metric.cap.value, type=MONEY))
    return least


def _later_steps(units: ir.Table, wanted: ir.Table, metric: Metric, reading: Reading) -> ir.Table:
    """What each unit brings later, of a metric without a window."""
    known = units.select("unit", "cluster", "variant", "first")
    joined = known.join(wanted.filter(wanted[reading.match(metric.measure)]), "unit")
    counting = joined.filter(joined.timestamp >= joined["first"])
    keys = ["unit", "cluster", "variant"]
    if metric.kind in {"sum", "count"}:
        amount = counting[reading.number(metric.measure)].sum() if metric.kind == "sum" else counting.count()
        steps = counting.group_by([*keys, counting.timestamp.date().name("day")]).aggregate(
            y=ibis.coalesce(amount.cast(MONEY), ibis.literal(0).cast(MONEY))
        )
    else:
        firsts = counting.group_by(keys).aggregate(at=counting.timestamp.min())
        steps = firsts.select(*keys, day=firsts["at"].date(), y=ibis.literal(1).cast(MONEY))
    return steps.mutate(d=ibis.literal(0, "int64"), b=ibis.null("float64"))


def _cap(steps: ir.Table, most: Decimal) -> ir.Table:
    """The same where units count for no more than a cap."""
    keys = ["unit", "cluster", "variant", "day"]
    daily = steps.group_by(keys).aggregate(y=steps.y.sum().cast(MONEY), d=steps.d.sum().cast("int64"), b=steps.b.max())
    until_now = ibis.cumulative_window(group_by="unit", order_by="day")
    run = daily.mutate(now=daily.y.sum().over(until_now).cast(MONEY))
    cap = ibis.literal(most, type=MONEY)
    change = ibis.least(run.now, cap) - ibis.least(run.now - run.y, cap)
    return run.select(*keys, y=change.cast(MONEY), d=run.d, b=run.b)


def _run(steps: ir.Table, member: str) -> ir.Table:
    """Numbers of each unit, or cluster, at the end of each day on which they changed, and before (``y_before``)."""
    daily = steps.group_by([member, "variant", "day"]).aggregate(
        y=steps.y.sum().cast(MONEY), d=steps.d.sum().cast("int64"), b=steps.b.max()
    )
    until_now = ibis.cumulative_window(group_by=member, order_by="day")
    run = daily.mutate(
        y_now=daily.y.sum().over(until_now).cast(MONEY),
        d_now=daily.d.sum().over(until_now).cast("int64"),
        b_now=daily.b.max().over(until_now),
    )
    return run.select(
        "variant",
        "day",
        y=run.y_now,
        d=run.d_now,
        b=run.b_now,
        y_before=(run.y_now - run.y).cast(MONEY),
        d_before=run.d_now - run.d,
        b_before=run.b_now,
    )


def _run_once(steps: ir.Table) -> ir.Table:
    """The same where each changes once."""
    zero = {"y_before": ibis.literal(0).cast(MONEY), "d_before": ibis.literal(0, "int64"), "b_before": steps.b}
    return steps.select("variant", "day", "y", "d", "b", **zero)
