"""Exposures and conversions as the server takes them: checked, and encoded as JSON, where they happen."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import islice
from numbers import Integral, Real
from typing import Any, NamedTuple

Scalar = str | int | float | bool | None

LONGEST_ID = 256
_LONGEST_EVENT_ID = 64
_LONGEST_NAME = 128
_LONGEST_PROPERTY_NAME = 64
_LONGEST_TEXT = 1024
_MOST_PROPERTIES = 64
_LARGEST_EVENT = 64 * 1024

# Amounts as the platform keeps them: decimals with 14 digits before the point and 6 behind.
_AMOUNT_LIMIT = 10**14
_MICRO = Decimal("0.000001")
# 14 digits before the point and 6 behind fit with room to spare; more than that is refused first.
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Unsendable(ValueError):
    """An event that the server would refuse; ``reason`` is the drop reason that counts it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Subject(NamedTuple):
    """Whom an exposure is about, where that takes more than the unit id.

    Of the attributes only the experiment's dimensions: no other leaves the process.
    """

    unit_id: Any
    units: dict[str, str]
    attributes: dict[str, Scalar]


# An exposure that is still to be encoded: the head (see `encode_head`), the unit id, Unix time in seconds. It holds
# nothing that the garbage collector would have to follow.
LightExposure = tuple[str, str, float]


def new_event_id(seconds: float) -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits.

    >>> new_event_id(1_700_000_000.123)[:15]
    '018bcfe5-687b-7'
    """
    time = f"{int(seconds * 1000) & 0xFFFF_FFFF_FFFF:012x}"
    noise = os.urandom(10).hex()
    variant = "89ab"[int(noise[0], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{noise[1:4]}-{variant}{noise[5:8]}-{noise[8:]}"


def utc_text(seconds: float) -> str:
    """A Unix time as RFC 3339 in UTC, with microseconds.

    >>> utc_text(1_700_000_000.25)
    '2023-11-14T22:13:20.250000Z'
    """
    return _rfc3339(datetime.fromtimestamp(seconds, UTC))


def encode_exposure(what: Mapping[str, object], subject: Subject, *, now: float) -> bytes:
    """One exposure as JSON, with a fresh id. ``what`` is experiment, phase and variant; or holdout and group."""
    event = {"event_id": new_event_id(now), **what, **_unit(subject.unit_id, subject.units or None)}
    return _encoded({**event, "timestamp": utc_text(now), **_given("attributes", subject.attributes)})


def encode_head(experiment: str, phase: int, variant: str) -> str:
    """The part of an exposure's JSON that is the same for all units, without the braces."""
    return _encode({"experiment": experiment, "phase": phase, "variant": variant})[1:-1]


def encode_light_exposure(light: LightExposure) -> bytes:
    """One exposure that was put aside by the request path; as `encode_exposure`."""
    head, unit_id, now = light
    unit = _encode(_text(unit_id, "invalid_unit", most=LONGEST_ID))
    return f'{{"event_id":"{new_event_id(now)}",{head},"unit_id":{unit},"timestamp":"{utc_text(now)}"}}'.encode()


def encode_conversion(
    event: object,
    unit_id: object,
    *,
    value: object = None,
    properties: object = None,
    units: object = None,
    timestamp: object = None,
    event_id: object = None,
    now: float,
) -> bytes:
    """One conversion as JSON. Without ``timestamp`` or ``event_id``, the time is now and the id is fresh.

    Raises:
        Unsendable: it cannot be read, or is too large.
    """
    body: dict[str, object] = {
        "event_id": new_event_id(now)
        if event_id is None
        else _text(event_id, "invalid_event_id", most=_LONGEST_EVENT_ID),
        "event": _text(event, "invalid_event", most=_LONGEST_NAME),
        "timestamp": utc_text(now) if timestamp is None else _moment(timestamp),
    } | _unit(unit_id, units)
    if value is not None:
        try:
            body["value"] = amount_text(value)
        except (ValueError, TypeError, ArithmeticError):
            raise Unsendable("invalid_value") from None
    if properties is not None:
        body["properties"] = _read_properties(properties)
    return _encoded(body)


