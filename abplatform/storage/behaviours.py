"""Behaviours in the database: the newest version of each, and those that it replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.domain.behaviour import Behaviour
from abplatform.storage import schema
from abplatform.storage.documents import from_text, to_text
from abplatform.storage.versions import VersionedDefinitions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBehaviour:
    """A version of a behaviour with its state; it never changes.

    Attributes:
        behaviour: with the edges that quantiles came to.
        as_of: when the version was made; events before it gave the edges.
        created_at: when the behaviour was made, in its first version.
        revision: grows from one version to the next; the ETag.
        version: from 1.
    """

    behaviour: Behaviour
    as_of: datetime
    created_at: datetime
    revision: int = 1
    version: int = 1

    @property
    def key(self) -> str:
        """Name in its project."""
        return self.behaviour.key


class Behaviours(VersionedDefinitions[StoredBehaviour]):
    """The behaviours of all projects, seen through one transaction; without more said, in their newest version."""

    table = schema.behaviour
    past = schema.behaviour_version
    noun = "behaviour"

    def _build(self, row: Any) -> StoredBehaviour:
        return StoredBehaviour(
            behaviour=from_text(row.definition, Behaviour),
            as_of=row.as_of,
            created_at=row.created_at,
            revision=row.revision,
            version=row.version,
        )

    def _changeable(self, stored: StoredBehaviour) -> Mapping[str, Any]:
        return {"definition": to_text(stored.behaviour), "version": stored.version, "as_of": stored.as_of}
