"""The lake: Apache Iceberg tables of exposures and conversions, one pair per project.

There are never delete files: whatever removes rows rewrites the files that held them. A plain list of Parquet files
is therefore always the truth, and any reader can follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError

from abplatform.domain.aggregates import LakeState
from abplatform.domain.events import EventKind
from abplatform.errors import SnapshotExpired, Unavailable
from abplatform.warehouse.catalog import create_tables, lake_answers, list_projects, open_catalog, table_root
from abplatform.warehouse.lake_table import NAMED_SEAL, SEAL_ID, LakeTable
from abplatform.warehouse.layout import TABLE_NAMES
from abplatform.warehouse.manifests import LakeFile

__all__ = ["MOST_COMMIT_TRIES", "NAMED_SEAL", "SEAL_ID", "Lake", "LakeFile", "LakeTable", "latest_receipt"]

MOST_COMMIT_TRIES = 20


class Lake:
    """All tables of an installation.

    Args:
        url: root of the lake, such as ``file:///srv/lake``.
        catalog_url: SQLAlchemy address of the metadata database, which holds the catalog.
        is_shared: whether another database may have been given the same lake.

    Attributes:
        is_shared: the same.

    Raises:
        ValueError: if ``url`` cannot be used.
        Unavailable: if the database does not answer.
    """

    def __init__(self, url: str, catalog_url: str, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared
        self._root = table_root(url)
        self._catalog = open_catalog(self._root, catalog_url)

    @property
    def root(self) -> str:
        """The location that holds a folder for each project."""
        return self._root

    def close(self) -> None:
        """Close the connections to the catalog."""
        self._catalog.engine.dispose()

    def find(self, project: str, kind: EventKind) -> LakeTable | None:
        """Open a table as it is now; None if the project never had one.

        Raises:
            Unavailable: if the catalog does not answer.
        """
        try:
            with lake_answers():
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
                    with lake_answers():
                        create_tables(self._catalog, self._root, project)
                elif not found.add_missing_columns():
                    return found
            except CommitFailedException:
                continue  # Somebody else wrote, perhaps the same columns: look again.
        raise Unavailable("the lake keeps changing; try again shortly")

    def files(self, project: str, kind: EventKind, snapshot_id: int | None = None) -> tuple[LakeFile, ...]:
        """The files that hold a table's rows; none if there is no table.

        A reader may take its time: files stay in their places for hours after they have been replaced.

        Args:
            project: key of the project.
            kind: exposures or conversions.
            snapshot_id: of an earlier state; by default the present one.

        Raises:
            SnapshotExpired: if the earlier state is no longer kept.
            Unavailable: if the catalog or the storage does not answer.
        """
        table = self.find(project, kind)
        if table is not None:
            return table.files(snapshot_id)
        if snapshot_id is not None:
            raise SnapshotExpired(f"the lake has no state {snapshot_id}: there is no such table")
        return ()

    def state(self, project: str) -> LakeState:
        """The present state of each table of a project.

        Raises:
            Unavailable: if the catalog does not answer.
        """
        exposures, conversions = self.find(project, "exposure"), self.find(project, "conversion")
        return LakeState(
            exposures=None if exposures is None else exposures.snapshot_id,
            conversions=None if conversions is None else conversions.snapshot_id,
        )

    def files_of(self, project: str, kind: EventKind, state: LakeState | None) -> tuple[LakeFile, ...]:
        """The files of a table in a state of the lake: none if it had none; those of now where there is no state.

        Raises:
            SnapshotExpired: if the state is no longer kept.
            Unavailable: if the catalog or the storage does not answer.
        """
        if state is None:
            return self.files(project, kind)
        number = state.of(kind)
        return () if number is None else self.files(project, kind, number)

    def projects(self) -> tuple[str, ...]:
        """Keys of all projects that have tables, in order.

        Raises:
            Unavailable: if the catalog does not answer.
        """
        with lake_answers():
            return list_projects(self._catalog)

    def tag(self, project: str, kind: EventKind, name: str, snapshot_id: int) -> None:
        """Give a state of a table a name, which keeps it and its files; giving it again changes nothing.

        Raises:
            SnapshotExpired: if the state is no longer kept.
            ValueError: if ``name`` is taken by another state, or reserved.
            Unavailable: if the catalog does not answer, or others kept changing the table.
        """
        if self.find(project, kind) is None:
            raise SnapshotExpired(f"the lake has no state {snapshot_id}: there is no such table")
        self._change(project, kind, lambda table: table.tag(name, snapshot_id))

    def untag(self, project: str, kind: EventKind, name: str) -> None:
        """Remove a name that `tag` gave; nothing happens if there is no such name.

        Raises:
            ValueError: if ``name`` is reserved.
            Unavailable: if the catalog does not answer, or others kept changing the table.
        """
        self._change(project, kind, lambda table: table.untag(name))

    def keep_named(
        self, project: str, kind: EventKind, prefix: str, wanted: Callable[[], Mapping[str, int]], *, first_day: date
    ) -> bool:
        """Let a table have exactly the wanted names among those that begin with a prefix; tells whether any changed.

        States that are no longer kept get none, nor do those that hold events of days before ``first_day``.

        Args:
            project: key of the project.
            kind: exposures or conversions.
            prefix: other names stay as they are.
            wanted: gives the states by name; asked after the table has been opened.
            first_day: of events that may be kept.

        Raises:
            Unavailable: if the catalog or the storage does not answer, or others kept changing the table.
        """
        changed = False

        def change(table: LakeTable) -> None:
            nonlocal changed
            changed = table.keep_named(prefix, wanted(), first_day=first_day)

        self._change(project, kind, change)
        return changed

    def delete_experiment(self, project: str, key: str) -> None:
        """Remove an experiment's exposures; nothing happens if there are none.

        Raises:
            Unavailable: if the catalog does not answer, or others kept changing the table.
        """
        self._change(project, "exposure", lambda table: table.delete_experiment(key))

    def _change(self, project: str, kind: EventKind, change: Callable[[LakeTable], object]) -> None:
        for _ in range(MOST_COMMIT_TRIES):
            table = self.find(project, kind)
            try:
                if table is not None:
                    change(table)
            except CommitFailedException:
                continue
            return
        raise Unavailable("the lake keeps changing; try again shortly")


def latest_receipt(files: tuple[LakeFile, ...]) -> datetime | None:
    """Latest receipt of any event in the files; None without any."""
    return max((file.last_receipt for file in files if file.last_receipt is not None), default=None)
