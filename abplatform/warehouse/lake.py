"""The lake: Apache Iceberg tables of exposures and conversions, one pair per project.

There are never delete files: whatever removes rows rewrites the files that held them. A plain list of Parquet files
is therefore always the truth, and any reader can follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.expressions import EqualTo
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestFile
from pyiceberg.table import Table
from pyiceberg.types import StringType, TimestamptzType

from abplatform.database import database_answers
from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
from abplatform.warehouse.catalog import add_missing_columns, create_tables, open_catalog, table_root
from abplatform.warehouse.layout import TABLE_NAMES, field_id, sort_rows

SEAL_ID = "abplatform.seal-id"
MOST_COMMIT_TRIES = 20

_EPOCH_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One Parquet file of a table.

    Attributes:
        path: where it lies on this machine.
        rows: how many facts it holds.
        committed_at: when the lake got it; None if that commit has been forgotten.
        first_id, last_id: bounds of its event ids; None if unknown.
        last_receipt: latest ``received_at`` in it; None if unknown.
    """

    path: str
    rows: int
    committed_at: datetime | None
    first_id: str | None
    last_id: str | None
    last_receipt: datetime | None


class LakeTable:
    """One table of the lake as it was when it was opened; later commits do not show.

    Args:
        table: the loaded Iceberg table.
        kind: what it holds.
    """

    def __init__(self, table: Table, kind: EventKind) -> None:
        self._table = table
        self.kind = kind

    def files(self) -> tuple[LakeFile, ...]:
        """All files, by path: together exactly the table's rows."""
        snapshot = self._table.current_snapshot()
        if snapshot is None:
            return ()
        commits = {each.snapshot_id: _time(each.timestamp_ms) for each in self._table.metadata.snapshots}
        files = [
            _describe(entry.data_file, self.kind, commits.get(entry.snapshot_id))
            for manifest in snapshot.manifests(self._table.io)
            for entry in _entries(manifest, self._table.io)
        ]
        return tuple(sorted(files, key=lambda file: file.path))

    def find_seal(self, seal_id: str) -> Mapping[str, str] | None:
        """The properties of the commit that carries a ``seal_id``; None if there is none."""
        for snapshot in reversed(self._table.metadata.snapshots):
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
        with database_answers():
            self._table.append(sort_rows(rows), snapshot_properties={**(properties or {}), SEAL_ID: seal_id})

    def add_missing_columns(self) -> bool:
        """Add the columns that came after the table was made, and tell whether there were any.

        Raises:
            CommitFailedException: if the table changed since it was opened; nothing was added.
            Unavailable: if the catalog does not answer.
        """
        with database_answers():
            return add_missing_columns(self._table, self.kind)

    def delete_experiment(self, key: str) -> bool:
        """Remove an experiment's exposures by rewriting the files that hold them; False if there were none.

        Raises:
            CommitFailedException: if the table changed since it was opened; nothing was removed.
            Unavailable: if the catalog does not answer.
        """
        condition = EqualTo("experiment", key)  # type: ignore[call-arg, arg-type]
        if not self._table.scan(condition, selected_fields=("event_id",), limit=1).to_arrow().num_rows:
            return False
        with database_answers():
            self._table.delete(condition)
        return True


class Lake:
    """All tables of an installation.

    Args:
        url: root of the lake, such as ``file:///srv/lake``.
        catalog_url: SQLAlchemy address of the metadata database, which holds the catalog.

    Raises:
        ValueError: if ``url`` cannot be used.
        Unavailable: if the database does not answer.
    """

    def __init__(self, url: str, catalog_url: str) -> None:
        self._root = table_root(url)
        self._catalog = open_catalog(self._root, catalog_url)

    def close(self) -> None:
        """Close the connections to the catalog."""
        self._catalog.engine.dispose()

    def find(self, project: str, kind: EventKind) -> LakeTable | None:
        """Open a table as it is now; None if the project never had one.

        Raises:
            Unavailable: if the catalog does not answer.
        """
        try:
            with database_answers():
                return LakeTable(self._catalog.load_table((project, TABLE_NAMES[kind])), kind)
        except NoSuchTableError:
            return None

    def open(self, project: str, kind: EventKind) -> LakeTable:
        """Open a table to write, as it is now: created on first use, with all columns of this release.

        Raises:
            Unavailable: if the catalog does not answer, or others kept changing the table.
        """
        for _ in range(MOST_COMMIT_TRIES):
            found = self.find(project, kind)
            try:
                if found is None:
                    with database_answers():
                        create_tables(self._catalog, self._root, project)
                elif not found.add_missing_columns():
                    return found
            except CommitFailedException:
                continue  # Somebody else wrote, perhaps the same columns: look again.
        raise Unavailable("the lake keeps changing; try again shortly")

    def files(self, project: str, kind: EventKind) -> tuple[LakeFile, ...]:
        """The files that hold a table's rows now; none if there is no table."""
        table = self.find(project, kind)
        return () if table is None else table.files()

    def delete_experiment(self, project: str, key: str) -> None:
        """Remove an experiment's exposures; nothing happens if there are none.

        Raises:
            Unavailable: if the catalog does not answer, or others kept changing the table.
        """
        for _ in range(MOST_COMMIT_TRIES):
            table = self.find(project, "exposure")
            try:
                if table is None or not table.delete_experiment(key):
                    return
            except CommitFailedException:
                continue
        raise Unavailable("the lake keeps changing; try again shortly")


def latest_receipt(files: tuple[LakeFile, ...]) -> datetime | None:
    """Latest receipt of any event in the files; None without any."""
    return max((file.last_receipt for file in files if file.last_receipt is not None), default=None)


def _entries(manifest: ManifestFile, io: FileIO) -> list[Any]:
    entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
    strange = [entry.data_file.file_path for entry in entries if entry.data_file.content is not DataFileContent.DATA]
    if strange:
        raise ValueError(f"the lake must not hold delete files, but another program wrote {strange[0]}")
    return entries


def _describe(file: DataFile, kind: EventKind, committed_at: datetime | None) -> LakeFile:
    ids, receipt = field_id(kind, "event_id"), field_id(kind, "received_at")
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    received = from_bytes(TimestamptzType(), upper[receipt]) if receipt in upper else None
    return LakeFile(
        path=PyArrowFileIO.parse_location(file.file_path)[2],
        rows=file.record_count,
        committed_at=committed_at,
        first_id=from_bytes(StringType(), lower[ids]) if ids in lower else None,
        last_id=from_bytes(StringType(), upper[ids]) if ids in upper else None,
        last_receipt=_from_microseconds(received),
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _from_microseconds(value: Any) -> datetime | None:
    if value is None:
        return None
    seconds, microseconds = divmod(int(value), _EPOCH_MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
