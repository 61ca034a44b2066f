"""The events of one or several batches as columns: each field is read from each event once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from abplatform.domain.events import Conversion, Exposure, Scalar

Objects = list[Mapping[str, Scalar] | None]


@dataclass(frozen=True, slots=True)
class Entries:
    """Attributes or properties of some events, one behind the other.

    Attributes:
        objects: as the events have them.
        names: of all entries of all objects.
        values: of the same entries.
        types: of the values.
    """

    objects: Objects
    names: list[str]
    values: list[Scalar]
    types: frozenset[type]

    @property
    def keys(self) -> int:
        """How many keys they took in JSON: their own, and those that they stand under."""
        return len(self.objects) - _count_missing(self.objects) + len(self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureColumns:
    """The fields of exposures, in the order of the events."""

    event_ids: list[str]
    timestamps: list[str]
    experiments: list[str | None]
    variants: list[str | None]
    phases: list[int | None]
    holdouts: list[str | None]
    groups: list[str | None]
    unit_ids: list[str | None]
    attributes: Entries
    units: list[dict[str, str] | None]

    @property
    def keys(self) -> int:
        """How many keys the events took in JSON, if none of them was null."""
        optional = (self.experiments, self.variants, self.phases, self.holdouts, self.groups, self.unit_ids)
        there = sum(len(column) - _count_missing(column) for column in optional)
        return 2 * len(self.event_ids) + there + self.attributes.keys + _count_keys(self.units)

    @property
    def named_variants(self) -> list[str | None]:
        """The variants, of exposures to holdouts their groups."""
        if None not in self.variants:
            return self.variants
        pairs = zip(self.variants, self.groups, strict=True)
        return [group if variant is None else variant for variant, group in pairs]

    def at(self, positions: Sequence[int]) -> ExposureColumns:
        """Some of the events."""

        def choose(column: list[Any]) -> list[Any]:
            return [column[position] for position in positions]

        plain = {name: choose(getattr(self, name)) for name in self.__slots__ if name != "attributes"}
        return ExposureColumns(**plain, attributes=gather_entries(choose(list(self.attributes.objects))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionColumns:
    """The fields of conversions, in the order of the events."""

    event_ids: list[str]
    events: list[str]
    timestamps: list[str]
    unit_ids: list[str | None]
    values: list[bytes]
    properties: Entries
    units: list[dict[str, str] | None]

    @property
    def keys(self) -> int:
        """As of `ExposureColumns`."""
        there = 2 * len(self.event_ids) - _count_missing(self.unit_ids) - self.values.count(b"")
        return 3 * len(self.event_ids) + there + self.properties.keys + _count_keys(self.units)


def gather_exposures(events: Sequence[Exposure]) -> ExposureColumns:
    """Exposures as columns."""
    return ExposureColumns(
        event_ids=[event.event_id for event in events],
        timestamps=[event.timestamp for event in events],
        experiments=[event.experiment for event in events],
        variants=[event.variant for event in events],
        phases=[event.phase for event in events],
        holdouts=[event.holdout for event in events],
        groups=[event.group for event in events],
        unit_ids=[event.unit_id for event in events],
        attributes=gather_entries([event.attributes for event in events]),
        units=[event.units for event in events],
    )


def gather_conversions(events: Sequence[Conversion]) -> ConversionColumns:
    """Conversions as columns."""
    return ConversionColumns(
        event_ids=[event.event_id for event in events],
        events=[event.event for event in events],
        timestamps=[event.timestamp for event in events],
        unit_ids=[event.unit_id for event in events],
        values=[bytes(event.value) for event in events],
        properties=gather_entries([event.properties for event in events]),
        units=[event.units for event in events],
    )


def gather_entries(objects: Objects) -> Entries:
    """The entries of objects as columns."""
    there = [each for each in objects if each]
    values = [value for each in there for value in each.values()]
    return Entries(objects, [name for each in there for name in each], values, frozenset(map(type, values)))


def only_value(column: Sequence[object]) -> bool:
    """Whether a column has one and the same value everywhere; it must not be empty."""
    return column.count(column[0]) == len(column)


def _count_missing(column: Sequence[object]) -> int:
    return column.count(None)


def _count_keys(units: Sequence[Mapping[str, str] | None]) -> int:
    there = [each for each in units if each is not None]
    return len(there) + sum(map(len, there))