def amount_text(value: object) -> str:
    """``value`` rounded half-even to 6 places, as plain decimal digits.

    A float counts as the shortest decimal that reads back as it (0.1 is 0.1). Any registered number works,
    NumPy's included.

    Raises:
        ValueError, TypeError, ArithmeticError: not a number, not finite, or 15 digits or more before the point.

    >>> amount_text(Decimal("350.00")), amount_text(0.1), amount_text("2.0000005"), amount_text(-0.0000001)
    ('350', '0.1', '2', '0')
    """
    amount = _as_decimal(value)
    if not amount.is_finite() or (amount.adjusted() >= 14 and amount != 0):
        raise ValueError("value must be finite, with at most 14 digits before the point")
    rounded = Decimal(0) if amount.adjusted() < -7 else amount.quantize(_MICRO, context=_CONTEXT)
    if abs(rounded) >= _AMOUNT_LIMIT:
        raise ValueError("value must have at most 14 digits before the point after rounding")
    text = f"{rounded:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def read_units(units: object) -> dict[str, str]:
    """Ids of a unit by type, as plain texts; else `Unsendable`."""
    return {
        _text(name, "invalid_unit", most=_LONGEST_PROPERTY_NAME): _text(value, "invalid_unit", most=LONGEST_ID)
        for name, value in _items(units, "invalid_unit")
    }


def read_scalar(value: object, reason: str) -> Scalar:
    """A flat JSON value as its plain type: a subclass cannot bring behaviour of its own into the encoder.

    Raises:
        Unsendable: with ``reason``.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, reason, most=_LONGEST_TEXT, least=0)
    if isinstance(value, int):
        number = int.__int__(value)
        if -(2**63) <= number < 2**63:
            return number
    elif isinstance(value, float):
        real = float.__float__(value)
        if math.isfinite(real):
            return real
    raise Unsendable(reason)


def _unit(unit_id: object, units: object) -> dict[str, object]:
    """The ids of a unit. Without one of the default type, it takes another: a device before the login."""
    others = _given("units", read_units(units)) if units is not None else {}
    if unit_id is None and others:
        return others
    return {"unit_id": _text(unit_id, "invalid_unit", most=LONGEST_ID)} | others


def _given(name: str, values: Mapping[str, object]) -> dict[str, object]:
    return {name: values} if values else {}


def _read_properties(properties: object) -> dict[str, Scalar]:
    reason = "invalid_properties"
    return {
        _text(name, reason, most=_LONGEST_PROPERTY_NAME): read_scalar(value, reason)
        for name, value in _items(properties, reason)
    }


def _items(mapping: object, reason: str) -> list[tuple[object, object]]:
    if not isinstance(mapping, Mapping):
        raise Unsendable(reason)
    try:
        items = list(islice(mapping.items(), _MOST_PROPERTIES + 1))
    except Exception:  # noqa: BLE001 (a mapping of the product may do anything)
        raise Unsendable(reason) from None
    if len(items) > _MOST_PROPERTIES:
        raise Unsendable(reason)
    return items


def _text(value: object, reason: str, *, most: int, least: int = 1) -> str:
    if not isinstance(value, str):
        raise Unsendable(reason)
    text = str.__str__(value)
    if not least <= len(text) <= most or "\0" in text:
        raise Unsendable(reason)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unsendable(reason) from None
    return text


def _as_decimal(value: object) -> Decimal:
    if isinstance(value, bool):
        raise TypeError("value must be a number")
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        return Decimal(str.__str__(value))
    if isinstance(value, Integral):
        whole = int(value)
        if abs(whole) >= _AMOUNT_LIMIT:
            raise ValueError("value must have at most 14 digits before the point")
        return Decimal(whole)
    if isinstance(value, Real):
        return Decimal(repr(float(value)))
    raise TypeError("value must be a number")


def _moment(timestamp: object) -> str:
    if not isinstance(timestamp, datetime):
        raise Unsendable("invalid_timestamp")
    try:
        if timestamp.utcoffset() is None:
            raise Unsendable("invalid_timestamp")
        return _rfc3339(timestamp.astimezone(UTC))
    except (OverflowError, ValueError, TypeError):
        raise Unsendable("invalid_timestamp") from None


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _encoded(event: dict[str, object]) -> bytes:
    body = _encode(event).encode()
    if len(body) > _LARGEST_EVENT:
        raise Unsendable("too_large")
    return body
