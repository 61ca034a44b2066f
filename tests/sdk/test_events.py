"""Encoding of events: values in, bytes or a drop reason out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from abplatform_sdk.events import (
    Subject,
    Unsendable,
    amount_text,
    encode_conversion,
    encode_exposure,
    new_event_id,
    utc_text,
)
from hypothesis import given
from hypothesis import strategies as st

from abplatform.domain.events import read_timestamp, read_value

NOW = 1_795_000_000.123456
LARGEST = Decimal("99999999999999.999999")


def conversion(event: object = "purchase", unit_id: object = "u-1", **fields: object) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(encode_conversion(event, unit_id, **fields, now=NOW))
    return decoded


def test_event_ids_are_uuid_version_7() -> None:
    # RFC 9562, appendix A.6: 2022-02-22 14:22:22-05:00 is 0x017F22E279B0 milliseconds.
    event_id = new_event_id(0x017F22E279B0 / 1000)
    assert event_id[:15] == "017f22e2-79b0-7"
    assert event_id[19] in "89ab"
    assert [len(part) for part in event_id.split("-")] == [8, 4, 4, 4, 12]


def test_event_ids_differ_and_sort_by_time() -> None:
    ids = [new_event_id(NOW + step / 1000) for step in range(1000)]
    assert len(set(ids)) == 1000
    assert [event_id[:13] for event_id in ids] == sorted(event_id[:13] for event_id in ids)
    assert len({new_event_id(NOW) for _ in range(10_000)}) == 10_000


def test_a_conversion_carries_exactly_the_fields_of_the_contract() -> None:
    plain = conversion()
    assert set(plain) == {"event_id", "event", "unit_id", "timestamp"}
    assert read_timestamp(plain["timestamp"]) == datetime.fromtimestamp(NOW, UTC)
    full = conversion(
        value=Decimal("350.00"),
        properties={"product": "term-deposit", "days": 30, "rate": 3.5, "new": True, "code": None},
        units={"device_id": "d-1"},
        timestamp=datetime(2026, 11, 23, 1, 5, tzinfo=timezone(timedelta(hours=8))),
        event_id="order-77",
    )
    assert full == {
        "event_id": "order-77",
        "event": "purchase",
        "unit_id": "u-1",
        "timestamp": "2026-11-22T17:05:00.000000Z",
        "value": "350",
        "properties": {"product": "term-deposit", "days": 30, "rate": 3.5, "new": True, "code": None},
        "units": {"device_id": "d-1"},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("350.00"), "350"),
        (0, "0"),
        (-0.0, "0"),
        (-0.0000001, "0"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.3"),
        ("12.5", "12.5"),
        (Fraction(1, 3), "0.333333"),
        (np.float64(2.5), "2.5"),
        (np.int64(7), "7"),
        (np.float32(0.1), "0.1"),
        # Half-even: a tie goes to the even sixth digit.
        (Decimal("0.0000005"), "0"),
        (Decimal("0.0000015"), "0.000002"),
        (Decimal("0.0000025"), "0.000002"),
        (Decimal("-0.0000015"), "-0.000002"),
        (LARGEST, "99999999999999.999999"),
        (-LARGEST, "-99999999999999.999999"),
        (Decimal("99999999999999.9999994"), "99999999999999.999999"),
        (Decimal("1E-999999"), "0"),
        (Decimal("0E+50"), "0"),
        (100_000, "100000"),
    ],
)
def test_amounts_are_rounded_half_even_to_six_places(value: object, text: str) -> None:
    assert amount_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"), Decimal("Infinity"), Decimal("sNaN"), float("nan"), float("-inf"), 1e14, 10**14, 10**5000,
        Decimal("99999999999999.9999995"), Decimal("1E+999999"), "money", "", "nan", True, False, b"1", [], 1j,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_amount_that_the_platform_cannot_hold_drops_the_conversion(value: object) -> None:
    with pytest.raises(Unsendable, match="invalid_value"):
        conversion(value=value)


@given(st.decimals(min_value=-LARGEST, max_value=LARGEST, allow_nan=False))
def test_the_platform_reads_each_amount_within_half_a_millionth(value: Decimal) -> None:
    read = read_value(amount_text(value))
    assert read is not None
    assert abs(Fraction(read) - Fraction(value)) <= Fraction(1, 2_000_000)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event": ""}, "invalid_event"),
        ({"event": "x" * 129}, "invalid_event"),
        ({"event": None}, "invalid_event"),
        ({"unit_id": ""}, "invalid_unit"),
        ({"unit_id": 17}, "invalid_unit"),
        ({"unit_id": "x" * 257}, "invalid_unit"),
        ({"unit_id": "a\0"}, "invalid_unit"),
        ({"unit_id": "\ud800"}, "invalid_unit"),
        ({"units": {"device_id": ""}}, "invalid_unit"),
        ({"units": "device"}, "invalid_unit"),
        ({"event_id": ""}, "invalid_event_id"),
        ({"event_id": "x" * 65}, "invalid_event_id"),
        ({"timestamp": "2026-11-23"}, "invalid_timestamp"),
        ({"timestamp": datetime(2026, 11, 23)}, "invalid_timestamp"),  # noqa: DTZ001 (that is what is wrong)
        ({"timestamp": datetime.min.replace(tzinfo=timezone(timedelta(hours=8)))}, "invalid_timestamp"),
        ({"properties": []}, "invalid_properties"),
        ({"properties": {"a": {"b": 1}}}, "invalid_properties"),
        ({"properties": {"a": float("nan")}}, "invalid_properties"),
        ({"properties": {"a": 2**63}}, "invalid_properties"),
        ({"properties": {"a": Decimal(1)}}, "invalid_properties"),
        ({"properties": {"a": "x" * 1025}}, "invalid_properties"),
        ({"properties": {"": 1}}, "invalid_properties"),
        ({"properties": {1: 1}}, "invalid_properties"),
        ({"properties": {str(name): 1 for name in range(65)}}, "invalid_properties"),
        ({"properties": {str(name): "文" * 1024 for name in range(64)}}, "too_large"),
    ],
)
def test_what_the_platform_would_refuse_is_dropped_by_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unsendable, match=reason):
        conversion(**fields)


def test_an_exposure_carries_exactly_the_fields_of_the_contract() -> None:
    what = {"experiment": "rate-display", "phase": 2, "variant": "treatment"}
    decoded = json.loads(encode_exposure(what, Subject("u-1", {}, {}), now=NOW))
    assert set(decoded) == {"event_id", "experiment", "phase", "variant", "unit_id", "timestamp"}
    assert decoded["timestamp"] == utc_text(NOW)
    more = json.loads(encode_exposure(what, Subject("u-1", {}, {"channel": "抖音"}), now=NOW))
    assert more["attributes"] == {"channel": "抖音"}
