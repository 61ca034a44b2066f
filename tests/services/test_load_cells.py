"""What cells of a table mean, and why others are refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abplatform.domain.events import BadEvent, read_timestamp, read_value
from abplatform.services.load import event_ids
from abplatform.services.load.amounts import read_amounts
from abplatform.services.load.cells import Cells
from abplatform.services.load.event_ids import EventIds
from abplatform.services.load.scalars import read_scalars
from abplatform.services.load.times import Calendar
from abplatform.services.read_table.refusals import Refusals
from tests.builders import NOW, later


def read(values: pa.Array, reader: Callable[[Cells], pa.Array]) -> tuple[list[Any], dict[int, tuple[str, str]]]:
    """What the good cells mean, and code and detail of the others by row."""
    refusals = Refusals(np.arange(len(values)))
    found = reader(Cells("column", values, refusals)).to_pylist()
    good = [value for value, is_good in zip(found, refusals.good, strict=True) if is_good]
    return good, {fault.row: (fault.code, fault.detail) for fault in refusals.faults}


def times(values: list[Any], zone: str | None = None) -> Any:
    return read(pa.array(values), Calendar(zone=zone, now=NOW).read)


def as_http(read_one: Callable[[str], Any], texts: list[str]) -> tuple[list[Any], list[int]]:
    """What HTTP makes of texts, and which of them it refuses."""
    found, refused = [], []
    for number, text in enumerate(texts):
        try:
            found.append(read_one(text))
        except BadEvent:
            refused.append(number)
    return found, refused


TIMES = [
    "2026-03-03T10:00:00Z",
    "2026-03-03 10:00:00+08:00",
    "2026-03-03t10:00:00.123456789z",
    "2024-02-29T23:59:60-11:30",
    "2026-02-29T10:00:00Z",
    "2026-04-31T10:00:00Z",
    "2026-03-03T24:00:00Z",
    "2026-03-03T10:00:00",
    "2026-03-03T10:00Z",
    "2026-03-03",
    "1772532000",
    "2026-03-03T10:00:00+8:00",
    "2026-03-03T10:00:00+25:00",
    "2026-13-03T10:00:00Z",
    " 2026-03-03T10:00:00Z",
    "1999-12-31T23:59:59.5+14:00",
]


def test_times_mean_what_they_mean_over_http() -> None:
    found, refused = as_http(read_timestamp, TIMES)
    good, faults = times(TIMES)
    assert good == found
    assert list(faults) == refused
    assert {code for code, _ in faults.values()} == {"BAD_TIMESTAMP"}
    assert "--timezone" in faults[7][1]


def test_local_times_are_those_of_their_zone() -> None:
    """Berlin turned its clocks from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2025-10-26."""
    good, faults = times(
        [
            "2026-03-29T01:59:59",
            "2026-03-29T02:00:00",
            "2026-03-29 02:59:59.999999",
            "2026-03-29T03:00:00",
            "2025-10-26T01:59:59",
            "2025-10-26T02:00:00",
            "2025-10-26T02:59:59.999999",
            "2025-10-26T03:00:00",
            "2025-10-26T02:30:00+02:00",
            "2026-06-30T23:59:60",
            "",
            "10:00",
        ],
        "Europe/Berlin",
    )
    assert good == [
        datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2025, 10, 25, 23, 59, 59, tzinfo=UTC),
        datetime(2025, 10, 26, 2, 0, tzinfo=UTC),
        datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
        datetime(2026, 6, 30, 21, 59, 59, tzinfo=UTC),
    ]
    never = ("BAD_TIMESTAMP", "does not exist in Europe/Berlin, where clocks are turned")
    twice = ("BAD_TIMESTAMP", "exists twice in Europe/Berlin, where clocks are turned; give it an offset")
    assert {row: faults[row] for row in (1, 2, 5, 6)} == {1: never, 2: never, 5: twice, 6: twice}
    assert [faults[row][0] for row in (10, 11)] == ["MISSING_FIELD", "BAD_TIMESTAMP"]


def test_a_time_is_neither_in_the_future_nor_before_1970() -> None:
    texts = [later(minutes=5).isoformat(), later(minutes=5, seconds=1).isoformat()]
    good, faults = times([*texts, "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00"])
    assert good == [later(minutes=5), datetime(1970, 1, 1, tzinfo=UTC)]
    assert [faults[row][0] for row in (1, 3)] == ["TIMESTAMP_IN_FUTURE", "TIMESTAMP_TOO_OLD"]
    assert faults[4][0] in {"BAD_TIMESTAMP", "TIMESTAMP_TOO_OLD"}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_are_read_and_none_overflows(unit: str) -> None:
    extremes = [2**63 - 1, -(2**63), 1_772_532_000 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit], None]
    type_ = pa.timestamp(unit, tz="Asia/Shanghai")
    good, faults = read(pa.array(extremes, pa.int64()).cast(type_), Calendar(zone=None, now=NOW).read)
    assert good == [datetime(2026, 3, 3, 10, tzinfo=UTC)]
    assert [faults[row][0] for row in (0, 1, 3)] == ["TIMESTAMP_IN_FUTURE", "TIMESTAMP_TOO_OLD", "MISSING_FIELD"]


def test_timestamps_without_a_zone_are_local() -> None:
    local = pa.array(["2026-03-03 18:00:00", "2026-03-29 02:30:00"]).cast(pa.timestamp("ns"))
    good, faults = read(local, Calendar(zone="Europe/Berlin", now=NOW).read)
    assert good == [datetime(2026, 3, 3, 17, tzinfo=UTC)]
    assert "does not exist" in faults[1][1]
    old = pa.array(["1970-01-01 01:00:00"]).cast(pa.timestamp("s"))
    assert read(old, Calendar(zone="Asia/Shanghai", now=NOW).read)[1][0][0] == "TIMESTAMP_TOO_OLD"


def test_amounts_mean_what_they_mean_over_http() -> None:
    texts = ["12.5", "-0.000001", "99999999999999.999999", "1e3", "15E-6", "0.1000000", "007", "-0"]
    wrong = [
        "100000000000000",
        "0.0000001",
        "1.2345678",
        "1.5E-6",
        "x",
        " 1",
        "1,5",
        "+1",
        ".5",
        "NaN",
        "1_000",
        "\u0661",
        "1e999",
    ]
    good, faults = read(pa.array([*texts, *wrong, ""]), read_amounts)
    assert good == [*map(read_value, texts), None]
    assert [faults[row][0] for row in range(len(texts), len(texts) + len(wrong))] == ["BAD_VALUE"] * len(wrong)


@pytest.mark.parametrize(
    ("values", "good"),
    [
        (pa.array([1, None, 2**40]), [Decimal(1), None, Decimal(2**40)]),
        (pa.array([0.1, float("nan"), 1e6]), [Decimal("0.1"), None, Decimal(1_000_000)]),
        (pa.array([0.5, 1e20, float("inf"), 0.1 + 0.2]), [Decimal("0.5")]),
        (
            pa.array([Decimal("1.5"), Decimal("99999999999999")], pa.decimal128(16, 2)),
            [Decimal("1.5"), Decimal(10**14 - 1)],
        ),
        (pa.array([Decimal("1.5"), Decimal("1.00000001")], pa.decimal128(38, 10)), [Decimal("1.5")]),
        (pa.array([Decimal("1.5"), Decimal(10**14)], pa.decimal256(50, 6)), [Decimal("1.5")]),
    ],
)
def test_amounts_of_parquet_are_exact_or_refused(values: pa.Array, good: list[Decimal | None]) -> None:
    found, faults = read(values, read_amounts)
    assert found == good
    assert {code for code, _ in faults.values()} <= {"BAD_VALUE"}


@pytest.mark.parametrize(
    ("form", "texts", "written", "refused"),
    [
        (
            "number",
            ["18", "-1.50", "2e3", "3.0", "018", "x", "1e999", ""],
            ["18", "-1.5", "2000", "3", None],
            [4, 5, 6],
        ),
        ("boolean", ["true", "FALSE", "1", ""], ["true", "false", None], [2]),
        (
            "text",
            ["018", 'a "b"\n', "\u4e2d", "", "x" * 1025, "a\0b"],
            ['"018"', '"a \\"b\\"\\n"', '"\u4e2d"', None],
            [4, 5],
        ),
    ],
)
def test_properties_are_what_they_are_said_to_be(
    form: Any, texts: list[str], written: list[str | None], refused: list[int]
) -> None:
    good, faults = read(pa.array(texts), lambda cells: read_scalars(cells, form))
    assert good == written
    assert list(faults) == refused
    assert {code for code, _ in faults.values()} == {"BAD_FIELD"}


def test_names_are_1_to_most_characters() -> None:
    texts = ["\u4e2d" * 4, "\u4e2d" * 5, "", "a\0"]
    good, faults = read(pa.array(texts), lambda cells: cells.names(most=4))
    assert good == ["\u4e2d" * 4]
    assert [faults[row][0] for row in (1, 2, 3)] == ["BAD_FIELD", "MISSING_FIELD", "BAD_FIELD"]


# Ids of events that have none.


def derive(ids: EventIds, *rows: tuple[datetime, str | None, str | None]) -> list[str]:
    moments, *fields = zip(*rows, strict=True)
    columns = [pa.array(field, pa.string()) for field in fields]
    return [str(each) for each in ids.derive(pa.array(moments, pa.timestamp("us", tz="UTC")), columns).to_pylist()]


def test_an_id_is_a_uuid_of_version_8_that_begins_with_the_time() -> None:
    with EventIds("conversion") as ids:
        (made,) = derive(ids, (NOW, "a", "b"))
    parsed = uuid.UUID(made)
    assert (str(parsed), parsed.version, parsed.variant) == (made, 8, uuid.RFC_4122)
    milliseconds = (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parsed.int >> 80 == milliseconds


def test_rows_that_say_different_things_have_different_ids() -> None:
    rows = [("a", "b"), ("ab", None), (None, "ab"), ("a", "b:"), ("1:a", "b"), ("", "ab")]
    with EventIds("conversion") as one, EventIds("exposure") as other:
        made = [*derive(one, *((NOW, *row) for row in rows)), *derive(one, (later(seconds=1), "a", "b"))]
        made += derive(other, (NOW, "a", "b"))
    assert len(set(made)) == len(rows) + 2


def test_equal_rows_are_numbered_over_all_pieces_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(NOW, "abc"[number % 3], None) for number in range(30)]
    with EventIds("conversion") as ids:
        at_once = derive(ids, *rows)
    monkeypatch.setattr(event_ids, "RUN", 5)
    with EventIds("conversion") as ids:
        in_pieces = [each for start in range(0, 30, 3) for each in derive(ids, *rows[start : start + 3])]
    assert at_once == in_pieces
    assert len(set(at_once)) == 30
