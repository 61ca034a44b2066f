"""Turn checked events into facts: whose they are, what is kept of them, and what this platform draws itself.

Raw unit ids are used here, for the expected variants and the pseudonyms, and go no further.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent, Conversion, Exposure, Scalar, scalar_as_json
from abplatform.domain.pseudonym import DIGITS, Pseudonymiser
from abplatform.services.agree import Place
from abplatform.services.gather_columns import ConversionColumns, Entries, ExposureColumns, only_value
from abplatform.services.settle_times import Times
from abplatform.warehouse.layout import TEXT_MAP, arrow_schema

Groups = Sequence[tuple[Place, Sequence[int]]]

_EXPOSURES, _CONVERSIONS = arrow_schema("exposure"), arrow_schema("conversion")
_TEXT = pa.string()
_PHASE = _EXPOSURES.field("phase").type
_QUOTE, _NOTHING = pa.scalar('"'), pa.scalar("")


class Pseudonyms:
    """Pseudonyms of all unit types under the installation's secret; one per process."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._makers: dict[str, Pseudonymiser] = {}

    def of(self, unit_type: str, unit_ids: Sequence[bytes]) -> pa.Array:
        """Pseudonyms of units of one type, given by their ids in UTF-8."""
        digits = hexlify(self._maker(unit_type).digests(unit_ids))
        ends = np.arange(0, len(digits) + 1, DIGITS, dtype=np.int32)
        return pa.Array.from_buffers(_TEXT, len(unit_ids), [None, pa.py_buffer(ends), pa.py_buffer(digits)])

    def of_one(self, unit_type: str, unit_id: str) -> str:
        """The pseudonym of one unit."""
        return self._maker(unit_type).of([unit_id])[0]

    def _maker(self, unit_type: str) -> Pseudonymiser:
        maker = self._makers.get(unit_type)
        if maker is None:
            maker = Pseudonymiser(self._key, unit_type)
            if len(self._makers) < 1_000:  # clients may name any types
                self._makers[unit_type] = maker
        return maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds facts of one project.

    Attributes:
        pseudonyms: of the installation.
        unit_type: what ``unit_id`` identifies.
    """

    pseudonyms: Pseudonyms
    unit_type: str

    def check_exposure(self, event: Exposure, place: Place) -> None:
        """Refuse an exposure without the id of a unit that is randomised or counted.

        Raises:
            BadEvent: ``MISSING_FIELD``.
        """
        ids, units = [event.unit_id], [event.units]
        self._ids(place.unit_type, ids, units)
        if place.clustered:
            self._ids(self.unit_type, ids, units)

    def check_conversion(self, event: Conversion) -> None:
        """Refuse a conversion without any unit.

        Raises:
            BadEvent: ``MISSING_FIELD``.
        """
        _first_unit(event.unit_id, event.units, self.unit_type)

    def exposures(self, columns: ExposureColumns, groups: Groups, times: Times) -> pa.Table:
        """Facts of exposures, in their order, with the columns of the lake.

        Args:
            columns: of the events, which have been checked.
            groups: what they were exposed to, each with the positions of its events in rising order.
            times: of each.

        Raises:
            BadEvent: as `check_exposure`.
        """
        parts = [self._of_place(place, columns, positions) for place, positions in groups]
        arrays = parts[0] if len(parts) == 1 else _in_order(parts, [positions for _, positions in groups])
        arrays["event_id"] = pa.array(columns.event_ids, _TEXT)
        return _table(_EXPOSURES, arrays | _of_times(times))

    def conversions(
        self, columns: ConversionColumns, amounts: Sequence[str | None], times: Times, analysed: frozenset[str]
    ) -> pa.Table:
        """Facts of conversions, in their order, with the columns of the lake.

        Args:
            columns: of the events, which have been checked.
            amounts: their values, as plain decimals.
            times: of each.
            analysed: further unit types of which pseudonyms are kept: nothing personal is stored by accident.

        Raises:
            BadEvent: as `check_conversion`.
        """
        arrays = {
            "event_id": pa.array(columns.event_ids, _TEXT),
            "event": _texts(columns.events),
            "unit": self._whoever(columns),
            "value": pa.array(amounts, _TEXT).cast(_CONVERSIONS.field("value").type),
            "properties": _all_entries(columns.properties),
            "units": self._others(columns.units, analysed),
        }
        return _table(_CONVERSIONS, arrays | _of_times(times))

    def _of_place(self, place: Place, columns: ExposureColumns, positions: Sequence[int]) -> dict[str, pa.Array]:
        whole, count = len(positions) == len(columns.event_ids), len(positions)
        chosen = columns if whole else columns.at(positions)
        randomised = self._ids(place.unit_type, chosen.unit_ids, chosen.units)
        drawn = self.pseudonyms.of(place.unit_type, randomised)
        inside = None
        if place.clustered:
            inside = self.pseudonyms.of(self.unit_type, self._ids(self.unit_type, chosen.unit_ids, chosen.units))
        return {
            "experiment": pa.repeat(pa.scalar(place.experiment, _TEXT), count),
            "phase": pa.repeat(pa.scalar(place.phase, _PHASE), count),
            "variant": pa.array(chosen.named_variants, _TEXT),
            "expected_variant": place.expect(randomised),
            "unit": drawn if inside is None else inside,
            "cluster": pa.nulls(count, _TEXT) if inside is None else drawn,
            # Only what the experiment analyses by is kept: nothing personal is stored by accident.
            "attributes": _declared_entries(chosen.attributes, place.attributes),
        }

    def _ids(self, unit_type: str, unit_ids: Sequence[str | None], units: Sequence[Units]) -> list[bytes]:
        """The ids of that type in UTF-8, which exposures must have."""
        if unit_type == self.unit_type:
            field, ids = "unit_id", unit_ids
        else:
            field, ids = f"units.{unit_type}", [(each or {}).get(unit_type) for each in units]
        found = [each.encode() for each in ids if each is not None]
        if len(found) < len(ids):
            raise BadEvent("MISSING_FIELD", field, "is required: such units are randomised or counted")
        return found

    def _whoever(self, columns: ConversionColumns) -> pa.Array:
        """The pseudonyms that conversions lie under: of the default id, else of the first of the others."""
        found = [each.encode() for each in columns.unit_ids if each is not None]
        if len(found) == len(columns.unit_ids):
            return self.pseudonyms.of(self.unit_type, found)
        pairs = zip(columns.unit_ids, columns.units, strict=True)
        firsts = [_first_unit(unit_id, units, self.unit_type) for unit_id, units in pairs]
        return pa.array([self.pseudonyms.of_one(*first) for first in firsts], _TEXT)

    def _others(self, units: Sequence[Units], analysed: frozenset[str]) -> pa.Array:
        # An optional map that is empty is null, as it is in files from before its column.
        if not any(units):
            return pa.nulls(len(units), TEXT_MAP)
        of_one = self.pseudonyms.of_one
        kept = [[(name, of_one(name, id_)) for name, id_ in (each or {}).items() if name in analysed] for each in units]
        return pa.array([each or None for each in kept], TEXT_MAP)


Units = Mapping[str, str] | None


def group_places(places: Sequence[Place]) -> Groups:
    """The positions of each place."""
    groups: dict[Place, list[int]] = {}
    for position, place in enumerate(places):
        groups.setdefault(place, []).append(position)
    return list(groups.items())


def _first_unit(unit_id: str | None, units: Units, default_type: str) -> tuple[str, str]:
    """Type and id of the unit that a conversion lies under: the default one, else the first of the others."""
    if unit_id is not None:
        return default_type, unit_id
    if not units:
        raise BadEvent("MISSING_FIELD", "unit_id", "is required, unless units names a unit of another type")
    return min(units.items())


def _in_order(parts: Sequence[Mapping[str, pa.Array]], positions: Sequence[Sequence[int]]) -> dict[str, pa.Array]:
    """What came from place to place in the order of the events."""
    order = pa.array(np.argsort(np.concatenate(positions)))
    return {name: pa.concat_arrays([part[name] for part in parts]).take(order) for name in parts[0]}


def _declared_entries(entries: Entries, declared: Sequence[str]) -> pa.Array:
    """The declared entries of each object, in that order, as JSON texts by name; null equals missing."""
    if _are_all_declared(entries, declared):
        return _all_entries(entries)
    return _chosen_entries(entries.objects, [declared] * len(entries.objects))


def _are_all_declared(entries: Entries, declared: Sequence[str]) -> bool:
    """Whether all objects have the same entries, in the order in which they are declared."""
    there = [each for each in entries.objects if each]
    first = list(there[0]) if there else []
    return (
        first == [name for name in declared if name in first]
        and set(map(len, there)) <= {len(first)}
        and entries.names == first * len(there)
    )


def _all_entries(entries: Entries) -> pa.Array:
    """All entries of each object, as JSON texts by name; null equals missing."""
    if type(None) in entries.types:
        return _chosen_entries(entries.objects, [each or () for each in entries.objects])
    sizes = [len(each) if each else 0 for each in entries.objects]
    return _map(np.cumsum([0, *sizes], dtype=np.int32), entries.names, entries.values)


def _chosen_entries(objects: Sequence[Mapping[str, Scalar] | None], wanted: Sequence[Iterable[str]]) -> pa.Array:
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
    return _map(ends, names, values)


def _map(ends: Sequence[int] | npt.NDArray[np.int32], names: Sequence[str], values: Sequence[Scalar]) -> pa.Array:
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), _texts(names), _json_texts(values))


def _texts(values: Sequence[str]) -> pa.Array:
    if values and only_value(values):
        return pa.repeat(pa.scalar(values[0], _TEXT), len(values))
    return pa.array(values, _TEXT)


def _json_texts(values: Sequence[Scalar]) -> pa.Array:
    """`scalar_as_json` of each value."""
    texts = [value for value in values if type(value) is str]
    if len(texts) == len(values):
        joined = "".join(texts)
        if joined.isprintable() and '"' not in joined and "\\" not in joined:
            return pc.binary_join_element_wise(_QUOTE, pa.array(texts, _TEXT), _QUOTE, _NOTHING)
    return pa.array(list(map(scalar_as_json, values)), _TEXT)


def _of_times(times: Times) -> dict[str, pa.Array]:
    return {"timestamp": times.settled, "sent_timestamp": times.sent, "received_at": times.received}


def _table(schema: pa.Schema, arrays: Mapping[str, pa.Array]) -> pa.Table:
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)
