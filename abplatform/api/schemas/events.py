"""Events on the wire, for the API's description. They are read by `abplatform.services.ingest`, not by these."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from abplatform.api.schemas.fields import Document
from abplatform.domain.events import (
    HOLDOUT_GROUPS,
    LONGEST_EVENT_ID,
    LONGEST_ID,
    LONGEST_NAME,
    LONGEST_UNIT_TYPE,
    MOST_PROPERTIES,
    MOST_UNIT_TYPES,
)
from abplatform.services.decode_events import MOST_EVENTS

_SCALARS = {
    "type": "object",
    "maxProperties": MOST_PROPERTIES,
    "additionalProperties": {"type": ["string", "number", "boolean", "null"], "maxLength": 1024},
}
_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339 with an offset"}


def _text(most: int, description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most, "description": description}


def _units(description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "maxProperties": MOST_UNIT_TYPES,
        "propertyNames": {"minLength": 1, "maxLength": LONGEST_UNIT_TYPE},
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
        "description": f"ids of other unit types; {description}",
    }


_UNIT_ID = (
    "of the project's unit type; only a pseudonym of it is stored; may be absent where units of another type are "
    "randomised and counted, and `units` names one"
)
_SHARED: dict[str, Any] = {
    "event_id": _text(LONGEST_EVENT_ID, "of two events with the same id, the first is kept"),
    "unit_id": _text(LONGEST_ID, "") | {"type": ["string", "null"], "description": _UNIT_ID},
    "timestamp": _TIME,
}

COMPONENTS: dict[str, dict[str, Any]] = {
    "Exposure": {
        "type": "object",
        "description": "A unit met its variant.",
        "additionalProperties": False,
        "required": ["event_id", "experiment", "variant", "timestamp"],
        "properties": {
            **_SHARED,
            "experiment": _text(64, "key of the experiment"),
            "phase": {
                "type": ["integer", "null"],
                "minimum": 1,
                "description": "any that the experiment had; may be absent while it is in its first one",
            },
            "variant": _text(64, "key of a variant of that phase"),
            "attributes": {**_SCALARS, "description": "only declared dimensions and covariates are kept"},
            "units": _units("the one that the experiment randomises is required, no others are stored"),
        },
    },
    "HoldoutExposure": {
        "type": "object",
        "description": "A unit was checked against a holdout.",
        "additionalProperties": False,
        "required": ["event_id", "holdout", "group", "timestamp"],
        "properties": {
            **_SHARED,
            "holdout": _text(64, "key of the holdout, which may have ended"),
            "group": {"type": "string", "enum": list(HOLDOUT_GROUPS)},
            "units": _units("the one that the holdout holds out is required, no others are stored"),
        },
    },
    "Conversion": {
        "type": "object",
        "description": "A unit did something that a metric may count.",
        "additionalProperties": False,
        "required": ["event_id", "event", "timestamp"],
        "properties": {
            **_SHARED,
            "event": _text(LONGEST_NAME, "name of what happened; metrics read it"),
            "value": {
                "type": ["number", "string", "null"],
                "description": "a decimal with at most 14 digits before the point and 6 behind, kept exactly",
            },
            "properties": _SCALARS,
            "units": _units("stored for the types that experiments or holdouts of the project count"),
        },
    },
}


def request_body(*kinds: str) -> dict[str, Any]:
    """The OpenAPI request body of an event call: one event of any of the kinds, or a batch of them."""
    events: list[dict[str, Any]] = [{"$ref": f"#/components/schemas/{kind}"} for kind in kinds]
    event = events[0] if len(events) == 1 else {"oneOf": events}
    batch = {
        "type": "object",
        "additionalProperties": False,
        "required": ["events"],
        "properties": {
            "events": {"type": "array", "minItems": 1, "maxItems": MOST_EVENTS, "items": event},
            "sent_at": {**_TIME, "description": "the sender's clock as it sends; corrects skew over 60 seconds"},
        },
    }
    return {"required": True, "content": {"application/json": {"schema": {"oneOf": [*events, batch]}}}}


class RejectionSchema(Document):
    """Why one event of a batch was not taken."""

    index = fields.Integer(required=True, metadata={"description": "its place in `events`, from 0"})
    code = fields.String(required=True, metadata={"description": "stable reason; see docs/http-api.md"})
    detail = fields.String(required=True, metadata={"description": "a sentence that names the field"})


class IngestDocument(Document):
    """What became of a batch; accepted events are on disk."""

    accepted = fields.Integer(required=True)
    rejected = fields.List(fields.Nested(RejectionSchema), required=True)
