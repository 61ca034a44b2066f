"""What the steps of an experiment's life take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import post_load

from abplatform.api.schemas.experiment import PhaseFields
from abplatform.api.schemas.fields import Duration, Flag, Items, Number, Part, Strict, Text, choice
from abplatform.domain.experiment import OUTCOMES
from abplatform.services.force import Force
from abplatform.services.live import PhaseRequest
from abplatform.services.schedule import Schedule


class RampSchema(Strict):
    """How far to ramp."""

    coverage = Number(required=True, metadata={"description": "above the present one, at most 1"})


class PhaseSchema(PhaseFields):
    """What the next phase changes; what is not named stays."""

    reason = Text(required=True, metadata={"description": "why everybody is drawn anew; kept with the phase that ends"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> PhaseRequest:
        changes = {name: value for name, value in data.items() if name != "reason"}
        return PhaseRequest(changes=changes, reason=data["reason"])


class DecisionRequestSchema(Strict):
    """What people decided, whatever the plan recommends."""

    outcome = Text(required=True, metadata=choice(OUTCOMES))
    variant = Text(allow_none=True, metadata={"description": "of the outcome ship: the variant to serve to everybody"})
    reason = Text(required=True, metadata={"description": "for people"})


class ScheduleSchema(Strict):
    """How often the worker looks at the results."""

    every = Duration(
        required=True,
        allow_none=True,
        metadata={"format": "duration", "description": "from PT5M to P30D; null for never"},
    )
    spends_alpha = Flag(
        metadata={
            "default": False,
            "description": "of group_sequential plans, which need true: each look with 2% more of the plan is a test",
        }
    )

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Schedule:
        return Schedule(**data)


class ForcedUnitSchema(Strict):
    """A test account and what it gets."""

    unit_id = Text(required=True, metadata={"description": "1 to 256 characters; only its salted SHA-256 is kept"})
    variant = Text(required=True, allow_none=True, metadata={"description": "key of a variant; null lets the unit go"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Force:
        return Force(**data)


class ForcedSchema(Strict):
    """Test accounts to force, and to let go."""

    units = Items(Part(ForcedUnitSchema), required=True, metadata={"description": "1 to 200; others stay as they are"})
