"""Files of the lake that nobody needs any more, and their removal: PyIceberg forgets states, and leaves their files.

Three ways lead here. Expiry removes what only forgotten states needed. A claim of sealing that is sealed again removes
what was written for it before. The sweep lists all files of a table and removes those that no state names: leftovers of
a writer or of an expiry that died. It leaves young ones alone, since a writer writes its files before the commit that
names them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyarrow.fs import FileSelector, FileType
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
from abplatform.warehouse.addition import file_mark
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.lake import MOST_COMMIT_TRIES, Lake, LakeTable
from abplatform.warehouse.snapshots import find_forgettable, forget, locations_of, needed_locations

# No writer takes longer from its first file to its commit.
GRACE = timedelta(hours=24)

_THREADS = 8
_METADATA = ".metadata.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Expired:
    """What an expiry did.

    Attributes:
        snapshots: how many states were forgotten.
        files: how many files went with them.
    """

    snapshots: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the folder of a table.

    Attributes:
        location: its name as the catalog would give it (`places`).
        size: its bytes.
        written_at: when it was written.
    """

    location: str
    size: int
    written_at: datetime


def expire(
    lake: Lake,
    project: str,
    kind: EventKind,
    *,
    now: datetime,
    keep: timedelta,
    claimed: Callable[[], Collection[str]],
    held: Collection[int] = (),
    reached: Callable[[str], None] = lambda _step: None,
) -> Expired:
    """Forget the states of a table that nobody needs, and remove what only they needed.

    Args:
        lake: holds the table.
        project: key of the project.
        kind: exposures or conversions.
        now: the time.
        keep: for how long files stay after a commit took them away.
        claimed: gives the seal ids of claims that are not finished; asked after the table has been opened.
        held: states that somebody holds, or held when names were last given.
        reached: told the name of each step when it is done; for tests of crashes at every point.

    Raises:
        Unavailable: if a part does not answer, or others kept changing the table.
    """
    for _ in range(MOST_COMMIT_TRIES):
        table = lake.find(project, kind)
        if table is None:
            return Expired()
        chosen = find_forgettable(table.iceberg.metadata, now=now, keep=keep, claimed=claimed(), held=held)
        if not chosen:
            return Expired()
        candidates = _removable(table, chosen)
        reached("chosen")
        try:
            forget(table, chosen, now=now)
        except CommitFailedException:
            continue
        reached("forgotten")
        # The table is now as this commit left it: what came later builds on the current state, which it still has.
        useless = candidates - needed_locations(table)
        return Expired(len(chosen), remove(table.iceberg, useless, reached=reached))
    raise Unavailable("the lake keeps changing; try again shortly")


def sweep(
    lake: Lake,
    project: str,
    kind: EventKind,
    *,
    now: datetime,
    grace: timedelta = GRACE,
    reached: Callable[[str], None] = lambda _step: None,
) -> int:
    """Remove the files of a table that no state names and that are older than ``grace``; returns how many.

    Raises:
        Unavailable: if a part does not answer.
    """
    table, orphans = find_orphans(lake, project, kind)
    if table is None:
        return 0
    old = [file.location for file in orphans if file.written_at < now - grace]
    return remove(table.iceberg, old, reached=reached)


def remove_attempts(lake: Lake, project: str, kind: EventKind, seal_id: str) -> int:
    """Remove what earlier attempts at an addition left behind, once it is done; returns how many files that were.

    From then on no other attempt can succeed: either it was made from an earlier state, or it finds the work done.

    Where another database may have the same lake, one of the attempts may be a commit of its own, if one of the two is
    a copy of the other. Then there is metadata that this one does not know, and all is left alone.

    Raises:
        Unavailable: if a part does not answer.
    """
    table, orphans = find_orphans(lake, project, kind)
    if table is None or (lake.is_shared and any(file.location.endswith(_METADATA) for file in orphans)):
        return 0
    mark = file_mark(seal_id)
    return remove(
        table.iceberg, [file.location for file in orphans if file.location.rpartition("/")[2].startswith(mark)]
    )


def find_orphans(lake: Lake, project: str, kind: EventKind) -> tuple[LakeTable | None, tuple[StoredFile, ...]]:
    """A table, and the files in its folder that none of its states names, by location.

    Some of them may belong to a commit that is under way.

    Raises:
        Unavailable: if a part does not answer.
    """
    before = lake.find(project, kind)
    if before is None:
        return None, ()
    stored = list_stored(before.iceberg)
    # Opened after the listing: whatever was committed meanwhile is named by it.
    table = lake.find(project, kind)
    if table is None:
        return None, ()
    needed = needed_locations(table)
    return table, tuple(file for file in stored if file.location not in needed)


def _removable(table: LakeTable, chosen: Iterable[Snapshot]) -> set[str]:
    """What states to be forgotten need, as far as it can be told.

    In a copy that was made while the original went on, a list of manifests may be missing: the original had forgotten
    that state before its files were copied. What else it needed is left to the sweep.
    """
    found: set[str] = set()
    for snapshot in chosen:
        with suppress(FileNotFoundError):
            found |= locations_of(table, (snapshot,))
    return found


def list_stored(table: Table) -> list[StoredFile]:
    """All files in the folder of a table, by location.

    Raises:
        Unavailable: if the storage does not answer.
    """
    io: Any = table.io  # Arrow's; its functions have no types
    scheme, netloc, path = io.parse_location(table.location(), io.properties)
    with lake_answers():
        system = io.fs_by_scheme(scheme, netloc)
        infos = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
    found = [
        StoredFile(table.location() + info.path.removeprefix(path), info.size, info.mtime.astimezone(UTC))
        for info in infos
        if info.type == FileType.File
    ]
    return sorted(found, key=lambda file: file.location)


def remove(table: Table, locations: Iterable[str], *, reached: Callable[[str], None] = lambda _step: None) -> int:
    """Remove files that no state of a table names; returns how many. The next sweep tries again where it fails."""

    def one(location: str) -> bool:
        try:
            table.io.delete(location)
        except FileNotFoundError:
            return False
        except OSError:
            log.warning("could not remove %s", location, exc_info=True)
            return False
        reached("removed")
        return True

    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(one, sorted(locations)))
