"""Metrics on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import (
    DecimalNumber,
    Document,
    Duration,
    Flag,
    Items,
    JsonObject,
    Number,
    Part,
    Strict,
    Text,
    WholeNumber,
    choice,
    key_field,
    time_field,
    write_duration,
)
from abplatform.domain.metric import KINDS, Cap, Measure, Metric, Step, Window
from abplatform.domain.metric_check import BELOW_THE_LINE
from abplatform.storage.metrics import StoredMetric

_WHERE = {"description": "condition on event properties, in the targeting language"}
_VALUE = {"description": "name of the event property that holds the number; without one it is the event's value"}


class WindowSchema(Strict):
    """From when to when after the first exposure a conversion counts."""

    start = Duration(metadata={"default": "PT0S", "format": "duration"})
    end = Duration(required=True, metadata={"format": "duration"})
    calendar = Flag(
        metadata={"default": False, "description": "count days of the project's calendar, from the day of the exposure"}
    )

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Window:
        return Window(**data)


class StepSchema(Strict):
    """A step of a funnel."""

    event = Text(required=True)
    where = JsonObject(metadata=_WHERE)
    within = Duration(
        allow_none=True,
        metadata={"format": "duration", "description": "at most how long after the step before, or the exposure"},
    )

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Step:
        return Step(**data)


class StartSchema(Strict):
    """The event from which time runs."""

    event = Text(required=True)
    where = JsonObject(metadata=_WHERE)

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Measure:
        return Measure(**data)


class DenominatorSchema(StartSchema):
    """What stands below the line of a ratio."""

    value = Text(allow_none=True, metadata=_VALUE)
    aggregation = Text(allow_none=True, metadata=choice(BELOW_THE_LINE, default="count"))


class CapSchema(Strict):
    """The most that a unit counts for: a value, or a quantile that becomes one at the start."""

    value = DecimalNumber(allow_none=True, metadata={"description": "above 0"})
    quantile = Number(allow_none=True, metadata={"description": "of the values that are not 0, before the start"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Cap:
        return Cap(**data)


class MetricChanges(Strict):
    """The fields of a metric that an edit may name."""

    name = Text(required=True)
    kind = Text(required=True, metadata=choice(KINDS))
    description = Text(metadata={"default": "", "description": "for people"})
    event = Text(metadata={"description": "name of the conversion events that it reads; a funnel has steps instead"})
    where = JsonObject(metadata=_WHERE)
    value = Text(allow_none=True, metadata=_VALUE)
    aggregation = Text(
        allow_none=True,
        metadata=choice(
            ("sum", "last", "max", "count", "conversion"),
            description="what the events of a unit are made into, of sum, ratio (above the line) and quantile",
        ),
    )
    denominator = Part(DenominatorSchema, allow_none=True, metadata={"description": "of a ratio"})
    start = Part(StartSchema, allow_none=True, metadata={"description": "of time_to; else the first exposure"})
    steps = Items(Part(StepSchema), metadata={"description": "of a funnel, in order"})
    quantile = Number(metadata={"default": 0.5, "description": "of quantile and time_to, between 0 and 1"})
    over = Text(metadata=choice(("units", "events"), default="units", description="of quantile"))
    direction = Text(metadata=choice(("increase", "decrease"), default="increase"))
    window = Part(WindowSchema, allow_none=True, metadata={"description": "without one, everything counts"})
    minimum_age = Duration(
        metadata={
            "default": "PT0S",
            "format": "duration",
            "description": "units count once their first exposure is so old, also where the window closes earlier",
        }
    )
    cap = Part(CapSchema, allow_none=True, metadata={"description": "of count and sum"})
    outcome = Text(allow_none=True, metadata={"description": "key of the metric that says late what this one hints at"})
    spills_over = Flag(
        metadata={
            "default": False,
            "description": "what one unit does changes the number of others, as invitations do: see docs/metrics.md",
        }
    )
    cuped_lookback = Duration(
        metadata={
            "default": "P14D",
            "format": "duration",
            "description": "how long before the first exposure the covariate of plans with cuped reaches",
        }
    )


class MetricSchema(MetricChanges):
    """What the author of a metric sends."""

    key = key_field()

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Metric:
        return Metric(**data)


class MetricDocument(MetricChanges, Document):
    """A metric as it stands."""

    key = Text()
    version = WholeNumber(
        metadata={"description": "from 1; experiments keep the one that was the newest at their start"}
    )
    version_created_at = time_field("when this version was made, of later ones than the first")
    revision = WholeNumber(metadata={"description": "grows with every change"})
    created_at = time_field("when the metric was made")


def definition_document(metric: Metric) -> dict[str, Any]:
    """What the author of a metric would send, with all fields."""
    window = metric.window
    document: dict[str, Any] = msgspec.to_builtins(metric)
    document["window"] = window and {
        "start": write_duration(window.start),
        "end": write_duration(window.end),
        "calendar": window.calendar,
    }
    for name in ("cuped_lookback", "minimum_age"):
        document[name] = write_duration(getattr(metric, name))
    for step, written in zip(metric.steps, document["steps"], strict=True):
        written["within"] = step.within and write_duration(step.within)
    if metric.start is not None:
        document["start"] = {"event": metric.start.event, "where": metric.start.where}
    return document


def metric_document(stored: StoredMetric) -> dict[str, Any]:
    """The document of a metric."""
    document = definition_document(stored.metric)
    state = {name: getattr(stored, name) for name in ("version", "version_created_at", "revision", "created_at")}
    return document | msgspec.to_builtins(state)
