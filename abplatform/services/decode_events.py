"""Read the events of a request: the envelope whole, each event for itself, every refusal with its field.

The bytes must already be strict JSON (no duplicate keys, no lone surrogates, bounded nesting); msgspec then reads
them once more into typed events, with amounts of money exactly as they were written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from abplatform.domain.events import BadEvent, Conversion, Exposure, HoldoutExposure, read_timestamp
from abplatform.errors import InvalidInput, TooLarge
from abplatform.warehouse.inbox import Rejection

MOST_EVENTS = 1_000

REJECTION_CODES: Mapping[str, str] = {
    "BAD_FIELD": "a field has the wrong type or length, or text that cannot be stored",
    "BAD_PHASE": "the experiment has not had that phase",
    "BAD_TIMESTAMP": "the timestamp is not RFC 3339 with an offset, or does not exist",
    "BAD_VALUE": "the value is no decimal of at most 14 digits before the point and 6 behind",
    "EXPERIMENT_ARCHIVED": "the experiment is archived: nothing more is counted",
    "MISSING_FIELD": "a required field is absent",
    "NOT_STARTED": "the experiment is still a draft",
    "TIMESTAMP_IN_FUTURE": "the event lies more than 5 minutes ahead of the platform's clock",
    "TIMESTAMP_TOO_OLD": "the event is older than ABPLATFORM_MAX_EVENT_AGE_DAYS",
    "UNKNOWN_EXPERIMENT": "the project has no experiment of that key",
    "UNKNOWN_FIELD": "a field that such events do not have",
    "UNKNOWN_HOLDOUT": "the project has no holdout of that key",
    "UNKNOWN_VARIANT": "the experiment has no variant of that key in that phase",
}

RawEvent = msgspec.Raw | bytes
Fact = TypeVar("Fact")


class _Identified(msgspec.Struct):
    """As much of a wrong event as is kept."""

    event_id: str | None = None


class _Valued(msgspec.Struct):
    """The value of a conversion as it was written."""

    value: msgspec.Raw


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_EXPOSURE = msgspec.json.Decoder(Exposure)
_HOLDOUT_EXPOSURE = msgspec.json.Decoder(HoldoutExposure)
_CONVERSION = msgspec.json.Decoder(Conversion)
_IDENTIFIED = msgspec.json.Decoder(_Identified)
_VALUED = msgspec.json.Decoder(_Valued)
_DECIMAL = re.compile(
    rb'(?:-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,9})?)|(?:"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,9})?")'
)

_EVENT_FIELD = re.compile(r" - at `\$\.(\w+)")
_NAMED_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The events of a request, not yet read.

    Attributes:
        skew: by how much the sender's clock is behind; zero without ``sent_at``.
        single: whether the request is one bare event.
    """

    events: Sequence[RawEvent]
    skew: timedelta
    single: bool


def read_envelope(body: bytes, *, received_at: datetime) -> Envelope:
    """Tell one event from a batch, and read what stands around the events.

    Args:
        body: strict JSON.
        received_at: the platform's clock, compared with ``sent_at``.

    Raises:
        InvalidInput: naming the field of the envelope that is wrong.
        TooLarge: for more than `MOST_EVENTS` events.
    """
    try:
        fields = _OBJECT.decode(body)
    except msgspec.ValidationError:
        raise InvalidInput({"": ['must be an object: one event, or {"events": [...]}']}) from None
    if "events" not in fields:
        return Envelope(events=(body,), skew=timedelta(0), single=True)
    unknown = fields.keys() - {"events", "sent_at"}
    if unknown:
        raise InvalidInput({name: ["is not a field here"] for name in sorted(unknown)})
    return Envelope(events=_read_list(fields["events"]), skew=_read_skew(fields, received_at), single=False)


