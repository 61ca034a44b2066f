"""What an answer knows of each unit, so that a later one goes on from it and reads only what has come since.

The units of a phase with their first exposures and values; beside them the conversions that still wait for whom they
count for. A unit is settled once its first exposure is some days old: its values are kept, and its conversions are
not. Those of all others wait: of units that nobody has met yet, which need their past when they come, and of units
whose first exposure may still turn out to have been an earlier one, logged late.

Where a settled unit turns out to have been met earlier, its conversions would have to be found again: then nothing can
go on, and everything is read anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.warehouse.slicing import attribute_columns
from abplatform.warehouse.times import moment
from abplatform.warehouse.unit_values import value_columns
from abplatform.warehouse.wanted import find_reading

SETTLES_AFTER = timedelta(days=2)

_TIME = "timestamp('UTC', 6)"
# Half the size of what sums may need, and read twice as fast. Nobody has a trillion; who does is read anew each time.
_MONEY = "decimal(18, 6)"
_VALUE = "decimal(20, 6)"
EARLIER_COLUMNS = {"known": "string", "had": _TIME}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """What is known of each unit.

    Attributes:
        units: columns of `unit_columns`; values of those that are not settled are 0.
        waiting: columns of `waiting_columns`: conversions of those that are not settled, or not known.
        earlier_units, earlier_clusters: see `queries.earlier_phases`; None where they do not matter.
        settled_before: units that were first exposed before it are settled.
    """

    units: ir.Table
    waiting: ir.Table
    earlier_units: ir.Table | None
    earlier_clusters: ir.Table | None
    settled_before: datetime


def unit_columns(request: AggregationRequest, number: str) -> dict[str, str]:
    """Columns of the units, with Ibis's types.

    Args:
        request: what is asked for.
        number: type of what tells units apart.
    """
    known = {"number": number, "unit": "string", "several": "boolean", "mismatched": "int64", "undrawn": "int64"}
    texts = ("event_id", "variant", "cluster", *attribute_columns(request))
    known |= {"first": _TIME, **dict.fromkeys(texts, "string")}
    known |= dict.fromkeys(_covariates(request), "float64")
    return known | dict.fromkeys(value_columns(request), _MONEY)


def waiting_columns(request: AggregationRequest) -> dict[str, str]:
    """Columns of conversions that wait, with Ibis's types."""
    reading = find_reading(request)
    columns = dict.fromkeys(reading.matches.values(), "boolean") | dict.fromkeys(reading.values.values(), _VALUE)
    return {"timestamp": _TIME, "unit": "string"} | columns


def find_touched(known: UnitTable, found: ir.Table, wanted: ir.Table) -> ir.Table:
    """The known units about which there is news: columns of `unit_columns`.

    Args:
        known: from before.
        found: `queries.first_exposures` of new exposures.
        wanted: see `find_wanted`.
    """
    touched = found.select("unit").union(wanted.select("unit")).distinct()
    return known.units.semi_join(touched, "unit")


def find_wanted(known: UnitTable, found: ir.Table, wanted: ir.Table) -> ir.Table:
    """The conversions that may change something: all new ones, and those that waited for units that have come.

    Args:
        known: from before.
        found: `queries.first_exposures` of new exposures.
        wanted: `wanted.wanted_conversions` of new conversions.
    """
    unsettled = known.units.filter(known.units["first"] >= moment(known.settled_before))
    came = found.select("unit").union(unsettled.select("unit"))
    return wanted.union(known.waiting.semi_join(came, "unit").select(*wanted.columns))


def merge_units(touched: ir.Table, found: ir.Table, request: AggregationRequest, settled_before: datetime) -> ir.Table:
    """Touched units and those of new exposures, as if all exposures had been read at once.

    Columns of `unit_columns` (``number`` null for units that were not known), and ``moved``: whether a settled unit was
    met earlier than was known, or again under the id of its first exposure, so that it is not to be had this way.

    Args:
        touched: see `find_touched`.
        found: `queries.first_exposures` of new exposures.
        request: what is asked for.
        settled_before: see `UnitTable`.
    """
    details = ["first", "event_id", "variant", "cluster", *attribute_columns(request), *_covariates(request)]
    both = touched.outer_join(found.rename({f"new_{name}": name for name in found.columns}), [("unit", "new_unit")])
    no = ibis.literal(False)
    new = both.unit.isnull()
    tie = both.new_first == both["first"]
    earlier = ibis.coalesce((both.new_first < both["first"]) | (tie & (both.new_event_id < both.event_id)), no)
    again = ibis.coalesce(tie & (both.new_event_id == both.event_id), no)
    other = both.new_several | (both.new_variant != both.variant)
    return both.select(
        "number",
        unit=ibis.coalesce(both.unit, both.new_unit),
        several=ibis.coalesce(both.several, no) | ibis.coalesce(other, both.new_several, no),
        mismatched=ibis.coalesce(both.mismatched, 0) + ibis.coalesce(both.new_mismatched, 0),
        undrawn=ibis.coalesce(both.undrawn, 0) + ibis.coalesce(both.new_undrawn, 0),
        **{name: ibis.ifelse(new | earlier, both[f"new_{name}"], both[name]) for name in details},
        **{name: ibis.coalesce(both[name], ibis.literal(0).cast(_MONEY)) for name in value_columns(request)},
        moved=again | (earlier & (both["first"] < moment(settled_before))),
    )


def narrow_values(units: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with their values in the type that is kept; null where one is too large for it."""
    return units.mutate(**{name: units[name].try_cast(_MONEY) for name in value_columns(request)})


def rest_of(known: UnitTable, valued: ir.Table) -> ir.Table:
    """All units: those that were touched, and the rest of the known ones as they were."""
    others = known.units.anti_join(valued, known.units.number == valued.kept_number)
    columns = [name for name in known.units.columns if name != "number"]
    return others.select(*columns).union(valued.select(*columns))


def merge_earlier(known: ir.Table, found: ir.Table) -> ir.Table:
    """Two tables of `queries.earlier_phases` as one."""
    both = known.union(found)
    return both.group_by("known").aggregate(had=both.had.min())


def settle(units: ir.Table, request: AggregationRequest, settled_before: datetime) -> ir.Table:
    """Units without the values of those that are not settled.

    Args:
        units: with their values.
        request: what was asked for.
        settled_before: see `UnitTable`.
    """
    settled = units["first"] < moment(settled_before)
    names = value_columns(request)
    return units.mutate(**{name: ibis.ifelse(settled, units[name], ibis.literal(0).cast(_MONEY)) for name in names})


def find_waiting(wanted: ir.Table, units: ir.Table, settled_before: datetime) -> ir.Table:
    """Conversions of units that are not settled, or not known, as far as some metric reads them.

    Args:
        wanted: all that waited before, and all that are new.
        units: all.
        settled_before: see `UnitTable`.
    """
    settled = units.filter(units["first"] < moment(settled_before))
    read = ibis.or_(*(wanted[name] for name in wanted.columns if name.startswith("m")))
    return wanted.filter(read).anti_join(settled, "unit")


def _covariates(request: AggregationRequest) -> list[str]:
    return [f"x{position}" for position in range(len(request.covariates))]
