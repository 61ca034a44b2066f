"""Refused events: what is kept of each, so that a sender's mistake can be found, and of how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from abplatform.database import reading, transaction
from abplatform.domain.checks import storable
from abplatform.domain.events import LONGEST_EVENT_ID
from abplatform.warehouse.tables import rejected_event

MOST_REJECTIONS_KEPT = 100
MOST_REJECTED_ROWS = 10_000
_LONGEST_CODE = 64
_LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Rejection:
    """What the inbox keeps of a refused event.

    Attributes:
        index: position in its request.
        code: stable reason in UPPER_SNAKE.
        detail: a sentence that never repeats a unit id.
        event_id: where it had a usable one.
        kept: what is stored in the place of ``detail``, which goes back to its sender only; None for the same.
    """

    index: int
    code: str
    detail: str
    event_id: str | None = None
    kept: str | None = None


def build_rows(rejections: Sequence[Rejection], shared: Mapping[str, object]) -> list[dict[str, object]]:
    """What is stored of the refusals of one request: of the first `MOST_REJECTIONS_KEPT`.

    Args:
        rejections: of the request.
        shared: columns that all rows have alike.
    """
    return [{**shared, **_describe(each)} for each in rejections[:MOST_REJECTIONS_KEPT]]


def keep_newest(database: sa.Engine) -> None:
    """Keep the newest `MOST_REJECTED_ROWS` refusals of all; a broken client must not fill the disk."""
    oldest_kept = (
        sa.select(rejected_event.c.id).order_by(rejected_event.c.id.desc()).offset(MOST_REJECTED_ROWS - 1).limit(1)
    )
    with reading(database) as connection:
        first = connection.execute(oldest_kept).scalar_one_or_none()
    if first is not None:
        with transaction(database) as connection:
            connection.execute(rejected_event.delete().where(rejected_event.c.id < first))


def _describe(rejection: Rejection) -> dict[str, object]:
    event_id = rejection.event_id
    fits = event_id is not None and 0 < len(event_id) <= LONGEST_EVENT_ID and storable(event_id)
    return {
        "position": rejection.index,
        "code": rejection.code[:_LONGEST_CODE],
        "detail": _storable_text(rejection.detail if rejection.kept is None else rejection.kept)[:_LONGEST_DETAIL],
        "event_id": event_id if fits else None,
    }


def _storable_text(text: str) -> str:
    return "".join(character if storable(character) else "\ufffd" for character in text)
