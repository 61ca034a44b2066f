"""Days of a time zone in the expressions for the engines, without their own idea of time zones.

Days of a zone begin at UTC times that differ from midnight by an offset; which, is known for every day. Days in a row
with the same offset are one span, so that a few comparisons take the place of a table of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir

from abplatform.warehouse.times import moment, shifted

_DAY = timedelta(days=1)
_FIRST_DAY = date(1990, 1, 1)
# Windows may reach ten years beyond the present.
_AHEAD = 11 * 366


@dataclass(frozen=True, slots=True)
class Span:
    """Days in a row that begin at the same offset.

    Attributes:
        first, last: days.
        offset: what midnight is ahead of UTC.
    """

    first: date
    last: date
    offset: timedelta

    @property
    def begins(self) -> datetime:
        """When the first day begins."""
        return datetime.combine(self.first, time.min, UTC) - self.offset


def day_begins(times: ir.TimestampValue, zone: str, days: int, *, as_of: datetime) -> ir.TimestampValue:
    """When the day so many days after that of each time begins in a time zone.

    Args:
        times: from 1990 to ``as_of``, give or take a day.
        zone: IANA name.
        days: at least 0; 0 for the day of the time itself.
        as_of: the present.
    """
    spans = find_spans(zone, as_of.date())
    local = _choose(
        [(times < moment(following.begins), _local_day(times, span)) for span, following in pairwise(spans)],
        _local_day(times, spans[-1]),
    )
    day = shifted(local, days * _DAY)
    return _choose(
        [(day <= _midnight(span.last), shifted(day, -span.offset)) for span in spans[:-1]],
        shifted(day, -spans[-1].offset),
    )


@lru_cache(maxsize=64)
def find_spans(zone: str, present: date) -> tuple[Span, ...]:
    """The spans of a time zone from 1990 until eleven years after a day.

    >>> [(str(span.first), span.offset) for span in find_spans("Asia/Shanghai", date(2026, 1, 1))][-1]
    ('1991-09-15', datetime.timedelta(seconds=28800))
    """
    place = ZoneInfo(zone)
    spans: list[Span] = []
    for number in range((present - _FIRST_DAY).days + _AHEAD):
        day = _FIRST_DAY + number * _DAY
        # Where midnight does not exist, or twice, this is when the day begins.
        offset = datetime.combine(day, time.min, place).utcoffset() or timedelta(0)
        if spans and spans[-1].offset == offset:
            spans[-1] = Span(spans[-1].first, day, offset)
        else:
            spans.append(Span(day, day, offset))
    return tuple(spans)


def _local_day(times: ir.TimestampValue, span: Span) -> ir.TimestampValue:
    """Midnight, as if it were UTC, of the local day; the last day of a span may have 25 hours."""
    return ibis.least(shifted(times, span.offset).truncate("D"), _midnight(span.last))


def _midnight(day: date) -> ir.TimestampScalar:
    return moment(datetime.combine(day, time.min, UTC))


def _choose(
    branches: Sequence[tuple[ir.BooleanValue, ir.TimestampValue]], else_: ir.TimestampValue
) -> ir.TimestampValue:
    return ibis.cases(*branches, else_=else_) if branches else else_
