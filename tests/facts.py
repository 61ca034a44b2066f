"""Facts on their way through the inbox, as tests say and see them: one object each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from abplatform.domain.events import EventKind
from abplatform.warehouse.inbox import Inbox, Rejection
from abplatform.warehouse.layout import Fact, arrow_to_facts, facts_to_arrow
from abplatform.warehouse.payload import unpack


def keep(
    inbox: Inbox,
    project: str,
    kind: EventKind,
    facts: Sequence[Fact],
    rejections: Sequence[Rejection] = (),
    *,
    received_at: datetime,
) -> None:
    """Add facts to an inbox as one request's."""
    table = facts_to_arrow(kind, facts) if facts else None
    inbox.add(project, kind, table, rejections, received_at=received_at)


def unpack_facts(kind: EventKind, payload: bytes) -> list[Any]:
    """The facts of a row of the inbox."""
    return arrow_to_facts(kind, unpack(kind, payload))
