"""What was done, by whom and why, as the audit trail keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.domain.checks import printable
from abplatform.errors import InvalidInput

LONGEST_ACTOR = 200
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something on this machine.

    Attributes:
        os_user: whom the operating system knows.
        name: as the person named themselves; the operating system's name where they did not.
        reason: why, in their words.
    """

    os_user: str
    name: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done.

    Attributes:
        action: what, for example ``pseudonymise``.
        details: JSON values by name; never a raw unit id.
        id: its number, given when it is written.
    """

    at: datetime
    project: str
    actor: str
    action: str
    details: Mapping[str, Any]
    id: int | None = None


def check_actor(actor: Actor) -> None:
    """Refuse a name or a reason that an audit trail could not show.

    Raises:
        InvalidInput: naming the option.
    """
    _check_text(actor.name, "--actor", most=LONGEST_ACTOR)
    if actor.reason is not None:
        _check_text(actor.reason, "--reason", most=LONGEST_REASON)


def _check_text(text: str, option: str, *, most: int) -> None:
    if not (0 < len(text) <= most and text.strip() and printable(text)):
        raise InvalidInput({option: [f"must be 1 to {most} printable characters"]})
