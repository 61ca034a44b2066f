"""Rows as facts of the lake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.services.adopt.request import ImportRequest, Outcome
from abplatform.services.adopt.rows import Rows
from abplatform.services.read_table.maps import join_maps
from abplatform.services.read_table.pseudonyms import pseudonymise_column
from abplatform.warehouse.layout import MONEY, TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class FactWriter:
    """Turns rows into exposures and conversions.

    Attributes:
        request: what the columns mean.
        secret: for pseudonyms.
        scope: stands in front of the unit type, so that units of two imports, or of an import and the live
            platform, never meet.
        at: the time that all facts carry.
    """

    request: ImportRequest
    secret: bytes
    scope: str
    at: datetime

    def write(self, rows: Rows) -> tuple[pa.Table, pa.Table]:
        """Exposures of all rows, and one conversion for each outcome that is not zero."""
        units = self._pseudonyms(rows.units, self.request.unit_name)
        return self._exposures(rows, units), self._conversions(rows, units)

    def _pseudonyms(self, ids: pa.Array, unit_type: str) -> pa.Array:
        type_ = f"{self.scope}/{unit_type}"
        return pseudonymise_column(self.secret, type_, ids)

    def _exposures(self, rows: Rows, units: pa.Array) -> pa.Table:
        count = len(units)
        clusters = pa.nulls(count, pa.string())
        if rows.clusters is not None:
            clusters = self._pseudonyms(rows.clusters, str(self.request.cluster))
        return pa.table(
            {
                "event_id": self._event_ids(rows.numbers),
                "experiment": _repeat(self.request.key, count),
                "phase": pa.array(np.ones(count, dtype=np.int32)),
                "variant": rows.variants,
                "expected_variant": pa.nulls(count, pa.string()),
                "unit": units,
                "cluster": clusters,
                **self._times(count),
                "attributes": join_maps(rows.attributes, count),
            }
        )

    def _conversions(self, rows: Rows, units: pa.Array) -> pa.Table:
        parts = [self._events(outcome, rows, units) for outcome in self.request.outcomes]
        return pa.concat_tables(parts)

    def _events(self, outcome: Outcome, rows: Rows, units: pa.Array) -> pa.Table:
        values = rows.outcomes[outcome.column]
        happened = values if outcome.kind == "conversion" else pc.not_equal(values, pa.scalar(0, values.type))
        numbers = rows.numbers[happened.to_numpy(zero_copy_only=False)]
        count = len(numbers)
        money = pa.nulls(count, MONEY) if outcome.kind == "conversion" else values.filter(happened)
        return pa.table(
            {
                "event_id": self._event_ids(numbers, f":{outcome.column}"),
                "event": _repeat(outcome.column, count),
                "unit": units.filter(happened),
                "value": money,
                **self._times(count),
                "properties": join_maps({}, count),
            }
        )

    def _event_ids(self, numbers: Any, suffix: str = "") -> pa.Array:
        written = pc.cast(pa.array(numbers), pa.string())
        return pc.binary_join_element_wise(f"{self.request.key}:", written, suffix, "")

    def _times(self, count: int) -> dict[str, pa.Array]:
        at = pa.repeat(pa.scalar(self.at, TIME), count)
        return {"timestamp": at, "sent_timestamp": at, "received_at": at}


def _repeat(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)
