"""The best SQL by hand for one experiment in DuckDB: the peer of the engine's own query."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import duckdb

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric
from abplatform.warehouse.lake import Lake

# Two tricks that an analyst has to know: units are numbered, since to group by pseudonyms of 64 characters costs more;
# and times are shifted once per unit, since to add an interval to a time costs more than all else about a conversion.
_UNITS = """
    CREATE TEMP TABLE units AS
    SELECT row_number() OVER () AS number, *, {bounds}
    FROM (
        SELECT unit, arg_min(variant, timestamp) AS variant, min(timestamp) AS first,
               min(variant) <> max(variant) AS mixed, count(*) FILTER (variant <> expected_variant) AS mismatched
        FROM read_parquet($files)
        WHERE experiment = $experiment AND phase = $phase AND timestamp >= $since AND list_contains($variants, variant)
        GROUP BY unit
    )
"""
_COUNTS = """
    SELECT variant, count(*) AS exposed, count(*) FILTER (NOT mixed) AS analysed, sum(mismatched) AS mismatched
    FROM units GROUP BY variant
"""
_VALUES = """
    WITH happened AS (
        SELECT number, {values}
        FROM read_parquet($files) JOIN units USING (unit)
        WHERE event = $event AND timestamp >= $earliest AND NOT mixed GROUP BY number
    ),
    rows AS (
        SELECT variant, {settled} FROM units LEFT JOIN happened USING (number) WHERE NOT mixed
    )
    SELECT variant, {moments} FROM rows GROUP BY variant
"""
_MOMENTS = "count({y}) AS {y}_units, sum({y}) AS {y}_total, var_pop({y}::DOUBLE) AS {y}_variance"
_JOINT = (
    "sum({x}) AS {x}_total, var_pop({x}::DOUBLE) AS {x}_variance, covar_pop({y}::DOUBLE, {x}::DOUBLE) AS {x}_covariance"
)

# Of the events of a unit, and of that in the end.
_SETTLED = {
    "sum": ("sum(value)", "coalesce({y}, 0)"),
    "conversion": ("count(*)", "(coalesce({y}, 0) > 0)::INTEGER"),
}


def count_by_hand(lake: Lake, request: AggregationRequest, *, memory_limit: str) -> dict[str, dict[str, Any]]:
    """Numbers of units, and of each metric units, total and variance (``y0`` ...), by variant.

    Of metrics that are adjusted also total and variance before the exposure, and the covariance (``x0`` ...).

    Args:
        request: of one event, without covariates, clusters, slices and ends of the phase.
    """
    exposures, conversions = (
        [file.path for file in lake.files(request.project, kind)] for kind in ("exposure", "conversion")
    )
    known = {"experiment": request.experiment, "phase": request.phase, "since": request.since}
    event = request.metrics[0].event
    # The same settings as the engine's, for the same chances.
    with duckdb.connect(config={"memory_limit": memory_limit}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_units_sql(request), {"files": exposures, "variants": list(request.variants), **known})
        counts = _by_variant(connection.execute(_COUNTS))
        values = {"files": conversions, "event": event, "earliest": _earliest(request)}
        moments = _by_variant(connection.execute(_values_sql(request), values))
    return {variant: {**counts[variant], **moments[variant]} for variant in counts}


def _units_sql(request: AggregationRequest) -> str:
    bounds = _bounds(request)
    shifted = [f"first + INTERVAL ({int(delay.total_seconds())}) SECOND AS {name}" for delay, name in bounds.items()]
    return _UNITS.format(bounds=", ".join(shifted))


def _values_sql(request: AggregationRequest) -> str:
    bounds = _bounds(request)
    values, settled, moments = [], [], []
    for position, metric in enumerate(request.metrics):
        columns = {f"y{position}": _after(metric, bounds)}
        moments.append(_MOMENTS.format(y=f"y{position}"))
        if request.adjusts(metric):
            columns[f"x{position}"] = f"timestamp >= {bounds[-metric.cuped_lookback]} AND timestamp < first"
            moments.append(_JOINT.format(y=f"y{position}", x=f"x{position}"))
        reduced, value = _SETTLED[metric.kind]
        for name, inside in columns.items():
            values.append(f"{reduced} FILTER ({' AND '.join([inside, *_conditions(metric)])}) AS {name}")
            settled.append(f"CASE WHEN {_closed(metric, request.as_of)} THEN {value.format(y=name)} END AS {name}")
    return _VALUES.format(values=", ".join(values), settled=", ".join(settled), moments=", ".join(moments))


def _bounds(request: AggregationRequest) -> dict[timedelta, str]:
    """Names of the times of first exposure shifted by a delay, by the delay."""
    windows = [metric.window for metric in request.metrics if metric.window is not None]
    delays = {delay for window in windows for delay in (window.start, window.end)}
    delays |= {-metric.cuped_lookback for metric in request.metrics if request.adjusts(metric)} | {timedelta(0)}
    return {delay: f"bound{index}" for index, delay in enumerate(sorted(delays))}


def _earliest(request: AggregationRequest) -> datetime | None:
    return request.since and request.since + min(_bounds(request))


def _after(metric: Metric, bounds: Mapping[timedelta, str]) -> str:
    if metric.window is None:
        return "timestamp >= first"
    return f"timestamp >= {bounds[metric.window.start]} AND timestamp < {bounds[metric.window.end]}"


def _conditions(metric: Metric) -> list[str]:
    return [f"properties['{name}'] = '\"{wanted}\"'" for name, wanted in metric.where.items()]


def _closed(metric: Metric, as_of: datetime) -> str:
    return "true" if metric.window is None else f"first <= TIMESTAMPTZ '{as_of - metric.window.end}'"


def _by_variant(result: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    rows = result.to_arrow_table().to_pylist()
    return {row.pop("variant"): row for row in rows}
