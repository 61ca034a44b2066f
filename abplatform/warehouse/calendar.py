"""Days of a time zone in the expressions for the engines, without their own idea of time zones.

Days of a zone begin at UTC times that differ from midnight by an offset; which, is known for every day. Days in a row
with the same offset, now and at the end of a delay, are one span, so that a few comparisons take the place of a table
of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir

from abplatform.warehouse.times import as_date, from_micros, micros, moment

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH = _DAY // _MICROSECOND
# Whole days, more than passed from year 1 to 1970: in SQL the remainder of a number below 0 is no time of day.
_AGES = 1_000_000 * _LENGTH


@dataclass(frozen=True, slots=True)
class Span:
    """Days in a row that begin at the same offset, and so do the days that come so much later.

    Attributes:
        first, last: days.
        offset: what midnight is ahead of UTC.
        later: the same of the days that come later.
    """

    first: date
    last: date
    offset: timedelta
    later: timedelta

    @property
    def begins(self) -> datetime:
        """When the first day begins."""
        return datetime.combine(self.first, time.min, UTC) - self.offset


def day_begins(times: ir.TimestampValue, zone: str, days: int, *, between: tuple[date, date]) -> ir.TimestampValue:
    """When the day so many days after that of each time begins in a time zone.

    A day whose midnight comes twice begins at the first; one whose midnight is skipped, when the clocks skip it.

    Args:
        times: any.
        zone: IANA name.
        days: at least 0; 0 for the day of the time itself.
        between: first and last day, in UTC, of the times: the fewer years, the fewer comparisons.
    """
    spans = find_spans(zone, *between, days)
    begins = [_midnight(times, span) + (days * _DAY - span.later) // _MICROSECOND for span in spans]
    found: ir.TimestampValue = from_micros(_choose(times, spans, begins))
    return found


def local_days(times: ir.TimestampValue, zone: str, *, between: tuple[date, date]) -> ir.DateValue:
    """The day of each time in a time zone.

    Args:
        times, zone, between: see `day_begins`.
    """
    spans = find_spans(zone, *between, 0)
    midnight = _choose(times, spans, [_midnight(times, span) for span in spans])
    found: ir.DateValue = as_date((midnight / _LENGTH).cast("int32"))
    return found


@lru_cache(maxsize=256)
def find_spans(zone: str, first: date, last: date, days: int) -> tuple[Span, ...]:
    """The spans of a time zone that times of some days, in UTC, may lie in.

    Args:
        zone: IANA name.
        first, last: the days.
        days: how much later the other offset of each span is.

    >>> [(str(span.first), span.offset) for span in find_spans("Asia/Shanghai", date(1991, 9, 1), date(2026, 1, 1), 0)]
    [('1991-08-31', datetime.timedelta(seconds=32400)), ('1991-09-16', datetime.timedelta(seconds=28800))]
    """
    # The local day may be the one before or after.
    dates = [first + number * _DAY for number in range(-1, (last - first).days + days + 2)]
    offsets = [_offset(each, zone) for each in dates]
    spans: list[Span] = []
    for day, offset, later in zip(dates, offsets, offsets[days:], strict=False):
        if spans and (spans[-1].offset, spans[-1].later) == (offset, later):
            spans[-1] = Span(spans[-1].first, day, offset, later)
        else:
            spans.append(Span(day, day, offset, later))
    return tuple(spans)


def _offset(day: date, zone: str) -> timedelta:
    # Where midnight does not exist, or twice, this is when the day begins.
    return datetime.combine(day, time.min, ZoneInfo(zone)).utcoffset() or timedelta(0)


def _midnight(times: ir.TimestampValue, span: Span) -> ir.IntegerValue:
    """Microseconds from 1970 to the midnight of the local day, as if that were in UTC."""
    now = micros(times) + span.offset // _MICROSECOND
    # The last day of a span may have 25 hours.
    last = (datetime.combine(span.last, time.min, UTC) - _EPOCH) // _MICROSECOND
    midnight = now - (now + _AGES) % _LENGTH
    return ibis.ifelse(midnight > last, last, midnight)


def _choose(times: ir.TimestampValue, spans: Sequence[Span], found: Sequence[ir.IntegerValue]) -> ir.IntegerValue:
    """What was found for the span of each time."""
    # The latest first: most times are of these years.
    pairs = list(zip(spans[1:], found[1:], strict=True))
    branches = [(times >= moment(span.begins), each) for span, each in reversed(pairs)]
    return ibis.cases(*branches, else_=found[0]) if branches else found[0]
