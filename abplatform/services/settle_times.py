"""The times of events: as sent, and as they count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from abplatform.domain.events import CLOCK_TOLERANCE, FUTURE_TOLERANCE, read_timestamp, settle_timestamp
from abplatform.warehouse.layout import TIME

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# What Arrow reads as `read_timestamp` does; that one takes leap seconds, small letters and more digits too.
_PLAIN = re.compile(rb"0000-00-00[T ]00:00:00(?:\.0{1,6})?(?:Z|[+-]00:00)")
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")

Moments = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Times:
    """Times of some events, in their order.

    Attributes:
        sent: by the senders' clocks.
        settled: as they count, see `settle_timestamp`.
        received: by the platform's clock.
    """

    sent: pa.Array
    settled: pa.Array
    received: pa.Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What the times of one request are settled by.

    Attributes:
        received_at: the platform's clock.
        skew: receipt minus ``sent_at``.
        oldest: earlier events are refused.
    """

    received_at: datetime
    skew: timedelta
    oldest: datetime

    @classmethod
    def of(cls, received_at: datetime, skew: timedelta, *, max_age: timedelta) -> Clock:
        """The clock of a request, for events that are at most so old."""
        return cls(received_at=received_at, skew=skew, oldest=received_at - max_age)

    def settle(self, text: str) -> tuple[datetime, datetime]:
        """An event's time as it was sent, and as it counts.

        Raises:
            BadEvent: ``BAD_TIMESTAMP``, ``TIMESTAMP_IN_FUTURE`` or ``TIMESTAMP_TOO_OLD``.
        """
        sent = read_timestamp(text)
        settled = settle_timestamp(sent, skew=self.skew, received_at=self.received_at, oldest=self.oldest)
        return sent, settled

    @property
    def shift(self) -> int:
        """By how many microseconds all times are moved."""
        return self.skew // _MICROSECOND if abs(self.skew) > CLOCK_TOLERANCE else 0


def settle_all(texts: Sequence[str], clocks: Sequence[tuple[Clock, int]]) -> Times | None:
    """The times of many events at once; None if one of them has to be looked at by `Clock.settle`.

    Args:
        texts: of the events of one or several requests.
        clocks: of the requests, each with its number of events.
    """
    sent = _read(texts)
    if sent is None:
        return None
    counts = [count for _, count in clocks]
    moments: Moments = sent.view(pa.int64()).to_numpy()
    if np.min(moments) < _FIRST or np.max(moments) > _LAST:
        return None  # Arrow knows a year 0, which neither Python nor the lake can hold.
    if any(abs(clock.skew) > CLOCK_TOLERANCE for clock, _ in clocks):
        moments = moments + np.repeat([clock.shift for clock, _ in clocks], counts)
    oldest = max(_microseconds(clock.oldest) for clock, _ in clocks)
    latest = min(_microseconds(clock.received_at + FUTURE_TOLERANCE) for clock, _ in clocks)
    if np.min(moments) < oldest or np.max(moments) > latest:
        return None
    received = np.repeat([_microseconds(clock.received_at) for clock, _ in clocks], counts)
    return Times(sent, _as_times(moments), _as_times(received))


def as_times(settled: Sequence[tuple[datetime, datetime]], clock: Clock) -> Times:
    """What `Clock.settle` gave for some events of a request, as columns."""
    sent, counted = zip(*settled, strict=True)
    received = pa.repeat(pa.scalar(clock.received_at, TIME), len(settled))
    return Times(pa.array(sent, TIME), pa.array(counted, TIME), received)


def _read(texts: Sequence[str]) -> pa.Array | None:
    column = pa.array(texts, pa.string())
    # Senders write their times in one way: few forms are left when all digits are alike.
    if not all(map(_PLAIN.fullmatch, _forms(column))):
        return None
    try:
        return column.cast(TIME)
    except pa.ArrowInvalid:
        return None


def _forms(column: pa.Array) -> set[bytes]:
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1)
    length = int(ends[1])
    if length and (np.diff(ends) == length).all():
        written = data.to_pybytes().translate(_DIGITS_TO_ZERO)
        if written == written[:length] * len(column):
            return {written[:length]}
    return {text.encode().translate(_DIGITS_TO_ZERO) for text in column.to_pylist()}


def _as_times(moments: Moments) -> pa.Array:
    return pa.array(moments).view(TIME)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


_FIRST = _microseconds(datetime.min.replace(tzinfo=UTC))
_LAST = _microseconds(datetime.max.replace(tzinfo=UTC))
