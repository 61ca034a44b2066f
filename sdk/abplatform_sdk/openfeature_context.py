"""The evaluation context of OpenFeature, as the client takes it; the rules are those of the server's own flags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from .events import LONGEST_ID, Scalar

UNITS = "units"

# A context that holds nothing else can be passed on as it is.
_PLAIN = frozenset({str, int, float, bool, type(None), list, tuple, dict})

# Unit id, attributes, ids of other types by type: the arguments of `Client.assign`.
Call = tuple[Any, Any, Mapping[str, str] | None]


class BadContext(ValueError):
    """The context cannot be used; the message names the field."""


def read_context(context: EvaluationContext | None, other_types: frozenset[str]) -> Call:
    """Whom a call is about.

    Args:
        context: the targeting key is the id of the default unit type. Ids of other types stand in the attribute
            ``units`` by type, or in an attribute that has the name of a unit type. A date with a time zone becomes
            text.
        other_types: the unit types beside the default one that experiments are drawn by.

    Raises:
        BadContext: ``units`` or the attributes are of no use.
    """
    if context is None:
        return None, None, None
    attributes = context.attributes
    if (
        type(attributes) is dict
        and UNITS not in attributes
        and _PLAIN.issuperset(map(type, attributes.values()))
        and (not other_types or other_types.isdisjoint(attributes))
    ):
        return context.targeting_key, attributes, None
    if not isinstance(attributes, Mapping):
        raise BadContext("attributes: must be an object")
    found: dict[str, Any] = {name: _read_date(value) for name, value in attributes.items()}
    units = _read_units(found.pop(UNITS, None))
    named = {name: found[name] for name in other_types if _is_id(found.get(name))}
    return context.targeting_key, found, named | units


def read_properties(details: TrackingEventDetails | None) -> dict[str, Scalar]:
    """The flat attributes of a tracking event, dates as text; a conversion has no others."""
    found = {} if details is None else {name: _read_date(value) for name, value in details.attributes.items()}
    return {name: value for name, value in found.items() if isinstance(value, Scalar)}


def _read_units(units: object) -> dict[str, str]:
    if units is None:
        return {}
    if not isinstance(units, Mapping):
        raise BadContext("units: must be an object of ids by unit type")
    for name, value in units.items():
        if not isinstance(name, str) or not _is_id(value):
            raise BadContext(f"units.{name}: must be a text of 1 to {LONGEST_ID} characters")
    return dict(units)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID


def _read_date(value: object) -> object:
    """A date with a time zone as JavaScript writes it in JSON; anything else, and one without a zone, as it is."""
    # isinstance would run code of the object.
    if not issubclass(type(value), datetime):
        return value
    try:
        if value.utcoffset() is None:  # type: ignore[attr-defined]
            return value
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 (time zones are the product's own objects)
        return value
