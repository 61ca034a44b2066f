"""Points in time in the expressions for the engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

_MICROSECOND = timedelta(microseconds=1)
_TIME = dt.Timestamp(timezone="UTC", scale=6)


@ibis.udf.scalar.builtin(name="unix_micros", signature=((_TIME,), dt.int64))
def micros(_: Any) -> Any:
    """Microseconds since 1970 of a point in time.

    Spark has this function and the next ones; `duckdb_workspace` gives DuckDB their names. Its own arithmetic on times
    with a zone asks a calendar, at a hundred times the cost.
    """


@ibis.udf.scalar.builtin(name="timestamp_micros", signature=((dt.int64,), _TIME))
def from_micros(_: Any) -> Any:
    """The point in time so many microseconds after 1970 began."""


@ibis.udf.scalar.builtin(name="date_from_unix_date", signature=((dt.int32,), dt.date))
def as_date(_: Any) -> Any:
    """The date so many days after the first of 1970."""


def moment(time: datetime) -> Any:
    """A point in time as a literal."""
    return ibis.literal(time, type="timestamp('UTC')")


def shifted(times: ir.TimestampValue, delay: timedelta) -> ir.TimestampValue:
    """Points in time moved by a delay, which may be negative."""
    moved: ir.TimestampValue = from_micros(micros(times) + delay // _MICROSECOND)
    return moved


def between(earlier: ir.TimestampValue, later: ir.TimestampValue) -> ir.IntegerValue:
    """Microseconds from one point in time to another."""
    passed: ir.IntegerValue = micros(later) - micros(earlier)
    return passed
