"""One table of the lake, as it was when it was opened, and what may be done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import pyarrow as pa
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from abplatform.domain.events import EventKind
from abplatform.errors import SnapshotExpired
from abplatform.warehouse.addition import add_rows, commit_on_top, replace_files
from abplatform.warehouse.catalog import add_missing_columns, lake_answers
from abplatform.warehouse.commit_times import CommitTimes
from abplatform.warehouse.layout import SEQUENCE_NUMBER, sort_rows
from abplatform.warehouse.manifests import LakeFile, find_data_files, list_files, oldest_day

SEAL_ID = "abplatform.seal-id"
# Of a commit whose seal id somebody outside of sealing chose: it is kept for longer.
NAMED_SEAL = "abplatform.seal-is-named"

_MAIN = "main"  # Iceberg's name for the line of current states


class LakeTable:
    """One table of the lake as it was when it was opened; later commits do not show.

    Args:
        table: the loaded Iceberg table.
        kind: what it holds.

    Attributes:
        iceberg: the loaded table, for maintenance.
        kind: what it holds.
    """

    def __init__(self, table: Table, kind: EventKind) -> None:
        self.iceberg = table
        self.kind = kind

    @property
    def snapshot_id(self) -> int | None:
        """Iceberg's number of this state; None before the first commit."""
        snapshot = self.iceberg.current_snapshot()
        return None if snapshot is None else snapshot.snapshot_id

    def files(self, snapshot_id: int | None = None) -> tuple[LakeFile, ...]:
        """All files, by path: together exactly the table's rows.

        Args:
            snapshot_id: of an earlier state; by default this one.

        Raises:
            SnapshotExpired: if the earlier state is no longer kept.
            Unavailable: if the storage does not answer.
        """
        snapshot = self._snapshot(snapshot_id)
        if snapshot is None:
            return ()
        with lake_answers():
            return list_files((snapshot,), self.iceberg.io, self.kind, CommitTimes(self.iceberg.metadata))

    def kept_files(self) -> tuple[LakeFile, ...]:
        """All files of this state and of all earlier ones that are kept, by path, each once.

        Raises:
            Unavailable: if the storage does not answer.
        """
        metadata = self.iceberg.metadata
        with lake_answers():
            found = list_files(metadata.snapshots, self.iceberg.io, self.kind, CommitTimes(metadata))
        return tuple({file.location: file for file in found}.values())

    def find_data_files(self, locations: Iterable[str]) -> list[DataFile]:
        """Iceberg's records of some of this state's files, to be replaced; those that it does not have are left out.

        Raises:
            Unavailable: if the storage does not answer.
        """
        snapshot = self._snapshot(None)
        if snapshot is None:
            return []
        with lake_answers():
            return find_data_files(snapshot, self.iceberg.io, self.kind, locations)

    def find_seal(self, seal_id: str) -> Mapping[str, str] | None:
        """The properties of the commit that carries a ``seal_id``; None if there is none.

        The commit of a claim that is not finished is kept, however old it is (`snapshots.find_forgettable`).
        """
        for snapshot in reversed(self.iceberg.metadata.snapshots):
            properties = snapshot.summary.additional_properties if snapshot.summary else {}
            if properties.get(SEAL_ID) == seal_id:
                return properties
        return None

    def append(self, rows: pa.Table, seal_id: str, properties: Mapping[str, str] | None = None) -> None:
        """Add rows in one commit, on top of exactly the state that was opened.

        Args:
            rows: with the columns of `layout.arrow_schema`.
            seal_id: named by the commit, so that it can be found after a crash.
            properties: further ones for the commit.

        Raises:
            CommitFailedException: if the table changed since it was opened; nothing was added.
            Unavailable: if the catalog does not answer. The commit may or may not have happened.
        """
        # On top of exactly this state: the commit's number is the next one, or it fails.
        numbered = _number_rows(sort_rows(rows), self.iceberg.metadata.next_sequence_number())
        with lake_answers():
            add_rows(self.iceberg, numbered, seal_id, {**(properties or {}), SEAL_ID: seal_id})

    def add_missing_columns(self) -> bool:
        """Add the columns that came after the table was made, and tell whether there were any.

        Raises:
            CommitFailedException: if the table changed since it was opened; nothing was added.
            Unavailable: if the catalog does not answer.
        """
        with lake_answers():
            return add_missing_columns(self.iceberg, self.kind)

    def delete_experiment(self, key: str) -> bool:
        """Remove an experiment's exposures by rewriting the files that hold them; False if there were none.

        Raises:
            CommitFailedException: if the table changed since it was opened; nothing was removed, and nothing is left.
            NotCommitted: if the catalog or the storage does not answer, or is full; the same.
            Unavailable: if the catalog does not answer. The commit may or may not have happened.
        """
        condition = EqualTo("experiment", key)  # type: ignore[call-arg, arg-type]
        with lake_answers():
            if not self.iceberg.scan(condition, selected_fields=("event_id",), limit=1).to_arrow().num_rows:
                return False
            commit_on_top(self.iceberg, lambda _table, transaction: transaction.delete(condition))
        return True

    def replace(self, gone: Sequence[DataFile], new: Sequence[DataFile], properties: Mapping[str, str]) -> None:
        """Put new files in the place of some of this state's, in one commit, on top of exactly this state.

        Args:
            gone: see `find_data_files`.
            new: written already; none to delete rows.
            properties: of the commit.

        Raises:
            CommitFailedException: if the table changed since it was opened; nothing was replaced.
            NotCommitted: if the catalog or the storage does not answer; the same.
            Unavailable: if the catalog does not answer. The commit may or may not have happened.
        """
        with lake_answers():
            replace_files(self.iceberg, gone, new, properties)

    def tag(self, name: str, snapshot_id: int) -> None:
        """Give a state a name, which keeps it and its files until the name is removed.

        Raises:
            SnapshotExpired: if the state is no longer kept.
            ValueError: if ``name`` is taken by another state, or reserved.
            CommitFailedException: if the table changed since it was opened; nothing was named.
            Unavailable: if the catalog does not answer.
        """
        self._snapshot(snapshot_id)
        known = self.iceberg.metadata.refs.get(name)
        if name == _MAIN or (known is not None and known.snapshot_id != snapshot_id):
            raise ValueError(f"name {name!r} is taken")
        if known is None:
            with lake_answers():
                self.iceberg.manage_snapshots().create_tag(snapshot_id, name).commit()

    def untag(self, name: str) -> None:
        """Remove a name, if there is such a one; the state goes when its time has come.

        Raises:
            ValueError: if ``name`` is reserved.
            CommitFailedException: if the table changed since it was opened; the name stays.
            Unavailable: if the catalog does not answer.
        """
        if name == _MAIN:
            raise ValueError(f"name {name!r} is reserved")
        if name in self.iceberg.metadata.refs:
            with lake_answers():
                self.iceberg.manage_snapshots().remove_tag(name).commit()

    def keep_named(self, prefix: str, wanted: Mapping[str, int], *, first_day: date) -> bool:
        """See `Lake.keep_named`; all in one commit.

        Raises:
            CommitFailedException: if the table changed since it was opened; all names are as they were.
            Unavailable: if the catalog or the storage does not answer.
        """
        refs = self.iceberg.metadata.refs
        known = {name: ref.snapshot_id for name, ref in refs.items() if name.startswith(prefix) and name != _MAIN}
        with lake_answers():
            lasting = {name: number for name, number in wanted.items() if self._may_last(number, first_day)}
            names = self.iceberg.manage_snapshots()
            gone = [name for name, number in known.items() if lasting.get(name) != number]
            new = [(name, number) for name, number in lasting.items() if name not in known]
            for name in gone:
                names = names.remove_tag(name)
            for name, number in new:
                names = names.create_tag(number, name)
            if gone or new:
                names.commit()
        return bool(gone or new)

    def _may_last(self, snapshot_id: int, first_day: date) -> bool:
        snapshot = self.iceberg.snapshot_by_id(snapshot_id)
        if snapshot is None:
            return False
        oldest = oldest_day(snapshot, self.iceberg.io, self.kind)
        return oldest is None or oldest >= first_day

    def _snapshot(self, snapshot_id: int | None) -> Snapshot | None:
        if snapshot_id is None:
            return self.iceberg.current_snapshot()
        found = self.iceberg.snapshot_by_id(snapshot_id)
        if found is None:
            raise SnapshotExpired(f"the lake no longer keeps its state {snapshot_id}")
        return found


def _number_rows(rows: pa.Table, number: int) -> pa.Table:
    return rows.append_column(SEQUENCE_NUMBER, pa.repeat(pa.scalar(number, pa.int64()), rows.num_rows))
