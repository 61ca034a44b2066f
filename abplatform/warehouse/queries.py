"""From events to sufficient statistics, as one set of expressions for every engine.

Only what DuckDB and Spark both do alike is used here: joins on equality alone, with the tests of time inside the
aggregation; the first row of a unit as the least struct of time, event id and what is known of it; squares in double,
since a DECIMAL(20, 6) squared overflows.

    exposures -> `phase_exposures` -> `first_exposures` -> `leave_out` \
                                                                         `unit_values` -> `moments`
                                       conversions -> `wanted_conversions` /

An answer can go on from what an earlier one knew of each unit: see `unit_table`.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.events import NOT_DRAWN
from abplatform.warehouse.slicing import attribute_columns
from abplatform.warehouse.times import moment

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
_LARGEST = 1e100  # Squares of larger numbers overflow, and one absurd value must not take a result away.


def phase_exposures(exposures: ir.Table, request: AggregationRequest) -> ir.Table:
    """Exposures of the phase, inside its time; unknown variants included."""
    counted = exposures.filter(exposures.experiment == request.experiment, exposures.phase == request.phase)
    if request.since is not None:
        counted = counted.filter(counted.timestamp >= moment(request.since))
    for end in (request.enrolled_until, request.until):
        if end is not None:
            counted = counted.filter(counted.timestamp < moment(end))
    return counted


def earlier_phases(exposures: ir.Table, request: AggregationRequest, name: str) -> ir.Table:
    """When an earlier phase first had each unit, or cluster: ``known, had``.

    Args:
        exposures: all of the project.
        request: what is asked for.
        name: ``unit`` or ``cluster``.
    """
    before = exposures.filter(
        exposures.experiment == request.experiment, exposures.phase < request.phase, exposures[name].notnull()
    )
    return before.group_by(known=before[name]).aggregate(had=before.timestamp.min())


def unknown_variants(counted: ir.Table, request: AggregationRequest) -> ir.Table:
    """Exposures by variant keys that the experiment does not have: ``variant, exposures``."""
    unknown = counted.filter(counted.variant.notin(request.variants))
    return unknown.group_by("variant").aggregate(exposures=unknown.count())


def first_exposures(counted: ir.Table, request: AggregationRequest) -> ir.Table:
    """One row per unit.

    Columns: ``unit``; of its first exposure (by time, then event id) ``first`` (the time), ``event_id, variant,
    cluster``, ``x0, x1, ...`` (covariates as doubles) and ``s0, s1, ...`` (attributes to slice by); ``several``
    (whether it met more than one variant); ``mismatched`` (exposures by another variant than this platform draws) and
    ``undrawn`` (those of them where it draws none).
    """
    known = counted.filter(counted.variant.isin(request.variants))
    # The order of the fields is that of the rows.
    details: dict[str, ir.Value] = {"first": known.timestamp, "event_id": known.event_id, "variant": known.variant}
    details["cluster"] = known.cluster if request.clustered else ibis.null("string")
    details |= {column: known.attributes.get(name) for column, name in attribute_columns(request).items()}
    for position, name in enumerate(request.covariates):
        details[f"x{position}"] = known.attributes.get(name)
    units = known.group_by("unit").aggregate(
        met=ibis.struct(details).min(),
        several=known.variant.min() != known.variant.max(),
        mismatched=how_many(known, known.expected_variant != known.variant),
        undrawn=how_many(known, known.expected_variant == NOT_DRAWN),
    )
    met = {name: units.met[name] for name in details}
    met |= {f"x{position}": _number(units.met[f"x{position}"]) for position in range(len(request.covariates))}
    if request.clustered:
        # A unit without a cluster stands for itself.
        met["cluster"] = ibis.coalesce(met["cluster"], units.unit)
    return units.select("unit", "several", "mismatched", "undrawn", **met)


def leave_out(
    units: ir.Table, request: AggregationRequest, earlier_units: ir.Table | None, earlier_clusters: ir.Table | None
) -> ir.Table:
    """Units with ``earlier`` and ``analysed`` (whether the unit counts).

    ``earlier`` is whether it is left out, since an earlier phase had it, or its cluster, before this one did; what that
    phase logs later says nothing about who came in here.

    Args:
        units: see `first_exposures`; further columns stay as they are.
        request: what is asked for.
        earlier_units, earlier_clusters: see `earlier_phases`; nothing in the first phase, nor where it does not matter.
    """
    columns = list(units.columns)
    units = _add_earlier(units, "unit", earlier_units)
    units = units.mutate(earlier=_is_by(units.had_unit, units["first"]))
    if not request.clustered:
        return units.select(*columns, "earlier", analysed=~units.several & ~units.earlier)
    new, no = ~units.earlier, ibis.literal(False)
    clusters = units.group_by("cluster").aggregate(
        began=units["first"].min(),
        mixed=ibis.coalesce(units.several.any(where=new), no)
        | ibis.coalesce(units.variant.min(where=new) != units.variant.max(where=new), no),
    )
    clusters = _add_earlier(clusters, "cluster", earlier_clusters)
    joined = units.left_join(clusters, "cluster")
    left_out = joined.earlier | _is_by(joined.had_cluster, joined.began)
    flat = joined.select(*columns, "mixed", earlier=left_out)
    return flat.select(*columns, "earlier", analysed=~flat.earlier & ~flat.mixed)


def entered_units(units: ir.Table) -> ir.Table:
    """The units that are in the phase: those that no earlier one had."""
    return units.filter(~units.earlier)


def earlier_phase_units(units: ir.Table) -> ir.Table:
    """How many units are left out, since an earlier phase had them: ``units``."""
    return units.aggregate(units=how_many(units, units.earlier))


def how_many(table: ir.Table, condition: ir.BooleanValue) -> ir.IntegerScalar:
    """Rows that fit: on Spark such a count is a sum, which is null without rows, or where the condition always is."""
    return ibis.coalesce(table.count(where=condition), 0)


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
    clusters = units.group_by("cluster").aggregate(
        met=ibis.struct({name: units[name] for name in ("first", "event_id", "variant")}).min(),
        several=~units.analysed.any(),
    )
    flat = clusters.select("several", variant=clusters.met["variant"])
    return flat.group_by("variant").aggregate(
        exposed=flat.count(),
        analysed=flat.count(where=~flat.several),
        multi_variant=flat.count(where=flat.several),
    )


def _add_earlier(table: ir.Table, name: str, earlier: ir.Table | None) -> ir.Table:
    if earlier is None:
        return table.mutate(**{f"had_{name}": ibis.null("timestamp('UTC', 6)")})
    joined = table.left_join(earlier, table[name] == earlier.known)
    return joined.select(*table.columns, **{f"had_{name}": joined.had})


def _is_by(had: ir.TimestampValue, first: ir.TimestampValue) -> ir.BooleanValue:
    """Whether an earlier phase had something by the time that this one first did."""
    return ibis.coalesce(had <= first, ibis.literal(False))


def _number(text: ir.StringValue) -> ir.FloatingValue:
    # JSON text of a string has quotes, so that only numbers can be cast.
    number = text.try_cast("float64")
    return ibis.ifelse(number.abs() < _LARGEST, number, ibis.null("float64"))
