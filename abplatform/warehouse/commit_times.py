"""When the lake got a file, known even after the snapshot that added it is gone.

Commits of a table are numbered. What expiry forgets it notes in the table's properties, in the same commit: the number
and the time of the last forgotten commit of each day. A file's commit is then at most as late as the next one that is
known, which errs by less than a day, and always towards "later": such a file is searched for duplicates longer, never
shorter.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

COMMIT_TIMES = "abplatform.commit-times"

# Longer than anybody asks for (deduplication looks back for 30 days): what is older is just old.
_REMEMBERED = timedelta(days=60)

_Note = tuple[int, int]  # number of a commit, its time in milliseconds since 1970


class CommitTimes:
    """Times of a table's commits by their numbers.

    Args:
        metadata: of the table.
    """

    def __init__(self, metadata: TableMetadata) -> None:
        notes = sorted({*_read_notes(metadata), *map(_note, metadata.snapshots)})
        self._numbers = [number for number, _ in notes]
        self._times = [_time(milliseconds) for _, milliseconds in notes]

    def find(self, number: int | None) -> datetime | None:
        """When a commit happened, or a later time; None if nothing is known of it."""
        if number is None:
            return None
        place = bisect_left(self._numbers, number)
        return self._times[place] if place < len(self._times) else None


def note_forgotten(metadata: TableMetadata, forgotten: Iterable[Snapshot], *, now: datetime) -> dict[str, str]:
    """Properties that a table must get in the commit in which it forgets snapshots."""
    notes = sorted({*_read_notes(metadata), *map(_note, forgotten)})
    by_day = {_time(milliseconds).date(): (number, milliseconds) for number, milliseconds in notes}
    kept = sorted(by_day.values())
    old = [note for note in kept if _time(note[1]) < now - _REMEMBERED]
    # Whatever came before the last of the old ones is at least as old.
    return {COMMIT_TIMES: json.dumps(kept[max(len(old) - 1, 0) :], separators=(",", ":"))}


def _read_notes(metadata: TableMetadata) -> list[_Note]:
    return [(number, milliseconds) for number, milliseconds in json.loads(metadata.properties.get(COMMIT_TIMES, "[]"))]


def _note(snapshot: Snapshot) -> _Note:
    return snapshot.sequence_number or 0, snapshot.timestamp_ms


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
