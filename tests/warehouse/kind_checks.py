"""Cells of an engine against what `kind_oracle` makes of each unit: counts and sums equal, moments to 1e-12."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.arm_cell import ArmCell, BelowCuts, Lifetimes, Watch
from abplatform.domain.arm_stats import estimate_of
from abplatform.domain.metric import Metric
from abplatform.stats import DurationStats, QuantileStats
from tests.warehouse.kind_oracle import Member
from tests.warehouse.oracle import centred

ALL_CUTS = 200

Number = Decimal | int


def check_kind(
    found: Sequence[ArmCell],
    members: Sequence[Member],
    metric: Metric,
    request: AggregationRequest,
    dimension: str | None = None,
) -> None:
    """All cells of a metric (in the slices of a dimension) against what it makes of each unit."""
    assert len({_grid_of(cell) for cell in found if _grid_of(cell) is not None}) <= 1, "one grid for all"
    check_grid(found, members, metric)
    for cell in found:
        mine = [each for each in members if each.variant == cell.variant and _shown(each, dimension) == cell.slice]
        closed = [each for each in mine if not each.is_open]
        assert (cell.units, cell.open_units) == (len(closed), len(mine) - len(closed))
        _check_moments(cell, closed, metric, request)
        check_clusters(cell, closed, metric, request)
        check_watch(cell, mine, metric, request)
        wanted = [sum(each.depth > step for each in closed) for step in range(len(metric.steps))]
        assert cell.steps == (tuple(wanted) if metric.kind == "funnel" else None)
        check_order(cell, closed, metric)


def _shown(member: Member, dimension: str | None) -> str | None:
    if dimension is None:
        return None
    text = member.slices[dimension]
    return "(none)" if text is None else str(json.loads(text))


def _numbers(members: Sequence[Member], metric: Metric) -> list[Decimal]:
    """Values as they are tested: those up to the cap; of times those who got there."""
    values = [each.value for each in members if each.value is not None]
    return [min(value, metric.cap.value) for value in values] if metric.cap and metric.cap.value else values


def _check_moments(cell: ArmCell, closed: Sequence[Member], metric: Metric, request: AggregationRequest) -> None:
    values = _numbers(closed, metric)
    assert cell.nonzero == (len(values) if metric.kind == "time_to" else sum(value != 0 for value in values))
    assert cell.total == sum(values, Decimal(0))
    assert cell.mean == _near(_mean(values), abs(_mean(values)))
    assert cell.m2 == _near(_centred(values, values), _squares(values))
    assert (cell.m3 is None) == (metric.kind not in {"count", "sum"})
    if cell.m3 is not None:
        assert cell.m3 == _near(_cubed(values), _cubes(values))
    before = [each.before for each in closed]
    if metric.cap and metric.cap.value:
        before = [min(value, metric.cap.value) for value in before]
    _check_before(cell, before, values, adjusted=request.adjusts(metric))
    assert (cell.denominator is None) == (metric.kind != "ratio")
    if cell.denominator is not None:
        below = [each.below for each in closed]
        assert cell.denominator.total == sum(below, Decimal(0))
        assert cell.denominator.mean == _near(_mean(below), abs(_mean(below)))
        assert cell.denominator.m2 == _near(_centred(below, below), _squares(below))
        assert cell.denominator.product == _near(_centred(values, below), _scale(values, below))
    assert (cell.uncapped is None) == (metric.cap is None)
    if cell.uncapped is not None and metric.cap is not None:
        raw = [each.value or Decimal(0) for each in closed]
        assert cell.uncapped.total == sum(raw, Decimal(0))
        assert cell.uncapped.m2 == _near(_centred(raw, raw), _squares(raw))
        assert cell.uncapped.m3 == _near(_cubed(raw), _cubes(raw))
        assert cell.uncapped.capped == sum(value > (metric.cap.value or 0) for value in raw)
        assert cell.uncapped.cap == float(metric.cap.value or 0)


def _check_before(cell: ArmCell, before: list[Decimal], values: list[Decimal], *, adjusted: bool) -> None:
    if not adjusted:
        assert (cell.before_mean, cell.before_m2, cell.before_c) == (None, None, None)
        return
    assert cell.before_mean == _near(_mean(before), abs(_mean(before)))
    assert cell.before_m2 == _near(_centred(before, before), _squares(before))
    assert cell.before_c == _near(_centred(before, values), _scale(before, values))


def check_clusters(
    cell: ArmCell | Watch, members: Sequence[Member], metric: Metric, request: AggregationRequest
) -> None:
    """Moments over clusters, and how many of them have another sum than 0, or than what it is divided by."""
    names = ("cluster_mean_y", "cluster_mean_d", "cluster_m2_y", "cluster_m2_d", "cluster_c_yd")
    found = [getattr(cell, name) for name in names]
    if not request.clustered:
        assert [cell.clusters, *found, cell.cluster_nonzero, cell.cluster_short] == [None] * 8
        return
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for each in members:
        (value,) = _numbers([each], metric) or [Decimal(0)]
        got_there = each.value is not None
        sums[each.cluster][0] += value
        sums[each.cluster][1] += each.below if metric.kind == "ratio" else Decimal(got_there)
    ys, ds = [y for y, _ in sums.values()], [d for _, d in sums.values()]
    assert cell.clusters == len(sums)
    assert cell.cluster_nonzero == sum(y != 0 for y in ys)
    assert cell.cluster_short == sum(y != d for y, d in sums.values())
    wanted = [_mean(ys), _mean(ds), _centred(ys, ys), _centred(ds, ds), _centred(ys, ds)]
    scales = [abs(_mean(ys)), abs(_mean(ds)), _squares(ys), _squares(ds), _scale(ys, ds)]
    assert found == [_near(value, scale) for value, scale in zip(wanted, scales, strict=True)]


def check_watch(cell: ArmCell, mine: Sequence[Member], metric: Metric, request: AggregationRequest) -> None:
    """What all units have brought so far, capped as the metric is."""
    kinds = {"conversion", "retention", "count", "sum", "funnel"}
    if metric.key not in request.watched or metric.kind not in kinds:
        assert cell.watch is None
        return
    assert cell.watch is not None
    values = _numbers(mine, metric)
    assert (cell.watch.units, cell.watch.nonzero) == (len(values), sum(value != 0 for value in values))
    assert cell.watch.mean == _near(_mean(values), abs(_mean(values)))
    assert cell.watch.m2 == _near(_centred(values, values), _squares(values))
    check_clusters(cell.watch, mine, metric, request)


def _grid_of(cell: ArmCell) -> tuple[float, ...] | None:
    known = cell.below if cell.below is not None else cell.lifetimes
    return None if known is None else known.cuts


def check_grid(found: Sequence[ArmCell], members: Sequence[Member], metric: Metric) -> None:
    """Cut points are values of all variants together: every one where they are few, else those that matter."""
    pooled = sorted(item for each in members if not each.is_open for item in each.items if item is not None)
    for cuts in filter(None, map(_grid_of, found)):
        distinct = sorted({float(item) for item in pooled})
        if len(distinct) <= ALL_CUTS:
            assert list(cuts) == distinct
        else:
            assert set(cuts) <= set(distinct)
            assert (cuts[0], cuts[-1]) == (distinct[0], distinct[-1])


def check_order(cell: ArmCell, closed: Sequence[Member], metric: Metric) -> None:
    """Counts at each of the cut points that the engine chose, and the quantile that they make."""
    if metric.kind not in {"quantile", "time_to"} or not closed:
        assert (cell.below, cell.lifetimes) == (None, None)
        return
    if metric.kind == "time_to" and metric.window is None:
        assert cell.below is None
        assert cell.lifetimes is not None
        _check_lifetimes(cell, cell.lifetimes, closed, metric)
        return
    assert cell.lifetimes is None
    assert cell.below is not None
    _check_below(cell, cell.below, closed, metric)


def _check_below(cell: ArmCell, below: BelowCuts, closed: Sequence[Member], metric: Metric) -> None:
    items: dict[str, list[float]] = defaultdict(list)
    for each in closed:
        items[each.cluster] += [np.inf if item is None else float(item) for item in each.items]
    sizes = [len(values) for values in items.values()]
    assert below.members == len(items)
    assert below.mean_d == _near(_mean(sizes), _mean(sizes))
    assert below.m2_d == _near(_centred(sizes, sizes), _squares(sizes))
    for cut, mean_y, m2_y, c_yd in zip(below.cuts, below.mean_y, below.m2_y, below.c_yd, strict=True):
        at_most = [sum(value <= cut for value in values) for values in items.values()]
        assert mean_y == _near(_mean(at_most), _mean(at_most))
        assert m2_y == _near(_centred(at_most, at_most), _squares(at_most))
        assert c_yd == _near(_centred(at_most, sizes), _scale(at_most, sizes))
    raw = [value for values in items.values() for value in values]
    # Who has no value is of no account for the quantile, but for its variance, without which it is not told.
    if not below.cuts or not all(items.values()):
        return
    labels = [name for name, values in items.items() for _ in values]
    # Beyond all cut points a time is as good as never.
    finite = np.minimum(raw, 2 * below.cuts[-1] + 1)
    stats = QuantileStats.of(finite, q=metric.quantile, clusters=labels, cuts=below.cuts, closed=True)
    assert_estimate(metric, cell, stats.estimate)


def _check_lifetimes(cell: ArmCell, lifetimes: Lifetimes, closed: Sequence[Member], metric: Metric) -> None:
    edges = [-np.inf, *lifetimes.cuts]
    times = [float(each.value) for each in closed if each.value is not None]
    lost = [float(each.followed) for each in closed if each.value is None and each.followed is not None]
    for index, cut in enumerate(lifetimes.cuts):
        assert lifetimes.finished[index] == sum(edges[index] < each <= cut for each in times)
        assert lifetimes.censored[index] == sum(edges[index] < each <= cut for each in lost)
    followed = [max(each, 0.0) for each in lost]
    # Who is lost at a cut point itself is at risk there by half, from raw times in full.
    if not times or set(followed) & set(lifetimes.cuts):
        return
    never = [np.inf] * (len(closed) - len(times) - len(lost))
    finished = [True] * len(times) + [False] * (len(lost) + len(never))
    stats = DurationStats.of([*times, *followed, *never], finished, q=metric.quantile, cuts=lifetimes.cuts)
    assert_estimate(metric, cell, stats.estimate)


def assert_estimate(metric: Metric, cell: ArmCell, expected: Any) -> None:
    """What a cell says is what the raw values say, not a number included."""
    found = estimate_of(metric, cell)
    wanted = float(np.ravel(expected)[0])
    assert (np.nan if found is None else found) == pytest.approx(wanted, rel=1e-9, nan_ok=True)


def _near(expected: float, scale: float) -> Any:
    """Within 1e-12 of what a number is made of."""
    return pytest.approx(expected, rel=1e-12, abs=1e-12 * scale)


def _mean(xs: Sequence[Number]) -> float:
    return float(sum(map(Fraction, xs)) / len(xs)) if xs else 0.0


def _centred(xs: Sequence[Number], ys: Sequence[Number]) -> float:
    return centred(xs, ys) if xs else 0.0


def _cubed(xs: Sequence[Number]) -> float:
    mean = Fraction(sum(map(Fraction, xs)), max(len(xs), 1))
    return float(sum((Fraction(x) - mean) ** 3 for x in xs))


def _squares(xs: Sequence[Number]) -> float:
    return float(sum(Fraction(x) ** 2 for x in xs))


def _cubes(xs: Sequence[Number]) -> float:
    return float(sum(abs(Fraction(x)) ** 3 for x in xs))


def _scale(xs: Sequence[Number], ys: Sequence[Number]) -> float:
    return float((_squares(xs) * _squares(ys)) ** 0.5)
