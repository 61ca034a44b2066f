"""Fields that take JSON values as they are: no number is made from a text, no truth from a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import marshmallow
import msgspec
from marshmallow import fields

from abplatform.domain.access import DEFAULT_UNIT_TYPE

DURATION = re.compile(r"P(?=\d|T\d)(\d{1,6}D)?(T(?=\d)(\d{1,9}H)?(\d{1,9}M)?(\d{1,9}(\.\d{1,6})?S)?)?")

UNKNOWN_FIELD = "is not a field here"
_REQUIRED = {"required": "is required", "null": "must not be null"}


class Text(fields.String):
    """A JSON string."""

    default_error_messages = {**_REQUIRED, "invalid": "must be a string"}  # noqa: RUF012 - as in marshmallow


class Flag(fields.Boolean):
    """JSON ``true`` or ``false``; not 1, not "yes"."""

    default_error_messages = {**_REQUIRED, "invalid": "must be true or false"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Number(fields.Float):
    """A JSON number; not a string, not a boolean."""

    default_error_messages = {**_REQUIRED, "invalid": "must be a number"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.make_error("invalid")
        return value


class DecimalNumber(fields.Decimal):
    """A decimal as a JSON number or string, exact."""

    default_error_messages = {"invalid": "must be a decimal number", "null": "must not be null"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise self.make_error("invalid")
        return super()._deserialize(str(value), attr, data, **kwargs)


class WholeNumber(fields.Integer):
    """A JSON number without a fraction; not a string, not a boolean."""

    default_error_messages = {**_REQUIRED, "invalid": "must be a whole number"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid")
        return value


class JsonObject(fields.Dict):
    """A JSON object with any members."""

    default_error_messages = {**_REQUIRED, "invalid": "must be an object"}  # noqa: RUF012


class JsonValue(fields.Raw):
    """Any JSON value, null included."""

    default_error_messages = {**_REQUIRED}  # noqa: RUF012


class Items(fields.List):
    """A JSON array, handed on as a tuple."""

    default_error_messages = {**_REQUIRED, "invalid": "must be an array"}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[Any, ...]:  # type: ignore[override]
        return tuple(super()._deserialize(value, attr, data, **kwargs))


class Members(fields.Raw):
    """A long JSON array, handed on as a tuple; the domain checks what is in it, and names some of the wrong ones."""

    default_error_messages = {**_REQUIRED, "invalid": "must be an array"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return tuple(value)


class Part(fields.Nested):
    """A JSON object of its own kind. Where it stands it is whole, also in an edit of the object around it."""

    default_error_messages = {**_REQUIRED, "type": "must be an object"}  # noqa: RUF012

    def _load(self, value: Any, partial: Any = None) -> Any:  # noqa: ARG002
        return super()._load(value, partial=False)


class Duration(fields.String):
    """An ISO 8601 duration of days, hours, minutes and seconds."""

    default_error_messages = {  # noqa: RUF012
        **_REQUIRED,
        "invalid": "must be an ISO 8601 duration of days, hours, minutes and seconds, such as P30D or PT12H",
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> timedelta:  # type: ignore[override]
        if not isinstance(value, str) or DURATION.fullmatch(value) is None:
            raise self.make_error("invalid")
        try:
            return msgspec.convert(value, timedelta)
        except msgspec.ValidationError:
            raise self.make_error("invalid") from None


class Strict(marshmallow.Schema):
    """An object of named fields; others are refused (marshmallow's default)."""

    error_messages = {"unknown": UNKNOWN_FIELD, "type": "must be an object"}  # noqa: RUF012


class Document(Strict):
    """An object that the platform sends; readers ignore fields that they do not know."""

    class Meta:
        """So the API's description does not say that there are no others."""

        unknown = marshmallow.EXCLUDE


def write_duration(value: timedelta) -> str:
    """A duration in ISO 8601.

    >>> write_duration(timedelta(days=30)), write_duration(timedelta(days=1, hours=12)), write_duration(timedelta(0))
    ('P30D', 'P1DT12H', 'PT0S')
    >>> write_duration(timedelta(minutes=90, seconds=1.5))
    'PT1H30M1.5S'
    """
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
    parts = ((f"{hours}", "H"), (f"{minutes}", "M"), (f"{seconds}{fraction}", "S"))
    time = "".join(number + unit for number, unit in parts if number != "0")
    days = f"{value.days}D" if value.days else ""
    return f"P{days}{'T' + time if time else ''}" if value else "PT0S"


def time_field(description: str) -> Text:
    """A time that the platform sets, for documents."""
    return Text(allow_none=True, dump_only=True, metadata={"format": "date-time", "description": description})


def key_field() -> Text:
    """The key of a definition, where its author sends it."""
    return Text(required=True, metadata={"pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"})


def unit_type_field(description: str) -> Text:
    """A type of units; the domain checks it."""
    return Text(metadata={"default": DEFAULT_UNIT_TYPE, "description": description})


def choice(options: tuple[str, ...], **metadata: Any) -> Mapping[str, Any]:
    """Metadata of a text field whose meaning the domain checks, so that its refusals are the telling ones."""
    return {"enum": list(options), **metadata}
