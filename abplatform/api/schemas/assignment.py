"""Assignments on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow
from marshmallow import fields, validate

from abplatform.api.schemas.fields import (
    Document,
    Flag,
    Items,
    JsonObject,
    JsonValue,
    Strict,
    Text,
    WholeNumber,
    choice,
)
from abplatform.assignment import Evaluation, Reason
from abplatform.domain.events import LONGEST_ID

MOST_EXPERIMENTS = 1_000
REASONS = tuple(value for name, value in vars(Reason).items() if name.isupper())

_ID = validate.Length(min=1, max=LONGEST_ID, error=f"must be 1 to {LONGEST_ID} characters")


class Ids(JsonObject):
    """Ids of a unit by unit type."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, str]:
        ids = super()._deserialize(value, attr, data, **kwargs)
        wrong = {name: [_ID.error] for name, text in ids.items() if not isinstance(text, str) or not _fits(text)}
        if wrong:
            raise marshmallow.ValidationError(wrong)
        return ids


class CallSchema(Strict):
    """Whom an evaluation is about, and what is to be evaluated."""

    unit_id = Text(
        required=True,
        allow_none=True,
        validate=_ID,
        metadata={"description": "of the project's unit type; null where the caller has none"},
    )
    units = Ids(
        load_default=dict,
        metadata={"description": "ids by unit type, for experiments on other types"},
    )
    attributes = JsonObject(load_default=dict, metadata={"description": "what targeting may read"})
    experiments = Items(
        Text(),
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=MOST_EXPERIMENTS, error=f"must have at most {MOST_EXPERIMENTS} entries"),
        metadata={"description": "their keys; all that are published where it is absent"},
    )
    log_exposure = Flag(
        load_default=False, metadata={"description": "whether the exposures of these assignments are logged"}
    )


class AssignmentDocument(Document):
    """What the unit gets from one experiment."""

    variant = Text(required=True, allow_none=True, metadata={"description": "null where nothing could be decided"})
    payload = JsonValue(required=True, allow_none=True)
    in_experiment = Flag(required=True, metadata={"description": "whether it is part of the experiment"})
    reason = Text(required=True, metadata=choice(REASONS, description="see docs/assignment.md"))
    phase = WholeNumber(required=True, allow_none=True)


class AssignmentsDocument(Document):
    """What the unit gets, by experiment."""

    assignments = fields.Dict(keys=fields.String(), values=fields.Nested(AssignmentDocument), required=True)


def assignments_document(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The document of evaluations."""
    names = ("variant", "payload", "in_experiment", "reason", "phase")
    return {
        "assignments": {key: {name: getattr(one, name) for name in names} for key, one in evaluations.items()},
    }


def _fits(text: str) -> bool:
    return 0 < len(text) <= LONGEST_ID
