"""Holdouts on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import (
    Document,
    Items,
    Number,
    Strict,
    Text,
    WholeNumber,
    key_field,
    time_field,
    unit_type_field,
)
from abplatform.domain.holdout import LEAST_SHARE, MOST_SHARE, Holdout
from abplatform.storage.holdouts import StoredHoldout


class HoldoutChanges(Strict):
    """The fields of a holdout; an edit may change its name only."""

    name = Text(required=True)
    unit_type = unit_type_field("what is held out; it covers experiments of this type")
    share = Number(required=True, metadata={"description": f"of all units, {LEAST_SHARE} to {MOST_SHARE}"})
    layers = Items(
        Text(),
        allow_none=True,
        metadata={"description": "keys of the layers whose experiments it covers; null covers all experiments"},
    )


class HoldoutSchema(HoldoutChanges):
    """What the author of a holdout sends."""

    key = key_field()

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Holdout:
        return Holdout(**data)


class HoldoutDocument(HoldoutChanges, Document):
    """A holdout as it stands. Its salt is in the snapshot only."""

    key = Text()
    revision = WholeNumber(metadata={"description": "grows with every change"})
    created_at = time_field("when it was made; it covers experiments that start later")
    ended_at = time_field("from then on it holds nobody out; null while it is active")


def holdout_document(stored: StoredHoldout) -> dict[str, Any]:
    """The document of a holdout."""
    state = {name: getattr(stored, name) for name in ("revision", "created_at", "ended_at")}
    document: dict[str, Any] = msgspec.to_builtins(stored.holdout)
    return document | msgspec.to_builtins(state)
