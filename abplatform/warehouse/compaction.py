"""Compaction: many small files of a day become few large ones, while sealing goes on.

New files are written first, then one commit puts them in the place of the old ones. Sealing commits all the time, so
that this commit often comes second: then the table is opened anew, and if it still has all the old files, what was
written is right as ever, and the commit is tried again on top of the new state. If one of them is gone (a deletion,
say), what was written is thrown away: the next round plans anew. Old files stay on disk until expiry removes them.

A compacted file counts as committed now. Its events are therefore searched for duplicates for longer, never shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile

from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
from abplatform.warehouse.lake import MOST_COMMIT_TRIES, Lake
from abplatform.warehouse.merges import Merge, plan_merges
from abplatform.warehouse.removal import remove
from abplatform.warehouse.rewrite import write_merged
from abplatform.warehouse.strict_catalog import NotCommitted

ACTION = "abplatform.action"

_MOST_MERGES = 64
_MOST_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        files: how many files were replaced.
        merged: by how many.
        rows: how many rows they hold.
        size: bytes of the replaced ones.
    """

    files: int = 0
    merged: int = 0
    rows: int = 0
    size: int = 0

    def __add__(self, other: Compacted) -> Compacted:
        """Both together."""
        return Compacted(
            self.files + other.files, self.merged + other.merged, self.rows + other.rows, self.size + other.size
        )


def compact(
    lake: Lake,
    project: str,
    kind: EventKind,
    *,
    now: datetime,
    memory_limit: str = "512MB",
    go_on: Callable[[], bool] = lambda: True,
    reached: Callable[[str], None] = lambda _step: None,
) -> Compacted:
    """Merge the small files of a table.

    Args:
        lake: holds the table.
        project: key of the project.
        kind: exposures or conversions.
        now: the time.
        memory_limit: what one sort may use before it spills to disk.
        go_on: asked before each commit's worth of work, some seconds, whether to do it.
        reached: told the name of each step when it is done; for tests of crashes at every point.

    Raises:
        Miscounted: if files do not hold what their manifests say; what was merged before stays.
        Unavailable: if a part does not answer, or others kept changing the table; the same.
    """
    total = Compacted()
    if lake.find(project, kind) is None:
        return total
    # Opened to write: compacted files have all columns of this release.
    table = lake.open(project, kind)
    for merges in _batch(plan_merges(table.files(), now=now)):
        if not go_on():
            break
        written: list[DataFile] = []
        try:
            for merge in merges:
                written.append(write_merged(table.iceberg, merge, memory_limit=memory_limit))
                reached("written")
        except Exception:
            # No commit has been tried: nothing names them.
            remove(table.iceberg, [file.file_path for file in written])
            raise
        old = [file.location for merge in merges for file in merge.files]
        try:
            replaced = replace(lake, project, kind, old, written, action="compaction")
        except NotCommitted:
            remove(table.iceberg, [file.file_path for file in written])
            raise
        if replaced:
            reached("committed")
            total += Compacted(
                len(old), len(written), sum(each.rows for each in merges), sum(each.size for each in merges)
            )
        else:
            remove(table.iceberg, [file.file_path for file in written])
    return total


def replace(
    lake: Lake, project: str, kind: EventKind, old: Sequence[str], new: Iterable[DataFile], *, action: str
) -> bool:
    """Put new files in the place of old ones in one commit; False, and nothing done, if an old one is gone.

    Args:
        lake: holds the table.
        project: key of the project.
        kind: exposures or conversions.
        old: locations.
        new: written already; none to delete rows.
        action: what for; the commit's properties say so.

    Raises:
        NotCommitted: if others kept changing the table, or a part did not answer before the commit.
        Unavailable: if a part does not answer; the commit may or may not have happened.
    """
    files = tuple(new)
    for _ in range(MOST_COMMIT_TRIES):
        try:
            table = lake.open(project, kind)
            gone = table.find_data_files(old)
        except Unavailable as error:
            raise NotCommitted(error.detail) from error
        if len(gone) < len(old):
            return False
        try:
            table.replace(gone, files, {ACTION: action})
        except CommitFailedException:
            continue  # Another commit came first: look whether all old files are still there.
        return True
    raise NotCommitted("the lake keeps changing; try again shortly")


def _batch(merges: Iterable[Merge]) -> Iterator[list[Merge]]:
    batch: list[Merge] = []
    for merge in merges:
        if batch and (len(batch) == _MOST_MERGES or sum(each.size for each in batch) + merge.size > _MOST_BYTES):
            yield batch
            batch = []
        batch.append(merge)
    if batch:
        yield batch
