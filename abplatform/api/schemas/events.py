"""Events on the wire, for the API's description. They are read by `abplatform.services.ingest`, not by these."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from abplatform.api.schemas.fields import Document
from abplatform.domain.events import LONGEST_EVENT_ID, LONGEST_ID, LONGEST_NAME, MOST_PROPERTIES
from abplatform.services.decode_events import MOST_EVENTS

_SCALARS = {
    "type": "object",
    "maxProperties": MOST_PROPERTIES,
    "additionalProperties": {"type": ["string", "number", "boolean", "null"], "maxLength": 1024},
}
_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339 with an offset"}


def _text(most: int, description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most, "description": description}


_SHARED = {
    "event_id": _text(LONGEST_EVENT_ID, "of two events with the same id, the first is kept"),
    "unit_id": _text(LONGEST_ID, "of the project's unit type; only a pseudonym of it is stored"),
    "timestamp": _TIME,
}

COMPONENTS: dict[str, dict[str, Any]] = {
    "Exposure": {
        "type": "object",
        "description": "A unit met its variant.",
        "additionalProperties": False,
        "required": ["event_id", "experiment", "variant", "unit_id", "timestamp"],
        "properties": {
            **_SHARED,
            "experiment": _text(64, "key of the experiment"),
            "phase": {"type": "integer", "minimum": 1, "default": 1},
            "variant": _text(64, "key of the variant"),
            "attributes": {**_SCALARS, "description": "only declared dimensions and covariates are kept"},
            "units": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "id of the randomised cluster by its unit type; clustered experiments only",
            },
        },
    },
    "Conversion": {
        "type": "object",
        "description": "A unit did something that a metric may count.",
        "additionalProperties": False,
        "required": ["event_id", "event", "unit_id", "timestamp"],
        "properties": {
            **_SHARED,
            "event": _text(LONGEST_NAME, "name of what happened; metrics read it"),
            "value": {
                "type": ["number", "string", "null"],
                "description": "a decimal with at most 14 digits before the point and 6 behind, kept exactly",
            },
            "properties": _SCALARS,
            "units": {
                "type": "object",
                "maxProperties": 0,
                "description": "other unit types are not supported yet; must be empty",
            },
        },
    },
}


def request_body(kind: str) -> dict[str, Any]:
    """The OpenAPI request body of an event call: one event, or a batch of them."""
    event = {"$ref": f"#/components/schemas/{kind}"}
    batch = {
        "type": "object",
        "additionalProperties": False,
        "required": ["events"],
        "properties": {
            "events": {"type": "array", "minItems": 1, "maxItems": MOST_EVENTS, "items": event},
            "sent_at": {**_TIME, "description": "the sender's clock as it sends; corrects skew over 60 seconds"},
        },
    }
    return {"required": True, "content": {"application/json": {"schema": {"oneOf": [event, batch]}}}}


class RejectionSchema(Document):
    """Why one event of a batch was not taken."""

    index = fields.Integer(required=True, metadata={"description": "its place in `events`, from 0"})
    code = fields.String(required=True, metadata={"description": "stable reason; see docs/http-api.md"})
    detail = fields.String(required=True, metadata={"description": "a sentence that names the field"})


class IngestDocument(Document):
    """What became of a batch; accepted events are on disk."""

    accepted = fields.Integer(required=True)
    rejected = fields.List(fields.Nested(RejectionSchema), required=True)
