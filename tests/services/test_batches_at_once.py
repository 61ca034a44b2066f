"""A batch that is taken at once gives the same facts as the same events taken one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.domain.events import BadEvent, Conversion, Exposure, scalar_as_json
from abplatform.domain.strict_json import LONGEST_NUMBER, parse_json, surely_strict
from abplatform.domain.suggestions import Suggestions
from abplatform.errors import Unreadable
from abplatform.services import decode_events
from abplatform.services.check_events import (
    check_conversion,
    check_exposure,
    conversions_are_fine,
    exposures_are_fine,
    read_amount,
    read_amounts,
)
from abplatform.services.decode_events import Batch, are_strict
from abplatform.services.gather_columns import (
    ConversionColumns,
    ExposureColumns,
    gather_conversions,
    gather_exposures,
)
from abplatform.services.settle_times import Clock, settle_all
from tests.builders import NOW, later

NAMES = st.sampled_from(["a", "b", "", ":", '":', "\u4e2d", "x" * 65, "\U0001f600", 'say "no"', "back\\slash", " "])
TEXTS = NAMES | st.text(max_size=4)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | FLOATS | TEXTS
OBJECTS = st.none() | st.dictionaries(NAMES, SCALARS, max_size=3)
UNITS = st.none() | st.dictionaries(NAMES, NAMES, max_size=2)
TIMES = st.sampled_from(
    [
        "2026-11-23T01:02:03Z",
        "2026-11-23t01:02:03z",
        "2026-11-23 01:02:03.5+08:00",
        "2026-11-23T01:02:03.123456-11:30",
        "2026-11-23T01:02:03.1234567Z",
        "2016-12-31T23:59:60Z",
        "2026-02-30T00:00:00Z",
        "2026-11-23T01:02Z",
        "2026-11-23T01:02:03",
        "0001-01-01T00:00:00+00:00",
        "0000-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "2026-11-23T01:02:03Z\n2026-11-23T01:02:03Z",
    ]
)
VALUES = st.none() | st.sampled_from(
    ["1", "-0.5", "1_000", " 1", "1e3", "1" * 15, "0.0000001", "\u0663", "", True, {}, 1, 0.1, 2**53 + 1, 1e300]
)


def absent(values: dict[str, Any]) -> dict[str, Any]:
    """Without nulls half of the time: absent and null are one."""
    return {name: value for name, value in values.items() if value is not None}


EXPOSURES = st.fixed_dictionaries(
    {"event_id": TEXTS, "timestamp": TIMES},
    optional={
        "experiment": NAMES | st.none(),
        "variant": NAMES | st.none(),
        "phase": st.none() | st.integers(-1, 10**20),
        "holdout": st.none() | NAMES,
        "group": st.none() | NAMES,
        "unit_id": st.none() | TEXTS,
        "attributes": OBJECTS,
        "units": UNITS,
    },
)
CONVERSIONS = st.fixed_dictionaries(
    {"event_id": TEXTS, "event": TEXTS, "timestamp": TIMES},
    optional={"unit_id": st.none() | TEXTS, "value": VALUES, "properties": OBJECTS, "units": UNITS},
)


def encode(events: list[dict[str, Any]], *, compact: bool) -> bytes:
    body = {"events": list(map(absent, events)) if compact else events, "sent_at": NOW.isoformat()}
    return json.dumps(body, separators=(",", ":") if compact else None, ensure_ascii=not compact).encode()


def read_exposures(body: bytes) -> tuple[Batch[Exposure], ExposureColumns] | None:
    """A batch that is read at once, and its columns."""
    batch = decode_events.read_exposures(body, received_at=NOW)
    columns = None if batch is None else gather_exposures(batch.events)
    return (batch, columns) if batch and columns and are_strict([batch], columns) else None


def read_conversions(body: bytes) -> tuple[Batch[Conversion], ConversionColumns] | None:
    """The same for conversions."""
    batch = decode_events.read_conversions(body, received_at=NOW)
    columns = None if batch is None else gather_conversions(batch.events)
    return (batch, columns) if batch and columns and are_strict([batch], columns) else None


@given(st.lists(EXPOSURES, min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_exposures_read_at_once_are_those_read_one_by_one(events: list[dict[str, Any]], compact: bool) -> None:
    agree(encode(events, compact=compact), read_exposures, decode_events.read_exposure)


@given(st.lists(CONVERSIONS, min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_conversions_read_at_once_are_those_read_one_by_one(events: list[dict[str, Any]], compact: bool) -> None:
    agree(encode(events, compact=compact), read_conversions, decode_events.read_conversion)


def agree(body: bytes, at_once: Callable[..., Any], one: Callable[..., Any]) -> None:
    found = at_once(body)
    if found is not None:
        envelope = decode_events.read_envelope(body, received_at=NOW)
        assert (found[0].events, found[0].skew) == ([one(raw, Suggestions()) for raw in envelope.events], envelope.skew)


@given(st.lists(EXPOSURES, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_exposures_that_are_fine_at_once_are_fine_one_by_one(events: list[dict[str, Any]]) -> None:
    found = read_exposures(encode(events, compact=True))
    if found is not None and exposures_are_fine(found[0].events, found[1]):
        for event in found[0].events:
            check_exposure(event)


@given(st.lists(CONVERSIONS, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_conversions_that_are_fine_at_once_are_fine_one_by_one(events: list[dict[str, Any]]) -> None:
    found = read_conversions(encode(events, compact=True))
    if found is not None and conversions_are_fine(found[1]):
        for event in found[0].events:
            check_conversion(event)
        amounts = read_amounts(found[1].values)
        if amounts is not None:
            assert list(map(plain, amounts)) == [plain(read_amount(event.value)) for event in found[0].events]


def plain(amount: str | None) -> str | None:
    """An amount without zeros behind."""
    return amount.rstrip("0").rstrip(".") if amount is not None and "." in amount else amount


@given(st.lists(TIMES, min_size=1, max_size=3), st.sampled_from([timedelta(0), timedelta(seconds=61)]))
@settings(deadline=None)
def test_times_settled_at_once_are_those_settled_one_by_one(texts: list[str], skew: timedelta) -> None:
    clock = Clock(received_at=NOW, skew=skew, oldest=NOW - timedelta(days=4000))
    other = replace(clock, received_at=later(seconds=1), skew=timedelta(seconds=-61))
    times = settle_all(texts * 2, [(clock, len(texts)), (other, len(texts))])
    if times is not None:
        assert list(zip(times.sent.to_pylist(), times.settled.to_pylist(), strict=True)) == [
            each.settle(text) for each in (clock, other) for text in texts
        ]
        assert times.received.to_pylist() == [each.received_at for each in (clock, other) for _ in texts]


def test_a_year_that_python_does_not_know_is_not_brought_near_by_a_wrong_clock() -> None:
    far = NOW - datetime(1, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
    clock = Clock(received_at=NOW, skew=far, oldest=NOW - timedelta(days=4000))
    assert settle_all(["0000-12-31T23:59:59Z"], [(clock, 1)]) is None
    with pytest.raises(BadEvent, match="is not a time that exists"):
        clock.settle("0000-12-31T23:59:59Z")


PLAIN_EXPOSURE = {"event_id": "1", "timestamp": "2026-11-23T01:02:03.5Z", "experiment": "e", "variant": "v"}


@pytest.mark.parametrize("more", [{}, {"unit_id": "\u5f20"}, {"attributes": {"channel": "\u6296\u97f3"}, "phase": 1}])
def test_what_an_sdk_sends_is_read_at_once(more: dict[str, Any]) -> None:
    for spaced in (True, False):
        body = json.dumps(
            {"events": [PLAIN_EXPOSURE | more] * 3, "sent_at": NOW.isoformat()}, **({} if spaced else SDK)
        )
        found = read_exposures(body.encode())
        assert found is not None
        assert exposures_are_fine(found[0].events, found[1])


SDK: Any = {"separators": (",", ":"), "ensure_ascii": False}
TWICE = [
    '{"events":[{"event_id":"1","event_id":"1","event":"a","timestamp":"t"}]}',
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","properties":{"a":":","a":":"}}]}',
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","properties":{"a":1,"a" :1}}]}',
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","value":":","value":1}]}',
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","unit_id":"u","unit_id":null}]}',
    '{"sent_at":"2026-11-23T01:02:03Z","sent_at":"2026-11-23T01:02:03Z","events":[]}',
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","properties":{"a":1%s}}]}' % ("0" * 64),
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","properties":{"a":0.%s}}]}' % ("1" * 70),
    '{"events":[{"event_id":"1\\u0000","event":"a","timestamp":"t"}]}',
    '{"events":[{"event_id":"1","event":"a","timestamp":"t","properties":{"\\uD800":1}}]}',
]


@pytest.mark.parametrize("body", TWICE)
def test_what_is_not_strict_is_never_read_at_once(body: str) -> None:
    assert read_conversions(body.encode()) is None
    with pytest.raises(Unreadable):
        decode_events.read_envelope(body.encode(), received_at=NOW)


@given(st.integers(60, 70), st.integers(0, 9), st.sampled_from(["", "e-9", "E+9"]), st.booleans())
@settings(deadline=None)
def test_a_number_that_is_too_long_is_found_wherever_it_lies(
    length: int, shift: int, exponent: str, at_the_end: bool
) -> None:
    number = "0." + "7" * (length - 2 - len(exponent)) + exponent
    text = f'{{"{"k" * (shift + 1)}":{number}{"" if at_the_end else " " * 20}}}'.encode()
    if length > LONGEST_NUMBER:
        assert not surely_strict(text, 1)
    else:
        assert surely_strict(text, 1)
        parse_json(text)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)))
@settings(deadline=None)
def test_whatever_is_surely_strict_is_strict(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    if surely_strict(text, _keys(value)):
        parse_json(text)


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


@given(SCALARS.filter(lambda value: value is not None))
@settings(deadline=None)
def test_scalars_are_written_as_json_does(value: Any) -> None:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    assert scalar_as_json(value) == json.dumps(whole, ensure_ascii=False)


def test_a_wrong_event_is_named_by_both_ways() -> None:
    with pytest.raises(BadEvent, match="event_id"):
        check_exposure(
            decode_events.read_exposure(json.dumps(PLAIN_EXPOSURE | {"event_id": ""}).encode(), Suggestions())
        )
