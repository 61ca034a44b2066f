"""Which variant of another experiment units met: a slice that two experiments at once are crossed by."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import SEVERAL, OtherExperiment
from abplatform.domain.events import scalar_as_json
from abplatform.warehouse.times import moment


def has_crossings(request: AggregationRequest) -> bool:
    """Whether a dimension asks about another experiment."""
    return any(dimension.experiment is not None for dimension in request.dimensions)


def add_crossings(units: ir.Table, exposures: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with the columns of those dimensions that are other experiments: see `dimension.OtherExperiment`.

    Args:
        units: with ``unit``.
        exposures: all of the project.
        request: what is asked for.
    """
    for position, dimension in enumerate(request.dimensions):
        if dimension.experiment is not None:
            column = f"s{position}"
            met = _variants_met(exposures, dimension.experiment).rename(**{f"{column}_unit": "unit"})
            joined = units.left_join(met, units.unit == met[f"{column}_unit"])
            units = joined.select(*units.columns, **{column: joined.slice})
    return units


def _variants_met(exposures: ir.Table, other: OtherExperiment) -> ir.Table:
    """``unit, slice``: one row per unit that met a variant of the other experiment."""
    met = exposures.filter(
        exposures.experiment == other.key, exposures.phase == other.phase, exposures.variant.isin(other.variants)
    )
    if other.since is not None:
        met = met.filter(met.timestamp >= moment(other.since))
    for end in (other.enrolled_until, other.until):
        if end is not None:
            met = met.filter(met.timestamp < moment(end))
    # Who met two variants is told apart, so that of all others any exposure names the variant.
    units = met.group_by("unit").aggregate(least=met.variant.min(), most=met.variant.max())
    names = [(units.least == variant, scalar_as_json(variant)) for variant in other.variants]
    return units.select("unit", slice=ibis.ifelse(units.least != units.most, SEVERAL, ibis.cases(*names)))
