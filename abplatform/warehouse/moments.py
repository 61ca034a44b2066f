"""From values per unit to their moments, by variant and slice."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest


def moments(rows: ir.Table, request: AggregationRequest) -> ir.Table:
    """Moments over units, one row per variant (and slice).

    Columns per value ``v`` (``y0`` ..., ``x0`` ...): ``v_units, v_missing, v_nonzero, v_total, v_variance`` (of the
    population, as double). Per metric that is adjusted, of its values before the exposure: ``b0_total, b0_variance,
    b0_covariance`` (with ``y0``).
    """
    columns = {
        f"{value}_{name}": expression
        for value in _value_names(request)
        for name, expression in _unit_moments(rows[value]).items()
    }
    for position, metric in enumerate(request.metrics):
        if request.adjusts(metric):
            before, after = rows[f"b{position}"], rows[f"y{position}"].cast("float64")
            columns[f"b{position}_total"] = before.sum()
            columns[f"b{position}_variance"] = before.cast("float64").var(how="pop")
            columns[f"b{position}_covariance"] = before.cast("float64").cov(after, how="pop")
    return rows.group_by(_groups(request)).aggregate(**columns)


def cluster_moments(rows: ir.Table, request: AggregationRequest) -> ir.Table:
    """Moments over clusters' sums of values (``y``) and units (``d``), one row per variant (and slice).

    Columns per value ``v``: ``v_clusters, v_variance_y, v_variance_d, v_covariance``; clusters without a unit that
    counts are left out.
    """
    groups = _groups(request)
    names = _value_names(request)
    sums: dict[str, ir.Value] = {}
    for value in names:
        sums[f"{value}_y"] = rows[value].sum().cast("float64")
        sums[f"{value}_d"] = rows[value].count()
    clusters = rows.group_by([*groups, "cluster"]).aggregate(**sums)
    results: dict[str, ir.Value] = {}
    for value in names:
        units = clusters[f"{value}_d"]
        total = ibis.ifelse(units > 0, clusters[f"{value}_y"], ibis.null("float64"))
        size = ibis.ifelse(units > 0, units.cast("float64"), ibis.null("float64"))
        results[f"{value}_clusters"] = total.count()
        results[f"{value}_mean_y"] = total.mean()
        results[f"{value}_mean_d"] = size.mean()
        results[f"{value}_variance_y"] = total.var(how="pop")
        results[f"{value}_variance_d"] = size.var(how="pop")
        results[f"{value}_covariance"] = total.cov(size, how="pop")
    return clusters.group_by(groups).aggregate(**results)


def _unit_moments(value: ir.NumericColumn) -> Mapping[str, ir.Value]:
    return {
        "units": value.count(),
        "missing": value.isnull().sum(),
        "nonzero": (value != 0).sum(),
        "total": value.sum(),
        "variance": value.cast("float64").var(how="pop"),
    }


def _groups(request: AggregationRequest) -> list[str]:
    return ["variant"] if request.by is None else ["variant", "slice"]


def _value_names(request: AggregationRequest) -> list[str]:
    metrics = [f"y{position}" for position in range(len(request.metrics))]
    return metrics + [f"x{position}" for position in range(len(request.covariates))]
