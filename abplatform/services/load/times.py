"""Times of a column in UTC: texts with an offset, local ones with a time zone, and the timestamps of Parquet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import FUTURE_TOLERANCE, BadEvent, read_timestamp
from abplatform.errors import InvalidInput
from abplatform.services.load.cells import Cells
from abplatform.services.read_table.refusals import Mask
from abplatform.services.read_table.roles import DAY_HINT
from abplatform.warehouse.layout import TIME

OLDEST = datetime(1970, 1, 1, tzinfo=UTC)

_LOCAL = pa.timestamp("us")
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# Exactly what exists of these years, so that no cast fails; the rest is read one by one.
_PLAIN = (
    r"^(?:19|20)\d\d-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
)
_PLAIN_LOCAL = _PLAIN + "$"
_PLAIN_OFFSET = _PLAIN + r"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$"
_OFFSET = r"(?:[Zz]|[+-]\d\d:\d\d)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """What times are read by.

    Attributes:
        zone: the time zone of times without an offset; None where there is none.
        now: the platform's clock.
        oldest: earlier times are refused.
    """

    zone: str | None
    now: datetime
    oldest: datetime = OLDEST

    def read(self, cells: Cells) -> pa.Array:
        """The times in UTC with microseconds, for those rows that are not refused."""
        if pa.types.is_timestamp(cells.values.type):
            cells.refuse(pc.is_null(cells.values), "MISSING_FIELD", "is missing")
            moments = self._timestamps(cells)
        else:
            moments = self._texts(cells)
        latest = pa.scalar(self.now + FUTURE_TOLERANCE, TIME)
        cells.refuse(pc.greater(moments, latest), "TIMESTAMP_IN_FUTURE", "lies more than 5 minutes in the future")
        _refuse_old(cells, pc.less(moments, pa.scalar(self.oldest, TIME)), self.oldest)
        return moments

    def _timestamps(self, cells: Cells) -> pa.Array:
        """Timestamps of any unit; what lies far outside is refused before it could overflow."""
        type_ = cells.values.type
        per_second = _PER_SECOND[type_.unit]
        counts = cells.values.cast(pa.int64())
        # A day more on both sides: local times are not yet in UTC.
        latest = (self.now + FUTURE_TOLERANCE + _DAY - OLDEST) // _MICROSECOND * per_second // 1_000_000
        late, early = pc.greater(counts, latest), pc.less(counts, -86_400 * per_second)
        cells.refuse(late, "TIMESTAMP_IN_FUTURE", "lies more than 5 minutes in the future")
        _refuse_old(cells, early, self.oldest)
        inside = pc.if_else(pc.or_(late, early), None, counts)
        # Digits beyond microseconds are cut.
        moments = inside.cast(pa.timestamp(type_.unit)).cast(_LOCAL, safe=False)
        return moments.cast(pa.int64()).cast(TIME) if type_.tz is not None else self._settle(cells, moments)

    def _texts(self, cells: Cells) -> pa.Array:
        texts = cells.texts()
        cells.refuse(pc.is_null(texts), "MISSING_FIELD", "is missing")
        if self.zone is None:
            return _read_texts(cells, texts, _PLAIN_OFFSET, TIME, _read_absolute)
        absolute = pc.match_substring_regex(texts, _OFFSET)
        moments = _read_texts(cells, pc.if_else(absolute, texts, None), _PLAIN_OFFSET, TIME, read_timestamp)
        local = _read_texts(cells, pc.if_else(absolute, None, texts), _PLAIN_LOCAL, _LOCAL, _read_local)
        return pc.coalesce(moments, self._settle(cells, local))

    def _settle(self, cells: Cells, local: pa.Array) -> pa.Array:
        """Local times in UTC; where clocks are turned, some exist twice and some not at all."""

        def place(ambiguous: str, nonexistent: str) -> pa.Array:
            return pc.assume_timezone(local, self.zone, ambiguous=ambiguous, nonexistent=nonexistent)

        first, second, before = place("earliest", "latest"), place("latest", "latest"), place("latest", "earliest")
        twice, never = pc.not_equal(first, second), pc.not_equal(second, before)
        cells.refuse(twice, "BAD_TIMESTAMP", f"exists twice in {self.zone}, where clocks are turned; give it an offset")
        cells.refuse(never, "BAD_TIMESTAMP", f"does not exist in {self.zone}, where clocks are turned")
        return first.cast(TIME)


def check_zone(zone: str) -> None:
    """Refuse the name of a time zone that is not known here.

    Raises:
        InvalidInput: naming the option.
    """
    try:
        pc.assume_timezone(pa.array([0]).cast(_LOCAL), zone)
    except pa.ArrowInvalid:
        known = f"{zone!r} is no time zone that this machine knows; name one such as Asia/Shanghai"
        raise InvalidInput({"--timezone": [known]}) from None


def _read_texts(
    cells: Cells, texts: pa.Array, plain: str, type_: pa.DataType, read: Callable[[str], datetime]
) -> pa.Array:
    """The times that texts say: the plain ones at once, the others, such as leap seconds, one by one."""
    times = pc.if_else(pc.match_substring_regex(texts, plain), texts, None).cast(type_)
    return cells.read_rest(times, texts, read, code="BAD_TIMESTAMP")


def _read_absolute(text: str) -> datetime:
    _refuse_day(text)
    try:
        return read_timestamp(text)
    except BadEvent as error:
        if not _is_local(text):
            raise
        raise BadEvent(error.code, error.field, "has no offset; name the zone of such times by --timezone") from None


def _read_local(text: str) -> datetime:
    """A time without an offset, by the rules of those with one."""
    _refuse_day(text)
    if not _is_local(text):
        raise BadEvent(
            "BAD_TIMESTAMP", "timestamp", "must be a time such as 2026-11-23T01:02:03, with or without offset"
        )
    return read_timestamp(f"{text}Z").replace(tzinfo=None)


def _refuse_day(text: str) -> None:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is not None:
        raise BadEvent("BAD_TIMESTAMP", "timestamp", f"is a day without a time{DAY_HINT}")


def _is_local(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?", text, re.ASCII) is not None


def _refuse_old(cells: Cells, early: pa.Array | Mask, oldest: datetime) -> None:
    cells.refuse(early, "TIMESTAMP_TOO_OLD", f"lies before {oldest:%Y-%m-%d}, the oldest that is kept")
