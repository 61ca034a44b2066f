"""From events to sufficient statistics, as one set of expressions for every engine.

Only what DuckDB and Spark both do alike is used here: joins on equality alone, with the tests of time inside the
aggregation; the first row of a unit as the least (time, event id) of a struct, which is never null itself; squares
in double, since a DECIMAL(20, 6) squared overflows.

    exposures -> `counted_exposures` -> `first_exposures` -> `per_unit` (with conversions) -> `moments`
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.events import NOT_DRAWN, scalar_as_json
from abplatform.domain.metric import Metric

COLUMNS_OF_EXPOSURES = {
    "event_id": "string",
    "experiment": "string",
    "phase": "int32",
    "variant": "string",
    "expected_variant": "string",
    "unit": "string",
    "cluster": "string",
    "timestamp": "timestamp('UTC', 6)",
    "sent_timestamp": "timestamp('UTC', 6)",
    "received_at": "timestamp('UTC', 6)",
    "attributes": "map<string, string>",
}
COLUMNS_OF_CONVERSIONS = {
    "event_id": "string",
    "event": "string",
    "unit": "string",
    "value": "decimal(20, 6)",
    "timestamp": "timestamp('UTC', 6)",
    "sent_timestamp": "timestamp('UTC', 6)",
    "received_at": "timestamp('UTC', 6)",
    "properties": "map<string, string>",
    "units": "map<string, string>",
}
_MONEY = "decimal(38, 6)"
_LARGEST = 1e100  # Squares of larger numbers overflow, and one absurd value must not take a result away.


def counted_exposures(exposures: ir.Table, request: AggregationRequest) -> ir.Table:
    """Exposures of the phase, inside its time; unknown variants included.

    ``had_unit`` and ``had_cluster`` say when an earlier phase first had the unit, or the cluster; null if none did.
    """
    mine = exposures.filter(exposures.experiment == request.experiment)
    counted = mine.filter(mine.phase == request.phase)
    if request.since is not None:
        counted = counted.filter(counted.timestamp >= _moment(request.since))
    for end in (request.enrolled_until, request.until):
        if end is not None:
            counted = counted.filter(counted.timestamp < _moment(end))
    before = mine.filter(mine.phase < request.phase)
    later = request.phase > 1
    counted = _add_earlier(counted, before, "unit", wanted=later)
    return _add_earlier(counted, before, "cluster", wanted=later and request.clustered)


def unknown_variants(counted: ir.Table, request: AggregationRequest) -> ir.Table:
    """Exposures by variant keys that the experiment does not have: ``variant, exposures``."""
    unknown = counted.filter(counted.variant.notin(request.variants))
    return unknown.group_by("variant").aggregate(exposures=unknown.count())


def first_exposures(counted: ir.Table, request: AggregationRequest) -> ir.Table:
    """One row per unit.

    Columns: ``unit``; of its first exposure (by time, then event id) ``variant, cluster, slice, first`` (the time)
    and ``x0, x1, ...`` (covariates as doubles); ``earlier`` (whether it is left out, since an earlier phase had it, or
    its cluster, before this one did; what that phase logs later says nothing about who came in here); ``several``
    (whether it met more than one variant); ``mismatched`` (exposures by another variant than this platform draws) and
    ``undrawn`` (those of them where it draws none); ``analysed`` (whether it counts).
    """
    known = counted.filter(counted.variant.isin(request.variants))
    details: dict[str, ir.Value] = {"variant": known.variant, "first": known.timestamp, "event_id": known.event_id}
    details |= {"had_unit": known.had_unit, "had_cluster": known.had_cluster}
    details["cluster"] = known.cluster if request.clustered else ibis.null("string")
    details["slice"] = known.attributes.get(request.by) if request.by is not None else ibis.null("string")
    for position, name in enumerate(request.covariates):
        details[f"x{position}"] = known.attributes.get(name)
    moment = ibis.struct({"timestamp": known.timestamp, "event_id": known.event_id})
    units = known.group_by("unit").aggregate(
        met=ibis.struct(details).argmin(moment),
        several=known.variant.min() != known.variant.max(),
        mismatched=known.count(where=known.expected_variant != known.variant),
        undrawn=known.count(where=known.expected_variant == NOT_DRAWN),
    )
    met = {name: units.met[name] for name in details}
    met |= {f"x{position}": _number(units.met[f"x{position}"]) for position in range(len(request.covariates))}
    # A unit without a cluster stands for itself.
    met["cluster"] = ibis.coalesce(met["cluster"], units.unit)
    flat = units.select("unit", "several", "mismatched", "undrawn", **met)
    return _leave_out(flat, request)


def entered_units(units: ir.Table) -> ir.Table:
    """The units that are in the phase: those that no earlier one had."""
    return units.filter(~units.earlier)


def earlier_phase_units(units: ir.Table) -> ir.Table:
    """How many units are left out, since an earlier phase had them: ``units``."""
    return units.aggregate(units=units.count(where=units.earlier))


def counts_by_variant(units: ir.Table) -> ir.Table:
    """``variant, exposed, analysed, multi_variant, mismatched, undrawn`` over the units that entered."""
    return units.group_by("variant").aggregate(
        exposed=units.count(),
        analysed=units.count(where=units.analysed),
        multi_variant=units.count(where=units.several),
        mismatched=units.mismatched.sum(),
        undrawn=units.undrawn.sum(),
    )


def clusters_by_variant(units: ir.Table) -> ir.Table:
    """``variant, exposed, analysed, multi_variant`` over clusters that entered, by the variant that each met first."""
    moment = ibis.struct({"first": units["first"], "event_id": units.event_id})
    clusters = units.group_by("cluster").aggregate(
        met=ibis.struct({"variant": units.variant}).argmin(moment),
        several=~units.analysed.any(),
    )
    flat = clusters.select("several", variant=clusters.met["variant"])
    return flat.group_by("variant").aggregate(
        exposed=flat.count(),
        analysed=flat.count(where=~flat.several),
        multi_variant=flat.count(where=flat.several),
    )


def per_unit(units: ir.Table, conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    """One row per analysed unit: ``variant, slice, cluster``, and per metric ``y0`` (its value; null while open).

    Covariates follow as ``x0, x1, ...`` (null where the unit lacks it).
    """
    analysed = units.filter(units.analysed)
    values = _values(analysed.select("unit", "first"), conversions, request)
    joined = analysed.left_join(values, "unit")
    columns: dict[str, ir.Value] = {}
    cutoff = request.as_of if request.until is None else min(request.as_of, request.until)
    for position, metric in enumerate(request.metrics):
        value = ibis.coalesce(joined[f"y{position}"], ibis.literal(0).cast(_MONEY))
        columns[f"y{position}"] = ibis.ifelse(_closed(joined["first"], metric, cutoff), value, ibis.null(_MONEY))
    covariates = [f"x{position}" for position in range(len(request.covariates))]
    return joined.select("variant", "slice", "cluster", *covariates, **columns)


def moments(rows: ir.Table, request: AggregationRequest) -> ir.Table:
    """Moments over units, one row per variant (and slice).

    Columns per value ``v`` (``y0`` ..., ``x0`` ...): ``v_units, v_missing, v_nonzero, v_total, v_variance`` (of the
    population, as double).
    """
    grouped = rows.group_by(_groups(request))
    return grouped.aggregate(
        **{
            f"{value}_{name}": expression
            for value in _value_names(request)
            for name, expression in _unit_moments(rows[value]).items()
        }
    )


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


def _add_earlier(counted: ir.Table, before: ir.Table, name: str, *, wanted: bool) -> ir.Table:
    if not wanted:
        return counted.mutate(**{f"had_{name}": ibis.null("timestamp('UTC', 6)")})
    had = before.group_by(**{f"known_{name}": before[name]}).aggregate(**{f"had_{name}": before.timestamp.min()})
    # A unit without a cluster joins none: nulls are never equal.
    joined = counted.left_join(had, counted[name] == had[f"known_{name}"])
    return joined.select(*counted.columns, f"had_{name}")


def _leave_out(units: ir.Table, request: AggregationRequest) -> ir.Table:
    columns = [name for name in units.columns if not name.startswith("had_")]
    earlier = _is_by(units.had_unit, units["first"])
    if not request.clustered:
        return units.select(*columns, earlier=earlier, analysed=~units.several & ~earlier)
    units = units.mutate(earlier=earlier)
    new, no = ~units.earlier, ibis.literal(False)
    clusters = units.group_by("cluster").aggregate(
        began=units["first"].min(),
        mixed=ibis.coalesce(units.several.any(where=new), no)
        | ibis.coalesce(units.variant.min(where=new) != units.variant.max(where=new), no),
    )
    joined = units.left_join(clusters, "cluster")
    left_out = joined.earlier | _is_by(joined.had_cluster, joined.began)
    flat = joined.select(*columns, "mixed", earlier=left_out)
    return flat.select(*columns, "earlier", analysed=~flat.earlier & ~flat.mixed)


def _is_by(had: ir.TimestampValue, first: ir.TimestampValue) -> ir.BooleanValue:
    """Whether an earlier phase had something by the time that this one first did."""
    return ibis.coalesce(had <= first, ibis.literal(False))


def _values(units: ir.Table, conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    events = sorted({metric.event for metric in request.metrics})
    wanted = conversions.filter(conversions.event.isin(events))
    if request.until is not None:
        wanted = wanted.filter(wanted.timestamp < _moment(request.until))
    matches = {f"m{position}": _matches(wanted, metric) for position, metric in enumerate(request.metrics)}
    wanted = wanted.select("timestamp", "value", unit=_whose(wanted, request), **matches)
    joined = units.join(wanted, "unit")
    columns: dict[str, ir.Value] = {}
    for position, metric in enumerate(request.metrics):
        counts = joined[f"m{position}"] & _inside(joined, metric)
        if metric.kind == "sum":
            columns[f"y{position}"] = joined.value.sum(where=counts).cast(_MONEY)
        else:
            columns[f"y{position}"] = (joined.count(where=counts) > 0).cast("int64").cast(_MONEY)
    return joined.group_by("unit").aggregate(**columns)


def _whose(conversions: ir.Table, request: AggregationRequest) -> ir.StringValue:
    if request.unit_type is None:
        return conversions.unit
    return ibis.coalesce(conversions.units.get(request.unit_type), conversions.unit)


def _matches(conversions: ir.Table, metric: Metric) -> ir.BooleanValue:
    matches = conversions.event == metric.event
    for name, wanted in metric.where.items():
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        matches &= conversions.properties.get(name).isin([scalar_as_json(option) for option in options])
    return matches


def _inside(joined: ir.Table, metric: Metric) -> ir.BooleanValue:
    first, moment = joined["first"], joined.timestamp
    if metric.window is None:
        return moment >= first
    return (moment >= _later(first, metric.window.start)) & (moment < _later(first, metric.window.end))


def _closed(first: ir.TimestampValue, metric: Metric, cutoff: datetime) -> ir.BooleanValue:
    if metric.window is None:
        return ibis.literal(True)
    return _later(first, metric.window.end) <= _moment(cutoff)


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


def _number(text: ir.StringValue) -> ir.FloatingValue:
    # JSON text of a string has quotes, so that only numbers can be cast.
    number = text.try_cast("float64")
    return ibis.ifelse(number.abs() < _LARGEST, number, ibis.null("float64"))


def _moment(time: datetime) -> Any:
    return ibis.literal(time, type="timestamp('UTC')")


def _later(moment: ir.TimestampValue, delay: timedelta) -> ir.TimestampValue:
    if not delay:
        return moment
    return moment + ibis.interval(microseconds=delay // timedelta(microseconds=1))
