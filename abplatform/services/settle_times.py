"""The times of events: as sent, and as they count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from abplatform.domain.events import CLOCK_TOLERANCE, FUTURE_TOLERANCE, read_timestamp, settle_timestamp
from abplatform.warehouse.layout import TIME

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# What Arrow reads as `read_timestamp` does; that one takes leap seconds, small letters and more digits too.
_PLAIN = re.compile(rb"0000-00-00[T ]00:00:00(?:\.0{1,6})?(?:Z|[+-]00:00)")
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")


@dataclass(frozen=True, slots=True)
class Times:
    """Times of some events, in their order.

    Attributes:
        sent: by the senders' clocks.
        settled: as they count, see `settle_timestamp`.
    """

    sent: pa.Array
    settled: pa.Array


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

    def settle(self, text: str) -> tuple[datetime, datetime]:
        """An event's time as it was sent, and as it counts.

        Raises:
            BadEvent: ``BAD_TIMESTAMP``, ``TIMESTAMP_IN_FUTURE`` or ``TIMESTAMP_TOO_OLD``.
        """
        sent = read_timestamp(text)
        settled = settle_timestamp(sent, skew=self.skew, received_at=self.received_at, oldest=self.oldest)
        return sent, settled

    def settle_all(self, texts: Sequence[str]) -> Times | None:
        """The times of many events at once; None if one of them has to be looked at by `settle`."""
        # Senders write their times in one way: few forms are left when all digits are alike.
        forms = set("\n".join(texts).encode().translate(_DIGITS_TO_ZERO).split(b"\n"))
        if not all(map(_PLAIN.fullmatch, forms)):
            return None
        try:
            sent = pa.array(texts, pa.string()).cast(TIME)
        except pa.ArrowInvalid:
            return None
        moments = sent.cast(pa.int64()).to_numpy()
        if np.min(moments) < _FIRST or np.max(moments) > _LAST:
            return None  # Arrow knows a year 0, which neither Python nor the lake can hold.
        if abs(self.skew) > CLOCK_TOLERANCE:
            moments = moments + self.skew // _MICROSECOND
        latest = _microseconds(self.received_at + FUTURE_TOLERANCE)
        if np.min(moments) < _microseconds(self.oldest) or np.max(moments) > latest:
            return None
        return Times(sent, pa.array(moments).cast(TIME))


def as_times(settled: Sequence[tuple[datetime, datetime]]) -> Times:
    """What `Clock.settle` gave for some events, as columns."""
    sent, counted = zip(*settled, strict=True)
    return Times(pa.array(sent, TIME), pa.array(counted, TIME))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


_FIRST = _microseconds(datetime.min.replace(tzinfo=UTC))
_LAST = _microseconds(datetime.max.replace(tzinfo=UTC))
