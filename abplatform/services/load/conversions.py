"""Conversions of a table as facts of the lake."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.services.load.request import EventRequest
from abplatform.services.load.rows import Identity, Rows
from abplatform.services.read_table.maps import join_maps
from abplatform.services.read_table.refusals import Refusals, as_mask
from abplatform.services.recall import Rules
from abplatform.warehouse.layout import TEXT_MAP


def check_conversions(rows: Rows, refusals: Refusals, request: EventRequest) -> None:
    """Refuse rows without any unit."""
    nobody = pc.is_null(pc.coalesce(*rows.units.values()))
    refusals.refuse(as_mask(nobody), request.unit, "is missing", code="MISSING_FIELD")


def write_conversions(rows: Rows, rules: Rules, identity: Identity) -> dict[str, pa.Array]:
    """The columns that conversions alone have, and those that identify them.

    Over HTTP only unit types are kept that something counts by. Whoever imports has named the types, often before there
    is an experiment that counts by them, and history cannot be sent again: all of them are kept.
    """
    count, units = len(rows.numbers), identity.name_units(rows)
    # The default id, else the first of the others by type.
    ranked = sorted(units, key=lambda type_: (type_ != rules.unit_type, type_))
    others = {type_: units[type_] for type_ in rows.units if type_ != rules.unit_type}
    return {
        "event_id": identity.name_events(rows, units, [rows.values.cast(pa.string())]),
        "event": rows.names,
        "unit": pc.coalesce(*(units[type_] for type_ in ranked)),
        "value": rows.values,
        "properties": join_maps(rows.properties, count),
        "units": _others(others, count),
    }


def _others(units: dict[str, pa.Array], count: int) -> pa.Array:
    """Pseudonyms by unit type; an empty map is null, as in files from before the column."""
    if not units:
        return pa.nulls(count, TEXT_MAP)
    maps = join_maps(units, count)
    nobody = as_mask(pc.is_null(pc.coalesce(*units.values())))
    return pa.MapArray.from_arrays(maps.offsets, maps.keys, maps.items, mask=pa.array(nobody))
