"""What a table of the lake holds, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from abplatform.warehouse.lake_table import LakeTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The present state of a table.

    Attributes:
        rows: events.
        files: Parquet files.
        size: their bytes.
        days: how many days of the events' own times have files.
        first_day, last_day: of them; None without any.
        snapshots: states that are kept, the present one included.
        tags: names of states, in order.
        committed_at: when the table last changed; None before the first commit.
    """

    rows: int
    files: int
    size: int
    days: int
    first_day: date | None
    last_day: date | None
    snapshots: int
    tags: tuple[str, ...]
    committed_at: datetime | None


def describe(table: LakeTable) -> Overview:
    """Count what a table holds.

    Raises:
        Unavailable: if the storage does not answer.
    """
    files = table.files()
    days = {file.day for file in files}
    metadata, snapshot = table.iceberg.metadata, table.iceberg.current_snapshot()
    return Overview(
        rows=sum(file.rows for file in files),
        files=len(files),
        size=sum(file.size for file in files),
        days=len(days),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        snapshots=len(metadata.snapshots),
        tags=tuple(sorted(set(metadata.refs) - {"main"})),
        committed_at=None if snapshot is None else datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
    )
