"""Who may call: projects, and the keys that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

KeyRole = Literal["sdk", "analyst", "experimenter", "reviewer", "admin"]

KEY_ROLES: tuple[KeyRole, ...] = ("sdk", "analyst", "experimenter", "reviewer", "admin")
DEFAULT_PROJECT = "default"
DEFAULT_UNIT_TYPE = "user_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One environment of one product.

    Attributes:
        unit_type: the type of the ids that calls and events give as ``unit_id``.
    """

    key: str
    name: str
    unit_type: str = DEFAULT_UNIT_TYPE
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it can be shown; its secret is not part of it.

    Attributes:
        id: 16 hexadecimal digits, part of the secret's text.
        role: what it may do.
        name: whose it is, for people.
        revoked_at: from then on it opens nothing.
    """

    id: str
    project: str
    role: KeyRole
    name: str
    created_at: datetime
    revoked_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it opens anything at that time."""
        return self.revoked_at is None or now < self.revoked_at
