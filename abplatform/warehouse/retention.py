"""Retention: events of days that lie too far back are deleted, whole days at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from abplatform.domain.events import EventKind
from abplatform.warehouse.compaction import replace
from abplatform.warehouse.lake import Lake


@dataclass(frozen=True, slots=True)
class Dropped:
    """What retention deleted.

    Attributes:
        days: how many days.
        files: how many files.
        rows: how many events.
    """

    days: int = 0
    files: int = 0
    rows: int = 0


def first_kept_day(now: datetime, days: int) -> date:
    """The first day that is kept: all of whose events may be ``days`` days old or younger."""
    return (now - timedelta(days=days)).date()


def drop_old_days(lake: Lake, project: str, kind: EventKind, *, now: datetime, days: int) -> Dropped:
    """Delete the events whose own time lies more than ``days`` days and the rest of a day before ``now``.

    Their files leave the disk when expiry comes to them.

    Raises:
        Unavailable: if a part does not answer, or others kept changing the table.
    """
    first = first_kept_day(now, days)
    old = [file for file in lake.files(project, kind) if file.day < first]
    # Where another commit took one of them away meanwhile, the next round finds what is left.
    if not old or not replace(lake, project, kind, [file.location for file in old], [], action="retention"):
        return Dropped()
    return Dropped(len({file.day for file in old}), len(old), sum(file.rows for file in old))
