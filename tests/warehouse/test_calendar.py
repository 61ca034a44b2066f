"""Days of time zones in DuckDB, against clocks that `zoneinfo` shows (`kind_oracle.day_start`)."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import duckdb
import ibis
import pytest

from abplatform.warehouse.calendar import day_begins, find_spans, local_days
from abplatform.warehouse.duckdb_workspace import DuckDBWorkspace
from tests.warehouse.kind_oracle import day_start, local_day

DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
FIRST, LAST = date(1990, 1, 1), date(2037, 12, 31)
DELAYS = (0, 1, 30)
# Midnight comes twice in Havana, does not come in Sao Paulo and Cairo; in St. John's clocks went back at 0:01. Apia
# had no 30 December 2011.
ZONES = (
    "UTC",
    "Asia/Shanghai",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "Africa/Cairo",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)


def instants_of(zone: str) -> list[datetime]:
    """Random ones, and those around the beginnings of some days on which clocks change."""
    rng, place = random.Random(zone), ZoneInfo(zone)
    days = [FIRST + number * DAY for number in range((LAST - FIRST).days)]
    offsets = [datetime.combine(day, time(12), place).utcoffset() for day in days]
    changes = [index for index in range(1, len(days)) if offsets[index] != offsets[index - 1]]
    some = rng.sample(changes, min(len(changes), 20))
    chosen = [days[index + shift] for index in some for shift in (-1, 0, 1)] + rng.sample(days, 30)
    begin = datetime.combine(FIRST, time.min, UTC)
    found = [day_start(day, zone) + delay for day in chosen for delay in (-TICK, 0 * TICK, rng.random() * DAY)]
    found += [begin + rng.random() * (LAST - FIRST) for _ in range(100)]
    return [instant for instant in found if FIRST <= instant.date() <= LAST]


def check_days(zone: str, instants: list[datetime], between: tuple[date, date]) -> None:
    """Compare the days of instants, and when they and later ones begin, with what clocks show."""
    rows = {"number": list(range(len(instants))), "at": instants}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        workspace = DuckDBWorkspace(connection)
        times = workspace.keep("times", ibis.memtable(rows, schema={"number": "int64", "at": "timestamp('UTC', 6)"}))
        begins = {f"in_{days}": day_begins(times["at"], zone, days, between=between) for days in DELAYS}
        found = times.select("number", day=local_days(times["at"], zone, between=between), **begins)
        found = workspace.rows(found.order_by("number"))
    days = [local_day(instant, zone) for instant in instants]
    assert [row["day"] for row in found] == days
    for delay in DELAYS:
        expected = [day_start(day + delay * DAY, zone) for day in days]
        assert [row[f"in_{delay}"].astimezone(UTC) for row in found] == expected


@pytest.mark.parametrize("zone", ZONES)
def test_days_begin_when_clocks_say_so(zone: str) -> None:
    check_days(zone, instants_of(zone), (FIRST, LAST))


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Asia/Shanghai"])
def test_days_begin_when_clocks_say_so_where_1970_has_not_begun(zone: str) -> None:
    """The oldest times that an import takes are of the year before, west of Greenwich."""
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    instants = [begin + hours * timedelta(hours=1) - tick for hours in range(-30, 30) for tick in (0 * TICK, TICK)]
    check_days(zone, instants, (date(1969, 12, 30), date(1970, 1, 3)))


def test_a_few_weeks_are_a_few_spans() -> None:
    # Clocks went back on 25 October 2026.
    spans = find_spans("Europe/Berlin", date(2026, 10, 1), date(2026, 11, 20), 7)
    assert [(span.first, span.offset, span.later) for span in spans] == [
        (date(2026, 9, 30), timedelta(hours=2), timedelta(hours=2)),
        (date(2026, 10, 19), timedelta(hours=2), timedelta(hours=1)),
        (date(2026, 10, 26), timedelta(hours=1), timedelta(hours=1)),
    ]
