"""Times, amounts and properties of events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abplatform.domain.events import (
    BadEvent,
    check_event_text,
    read_timestamp,
    read_value,
    scalar_as_json,
    scalars_as_json,
    settle_timestamp,
)
from tests.builders import NOW, later

NO_SKEW = timedelta(0)
OLDEST = NOW - timedelta(days=1095)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T01:02:03Z", datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)),
        ("2026-11-23t01:02:03.5z", datetime(2026, 11, 23, 1, 2, 3, 500_000, tzinfo=UTC)),
        ("2026-11-23 01:02:03.456+08:00", datetime(2026, 11, 22, 17, 2, 3, 456_000, tzinfo=UTC)),
        # Digits beyond microseconds are cut, not rounded.
        ("2026-11-23T01:02:03.123456999Z", datetime(2026, 11, 23, 1, 2, 3, 123_456, tzinfo=UTC)),
        # The leap second at the end of 2016 is the second before it.
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2024-02-29T00:00:00-12:00", datetime(2024, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc(text: str, expected: datetime) -> None:
    assert read_timestamp(text) == expected
    assert read_timestamp(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-23",
        "2026-11-23T01:02:03",  # no offset
        "2026-11-23T01:02Z",
        "2026-W48-1T01:02:03Z",
        "20261123T010203Z",
        "2026-11-23T01:02:03+0800",
        "2026-11-23T01:02:03.Z",
        "2026-11-23T01:02:03.1234567890Z",
        "2026-13-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "2026-11-23T25:00:00Z",
        "2026-11-23T01:02:61Z",
        "2026-11-23T01:02:03+24:00",
        "2026-11-23T01:02:03Z\n",
        "0001-01-01T00:00:00+14:00",  # before the first year in UTC
        "9999-12-31T23:59:59-01:00",
        "10000-01-01T00:00:00Z",
        "２０２６-11-23T01:02:03Z",  # full-width digits
        "1763862123",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(BadEvent) as refusal:
        read_timestamp(text, "sent_at")
    assert (refusal.value.code, refusal.value.field) == ("BAD_TIMESTAMP", "sent_at")
    assert refusal.value.detail.startswith("sent_at: ")


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-11, minutes=-30))]),
    )
)
def test_any_time_comes_back(moment: datetime) -> None:
    assert read_timestamp(moment.isoformat(timespec="microseconds")) == moment


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(seconds=60), timedelta(seconds=-60)])
def test_small_clock_errors_are_left_alone(skew: timedelta) -> None:
    assert settle_timestamp(later(hours=-1), skew=skew, received_at=NOW, oldest=OLDEST) == later(hours=-1)


@pytest.mark.parametrize("skew", [timedelta(seconds=61), timedelta(days=-2), timedelta(days=400)])
def test_large_clock_errors_are_corrected(skew: timedelta) -> None:
    sent = later(hours=-1) - skew
    assert settle_timestamp(sent, skew=skew, received_at=NOW, oldest=OLDEST) == later(hours=-1)


def test_the_future_ends_after_five_minutes() -> None:
    edge = later(minutes=5)
    assert settle_timestamp(edge, skew=NO_SKEW, received_at=NOW, oldest=OLDEST) == edge
    with pytest.raises(BadEvent) as refusal:
        settle_timestamp(edge + timedelta(microseconds=1), skew=NO_SKEW, received_at=NOW, oldest=OLDEST)
    assert refusal.value.code == "TIMESTAMP_IN_FUTURE"


def test_the_past_ends_at_the_oldest_time() -> None:
    assert settle_timestamp(OLDEST, skew=NO_SKEW, received_at=NOW, oldest=OLDEST) == OLDEST
    with pytest.raises(BadEvent) as refusal:
        settle_timestamp(OLDEST - timedelta(microseconds=1), skew=NO_SKEW, received_at=NOW, oldest=OLDEST)
    assert refusal.value.code == "TIMESTAMP_TOO_OLD"


@pytest.mark.parametrize(
    ("sent", "skew", "code"),
    [
        (datetime.max.replace(tzinfo=UTC), timedelta(days=1), "TIMESTAMP_IN_FUTURE"),
        (datetime.min.replace(tzinfo=UTC), timedelta(days=-1), "TIMESTAMP_TOO_OLD"),
    ],
)
def test_the_ends_of_time_are_refused_like_other_times(sent: datetime, skew: timedelta, code: str) -> None:
    with pytest.raises(BadEvent) as refusal:
        settle_timestamp(sent, skew=skew, received_at=NOW, oldest=OLDEST)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (Decimal("350.00"), "350.000000"),
        (Decimal("-0.000001"), "-0.000001"),
        (Decimal("99999999999999.999999"), "99999999999999.999999"),
        (Decimal("1E+3"), "1000.000000"),
        (Decimal("1.5000000000"), "1.500000"),
        (Decimal("0E-50"), "0"),
        (7, "7.000000"),
        (0.1, "0.100000"),
        ("12.34", "12.340000"),
    ],
)
def test_amounts_are_kept_exactly(given_value: Decimal | float | str, expected: str) -> None:
    assert read_value(given_value) == Decimal(expected)


def test_no_amount_is_no_amount() -> None:
    assert read_value(None) is None


@pytest.mark.parametrize(
    "given_value",
    [
        "1e14",
        "-1e14",
        "0.0000001",
        "1e-40",
        "1.2345678",
        "1e999999",
        "-1e999999",
        "1e1000000",
        "-1E+999999999",
        "NaN",
        "sNaN",
        "Infinity",
        "12,5",
        "",
    ],
)
def test_amounts_that_would_not_be_exact_are_refused(given_value: str) -> None:
    with pytest.raises(BadEvent) as refusal:
        read_value(given_value)
    assert (refusal.value.code, refusal.value.field) == ("BAD_VALUE", "value")


@given(st.decimals(min_value=-(10**14) + 1, max_value=10**14 - 1, places=6))
def test_any_amount_of_fourteen_and_six_digits_is_kept(amount: Decimal) -> None:
    assert read_value(amount) == amount
    assert read_value(str(amount)) == amount


@pytest.mark.parametrize("text", ["", "nul\0", "lone \ud800", "x" * 65])
def test_bad_ids_are_refused_by_field(text: str) -> None:
    with pytest.raises(BadEvent) as refusal:
        check_event_text(text, "event_id", most=64)
    assert (refusal.value.code, refusal.value.field) == ("BAD_FIELD", "event_id")


@pytest.mark.parametrize("text", ["x", "x" * 64, "保险", " spaces stay ", "👍"])
def test_ids_may_be_any_text(text: str) -> None:
    check_event_text(text, "event_id", most=64)


def test_properties_keep_their_types() -> None:
    values = {"text": "web", "whole": 3, "half": 1.5, "float": 3.0, "flag": True, "none": None, "zh": "抖音"}
    expected = {"text": '"web"', "whole": "3", "half": "1.5", "float": "3", "flag": "true", "zh": '"抖音"'}
    assert scalars_as_json(values, "properties") == expected


@given(st.text() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_scalars_come_back_equal(value: str | float | bool) -> None:
    assert json.loads(scalar_as_json(value)) == value


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({str(number): 1 for number in range(65)}, "properties"),
        ({"": 1}, "properties"),
        ({"x" * 65: 1}, "properties"),
        ({"nul\0": 1}, "properties"),
        ({"a": "nul\0"}, "properties.a"),
        ({"a": "lone \ud800"}, "properties.a"),
        ({"a": "x" * 1025}, "properties.a"),
    ],
)
def test_bad_properties_are_refused_by_field(values: dict[str, str | int], field: str) -> None:
    with pytest.raises(BadEvent) as refusal:
        scalars_as_json(values, "properties")
    assert (refusal.value.code, refusal.value.field) == ("BAD_FIELD", field)