def read_exposure(raw: RawEvent) -> Exposure | HoldoutExposure:
    """Read one exposure, of an experiment or of a holdout.

    Raises:
        BadEvent: ``BAD_FIELD``, ``MISSING_FIELD`` or ``UNKNOWN_FIELD``.
    """
    try:
        return _EXPOSURE.decode(raw)
    except msgspec.DecodeError as error:
        what_is_wrong = str(error)
    # Those of experiments are the many: only what is none of them is looked at twice.
    fields = _fields(raw)
    if "holdout" not in fields:
        raise _explain(what_is_wrong)
    if "experiment" in fields:
        raise BadEvent("BAD_FIELD", "holdout", "must not stand beside experiment: an exposure is of one of them")
    try:
        return _HOLDOUT_EXPOSURE.decode(raw)
    except msgspec.DecodeError as error:
        raise _explain(str(error)) from None


def read_conversion(raw: RawEvent) -> Conversion:
    """Read one conversion.

    Raises:
        BadEvent: ``BAD_FIELD``, ``BAD_VALUE``, ``MISSING_FIELD`` or ``UNKNOWN_FIELD``.
    """
    try:
        event = _CONVERSION.decode(raw)
    except msgspec.DecodeError as error:
        raise _explain(str(error)) from None
    if event.value is not None and _DECIMAL.fullmatch(bytes(_VALUED.decode(raw).value)) is None:
        # Python's decimals also read "1_000", " 12 " and digits of other scripts.
        raise BadEvent("BAD_VALUE", "value", "must be a decimal number, such as 350.00")
    return event


def sort_out(envelope: Envelope, build: Callable[[RawEvent], Fact]) -> tuple[list[Fact], list[Rejection]]:
    """Build the fact of each event; those that cannot be built are named by their place.

    Raises:
        InvalidInput: if the request is one bare event and that is wrong.
    """
    facts: list[Fact] = []
    rejections: list[Rejection] = []
    for index, raw in enumerate(envelope.events):
        try:
            facts.append(build(raw))
        except BadEvent as error:
            if envelope.single:
                raise InvalidInput({error.field: [error.detail.removeprefix(f"{error.field}: ")]}) from None
            rejections.append(Rejection(index, error.code, error.detail, _event_id(raw)))
    return facts, rejections


def _read_list(raw: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        events = _ARRAY.decode(raw)
    except msgspec.ValidationError:
        raise InvalidInput({"events": ["must be an array"]}) from None
    if not events:
        raise InvalidInput({"events": ["must hold at least one event"]})
    if len(events) > MOST_EVENTS:
        raise TooLarge(f"events: a batch must have at most {MOST_EVENTS} events, not {len(events)}")
    return events


def _read_skew(fields: Mapping[str, msgspec.Raw], received_at: datetime) -> timedelta:
    if "sent_at" not in fields:
        return timedelta(0)
    try:
        return received_at - read_timestamp(_TEXT.decode(fields["sent_at"]), "sent_at")
    except msgspec.ValidationError:
        raise InvalidInput({"sent_at": ["must be a string"]}) from None
    except BadEvent as error:
        raise InvalidInput({"sent_at": [error.detail.removeprefix("sent_at: ")]}) from None


def _fields(raw: RawEvent) -> Mapping[str, msgspec.Raw]:
    try:
        return _OBJECT.decode(raw)
    except msgspec.DecodeError:
        return {}


def _event_id(raw: RawEvent) -> str | None:
    try:
        return _IDENTIFIED.decode(raw).event_id
    except msgspec.DecodeError:
        return None


def _explain(message: str) -> BadEvent:
    """A refusal with our codes, from msgspec's sentence (which names types and fields, never values)."""
    named = _NAMED_FIELD.match(message)
    if named is not None:
        missing = named[1] == "missing required"
        field = named[2] if missing else json.dumps(named[2][:64])[1:-1]
        return BadEvent("MISSING_FIELD" if missing else "UNKNOWN_FIELD", field, _what_is_wrong(missing=missing))
    place = _EVENT_FIELD.search(message)
    field = place[1] if place is not None else "event"
    code = "BAD_VALUE" if field == "value" else "BAD_FIELD"
    sentence = message.partition(" - at ")[0].replace("`", "")
    return BadEvent(code, field, sentence[:1].lower() + sentence[1:])


def _what_is_wrong(*, missing: bool) -> str:
    return "is required" if missing else "is not a field of such an event"
