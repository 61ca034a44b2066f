"""Holdouts in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.domain.holdout import Holdout
from abplatform.storage import schema
from abplatform.storage.definitions import Definitions
from abplatform.storage.documents import from_text, to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHoldout:
    """A holdout with its state.

    Attributes:
        salt: of its draw; random, made once by the server.
        ended_at: from then on it holds nobody out; None while it is active.
        revision: grows with every change; the ETag.
    """

    holdout: Holdout
    salt: str
    created_at: datetime
    ended_at: datetime | None = None
    revision: int = 1

    @property
    def key(self) -> str:
        """Name in its project."""
        return self.holdout.key


class Holdouts(Definitions[StoredHoldout]):
    """The holdouts of all projects, seen through one transaction."""

    table = schema.holdout
    noun = "holdout"

    def _build(self, row: Any) -> StoredHoldout:
        return StoredHoldout(
            holdout=from_text(row.definition, Holdout),
            salt=row.salt,
            created_at=row.created_at,
            ended_at=row.ended_at,
            revision=row.revision,
        )

    def _fixed(self, stored: StoredHoldout) -> Mapping[str, Any]:
        return {"salt": stored.salt}

    def _changeable(self, stored: StoredHoldout) -> Mapping[str, Any]:
        return {"definition": to_text(stored.holdout), "ended_at": stored.ended_at}
