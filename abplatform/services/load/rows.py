"""The rows of a table as the fields of events; a row that is wrong in any column is left out whole."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import LONGEST_EVENT_ID, LONGEST_ID, LONGEST_NAME
from abplatform.services.load.amounts import read_amounts
from abplatform.services.load.cells import Cells
from abplatform.services.load.event_ids import EventIds
from abplatform.services.load.request import EventRequest
from abplatform.services.load.scalars import read_scalars
from abplatform.services.load.times import Calendar
from abplatform.services.read_table.pseudonyms import pseudonymise_column
from abplatform.services.read_table.refusals import Mask, Refusals
from abplatform.services.read_table.source import Batch
from abplatform.warehouse.layout import MONEY

_TEXT = pa.string()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a table, column by column, all of one length.

    Attributes:
        numbers: row numbers, ascending.
        times: in UTC.
        names: the events of conversions, the experiments of exposures.
        units: raw ids by unit type, null where a row has none.
        event_ids: null where they are to be made.
        values: of conversions.
        variants, phases: of exposures, as texts.
        properties: by name, as JSON text or null.
    """

    numbers: npt.NDArray[np.int64]
    times: pa.Array
    names: pa.Array
    units: dict[str, pa.Array]
    event_ids: pa.Array
    values: pa.Array
    variants: pa.Array
    phases: pa.Array
    properties: dict[str, pa.Array]

    def keep(self, mask: Mask) -> Rows:
        """The rows where the mask is true."""
        if mask.all():
            return self
        chosen = pa.array(mask)
        return Rows(
            numbers=self.numbers[mask],
            times=self.times.filter(chosen),
            names=self.names.filter(chosen),
            units={type_: ids.filter(chosen) for type_, ids in self.units.items()},
            event_ids=self.event_ids.filter(chosen),
            values=self.values.filter(chosen),
            variants=self.variants.filter(chosen),
            phases=self.phases.filter(chosen),
            properties={name: values.filter(chosen) for name, values in self.properties.items()},
        )


def read_rows(batch: Batch, request: EventRequest, calendar: Calendar, *, unit_type: str) -> tuple[Rows, Refusals]:
    """The fields of all rows, and which of these are refused.

    Args:
        batch: of the table.
        request: which columns mean what.
        calendar: what times are read by.
        unit_type: of the ids in ``request.unit``.
    """
    refusals = Refusals(batch.numbers)
    count = len(batch.numbers)

    def cells(column: str) -> Cells:
        return Cells(column, batch.columns[column], refusals)

    def names(column: str | None, *, most: int, required: bool = True) -> pa.Array:
        return pa.nulls(count, _TEXT) if column is None else cells(column).names(most=most, required=required)

    origin, others = request.name, request.other_units
    units = {unit_type: names(request.unit, most=LONGEST_ID, required=not others)}
    units |= {type_: names(column, most=LONGEST_ID, required=False) for type_, column in others.items()}
    rows = Rows(
        numbers=batch.numbers,
        units=units,
        event_ids=names(request.event_id, most=LONGEST_EVENT_ID),
        names=names(origin.column, most=LONGEST_NAME)
        if origin.constant is None
        else pa.repeat(pa.scalar(origin.constant, pa.string()), count),
        variants=names(request.variant, most=LONGEST_NAME),
        phases=names(request.phase, most=LONGEST_NAME, required=False),
        times=calendar.read(cells(request.timestamp)),
        values=pa.nulls(count, MONEY) if request.value is None else read_amounts(cells(request.value)),
        properties={
            name: read_scalars(cells(column), request.types.get(name)) for name, column in request.properties.items()
        },
    )
    return rows, refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What rows are named by, instead of raw ids.

    Attributes:
        secret: the key of the pseudonyms.
        ids: makes the ids of events that have none.
    """

    secret: bytes
    ids: EventIds

    def name_units(self, rows: Rows) -> dict[str, pa.Array]:
        """Pseudonyms by unit type, null where a row has no id of it."""
        return {type_: pseudonymise_column(self.secret, type_, column) for type_, column in rows.units.items()}

    def name_events(self, rows: Rows, units: dict[str, pa.Array], said: list[pa.Array]) -> pa.Array:
        """The ids of events.

        Args:
            rows: good ones.
            units: their pseudonyms.
            said: texts that say what is special to the kind of events.
        """
        if rows.event_ids.null_count == 0:
            return rows.event_ids
        fields = [rows.names, *said, *(units[type_] for type_ in sorted(units)), _join_properties(rows)]
        return self.ids.derive(rows.times, fields)


def _join_properties(rows: Rows) -> pa.Array:
    """All properties of each row in one text, whatever the order in which they were asked for."""
    parts = []
    for name, values in sorted(rows.properties.items()):
        part = pc.binary_join_element_wise(json.dumps(name), values, ":")
        parts.append(pc.fill_null(part, ""))
    return pc.binary_join_element_wise(*parts, ",") if parts else pa.nulls(len(rows.numbers), _TEXT)
