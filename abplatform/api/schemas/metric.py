"""Metrics on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import (
    Document,
    Duration,
    JsonObject,
    Part,
    Strict,
    Text,
    WholeNumber,
    choice,
    key_field,
    time_field,
    write_duration,
)
from abplatform.domain.metric import KINDS, Metric, Window
from abplatform.storage.metrics import StoredMetric


class WindowSchema(Strict):
    """From when to when after the first exposure a conversion counts."""

    start = Duration(metadata={"default": "PT0S", "format": "duration"})
    end = Duration(required=True, metadata={"format": "duration"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Window:
        return Window(**data)


class Conditions(JsonObject):
    """Equality conditions on event properties; an array means any of."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        conditions = super()._deserialize(value, attr, data, **kwargs)
        return {name: tuple(wanted) if isinstance(wanted, list) else wanted for name, wanted in conditions.items()}


class MetricChanges(Strict):
    """The fields of a metric that an edit may name."""

    name = Text(required=True)
    kind = Text(required=True, metadata=choice(KINDS))
    event = Text(required=True, metadata={"description": "name of the conversion events that it reads"})
    where = Conditions(metadata={"description": "equality conditions on event properties; an array means any of"})
    direction = Text(metadata=choice(("increase", "decrease"), default="increase"))
    window = Part(WindowSchema, allow_none=True, metadata={"description": "without one, everything counts"})
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
    revision = WholeNumber(metadata={"description": "grows with every change"})
    created_at = time_field("when it was made")


def metric_document(stored: StoredMetric) -> dict[str, Any]:
    """The document of a metric."""
    metric, window = stored.metric, stored.metric.window
    document: dict[str, Any] = msgspec.to_builtins(metric)
    document["window"] = window and {"start": write_duration(window.start), "end": write_duration(window.end)}
    document["cuped_lookback"] = write_duration(metric.cuped_lookback)
    return document | {"revision": stored.revision, "created_at": msgspec.to_builtins(stored.created_at)}
