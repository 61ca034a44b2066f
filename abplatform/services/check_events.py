"""Whether events say what such events must: one by one with the reason, or many at once with yes or no.

What is fine at once is fine one by one. The other way round only costs time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from abplatform.domain.events import (
    LONGEST_EVENT_ID,
    LONGEST_ID,
    LONGEST_NAME,
    LONGEST_PROPERTY,
    LONGEST_TEXT,
    LONGEST_UNIT_TYPE,
    MOST_PROPERTIES,
    MOST_UNIT_TYPES,
    BadEvent,
    Conversion,
    Exposure,
    check_event_text,
    check_scalars,
    check_units,
    read_written_value,
)
from abplatform.services.gather_columns import ConversionColumns, Entries, ExposureColumns

_PLAIN_VALUES = re.compile(rb'(?:(?:null|"?-?\d{1,14}(?:\.\d{1,6})?"?)?\n)*+')
_NULLS = (b"", b"null")
_NULL_TEXTS = ("", "null")


def check_exposure(event: Exposure) -> None:
    """Refuse an exposure that names no one thing, or holds texts that cannot be kept.

    Raises:
        BadEvent: ``BAD_FIELD``, ``MISSING_FIELD`` or ``UNKNOWN_FIELD``.
    """
    if event.holdout is None and (event.group is None or event.experiment is not None):
        _check_fields(event, required=("experiment", "variant"), strange=("group",))
    elif event.experiment is not None:
        raise BadEvent("BAD_FIELD", "holdout", "must not stand beside experiment: an exposure is of one of them")
    else:
        _check_fields(event, required=("holdout", "group"), strange=("variant", "phase", "attributes"))
    _check_ids(event)
    check_scalars(event.attributes or {}, "attributes")


def check_conversion(event: Conversion) -> None:
    """Refuse a conversion that holds texts that cannot be kept; its value is read by `read_amount`.

    Raises:
        BadEvent: ``BAD_FIELD``.
    """
    _check_ids(event)
    check_event_text(event.event, "event", most=LONGEST_NAME)
    check_scalars(event.properties or {}, "properties")


def read_amount(raw: msgspec.Raw) -> str | None:
    """The value of a conversion as a plain decimal; None where there is none.

    Raises:
        BadEvent: ``BAD_VALUE``.
    """
    text = bytes(raw)
    if text in _NULLS:
        return None
    # JSON closes the quotes that it opens.
    written = text.decode().removeprefix('"').removesuffix('"')
    return f"{read_written_value(written):f}"


def exposures_are_fine(events: Sequence[Exposure], columns: ExposureColumns) -> bool:
    """Whether all of them pass `check_exposure`; False only means that they have to be looked at.

    Args:
        events: the exposures.
        columns: the same.
    """
    if columns.holdouts.count(None) == len(events):
        named = columns.groups.count(None) == len(events)
        fine = named and None not in columns.experiments and None not in columns.variants
    else:
        # Exposures to holdouts are few.
        fine = all(map(_is_fine, events))
    return fine and _ids_fit(columns) and _scalars_fit(columns.attributes)


def conversions_are_fine(columns: ConversionColumns) -> bool:
    """The same for conversions."""
    return _ids_fit(columns) and _lengths_fit(set(columns.events), LONGEST_NAME) and _scalars_fit(columns.properties)


def read_amounts(values: Sequence[bytes]) -> list[str | None] | None:
    """The values of conversions as plain decimals; None if one has to be looked at.

    Args:
        values: JSON text, empty where there is none.
    """
    lines = b"\n".join(values) + b"\n"
    if _PLAIN_VALUES.fullmatch(lines) is None:
        return None
    texts = lines.replace(b'"', b"").decode().split("\n")[:-1]
    return [None if text in _NULL_TEXTS else text for text in texts]


def _check_fields(event: Exposure, *, required: Sequence[str], strange: Sequence[str]) -> None:
    for name in strange:
        if getattr(event, name) is not None:
            raise BadEvent("UNKNOWN_FIELD", name, "is not a field of such an event")
    for name in required:
        if getattr(event, name) is None:
            raise BadEvent("MISSING_FIELD", name, "is required")


def _check_ids(event: Exposure | Conversion) -> None:
    check_event_text(event.event_id, "event_id", most=LONGEST_EVENT_ID)
    if event.unit_id is not None:
        check_event_text(event.unit_id, "unit_id", most=LONGEST_ID)
    if event.units:
        check_units(event.units)


def _is_fine(event: Exposure) -> bool:
    try:
        check_exposure(event)
    except BadEvent:
        return False
    return True


# Texts from strict JSON in valid UTF-8 can be stored: only their lengths are left to look at.


def _ids_fit(columns: ExposureColumns | ConversionColumns) -> bool:
    return (
        _lengths_fit(columns.event_ids, LONGEST_EVENT_ID)
        and _lengths_fit([unit_id for unit_id in columns.unit_ids if unit_id is not None], LONGEST_ID)
        and all(_units_fit(units) for units in columns.units if units)
    )


def _units_fit(units: Mapping[str, str]) -> bool:
    return (
        len(units) <= MOST_UNIT_TYPES
        and _lengths_fit(units, LONGEST_UNIT_TYPE)
        and _lengths_fit(units.values(), LONGEST_ID)
    )


def _scalars_fit(entries: Entries) -> bool:
    if not entries.names:
        return True
    texts = [value for value in entries.values if isinstance(value, str)]
    return (
        max(len(each) for each in entries.objects if each) <= MOST_PROPERTIES
        and max(map(len, texts), default=0) <= LONGEST_TEXT
        and _lengths_fit(set(entries.names), LONGEST_PROPERTY)
    )


def _lengths_fit(texts: Iterable[str], most: int) -> bool:
    lengths = set(map(len, texts))
    return not lengths or (min(lengths) > 0 and max(lengths) <= most)
