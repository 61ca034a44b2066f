"""Costs of channels on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import marshmallow
from marshmallow import post_load

from abplatform.api.schemas.fields import DecimalNumber, JsonObject, Strict, Text, WholeNumber, choice
from abplatform.domain.acquisition import COST_METHODS
from abplatform.services.price_acquisition import MOST_CHANNELS, Pricing


class Amounts(JsonObject):
    """A JSON object of exact decimals."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Decimal]:
        given: dict[str, Any] = super()._deserialize(value, attr, data, **kwargs)
        if len(given) > MOST_CHANNELS:  # before there is a complaint about each
            raise marshmallow.ValidationError(f"must name 1 to {MOST_CHANNELS} channels")
        amounts, faults = {}, {}
        for name, amount in given.items():
            try:
                amounts[name] = DecimalNumber().deserialize(amount)
            except marshmallow.ValidationError as error:
                faults[name] = error.messages
        if faults:
            raise marshmallow.ValidationError(faults)
        return amounts


class AcquisitionSchema(Strict):
    """What each channel cost, and what counts as an acquisition."""

    by = Text(required=True, metadata={"description": "the dimension that tells channels apart, as of a breakdown"})
    metric = Text(required=True, metadata={"description": "that counts an acquisition: of the experiment, and a rate"})
    costs = Amounts(
        required=True,
        metadata={"description": 'by channel, at least 0, best as decimal text: `{"douyin": "120000.00"}`'},
    )
    method = Text(
        metadata=choice(COST_METHODS, default="sequential", description="of the intervals: `fixed` holds at one look")
    )
    phase = WholeNumber(allow_none=True, metadata={"minimum": 1, "description": "the current one by default"})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Pricing:
        return Pricing(**data)
