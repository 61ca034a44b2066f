"""Behaviours on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import (
    DecimalNumber,
    Document,
    Duration,
    Items,
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
from abplatform.domain.behaviour import KINDS, Behaviour, FrequencyBins, MoneyBins, RecencyBins
from abplatform.domain.metric import Measure
from abplatform.storage.behaviours import StoredBehaviour

_WHERE = {"description": "condition on event properties, in the targeting language"}
_EDGES = "ascending; a number at an edge belongs to the group that the edge ends"
_DURATION = {"format": "duration"}


class ActivitySchema(Strict):
    """Events that count as an activity."""

    event = Text(required=True)
    where = JsonObject(metadata=_WHERE)

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Measure:
        return Measure(**data)


class AmountEventsSchema(ActivitySchema):
    """Events whose values are money."""

    value = Text(
        allow_none=True,
        metadata={"description": "name of the event property that holds the amount; else it is the event's value"},
    )


class BinsSchema(Strict):
    """How a number is cut into groups: at fixed edges, or at quantiles that become edges in each version."""

    quantiles = WholeNumber(allow_none=True, metadata={"description": "into how many groups, 2 to 10"})
    high_from = WholeNumber(
        allow_none=True,
        metadata={"description": "from which score on a unit has much of it; the upper half of them by default"},
    )


class RecencySchema(BinsSchema):
    """How the time since the last activity is cut."""

    edges = Items(Duration(metadata=_DURATION), metadata={"description": _EDGES})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> RecencyBins:
        return RecencyBins(**data)


class FrequencySchema(BinsSchema):
    """How the number of activities is cut."""

    edges = Items(WholeNumber(), metadata={"description": _EDGES})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> FrequencyBins:
        return FrequencyBins(**data)


class MoneySchema(BinsSchema):
    """How the sum of amounts is cut."""

    edges = Items(DecimalNumber(), metadata={"description": _EDGES})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> MoneyBins:
        return MoneyBins(**data)


class BehaviourChanges(Strict):
    """The fields of a behaviour that a next version may name."""

    name = Text(required=True)
    kind = Text(required=True, metadata=choice(KINDS))
    description = Text(metadata={"default": "", "description": "for people"})
    activity = Items(Part(ActivitySchema), required=True, metadata={"description": "1 to 10 kinds of events"})
    amount = Part(
        AmountEventsSchema,
        allow_none=True,
        metadata={"description": "without it the values of activities are the amounts"},
    )
    look_back = Duration(
        metadata={"default": "P365D", **_DURATION, "description": "how far back events count; of rfm and life_cycle"}
    )
    recency = Part(RecencySchema, metadata={"description": "of rfm; 4 quantiles by default"})
    frequency = Part(FrequencySchema, metadata={"description": "of rfm; 4 quantiles by default"})
    money = Part(MoneySchema, metadata={"description": "of rfm; 4 quantiles by default"})
    new_within = Duration(
        metadata={"default": "P30D", **_DURATION, "description": "how young a first activity is new; of life_cycle"}
    )
    longer_than_percent = WholeNumber(
        metadata={"default": 100, "description": "intervals lengthen beyond so many percent; of life_cycle"}
    )
    less_than_percent = WholeNumber(
        metadata={"default": 100, "description": "amounts fall below so many percent; of life_cycle"}
    )
    source = Text(metadata={"default": "", "description": "the property with the channel; of channel"})


class BehaviourSchema(BehaviourChanges):
    """What the author of a behaviour sends."""

    key = key_field()

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Behaviour:
        return Behaviour(**data)


class BehaviourDocument(BehaviourChanges, Document):
    """A version of a behaviour, with the edges that its quantiles came to."""

    key = Text()
    version = WholeNumber(metadata={"description": "from 1; what one says never changes"})
    as_of = time_field("when this version was made: events before it gave the edges")
    revision = WholeNumber(metadata={"description": "grows with every version"})
    created_at = time_field("when the behaviour was made")


def behaviour_document(stored: StoredBehaviour) -> dict[str, Any]:
    """The document of a version of a behaviour."""
    behaviour = stored.behaviour
    document: dict[str, Any] = msgspec.to_builtins(behaviour)
    document["activity"] = [{"event": part.event, "where": part.where} for part in behaviour.activity]
    document["recency"]["edges"] = [write_duration(edge) for edge in behaviour.recency.edges]
    if document["amount"] is not None:
        del document["amount"]["aggregation"]
    for name in ("look_back", "new_within"):
        document[name] = write_duration(getattr(behaviour, name))
    state = {name: getattr(stored, name) for name in ("version", "as_of", "revision", "created_at")}
    return document | msgspec.to_builtins(state)
