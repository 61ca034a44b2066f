"""Read the events of a request into typed events, with amounts of money exactly as they were written.

`read_exposures` and `read_conversions` read a whole batch at once, and give up on the slightest irregularity. What they
give up on is read closely: as strict JSON (no duplicate keys, no lone surrogates, bounded nesting), then the envelope,
then each event for itself, every refusal with its field. Both read the same texts as the same events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import msgspec

from abplatform.domain.events import BadEvent, Conversion, Exposure, read_timestamp, storable_place
from abplatform.domain.strict_json import parse_json, surely_strict
from abplatform.domain.suggestions import Suggestions
from abplatform.errors import InvalidInput, TooLarge
from abplatform.services.gather_columns import ConversionColumns, ExposureColumns
from abplatform.warehouse.rejections import Rejection

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
Event = TypeVar("Event", Exposure, Conversion)


class _Identified(msgspec.Struct):
    """As much of a wrong event as is kept."""

    event_id: str | None = None


class _Batch(msgspec.Struct, Generic[Event], forbid_unknown_fields=True, gc=False):
    """A regular request: many events, and when the sender sent them."""

    events: list[Event]
    sent_at: str | None = None


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_EXPOSURE = msgspec.json.Decoder(Exposure)
_CONVERSION = msgspec.json.Decoder(Conversion)
_IDENTIFIED = msgspec.json.Decoder(_Identified)
_EXPOSURES = msgspec.json.Decoder(_Batch[Exposure])
_CONVERSIONS = msgspec.json.Decoder(_Batch[Conversion])

_EVENT_FIELD = re.compile(r" - at `\$\.(\w+)(\[)?")
_NAMED_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]*?)(?: \| null)?`")
_TYPES = {"str": "a string", "int": "a whole number", "object": "an object"}
_SCALAR = "a string, number, boolean or null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Generic[Event]):
    """Events of a request that were read.

    Attributes:
        skew: by how much the sender's clock is behind; zero without ``sent_at``.
        body: what they were read from.
        keys: how many keys it has around the events.
    """

    events: list[Event]
    skew: timedelta
    body: bytes
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The events of a request, not yet read.

    Attributes:
        skew: as in `Batch`.
        single: whether the request is one bare event.
    """

    events: Sequence[RawEvent]
    skew: timedelta
    single: bool


def read_exposures(body: bytes, *, received_at: datetime) -> Batch[Exposure] | None:
    """Read a batch of exposures in one go; None if it is not one, or has to be looked at closely.

    Whether the JSON is strict is left to `are_strict`.

    Args:
        body: of the request, which may be anything.
        received_at: the platform's clock, compared with ``sent_at``.
    """
    return _read_batch(_EXPOSURES, body, received_at)


def read_conversions(body: bytes, *, received_at: datetime) -> Batch[Conversion] | None:
    """Read a batch of conversions in one go; as `read_exposures`."""
    return _read_batch(_CONVERSIONS, body, received_at)


def are_strict(batches: Sequence[Batch[Event]], columns: ExposureColumns | ConversionColumns) -> bool:
    """Whether the bodies of batches are strict JSON; False means that they have to be looked at closely.

    Args:
        batches: as they were read.
        columns: of all their events.
    """
    # No body has fewer keys than were read from it: if all together have no more, none has.
    keys = columns.keys + sum(batch.keys for batch in batches)
    return surely_strict(b"".join([batch.body for batch in batches]), keys)


