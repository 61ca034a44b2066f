"""Turn checked events into facts: whose they are, what is kept of them, and what this platform draws itself.

Raw unit ids are used here, for the expected variants and the pseudonyms, and go no further.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent, Conversion, Exposure, Scalar, scalar_as_json
from abplatform.domain.pseudonym import Pseudonymiser
from abplatform.services.agree import Place
from abplatform.services.settle_times import Times
from abplatform.warehouse.layout import TEXT_MAP, arrow_schema

_EXPOSURES, _CONVERSIONS = arrow_schema("exposure"), arrow_schema("conversion")
_TEXT = pa.string()
_QUOTE, _NOTHING = pa.scalar('"'), pa.scalar("")
_BY_PLACE = ("experiment", "phase", "variant", "expected_variant", "unit", "cluster")


class Pseudonyms:
    """Pseudonyms of all unit types under the installation's secret; one per process."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._makers: dict[str, Pseudonymiser] = {}

    def of(self, unit_type: str, unit_ids: Sequence[str]) -> list[str]:
        """Pseudonyms of units of one type."""
        maker = self._makers.get(unit_type)
        if maker is None:
            maker = Pseudonymiser(self._key, unit_type)
            if len(self._makers) < 1_000:  # clients may name any types
                self._makers[unit_type] = maker
        return maker.of(unit_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds facts of one project.

    Attributes:
        pseudonyms: of the installation.
        unit_type: what ``unit_id`` identifies.
        received_at: the platform's clock.
    """

    pseudonyms: Pseudonyms
    unit_type: str
    received_at: datetime

    def check_exposure(self, event: Exposure, place: Place) -> None:
        """Refuse an exposure without the id of a unit that is randomised or counted.

        Raises:
            BadEvent: ``MISSING_FIELD``.
        """
        self._ids([event], place.unit_type)
        if place.clustered:
            self._ids([event], self.unit_type)

    def check_conversion(self, event: Conversion) -> None:
        """Refuse a conversion without any unit.

        Raises:
            BadEvent: ``MISSING_FIELD``.
        """
        _first_unit(event, self.unit_type)

    def exposures(self, events: Sequence[Exposure], places: Sequence[Place], times: Times) -> pa.Table:
        """Facts of exposures, in their order, with the columns of the lake.

        Args:
            events: checked.
            places: what each was exposed to.
            times: of each.

        Raises:
            BadEvent: as `check_exposure`.
        """
        columns: dict[str, list[Any]] = {name: [None] * len(events) for name in _BY_PLACE}
        for place, positions in _group(places):
            members = [events[position] for position in positions]
            for name, values in self._of_place(place, members).items():
                _scatter(columns[name], positions, values)
        arrays = {name: pa.array(columns[name], _EXPOSURES.field(name).type) for name in _BY_PLACE}
        arrays["event_id"] = pa.array([event.event_id for event in events], _TEXT)
        # Only what the experiment analyses by is kept: nothing personal is stored by accident.
        declared = [place.attributes for place in places]
        arrays["attributes"] = _entries([event.attributes for event in events], declared)
        return _table(_EXPOSURES, arrays | self._times(times, len(events)))

    def conversions(
        self, events: Sequence[Conversion], amounts: Sequence[str | None], times: Times, analysed: frozenset[str]
    ) -> pa.Table:
        """Facts of conversions, in their order, with the columns of the lake.

        Args:
            events: checked.
            amounts: their values, as plain decimals.
            times: of each.
            analysed: further unit types of which pseudonyms are kept: nothing personal is stored by accident.

        Raises:
            BadEvent: as `check_conversion`.
        """
        properties = [event.properties for event in events]
        arrays = {
            "event_id": pa.array([event.event_id for event in events], _TEXT),
            "event": pa.array([event.event for event in events], _TEXT),
            "unit": pa.array(self._whoever(events), _TEXT),
            "value": pa.array(amounts, _TEXT).cast(_CONVERSIONS.field("value").type),
            "properties": _entries(properties, [each or () for each in properties]),
            "units": pa.array([self._others(event.units, analysed) for event in events], TEXT_MAP),
        }
        return _table(_CONVERSIONS, arrays | self._times(times, len(events)))

    def _of_place(self, place: Place, events: Sequence[Exposure]) -> dict[str, list[Any]]:
        randomised = self._ids(events, place.unit_type)
        drawn = self.pseudonyms.of(place.unit_type, randomised)
        inside = self.pseudonyms.of(self.unit_type, self._ids(events, self.unit_type)) if place.clustered else None
        return {
            "experiment": [place.experiment] * len(events),
            "phase": [place.phase] * len(events),
            "variant": [event.group if event.variant is None else event.variant for event in events],
            "expected_variant": place.expect(randomised),
            "unit": drawn if inside is None else inside,
            "cluster": [None] * len(events) if inside is None else drawn,
        }

    def _ids(self, events: Sequence[Exposure], unit_type: str) -> list[str]:
        """The ids of that type, which exposures must have."""
        if unit_type == self.unit_type:
            field, ids = "unit_id", [event.unit_id for event in events]
        else:
            field, ids = f"units.{unit_type}", [(event.units or {}).get(unit_type) for event in events]
        found = [each for each in ids if each is not None]
        if len(found) < len(ids):
            raise BadEvent("MISSING_FIELD", field, "is required: such units are randomised or counted")
        return found

    def _whoever(self, events: Sequence[Conversion]) -> list[str]:
        """The pseudonyms that conversions lie under: of the default id, else of the first of the others."""
        ids = [event.unit_id for event in events]
        found = [each for each in ids if each is not None]
        if len(found) == len(ids):
            return self.pseudonyms.of(self.unit_type, found)
        firsts = [_first_unit(event, self.unit_type) for event in events]
        return [self.pseudonyms.of(unit_type, [unit_id])[0] for unit_type, unit_id in firsts]

    def _others(self, units: Mapping[str, str] | None, analysed: frozenset[str]) -> list[tuple[str, str]] | None:
        # An optional map that is empty is null, as it is in files from before its column.
        if not units:
            return None
        return [(name, self.pseudonyms.of(name, [id_])[0]) for name, id_ in units.items() if name in analysed] or None

    def _times(self, times: Times, count: int) -> dict[str, pa.Array]:
        received = pa.scalar(self.received_at, _EXPOSURES.field("received_at").type)
        return {
            "timestamp": times.settled,
            "sent_timestamp": times.sent,
            "received_at": pa.repeat(received, count),
        }


def _first_unit(event: Conversion, default_type: str) -> tuple[str, str]:
    """Type and id of the unit that a conversion lies under: the default one, else the first of the others."""
    if event.unit_id is not None:
        return default_type, event.unit_id
    if not event.units:
        raise BadEvent("MISSING_FIELD", "unit_id", "is required, unless units names a unit of another type")
    return min(event.units.items())


def _group(places: Sequence[Place]) -> list[tuple[Place, Sequence[int]]]:
    """The positions of each place."""
    if all(place is places[0] for place in places):
        return [(places[0], range(len(places)))]
    groups: dict[Place, list[int]] = {}
    for position, place in enumerate(places):
        groups.setdefault(place, []).append(position)
    return list(groups.items())


def _scatter(column: list[Any], positions: Sequence[int], values: list[Any]) -> None:
    if len(positions) == len(column):
        column[:] = values
        return
    for position, value in zip(positions, values, strict=True):
        column[position] = value


def _entries(objects: Sequence[Mapping[str, Scalar] | None], wanted: Sequence[Iterable[str]]) -> pa.Array:
    """The wanted entries of each object, as JSON texts by name; null equals missing."""
    names: list[str] = []
    values: list[Scalar] = []
    ends = [0]
    for given, keys in zip(objects, wanted, strict=True):
        if given:
            for name in keys:
                value = given.get(name)
                if value is not None:
                    names.append(name)
                    values.append(value)
        ends.append(len(names))
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), pa.array(names, _TEXT), _json_texts(values))


def _json_texts(values: Sequence[Scalar]) -> pa.Array:
    """`scalar_as_json` of each value."""
    texts = [value for value in values if type(value) is str]
    if len(texts) == len(values):
        joined = "".join(texts)
        if joined.isprintable() and '"' not in joined and "\\" not in joined:
            return pc.binary_join_element_wise(_QUOTE, pa.array(texts, _TEXT), _QUOTE, _NOTHING)
    return pa.array(list(map(scalar_as_json, values)), _TEXT)


def _table(schema: pa.Schema, arrays: Mapping[str, pa.Array]) -> pa.Table:
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)
