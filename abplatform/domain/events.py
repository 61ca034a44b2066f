"""Events as products send them, and facts as the lake keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from abplatform.domain.checks import storable

EventKind = Literal["exposure", "conversion"]
Scalar = str | int | float | bool | None

LONGEST_ID = 256
LONGEST_EVENT_ID = 64
LONGEST_NAME = 128
LONGEST_TEXT = 1024
LONGEST_UNIT_TYPE = 64
LONGEST_PROPERTY = 64
MOST_PROPERTIES = 64
MOST_UNIT_TYPES = 16
CLOCK_TOLERANCE = timedelta(seconds=60)
FUTURE_TOLERANCE = timedelta(minutes=5)

NOT_DRAWN = ""
"""Expected of a unit outside the slots, and of one that is held out: keys of variants are never empty."""
HELD_OUT = "held_out"
OPEN = "open"
HOLDOUT_GROUPS = (HELD_OUT, OPEN)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_DECIMAL = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,9})?")
_NAMED_BY_CLIENTS = ("units", "attributes", "properties")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)")


class Exposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A unit met its variant, or was checked against a holdout: what the SDK or a product sends.

    It names ``experiment`` and ``variant``, or ``holdout`` and ``group``. ``unit_id`` may be absent where units of
    another type are randomised and counted: a device before the login. ``phase`` may be absent while the experiment is
    in its first one. Null equals absent.
    """

    event_id: str
    timestamp: str
    experiment: str | None = None
    variant: str | None = None
    phase: int | None = None
    holdout: str | None = None
    group: str | None = None
    unit_id: str | None = None
    attributes: dict[str, Scalar] | None = None
    units: dict[str, str] | None = None


class Conversion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A unit did something that a metric may count; ``unit_id`` may be absent where ``units`` names another.

    ``value`` is JSON text: an amount of money has to stay as it was written. Null equals absent.
    """

    event_id: str
    event: str
    timestamp: str
    unit_id: str | None = None
    value: msgspec.Raw = msgspec.Raw()
    properties: dict[str, Scalar] | None = None
    units: dict[str, str] | None = None


class ExposureFact(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One exposure as the inbox and the lake keep it.

    Attributes:
        expected_variant: what this platform draws; none where it does not draw (external experiments), and
            `NOT_DRAWN` where it gives the unit no variant.
        unit: pseudonym of the analysed unit.
        cluster: pseudonym of the randomised cluster, where the experiment is clustered.
        timestamp: corrected for clock skew; ``sent_timestamp`` is as the client sent it. All times in UTC.
        attributes: values as JSON text, so that types survive (``'"web"'``, ``'3'``, ``'true'``).
    """

    event_id: str
    experiment: str
    phase: int
    variant: str
    expected_variant: str | None
    unit: str
    cluster: str | None
    timestamp: datetime
    sent_timestamp: datetime
    received_at: datetime
    attributes: dict[str, str]


