"""Layers in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.domain.layer import Layer
from abplatform.storage import schema
from abplatform.storage.definitions import Definitions
from abplatform.storage.documents import from_text, to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer with its state.

    Attributes:
        salt: of its draw; random, made once by the server.
        revision: grows with every change; the ETag.
    """

    layer: Layer
    salt: str
    created_at: datetime
    revision: int = 1

    @property
    def key(self) -> str:
        """Name in its project."""
        return self.layer.key


class Layers(Definitions[StoredLayer]):
    """The layers of all projects, seen through one transaction."""

    table = schema.layer
    noun = "layer"

    def _build(self, row: Any) -> StoredLayer:
        layer = from_text(row.definition, Layer)
        return StoredLayer(layer=layer, salt=row.salt, created_at=row.created_at, revision=row.revision)

    def _fixed(self, stored: StoredLayer) -> Mapping[str, Any]:
        return {"salt": stored.salt}

    def _changeable(self, stored: StoredLayer) -> Mapping[str, Any]:
        return {"definition": to_text(stored.layer)}
