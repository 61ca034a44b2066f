"""Layers on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from marshmallow import post_load

from abplatform.api.schemas.fields import (
    Document,
    Items,
    Number,
    Part,
    Strict,
    Text,
    WholeNumber,
    choice,
    key_field,
    time_field,
    unit_type_field,
)
from abplatform.domain.experiment import STATUSES, Experiment
from abplatform.domain.layer import Layer, find_occupants, free_share
from abplatform.storage.layers import StoredLayer


class LayerChanges(Strict):
    """The fields of a layer that an edit may name."""

    name = Text(required=True)
    unit_type = unit_type_field("what its experiments randomise")
    description = Text()


class LayerSchema(LayerChanges):
    """What the author of a layer sends."""

    key = key_field()

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Layer:
        return Layer(**data)


class OccupantDocument(Document):
    """An experiment in a layer."""

    experiment = Text(metadata={"description": "its key"})
    status = Text(metadata=choice(STATUSES))
    share = Number(metadata={"description": "of the layer, held now: while running, paused or closed"})


class LayerDocument(LayerChanges, Document):
    """A layer as it stands. Its salt is in the snapshot only."""

    key = Text()
    free = Number(metadata={"description": "share of the layer that no experiment holds"})
    experiments = Items(Part(OccupantDocument), metadata={"description": "all that name it, except archived ones"})
    revision = WholeNumber(metadata={"description": "grows with every change"})
    created_at = time_field("when it was made")


def layer_document(stored: StoredLayer, experiments: Iterable[Experiment]) -> dict[str, Any]:
    """The document of a layer.

    Args:
        stored: the layer.
        experiments: all of the project.
    """
    occupants = find_occupants(stored.key, experiments)
    document: dict[str, Any] = msgspec.to_builtins(stored.layer)
    return document | {
        "free": free_share(occupants),
        "experiments": [
            {"experiment": each.experiment, "status": each.status, "share": each.share} for each in occupants
        ],
        "revision": stored.revision,
        "created_at": msgspec.to_builtins(stored.created_at),
    }
