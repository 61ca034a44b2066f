"""Which earlier states of a table are forgotten, and when.

A state that was followed by new rows only costs nothing to keep but its entry, and readers need it for as long as they
list its files. One that was followed by a commit which took files away (compaction, retention, a deletion) is all
that keeps those files on disk for whoever still reads them: both it and that commit stay for longer. States with a name
stay, those that somebody holds (`holds`), and the commit of a claim of sealing that is not finished: it alone tells
that the claim was committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ExpireSnapshots

from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.commit_times import note_forgotten
from abplatform.warehouse.lake_table import NAMED_SEAL, SEAL_ID, LakeTable
from abplatform.warehouse.manifests import list_locations

# For how long a state may be listed, or get a name, after the next rows have come. With a commit every two seconds
# that is 450 entries in the table's metadata, which every reader of the table parses.
LISTED = timedelta(minutes=15)
# For how long a repeated import finds that it has been done.
IMPORTED = timedelta(days=30)

_DELETED_FILES = "deleted-data-files"


def find_forgettable(
    metadata: TableMetadata,
    *,
    now: datetime,
    keep: timedelta,
    claimed: Collection[str],
    held: Collection[int] = (),
) -> tuple[Snapshot, ...]:
    """The states that nobody needs any more, oldest first.

    Args:
        metadata: of the table.
        now: the time.
        keep: for how long files stay after a commit took them away.
        claimed: seal ids of claims that are not finished.
        held: states that somebody holds.
    """
    named = {ref.snapshot_id for ref in metadata.refs.values()}
    history = sorted(metadata.snapshots, key=lambda each: each.sequence_number or 0)
    return tuple(
        snapshot
        for snapshot, successor in pairwise(history)
        if snapshot.snapshot_id not in named
        and snapshot.snapshot_id not in held
        and not _is_needed_seal(snapshot, now, claimed)
        and _time(successor) < now - LISTED
        and not any(_took_files(each) and _time(each) >= now - keep for each in (snapshot, successor))
    )


def forget(table: LakeTable, snapshots: Iterable[Snapshot], *, now: datetime) -> None:
    """Forget states of a table, in one commit; their files stay where they are.

    Raises:
        CommitFailedException: if the table changed since it was opened; nothing was forgotten.
        Unavailable: if the catalog or the storage does not answer. The commit may or may not have happened.
    """
    chosen = tuple(snapshots)
    with lake_answers(), table.iceberg.transaction() as transaction:
        transaction.set_properties(note_forgotten(table.iceberg.metadata, chosen, now=now))
        ExpireSnapshots(transaction).by_ids([each.snapshot_id for each in chosen]).commit()


def needed_locations(table: LakeTable) -> set[str]:
    """Every file that a state of the table needs which is still kept.

    Raises:
        Unavailable: if the storage does not answer.
    """
    iceberg: Table = table.iceberg
    metadata = iceberg.metadata
    needed = {iceberg.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    needed |= locations_of(table, metadata.snapshots)
    return needed


def locations_of(table: LakeTable, snapshots: Iterable[Snapshot]) -> set[str]:
    """Every file that some states of a table need.

    Raises:
        Unavailable: if the storage does not answer.
    """
    with lake_answers():
        return {place for each in snapshots for place in list_locations(each, table.iceberg.io, table.kind)}


def _is_needed_seal(snapshot: Snapshot, now: datetime, claimed: Collection[str]) -> bool:
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    if properties.get(SEAL_ID) in claimed:
        return True
    return NAMED_SEAL in properties and _time(snapshot) >= now - IMPORTED


def _took_files(snapshot: Snapshot) -> bool:
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    return int(properties.get(_DELETED_FILES, 0)) > 0


def _time(snapshot: Snapshot) -> datetime:
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
