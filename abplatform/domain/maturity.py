"""How far the windows of a metric have closed, as results tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric

_LONGER_DAYS = timedelta(days=1)
"""Days of a calendar may be longer than 24 hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maturity:
    """How far the windows of a metric have closed.

    Attributes:
        known_share: share of the units of all variants whose window has closed; null without units.
        closes_by: when that of all units that are in now will have closed, at the latest; null where none is open, and
            where those that are never close, since the experiment was stopped.
    """

    known_share: float | None
    closes_by: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LateOutcome:
    """What a metric is an early sign of, beside it: the outcome has a result of its own in the same scorecard.

    Attributes:
        metric: key of the outcome.
        known_share, closes_by: see `Maturity`.
        known_units: units whose window has closed, by variant.
        verdicts: of the outcome, by treatment.
    """

    metric: str
    known_share: float | None
    closes_by: datetime | None
    known_units: Mapping[str, int]
    verdicts: Mapping[str, str]


def last_close(metric: Metric, request: AggregationRequest, data_through: datetime | None) -> datetime | None:
    """When the windows of all units that are in will have closed, at the latest.

    Nobody enters after the end of enrolment, nor after the newest event was received.

    Args:
        metric: whose windows.
        request: says who may be in.
        data_through: latest receipt of an event.

    Returns:
        None where what comes later does not count, so that open windows never close.
    """
    if request.until is not None:
        return None
    ends = (request.as_of, request.enrolled_until, data_through)
    last_entry = min(end for end in ends if end is not None)
    longer = _LONGER_DAYS if metric.window is not None and metric.window.calendar else timedelta(0)
    return last_entry + metric.closes_after + longer
