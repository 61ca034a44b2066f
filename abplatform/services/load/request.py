"""What a person asks for when loading events from a table, and whether the table has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from abplatform.domain.events import (
    LONGEST_NAME,
    LONGEST_PROPERTY,
    LONGEST_UNIT_TYPE,
    MOST_PROPERTIES,
    MOST_UNIT_TYPES,
    BadEvent,
    EventKind,
    check_event_text,
)
from abplatform.errors import InvalidInput
from abplatform.services.load.scalars import Form
from abplatform.services.load.times import check_zone
from abplatform.services.read_table.roles import AMOUNTS, IDS, SCALARS, TIMES, Role, hint_for
from abplatform.services.read_table.source import check_columns, is_parquet, read_header


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: a column, or it is the same for all rows."""

    column: str | None = None
    constant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """Which columns mean what.

    Attributes:
        path: CSV (``.csv``, ``.csv.gz``) or Parquet, one row per event.
        kind: of the events.
        timestamp: column with the times.
        unit: column with the ids of units of ``unit_type``.
        unit_type: by default the project's.
        other_units: columns with ids of units of other types, by type.
        timezone: of times without an offset.
        event_id: column with the ids of the events; they are made of what the rows say where there is none.
        event, value: of conversions.
        experiment, variant, phase: of exposures.
        properties: columns by name: properties of conversions, attributes of exposures.
        types: what properties are, by name, where the file does not say it.
    """

    path: Path
    kind: EventKind
    timestamp: str
    unit: str
    unit_type: str | None = None
    other_units: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    event_id: str | None = None
    event: Origin = Origin()
    value: str | None = None
    experiment: Origin = Origin()
    variant: str | None = None
    phase: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, Form] = field(default_factory=dict)

    @property
    def name(self) -> Origin:
        """What happened, or what units were exposed to."""
        return self.event if self.kind == "conversion" else self.experiment

    @property
    def property_option(self) -> str:
        """What properties are called on the command line."""
        return "--property" if self.kind == "conversion" else "--attribute"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, each once."""
        return tuple(dict.fromkeys(column for _, column, _ in self.roles()))

    def describe(self) -> dict[str, object]:
        """What the columns mean, as JSON values for the audit trail: names only, and nothing that stands in a cell."""
        columns = {option.removeprefix("--"): column for option, column, _ in self._single_roles()}
        said = {
            "columns": columns,
            "other_units": dict(self.other_units),
            self.property_option.removeprefix("--"): dict(self.properties),
            "types": dict(self.types),
            "unit_type": self.unit_type,
            "timezone": self.timezone,
            "event" if self.kind == "conversion" else "experiment": self.name.constant,
        }
        return {"kind": self.kind} | {name: value for name, value in said.items() if value}

    def roles(self) -> Iterator[tuple[str, str, Role]]:
        """Option, column, and what the column is for; an option may have several."""
        yield from self._single_roles()
        for column in self.other_units.values():
            yield "--other-unit", column, IDS
        for column in self.properties.values():
            yield self.property_option, column, SCALARS

    def _single_roles(self) -> Iterator[tuple[str, str, Role]]:
        """The same of the options that name one column each."""
        single = {
            "--unit": (self.unit, IDS),
            "--event-id": (self.event_id, IDS),
            "--timestamp": (self.timestamp, TIMES),
            "--event": (self.event.column, IDS),
            "--value": (self.value, AMOUNTS),
            "--experiment": (self.experiment.column, IDS),
            "--variant": (self.variant, IDS),
            "--phase": (self.phase, IDS),
        }
        for option, (column, role) in single.items():
            if column is not None:
                yield option, column, role


def check_request(request: EventRequest) -> None:
    """Refuse what no table could satisfy, and what this table does not.

    Raises:
        InvalidInput: naming the option.
    """
    _check_names(request)
    _check_properties(request)
    if request.timezone is not None:
        check_zone(request.timezone)
    header = read_header(request.path)
    for option, column, _ in request.roles():
        try:
            check_columns(request.path, header, [column])
        except InvalidInput as error:
            raise InvalidInput({option: error.errors["column"]}) from None
    if is_parquet(request.path):
        _check_types(request, parquet.read_schema(request.path))


def _check_names(request: EventRequest) -> None:
    name, option = request.name, "--event" if request.kind == "conversion" else "--experiment"
    other = "--event-name" if request.kind == "conversion" else "--experiment-key"
    if (name.column is None) is (name.constant is None):
        raise InvalidInput({option: [f"name either a column with it, or one for all rows as {other}"]})
    if request.kind == "exposure" and request.variant is None:
        raise InvalidInput({"--variant": ["is required for exposures"]})
    if name.constant is not None:
        _check_text(name.constant, other, most=LONGEST_NAME)
    if len(request.other_units) > MOST_UNIT_TYPES:
        raise InvalidInput({"--other-unit": [f"must stand at most {MOST_UNIT_TYPES} times"]})
    for type_ in request.other_units:
        _check_text(type_, "--other-unit", most=LONGEST_UNIT_TYPE)
    if request.unit_type is not None:
        _check_text(request.unit_type, "--unit-type", most=LONGEST_UNIT_TYPE)


def _check_properties(request: EventRequest) -> None:
    if len(request.properties) > MOST_PROPERTIES:
        raise InvalidInput({request.property_option: [f"must stand at most {MOST_PROPERTIES} times"]})
    for name in request.properties:
        _check_text(name, request.property_option, most=LONGEST_PROPERTY)
    for name in request.types:
        if name not in request.properties:
            known = ", ".join(map(repr, request.properties)) or "none"
            raise InvalidInput({"--type": [f"{name!r} is not among what {request.property_option} names: {known}"]})


def _check_text(text: str, option: str, *, most: int) -> None:
    try:
        check_event_text(text, option, most=most)
    except BadEvent as error:
        raise InvalidInput({option: [error.detail.removeprefix(f"{option}: ")]}) from None


def _check_types(request: EventRequest, schema: pa.Schema) -> None:
    for option, column, role in request.roles():
        type_ = schema.field(column).type
        plain = type_.value_type if pa.types.is_dictionary(type_) else type_
        if isinstance(plain, pa.BaseExtensionType) or not role.allows(plain):
            hint = hint_for(role, plain)
            raise InvalidInput({option: [f"{column!r} holds {type_}, but must be {role.rule}{hint}"]})
        if role is TIMES and pa.types.is_timestamp(plain) and (plain.tz is None) is (request.timezone is None):
            has = "no time zone; name it by --timezone" if plain.tz is None else "a time zone already: leave this out"
            raise InvalidInput({"--timezone": [f"the times of {column!r} have {has}"]})
