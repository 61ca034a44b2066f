"""PyIceberg's SQL catalog, with commits that hold for exactly the state they were made from, and quick ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any, Self

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationError
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from sqlalchemy import Engine, update

from abplatform.database import database_answers
from abplatform.errors import Unavailable
from abplatform.warehouse.durable_io import delete_quietly
from abplatform.warehouse.missing import find_loss
from abplatform.warehouse.places import describe_move
from abplatform.warehouse.recent import Recent

_MOST_TABLES = 32


class NotCommitted(Unavailable):
    """A commit failed before it was tried: nothing of it happened, nor will."""


class _SharedMetadata(TableMetadataV2):
    """A table's metadata, of which copies share what they have in common.

    PyIceberg copies all of it, hundreds of snapshots, twenty times for each commit. It never changes any part of it.
    """

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        return super().model_copy(update=update)


class StrictCatalog(SqlCatalog):
    """The catalog, different from PyIceberg's in three points.

    A commit succeeds only if the table has not changed at all since it was loaded. PyIceberg's own loads the table
    anew and checks what the change requires; removing a snapshot requires nothing, so that it would take a tag
    with it that somebody set in between.

    Metadata files never change once they are written: those of the latest states are kept in memory.

    A lake that was moved is found below the root that the catalog was opened with (`places`).
    """

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self._known: Recent[str, TableMetadata] = Recent(_MOST_TABLES)

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        location = str(orm_table.metadata_location)
        identifier = (*str(orm_table.table_namespace).split("."), str(orm_table.table_name))
        metadata = self._known.get(location)
        if metadata is None:
            metadata = _share(self._read_metadata(location, identifier))
            self._known.put(location, metadata)
        return Table(
            identifier=identifier,
            metadata=metadata,
            metadata_location=location,
            io=self._load_file_io(metadata.properties, location),
            catalog=self,
        )

    def _read_metadata(self, location: str, identifier: Identifier) -> TableMetadata:
        describe_move(location, identifier, self.properties["warehouse"])  # refuses what is no table of a lake
        io = self._load_file_io(location=location)
        try:
            return FromInputFile.table_metadata(io.new_input(location))
        except (FileNotFoundError, UnicodeDecodeError, ValidationError) as error:
            raise find_loss(io, location, error) from error

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        # Of every table's metadata files, and of nothing else, the names come here.
        *_, namespace, name, _, _ = str(location).split("/")
        move = describe_move(str(location), (namespace, name), self.properties["warehouse"])
        return super()._load_file_io({**properties, **move}, location)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Commit updates on top of the table as it was loaded.

        Raises:
            CommitFailedException: if it has changed since; nothing was committed.
            NotCommitted: if the storage or the database does not answer; the same.
            DBAPIError: if the database did not answer to the commit itself, which may or may not have happened.
        """
        staged = self._update_and_stage_table(table, table.name(), requirements, updates)
        try:
            with _nothing_committed():
                self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
            self._point_to(staged.metadata_location, table)
        except (CommitFailedException, NotCommitted):
            delete_quietly(staged.io, staged.metadata_location)
            raise
        self._known.put(staged.metadata_location, staged.metadata)
        answer = {"metadata": staged.metadata, "metadata-location": staged.metadata_location}
        return CommitTableResponse.model_validate(answer)

    def for_writing(self) -> Self:
        """The same catalog, for calls that write: each of its transactions begins as a writer's, see `_writing`."""
        writing = copy(self)
        writing.engine = self._writing
        return writing

    @property
    def _writing(self) -> Engine:
        # Of SQLite's one writer this waits its turn as all others do. Whoever begins by reading waits longer and longer
        # between its tries, and starves behind those who take events.
        return self.engine.execution_options(abplatform_reads_only=False)

    def _point_to(self, location: str, table: Table) -> None:
        *namespace, name = table.name()
        statement: Any = (
            update(IcebergTables)
            .where(
                IcebergTables.catalog_name == self.name,
                IcebergTables.table_namespace == ".".join(namespace),
                IcebergTables.table_name == name,
                IcebergTables.metadata_location == table.metadata_location,
            )
            .values(metadata_location=location, previous_metadata_location=table.metadata_location)
        )
        # The stack ends with the commit, of whose failure nobody can tell what it means.
        with ExitStack() as stack:
            with _nothing_committed():
                found = stack.enter_context(self._writing.begin()).execute(statement).rowcount
            if not found:
                raise CommitFailedException(f"{'.'.join(table.name())} has changed since it was opened")


def _share(metadata: TableMetadata) -> TableMetadata:
    if not isinstance(metadata, TableMetadataV2):
        return metadata
    return _SharedMetadata.model_construct(_fields_set=metadata.model_fields_set, **metadata.__dict__)


@contextmanager
def _nothing_committed() -> Iterator[None]:
    """Speak of failures in here as of those before a commit."""
    try:
        with database_answers():
            yield
    except Unavailable as error:
        raise NotCommitted(error.detail, cause=error.cause) from error
    except OSError as error:
        raise NotCommitted("the storage of the lake takes no new files, or is full; try again shortly") from error