def read_envelope(body: bytes, *, received_at: datetime) -> Envelope:
    """Tell one event from a batch, and read what stands around the events.

    Args:
        body: of the request, which may be anything.
        received_at: the platform's clock, compared with ``sent_at``.

    Raises:
        Unreadable: it is not strict JSON.
        InvalidInput: naming the field of the envelope that is wrong.
        TooLarge: for more than `MOST_EVENTS` events.
    """
    parse_json(body)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The events of a request that cannot be taken.

    Attributes:
        rejections: one for each.
        alone: what is said of the only event of a request that is no batch; None if that is fine, and of batches.
    """

    rejections: tuple[Rejection, ...]
    alone: InvalidInput | None = None


def read_exposure(raw: RawEvent, suggestions: Suggestions) -> Exposure:
    """Read one exposure, of an experiment or of a holdout.

    Args:
        raw: JSON text.
        suggestions: of the request, for fields that there are not.

    Raises:
        BadEvent: ``BAD_FIELD``, ``MISSING_FIELD`` or ``UNKNOWN_FIELD``.
    """
    return _read(_EXPOSURE, raw, suggestions, Exposure.__struct_fields__)


def read_conversion(raw: RawEvent, suggestions: Suggestions) -> Conversion:
    """Read one conversion; its value stays unread. As `read_exposure`.

    Raises:
        BadEvent: ``BAD_FIELD``, ``MISSING_FIELD`` or ``UNKNOWN_FIELD``.
    """
    return _read(_CONVERSION, raw, suggestions, Conversion.__struct_fields__)


def sort_out(envelope: Envelope, take: Callable[[RawEvent], None]) -> Refused:
    """Take each event; those that cannot be taken are named by their place.

    Args:
        envelope: the events.
        take: reads, checks and keeps one event, or raises `BadEvent`.
    """
    rejections: list[Rejection] = []
    alone: InvalidInput | None = None
    for index, raw in enumerate(envelope.events):
        try:
            take(raw)
        except BadEvent as error:
            if envelope.single:
                alone = InvalidInput({error.field: [error.detail.removeprefix(f"{error.field}: ")]})
            kept = error.detail.replace(error.field, storable_place(error.field), 1)
            rejections.append(Rejection(index, error.code, error.detail, _event_id(raw), kept))
    return Refused(rejections=tuple(rejections), alone=alone)


def _read_batch(
    decoder: msgspec.json.Decoder[_Batch[Event]], body: bytes, received_at: datetime
) -> Batch[Event] | None:
    try:
        batch = decoder.decode(body)
    except (ValueError, RecursionError):  # msgspec's errors, and those of Python's numbers and texts
        return None
    if not 0 < len(batch.events) <= MOST_EVENTS:
        return None
    if batch.sent_at is None:
        return Batch(events=batch.events, skew=timedelta(0), body=body, keys=1)
    try:
        skew = received_at - read_timestamp(batch.sent_at)
    except BadEvent:
        return None
    return Batch(events=batch.events, skew=skew, body=body, keys=2)


def _read(
    decoder: msgspec.json.Decoder[Event], raw: RawEvent, suggestions: Suggestions, fields: Sequence[str]
) -> Event:
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise _explain(str(error), suggestions, fields) from None


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


def _event_id(raw: RawEvent) -> str | None:
    try:
        return _IDENTIFIED.decode(raw).event_id
    except msgspec.DecodeError:
        return None


def _explain(message: str, suggestions: Suggestions, fields: Sequence[str]) -> BadEvent:
    """A refusal with our codes, from msgspec's sentence (which names types and fields, never values)."""
    named = _NAMED_FIELD.match(message)
    if named is not None and named[1] == "missing required":
        return BadEvent("MISSING_FIELD", named[2], "is required")
    if named is not None:
        hint = suggestions.suggest(named[2], fields)
        field = json.dumps(named[2][:64])[1:-1]
        return BadEvent("UNKNOWN_FIELD", field, f"is not a field of such an event{hint}")
    place = _EVENT_FIELD.search(message)
    if place is None:
        return BadEvent("BAD_FIELD", "events", "must be objects, one for each event")
    expected = _EXPECTED.match(message)
    if expected is None:
        sentence = message.partition(" - at ")[0].lower()
    else:
        sentence = f"{'each value must' if place[2] else 'must'} be {_TYPES.get(expected[1], _SCALAR)}"
    return BadEvent("BAD_FIELD", place[1], sentence)
