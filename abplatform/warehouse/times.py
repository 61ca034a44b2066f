"""Points in time in the expressions for the engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir


def moment(time: datetime) -> Any:
    """A point in time as a literal."""
    return ibis.literal(time, type="timestamp('UTC')")


def shifted(times: ir.TimestampValue, delay: timedelta) -> ir.TimestampValue:
    """Points in time moved by a delay, which may be negative."""
    interval = ibis.interval(microseconds=abs(delay) // timedelta(microseconds=1))
    return times - interval if delay < timedelta(0) else times + interval
