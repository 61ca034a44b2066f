"""Which files of a table are worth merging.

Sealing leaves a small file in a day's partition each time it has events of that day. Small files of a day are merged
into larger ones, size class by size class, like the levels of a log-structured store: a file is merged with others
only if it is at most twice as large as all smaller ones of its group together. Each event is therefore rewritten a
few times only, however slowly a day fills (five times where it comes in thousands of pieces), and few files remain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from abplatform.warehouse.manifests import LakeFile

TARGET_SIZE = 128 * 1024**2
TARGET_ROWS = 4_000_000

_ENOUGH = 16
_SETTLED = timedelta(hours=1)
_MOST_GROWTH = 2
_FULL = 0.75


@dataclass(frozen=True, slots=True)
class Merge:
    """Files that become one.

    Attributes:
        day: of their events.
        files: two or more.
    """

    day: date
    files: tuple[LakeFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(file.rows for file in self.files)


def plan_merges(files: Sequence[LakeFile], *, now: datetime) -> tuple[Merge, ...]:
    """What to merge now: groups that have many files, or to which nothing was added for an hour.

    Args:
        files: all files of a table.
        now: the time.
    """
    by_day: defaultdict[date, list[LakeFile]] = defaultdict(list)
    for file in files:
        if not _is_full(file):
            by_day[file.day].append(file)
    return tuple(
        Merge(day, part)
        for day in sorted(by_day)
        for group in _group(by_day[day])
        if len(group) >= _ENOUGH or all(_is_settled(file, now) for file in group)
        for part in _cut(group)
        if len(part) > 1
    )


def _group(files: Sequence[LakeFile]) -> Iterator[list[LakeFile]]:
    group: list[LakeFile] = []
    total = 0
    for file in sorted(files, key=lambda each: (each.size, each.location)):
        if group and file.size > _MOST_GROWTH * total:
            yield group
            group, total = [], 0
        group.append(file)
        total += file.size
    if group:
        yield group


def _cut(group: Sequence[LakeFile]) -> Iterator[tuple[LakeFile, ...]]:
    """Parts of a group of which each makes one file of about the target size."""
    part: list[LakeFile] = []
    size = rows = 0
    for file in group:
        part.append(file)
        size, rows = size + file.size, rows + file.rows
        if size >= TARGET_SIZE or rows >= TARGET_ROWS:
            yield tuple(part)
            part, size, rows = [], 0, 0
    yield tuple(part)


def _is_full(file: LakeFile) -> bool:
    return file.size >= _FULL * TARGET_SIZE or file.rows >= _FULL * TARGET_ROWS


def _is_settled(file: LakeFile, now: datetime) -> bool:
    return file.committed_at is None or file.committed_at < now - _SETTLED