class ConversionFact(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One conversion as the inbox and the lake keep it; see `ExposureFact` for the shared fields.

    Attributes:
        units: pseudonyms of the units of other types, for those that experiments analyse. It came later: inbox rows
            and files from before do without it.
    """

    event_id: str
    event: str
    unit: str
    value: Decimal | None
    timestamp: datetime
    sent_timestamp: datetime
    received_at: datetime
    properties: dict[str, str]
    units: dict[str, str] = {}


class BadEvent(ValueError):
    """One event cannot be taken; the others of its batch can.

    Args:
        code: stable reason in UPPER_SNAKE.
        field: the field that is wrong.
        detail: a sentence that names the field.
    """

    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.code = code
        self.field = field
        self.detail = f"{field}: {detail}"


def read_timestamp(text: str, field: str = "timestamp") -> datetime:
    """Read an RFC 3339 time with an offset, as UTC with microseconds.

    A leap second (``:60``) is the second before it; digits beyond microseconds are cut.

    Raises:
        BadEvent: ``BAD_TIMESTAMP``.
    """
    if _TIMESTAMP.fullmatch(text) is None:
        raise BadEvent("BAD_TIMESTAMP", field, "must be RFC 3339 with an offset, such as 2026-11-23T01:02:03+08:00")
    plain = text[:17] + "59" + text[19:] if text[17:19] == "60" else text
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", plain.upper())).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadEvent("BAD_TIMESTAMP", field, "is not a time that exists") from None


def settle_timestamp(sent: datetime, *, skew: timedelta, received_at: datetime, oldest: datetime) -> datetime:
    """The time that counts: as sent, moved by the sender's clock error where that passes 60 seconds.

    Args:
        sent: time of the event by the sender's clock.
        skew: receipt minus ``sent_at``; zero if the request has no ``sent_at``.
        received_at: the platform's clock.
        oldest: earlier events are refused.

    Raises:
        BadEvent: ``TIMESTAMP_IN_FUTURE`` (over 5 minutes) or ``TIMESTAMP_TOO_OLD``.
    """
    try:
        settled = sent + skew if abs(skew) > CLOCK_TOLERANCE else sent
    except OverflowError:
        settled = sent
    if settled > received_at + FUTURE_TOLERANCE:
        raise BadEvent("TIMESTAMP_IN_FUTURE", "timestamp", "lies more than 5 minutes in the future")
    if settled < oldest:
        raise BadEvent("TIMESTAMP_TOO_OLD", "timestamp", f"lies before {oldest:%Y-%m-%d}, the oldest that is taken")
    return settled


def read_value(value: Decimal | float | str | None) -> Decimal | None:
    """An amount of at most 14 digits before the point and 6 behind, exactly.

    Raises:
        BadEvent: ``BAD_VALUE``.
    """
    if value is None:
        return None
    try:
        amount = Decimal(str(value)) if not isinstance(value, Decimal) else value
    except InvalidOperation:
        raise BadEvent("BAD_VALUE", "value", "must be a decimal number") from None
    # The exponent first: arithmetic on an enormous number would overflow.
    if not amount.is_finite() or (amount and amount.adjusted() >= 14):
        raise BadEvent("BAD_VALUE", "value", "must be finite, with at most 14 digits before the point")
    if amount and amount.adjusted() < -6:
        raise BadEvent("BAD_VALUE", "value", "must have at most 6 digits behind the point")
    settled = amount.quantize(Decimal("0.000001"))
    if settled != amount:
        raise BadEvent("BAD_VALUE", "value", "must have at most 6 digits behind the point")
    return settled


def read_written_value(text: str) -> Decimal | None:
    """An amount that was written as text, exactly; limits as for `read_value`.

    Raises:
        BadEvent: ``BAD_VALUE``.
    """
    # Python's decimals also read "1_000", " 12 " and digits of other scripts.
    if _DECIMAL.fullmatch(text) is None:
        raise BadEvent("BAD_VALUE", "value", "must be a decimal number, such as 350.00")
    return read_value(Decimal(text))


def check_event_text(value: str, field: str, *, most: int) -> None:
    """Refuse an empty text, one that is too long, and one that a database cannot hold.

    Raises:
        BadEvent: ``BAD_FIELD``.
    """
    if not 0 < len(value) <= most or not storable(value):
        raise BadEvent("BAD_FIELD", field, f"must be 1 to {most} characters of valid text without NUL")


def storable_place(field: str) -> str:
    """The field of a refusal as the platform may keep it: names that clients choose may be ids put in the wrong place.

    >>> storable_place("units.device_id"), storable_place("units.13800138000"), storable_place("a@example.com")
    ('units.device_id', 'units.*', '*')
    """
    parent, _, name = field.partition(".")
    if name and parent in _NAMED_BY_CLIENTS:
        return f"{parent}.{storable_place(name)}"
    return field if _NAME.fullmatch(field) else "*"


def check_units(units: Mapping[str, str]) -> None:
    """Refuse ids of other unit types that could not be used.

    Raises:
        BadEvent: ``BAD_FIELD`` for too many, too long or unstorable ones.
    """
    if len(units) > MOST_UNIT_TYPES:
        raise BadEvent("BAD_FIELD", "units", f"must have at most {MOST_UNIT_TYPES} entries")
    for unit_type, unit_id in units.items():
        check_event_text(unit_type, "units", most=LONGEST_UNIT_TYPE)
        check_event_text(unit_id, f"units.{unit_type}", most=LONGEST_ID)


def name_holdout(key: str) -> str:
    """What the lake calls a holdout among the experiments, none of which can have a colon in its key.

    >>> name_holdout("q3")
    'holdout:q3'
    """
    return f"holdout:{key}"


def check_scalars(values: Mapping[str, Scalar], field: str) -> None:
    """Refuse attributes or properties that are too many, too long or unstorable.

    Raises:
        BadEvent: ``BAD_FIELD``.
    """
    if len(values) > MOST_PROPERTIES:
        raise BadEvent("BAD_FIELD", field, f"must have at most {MOST_PROPERTIES} entries")
    for name, value in values.items():
        check_event_text(name, field, most=LONGEST_PROPERTY)
        if isinstance(value, str) and (len(value) > LONGEST_TEXT or not storable(value)):
            raise BadEvent("BAD_FIELD", f"{field}.{name}", f"must be at most {LONGEST_TEXT} characters without NUL")


def scalars_as_json(values: Mapping[str, Scalar], field: str) -> dict[str, str]:
    """Attribute or property values as JSON text; nulls are left out, since null equals missing.

    A whole float is written as an integer, so that 1 and 1.0 are equal as they are in the targeting language.

    Raises:
        BadEvent: as `check_scalars`.
    """
    check_scalars(values, field)
    return {name: scalar_as_json(value) for name, value in values.items() if value is not None}


def scalar_as_json(value: Scalar) -> str:
    """One value as JSON text.

    >>> scalar_as_json("web"), scalar_as_json(3.0), scalar_as_json(True)
    ('"web"', '3', 'true')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'  # as below, in a tenth of the time
    return json.dumps(value, ensure_ascii=False)
