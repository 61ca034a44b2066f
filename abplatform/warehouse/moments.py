"""From values per unit to their moments, by variant and slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric
from abplatform.warehouse.ordered import MICROSECONDS, NEVER
from abplatform.warehouse.slicing import GROUPS
from abplatform.warehouse.unit_values import MONEY


def moments(rows: ir.Table, request: AggregationRequest) -> ir.Table:
    """Moments over units, one row per `GROUPS`.

    Columns per value ``v`` (``y0`` ..., ``x0`` ...): ``v_units, v_missing, v_nonzero, v_total, v_variance`` (of the
    population, as double). What further columns there are depends on the metric:

    - adjusted: of the values before the exposure ``b0_total, b0_variance, b0_covariance`` (with ``y0``);
    - counts and sums: ``y0_cubes``; with a cap the ``y0`` are capped, and ``u0_total, u0_variance, u0_cubes,
      u0_capped`` are of the values as they are;
    - ratios: ``d0_total, d0_variance, d0_covariance`` (with ``y0``);
    - funnels: ``f0_1, f0_2, ...``, the units that took so many steps;
    - times: ``y0_...`` of those who got there, in seconds, but ``y0_units`` and ``y0_missing`` of all;
    - watched: ``w0_units, w0_nonzero, w0_total, w0_variance``.

    Args:
        rows: see `unit_values.analysed_rows` and `slicing.once_per_dimension`.
        request: what is asked for.
    """
    rows = _cap(rows, request)
    columns: dict[str, ir.Value] = {}
    for value in value_names(rows, request):
        columns |= {f"{value}_{name}": expression for name, expression in _unit_moments(rows[value]).items()}
    for position, metric in enumerate(request.metrics):
        columns |= _of_metric(rows, request, metric, position)
    return rows.group_by(GROUPS).aggregate(**columns)


def cluster_moments(rows: ir.Table, request: AggregationRequest) -> ir.Table:
    """Moments over clusters' sums of values (``y``) and of units, or denominators (``d``), by `GROUPS`.

    Columns per value ``v``: ``v_clusters, v_mean_y, v_mean_d, v_variance_y, v_variance_d, v_covariance, v_nonzero``
    (clusters whose sum is not 0) and ``v_short`` (whose sum is not ``d``); clusters without a unit that counts are left
    out. Watched values are among them.
    """
    rows = _cap(rows, request)
    names = _clustered_names(rows, request)
    sums: dict[str, ir.Value] = {}
    for value in names:
        sums |= {f"{value}_{name}": each for name, each in _cluster_sums(rows, value).items()}
    clusters = rows.group_by([*GROUPS, "cluster"]).aggregate(**sums)
    results: dict[str, ir.Value] = {}
    for value in names:
        counts = clusters[f"{value}_n"] > 0
        total = ibis.ifelse(counts, clusters[f"{value}_y"], ibis.null("float64"))
        size = ibis.ifelse(counts, clusters[f"{value}_d"], ibis.null("float64"))
        results[f"{value}_clusters"] = total.count()
        results[f"{value}_mean_y"] = total.mean()
        results[f"{value}_mean_d"] = size.mean()
        results[f"{value}_variance_y"] = total.var(how="pop")
        results[f"{value}_variance_d"] = size.var(how="pop")
        results[f"{value}_covariance"] = total.cov(size, how="pop")
        results[f"{value}_nonzero"] = (total != 0).sum()
        results[f"{value}_short"] = (total != size).sum()
    return clusters.group_by(GROUPS).aggregate(**results)


def _clustered_names(rows: ir.Table, request: AggregationRequest) -> Sequence[str]:
    positions = range(len(request.metrics))
    times = [f"y{position}" for position in positions if f"t{position}" in rows.columns]
    watched = [f"w{position}" for position in positions if f"w{position}" in rows.columns]
    return [*value_names(rows, request), *times, *watched]


def _cluster_sums(rows: ir.Table, name: str) -> Mapping[str, ir.Value]:
    """Of each cluster its sum ``y``, what that is divided by ``d``, and how many units count ``n``."""
    time, below = f"t{name[1:]}", f"d{name[1:]}"
    if name.startswith("y") and time in rows.columns:
        times = rows[time]
        seconds, size = ibis.coalesce(_seconds(times).sum(), 0.0), times.count(where=times < NEVER)
        return {"y": seconds, "d": size.cast("float64"), "n": times.count()}
    value = rows[name]
    is_ratio = name.startswith("y") and below in rows.columns
    size = rows[below].sum() if is_ratio else value.count()
    return {"y": value.sum().cast("float64"), "d": size.cast("float64"), "n": value.count()}


def value_names(rows: ir.Table, request: AggregationRequest) -> Sequence[str]:
    """Columns that have means: of metrics, and of covariates."""
    metrics = [f"y{position}" for position in range(len(request.metrics)) if f"y{position}" in rows.columns]
    return metrics + [f"x{position}" for position in range(len(request.covariates))]


def _cap(rows: ir.Table, request: AggregationRequest) -> ir.Table:
    """Values up to the cap of their metric, those before the exposure too, and beside them as they are (``u0``)."""
    columns: dict[str, ir.Value] = {}
    for position, metric in enumerate(request.metrics):
        if metric.cap is not None and metric.cap.value is not None:
            columns[f"u{position}"] = rows[f"y{position}"]
            for name in (f"{letter}{position}" for letter in "ybw"):
                if name in rows.columns:
                    cap = ibis.literal(metric.cap.value, type=MONEY)
                    # Not the least of both: engines skip null there.
                    columns[name] = ibis.ifelse(rows[name] > cap, cap, rows[name])
    return rows.mutate(**columns) if columns else rows


def _of_metric(rows: ir.Table, request: AggregationRequest, metric: Metric, position: int) -> Mapping[str, ir.Value]:
    columns: dict[str, ir.Value] = {}
    for letter, wanted in {"b": request.adjusts(metric), "d": metric.kind == "ratio"}.items():
        if wanted:
            columns |= _beside(rows, f"{letter}{position}", f"y{position}")
    if metric.kind in {"count", "sum"}:
        columns[f"y{position}_cubes"] = _cubes(rows[f"y{position}"])
    if f"u{position}" in rows.columns:
        value = rows[f"u{position}"]
        columns |= {f"u{position}_{name}": each for name, each in _unit_moments(value).items()}
        columns[f"u{position}_cubes"] = _cubes(value)
        columns[f"u{position}_capped"] = (value > rows[f"y{position}"]).sum()
    if metric.kind == "funnel":
        depth = rows[f"f{position}"]
        columns |= {f"f{position}_{step}": (depth >= step).sum() for step in range(1, len(metric.steps) + 1)}
    if metric.kind == "time_to":
        columns |= _times(rows[f"t{position}"], f"y{position}")
    if f"w{position}" in rows.columns:
        columns |= {f"w{position}_{name}": each for name, each in _unit_moments(rows[f"w{position}"]).items()}
    return columns


def _times(times: ir.IntegerColumn, name: str) -> Mapping[str, ir.Value]:
    got_there = times < NEVER
    return {
        f"{name}_units": times.count(),
        f"{name}_missing": times.isnull().sum(),
        f"{name}_nonzero": times.count(where=got_there),
        f"{name}_total": ibis.ifelse(got_there, times, ibis.null("int64")).sum(),
        f"{name}_variance": _seconds(times).var(how="pop"),
    }


def _seconds(times: ir.IntegerColumn) -> ir.FloatingValue:
    """Of those who got there; null of others."""
    return ibis.ifelse(times < NEVER, times, ibis.null("int64")).cast("float64") / MICROSECONDS


def _beside(rows: ir.Table, name: str, value: str) -> Mapping[str, ir.Value]:
    """Moments of a second number of each unit, and with the first."""
    number, after = rows[name], rows[value].cast("float64")
    return {
        f"{name}_total": number.sum(),
        f"{name}_variance": number.cast("float64").var(how="pop"),
        f"{name}_covariance": number.cast("float64").cov(after, how="pop"),
    }


def _unit_moments(value: ir.NumericColumn) -> Mapping[str, ir.Value]:
    return {
        "units": value.count(),
        "missing": value.isnull().sum(),
        "nonzero": (value != 0).sum(),
        "total": value.sum(),
        "variance": value.cast("float64").var(how="pop"),
    }


def _cubes(value: ir.NumericColumn) -> ir.Value:
    number = value.cast("float64")
    return (number * number * number).sum()
